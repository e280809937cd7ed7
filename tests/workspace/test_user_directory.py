"""The user's own directory: pins are read strictly, written atomically, and a version never goes down."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gitchain.errors import TrustError
from gitchain.workspace.user_directory import (
    LayoutPin,
    pin_for_repository,
    read_pins,
    remember_version,
    user_directory,
    write_pin,
)

PIN = LayoutPin(
    "credit",
    (("https://issuer.example", "ada@example.com"),),
    "local",
    "0" * 64,
    repositories=("/repo/.git",),
)


def test_a_pin_comes_back_as_it_was() -> None:
    """read_pins(write_pin(x)) == x, and the file is private."""
    write_pin(PIN)
    assert read_pins() == {"credit": PIN}
    assert (user_directory() / "pins.json").stat().st_mode & 0o777 == 0o600


def test_pins_of_other_layouts_stay() -> None:
    """Writing one pin does not touch another."""
    write_pin(PIN)
    write_pin(replace(PIN, layout="fraud"))
    assert set(read_pins()) == {"credit", "fraud"}


def test_the_highest_version_never_goes_down() -> None:
    """Remembering an older version changes nothing."""
    write_pin(PIN)
    remember_version("credit", 3, "a" * 64)
    remember_version("credit", 2, "b" * 64)
    assert (read_pins()["credit"].version, read_pins()["credit"].digest) == (3, "a" * 64)


def test_a_layout_that_is_not_pinned_is_not_remembered() -> None:
    """A version alone makes no pin: it would say nothing of who may sign."""
    remember_version("credit", 3, "a" * 64)
    assert read_pins() == {}


def test_a_repository_finds_its_pin() -> None:
    """The repository bound to a layout is looked up by its Git directory."""
    write_pin(PIN)
    assert pin_for_repository(Path("/repo/.git")) == PIN
    assert pin_for_repository(Path("/other/.git")) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b'{"schema":"https://gitchain.dev/pins/v1"}',
        b'{"schema":"https://gitchain.dev/pins/v2","layouts":{}}',
        b'{"schema":"https://gitchain.dev/pins/v1","layouts":{"x":{}}}',
        b'{"schema":"https://gitchain.dev/pins/v1","layouts":{"x":[]}}',
        b"\xff\xfe",
    ],
)
def test_damaged_pins_are_refused_and_never_read_as_no_pins(content: bytes) -> None:
    """A file that is not ours is exit 4, not an empty set of pins."""
    (user_directory() / "pins.json").write_bytes(content)
    with pytest.raises(TrustError):
        read_pins()


def test_a_pin_without_signers_is_refused() -> None:
    """An empty signer list would mean that nobody, or anybody, may sign."""
    write_pin(PIN)
    path = user_directory() / "pins.json"
    document = json.loads(path.read_bytes())
    document["layouts"]["credit"]["signers"] = []
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(TrustError, match="damaged"):
        read_pins()


def test_a_relative_home_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A home relative to the current directory would let the repository bring the pins."""
    monkeypatch.setenv("GITCHAIN_HOME", "here")
    with pytest.raises(TrustError, match="no home directory"):
        user_directory()


def test_a_home_that_is_a_file_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to type."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GITCHAIN_HOME", str(tmp_path / "file"))
    with pytest.raises(TrustError, match="cannot use the user directory") as caught:
        user_directory()
    assert "GITCHAIN_HOME" in caught.value.help
