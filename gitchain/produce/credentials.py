"""Cache of the short-lived certificate that signs a series of commits, until it expires after minutes.

A rebase of 30 commits starts the signing program 30 times; with the cache, the user logs in once. The cache is in the
user's runtime directory ($XDG_RUNTIME_DIR, in memory and deleted at logout), else below the user's gitchain
directory: mode 0600 in a directory of mode 0700, both owned by the user. A process that can read the user's files can
sign as the user until the certificate expires (at most ten minutes); `git config gitchain.cacheCertificate false`
disables the cache.

A cache file with other properties is deleted and not used. The cache never causes a failure.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from gitchain.errors import StoreError
from gitchain.platform.files import write_durably
from gitchain.sign.gitcms import Credential
from gitchain.workspace.user_directory import user_directory

MAX_CREDENTIAL_BYTES = 64 * 1024
MARGIN = timedelta(seconds=30)  # minimum remaining lifetime of a certificate for one more signature
_END = b"-----END CERTIFICATE-----\n"


def credential_path(trust_digest: str, identity: str) -> Path | None:
    """Return the cache file for this identity and trusted root, or None without a safe directory."""
    name = hashlib.sha256(f"{trust_digest}\n{identity}".encode()).hexdigest()[:32]
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    places = [Path(runtime)] if runtime and Path(runtime).is_absolute() else []
    for place in (*places, user_directory()):
        folder = place / "gitchain-git-sign"
        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o700, exist_ok=True)
            if _is_private(folder.lstat(), stat.S_ISDIR):
                return folder / f"{name}.pem"
    return None


def kept_credential(path: Path | None, now: datetime) -> Credential | None:
    """Return the cached credential if it is private, complete and valid long enough for one more signature."""
    if path is None:
        return None
    try:
        data = _read(path)
        key = load_pem_private_key(data, None)
        certificate = x509.load_pem_x509_certificate(data)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError):
        _remove(path)
        return None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        _remove(path)
        return None
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc - MARGIN:
        _remove(path)
        return None
    return Credential(key, certificate)


def keep_credential(path: Path | None, credential: Credential) -> None:
    """Store the credential. If that fails, the next signature requests a new one."""
    if path is None:
        return
    key = credential.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with contextlib.suppress(StoreError):
        write_durably(path, key + credential.certificate.public_bytes(Encoding.PEM))


def _read(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        if not _is_private(os.fstat(descriptor), stat.S_ISREG):
            raise ValueError("not a private file")
        data = file.read(MAX_CREDENTIAL_BYTES + 1)
    if not data.endswith(_END) or len(data) > MAX_CREDENTIAL_BYTES:
        raise ValueError("not a whole credential")
    return data


def _is_private(info: os.stat_result, kind: Callable[[int], bool]) -> bool:
    return kind(info.st_mode) and info.st_uid == os.geteuid() and not info.st_mode & 0o077


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
