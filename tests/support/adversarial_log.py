"""A log that can show anything: any entries, any tiles, any checkpoint, signed with its real key."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from threading import Thread

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from gitchain.errors import TransportError
from gitchain.evidence.checkpoint import KEY_ID_SIZE, Checkpoint, NoteSignature, ed25519_key_id, render
from gitchain.evidence.merkle import leaf_hash, root_hash
from gitchain.evidence.tile import HEIGHT, WIDTH, encode_entries, parse_path, tile_width
from gitchain.verify.trust import LogKey, Trust, ValidityPeriod

HOST = "log.example.test"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
NOW = datetime(2026, 11, 26, tzinfo=UTC)


def log_key(end: datetime | None = None) -> LogKey:
    spki = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    key_id = ed25519_key_id(HOST, KEY.public_key().public_bytes_raw())
    return LogKey(HOST, key_id, spki, ValidityPeriod(datetime(2020, 1, 1, tzinfo=UTC), end), "PKIX_ED25519")


def trust_in(log: LogKey) -> Trust:
    return Trust(HOST, "0" * 64, (log,), (), (), ())


@dataclass
class TestLog:
    """Entries, and the checkpoint over them; `tiles` may hold what is shown in place of a tile."""

    __test__ = False

    bodies: list[bytes]
    key: Ed25519PrivateKey = KEY
    origin: str = HOST
    name: str = HOST
    size: int | None = None
    root: bytes | None = None
    tiles: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def checkpoint(self) -> str:
        size = len(self.bodies) if self.size is None else self.size
        root = root_hash(map(leaf_hash, self.bodies[:size])) if self.root is None else self.root
        note = Checkpoint(self.origin, size, root)
        key_id = ed25519_key_id(HOST, KEY.public_key().public_bytes_raw())[:KEY_ID_SIZE]
        return render(note, (NoteSignature(self.name, key_id, self.key.sign(note.body())),))

    def fetch(self, path: str, limit: int) -> bytes:
        del limit
        self.asked.append(path)
        if path == "checkpoint":
            return self.checkpoint().encode()
        return self.tiles.get(path) or self._tile(path)

    def _tile(self, path: str) -> bytes:
        tile = parse_path(path)
        size = len(self.bodies) if self.size is None else self.size
        if tile.width > tile_width(tile.level, tile.index, size):
            raise TransportError("the log has no such tile", where=path)
        first = tile.index * WIDTH
        if tile.level is None:
            return encode_entries(self.bodies[first : first + tile.width])
        span = 1 << (HEIGHT * tile.level)
        return b"".join(
            root_hash(map(leaf_hash, self.bodies[(first + at) * span : (first + at + 1) * span]))
            for at in range(tile.width)
        )


def bodies(count: int, salt: str = "") -> list[bytes]:
    return [f"entry {number} {salt}".encode() for number in range(count)]


Answer = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def served(
    answers: Callable[[str, bytes], Sequence[bytes] | tuple[int, bytes] | Answer],
    context: ssl.SSLContext | None = None,
) -> Iterator[str]:
    """Serve what `answers` says for a path and body: (status, body), or a function that writes to the socket.

    By TLS where there is a context for it.
    """

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            del arguments

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            found = answers(self.path, body)
            if callable(found):
                found(self)
                return
            status, data = found
            self.send_response(int(status))
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = _answer  # noqa: N815 - the names that the server calls

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"{'https' if context else 'http'}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def certified(folder: Path) -> Path:
    """Write key and certificate of this machine into one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "log")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(1), now + timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / "log.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(private + certificate.public_bytes(Encoding.PEM))
    return file
