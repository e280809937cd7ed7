"""The user's own directory: pins and the embedded instance.

Verification takes its trust from here or from flags, never from the repository that it judges (docs/design.md).
`pins.json` (schemas/pins.schema.json) says, per layout name, who may sign that layout, under which trust, and the
highest version accepted so far: a layout older than that is refused as rolled back.

The directory is `GITCHAIN_HOME`, or the platform's application directory; it is created with mode 0700.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import click

from gitchain.errors import LimitError, MalformedError, StoreError, TrustError
from gitchain.evidence.canonical import Json, canonical_json, strict_json

PINS_SCHEMA = "https://gitchain.dev/pins/v1"
MAX_PINS_BYTES = 1 << 20  # a few thousand layouts; a larger file is not ours


@dataclass(frozen=True, slots=True)
class Pin:
    """What this user trusts a layout name to be: signers (issuer, subject), trust, and the highest version seen."""

    layout: str
    signers: tuple[tuple[str, str], ...]
    trust: str
    trust_digest: str
    version: int = 0
    digest: str = ""
    repositories: tuple[str, ...] = ()


def user_directory() -> Path:
    """Return the user's gitchain directory, made if missing; TrustError when there is no home to put it in."""
    chosen = os.environ.get("GITCHAIN_HOME")
    if not chosen and os.environ.get("HOME") == "" and not os.environ.get("XDG_CONFIG_HOME"):
        raise TrustError(
            "no home directory", got="HOME is empty", help="export GITCHAIN_HOME=/absolute/directory"
        )
    try:
        path = Path(chosen) if chosen else Path(click.get_app_dir("gitchain"))
        if not path.is_absolute():
            raise TrustError(
                "no home directory", got=str(path), help="export GITCHAIN_HOME=/absolute/directory"
            )
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:
        raise TrustError(
            "cannot use the user directory",
            where=str(chosen or "the platform's default"),
            got=str(error),
            help="export GITCHAIN_HOME=/a/writable/directory",
        ) from error
    return path


def local_directory() -> Path:
    """Return where the embedded instance of this user lives."""
    return user_directory() / "local"


def read_pins() -> dict[str, Pin]:
    """Return every pin by layout name; TrustError when the file is not what gitchain writes."""
    path = user_directory() / "pins.json"
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise TrustError("cannot read the pins", where=str(path), got=str(error)) from error
    try:
        return _parse_pins(data)
    except (MalformedError, LimitError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise TrustError(
            "the pins file is damaged",
            where=str(path),
            got=str(error),
            help="move it away and pin again: gitchain trust pin --layout FILE --signer ID --issuer URL",
        ) from error


def pin_for_repository(common_dir: Path) -> Pin | None:
    """Return the pin that names this repository, if any."""
    key = str(common_dir)
    return next((pin for pin in read_pins().values() if key in pin.repositories), None)


def write_pin(pin: Pin) -> None:
    """Add or replace one pin; atomic, serialised between processes. A repository is named by the newest pin alone."""
    with home_lock():
        others = {
            name: replace(
                one, repositories=tuple(path for path in one.repositories if path not in pin.repositories)
            )
            for name, one in read_pins().items()
        }
        _write(others | {pin.layout: pin})


def remember_version(layout: str, version: int, digest: str) -> None:
    """Raise the highest accepted version of a pinned layout; never lowers it."""
    pin = read_pins().get(layout)
    if pin is None or version <= pin.version:
        return
    with home_lock():
        pins = read_pins()
        current = pins[layout]
        if version > current.version:
            _write(pins | {layout: replace(current, version=version, digest=digest)})


@contextmanager
def home_lock() -> Iterator[None]:
    """Hold the one lock on the files of the user's directory; StoreError where it cannot be had."""
    path = user_directory() / "pins.lock"
    try:
        lock = path.open("a")
    except OSError as error:
        raise StoreError("cannot take a lock", where=str(path), got=str(error.strerror)) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _parse_pins(data: bytes) -> dict[str, Pin]:
    document = strict_json(data, "pins", max_bytes=MAX_PINS_BYTES)
    if not isinstance(document, dict) or document.get("schema") != PINS_SCHEMA:
        raise MalformedError("not a gitchain pins file", expected=PINS_SCHEMA)
    pins = {}
    for name, entry in document["layouts"].items():
        signers = tuple((str(s["issuer"]), str(s["subject"])) for s in entry["signers"])
        if not signers:
            raise MalformedError("a pin without signers", where=name)
        pins[name] = Pin(
            layout=name,
            signers=signers,
            trust=str(entry["trust"]),
            trust_digest=str(entry["trustDigest"]),
            version=int(entry["version"]),
            digest=str(entry["digest"]),
            repositories=tuple(str(path) for path in entry["repositories"]),
        )
    return pins


def _write(pins: Mapping[str, Pin]) -> None:
    document: dict[str, Json] = {
        "schema": PINS_SCHEMA,
        "layouts": {
            name: {
                "signers": [{"issuer": issuer, "subject": subject} for issuer, subject in pin.signers],
                "trust": pin.trust,
                "trustDigest": pin.trust_digest,
                "version": pin.version,
                "digest": pin.digest,
                "repositories": list(pin.repositories),
            }
            for name, pin in pins.items()
        },
    }
    write_atomically(user_directory() / "pins.json", canonical_json(document), mode=0o600)


def make_directory(path: Path) -> None:
    """Make a directory if it is not there; StoreError where the disk refuses."""
    try:
        path.mkdir(exist_ok=True)
    except OSError as error:
        raise StoreError("cannot make a directory", where=str(path), got=str(error.strerror)) from error


def write_atomically(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Replace `path` with `data`: temporary file, fsync, rename, fsync of the directory; StoreError on failure."""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fchmod(file.fileno(), mode)
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise StoreError("cannot write", where=str(path), got=str(error.strerror or error)) from error
