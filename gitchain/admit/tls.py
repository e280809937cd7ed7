"""The server's certificate: loaded, checked, and replaced for new connections without closing old ones.

TLS 1.3 only: the API server and Gatekeeper support it. A new certificate gets a new context, which later handshakes
use from their start: loading a pair into a context in use takes two steps, and a handshake between them fails. If the
files do not match, as in the middle of a rotation, or cannot be read, the certificate in use remains, and the next
check tries again.

With a client CA, a client may send a certificate of that CA; another certificate fails the handshake. A client
without a certificate is anonymous (`client_of`). The endpoints decide what anonymous clients may do.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from gitchain.errors import TrustError, reason
from gitchain.evidence.digest import Sha256, sha256_hex
from gitchain.platform.files import read_input

MAX_PEM_BYTES = 1 << 20
ALPN = ["http/1.1"]


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Paths of the certificate with its chain, its key, and the client CA."""

    certificate: Path
    key: Path
    client_ca: Path | None = None
    client_names: tuple[str, ...] = ()
    """Common names of the API server's certificates; without any, all certificates of that CA."""


@dataclass(frozen=True, slots=True)
class Client:
    """A client with a verified certificate: its common name, and the certificate's digest."""

    name: str
    sha256: Sha256


def client_of(transport: asyncio.BaseTransport) -> Client | None:
    """Return the client of a connection, or None without a certificate of the client CA."""
    link = transport.get_extra_info("ssl_object")
    found = link.getpeercert(binary_form=True) if link is not None else None
    if found is None or link.context.verify_mode == ssl.CERT_NONE:
        return None
    names = [
        value for part in (link.getpeercert() or {}).get("subject", ()) for key, value in part
        if key == "commonName"
    ]  # fmt: skip
    return Client(names[0] if len(names) == 1 else "", sha256_hex(found))


class Certificate:
    """The server's TLS contexts, and the expiry of the current certificate.

    `context` is for listening. It passes every handshake to the newest context.
    """

    def __init__(self, files: TlsFiles) -> None:
        """Load the files. Raises TrustError if a server cannot use them."""
        self._files = files
        self._seen: tuple[bytes, bytes, bytes] | None = None
        self.end: datetime | None = None
        self.reload()
        self.context = self._newest
        self.context.sni_callback = self._use_newest

    @property
    def takes_clients(self) -> bool:
        """Return True if client certificates are enabled."""
        return self._files.client_ca is not None

    @property
    def client_names(self) -> tuple[str, ...]:
        """The names in the API server's certificates; empty for all of the CA."""
        return self._files.client_names

    def _use_newest(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        """Set the newest context for a handshake. OpenSSL calls this before it selects a certificate."""
        connection.context = self._newest

    def reload(self) -> bool:
        """Load the files if they changed; return True if they did.

        Raises TrustError, and changes nothing, if they are unusable. Each file is read once.
        """
        pair = _read(self._files.certificate), _read(self._files.key)
        authority = _read(self._files.client_ca) if self._files.client_ca is not None else b""
        if (*pair, authority) == self._seen:
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
                _take_clients(context, authority, self._files.client_ca)
            _load(context, places[0], places[1], self._files)
        self._newest, self._seen, self.end = context, (*pair, authority), end
        return True


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(ALPN)
    return context


def _load(context: ssl.SSLContext, certificate: Path, key: Path, files: TlsFiles) -> None:
    try:
        context.load_cert_chain(certificate, key, password=lambda: b"")  # never prompt on a terminal
    except (ssl.SSLError, OSError, ValueError) as error:
        raise TrustError(
            "the server's certificate and key do not belong together, or cannot be used",
            where=f"{files.certificate}, {files.key}",
            got=reason(error),
            help="write a PEM certificate with its chain, and its key without a passphrase",
        ) from error


def _take_clients(context: ssl.SSLContext, authority: bytes, where: Path) -> None:
    try:
        context.load_verify_locations(cadata=authority.decode("ascii"))
    except (ssl.SSLError, UnicodeDecodeError, ValueError) as error:
        raise TrustError(
            "the CA of the clients cannot be used", where=str(where), got=reason(error), help="write PEM"
        ) from error
    context.verify_mode = ssl.CERT_OPTIONAL


def _end(data: bytes, where: Path) -> datetime:
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(data)[0].not_valid_after_utc
    except ValueError as error:
        raise TrustError("not a certificate", where=str(where), got=str(error), help="write PEM") from error


def _read(path: Path) -> bytes:
    data = read_input(path, MAX_PEM_BYTES, TrustError, "cannot read a file of TLS")
    if not data or len(data) > MAX_PEM_BYTES:
        raise TrustError("a file of TLS is empty or too large", where=str(path), got=f"{len(data)} bytes")
    return data
