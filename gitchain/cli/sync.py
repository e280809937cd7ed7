"""`gitchain sync`: sign what waits, attest what Git knows, exchange attestations with a remote."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from gitchain.cli.main import global_options
from gitchain.cli.output import Options, escape
from gitchain.cli.signing import signing_options
from gitchain.errors import ExitCode

if TYPE_CHECKING:
    from gitchain.pipeline.profiles import Profile
    from gitchain.pipeline.project import Project
    from gitchain.pipeline.record import Identity

SYNC_SCHEMA = "https://gitchain.dev/sync/v1"


@click.command(name="sync")
@click.argument("remote", required=False)
@click.option("--no-remote", is_flag=True, help="Do not exchange with a remote.")
@signing_options
@global_options
@click.pass_obj
def command(options: Options, remote: str | None, no_remote: bool, who: Identity) -> ExitCode:
    """Attest what the hooks queued and what they missed, drain the outbox, fetch and push the attestations.

    Before it pushes, it signs a checkpoint of all attestations, if the pinned layout knows the signer.
    REMOTE is a Git remote [default: origin, where there is one]. Exits 9 when statements still wait.
    """
    from gitchain.hooks.events import catch_up_with_problems
    from gitchain.pipeline.project import open_project
    from gitchain.pipeline.record import drain_outbox, project_profile

    project = open_project(options.directory)
    caught = catch_up_with_problems(project, who, trust=options.trust, offline=options.offline)
    for what, problem in caught.problems:
        options.talk(f"not attested: {escape(what)}: {escape(str(problem))}")
    profile = project_profile(project, options.trust, offline=options.offline)
    with options.progress("signing", len(list(project.outbox.items()))) as advance:
        drained = drain_outbox(project, profile, who, advance)
    exchanged = None if no_remote or options.offline else _exchange(options, project, remote, profile, who)
    waiting = max(len(project.outbox), len(drained.queued))  # files that cannot be read included
    options.document(
        {
            "schema": SYNC_SCHEMA,
            "attested": len(drained.stored) + len(caught.recorded.stored),
            "waiting": waiting,
            "reason": str(drained.reason) if drained.reason else None,
            "remote": exchanged,
        }
    )
    options.data(f"attested  {len(drained.stored) + len(caught.recorded.stored)}, waiting {waiting}")
    if exchanged:
        options.data(
            f"remote    {escape(exchanged['name'])}: {exchanged['fetched']} fetched, {exchanged['pushed']} pushed"
        )
    if drained.reason:
        options.talk(f"still waiting: {escape(str(drained.reason))}")
        options.talk(f"  help  {escape(drained.reason.help or 'gitchain sync, later')}")
        return ExitCode.QUEUED
    return ExitCode.OK


def _exchange(
    options: Options, project: Project, remote: str | None, profile: Profile, who: Identity
) -> dict[str, Any] | None:
    """Sign a checkpoint, fetch and push; None where there is no remote to exchange with and none was named."""
    from gitchain.pipeline.exchange import exchange

    names = project.store.git().run("remote").stdout.decode("utf-8", "replace").splitlines()
    if remote is None and not names:
        options.talk("no remote: attestations stay in this repository")
        return None
    name = remote or ("origin" if "origin" in names else names[0])
    done = exchange(project, name, profile, who, datetime.now(UTC))
    if done.result.rewound:
        options.talk(
            f"the remote {escape(name)} had lost attestations that were seen there before; they are back"
        )
    if done.checkpoint.reason:
        options.talk(f"no checkpoint signed: {escape(done.checkpoint.reason)}")
    if done.forgotten:
        options.talk(f"warning   what the remote holds is not remembered: {escape(str(done.forgotten))}")
    return {
        "name": name,
        "fetched": done.result.fetched,
        "pushed": done.result.pushed,
        "rewound": done.result.rewound,
        "checkpoint": done.checkpoint.ids[-1] if done.checkpoint.ids else None,
    }
