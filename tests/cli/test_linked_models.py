"""Models whose files are links: a Hugging Face snapshot and a Kubernetes volume, with every verb that reads a model."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gitchain.errors import ExitCode

Gitchain = Callable[..., Any]
FILES = {"config.json": b"{}", "deep/weights.bin": b"weights"}
LAYOUT = """
inspections: [{name: small, kind: size, artifacts: ['*'], maxBytes: 1000}]
"""


def plain(root: Path) -> Path:
    for name, data in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def snapshot(hub: Path) -> Path:
    repo = hub / "models--org--name"
    (repo / "blobs").mkdir(parents=True)
    for number, (name, data) in enumerate(FILES.items()):
        (repo / "blobs" / f"{number:040x}").write_bytes(data)
        link = repo / "snapshots" / "rev" / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(repo / "blobs" / f"{number:040x}", link.parent))
    return repo / "snapshots" / "rev"


def volume(mount: Path) -> Path:
    plain(mount / "..2026_11_30")
    (mount / "..data").symlink_to("..2026_11_30")
    for name in ("config.json", "deep"):
        (mount / name).symlink_to(f"..data/{name}")
    return mount


MAKERS = {"huggingface-cache": snapshot, "kubernetes-volume": volume}


@pytest.fixture
def attested(gitchain: Gitchain, tiny: Path) -> Path:
    """Return a repository with a plain model that was attested, and a layout that inspects it."""
    layout = tiny / ".gitchain/layout.yaml"
    text = layout.read_text().replace("model.txt", "model").replace("version: 1", "version: 2", 1)
    layout.write_text(text + LAYOUT)
    assert gitchain("layout", "sign", cwd=tiny).code == 0
    plain(tiny / "model")
    assert gitchain("attest", "train", "-m", "in.txt", "-p", "model", cwd=tiny).code == 0
    return tiny


@pytest.mark.parametrize("kind", MAKERS)
def test_linked_model_verifies_like_its_plain_copy(
    gitchain: Gitchain, process: Gitchain, attested: Path, tmp_path: Path, kind: str
) -> None:
    """Attested as plain files; verified, guarded, copied and fetched where its files are links."""
    shutil.rmtree(attested / "model")
    where = MAKERS[kind](tmp_path / "cache")
    for command in (
        ("verify", str(where)),
        ("fetch", str(where), str(tmp_path / "to")),
    ):
        done = gitchain(*command, cwd=attested)
        assert done.code == ExitCode.OK, done.err + done.out
    copied = {
        path.relative_to(tmp_path / "to").as_posix()
        for path in (tmp_path / "to").rglob("*")
        if path.is_file() and not path.is_symlink()
    }
    assert copied == set(FILES)
    for options in ((), ("--copy", str(tmp_path / "copies"))):
        done = process("guard", "--name", "model", *options, str(where), "--", "true", "{}", cwd=attested)
        assert done.code == 0, done.err
    (where / "deep/weights.bin").resolve().write_bytes(b"weightz")
    assert gitchain("verify", str(where), cwd=attested).code != ExitCode.OK
    done = process("guard", "--name", "model", str(where), "--", "true", "{}", cwd=attested)
    assert done.code == ExitCode.RUN


@pytest.mark.parametrize("kind", MAKERS)
def test_linked_model_is_attested_and_said_to_be(gitchain: Gitchain, attested: Path, kind: str) -> None:
    """What a link led to is hashed, and the statement says so; a copy of it verifies."""
    where = MAKERS[kind](attested / "cache")
    name = where.relative_to(attested).as_posix()
    layout = attested / ".gitchain/layout.yaml"
    text = (
        layout.read_text().replace("version: 2", "version: 3", 1).replace("[CREATE, model]", "[CREATE, '*']")
    )
    layout.write_text(text.replace("products: [model]", f"products: ['{name}']"))
    assert gitchain("layout", "sign", cwd=attested).code == 0
    done = gitchain("attest", "train", "-m", "in.txt", "-p", name, "--json", cwd=attested)
    assert done.code == 0, done.err
    assert gitchain("verify", name, cwd=attested).code == ExitCode.OK
    identity = done.json["attested"][0]["id"]
    shown = gitchain("show", identity, "--json", cwd=attested)
    assert f'"gitchain.followedLinks":{{"{kind}":2}}' in shown.out.replace(" ", "").replace("\n", "")


@pytest.mark.parametrize("kind", MAKERS)
def test_linked_model_with_a_link_that_leaves_is_refused(
    gitchain: Gitchain, process: Gitchain, attested: Path, tmp_path: Path, kind: str
) -> None:
    """By every verb, with the link's name; a fetch leaves nothing."""
    where = MAKERS[kind](tmp_path / "cache")
    (tmp_path / "outside").write_bytes(b"{}")
    (where / "config.json").unlink()
    (where / "config.json").symlink_to(tmp_path / "outside")
    done = gitchain("verify", str(where), cwd=attested)
    assert done.code == ExitCode.USAGE
    assert "config.json" in done.err
    done = process("guard", "--name", "model", str(where), "--", "true", "{}", cwd=attested)
    assert done.code == ExitCode.RUN
    assert "config.json" in done.err


def test_guard_looks_at_who_may_write_what_a_link_leads_to(
    gitchain: Gitchain, process: Gitchain, attested: Path, tmp_path: Path
) -> None:
    """A blob that others may write is an open window, though the snapshot itself is closed."""
    where = snapshot(tmp_path / "cache")
    command = ("guard", "--name", "model", "--require", "narrowed", str(where), "--", "true")
    assert process(*command, cwd=attested).code == 0
    blobs = where.parent.parent / "blobs"
    for spoilt in (blobs, next(blobs.iterdir())):
        before = spoilt.stat().st_mode
        spoilt.chmod(0o777)
        done = process(*command, cwd=attested)
        assert done.code == ExitCode.RUN
        assert str(spoilt) in done.err
        spoilt.chmod(before)
