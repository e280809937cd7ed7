"""The whole error tree and the exit codes (docs/design.md section 5).

Every error names what is wrong, where, what was expected, what was got, and what to type.
Two families by whose fault it is: the input's (malformed, unverifiable, untrusted) and the world's (transport, store).
Errors never print and never exit: `gitchain.cli` maps them to an exit code in one place.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes, the same for every verb. Gate on 0 only."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOTHING = 3
    TRUST = 4
    LAYOUT = 5
    AUTHENTICATION = 6
    UNAVAILABLE = 7
    LIMIT = 8
    QUEUED = 9
    BUG = 70
    RUN = 125
    INTERRUPTED = 130


class GitchainError(Exception):
    """Root of every error that gitchain raises on purpose.

    `what` names the fault; `where` the file, step or field; `expected`/`got` the two sides of a
    failed comparison; `help` a command that corrects it.
    """

    exit_code: ExitCode = ExitCode.BUG

    def __init__(
        self,
        what: str,
        *,
        where: str = "",
        expected: str = "",
        got: str = "",
        help: str = "",  # noqa: A002 - the word users see
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.expected = expected
        self.got = got
        self.help = help

    def __str__(self) -> str:
        """Return one line: what, then where, expected and got when known."""
        parts = [self.what]
        for label, value in (("in", self.where), ("expected", self.expected), ("got", self.got)):
            if value:
                parts.append(f"{label} {value}")
        return ", ".join(parts)


def reason(error: BaseException) -> str:
    """Return why a call failed: of the system's refusals the reason alone, without number and file name."""
    return str(getattr(error, "strerror", None) or error) or type(error).__name__


@contextmanager
def os_errors_as(kind: type[GitchainError], what: str, where: object, *, help: str = "") -> Iterator[None]:  # noqa: A002
    """Raise an error of this kind, with the system's reason, for each OSError in a block."""
    try:
        yield
    except OSError as error:
        raise kind(what, where=str(where), got=reason(error), help=help) from error


class UsageError(GitchainError):
    """The command line asks for something that cannot be."""

    exit_code = ExitCode.USAGE


class ProjectError(UsageError):
    """The repository, dvc.yaml, dvc.lock or a path on disk cannot be worked with."""


class NoRepositoryError(ProjectError):
    """There is no Git repository: not one that git refuses or cannot read."""


class MalformedError(GitchainError):
    """Evidence whose bytes do not have the form that their format demands."""

    exit_code = ExitCode.FAILED


class VerificationError(GitchainError):
    """Evidence that is well formed and does not verify."""

    exit_code = ExitCode.FAILED


class SignatureError(VerificationError):
    """A signature, certificate or identity does not verify."""


class AlgorithmError(SignatureError):
    """The key did make the signature, with an algorithm that is not supported for it."""


class UnknownSignerError(SignatureError):
    """A signature by a key that is not available, so that it cannot be checked."""


class InclusionError(VerificationError):
    """A transparency-log proof or checkpoint does not verify."""


class NoEvidenceError(GitchainError):
    """There is nothing to verify: never to be read as verified."""

    exit_code = ExitCode.NOTHING


class TrustError(GitchainError):
    """Trust material is missing, expired, foreign or rolled back."""

    exit_code = ExitCode.TRUST


class RollbackError(TrustError):
    """A history is older than one that was accepted before."""


class LayoutError(GitchainError):
    """A layout is invalid, unsigned, expired or older than the pinned version."""

    exit_code = ExitCode.LAYOUT


class LayoutExpiredError(LayoutError):
    """A layout whose `expires` has passed, and that is acceptable otherwise as far as it was checked."""


class AuthenticationError(GitchainError):
    """An identity token is needed, or the one given was refused."""

    exit_code = ExitCode.AUTHENTICATION


class TransportError(GitchainError):
    """A service or the network failed: trying again may help."""

    exit_code = ExitCode.UNAVAILABLE


class StoreError(GitchainError):
    """A write to the repository or the disk failed; nothing was half-written."""

    exit_code = ExitCode.UNAVAILABLE


class ConflictError(StoreError):
    """Another writer was faster; reading again and retrying will help."""


class LimitError(GitchainError):
    """Input is larger, deeper or more numerous than its named limit."""

    exit_code = ExitCode.LIMIT


class RunError(GitchainError):
    """`gitchain run` or `guard` itself failed or refused; otherwise the command's own exit code passes through."""

    exit_code = ExitCode.RUN
