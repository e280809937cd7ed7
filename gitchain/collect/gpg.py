"""The gpg program, run so that only what it is given decides: a home of its own, empty, and gone afterwards.

The program is found by an absolute entry of PATH that does not lie in the repository; what Git's settings name is never
run. It gets an environment of its own, no options of the user's or of Git's, no agent, no network, no keys but one,
a time that it is told, and seconds to answer in. What it answers `gitchain.verify.openpgp` reads.

Does NOT make anything of the answer, and needs GnuPG 2.2 or newer.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gitchain.errors import LimitError, ProjectError, StoreError, TransportError

SECONDS = 20.0
"""Most time for one call: it takes some 20 ms."""

MAX_STATUS = 256 * 1024
"""Most bytes of an answer that are read: notations of a signature are in it."""

_OPTIONS = (
    *("--no-options", "--batch", "--no-tty", "--no-autostart", "--disable-dirmngr", "--lock-never"),
    *("--no-auto-key-retrieve", "--no-auto-key-locate", "--no-auto-check-trustdb", "--no-random-seed-file"),
    *("--trust-model", "always", "--require-cross-certification", "--no-default-keyring"),
    *("--weak-digest", "SHA1", "--weak-digest", "RIPEMD160", "--status-fd", "1"),
)
_INSTALL = "install GnuPG: apt-get install gnupg, dnf install gnupg2, brew install gnupg"


@dataclass(frozen=True, slots=True)
class Gpg:
    """Runs gpg to judge a signature at a time; never a program that lies in this repository."""

    repository: Path
    now: datetime

    def __call__(self, key: bytes, signature: bytes, payload: bytes) -> tuple[int, str]:
        """Return exit code and status lines of `gpg --verify` with this key alone.

        Raises ProjectError where there is no gpg, StoreError where it cannot run, TransportError where it takes too long,
        LimitError for too long an answer.
        """
        program = self._program()
        try:
            with tempfile.TemporaryDirectory(prefix="gitchain-gpg-") as name:
                home = Path(name)
                for file, data in (("key", key), ("signature", signature), ("payload", payload)):
                    (home / file).write_bytes(data)
                self._call(program, home, "--import", "key")
                return self._call(program, home, "--verify", "signature", "payload")
        except OSError as error:
            raise StoreError("gpg cannot be run", where=program, got=str(error)) from error

    def _program(self) -> str:
        """Return the absolute path of gpg; ProjectError where PATH has none outside of the repository."""
        inside = self.repository.resolve()
        for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
            found = Path(os.path.normpath(folder)) / "gpg"
            foreign = inside not in {*found.parents, *Path(os.path.realpath(found)).parents}
            if found.is_absolute() and foreign and found.is_file() and os.access(found, os.X_OK):
                return str(found)
        raise ProjectError("gpg is not installed", where="PATH", help=_INSTALL)

    def _call(self, program: str, home: Path, verb: str, *files: str) -> tuple[int, str]:
        """Run gpg in its home, to its end or to its time's; StoreError if it says nothing of what it was asked."""
        told = f"{self.now.astimezone(UTC):%Y%m%dT%H%M%S}!"
        options = (
            "--homedir",
            str(home),
            *_OPTIONS,
            "--keyring",
            str(home / "ring"),
            "--faked-system-time",
            told,
        )
        out, talk = home / "status", home / "talk"
        with out.open("wb") as stdout, talk.open("wb") as stderr:
            job = subprocess.Popen(
                [program, *options, verb, "--", *files],
                cwd=home,
                env={"HOME": str(home), "GNUPGHOME": str(home), "LC_ALL": "C", "PATH": os.defpath},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
            try:
                code = job.wait(SECONDS)
            except subprocess.TimeoutExpired as error:
                raise TransportError(
                    "gpg did not answer in time", where=verb, got=f"{SECONDS:.0f} s"
                ) from error
            finally:
                _kill(job)
        status = _beginning(out)
        if not status:
            raise StoreError(
                "gpg failed", where=program, got=_beginning(talk).strip()[-200:] or f"exit code {code}"
            )
        return code, status


def _beginning(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(MAX_STATUS + 1)
    if len(data) > MAX_STATUS:
        raise LimitError("gpg says more than it should", expected=f"at most {MAX_STATUS} bytes")
    return data.decode("utf-8", "replace")


def _kill(job: subprocess.Popen[bytes]) -> None:
    """End a job that has not ended, with whatever it started."""
    if job.poll() is None:
        os.killpg(job.pid, signal.SIGKILL)
        job.wait()
