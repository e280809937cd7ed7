"""The gpg program: found where the repository cannot put it, alone with what it is given, and bounded."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from gitchain.errors import LimitError, ProjectError, StoreError, TransportError
from gitchain.platform import gpg
from gitchain.platform.gpg import GpgVerifier
from tests.support.openpgp_signatures import CREATED, Pgp, needs_gpg, whole

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PAT = Pgp()


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go."""
    found = tmp_path / "temporary"
    found.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(found))
    return found


def program(folder: Path, *lines: str) -> Path:
    """Something that is called gpg, and says what it is told to."""
    folder.mkdir(exist_ok=True)
    file = folder / "gpg"
    file.write_text("\n".join(("#!/bin/sh", *lines, "")))
    file.chmod(0o755)
    return file


def called(repository: Path) -> tuple[int, str]:
    return GpgVerifier(repository, NOW)(b"key", b"signature", b"payload")


def test_it_is_alone_with_what_it_is_given(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its home is new, private and gone afterwards; its environment, options and time are its own."""
    seen = tmp_path / "seen"
    lines = (
        f'echo "$@" >> {seen}; env >> {seen}; stat -c "%a %n" . >> {seen}; pwd >> {seen}; cat >> {seen}',
        f"cat key signature payload >> {seen}; echo >> {seen}; ls >> {seen}",
        "echo '[GNUPG:] X'; exit 3",
    )
    monkeypatch.setenv("PATH", str(program(tmp_path / "bin", *lines).parent))
    for name in ("GNUPGHOME", "GPG_AGENT_INFO", "GIT_CONFIG_GLOBAL", "LD_PRELOAD", "http_proxy"):
        monkeypatch.setenv(name, "/evil")
    assert called(tmp_path / "repository") == (3, "[GNUPG:] X\n")
    told = seen.read_text()
    assert "/evil" not in told
    assert told.count("keysignaturepayload\n") == 2
    home = told.split("--homedir ")[1].split(" ")[0]
    assert Path(home).parent == temporary
    assert f"HOME={home}\n" in told
    assert f"GNUPGHOME={home}\n" in told
    assert told.count("700 .\n") == 2
    assert list(temporary.iterdir()) == []
    first, second = [line for line in told.splitlines() if line.startswith("--homedir")]
    assert first.endswith("--faked-system-time 20260101T000000! --import -- key")
    assert second.endswith("--faked-system-time 20260101T000000! --verify -- signature payload")
    for option in (
        "--batch", "--no-options", "--no-auto-key-retrieve", "--trust-model always", "--status-fd 1", "--no-autostart",
        "--disable-dirmngr", "--no-default-keyring", f"--keyring {home}/ring", "--weak-digest SHA1",
        "--weak-digest RIPEMD160", "--no-auto-key-locate", "--require-cross-certification",
    ):  # fmt: skip
        assert f" {option} " in second


def test_its_time_is_the_one_that_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In UTC, whatever zone it is told in."""
    lines = "echo '[GNUPG:] X' $*", "exit 0"
    monkeypatch.setenv("PATH", str(program(tmp_path / "bin", *lines).parent))
    there = NOW.astimezone(timezone(timedelta(hours=9)))
    _, said = GpgVerifier(tmp_path / "repository", there)(b"", b"", b"")
    assert "--faked-system-time 20260101T000000!" in said


def test_no_program_of_the_repository_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in it, not by a link into it or out of it, not relative to where one stands, not a folder, not a mere file."""
    repository, mark = tmp_path / "repository", tmp_path / "mark"
    repository.mkdir()
    evil = program(repository / "bin", f"echo ran >> {mark}", "echo '[GNUPG:] X'")
    (tmp_path / "linked").symlink_to(repository / "bin")
    (tmp_path / "file").mkdir()
    (tmp_path / "file" / "gpg").symlink_to(evil)
    good = program(tmp_path / "good", "echo '[GNUPG:] GOOD'")
    (repository / "out").symlink_to(good.parent)
    (tmp_path / "folder" / "gpg").mkdir(parents=True)
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "gpg").write_text("#!/bin/sh\n")
    monkeypatch.chdir(repository)
    names = (
        "linked",
        "file",
        "folder",
        "plain",
        "repository/bin",
        "repository/out",
        "good/../repository/bin",
    )
    bad = [*(str(tmp_path / name) for name in names), "bin", "./bin", "", "."]
    monkeypatch.setenv("PATH", os.pathsep.join([*bad, str(good.parent)]))
    assert called(repository) == (0, "[GNUPG:] GOOD\n")
    monkeypatch.setenv("PATH", os.pathsep.join(bad))
    with pytest.raises(ProjectError, match="gpg is not installed") as error:
        called(repository)
    assert "apt-get install gnupg" in error.value.help
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "good")
    with pytest.raises(ProjectError, match="gpg is not installed"):
        called(repository)
    assert not mark.exists()


def test_it_has_seconds_to_answer_in(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then it is ended, with what it started."""
    pids = tmp_path / "pids"
    lines = f"sleep 60 & echo $! $$ > {pids}", "wait"
    monkeypatch.setenv("PATH", f"{program(tmp_path / 'bin', *lines).parent}")
    monkeypatch.setattr(gpg, "SECONDS", 0.5)
    with pytest.raises(TransportError, match="did not answer in time"):
        called(tmp_path / "repository")
    assert list(temporary.iterdir()) == []
    end = time.monotonic() + 10
    while any(running(int(pid)) for pid in pids.read_text().split()) and time.monotonic() < end:
        time.sleep(0.01)
    assert not any(running(int(pid)) for pid in pids.read_text().split())


def running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_its_answer_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it says beyond is an error, whatever stands in it."""
    lines = "echo '[GNUPG:] X'", "head -c 300000 /dev/zero"
    monkeypatch.setenv("PATH", str(program(tmp_path / "bin", *lines).parent))
    with pytest.raises(LimitError, match="output of gpg is too long"):
        called(tmp_path / "repository")


def test_one_that_says_nothing_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as one that does not know an option: what it told is passed on."""
    monkeypatch.setenv("PATH", str(program(tmp_path / "bin", "echo 'gpg: odd option' >&2", "exit 2").parent))
    with pytest.raises(StoreError, match="gpg failed") as error:
        called(tmp_path / "repository")
    assert error.value.got == "gpg: odd option"
    monkeypatch.setenv("PATH", str(program(tmp_path / "bin", "exit 7").parent))
    with pytest.raises(StoreError, match="gpg failed") as error:
        called(tmp_path / "repository")
    assert error.value.got == "exit code 7"


def test_one_that_cannot_be_started_is_told(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No program at all, or nowhere to put its home."""
    found = tmp_path / "bin" / "gpg"
    found.parent.mkdir()
    found.write_bytes(b"\x7fELF")
    found.chmod(0o755)
    monkeypatch.setenv("PATH", str(found.parent))
    with pytest.raises(StoreError, match="gpg cannot be run"):
        called(tmp_path / "repository")
    assert list(temporary.iterdir()) == []
    temporary.rmdir()
    with pytest.raises(StoreError, match="gpg cannot be run"):
        called(tmp_path / "repository")


@needs_gpg
def test_the_real_one_knows_the_key_that_it_is_given_alone(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not those of the user's keyring; and it starts nothing that stays."""
    user = tmp_path / "user"
    user.mkdir(mode=0o700)
    (user / "gpg.conf").write_text("odd-option\n")
    (user / "pubring.gpg").write_bytes(whole(PAT))
    monkeypatch.setenv("GNUPGHOME", str(user))
    other = Pgp(created=CREATED + 1)
    signature = PAT.sign(b"payload")
    code, status = GpgVerifier(tmp_path / "repository", NOW)(whole(PAT), signature, b"payload")
    assert code == 0
    assert f" 0 4 0 22 8 00 {PAT.fingerprint}\n" in status
    code, status = GpgVerifier(tmp_path / "repository", NOW)(whole(other), signature, b"payload")
    assert code == 2
    assert "NO_PUBKEY" in status
    assert "GOODSIG" not in status
    assert list(temporary.iterdir()) == []
    assert sorted(one.name for one in user.iterdir()) == ["gpg.conf", "pubring.gpg"]
    assert not [
        one
        for one in Path("/proc").glob("[0-9]*/cmdline")
        if str(tmp_path).encode() in read(one) and b"gpg" in read(one).split(b"\0")[0]
    ]


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@needs_gpg
def test_its_home_is_private(tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else may write what it reads, whatever the umask lets them."""
    real = shutil.which("gpg")
    seen = tmp_path / "seen"
    lines = (f"ls -ld . >> {seen}", f'exec {real} "$@"')
    monkeypatch.setenv("PATH", str(program(tmp_path / "bin", *lines).parent))
    before = os.umask(0)
    try:
        code, _ = GpgVerifier(tmp_path / "repository", NOW)(whole(PAT), PAT.sign(b"x"), b"x")
    finally:
        os.umask(before)
    assert code == 0
    assert all(line.startswith(stat.filemode(stat.S_IFDIR | 0o700)) for line in seen.read_text().splitlines())
