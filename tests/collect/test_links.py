"""Links that are followed: snapshots of a Hugging Face cache and Kubernetes volumes give the digests of a plain copy."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gitchain.collect import file_digests
from gitchain.collect.artifacts import LINKS_ANNOTATION, collect_artifact
from gitchain.collect.inspect.opening import open_file
from gitchain.errors import ProjectError

FILES = {"config.json": b"{}", "weights/a.bin": b"a" * 100, "weights/deep/b.bin": b"bb"}
STAMP = "..2026_11_30_10_00_00.123456789"


def plain(root: Path) -> Path:
    for name, data in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def hugging_face(hub: Path) -> Path:
    """A snapshot as huggingface_hub leaves it: each file a relative link to a blob."""
    repo = hub / "models--org--name"
    snapshot = repo / "snapshots" / ("c" * 40)
    (repo / "blobs").mkdir(parents=True)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("c" * 40)
    for number, (name, data) in enumerate(FILES.items()):
        blob = repo / "blobs" / (f"{number:040x}" if number else f"{number:064x}")
        blob.write_bytes(data)
        link = snapshot / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    return snapshot


def kubernetes(root: Path) -> Path:
    """A volume as the kubelet's atomic writer leaves it."""
    plain(root / STAMP)
    (root / "..data").symlink_to(STAMP)
    for name in ("config.json", "weights"):
        (root / name).symlink_to(f"..data/{name}")
    return root


MAKERS = {"huggingface-cache": hugging_face, "kubernetes-volume": kubernetes}


@pytest.mark.parametrize("kind", MAKERS)
def test_directory_of_links_has_the_digest_of_a_plain_copy(tmp_path: Path, kind: str) -> None:
    """So a model that was downloaded elsewhere verifies; that links were followed stands in the descriptor."""
    copy = collect_artifact(tmp_path, plain(tmp_path / "plain").name)
    where = MAKERS[kind](tmp_path / "linked")
    found = collect_artifact(where.parent, where.name)
    assert found.descriptor.digest == copy.descriptor.digest
    assert found.md5 == copy.md5
    assert found.descriptor.annotations[LINKS_ANNOTATION] == {kind: 3}
    assert LINKS_ANNOTATION not in copy.descriptor.annotations
    assert collect_artifact(where.parent, where.name, md5=False).descriptor.annotations == {
        LINKS_ANNOTATION: {kind: 3}
    }


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("name", [*FILES, "weights", "weights/deep"])
def test_parts_of_a_directory_of_links_are_read(tmp_path: Path, kind: str, name: str) -> None:
    """A file or a directory in it, from the directory above or from far up, and when it is inspected."""
    copy = collect_artifact(plain(tmp_path / "plain"), name)
    where = MAKERS[kind](tmp_path / "linked")
    for root in (where, tmp_path):
        below = (where / name).relative_to(root).as_posix()
        found = collect_artifact(root, below)
        assert found.descriptor.digest == copy.descriptor.digest
        links: Any = found.descriptor.annotations[LINKS_ANNOTATION]
        assert list(links) == [kind]
        if name in FILES:
            with open_file(str(root), below) as handle:
                assert os.read(handle, 1000) == FILES[name]


def test_volume_may_lie_in_a_directory(tmp_path: Path) -> None:
    """A volume that is mounted below the model's directory."""
    top = tmp_path / "top"
    kubernetes(top / "mount")
    (top / "x").write_bytes(b"x")
    plain(tmp_path / "copy" / "mount")
    (tmp_path / "copy" / "x").write_bytes(b"x")
    found = collect_artifact(tmp_path, "top").descriptor
    assert found.digest == collect_artifact(tmp_path, "copy").descriptor.digest
    assert found.annotations[LINKS_ANNOTATION] == {"kubernetes-volume": 3}


def relink(link: Path, to: str) -> None:
    link.unlink()
    link.symlink_to(to)


def beside(snapshot: Path, name: str) -> Path:
    path = snapshot.parent.parent / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def second_name(snapshot: Path) -> None:
    blob = (snapshot / "config.json").resolve()
    os.link(blob, beside(snapshot, "outside"))


def linked_blob(snapshot: Path) -> None:
    blob = (snapshot / "config.json").resolve()
    blob.rename(beside(snapshot, "outside"))
    blob.symlink_to("../outside")


def fifo(snapshot: Path) -> None:
    blob = (snapshot / "config.json").resolve()
    blob.unlink()
    os.mkfifo(blob)


def linked_blobs(snapshot: Path) -> None:
    beside(snapshot, "blobs").rename(beside(snapshot, "other"))
    beside(snapshot, "blobs").symlink_to("other")


OUT_OF_SNAPSHOTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "absolute": (lambda s: relink(s / "config.json", "/etc/hostname"), "leads out"),
    "another repository": (
        lambda s: relink(s / "config.json", "../../../models--evil--x/blobs/" + "0" * 64),
        "leads out",
    ),
    "beside blobs": (lambda s: relink(s / "config.json", "../../refs/main"), "leads out"),
    "blobs themselves": (lambda s: relink(s / "weights/a.bin", "../../../blobs"), "leads out"),
    "below a blob": (lambda s: relink(s / "config.json", "../../blobs/x/y"), "leads out"),
    "in the snapshot": (lambda s: relink(s / "config.json", "weights/a.bin"), "leads out"),
    "itself": (lambda s: relink(s / "config.json", "config.json"), "leads out"),
    "dangling": (lambda s: (s / "config.json").resolve().unlink(), "leads to nothing"),
    "a pipe": (fifo, "no regular file"),
    "a linked blob": (linked_blob, "no regular file"),
    "a hard link": (second_name, "second name"),
    "linked blobs": (linked_blobs, "not followed"),
    "a directory": (
        lambda s: ((s / "config.json").resolve().unlink(), (s.parent.parent / "blobs" / f"{0:064x}").mkdir()),
        "no regular file",
    ),
}


@pytest.mark.parametrize("how", OUT_OF_SNAPSHOTS)
@pytest.mark.parametrize("single", [False, True], ids=["directory", "file"])
def test_links_out_of_a_snapshots_blobs_are_refused(tmp_path: Path, how: str, *, single: bool) -> None:
    """One clear error that names the link and why, for the whole snapshot and for the file alone."""
    spoil, why = OUT_OF_SNAPSHOTS[how]
    snapshot = hugging_face(tmp_path)
    (tmp_path / "models--evil--x/blobs").mkdir(parents=True)
    (tmp_path / "models--evil--x/blobs" / ("0" * 64)).write_bytes(b"x")
    spoil(snapshot)
    name = "weights/a.bin" if how == "blobs themselves" else "config.json"
    root, below = (snapshot, name) if single else (snapshot.parent, snapshot.name)
    with pytest.raises(ProjectError) as caught:
        collect_artifact(root, below)
    assert why in str(caught.value)
    assert name in str(caught.value)


def hidden(root: Path) -> None:
    (root / STAMP / "hidden.py").write_bytes(b"x")


OUT_OF_VOLUMES: dict[str, Callable[[Path], Any]] = {
    "entry that no link shows": hidden,
    "file beside the links": lambda root: (root / "extra").write_bytes(b"x"),
    "second stamp": lambda root: (root / "..2025").mkdir(),
    "link to another entry": lambda root: relink(root / "config.json", "..data/weights/a.bin"),
    "link past ..data": lambda root: relink(root / "config.json", f"{STAMP}/config.json"),
    "link out": lambda root: relink(root / "config.json", "/etc/hostname"),
    "file in place of a link": lambda root: (
        (root / "config.json").unlink(),
        (root / "config.json").write_bytes(b"{}"),
    ),
    "..data out": lambda root: (
        shutil.move(root / STAMP, root.parent / "away"),
        relink(root / "..data", "../away"),
    ),
    "..data is its parent": lambda root: relink(root / "..data", ".."),
    "..data absolute": lambda root: relink(root / "..data", str(root / STAMP)),
    "..data dangling": lambda root: relink(root / "..data", "..2025"),
    "..data to itself": lambda root: relink(root / "..data", "..data"),
    "linked stamp": lambda root: (
        (root / STAMP).rename(root.parent / "away"),
        (root / STAMP).symlink_to("../away"),
    ),
    "link inside": lambda root: relink(root / STAMP / "weights/a.bin", "/etc/hostname"),
    "pipe inside": lambda root: os.mkfifo(root / STAMP / "weights/pipe"),
}


@pytest.mark.parametrize("how", OUT_OF_VOLUMES)
def test_volumes_that_show_what_they_do_not_hold_are_refused(tmp_path: Path, how: str) -> None:
    """Nothing may lie in a volume unseen, and no link of it may lead elsewhere."""
    root = kubernetes(tmp_path / "volume")
    OUT_OF_VOLUMES[how](root)
    with pytest.raises(ProjectError):
        collect_artifact(tmp_path, "volume")
    if how not in {"link inside", "pipe inside", "file in place of a link"}:
        with pytest.raises(ProjectError):
            collect_artifact(tmp_path, "volume/config.json")
        with pytest.raises(ProjectError), open_file(str(tmp_path), "volume/config.json"):
            pass


def test_links_of_a_snapshot_count_in_a_snapshot_alone(tmp_path: Path) -> None:
    """Directories of other names are no cache: their links are refused as ever."""
    for top in ("models-org-name", "other"):
        (tmp_path / top / "blobs").mkdir(parents=True)
        (tmp_path / top / "blobs" / "x").write_bytes(b"x")
        (tmp_path / top / "snapshots" / "r").mkdir(parents=True)
        (tmp_path / top / "snapshots" / "r" / "f").symlink_to("../../blobs/x")
        with pytest.raises(ProjectError, match="not followed"):
            collect_artifact(tmp_path, f"{top}/snapshots/r")
    snapshot = hugging_face(tmp_path / "hub")
    (snapshot.parent / "main").symlink_to(snapshot.name)
    with pytest.raises(ProjectError, match="not followed"):
        collect_artifact(snapshot.parent, "main")


@pytest.mark.parametrize("kind", MAKERS)
def test_link_that_is_replaced_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The link has to lead to the file that was hashed, before and after."""
    where = MAKERS[kind](tmp_path / "linked")
    real = file_digests.FileHasher._read
    done: list[bool] = []

    def swap(self: Any, file: file_digests.OpenFile) -> tuple[str, str]:
        found = real(self, file)
        shown = file.place.shown
        if not done:
            done.append(True)
            if kind == "kubernetes-volume":
                shutil.copytree(where / STAMP, where / "..2027")
                relink(where / "..data", "..2027")
            else:
                other = where.parent.parent / "blobs" / ("f" * 40)
                other.write_bytes(b"other")
                relink(
                    where / shown.partition("/")[2],
                    os.path.relpath(other, (where / shown.partition("/")[2]).parent),
                )
        return found

    monkeypatch.setattr(file_digests.FileHasher, "_read", swap)
    with pytest.raises(ProjectError, match="changed while it was read"):
        collect_artifact(where.parent, where.name)
