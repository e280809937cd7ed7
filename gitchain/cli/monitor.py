"""`gitchain monitor`: check the transparency logs, and report problems."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from gitchain.cli.key_options import keys_option, public_keys
from gitchain.cli.main import global_options
from gitchain.cli.output import Options, escape
from gitchain.cli.signing import not_empty
from gitchain.cli.verdict import trust_document
from gitchain.errors import ExitCode, GitchainError, NoRepositoryError, UsageError

if TYPE_CHECKING:
    from gitchain.monitor.alerts import Alert
    from gitchain.monitor.follow import Follower, Look, Mine
    from gitchain.monitor.notify import Webhook
    from gitchain.trust.profiles import Profile
    from gitchain.workspace.project import Project

SCHEMA = "https://gitchain.dev/monitor/v1"
WITNESS_SCHEMA = "https://gitchain.dev/witness/v1"
MAX_PORT = 65535
MAX_RANGES = 10


@click.command(name="monitor")
@click.option(
    "--identity",
    "subjects",
    multiple=True,
    metavar="IDENTITY",
    help="Look for this signer [default: the store's].",
)
@click.option("--issuer", metavar="URL", callback=not_empty, help="Issuer of --identity.")
@keys_option
@click.option(
    "--log", "hosts", multiple=True, metavar="HOST", help="Follow this log alone [default: all trusted]."
)
@click.option(
    "--url", "urls", multiple=True, metavar="HOST=URL", help="Read a log there [default: its own name]."
)
@click.option(
    "--also", "also", multiple=True, metavar="HOST=URL", help="Another place that shows its checkpoint."
)
@click.option(
    "--start",
    type=click.IntRange(0),
    metavar="INDEX",
    help="First entry of the first look [default: 0, if few].",
)
@click.option(
    "--follow", type=click.IntRange(1), metavar="SECONDS", help="Look again and again, this far apart."
)
@click.option("--webhook", metavar="URL", callback=not_empty, help="POST new alerts there.")
@click.option(
    "--webhook-file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Read the webhook's URL from FILE [default: GITCHAIN_WEBHOOK].",
)
@click.option(
    "--webhook-format",
    "webhook_format",
    type=click.Choice(["json", "slack"]),
    default="json",
    show_default=True,
    help="The --json document, or a text for chat systems.",
)
@click.option(
    "--witness", metavar="NAME", callback=not_empty, help="Cosign checkpoints as this witness instead (C2SP)."
)
@click.option(
    "--listen",
    default="127.0.0.1:8100",
    metavar="HOST:PORT",
    help="Where the witness listens.",
    show_default=True,
)
@global_options
@click.pass_obj
def command(
    options: Options,
    subjects: tuple[str, ...],
    issuer: str | None,
    key_files: tuple[Path, ...],
    hosts: tuple[str, ...],
    urls: tuple[str, ...],
    also: tuple[str, ...],
    start: int | None,
    follow: int | None,
    webhook: str | None,
    webhook_file: Path | None,
    webhook_format: Literal["json", "slack"],
    witness: str | None,
    listen: str,
) -> ExitCode:
    """Check log consistency and unexpected use of your identity.

    Reports every event once; with -q it prints nothing else, for cron. Exit code 0: no problem; 1: a log or the
    store is inconsistent; 7: a log could not be read, or the webhook did not accept the alerts.

    \b
    Examples:
      gitchain monitor
      gitchain monitor -q
    """
    from gitchain.layout.model import Identity
    from gitchain.monitor.notify import Webhook, webhook_url

    if bool(subjects) != bool(issuer):
        raise UsageError("--identity and --issuer go together", help="--identity IDENTITY --issuer URL")
    if options.offline:
        raise UsageError("a monitor needs the network", help="leave --offline out")
    identities = frozenset(Identity(str(issuer), subject) for subject in subjects)
    if witness is not None:
        return _witness(options, witness, listen)
    keys = public_keys(key_files)
    url = webhook_url(webhook, webhook_file)
    watch = _Watch(
        options,
        identities,
        keys,
        hosts,
        _pairs(urls),
        _pairs(also),
        start,
        Webhook(url, webhook_format) if url else None,
    )
    while True:
        code = watch.once()
        if follow is None:
            return code
        time.sleep(follow)


def _witness(options: Options, name: str, listen: str) -> ExitCode:
    """Serve a witness until it is interrupted."""
    from gitchain.monitor.serving import witness_server
    from gitchain.monitor.witness import Witness, load_key
    from gitchain.workspace.user_directory import user_directory

    _, profile = _opened(options)
    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit() or int(port) > MAX_PORT:
        raise UsageError("not HOST:PORT", got=ascii(listen[:200]), help="--listen 127.0.0.1:8100")
    key = load_key(user_directory() / "witness.pem")
    witness = Witness(name, key, profile.trust, lambda: int(time.time()))
    try:
        server = witness_server(witness, host, int(port))
    except OSError as error:
        raise UsageError(
            "cannot listen", where=listen, got=str(error.strerror), help="--listen HOST:PORT"
        ) from error
    with server:
        url = f"http://{host}:{server.server_port}"
        options.document({"schema": WITNESS_SCHEMA, "verifierKey": str(witness.verifier_key), "url": url})
        options.data(f"witness   {name} {witness.verifier_key} {url}")
        sys.stdout.flush()
        server.serve_forever()
    return ExitCode.OK


def _pairs(values: tuple[str, ...]) -> dict[str, str]:
    pairs = dict(value.partition("=")[::2] for value in values)
    if any(not host or not url for host, url in pairs.items()):
        raise UsageError(
            "not HOST=URL", got=ascii(values), help="--url rekor.example.com=https://mirror.example.com"
        )
    return pairs


class _Watch:
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

        project, profile = _opened(self.options)
        trust, now = profile.trust, datetime.now(UTC)
        logs = selected_logs(trust, self.hosts)
        told = list(ending(trust, now))
        looks: list[Look] = []
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
    ) -> Look:
        from gitchain.monitor.follow import Follower
        from gitchain.monitor.logs import checkpoint_at, view_of

        view = view_of(profile, log, self.urls)
        others = {
            url: (lambda url=url: checkpoint_at(url)) for host, url in self.also.items() if host == log.host
        }
        follower: Follower = Follower(log, view, profile.trust, others, self.start, advance=moved)
        return follower.look(before, self._mine(project, profile, log, before), now)

    def _mine(self, project: Project | None, profile: Profile, log: Any, before: Any) -> Mine:
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
        self, profile: Profile, looks: list[Look], found: list[Any], new: list[Any], now: datetime
    ) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "trust": trust_document(profile.name, profile.trust),
            "time": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
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

    def _print(self, looks: list[Look], found: list[Any], new: list[Any], document: dict[str, Any]) -> None:
        """Print what is new; and unless --quiet, how far the logs were read and what lasts."""
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


def _opened(options: Options) -> tuple[Project | None, Profile]:
    """Return the repository, if there is one, and the trust whose logs are meant: the pin's before the repository's."""
    from gitchain.consume.history import reading_profile
    from gitchain.trust.profiles import load_profile
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
