"""`gitchain monitor`: follow the transparency logs, and say what should not be."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from gitchain.cli.main import global_options
from gitchain.cli.output import Options, escape
from gitchain.cli.signing import not_empty
from gitchain.errors import ExitCode, GitchainError, ProjectError, UsageError

if TYPE_CHECKING:
    from gitchain.monitor.follow import Follower, Look
    from gitchain.pipeline.profiles import Profile
    from gitchain.pipeline.project import Project

SCHEMA = "https://gitchain.dev/monitor/v1"
WITNESS_SCHEMA = "https://gitchain.dev/witness/v1"
MAX_PORT = 65535


@click.command(name="monitor")
@click.option(
    "--identity",
    "subjects",
    multiple=True,
    metavar="IDENTITY",
    help="Look for this signer [default: the store's].",
)
@click.option("--issuer", metavar="URL", callback=not_empty, help="Issuer of --identity.")
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
@click.option(
    "--webhook", metavar="URL", callback=not_empty, help="POST alerts there, as the --json document."
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
    hosts: tuple[str, ...],
    urls: tuple[str, ...],
    also: tuple[str, ...],
    start: int | None,
    follow: int | None,
    webhook: str | None,
    witness: str | None,
    listen: str,
) -> ExitCode:
    """Follow the logs of the trusted root: they only grow, and hold under my name what I have.

    Exit code 0: all is well; 1: a log or the store misbehaves; 7: one could not be read.
    """
    from gitchain.layout.model import Identity
    from gitchain.monitor.fetch import check_url

    if bool(subjects) != bool(issuer):
        raise UsageError("--identity and --issuer go together", help="--identity IDENTITY --issuer URL")
    if options.offline:
        raise UsageError("a monitor needs the network", help="leave --offline out")
    identities = frozenset(Identity(str(issuer), subject) for subject in subjects)
    if witness is not None:
        return _witness(options, witness, listen)
    watch = _Watch(
        options, identities, hosts, _pairs(urls), _pairs(also), start, check_url(webhook) if webhook else None
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
    from gitchain.pipeline.home import user_directory

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
    """What is watched, and how it is told."""

    def __init__(
        self,
        options: Options,
        identities: frozenset[Any],
        hosts: tuple[str, ...],
        urls: dict[str, str],
        also: dict[str, str],
        start: int | None,
        webhook: str | None,
    ) -> None:
        self.options, self.identities, self.hosts = options, identities, hosts
        self.urls, self.also, self.start, self.webhook = urls, also, start, webhook

    def once(self) -> ExitCode:
        """Look at every log once, tell, and remember what was told."""
        from gitchain.monitor.logs import chosen, ending
        from gitchain.monitor.state import advance, recall

        project, profile = _opened(self.options)
        trust, now = profile.trust, datetime.now(UTC)
        logs = chosen(trust, self.hosts)
        told = list(ending(trust, now))
        looks: list[Look] = []
        for log in logs:
            before = recall(log.log_id)
            told += _rotated(before.trust if before else "", trust.digest, log.host)
            with self.options.progress(f"reading {log.host}", 0) as moved:
                looks.append(self._look(project, profile, log, before, now, moved))
        found = [*told, *(one for look in looks for one in look.alerts)]
        document = self._document(profile, looks, found, now)
        self._print(looks, found, document)
        if found and self.webhook is not None and not self._send(document):
            return ExitCode.UNAVAILABLE  # nothing is remembered: the next look tells it again
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
        from gitchain.monitor.mine import mine_in

        view = view_of(profile, log, self.urls)
        others = {
            url: (lambda url=url: checkpoint_at(url)) for host, url in self.also.items() if host == log.host
        }
        follower: Follower = Follower(log, view, profile.trust, others, self.start, advance=moved)
        return follower.look(before, mine_in(project, log, profile.trust, self.identities, before), now)

    def _document(
        self, profile: Profile, looks: list[Look], found: list[Any], now: datetime
    ) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "trust": {"name": profile.name, "digest": profile.trust.digest, "local": profile.trust.is_local},
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
            "alerts": [one.to_json() for one in found],
        }

    def _print(self, looks: list[Look], found: list[Any], document: dict[str, Any]) -> None:
        options = self.options
        options.document(document)
        for look in looks:
            left = look.size - look.followed.next if look.followed else 0
            rest = f", {left} still to read" if left else ""
            options.data(f"log       {escape(look.log.host)}: {look.size} entries, {look.read} read{rest}")
        for one in found:
            at = f", entry {one.index}" if one.index is not None else ""
            colour = "red" if one.severity == "error" else "yellow"
            options.data(f"{options.style(one.severity, fg=colour)}[{one.code}]: {escape(one.message)}")
            options.data(f"  log       {escape(one.log)}{at}")
            for label, value in (
                ("expected", one.expected),
                ("got", one.got),
                ("help", one.to_json()["help"]),
            ):
                if value:
                    options.data(f"  {label:<9} {escape(str(value))}")
        if not any(one.severity == "error" for one in found):
            options.data(
                "all is well: every log only grew, and nothing was signed in your name that is not here"
            )

    def _send(self, document: dict[str, Any]) -> bool:
        from gitchain.monitor.fetch import Fetcher

        try:
            Fetcher(str(self.webhook)).post("", json.dumps(document).encode(), 1 << 20)
        except GitchainError as error:
            self.options.talk(f"the webhook was not told, the next look tells it again: {escape(str(error))}")
            return False
        return True


def _rotated(before: str, now: str, host: str) -> list[Any]:
    from gitchain.monitor.alerts import Code, warning

    return [warning(Code.ROTATED, host, expected=before, got=now)] if before not in {"", now} else []


def _code(found: list[Any]) -> ExitCode:
    """Return 1 where something misbehaves, 7 where nothing does and something could not be read."""
    from gitchain.monitor.alerts import Code

    errors = {one.code for one in found if one.severity == "error"}
    if not errors:
        return ExitCode.OK
    return ExitCode.UNAVAILABLE if errors == {Code.UNREACHABLE} else ExitCode.FAILED


def _opened(options: Options) -> tuple[Project | None, Profile]:
    """Return the repository, if there is one, and the trust whose logs are meant."""
    from gitchain.pipeline.profiles import load_profile
    from gitchain.pipeline.project import open_project

    project: Project | None
    try:
        project = open_project(options.directory, configured=not options.trust, changes=False)
    except ProjectError:
        if not options.trust:
            raise
        project = None
    if options.trust or project is None:
        return project, load_profile(str(options.trust))
    return project, load_profile(project.configured().trust, base=project.root)
