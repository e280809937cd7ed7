"""Full and read-only disks: what was stated is kept, and nothing is half-written."""

from __future__ import annotations

import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from gitchain.errors import ExitCode
from tests.support.prepared_repository import PreparedRepository, intact

Gitchain = Callable[..., Any]
UNSHARE = ["unshare", "--mount", "--propagation", "private"]


def can_mount() -> bool:
    """Tell whether this user may mount in a namespace of its own."""
    probe = [*UNSHARE, "sh", "-c", "mount -t tmpfs tmpfs /mnt"]
    return (
        bool(shutil.which("unshare"))
        and subprocess.run(probe, capture_output=True, check=False).returncode == 0
    )


mounts = pytest.mark.skipif(
    not can_mount(), reason="LOUD: full and read-only disks need the right to mount: run as root"
)


def script(world: PreparedRepository, text: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script in the repository, in a mount namespace of its own, with `gitchain` a function."""
    head = f'set -e\ngitchain() {{ "{sys.executable}" -m gitchain "$@"; }}\nsay() {{ set +e; "$@"; echo "code $?"; set -e; }}\n'
    return subprocess.run(
        [*UNSHARE, "bash", "-c", head + text],
        cwd=world.repo,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def codes(done: subprocess.CompletedProcess[str]) -> list[int]:
    assert "Traceback" not in done.stderr, done.stderr
    assert "a bug in gitchain" not in done.stderr, done.stderr
    return [int(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("code ")]


READ_ONLY = {
    "the work tree": "mount --bind . . && mount -o remount,ro,bind .",
    "the Git directory": "mount --bind .git .git && mount -o remount,ro,bind .git",
}


@mounts
@pytest.mark.parametrize("what", READ_ONLY)
def test_a_read_only_repository(world: PreparedRepository, what: str) -> None:
    """Reading verbs work on a read-only disk; writing ones say what they cannot write, with 7 (125 for run)."""
    stored = world.stored()
    done = script(
        world,
        f'{READ_ONLY[what]}\ncd "$PWD"\n'
        "say gitchain attest x -p model.bin\nsay gitchain sync\nsay gitchain run x -p data/made -- true\n"
        "say gitchain verify model.bin\nsay gitchain log\nsay gitchain doctor",
    )
    found = codes(done)
    assert found[:3] == [ExitCode.UNAVAILABLE, ExitCode.UNAVAILABLE, ExitCode.RUN], done.stderr
    assert found[3:5] == [0, 0], done.stderr
    assert done.stderr.count("error: ") == 3, done.stderr
    assert "Read-only file system" in done.stderr
    intact(world, stored)


@mounts
def test_a_read_only_user_directory(world: PreparedRepository) -> None:
    """A user directory that cannot be written: what was stated waits in the repository, and verifying still works."""
    done = script(
        world,
        f'mount --bind "{world.home}" "{world.home}" && mount -o remount,ro,bind "{world.home}"\n'
        "say gitchain verify model.bin\nsay gitchain attest x -p model.bin\n"
        "say gitchain trust pin --signer eve@example.com\nsay gitchain init --local --force --no-hooks\n"
        "say gitchain doctor",
    )
    found = codes(done)
    assert found[0] == 0, done.stderr
    assert found[1] == ExitCode.QUEUED, done.stderr
    assert found[2:4] == [ExitCode.UNAVAILABLE, ExitCode.UNAVAILABLE], done.stderr
    assert "cannot be written: signing, pins" in done.stdout  # the help of `attest` is `gitchain doctor`
    assert len(world.waiting()) == 1
    intact(world)


@mounts
@pytest.mark.parametrize(
    ("what", "free"), [(".git", 0), (".git", 12), (".git", 40), ("home", 0), ("home", 8)]
)
def test_a_full_disk(gitchain: Gitchain, world: PreparedRepository, what: str, free: int) -> None:
    """The disk fills up while attesting: an error or a queued statement; once there is room all goes on, nothing lost."""
    place = world.home if what == "home" else world.repo / ".git"
    stored = world.stored()
    done = script(
        world,
        f"""
        cp -a "{place}" "{world.repo}/../full"
        mount -t tmpfs -o size=8m tmpfs "{place}" && cp -a "{world.repo}/../full/." "{place}/"
        cd "$PWD"
        df --output=avail -k "{place}" | tail -1 > ../avail
        head -c "$(( ($(cat ../avail) - {free}) * 1024 ))" /dev/zero > "{place}/ballast"
        say gitchain attest x -p model.bin
        rm "{place}/ballast"
        say gitchain sync --no-remote
        say gitchain verify model.bin
        rm -rf ../after && cp -a "{place}" ../after
        """,
    )
    found = codes(done)
    assert len(found) == 3, done.stdout + done.stderr
    assert found[0] in {0, ExitCode.UNAVAILABLE, ExitCode.QUEUED}, done.stderr
    assert found[1:] == [0, 0], done.stdout + done.stderr
    shutil.rmtree(place)
    (world.repo / "../after").rename(place)
    assert world.waiting() == set()
    intact(world, stored)
    if found[0] in {0, ExitCode.QUEUED}:
        shown = gitchain("log", "model.bin", "--json", cwd=world.repo).json
        assert "x" in {event["step"] for event in shown["events"]}


@pytest.mark.parametrize("limit", [0, 500, 4096, 20_000])
def test_a_file_size_limit(
    process: Gitchain, gitchain: Gitchain, world: PreparedRepository, limit: int
) -> None:
    """Writes that the system cuts (RLIMIT_FSIZE): an error or a queued statement, then all goes on."""
    stored = world.stored()

    def small() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = process("attest", "x", "-p", "model.bin", cwd=world.repo, preexec_fn=small)
    assert done.code in {0, ExitCode.UNAVAILABLE, ExitCode.QUEUED}, done.text
    assert "Traceback" not in done.text
    assert "a bug" not in done.text
    assert gitchain("sync", "--no-remote", cwd=world.repo).code == 0
    assert gitchain("verify", "model.bin", cwd=world.repo).code == 0
    intact(world, stored)
