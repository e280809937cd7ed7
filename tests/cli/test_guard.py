"""guard: the command runs on verified bytes or not at all, and who could still change them is said."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gitchain.cli.output import NOTICE
from gitchain.consume import mutability as windows
from gitchain.consume.mutability import window
from gitchain.consume.private_copy import copy_private, remove
from gitchain.errors import ExitCode, ProjectError
from gitchain.platform.mounts import Mount, read_mounts

Gitchain = Callable[..., Any]
SHARDS = [f"model-{number:05}-of-00005.safetensors" for number in range(1, 6)]
LAYOUT = """\
schema: https://gitchain.dev/layout/v1
name: shards
version: 1
expires: '2099-01-01T00:00:00Z'
functionaries: {{ada: {{identities: [{{issuer: '{issuer}', subject: ada@example.com}}]}}}}
steps:
  - name: train
    functionaries: [ada]
    expectedMaterials: [[ALLOW, '*']]
    expectedProducts: [[CREATE, 'model'], [CREATE, 'model/*'], [DISALLOW, '*']]
serve: [{{step: train, products: ['model']}}]
"""


@pytest.fixture
def model(gitchain: Gitchain, git_repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an attested directory of five shards outside of its repository, with layout and evidence beside it."""
    assert gitchain("init", "--local", "--name", "shards", cwd=git_repo).code == 0
    issuer = gitchain("local", "status", "--json", cwd=git_repo).json["issuer"]
    (git_repo / "model").mkdir()
    for number, shard in enumerate(SHARDS):
        (git_repo / "model" / shard).write_bytes(bytes([number]) * 100_000)
    (git_repo / "model" / "sub").mkdir()
    (git_repo / "model" / "sub" / "run.sh").write_text("#!/bin/sh\n")
    (git_repo / "model" / "sub" / "run.sh").chmod(0o755)
    (git_repo / "in.txt").write_text("in")
    (git_repo / ".gitchain/layout.yaml").write_text(LAYOUT.format(issuer=issuer))
    assert gitchain("layout", "sign", cwd=git_repo).code == 0
    assert gitchain("attest", "train", "-m", "in.txt", "-p", "model", cwd=git_repo).code == 0
    away = tmp_path / "away"
    assert gitchain("bundle", "push", str(away / "evidence"), cwd=git_repo).code == 0
    shutil.copy(git_repo / ".gitchain/layout.sigstore.json", away / "layout.sigstore.json")
    shutil.copytree(git_repo / "model", away / "model")
    monkeypatch.setenv("TEST_ISSUER", issuer)
    return away / "model"


@pytest.fixture
def guard(process: Gitchain, model: Path) -> Gitchain:
    """Return a function that guards the model with a command, as a process of its own."""

    def call(*args: str, **kwargs: Any) -> Any:
        policy = ["--layout", "layout.sigstore.json", "--signer", "ada@example.com", "--issuer"]
        policy += [os.environ["TEST_ISSUER"], "--trust", "local", "--evidence", "evidence"]
        return process("guard", *policy, "model", *args, cwd=model.parent, **kwargs)

    return call


def python(code: str) -> tuple[str, ...]:
    return ("--", sys.executable, "-c", code)


def flip(path: Path, at: int = -1) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)


def test_the_command_takes_this_process_over(guard: Gitchain, model: Path) -> None:
    """Exit code, stdin, environment, directory and arguments are the command's own; {} and GITCHAIN_MODEL are the model."""
    code = (
        "import os, sys; print(sys.stdin.read(), os.environ['MINE'], os.getcwd(), sys.argv[1:], "
        "os.environ['GITCHAIN_MODEL']); sys.exit(42)"
    )
    done = guard(*python(code), "--port", "{}/x", input="hello", env=os.environ | {"MINE": "yes"})
    assert done.code == 42
    assert done.out == f"hello yes {model.parent} ['--port', '{model}/x'] {model}\n"
    assert "verified  " in done.err
    assert NOTICE in done.err  # the trust is that of an embedded instance


def test_descriptors_reach_the_command(guard: Gitchain) -> None:
    """A descriptor that this process was started with, such as a listening socket, is the command's."""
    ours, theirs = os.pipe()
    try:
        done = guard(*python(f"import os; os.write({theirs}, b'here')"), pass_fds=(theirs,))
    finally:
        os.close(theirs)  # else reading would wait for a command that has not written
    with os.fdopen(ours, "rb") as pipe:
        assert (done.code, pipe.read()) == (0, b"here")


@pytest.mark.parametrize("place", [(), ("--copy", "copies")], ids=["in place", "copy"])
def test_one_flipped_byte_in_the_last_shard_is_refused(
    guard: Gitchain, model: Path, place: tuple[str, ...]
) -> None:
    """The last bit of the last file of five counts; the command does not start, and no copy stays."""
    flip(model / SHARDS[-1])
    started = model.parent / "started"
    done = guard("--name", "model", *place, *python(f"open({str(started)!r}, 'w') # {{}}"))
    assert (done.code, started.exists()) == (ExitCode.RUN, False)
    assert SHARDS[-1] in done.out
    assert not list((model.parent / "copies").glob("*"))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda model: (model / SHARDS[0]).unlink(),
        lambda model: (model / "extra.bin").write_bytes(b"x"),
        lambda model: (model / SHARDS[0]).rename(model / "renamed"),
        lambda model: (model / "link").symlink_to("/etc/passwd"),
        lambda model: os.mkfifo(model / "pipe"),
        shutil.rmtree,
    ],
    ids=["missing", "added", "renamed", "link", "pipe", "gone"],
)
@pytest.mark.parametrize("place", [(), ("--copy", "copies")], ids=["in place", "copy"])
def test_another_model_is_refused(
    guard: Gitchain, model: Path, spoil: Callable[[Path], Any], place: tuple[str, ...]
) -> None:
    spoil(model)
    done = guard(*place, *python("print('started') # {}"))
    assert (done.code, "started\n" in done.out) == (ExitCode.RUN, False)
    assert "Traceback" not in done.err


def test_a_copy_is_private_and_named_by_its_digest(guard: Gitchain, model: Path) -> None:
    """--copy closes the window: read-only, for this user alone, and what happens to the original does not reach it."""
    done = guard("--copy", "copies", "--require", "closed", *python("import sys; print(sys.argv[1])"), "{}")
    assert (done.code, "window    closed" in done.err) == (0, True)
    place = Path(done.out.strip())
    (named,) = (model.parent / "copies").iterdir()
    assert (named.stat().st_mode & 0o777, named.stat().st_uid) == (0o700, os.geteuid())
    assert (place.parent, named.name[:7]) == (named, "sha256-")
    modes = {str(one.relative_to(place)): one.stat().st_mode & 0o777 for one in place.rglob("*")}
    assert modes["sub"] == 0o500
    assert modes["sub/run.sh"] == 0o500
    assert {modes[shard] for shard in SHARDS} == {0o400}
    flip(model / SHARDS[0])
    assert (place / SHARDS[0]).read_bytes()[-1] == 0


def test_a_copy_is_used_again_and_hashed_again(guard: Gitchain, model: Path) -> None:
    """The second start copies nothing; a copy that was spoilt meanwhile is replaced by one that verifies."""
    show = python("import os, sys; print(sys.argv[1], os.stat(sys.argv[1]).st_ino)")
    first = guard("--copy", "copies", *show, "{}")
    again = guard("--copy", "copies", *show, "{}")
    assert (first.code, first.out) == (0, again.out)
    flip(Path(first.out.split()[0]) / SHARDS[-1])
    healed = guard("--copy", "copies", *show, "{}")
    assert (healed.code, healed.out.split()[0]) == (0, first.out.split()[0])
    assert healed.out != first.out
    assert len(list((model.parent / "copies").iterdir())) == 1


def test_a_name_binds_the_model(guard: Gitchain) -> None:
    """With --name only evidence for that name counts: another model of the same layout does not pass for it."""
    assert guard("--name", "model", "--", "true").code == 0
    assert guard("--name", "another", "--", "true").code == ExitCode.RUN


def test_a_window_that_is_open_is_said_and_can_be_refused(guard: Gitchain, model: Path) -> None:
    """Others may write the last shard: the command runs and is told, or --require keeps it from starting."""
    (model / SHARDS[-1]).chmod(0o666)
    done = guard(*python("pass"))
    assert (done.code, "window    open: others may write" in done.err) == (0, True)
    refused = guard("--require", "narrowed", *python("print('started')"))
    assert (refused.code, refused.out) == (ExitCode.RUN, "")
    assert "--copy DIR" in refused.err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), "no command to run"),
        (("--copy", "copies", "--", "true"), "does not name the copy"),
        (("--", "/nowhere/at-all"), "cannot start the command"),
        (("--evidence", "nowhere", "--", "true"), "no such source"),
        (("--layout", "nowhere", "--", "true"), "layout"),
    ],
)
def test_what_keeps_the_command_from_starting_is_125(
    guard: Gitchain, args: tuple[str, ...], said: str
) -> None:
    done = guard(*args)
    assert (done.code, said in done.err, done.err.count("error:")) == (ExitCode.RUN, True, 1)


def test_signals_reach_the_command(model: Path, guard: Gitchain) -> None:
    """It is the same process: its id does not change, a signal kills it, and a closed pipe ends it as anywhere."""
    policy = ["--layout", "layout.sigstore.json", "--signer", "ada@example.com", "--issuer"]
    policy += [os.environ["TEST_ISSUER"], "--trust", "local", "--evidence", "evidence"]
    code = "import os, signal; print(os.getpid(), flush=True); signal.pause()"
    child = subprocess.Popen(
        [sys.executable, "-m", "gitchain", "-q", "guard", *policy, "model", *python(code)],
        cwd=model.parent,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert int(child.stdout.readline()) == child.pid
    child.send_signal(signal.SIGTERM)
    assert child.wait(20) == -signal.SIGTERM
    child.stdout.close()
    shell = guard("--", "sh", "-c", "kill -PIPE $$; echo survived")
    assert (shell.code, "survived" in shell.out) == (-signal.SIGPIPE, False)


def test_without_evidence_nothing_starts(process: Gitchain, model: Path) -> None:
    policy = ["--layout", "layout.sigstore.json", "--signer", "ada@example.com", "--issuer"]
    done = process(
        "guard",
        *policy,
        os.environ["TEST_ISSUER"],
        "--trust",
        "local",
        "model",
        "--",
        "echo",
        "x",
        cwd=model.parent,
    )
    assert (done.code, "x\n" in done.out) == (ExitCode.RUN, False)


def test_guard_refuses_a_layout_of_another_name(process: Gitchain, model: Path) -> None:
    """`--layout-name` names the layout by which the model must pass."""
    policy = ["--layout", "layout.sigstore.json", "--layout-name", "other", "--signer", "ada@example.com"]
    issuer = ["--issuer", os.environ["TEST_ISSUER"], "--trust", "local", "--evidence", "evidence"]
    done = process("guard", *policy, *issuer, "model", "--", "echo", "started", cwd=model.parent)
    assert (done.code, "started" in done.out) == (ExitCode.RUN, False)
    assert "other" in done.err


@pytest.fixture
def private(tmp_path: Path) -> Path:
    """Return a directory with a file in it that only this user can change."""
    place = tmp_path / "private"
    place.mkdir(mode=0o700)
    (place / "file").write_bytes(b"x")
    (place / "file").chmod(0o600)
    return place


def test_a_private_directory_is_closed(private: Path) -> None:
    found = window(private)
    assert found.state in {"closed", "narrowed"}
    assert found.state == "closed" or "cannot be seen" in found.reason or "is on" in found.reason
    assert window(private, fresh=True).state == "closed" or "is on" in window(private, fresh=True).reason


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
@pytest.mark.parametrize("name", ["", "file"])
def test_what_others_may_write_is_open(private: Path, name: str, mode: int) -> None:
    """The directory itself, and each file in it."""
    (private / name).chmod(mode | (0o100 if not name else 0))
    found = window(private)
    assert (found.state, "others may write" in found.reason) == ("open", True)


def test_a_directory_above_that_others_may_write_is_open_unless_it_is_sticky(private: Path) -> None:
    """Who can rename the directory can replace the model; a sticky directory keeps others from that."""
    above = private / "above"
    (above / "model").mkdir(parents=True, mode=0o700)
    above.chmod(0o777)
    assert window(above / "model").state == "open"
    above.chmod(0o1777)
    assert window(above / "model", fresh=True).state != "open"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_belongs_to_another_user_is_open(private: Path) -> None:
    os.chown(private / "file", 12345, -1)
    found = window(private)
    assert (found.state, "belongs to uid 12345" in found.reason) == ("open", True)


def test_a_file_that_is_open_for_writing_is_not_closed(private: Path) -> None:
    """A read lease is refused while somebody could still write through a descriptor of theirs."""
    with (private / "file").open("r+b"):
        assert window(private).state != "closed"
    assert "open for writing" not in window(private).reason or window(private).state == "narrowed"


def test_links_and_foreign_file_systems_narrow(private: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be excluded is said, and is not called closed."""
    (private / "link").symlink_to("file")
    assert window(private, fresh=True).reason.endswith("link is a link")
    (private / "link").unlink()
    other = private.parent / "other"
    other.symlink_to(private)
    assert "leads through a link" in window(other, fresh=True).reason
    monkeypatch.setattr(windows, "LOCAL", frozenset())
    found = window(private, fresh=True)
    assert (found.state, "it is on " in found.reason) == ("narrowed", True)


@pytest.mark.parametrize(
    ("kind", "options", "state"),
    [
        ("fuse.sshfs", "rw,user_id=12345,group_id=0", "open"),
        ("fuse.sshfs", f"rw,user_id={os.geteuid()},group_id=0", "narrowed"),
        ("nfs4", "rw", "narrowed"),
        ("ext4 /dev/loop0", "rw", "narrowed"),
        ("btrfs /dev/loop12", "ro", "narrowed"),
        ("xfs /dev/nbd0p1", "rw", "narrowed"),
        ("ext4 /dev/vda1", "rw", "closed"),
    ],
)
def test_window_of_a_file_system_that_a_program_or_a_server_serves(
    private: Path, monkeypatch: pytest.MonkeyPatch, kind: str, options: str, state: str
) -> None:
    """Another user's program can change every byte that it serves; a server, or a program of ours, may."""
    device = private.lstat().st_dev
    kind, _, source = kind.partition(" ")
    line = f"1 1 {os.major(device)}:{os.minor(device)} / {private} rw - {kind} {source or 'x'} {options}"
    table = (*read_mounts(), Mount.parse(line))
    monkeypatch.setattr(windows, "read_mounts", lambda: table)
    found = window(private, fresh=True)
    assert (found.state, (source or kind) in found.reason or state == "closed") == (state, True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_window_is_open_where_another_user_can_replace_a_link(private: Path) -> None:
    """Who owns a link in a sticky directory for everybody replaces it, whatever it leads to now; also on a longer way."""
    shared = private.parent / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    for name, target in (("direct", private), ("folder", private.parent), ("twice", shared / "direct")):
        (shared / name).symlink_to(target)
    for path in (shared / "direct", shared / "folder" / "private", shared / "twice"):
        assert window(path, fresh=True).state == "narrowed"
    os.chown(shared / "direct", 12345, -1, follow_symlinks=False)
    around = shared / "folder" / ".." / shared.parent.name / "shared" / "direct"
    for path in (shared / "direct", shared / "twice", around):
        found = window(path, fresh=True)
        assert (found.state, str(shared) in found.reason) == ("open", True)
    assert window(shared / "folder" / "private", fresh=True).state == "narrowed"


def test_window_is_open_where_a_link_passes_a_directory_of_everybody(private: Path) -> None:
    shared = private.parent / "shared"
    shared.mkdir()
    (shared / "link").symlink_to(private)
    shared.chmod(0o777)
    assert window(shared / "link", fresh=True).state == "open"
    (private / "inside").symlink_to(shared / "link" / "file")
    assert window(private, fresh=True).state == "open"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_window_looks_at_what_links_inside_lead_to(private: Path) -> None:
    (private.parent / "elsewhere").mkdir()
    (private.parent / "elsewhere" / "weights").write_bytes(b"x")
    (private / "link").symlink_to("../elsewhere")
    assert window(private, fresh=True).state == "narrowed"
    os.chown(private.parent / "elsewhere" / "weights", 12345, -1)
    found = window(private, fresh=True)
    assert (found.state, "belongs to uid 12345" in found.reason) == ("open", True)


def test_window_follows_no_endless_links_and_no_missing_ones(private: Path) -> None:
    (private / "nowhere").symlink_to("missing")
    assert window(private, fresh=True).state == "narrowed"
    (private.parent / "loop").symlink_to("loop")
    with pytest.raises(ProjectError):
        window(private.parent / "loop")
    with pytest.raises(ProjectError):
        window(private / "missing")


MOUNTED = """\
import sys, subprocess
from pathlib import Path
from gitchain.consume.mutability import window
place = Path(sys.argv[1])
def mount(*words):
    subprocess.run(["mount", *words], check=True)
print(window(place, fresh=True).state)
mount("-t", "tmpfs", "-o", "mode=0700", "none", str(place / "sub"))
print(window(place, fresh=True))
mount("--bind", "/etc/hostname", str(place / "file"))
print(window(place, fresh=True))
mount("--rbind", "/proc", str(place / "sub"))
print(window(place / "sub" / "version", fresh=True))
mount("-t", "tmpfs", "-o", "mode=0777", "none", str(place / "here"))
mount("-o", "remount,ro", str(place / "here"))
print(window(place / "here", fresh=True))
"""


def test_window_sees_what_is_mounted_inside(private: Path) -> None:
    """Also a single file, at whatever depth, or read-only here; run in a mount namespace of its own where that is allowed."""
    for name in ("sub", "here"):
        (private / name).mkdir(mode=0o700)
    command = ["unshare", "--mount", "--map-root-user", sys.executable, "-c", MOUNTED, str(private)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "unshare" in done.stderr:
        pytest.skip(f"NOT RUN without mount namespaces: {done.stderr[:100]}")
    before, *after = done.stdout.splitlines()
    assert before in {"closed", "narrowed"}, done.stderr
    assert "(tmpfs) is mounted inside of it" in after[0]
    assert "is mounted inside of it" in after[1]
    assert "it is on proc" in after[2]
    assert "read-only here, but others may write" in after[3]
    assert not any("state='closed'" in line for line in after)


def test_copies_are_whole_and_can_be_removed(tmp_path: Path) -> None:
    """Names, bytes and the executable bit; a link to a file is followed, anything else that is no file is refused."""
    source = tmp_path / "source"
    (source / "a" / "b").mkdir(parents=True)
    (source / "a" / "b" / "x").write_bytes(b"x" * 100)
    (source / "a" / "run").write_bytes(b"")
    (source / "a" / "run").chmod(0o700)
    (source / "link").symlink_to("a/b/x")
    copy_private(source, tmp_path / "copy")
    assert (tmp_path / "copy/link").read_bytes() == b"x" * 100
    assert not (tmp_path / "copy/link").is_symlink()
    assert (tmp_path / "copy/a/run").stat().st_mode & 0o777 == 0o500
    remove(tmp_path / "copy")
    remove(tmp_path / "never was there")
    assert not (tmp_path / "copy").exists()
