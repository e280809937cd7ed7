"""One run of `gitchain monitor`: check each log, print new alerts, and send them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from gitchain.cli.output import Options, escape
from gitchain.cli.verdict import trust_document
from gitchain.errors import ExitCode, GitchainError, NoRepositoryError
from gitchain.evidence.vocabulary import time_text

if TYPE_CHECKING:
    from gitchain.monitor.alerts import Alert
    from gitchain.monitor.follow import LogMonitor, MonitorRun, OwnEntries
    from gitchain.monitor.notify import Webhook
    from gitchain.trust.profiles import Profile
    from gitchain.workspace.project import Project

SCHEMA = "https://gitchain.dev/monitor/v1"


MAX_RANGES = 10


class WatchOptions:
    """The watched logs and identities, and where alerts go."""

    def __init__(
        self,
        options: Options,
        identities: frozenset[Any],
        keys: dict[Any, bytes],
        hosts: tuple[str, ...],
        urls: dict[str, str],
        also: dict[str, str],
        start: int | None,
        webhook: Webhook | None,
    ) -> None:
        self.options, self.identities, self.hosts = options, identities, hosts
        self.keys = keys
        self.urls, self.also, self.start, self.webhook = urls, also, start, webhook

    def once(self) -> ExitCode:
        """Check every log once, send alerts, and store which were sent."""
        from gitchain.monitor.logs import ending, selected_logs
        from gitchain.monitor.standing import event_of, remember, reported_before
        from gitchain.monitor.state import advance, recall

        project, profile = opened(self.options)
        trust, now = profile.trust, datetime.now(UTC)
        logs = selected_logs(trust, self.hosts)
        told = list(ending(trust, now))
        looks: list[MonitorRun] = []
        for log in logs:
            before = recall(log.log_id)
            told += _rotated(before.trust if before else "", trust.digest, log.host)
            with self.options.progress(f"reading {log.host}", 0) as moved:
                looks.append(self._look(project, profile, log, before, now, moved))
        found = [*told, *(one for look in looks for one in look.alerts)]
        scope = self._scope(project, profile)
        lasting = reported_before(scope)
        new = [one for one in found if event_of(one) not in lasting]
        document = self._document(profile, looks, found, new, now)
        self._print(looks, found, new, document)
        if new and self.webhook is not None and not self._send(document):
            return ExitCode.UNAVAILABLE  # nothing is remembered: the next look tells it again
        remember(scope, found)
        for look in looks:
            if look.followed is not None:
                advance(look.followed)
        return _code(found)

    def _look(
        self,
        project: Project | None,
        profile: Profile,
        log: Any,
        before: Any,
        now: datetime,
        moved: Callable[[int], None],
    ) -> MonitorRun:
        from gitchain.monitor.follow import LogMonitor
        from gitchain.monitor.logs import checkpoint_at, view_of

        view = view_of(profile, log, self.urls)
        others = {
            url: (lambda url=url: checkpoint_at(url)) for host, url in self.also.items() if host == log.host
        }
        follower: LogMonitor = LogMonitor(log, view, profile.trust, others, self.start, advance=moved)
        return follower.look(before, self._mine(project, profile, log, before), now)

    def _mine(self, project: Project | None, profile: Profile, log: Any, before: Any) -> OwnEntries:
        from gitchain.consume.history import layout_keys
        from gitchain.monitor.my_entries import mine_in

        keys = [*self.keys.values()]
        if project is not None:
            keys += layout_keys(project, self.options.trust)
        return mine_in(project, log, profile.trust, self.identities, before, keys, frozenset(self.keys))

    def _scope(self, project: Project | None, profile: Profile) -> str:
        """Return a name for the watched logs and the destination of alerts: each has its own record."""
        from gitchain.monitor.standing import scope

        here = str(project.git.common_dir) if project else ""
        whom = sorted(str(one) for one in (*self.identities, *self.keys))
        return scope(here, profile.name, *sorted(self.hosts), *whom, self.webhook.url if self.webhook else "")

    def _document(
        self, profile: Profile, looks: list[MonitorRun], found: list[Any], new: list[Any], now: datetime
    ) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "trust": trust_document(profile.name, profile.trust),
            "time": time_text(now),
            "logs": [
                {
                    "host": look.log.host,
                    "size": look.size,
                    "read": look.read,
                    "next": look.followed.next if look.followed else None,
                }
                for look in looks
            ],
            "alerts": [one.to_json() | {"new": one in new} for one in found],
        }

    def _print(
        self, looks: list[MonitorRun], found: list[Any], new: list[Any], document: dict[str, Any]
    ) -> None:
        """Print new alerts and, unless --quiet, how far the logs were read and the alerts that are still active."""
        options = self.options
        options.document(document)
        for look in () if options.quiet else looks:
            left = look.size - look.followed.next if look.followed else 0
            rest = f", {left} still to read" if left else ""
            options.data(f"log       {escape(look.log.host)}: {look.size} entries, {look.read} read{rest}")
        for one in new:
            self._print_alert(one)
        if options.quiet:
            return
        for one in found:
            if one not in new:
                options.data(f"still     [{one.code}]: {escape(one.message)}, log {escape(one.log)}")
        if not any(one.severity == "error" for one in found):
            options.data(
                "all is well: every log only grew, and nothing was signed in your name that is not here"
            )

    def _print_alert(self, one: Alert) -> None:
        options = self.options
        at = f", entries {_ranges(one.entries)}" if len(one.entries) > 1 else ""
        at = at or (f", entry {one.index}" if one.index is not None else "")
        colour = "red" if one.severity == "error" else "yellow"
        options.data(f"{options.style(one.severity, fg=colour)}[{one.code}]: {escape(one.message)}")
        options.data(f"  log       {escape(one.log)}{at}")
        for label, value in (("expected", one.expected), ("got", one.got), ("help", one.to_json()["help"])):
            if value:
                options.data(f"  {label:<9} {escape(str(value))}")

    def _send(self, document: dict[str, Any]) -> bool:
        try:
            self.webhook.post(document)  # type: ignore[union-attr]
        except GitchainError as error:
            click.echo(f"error: {escape(str(error))}; the next look tells it again", err=True)
            return False
        return True


def _ranges(entries: Sequence[int]) -> str:
    """Return numbers in order as `1-3, 7`, the first MAX_RANGES runs of them."""
    runs: list[list[int]] = []
    for one in entries:
        if runs and one == runs[-1][1] + 1:
            runs[-1][1] = one
        else:
            runs.append([one, one])
    shown = [str(first) if first == last else f"{first}-{last}" for first, last in runs[:MAX_RANGES]]
    return ", ".join([*shown, *(["…"] if len(runs) > MAX_RANGES else [])])


def _rotated(before: str, now: str, host: str) -> list[Any]:
    from gitchain.monitor.alerts import AlertCode, warning

    return (
        [warning(AlertCode.ROTATED, host, expected=before, got=now, about=now)]
        if before not in {"", now}
        else []
    )


def _code(found: list[Any]) -> ExitCode:
    """Return 1 where something misbehaves, 7 where nothing does and something could not be read."""
    from gitchain.monitor.alerts import AlertCode

    errors = {one.code for one in found if one.severity == "error"}
    if not errors:
        return ExitCode.OK
    return ExitCode.UNAVAILABLE if errors == {AlertCode.UNREACHABLE} else ExitCode.FAILED


def opened(options: Options) -> tuple[Project | None, Profile]:
    """Return the repository, if there is one, and the trust whose logs are meant: the pin's before the repository's."""
    from gitchain.consume.history import reading_profile
    from gitchain.trust.load_profile import load_profile
    from gitchain.workspace.project import open_project

    project: Project | None
    try:
        project = open_project(options.directory, configured=not options.trust, changes=False)
    except NoRepositoryError:
        if not options.trust:
            raise
        project = None
    if options.trust or project is None:
        return project, load_profile(str(options.trust))
    return project, reading_profile(project, None, offline=False)
