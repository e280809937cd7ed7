"""Webhook client: posts alerts as the `--json` document, or as text for chat systems.

json     {"schema": "https://gitchain.dev/monitor/v1", …}
slack    {"text": "…"}                Slack, Mattermost, Rocket.Chat, Google Chat; Discord at its URL's /slack

The URL of a chat webhook is a credential: it is read from a file or the environment, and errors show only its host.
Any 2xx status is success. 429, 5xx and timeouts are retried within a bounded time. Redirects are not followed.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

from gitchain.errors import LimitError, TransportError, UsageError, reason
from gitchain.platform.files import open_regular
from gitchain.platform.http import ReadDeadline, ask, checked_url

Format: TypeAlias = Literal["json", "slack"]

VARIABLE = "GITCHAIN_WEBHOOK"
SECONDS = 60.0
"""Longest duration of all attempts together, in seconds."""

PAUSES = (1.0, 4.0)
"""Seconds before the second and the third attempt."""

MAX_ANSWER = 1 << 16
MAX_FILE = 1 << 14
MAX_SHOWN = 10
MAX_TEXT = 3000
"""Most characters of a text: Slack truncates at 4,000."""

_TOO_MANY = 429


def webhook_url(given: str | None, file: Path | None) -> str | None:
    """Return the webhook URL from the option, the file or the environment, or None. Raises UsageError if invalid."""
    if given is not None and file is not None:
        raise UsageError("the webhook is given twice", expected="--webhook or --webhook-file")
    url = _read(file) if file is not None else given if given is not None else os.environ.get(VARIABLE)
    if not url and file is None and given is None:
        return None
    url = url or ""  # an empty file must not disable alerts silently
    try:
        checked_url(url)
    except UsageError as error:
        raise UsageError(
            "not a URL that alerts can be posted to",
            where=str(file or ("--webhook" if given else VARIABLE)),
            expected="https://…, or http://… on this machine, without a user name",
        ) from error
    return url


def _read(file: Path) -> str:
    try:
        with open_regular(file) as opened:
            data = opened.read(MAX_FILE + 1)
        if len(data) > MAX_FILE:
            raise UsageError(
                "the webhook's file is too large", where=str(file), expected=f"at most {MAX_FILE} bytes"
            )
        return data.decode("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            "cannot read the webhook's file", where=str(file), got=reason(error)[:200]
        ) from error


@dataclass(frozen=True, slots=True)
class Webhook:
    """A webhook URL and its message format."""

    url: str
    form: Format = "json"
    pause: Callable[[float], None] = time.sleep
    seconds: float = SECONDS

    def post(self, document: Mapping[str, Any]) -> None:
        """Post a document of `gitchain monitor --json`. Raises TransportError on failure."""
        body = json.dumps({"text": text_of(document)} if self.form == "slack" else document).encode()
        deadline = ReadDeadline(self.seconds)
        for pause in PAUSES:
            try:
                return self._once(body, deadline)
            except _AgainError:
                self.pause(pause)
        return self._once(body, deadline)

    def _once(self, body: bytes, deadline: ReadDeadline) -> None:
        where = urlsplit(self.url).hostname or ""
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        try:
            status = ask("POST", self.url, headers, deadline, limit=MAX_ANSWER, body=body).status
        except LimitError:
            return  # the status is a success; the body is too long
        except TransportError as error:
            raise _AgainError(error.what, where=where, expected=error.expected, got=error.got) from error
        if not 200 <= status < 300:
            again = status == _TOO_MANY or status >= 500
            raise (_AgainError if again else TransportError)(
                "the webhook did not take the alerts", where=where, expected="HTTP 2xx", got=str(status)
            )


class _AgainError(TransportError):
    """Raised for a failure that a retry may solve."""


def text_of(document: Mapping[str, Any]) -> str:
    """Return the new alerts as text with markup escaped: at most MAX_SHOWN alerts and MAX_TEXT characters."""
    alerts = [alert for alert in document["alerts"] if alert["new"]]
    lines = [f"gitchain: {len(alerts)} new alert{'' if len(alerts) == 1 else 's'}"]
    for alert in alerts[:MAX_SHOWN]:
        lines.append(f"{alert['severity']} [{alert['code']}] {alert['message']}")
        facts = [f"log {alert['log']}"]
        facts += [f"entry {alert['index']}"] if alert["index"] is not None else []
        facts += [f"{key} {alert[key][:200]}" for key in ("expected", "got") if alert[key]]
        lines.append(f"    {'; '.join(facts)}")
        lines.append(f"    {alert['help']}")
    if len(alerts) > MAX_SHOWN:
        lines.append(f"and {len(alerts) - MAX_SHOWN} more")
    text = "".join(char if char.isprintable() or char == "\n" else "?" for char in "\n".join(lines))
    return text[:MAX_TEXT].replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
