"""The server's certificate: read, checked, and used for new connections while the old ones go on.

TLS 1.3 and nothing older: the API server and Gatekeeper speak it. A new certificate gets a complete context of its own,
which each later handshake uses from its start: loading a pair into a context in use takes two steps, and a handshake
between them fails. A pair of files that do not fit together, as in the
middle of a rotation, or that cannot be read, changes nothing: the certificate in use stays, and the next look tries again.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from gitchain.errors import TrustError
from gitchain.platform.files import open_regular

MAX_PEM_BYTES = 1 << 20
ALPN = ["http/1.1"]


@dataclass(frozen=True, slots=True)
class Files:
    """Where the certificate with its chain, its key, and the CA of the clients are."""

    certificate: Path
    key: Path
    client_ca: Path | None = None


class Certificate:
    """The server's TLS contexts, and the end of the certificate in use.

    `context` is the one to listen with. It hands every handshake to the newest context.
    """

    def __init__(self, files: Files) -> None:
        """Load the files; raises TrustError if a server cannot use them."""
        self._files = files
        self._seen: tuple[bytes, bytes] | None = None
        self.end: datetime | None = None
        self.reload()
        self.context = self._newest
        self.context.sni_callback = self._use_newest

    def _use_newest(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        """Give a handshake the newest context. OpenSSL calls this before it chooses a certificate, SNI or not."""
        connection.context = self._newest

    def reload(self) -> bool:
        """Use the files for new connections if they changed; raises TrustError, and changes nothing, if they are unusable.

        Returns whether they changed. Both files are read once.
        """
        pair = _read(self._files.certificate), _read(self._files.key)
        if pair == self._seen:
            return False
        end = _end(pair[0], self._files.certificate)
        with tempfile.TemporaryDirectory(prefix="gitchain-tls-") as directory:
            places = [Path(directory) / name for name in ("certificate", "key")]
            for place, data in zip(places, pair, strict=True):
                handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
            context = _context()
            if self._files.client_ca is not None:
                _require_clients(context, self._files.client_ca)
            _load(context, places[0], places[1], self._files)
        self._newest, self._seen, self.end = context, pair, end
        return True


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(ALPN)
    return context


def _load(context: ssl.SSLContext, certificate: Path, key: Path, files: Files) -> None:
    try:
        context.load_cert_chain(certificate, key, password=lambda: b"")  # never ask a terminal
    except (ssl.SSLError, OSError, ValueError) as error:
        raise TrustError(
            "the server's certificate and key do not belong together, or cannot be used",
            where=f"{files.certificate}, {files.key}",
            got=str(error),
            help="write a PEM certificate with its chain, and its key without a passphrase",
        ) from error


def _require_clients(context: ssl.SSLContext, authority: Path) -> None:
    try:
        context.load_verify_locations(cadata=_read(authority).decode("ascii"))
    except (ssl.SSLError, UnicodeDecodeError, ValueError) as error:
        raise TrustError(
            "the CA of the clients cannot be used", where=str(authority), got=str(error)
        ) from error
    context.verify_mode = ssl.CERT_REQUIRED


def _end(data: bytes, where: Path) -> datetime:
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(data)[0].not_valid_after_utc
    except ValueError as error:
        raise TrustError("not a certificate", where=str(where), got=str(error), help="write PEM") from error


def _read(path: Path) -> bytes:
    try:
        with open_regular(path) as file:
            data = file.read(MAX_PEM_BYTES + 1)
    except OSError as error:
        raise TrustError("cannot read a file of TLS", where=str(path), got=str(error.strerror)) from error
    if not data or len(data) > MAX_PEM_BYTES:
        raise TrustError("a file of TLS is empty or too large", where=str(path), got=f"{len(data)} bytes")
    return data
