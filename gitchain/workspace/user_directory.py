"""The user's own directory: pins and the embedded instance.

Verification takes its trust from here or from flags, never from the repository that it verifies (docs/design.md).

`pins.json` (schemas/pins.schema.json) holds, for each layout name, the allowed layout signers, the trusted root, and
the highest version accepted so far: an older layout is refused as rolled back.

The directory is `GITCHAIN_HOME`, or the platform's application directory. It is created with mode 0700.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import click

from gitchain.errors import GitchainError, LimitError, MalformedError, TrustError, reason
from gitchain.evidence.canonical import Json, canonical_json, strict_json
from gitchain.platform.files import hold_lock, make_directory, read_regular, write_durably

PINS_SCHEMA = "https://gitchain.dev/pins/v1"
MAX_STATE_BYTES = 4 << 20  # enough for pins of ten thousand layouts

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LayoutPin:
    """Trust in a layout name: its signers (issuer, subject), trusted root, and highest accepted version."""

    layout: str
    signers: tuple[tuple[str, str], ...]
    trust: str
    trust_digest: str
    version: int = 0
    digest: str = ""
    repositories: tuple[str, ...] = ()


def has_no_home() -> bool:
    """Return True if the environment names no directory for the user's state: nothing can be pinned then."""
    is_named = os.environ.get("GITCHAIN_HOME") or os.environ.get("XDG_CONFIG_HOME")
    return not is_named and os.environ.get("HOME") == ""


def user_directory() -> Path:
    """Return the user's gitchain directory, created if missing. Raises TrustError without a home directory."""
    chosen = os.environ.get("GITCHAIN_HOME")
    if has_no_home():
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
            got=reason(error),
            help="export GITCHAIN_HOME=/a/writable/directory",
        ) from error
    return path


def unwritable(folder: Path) -> Path | None:
    """Return the first directory that gitchain writes in the user's directory and this user cannot write, or None."""
    written = (folder, folder / "local", folder / "local/log")
    return next((one for one in written if one.exists() and not os.access(one, os.W_OK | os.X_OK)), None)


def local_directory() -> Path:
    """Return the directory of the user's embedded instance."""
    return user_directory() / "local"


def read_pins() -> dict[str, LayoutPin]:
    """Return all pins by layout name. Raises TrustError if the file is damaged."""
    remedy = "move it away and pin again: gitchain trust pin --layout FILE --signer ID --issuer URL"
    return (
        read_state(user_directory() / "pins.json", PINS_SCHEMA, _parse_pins, "the pins file", help=remedy)
        or {}
    )


def pin_for_repository(common_dir: Path) -> LayoutPin | None:
    """Return the pin for the repository with this common Git directory, or None."""
    key = str(common_dir)
    return next((pin for pin in read_pins().values() if key in pin.repositories), None)


def write_pin(pin: LayoutPin) -> None:
    """Add or replace a pin, atomically and under a lock. Only the newest pin refers to a repository."""
    with home_lock():
        others = {
            name: replace(
                other, repositories=tuple(path for path in other.repositories if path not in pin.repositories)
            )
            for name, other in read_pins().items()
        }
        _write(others | {pin.layout: pin})


def remember_version(layout: str, version: int, digest: str) -> None:
    """Raise the highest accepted version of a pinned layout. The version is never lowered."""
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
    """Hold the lock on the user's directory. Raises StoreError if the lock cannot be taken."""
    with hold_lock(user_directory() / "pins.lock"):
        yield


def read_state(
    path: Path,
    schema: str,
    parse: Callable[[dict[str, Json]], T],
    what: str,
    *,
    help: str = "",  # noqa: A002 - the word users see
) -> T | None:
    """Return the result of `parse` for one of gitchain's own JSON files with this schema, or None without a file.

    Raises TrustError, naming it by `what`, if it cannot be read, or `parse` cannot take it apart.
    """
    try:
        data = read_regular(path, MAX_STATE_BYTES)
    except FileNotFoundError:
        return None
    except (OSError, LimitError) as error:
        raise TrustError(f"cannot read {what}", where=str(path), got=reason(error), help=help) from error
    try:
        value = strict_json(data, path.name, max_bytes=MAX_STATE_BYTES)
        if not isinstance(value, dict) or value.get("schema") != schema:
            raise MalformedError("unknown schema", expected=schema)
        return parse(value)
    except (GitchainError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise TrustError(f"{what} is damaged", where=str(path), got=str(error), help=help) from error


def write_state(path: Path, schema: str, fields: Mapping[str, Json]) -> None:
    """Write a file that `read_state` reads. Raises StoreError, and MalformedError for text that is not UTF-8."""
    make_directory(path.parent)
    write_durably(path, canonical_json({"schema": schema, **fields}))


def _parse_pins(document: dict[str, Any]) -> dict[str, LayoutPin]:
    pins = {}
    for name, entry in document["layouts"].items():
        signers = tuple((str(s["issuer"]), str(s["subject"])) for s in entry["signers"])
        if not signers:
            raise MalformedError("a pin without signers", where=name)
        pins[name] = LayoutPin(
            layout=name,
            signers=signers,
            trust=str(entry["trust"]),
            trust_digest=str(entry["trustDigest"]),
            version=int(entry["version"]),
            digest=str(entry["digest"]),
            repositories=tuple(str(path) for path in entry["repositories"]),
        )
    return pins


def _write(pins: Mapping[str, LayoutPin]) -> None:
    layouts: dict[str, Json] = {
        name: {
            "signers": [{"issuer": issuer, "subject": subject} for issuer, subject in pin.signers],
            "trust": pin.trust,
            "trustDigest": pin.trust_digest,
            "version": pin.version,
            "digest": pin.digest,
            "repositories": list(pin.repositories),
        }
        for name, pin in pins.items()
    }
    write_state(user_directory() / "pins.json", PINS_SCHEMA, {"layouts": layouts})
