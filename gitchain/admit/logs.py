"""Log lines: one JSON object each, on stderr, in plain ASCII. Objects, headers, tokens and keys are never logged."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

from gitchain.admit.admission import AdmissionResult
from gitchain.admit.denial_reasons import printable, summary
from gitchain.admit.tls import Client

LOGGER = "gitchain.serve"
_QUIET = frozenset({"nothing new", "no model"})


class JsonLogFormatter(logging.Formatter):
    """Formatter with one JSON object per record; `facts` of a record are added to the message."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": printable(record.getMessage(), 2000),
        }
        facts = getattr(record, "facts", None)
        if isinstance(facts, dict):
            line |= facts
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__
            line["trace"] = printable(self.formatException(record.exc_info), 4000)
        return json.dumps(line, ensure_ascii=True)


def set_up(stream: TextIO | None = None, *, verbose: bool = False) -> None:
    """Send the records of the server and its HTTP stack to a stream as JSON lines."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLogFormatter())
    for name, level in ((LOGGER, logging.DEBUG if verbose else logging.INFO), ("uvicorn", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level)
        logger.propagate = False


def log(level: int, message: str, **facts: object) -> None:
    """Write one line with facts; texts are made printable."""
    shown = {key: printable(value, 3000) if isinstance(value, str) else value for key, value in facts.items()}
    logging.getLogger(LOGGER).log(level, message, extra={"facts": shown})


def log_result(result: AdmissionResult, endpoint: str, seconds: float, client: Client | None) -> None:
    """Log the request, its client, the response and the reason; requests without effect only if verbose.

    Only `client` was authenticated; the other fields are copied from the review.
    """
    review, answer = result.review, result.answer
    facts: dict[str, object] = {
        "endpoint": endpoint,
        "uid": result.uid,
        "outcome": result.reason,
        "allowed": answer.allowed,
        "milliseconds": round(seconds * 1000, 1),
    }
    if review is not None:
        facts |= {
            "operation": review.operation,
            "kind": str(review.kind),
            "subresource": review.subresource,
            "namespace": review.namespace,
            "name": review.name,
            "user": review.user,
            "dryRun": review.dry_run,
        }
    if client is not None:
        facts["client"] = {"name": printable(client.name, 200), "sha256": client.sha256}
    if result.rule is not None:
        facts["layout"] = result.rule.layout
        facts["mode"] = result.rule.mode
    if result.verdicts:
        facts["models"] = [f"sha256:{one.sha256}" for one in result.verdicts[:16]]
    problems = answer.audit.get("problems") or summary(answer.problems)
    if problems:
        facts["problems"] = problems
    quiet = result.reason in _QUIET
    level = logging.DEBUG if quiet else logging.WARNING if problems else logging.INFO
    log(level, "review", **facts)
