"""Requests that are not read, and the status of their response."""

from __future__ import annotations

from gitchain.errors import GitchainError, LimitError


class RequestRefused(Exception):  # noqa: N818 - it is an answer, and ends as one
    """Raised for a request that is not read, with the status of its response."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


def status_of(error: Exception) -> int:
    """Return the status of the response to a request that ended in an error."""
    if isinstance(error, RequestRefused):
        return error.status
    if isinstance(error, GitchainError):
        return 413 if isinstance(error, LimitError) else 400
    return 500
