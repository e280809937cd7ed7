"""`gitchain-git-sign`: the program that Git runs to sign commits and tags, and to check such signatures.

    git config gpg.format x509 && git config gpg.x509.program gitchain-git-sign
    gitchain-git-sign --status-fd=2 -bsau KEY < payload > signature        signs
    gitchain-git-sign --status-fd=1 --verify SIGNATURE - < payload         verifies
    gitchain-git-sign --trailer [REVISION]                                 the line that binds files by SHA-256

Git reads the answer as GnuPG's status lines. A good signature proves who signed, not that the
signer is allowed to: `gitchain verify COMMIT` checks that. Older versions of Git discard this program's stderr, so a
failure is printed on the terminal as well.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from gitchain.cli.main import system_error
from gitchain.cli.output import escape
from gitchain.errors import ExitCode, GitchainError, LimitError, UsageError, os_errors_as
from gitchain.platform.files import open_regular

MAX_INPUT_BYTES = 1 << 20
"""Largest payload: what is larger is not read back either (`gitchain.evidence.gitobject`)."""

HELP = "git runs this program: git config gpg.format x509; git config gpg.x509.program gitchain-git-sign"


@dataclass(frozen=True, slots=True)
class GitSignRequest:
    """One request from Git: `signature` is the file to verify, empty to sign; `status` the descriptor for status lines."""

    key: str = ""
    signature: str = ""
    status: int = -1


def main() -> None:
    """Run the request from Git and exit with 0, or with the error's code."""
    raise SystemExit(run(sys.argv[1:]))


def run(argv: Sequence[str]) -> int:
    """Run the request from Git and return the exit code; report every failure, never with code 0."""
    try:
        if list(argv) == ["--version"]:
            from gitchain import __version__

            sys.stdout.write(f"gitchain-git-sign {__version__}\n")
            return ExitCode.OK
        if argv and argv[0] == "--trailer" and len(argv) <= 2:
            from gitchain.consume.commit_files import trailer_for

            sys.stdout.write(f"{trailer_for(Path.cwd(), argv[1] if argv[1:] else None)}\n")
            return ExitCode.OK
        asked = parse(argv)
        return _verify(asked) if asked.signature else _sign(asked)
    except GitchainError as error:
        return _failed(error)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - a program that git runs answers in one way
        bug = GitchainError("a bug in gitchain", got=f"{type(error).__name__}: {escape(str(error), 500)}")
        return _failed(system_error(error) or bug)


def parse(argv: Sequence[str]) -> GitSignRequest:
    """Parse Git's arguments. Raises UsageError for any other."""
    rest = list(argv)
    key, signing, verifying, status = "", False, "", -1
    while rest:
        one = rest.pop(0)
        if one.startswith("--status-fd="):
            status = int(one[12:]) if one[12:] in {"1", "2"} else -1
        elif one == "--verify" and len(rest) == 2 and rest[1] == "-":
            verifying, rest = rest[0], []
        elif one.startswith("-") and not one.startswith("--") and set(one[1:]) <= set("bsau"):
            signing, key = True, rest.pop(0) if one.endswith("u") and rest else key
        elif not one.startswith("--keyid-format="):
            raise UsageError("unknown argument", got=ascii(one[:80]), help=HELP)
    if signing == bool(verifying):
        raise UsageError("nothing to do", help=HELP)
    return GitSignRequest(key, verifying, status)


def _sign(asked: GitSignRequest) -> int:
    from gitchain.produce.git_signing import read_settings, sign_for_git

    payload = _read(sys.stdin.buffer, "the commit or tag")
    settings = read_settings(Path.cwd())
    _status(asked, "BEGIN_SIGNING")
    now = datetime.now(UTC)
    made = sign_for_git(payload, asked.key, settings, now)
    _status(asked, f"SIG_CREATED D 19 8 00 {int(now.timestamp())} {made.fingerprint}")
    sys.stdout.buffer.write(made.armored)
    sys.stdout.buffer.flush()
    return ExitCode.OK


def _verify(asked: GitSignRequest) -> int:
    from gitchain.produce.git_signing import (
        certificate_fingerprint,
        read_settings,
        settings_profile,
        verify_for_git,
    )

    payload = _read(sys.stdin.buffer, "the commit or tag")
    reading = os_errors_as(UsageError, "cannot read the signature", asked.signature)
    with reading, open_regular(Path(asked.signature)) as file:
        armored = _read(file, "the signature")
    _status(asked, "NEWSIG")
    profile = settings_profile(read_settings(Path.cwd()), offline=True)
    try:
        found = verify_for_git(payload, armored, profile)
    except GitchainError as error:
        if error.exit_code is ExitCode.FAILED:
            _status(asked, f"BADSIG {'0' * 16} {escape(str(error))}")
        raise
    who, time, fingerprint = escape(str(found.identity)), found.time, certificate_fingerprint(armored)
    _status(asked, f"GOODSIG {fingerprint} {who}")
    _status(
        asked,
        f"VALIDSIG {fingerprint} {time:%Y-%m-%d} {int(time.timestamp()) if time else 0} 0 4 0 19 8 00 {fingerprint}",
    )
    _status(asked, "TRUST_FULLY 0 shell")
    told = f"gitchain: signed by {who}, {time:%Y-%m-%dT%H:%M:%SZ}; whether they may: gitchain verify COMMIT\n"
    sys.stderr.write(told)
    return ExitCode.OK


def _read(source: BinaryIO, what: str) -> bytes:
    data = source.read(MAX_INPUT_BYTES + 1)
    if len(data) > MAX_INPUT_BYTES:
        raise LimitError(f"{what} is too large", expected=f"at most {MAX_INPUT_BYTES} bytes")
    return data


def _status(asked: GitSignRequest, line: str) -> None:
    """Tell Git, on the descriptor that it named."""
    stream = {1: sys.stdout, 2: sys.stderr}.get(asked.status)
    if stream is not None:
        stream.write(f"[GNUPG:] {line}\n")
        stream.flush()


def _failed(error: GitchainError) -> int:
    lines = [f"gitchain: {escape(str(error))}", *([f"  help: {escape(error.help)}"] if error.help else [])]
    text = "\n".join(lines) + "\n"
    with contextlib.suppress(OSError):
        sys.stderr.write(text)
        sys.stderr.flush()
    if not sys.stderr.isatty():
        with contextlib.suppress(OSError):  # there is no terminal: stderr has it
            terminal = os.open("/dev/tty", os.O_WRONLY | os.O_NOCTTY)
            with os.fdopen(terminal, "w") as stream:
                stream.write(text)
    return int(error.exit_code)


if __name__ == "__main__":
    main()
