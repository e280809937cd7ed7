"""`gitchain sync`: fetch attestations, attest new commits and tags, sign queued statements, push."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from gitchain.cli.main import global_options
from gitchain.cli.output import Options, escape
from gitchain.cli.signing import signing_options
from gitchain.errors import ExitCode, GitchainError, TrustError

if TYPE_CHECKING:
    from gitchain.produce.sign_and_store import SigningIdentity, SigningResult
    from gitchain.produce.sync import RemoteExchange, SyncOutcome
    from gitchain.trust.profiles import Profile
    from gitchain.workspace.project import Project

SYNC_SCHEMA = "https://gitchain.dev/sync/v1"
CANNOT_SIGN = "not attested: commits and tags: this machine verifies this repository and cannot sign for it"
SHOWN = 5  # entries of a remote that are named; --json counts them all


@click.command(name="sync")
@click.argument("remote", required=False)
@click.option("--no-remote", is_flag=True, help="Do not exchange with a remote.")
@click.option(
    "--dry-run", is_flag=True, help="Show what would be attested, fetched and pushed; change nothing."
)
@click.option(
    "--prune-junk",
    is_flag=True,
    help="Remove from this store and the remote's what is neither an attestation nor a manifest.",
)
@signing_options
@global_options
@click.pass_obj
def command(
    options: Options,
    remote: str | None,
    no_remote: bool,
    dry_run: bool,
    prune_junk: bool,
    who: SigningIdentity,
) -> ExitCode:
    """Exchange attestations with the remote, attest new commits and tags, sign what waits, push.

    Signs a checkpoint of all attestations before it pushes, if the pinned layout knows the signer. REMOTE is a
    Git remote [default: `git config gitchain.remote`, else origin, else the only one]. Exits 9 if statements
    still wait for a signature, and with the error's code if another part failed.

    \b
    Examples:
      gitchain sync
      gitchain sync --dry-run
      gitchain sync upstream
    """
    from gitchain.workspace.project import open_project

    project = open_project(options.directory)
    project.configured()
    run = _SyncRun(options, project, who, prune_junk)
    name = None if no_remote or options.offline else run.remote(remote)
    return run.rehearse(name) if dry_run else run.run(name)


class _SyncRun:
    """One synchronisation: its parts, and those that failed."""

    def __init__(self, options: Options, project: Project, who: SigningIdentity, prune: bool) -> None:
        self._options, self._project, self._who, self._prune = options, project, who, prune
        self._failures: list[GitchainError] = []
        self._why = CANNOT_SIGN

    def remote(self, named: str | None) -> str | None:
        """Return the remote to exchange with, None if the repository has none and no REMOTE is given."""
        from gitchain.produce.sync import remote_of

        name = named or remote_of(self._project)
        if name is None:
            self._options.talk("no remote: attestations stay in this repository, and no checkpoint is signed")
        return name

    def run(self, name: str | None) -> ExitCode:
        """Do all of it; a part that fails stops no other that can do without it."""
        from gitchain.produce.sign_and_store import drain_outbox

        options, project = self._options, self._project
        exchange = self._fetch(name) if name else None
        try:
            profile = self._profile()
            if profile is None:
                return self._exchange_only(name, exchange)
        except TrustError:
            if exchange is not None:  # a machine that only verifies needs what was fetched
                options.talk(
                    f"fetched   {exchange.fetched} from {escape(exchange.remote)}; nothing signed or pushed"
                )
            raise
        attested = 0 if name and exchange is None else self._catch_up()
        with options.progress("signing", len(list(project.outbox.items()))) as advance:
            drained = drain_outbox(project, profile, self._who, advance)
        done = None
        if exchange is not None:
            done = self._attempt(lambda: self._finish(exchange, profile))
        return self._report(attested + len(drained.stored), drained, name, done)

    def _profile(self) -> Profile | None:
        """Return the profile to sign with, None on a machine that verifies under another trust, which its user pinned.

        Raises TrustError where neither can be had, or statements wait for a signature.
        """
        from gitchain.consume.load_layout import pinned_profile
        from gitchain.produce.sign_and_store import project_profile
        from gitchain.trust.committed_trust import NotChosenError

        options, project = self._options, self._project
        try:
            return project_profile(project, options.trust, offline=options.offline)
        except NotChosenError as error:
            if len(project.outbox):
                raise
            self._why = f"not attested: commits and tags: {error.what}\n  help      {escape(error.help)}"
            return None
        except TrustError:
            if options.trust or len(project.outbox) or not pinned_profile(project, offline=options.offline):
                raise
            return None

    def _exchange_only(self, name: str | None, exchange: RemoteExchange | None) -> ExitCode:
        """Exchange the attestations that are already signed."""
        from gitchain.produce.sign_and_store import SigningResult

        self._options.talk(self._why)
        done = self._attempt(lambda: self._finish(exchange, None)) if exchange else None
        return self._report(0, SigningResult(()), name, done)

    def rehearse(self, name: str | None) -> ExitCode:
        """Return what `run` would do, without changing the store."""
        from gitchain.hooks.events import outstanding
        from gitchain.produce.sync import rehearse

        options, project = self._options, self._project
        signs = self._profile() is not None
        exchange = rehearse(project, name)
        unsigned = len(outstanding(project).recorded.queued) if signs else 0
        lacking = exchange.lacking() if exchange else 0
        if exchange is not None:
            exchange.forget()
        waiting = len(project.outbox)
        remote = None
        if exchange is not None:
            remote = {"name": name, "fetched": exchange.fetched, "pushed": lacking + unsigned + waiting}
            remote |= {"rewound": False, "checkpoint": None, "junk": len(exchange.junk), "unread": 0}
        options.document(
            {
                "schema": SYNC_SCHEMA,
                "dryRun": True,
                "attested": unsigned,
                "waiting": waiting,
                "reason": None,
                "remote": remote,
            }
        )
        if not signs:
            options.talk(CANNOT_SIGN)
        options.data(f"would attest   {unsigned}, and sign {waiting} that wait")
        if exchange is not None:
            address = self._address(exchange)
            options.data(f"would fetch    {exchange.fetched} from {escape(exchange.remote)} ({address})")
            options.data(
                f"would push     {lacking + unsigned + waiting} there, and a checkpoint where one counts"
            )
            self._tell_junk(exchange.remote, exchange.junk)
        return ExitCode.OK

    def _address(self, exchange: RemoteExchange) -> str:
        from gitchain.produce.sync import remote_address

        return escape(remote_address(self._project, exchange.remote))

    def _fetch(self, name: str) -> RemoteExchange | None:
        from gitchain.produce.sync import begin

        found: RemoteExchange | None = self._attempt(lambda: begin(self._project, name))
        if found is None:
            self._options.talk(
                "not attested: commits and tags, which may be attested at the remote already; "
                "to attest them without it: gitchain sync --no-remote"
            )
        return found

    def _catch_up(self) -> int:
        from gitchain.hooks.events import catch_up

        options = self._options
        caught = catch_up(self._project, self._who, trust=options.trust, offline=options.offline)
        for what, problem in caught.problems:
            options.talk(f"not attested: {escape(what)}: {escape(str(problem))}")
            self._failures.append(problem)
        return len(caught.recorded.stored)

    def _finish(self, exchange: RemoteExchange, profile: Any) -> SyncOutcome:
        from gitchain.produce.sync import finish

        talk = self._options.talk
        now = datetime.now(UTC)
        return finish(
            self._project,
            exchange,
            profile,
            self._who,
            now,
            announce=lambda text: talk(escape(text)),
            prune=self._prune,
        )

    def _attempt(self, part: Any) -> Any:
        """Return the result of a part, or None if it failed. A failure is reported at once."""
        try:
            return part()
        except GitchainError as error:
            self._options.error(error, document=False)
            self._failures.append(error)
            return None

    def _report(
        self, attested: int, drained: SigningResult, name: str | None, done: SyncOutcome | None
    ) -> ExitCode:
        options, project = self._options, self._project
        waiting = max(len(project.outbox), len(drained.queued))  # files that cannot be read included
        if done is not None:
            self._tell(str(name), done)
        failures = [drained.reason, *self._failures] if drained.reason else self._failures
        options.document(
            {
                "schema": SYNC_SCHEMA,
                "attested": attested,
                "waiting": waiting,
                "reason": str(failures[0]) if failures else None,
                "remote": None if done is None else _remote(str(name), done),
            }
        )
        options.data(f"attested  {attested}, waiting {waiting}")
        if done:
            result = done.result
            options.data(f"remote    {escape(str(name))}: {result.fetched} fetched, {result.pushed} pushed")
        options.data(f"store     {project.store.count()} attestations")
        if drained.reason:
            options.talk(f"still waiting: {escape(str(drained.reason))}")
            options.talk(f"  help  {escape(drained.reason.help or 'gitchain sync, later')}")
            return ExitCode.QUEUED
        return self._failures[0].exit_code if self._failures else ExitCode.OK

    def _tell(self, name: str, done: SyncOutcome) -> None:
        """Print the results of an exchange that users should notice, and note which part of it failed."""
        from gitchain.produce.sync import unread_error

        talk, result = self._options.talk, done.result
        if result.rewound:
            talk(f"the remote {escape(name)} had lost attestations that were there before; they are back")
        self._tell_junk(name, result.junk)
        if result.unread:
            self._failures.append(unread_error(name, result.unread))
            self._options.error(self._failures[-1], document=False)
        if done.checkpoint.reason:
            talk(f"no checkpoint signed: {escape(done.checkpoint.reason)}")
        if done.checkpoint.failure:
            self._failures.append(done.checkpoint.failure)
        if done.forgotten:
            talk(f"warning   not remembered in the user's directory: {escape(str(done.forgotten))}")
            self._failures.append(done.forgotten)

    def _tell_junk(self, name: str, junk: Any) -> None:
        for problem in junk[:SHOWN]:
            where = f"{escape(problem.path)} of {escape(name)}"
            self._options.talk(f"skipped   {where}: {escape(problem.message)}")
        if junk:
            self._options.talk(
                f"{len(junk)} entries of {escape(name)} are no evidence and were left there; "
                "to remove them: gitchain sync --prune-junk"
            )


def _remote(name: str, done: SyncOutcome) -> dict[str, Any]:
    result = done.result
    return {
        "name": name,
        "fetched": result.fetched,
        "pushed": result.pushed,
        "rewound": result.rewound,
        "checkpoint": done.checkpoint.ids[-1] if done.checkpoint.ids else None,
        "junk": len(result.junk),
        "unread": result.unread,
    }
