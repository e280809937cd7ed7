"""Keys that sign without OIDC: a PEM file, a token behind PKCS#11, a cloud's key service.

| `--key` | what | needs |
|---|---|---|
| `PATH`, `file:PATH` | private key in PEM: ECDSA P-256, P-384, P-521, Ed25519, RSA | |
| `hsm:ID?label=TOKEN`, `pkcs11:token=TOKEN;id=%ID` | ECDSA P-256, P-384 in a token | `gitchain[hsm]`, PYKCS11LIB |
| `awskms:…`, `gcpkms:…`, `azurekms:…`, `hv:…` | a key service's key | securesystemslib's extra of it |

A passphrase or PIN is read from GITCHAIN_KEY_PASSPHRASE or prompted for on the terminal: never read from a command line
or a URI. Only the environment names the PKCS#11 module: a cloned repository must not name a library to load.

URIs: https://github.com/secure-systems-lab/securesystemslib (signers), RFC 7512 (pkcs11)
It does NOT decide which keys are trusted: layouts do.
"""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qsl, unquote_to_bytes, urlencode, urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from gitchain.errors import (
    AuthenticationError,
    GitchainError,
    SignatureError,
    TransportError,
    UsageError,
)
from gitchain.platform.files import read_input
from gitchain.verify.keys import Key

if TYPE_CHECKING:
    from securesystemslib.signer import Signer as LibrarySigner

PASSPHRASE = "GITCHAIN_KEY_PASSPHRASE"  # noqa: S105 - the name of a variable
MODULE = "PYKCS11LIB"
MAX_KEY_BYTES = 64 * 1024
SERVICES = {"awskms": "awskms", "gcpkms": "gcpkms", "azurekms": "azurekms", "hv": "vault", "hsm": "hsm"}
"""Schemes of securesystemslib's signers, and the extra that each needs."""

_HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
_SCHEMES = ("ecdsa-sha2-", "rsa-pkcs1v15-sha256", "ed25519")
Secret = Callable[[str], str]


class KeyHolder(Protocol):
    """Signs with one key."""

    @property
    def key(self) -> Key:
        """Return the public key."""

    def sign(self, message: bytes) -> bytes:
        """Return the signature over these bytes, in the format of the key.

        Raises AuthenticationError if the key may not be used, TransportError if it is not available.
        """

    def close(self) -> None:
        """Release the key."""


def open_key(uri: str, *, base: Path | None = None, secret: Secret | None = None) -> KeyHolder:
    """Return the key for a `--key` value; a path is relative to `base`.

    Raises UsageError for an invalid value and for an unsupported kind of key. Raises AuthenticationError if the passphrase
    is missing or wrong. Raises TransportError if the token or service is unreachable.
    """
    secret = secret or ask_secret
    scheme = uri.partition(":")[0]
    if scheme == "pkcs11":
        uri, scheme = _from_pkcs11(uri), "hsm"
    if scheme in SERVICES:
        return _service_key(scheme, uri, secret)
    path = Path(uri.removeprefix("file:"))
    return PemKey.read((base or Path()) / path.expanduser(), secret)


def ask_secret(what: str) -> str:
    """Return a passphrase or PIN from the environment or the terminal. Raises AuthenticationError without either."""
    given = os.environ.get(PASSPHRASE)
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise AuthenticationError(f"the key needs a {what}", help=f"set {PASSPHRASE}")
    return getpass.getpass(f"{what} of the signing key: ")


@dataclass(frozen=True, slots=True)
class PemKey:
    """A private key from a file."""

    key: Key
    private: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey = field(repr=False)

    @classmethod
    def read(cls, path: Path, secret: Secret) -> PemKey:
        """Return the key in this file. Raises the errors of `open_key`."""
        remedy = "--key takes a PEM file, hsm:…, pkcs11:…, awskms:…, gcpkms:…, azurekms:… or hv:…"
        data = read_input(path, MAX_KEY_BYTES, UsageError, "cannot read the key", help=remedy)
        private = _load_private(data[:MAX_KEY_BYTES], str(path), secret)
        try:
            key = Key.of(private.public_key())
        except SignatureError as error:
            raise UsageError(error.what, where=str(path), expected=error.expected, got=error.got) from error
        return cls(key, private)

    def sign(self, message: bytes) -> bytes:
        """Return the signature over these bytes."""
        if isinstance(self.private, ed25519.Ed25519PrivateKey):
            return self.private.sign(message)
        hash_algorithm = _HASHES[self.key.algorithm]
        if isinstance(self.private, rsa.RSAPrivateKey):
            return self.private.sign(message, padding.PKCS1v15(), hash_algorithm)
        return self.private.sign(message, ec.ECDSA(hash_algorithm))

    def close(self) -> None:
        """Do nothing: the key is deleted with this object."""


def _load_private(data: bytes, where: str, secret: Secret) -> Any:
    """Return the private key in PEM, with a prompt for its passphrase if it is encrypted."""
    what = "not a private key"
    password: bytes | None = None
    try:
        return load_pem_private_key(data, password)
    except TypeError:  # it is encrypted
        password = secret("passphrase").encode()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(
            what, where=where, expected="-----BEGIN PRIVATE KEY-----", got=_short(error)
        ) from error
    try:
        return load_pem_private_key(data, password)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise AuthenticationError(
            "the key cannot be opened with this passphrase",
            where=where,
            help=f"type it again, or set {PASSPHRASE}",
        ) from error


@dataclass(frozen=True, slots=True)
class ServiceKey:
    """A key in a token or key service, used with securesystemslib."""

    key: Key
    signer: LibrarySigner = field(repr=False)
    uri: str

    def sign(self, message: bytes) -> bytes:
        """Return the signature over these bytes, verified: a broken device's signature must not be logged."""
        with _device(self.uri):
            signature = bytes.fromhex(self.signer.sign(message).signature)
        try:
            self.key.verify(signature, message)
        except SignatureError as error:
            raise TransportError("the key gave a signature that does not verify", where=self.uri) from error
        return signature

    def close(self) -> None:
        """Do nothing: a session lasts for one signature."""


def _service_key(scheme: str, uri: str, secret: Secret) -> ServiceKey:
    """Return the key in a token or service. Its public key is read once."""
    remembered: list[str] = []

    def once(what: str) -> str:
        if not remembered:
            remembered.append(secret("PIN" if scheme == "hsm" else what))
        return remembered[0]

    with _device(uri):
        from securesystemslib.signer import SIGNER_FOR_URI_SCHEME

        library: Any = SIGNER_FOR_URI_SCHEME[scheme]
        named, public = library.import_(*_import_arguments(scheme, uri, once))
        if not public.scheme.startswith(_SCHEMES):
            raise UsageError(
                "key is of a kind that is not accepted",
                where=uri,
                expected="ECDSA, or RSA with PKCS #1 v1.5 and SHA-256",
                got=public.scheme,
            )
        key = Key.of(_public_key(public.keytype, public.keyval["public"]))
        return ServiceKey(key, library.from_priv_key_uri(named, public, once), uri)


def _public_key(kind: str, text: str) -> object:
    """Return a public key in securesystemslib's form: PEM, but Ed25519 in hex."""
    if kind == "ed25519":
        return ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(text))
    return load_pem_public_key(text.encode())


def _import_arguments(scheme: str, uri: str, secret: Secret) -> tuple[Any, ...]:
    """Return the arguments with which securesystemslib reads the public key."""
    rest = uri.partition(":")[2]
    if scheme == "hsm":
        if not os.environ.get(MODULE):
            raise UsageError(
                "no PKCS#11 module is named", help=f"export {MODULE}=/usr/lib/softhsm/libsofthsm2.so"
            )
        number, _, query = rest.partition("?")
        return (int(number or 2), dict(parse_qsl(query)).get("label"), secret)
    if scheme == "azurekms":  # azurekms://<vault>.vault.azure.net/keys/<name>/<version>
        parts = urlsplit(uri)
        return ((parts.hostname or "").partition(".")[0], parts.path.split("/")[2])
    if scheme == "hv":  # hv:<name>/<version>
        return (rest.partition("/")[0],)
    return (rest,)


def _from_pkcs11(uri: str) -> str:
    """Return the `hsm:` form of a PKCS#11 URI (RFC 7512) with a token and a key's id."""
    path, _, query = uri.removeprefix("pkcs11:").partition("?")
    fields = dict(part.partition("=")[::2] for part in path.split(";") if part)
    if query or fields.keys() - {"token", "id", "type"} or "id" not in fields:
        raise UsageError(
            "this PKCS#11 URI cannot be used: a PIN or a module in it would be read by others",
            expected="pkcs11:token=TOKEN;id=%02",
            help=f"set {MODULE} to the module; enter the PIN on the terminal, or set {PASSPHRASE}",
        )
    number = int.from_bytes(unquote_to_bytes(fields["id"]), "big")
    label = unquote_to_bytes(fields.get("token", "")).decode("utf-8", "replace")
    return f"hsm:{number}" + (f"?{urlencode({'label': label})}" if label else "")


class _device:  # noqa: N801 - read as a statement
    """Convert exceptions of tokens and key services to one error: each of their libraries has its own."""

    def __init__(self, uri: str) -> None:
        self._uri = uri

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, GitchainError) or not isinstance(error, Exception):
            return
        name = type(error).__name__
        if name in {"PinIncorrect", "PinLocked", "PinInvalid", "PinLenRange"}:
            raise AuthenticationError(
                "the token refused the PIN",
                where=self._uri,
                got=name,
                help="check the PIN: a token locks after a few wrong ones",
            ) from error
        if name == "UnsupportedLibraryError" or isinstance(error, ImportError):
            scheme = self._uri.partition(":")[0]
            raise UsageError(
                "this kind of key needs a library that is not installed",
                where=self._uri,
                got=_short(error),
                help="pip install 'gitchain[hsm]'"
                if scheme == "hsm"
                else f"pip install 'securesystemslib[{SERVICES.get(scheme, scheme)}]'",
            ) from error
        raise TransportError(
            "the key cannot be used",
            where=self._uri,
            got=name if not str(error) else f"{name}: {_short(error)}",
            help="is the token there, and is it the right one? then: gitchain sync",
        ) from error


def _short(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:300]
