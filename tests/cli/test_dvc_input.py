"""Broken DVC files, missing objects, links and names: one error that names the file, and nothing half-written."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gitchain.errors import ExitCode
from tests.support.prepared_repository import PreparedRepository, intact, refused

Gitchain = Callable[..., Any]

MARKERS = "<<<<<<< HEAD\n{}=======\n{}>>>>>>> other\n"
BROKEN = {
    "no yaml": b"stages: [unclosed\n",
    "a list": b"- 1\n- 2\n",
    "a number": b"7\n",
    "empty": b"",
    "tabs": b"stages:\n\ttrain:\n",
    "not utf-8": b"stages: \xff\xfe\n",
    "control character": b"stages:\n  tra\x07in: {}\n",
    "twice the same key": b"stages: {}\nstages: {}\n",
    "an alias bomb": b"a: &a [x,x,x,x]\nb: &b [*a,*a,*a,*a]\nstages: {x: *b}\n",
    "a tag": b"stages: !!python/object/apply:os.system ['true']\n",
    "deep": b"stages: " + b"[" * 1500 + b"]" * 1500,
    "stages a list": b"schema: '2.0'\nstages: [1]\n",
    "outs a number": b"schema: '2.0'\nstages:\n  train:\n    cmd: x\n    outs: 5\n",
    "path a number": b"schema: '2.0'\nstages:\n  train:\n    cmd: x\n    outs:\n    - path: 5\n      md5: abc\n",
    "path out": b"schema: '2.0'\nstages:\n  train:\n    cmd: x\n    outs:\n    - path: ../../etc/passwd\n      md5: " + b"0" * 32 + b"\n",
    "md5 not hex": b"schema: '2.0'\nstages:\n  train:\n    cmd: x\n    outs:\n    - path: model.bin\n      md5: '../../x'\n",
    "another schema": b"schema: '99'\nstages: {}\n",
}  # fmt: skip


@pytest.mark.parametrize("how", BROKEN)
def test_broken_lock(gitchain: Gitchain, world: PreparedRepository, how: str) -> None:
    """A dvc.lock that is none is refused by name; nothing is signed from the rest of it."""
    stored = world.stored()
    world.write("dvc.lock", BROKEN[how])
    done = gitchain("attest", cwd=world.repo)
    if how in {"empty", "another schema"} and done.code == 0:
        assert world.stored() == stored
    else:
        refused(done, done.code, "dvc.lock" if how != "path out" else "")
        assert done.code in {ExitCode.USAGE, ExitCode.LIMIT}
    assert world.waiting() == set()
    intact(world, stored)


@pytest.mark.parametrize("how", [key for key in BROKEN if key not in {"empty", "another schema"}])
def test_broken_data_file(gitchain: Gitchain, world: PreparedRepository, how: str) -> None:
    """A broken .dvc file stops `attest` and names itself; it is never skipped in silence."""
    world.write("raw.dvc", BROKEN[how].replace(b"schema: '2.0'\n", b""))
    done = gitchain("attest", cwd=world.repo)
    refused(done, done.code, "raw.dvc")
    assert done.code in {ExitCode.USAGE, ExitCode.LIMIT}
    intact(world)


@pytest.mark.parametrize(
    "how", [key for key in BROKEN if key not in {"empty", "another schema", "md5 not hex"}]
)
@pytest.mark.parametrize("command", ["layout draft", "run train -- true"])
def test_broken_pipeline(gitchain: Gitchain, world: PreparedRepository, how: str, command: str) -> None:
    """A broken dvc.yaml stops what needs it: with usage, or as `run`'s own failure."""
    world.write("dvc.yaml", BROKEN[how])
    done = gitchain(*command.split(), cwd=world.repo)
    code = ExitCode.LIMIT if how == "deep" else ExitCode.USAGE
    refused(done, ExitCode.RUN if command.startswith("run") else code, "dvc.yaml")
    intact(world)


@pytest.mark.parametrize("name", ["dvc.lock", "dvc.yaml", "raw.dvc"])
def test_merge_markers(gitchain: Gitchain, world: PreparedRepository, name: str) -> None:
    """A file with merge markers: the error names it and says that a merge is unfinished."""
    body = (world.repo / "dvc.lock").read_text()
    world.write(name, MARKERS.format(body, body))
    done = gitchain(*(("layout", "draft") if name == "dvc.yaml" else ("attest",)), cwd=world.repo)
    refused(done, ExitCode.USAGE, name, "merge")
    intact(world)


def test_verify_a_commit_with_a_broken_lock(gitchain: Gitchain, world: PreparedRepository) -> None:
    """A commit whose dvc.lock is broken has no verdict; a commit before it still has one, and sync fails and says why."""
    world.write("dvc.lock", MARKERS.format("a: 1\n", "b: 2\n"))
    world.git("commit", "-qam", "broken")
    refused(gitchain("verify", "HEAD", cwd=world.repo), ExitCode.USAGE, "dvc.lock")
    assert gitchain("verify", "HEAD~1", cwd=world.repo).code == 0
    done = gitchain("sync", cwd=world.repo)
    assert done.code == ExitCode.USAGE
    assert "dvc.lock" in done.err


def test_missing_cache_objects(gitchain: Gitchain, world: PreparedRepository) -> None:
    """The bytes that a lock file records are nowhere: attest and verify say which, and how to get them."""
    (world.repo / "model.bin").unlink()
    world.write("dvc.lock", (world.repo / "dvc.lock").read_text().replace("cmd: x", "cmd: y"))
    done = gitchain("attest", "train", cwd=world.repo)
    refused(done, ExitCode.USAGE, "model.bin", "dvc")
    refused(gitchain("verify", "HEAD", cwd=world.repo), ExitCode.NOTHING, "model.bin", "dvc fetch")
    refused(gitchain("verify", "model.bin", cwd=world.repo), ExitCode.USAGE, "model.bin")
    intact(world)


def test_half_a_directory_in_the_cache(gitchain: Gitchain, world: PreparedRepository) -> None:
    """A .dir object that is garbage, and one whose files are missing: no verdict, no evidence."""
    world.write("set.dvc", "outs:\n- path: set\n  hash: md5\n  md5: " + "ab" * 16 + ".dir\n")
    for content in (b"garbage", b"[]", b'[{"md5": "../../../x", "relpath": "a"}]', b'[{"md5": "' + b"cd" * 16 + b'", "relpath": "../a"}]'):  # fmt: skip
        world.write(".dvc/cache/files/md5/ab/" + "ab" * 15 + ".dir", content)
        refused(gitchain("attest", "set.dvc", cwd=world.repo), ExitCode.FAILED, "set", "dvc")
    intact(world)


@pytest.mark.parametrize("target", ["/etc/hostname", "../outside", "nowhere", "model.bin", "."])
def test_links_are_not_followed(gitchain: Gitchain, world: PreparedRepository, target: str) -> None:
    """A link out of the tree, to nothing, or to itself is refused as a product, a material and a target."""
    (world.repo.parent / "outside").write_text("secret")
    (world.repo / "link").symlink_to(target)
    for command in (
        ("attest", "x", "-m", "dvc.lock", "-p", "link"),
        ("attest", "x", "-m", "link", "-p", "dvc.lock"),
        ("verify", "link"),
        ("log", "link"),
    ):
        refused(gitchain(*command, cwd=world.repo), ExitCode.USAGE, "link")
    refused(gitchain("run", "x", "-p", "link", "--", "true", cwd=world.repo), ExitCode.RUN, "link")
    intact(world)


def test_links_inside_a_directory_and_on_the_way(gitchain: Gitchain, world: PreparedRepository) -> None:
    """A link inside a directory artifact, and a linked parent directory, lead nowhere."""
    (world.repo / "tree").mkdir()
    (world.repo / "tree/x").symlink_to("/etc/hostname")
    (world.repo / "etc").symlink_to("/etc")
    for name in ("tree", "etc/hostname"):
        refused(gitchain("attest", "x", "-p", name, cwd=world.repo), ExitCode.USAGE, name.split("/")[0])


@pytest.mark.parametrize("kind", ["fifo", "socket", "device"])
def test_special_files(gitchain: Gitchain, world: PreparedRepository, kind: str) -> None:
    """A pipe without a writer does not hang us; no device is read."""
    path = world.repo / "special"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        import socket

        with socket.socket(socket.AF_UNIX) as one, __import__("contextlib").chdir(world.repo):
            one.bind("special")
    else:
        path = Path("/dev/zero")
    for command in (("attest", "x", "-p", str(path)), ("verify", str(path))):
        refused(gitchain(*command, cwd=world.repo), ExitCode.USAGE)
    intact(world)


NAMES = {
    "newline": "a\nb",
    "carriage return": "a\rb",
    "escape": "a\x1b[31mb",
    "not utf-8": os.fsdecode(b"a\xffb"),
    "backslash": "a\\b",
    "right to left": "a\u202eb",
    "not normalised": "e\u0301",
}


@pytest.mark.parametrize("how", NAMES)
def test_names_of_files(gitchain: Gitchain, world: PreparedRepository, how: str) -> None:
    """A file whose name could be read in two ways is refused by name, alone and inside a directory."""
    name = NAMES[how]
    world.write("plain/inside", "x")
    for path in (world.repo / name, world.repo / "plain" / name):
        path.write_text("x")
    for command in (("attest", "x", "-p", name), ("attest", "x", "-p", "plain"), ("verify", name)):
        refused(gitchain(*command, cwd=world.repo), ExitCode.USAGE)
    intact(world)


@pytest.mark.parametrize("target", ["x" * 10_000, "a/" * 5000 + "x", "../" * 3000 + "etc", "x\n" * 5000, "-", "--", "@{", "HEAD^{/x}", "\x1b]0;x\x07"])  # fmt: skip
@pytest.mark.parametrize("verb", ["verify", "log", "show"])
def test_names_that_nothing_has(
    gitchain: Gitchain, world: PreparedRepository, target: str, verb: str
) -> None:
    """10,000 characters, a revision expression that matches nothing, a dash: one short error, whatever was typed."""
    done = gitchain(verb, "--", target, cwd=world.repo)
    refused(done, done.code)
    assert done.code in {ExitCode.USAGE, ExitCode.NOTHING}


@pytest.mark.parametrize("name", ["x" * 10_000, "../outside", "/etc/passwd", "", ".", "data/../../outside", "a/" * 300 + "b"])  # fmt: skip
def test_paths_that_leave(gitchain: Gitchain, world: PreparedRepository, name: str) -> None:
    """What is outside of the repository, the repository itself, and what is too long is no artifact."""
    (world.repo.parent / "outside").write_text("secret")
    refused(gitchain("attest", "x", "-p", name, cwd=world.repo), ExitCode.USAGE)
    refused(gitchain("attest", "x", "-m", name, "-p", "dvc.lock", cwd=world.repo), ExitCode.USAGE)
    refused(gitchain("run", "x", "-p", name, "--", "true", cwd=world.repo), ExitCode.RUN)
    intact(world)


@pytest.mark.parametrize("step", ["a\nb", "x" * 10_000, "", " x", "e\u0301", os.fsdecode(b"\xff"), "\x1b[0m"])
def test_names_of_steps(gitchain: Gitchain, world: PreparedRepository, step: str) -> None:
    """A step name that a report could not show is refused before anything is signed or run."""
    refused(gitchain("attest", step, "-p", "dvc.lock", cwd=world.repo), ExitCode.USAGE, "step")
    refused(gitchain("run", step, "-p", "made", "--", "touch", "made", cwd=world.repo), ExitCode.RUN, "step")
    assert not (world.repo / "made").exists()
    intact(world)


@pytest.mark.parametrize("name", ["a\nb", "x" * 10_000, os.fsdecode(b"\xff"), "\x1b[0m", '"]\nx = "'])
def test_names_of_layouts(gitchain: Gitchain, git_repo: Path, name: str) -> None:
    """A layout name is one line that everybody can read, or `init` refuses it and writes nothing."""
    done = gitchain("init", "--local", "--name", name, "--no-hooks", cwd=git_repo)
    if done.code != 0:
        refused(done, ExitCode.USAGE)
        assert not (git_repo / ".gitchain").exists()
    else:
        assert gitchain("log", cwd=git_repo).code in {ExitCode.NOTHING, 0}
        assert (git_repo / ".gitchain/config.toml").read_text().count("\n") == 5


def test_a_directory_with_an_unreadable_name(gitchain: Gitchain, world: PreparedRepository) -> None:
    """A repository below a directory whose name is not UTF-8 works."""
    place = world.repo.parent / os.fsdecode(b"caf\xe9")
    world.repo.rename(place)
    moved = PreparedRepository(place, world.home)
    done = gitchain("attest", "x", "-p", "dvc.lock", "--json", cwd=place)
    assert done.code == 0, done.text
    assert json.loads(done.out)
    assert gitchain("doctor", cwd=place).code == 0
    assert gitchain("verify", "model.bin", cwd=place).code == 0
    assert sys.getfilesystemencoding() == "utf-8"
    intact(moved)
