"""Errors of reading a layout and its evidence, as `gitchain admit` reports them: nothing could be decided.

The exit codes 1, 2 and 3 have other meanings for this verb (denied, wrong settings, no object), so evidence that does
not verify, is not there, or cannot be worked with is unavailable (7). Advice names the fields of the settings.
"""

from __future__ import annotations

import re

from gitchain.admit.settings import LayoutSource
from gitchain.errors import ExitCode, GitchainError, StoreError

_OTHER_MEANING = frozenset({ExitCode.FAILED, ExitCode.USAGE, ExitCode.NOTHING})
_ADVICE = (
    (r"--layout-name", "name the file of that layout under layout, or correct layoutName"),
    (r"fetch the current layout", "replace {layout} with the current layout, or lower minimumVersion"),
    (r"trust pin", "if you trust this signer, add it to signers"),
    (r"trust-root|trust update|--trust ", "correct trust in the settings, or update it"),
    (r"--evidence git\+file", "name it as git+file:///PATH under evidence, or as repository"),
    (r"forget-history", "bring the missing commits back into the repository, or clone it anew"),
    (
        r"--no-filter",
        "git -C {repository} fetch --refetch --no-filter origin 'refs/gitchain/*:refs/gitchain/*'",
    ),
    (r"--prune-junk", "in a clone of the evidence: gitchain sync --prune-junk   removes what is no evidence"),
    (r"^gitchain sync", "git -C {repository} fetch origin 'refs/gitchain/*:refs/gitchain/*'"),
)
"""What the advice of other verbs contains, and what fits the settings."""


def as_unavailable(error: GitchainError, source: LayoutSource) -> GitchainError:
    """Return the error with an exit code and advice that fit the verb `admit`."""
    kind = StoreError if error.exit_code in _OTHER_MEANING else type(error)
    where = error.where or f"layout {source.name}"
    help_ = _advice(error.help, source)
    return kind(error.what, where=where, expected=error.expected, got=error.got, help=help_)


def _advice(text: str, source: LayoutSource) -> str:
    for pattern, advice in _ADVICE:
        if re.search(pattern, text):
            return advice.format(layout=source.layout, repository=source.repository or "REPOSITORY")
    return text or "check this entry of layouts in the settings"
