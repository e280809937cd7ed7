"""The short-lived certificate that signs a run of commits: kept for its own life of minutes, never longer.

A rebase of 30 commits starts the signing program 30 times; with the credential kept, the user proves who they are once.
It lies in the user's runtime directory ($XDG_RUNTIME_DIR, in memory and gone at logout), else below the user's gitchain
directory: mode 0600 in a directory of mode 0700, both owned by the user. So whoever can read the user's own files can
sign as the user until the certificate expires, ten minutes at most; `git config gitchain.cacheCertificate false` says no.

What is there and is not exactly that is removed and not used: a cache is never a reason to fail.
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
from gitchain.pipeline.home import user_directory, write_atomically
from gitchain.sign.gitcms import Credential

MAX_CREDENTIAL_BYTES = 64 * 1024
MARGIN = timedelta(seconds=30)  # a certificate must outlive the signature that it is kept for
_END = b"-----END CERTIFICATE-----\n"


def credential_path(trust_digest: str, who: str) -> Path | None:
    """Return where the credential of this identity under this trust lies, None where there is no safe place."""
    name = hashlib.sha256(f"{trust_digest}\n{who}".encode()).hexdigest()[:32]
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
    """Return the credential if it is there, private, whole and valid long enough for one more signature."""
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
    """Keep the credential; where it cannot be kept, the next signature gets one of its own."""
    if path is None:
        return
    key = credential.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with contextlib.suppress(StoreError):
        write_atomically(path, key + credential.certificate.public_bytes(Encoding.PEM), mode=0o600)


def _read(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        if not _is_private(os.fstat(descriptor), stat.S_ISREG):
            raise ValueError("not a private file")
        data = file.read(MAX_CREDENTIAL_BYTES + 1)
    if not data.endswith(_END) or len(data) > MAX_CREDENTIAL_BYTES:
        raise ValueError("not a whole credential")
    return data


def _is_private(found: os.stat_result, kind: Callable[[int], bool]) -> bool:
    return kind(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
