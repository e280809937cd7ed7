"""Attacks on a model that carries an OpenSSF model signature, through the command line.

Named after the attack catalogue; README.md has the table.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gitchain.collect import model_files
from gitchain.errors import ExitCode
from tests.support.command_line import Done, call
from tests.support.model_signatures import FILES, bundle, certificate, new_key, statement, write
from tests.support.removed_checks import goes_red, guarded, names

KEY = new_key()


class Model:
    """A directory with a model, its signature by a key beside it, and the key."""

    def __init__(self, top: Path, **changed: Any) -> None:
        self.top, self.root = top, write(top / "model")
        self.key = top / "key.pem"
        self.key.write_bytes(KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        self.bundle = top / "model.sig"
        self.sign(**changed)

    def sign(self, value: dict[str, Any] | None = None, **changed: Any) -> None:
        self.bundle.write_text(json.dumps(bundle(value or statement(**changed), KEY)))

    def verify(self, *options: str) -> Done:
        return call(
            "bundle", "verify", "--bundle", str(self.bundle), "--key", str(self.key), *options, str(self.root), cwd=self.top
        )  # fmt: skip

    def refused(self, *words: str) -> None:
        done = self.verify()
        assert done.code == ExitCode.FAILED, done.text
        assert all(word in done.err for word in words), done.err


@pytest.fixture
def model(tmp_path: Path) -> Model:
    found = Model(tmp_path)
    assert found.verify().code == 0
    return found


@guarded(("gitchain.consume.model_signature:_compare", "for name in signed.keys() & files.keys() if signed[name] != files[name]", "for name in ()"))  # fmt: skip
def test_a29_changed_file(model: Model) -> None:
    """One byte of one file."""
    (model.root / "weights/a.bin").write_bytes(b"b")
    model.refused("changed", "weights/a.bin")


@guarded(
    ("gitchain.consume.model_signature:_compare", "files.keys() - signed.keys()", "()"),
    ("gitchain.consume.model_signature:_compare", "signed.keys() - files.keys()", "()"),
    ("gitchain.evidence.oms:_check_root", "if expected != got:", "if False:"),
)
def test_a12_oms_rename_same_root(model: Model) -> None:
    """Two files renamed so that their order stays: the root digest is the same, and it is another model."""
    files = dict(sorted(FILES.items()))
    renamed = {f"x-{name}" if name.startswith("weights") else name: data for name, data in files.items()}
    assert statement(renamed)["subject"] == statement(files)["subject"]
    for name in list(files):
        (model.root / name).rename(model.root / f"moved-{Path(name).name}")
    write(model.root, renamed)
    for path in model.root.glob("moved-*"):
        path.unlink()
    model.refused()


def test_a12_swapped_contents(model: Model) -> None:
    """Two files that change their contents with each other."""
    (model.root / "weights/a.bin").write_bytes(FILES["weights/b.bin"])
    (model.root / "weights/b.bin").write_bytes(FILES["weights/a.bin"])
    model.refused("changed")


@guarded(("gitchain.evidence.oms:_check_root", "if expected != got:", "if False:"))
def test_a12_root_is_recomputed(model: Model) -> None:
    """A signature whose root is not that of its files contradicts itself."""
    model.sign(subject=[{"name": "model", "digest": {"sha256": "0" * 64}}])
    model.refused("digest is not that of its files")


@guarded(("gitchain.consume.model_signature:_compare", "files.keys() - signed.keys()", "()"))
def test_a29_extra_files_fail(model: Model) -> None:
    """A file that nobody signed: hidden, deep, or named like what a framework loads by itself."""
    for name in (".hidden", "weights/c.bin", "modeling.py", "__init__.py", "model.sig", ".gitmodules"):
        path = write(model.root, {name: b"evil"}) / name
        model.refused("not signed")
        path.unlink()
    assert model.verify().code == 0


@guarded(("gitchain.consume.model_signature:_compare", "signed.keys() - files.keys()", "()"))
def test_a29_missing_files_fail(model: Model) -> None:
    """A file that was signed and is gone."""
    (model.root / "config.json").unlink()
    model.refused("missing", "config.json")


@guarded(("gitchain.consume.model_signature:verify_model", "if path in GIT_PATHS", "if True"))
def test_a29_signer_ignore_paths_capped(model: Model) -> None:
    """The signer says that a file is to be left out: only the verifier may say so."""
    write(model.root, {"evil.py": b"evil", "weights/evil.bin": b"evil"})
    for ignored in (["evil.py", "weights/evil.bin"], [".git", "evil.py", "weights/evil.bin"]):
        model.sign(serialization={"ignore_paths": ignored})
        model.refused("not signed")
    assert model.verify("--ignore-path", "evil.py", "--ignore-path", "weights/evil.bin").code == 0
    for wrong in ("..", "/", "", "a/../b"):
        assert model.verify("--ignore-path", wrong).code == ExitCode.USAGE


def link(path: Path) -> None:
    path.symlink_to("config.json")


def directory_link(path: Path) -> None:
    path.symlink_to("weights")


def dangling(path: Path) -> None:
    path.symlink_to("/nowhere/at/all")


def pipe(path: Path) -> None:
    os.mkfifo(path)


def listening(path: Path) -> None:
    os.chdir(path.parent)
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(path.name)


@pytest.mark.parametrize("make", [link, directory_link, dangling, pipe, listening])
def test_a29_special_files(
    model: Model, make: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Links, pipes and sockets are refused, in the place of a signed file and beside it."""
    monkeypatch.chdir(model.top)
    make(model.root / "extra")
    model.refused()
    (model.root / "extra").unlink()
    (model.root / "weights/a.bin").unlink()
    make(model.root / "weights/a.bin")
    model.refused()


@guarded(("gitchain.collect.model_files:_ModelFileWalk.files", "follow_symlinks=False", "follow_symlinks=True"),
         ("gitchain.collect.model_files:_ModelFileWalk._file", "open_at(name, OPEN_FILE, handle, path)", "os.open(name, os.O_RDONLY, dir_fd=handle)"))  # fmt: skip
def test_a29_a_link_is_not_followed(model: Model) -> None:
    """A link to a file with the very content that was signed: what it points to can change at any time."""
    (model.top / "elsewhere").write_bytes(FILES["weights/a.bin"])
    (model.root / "weights/a.bin").unlink()
    (model.root / "weights/a.bin").symlink_to(model.top / "elsewhere")
    model.refused()


def test_a29_a_hard_link_to_the_signature_is_a_file(model: Model) -> None:
    """The bundle is left out where it lies, and not where else its bytes are."""
    inside = model.root / "model.sig"
    model.bundle.rename(inside)
    model.bundle = inside
    assert model.verify().code == 0
    os.link(inside, model.root / "config2.json")
    model.refused("not signed")


@pytest.mark.parametrize("name", ["back\\slash", "new\nline", "nfd-a\u0308", "rtl\u202e"])
def test_a13_file_names_that_can_be_read_in_two_ways(model: Model, name: str) -> None:
    """Names that no statement can hold are refused on disk too."""
    (model.root / name).write_bytes(b"")
    model.refused()


def test_a13_a_name_that_is_no_text(model: Model) -> None:
    """Bytes that are not UTF-8."""
    (Path(os.fsdecode(os.fsencode(model.root) + b"/\xff"))).write_bytes(b"")
    model.refused()


def test_a28_models_have_limits(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many files and too deep directories are exit code 8."""
    monkeypatch.setattr(model_files, "MAX_FILES", 2)
    assert model.verify().code == ExitCode.LIMIT
    monkeypatch.undo()
    deep = model.root
    for _ in range(70):
        deep /= "d"
    deep.mkdir(parents=True)
    assert model.verify().code == ExitCode.LIMIT


def test_a09_no_time_and_no_log_is_said(model: Model) -> None:
    """Without a log entry the output says that neither time nor log is proven, for people and in JSON."""
    done = model.verify()
    assert "not proven" in done.out
    assert "not logged" in done.out
    document = model.verify("--json").json
    assert (document["time"], document["log"]) == (None, None)


def test_a_model_that_is_one_file(model: Model) -> None:
    """The resource is named `.`; another content, a directory and a link fail."""
    model.sign(statement({".": b"{}"}))
    model.root /= "config.json"
    assert model.verify().code == 0
    model.root.write_bytes(b"other")
    model.refused("changed")
    model.root = model.root.parent
    assert model.verify().code != 0
    (model.root / "link").symlink_to("config.json")
    model.root /= "link"
    assert model.verify().code != 0
    model.root = Path("/dev/null")
    model.refused()


def test_wrong_usage_is_said(model: Model) -> None:
    """Nobody, two signers at once, no certificate, no such directory: exit code 2 or 1, never 0."""
    chain = model.top / "ca.pem"
    chain.write_bytes(certificate("ca", KEY).public_bytes(Encoding.PEM))
    base = ("bundle", "verify", "--bundle", str(model.bundle))
    assert call(*base, str(model.root), cwd=model.top).code == ExitCode.USAGE
    assert model.verify("--certificate-chain", str(chain)).code == ExitCode.USAGE
    assert (
        call(*base, "--certificate-chain", str(model.key), str(model.root), cwd=model.top).code
        == ExitCode.USAGE
    )
    assert (
        call(*base, "--certificate-chain", str(chain), str(model.root), cwd=model.top).code == ExitCode.FAILED
    )
    model.root = model.top / "nowhere"
    assert model.verify().code == ExitCode.USAGE
    model.bundle.write_text("{}")
    (model.top / "file").write_text("x")
    model.root = model.top / "file"
    assert model.verify("--ignore-path", "x").code == ExitCode.USAGE


@pytest.mark.parametrize("name", names(globals()))
def test_without_its_check_the_attack_succeeds(
    name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each attack's test goes red when the check that it names is taken out of the code."""
    goes_red(globals()[name], request, monkeypatch)
