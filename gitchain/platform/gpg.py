"""Run gpg isolated: only its arguments affect the result; its home is empty, temporary, and deleted afterwards.

The program is found in an absolute entry of PATH outside of the repository; programs in Git's settings are never run.
It has a minimal environment, no options of the user or of Git, no agent, no network, a single key, a given time, and
a deadline. `gitchain.verify.openpgp` parses the output. Needs GnuPG 2.2 or newer.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gitchain.errors import LimitError, ProjectError, StoreError, TransportError, os_errors_as
from gitchain.platform.processes import find_program, run

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
class GpgVerifier:
    """Runs gpg to verify one signature at a time; never a program inside this repository."""

    repository: Path
    now: datetime

    def __call__(self, key: bytes, signature: bytes, payload: bytes) -> tuple[int, str]:
        """Return exit code and status lines of `gpg --verify` with this key alone.

        Raises ProjectError where there is no gpg, StoreError where it cannot run, TransportError where it takes too long,
        LimitError for too long an answer.
        """
        program = self._program()
        running = os_errors_as(StoreError, "gpg cannot be run", program)
        with running, tempfile.TemporaryDirectory(prefix="gitchain-gpg-") as name:
            home = Path(name)
            for file, data in (("key", key), ("signature", signature), ("payload", payload)):
                (home / file).write_bytes(data)
            self._call(program, home, "--import", "key")
            return self._call(program, home, "--verify", "signature", "payload")

    def _program(self) -> str:
        """Return the absolute path of gpg. Raises ProjectError if PATH has none outside of the repository."""
        found = find_program("gpg", self.repository)
        if found is None:
            raise ProjectError("gpg is not installed", where="PATH", help=_INSTALL)
        return found

    def _call(self, program: str, home: Path, verb: str, *files: str) -> tuple[int, str]:
        """Run gpg in its home, to its end or to its time's. Raises StoreError if it reports no status at all."""
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
        env = {"HOME": str(home), "GNUPGHOME": str(home), "LC_ALL": "C", "PATH": os.defpath}
        argv = [program, *options, verb, "--", *files]
        try:
            done = run(argv, cwd=home, env=env, seconds=SECONDS, limit=MAX_STATUS)
        except TransportError as error:
            raise TransportError("gpg did not answer in time", where=verb, got=f"{SECONDS:.0f} s") from error
        except LimitError as error:
            raise LimitError(
                "the output of gpg is too long", expected=f"at most {MAX_STATUS} bytes"
            ) from error
        if not done.stdout:
            got = done.stderr.strip()[-200:] or f"exit code {done.code}"
            raise StoreError("gpg failed", where=program, got=got)
        return done.code, done.stdout.decode("utf-8", "replace")
