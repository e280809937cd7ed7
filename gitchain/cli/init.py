"""`gitchain init`: set up a repository."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gitchain.cli.main import global_options
from gitchain.cli.output import NOTICE, Options, escape
from gitchain.cli.signing import not_empty
from gitchain.cli.trust import read_root, tuf_root_option
from gitchain.errors import ExitCode, GitchainError, UsageError

if TYPE_CHECKING:
    from gitchain.produce.init import InitResult
    from gitchain.workspace.user_directory import LayoutPin

INIT_SCHEMA = "https://gitchain.dev/init/v1"
PUBLIC_NOTICE = (
    "the public log stores permanently: your identity (the e-mail or workflow of your OIDC token) and,\n"
    "while it is Rekor v1, the whole statement with file names and parameters"
)


@click.command(name="init")
@click.option("--local", "local", is_flag=True, help="Use the built-in Sigstore instance (works offline).")
@click.option("--public", "public", is_flag=True, help="Use the public-good Sigstore instance.")
@click.option("--name", metavar="NAME", help="The layout's name [default: the directory's].")
@click.option(
    "--as",
    "identity",
    metavar="IDENTITY",
    callback=not_empty,
    help="Identity that signs the layout [default: Git's user.email].",
)
@click.option("--issuer", metavar="URL", help="Issuer of that identity [default: the embedded instance's].")
@click.option("--no-hooks", is_flag=True, help="Install no Git hooks.")
@click.option(
    "--tag-hook",
    is_flag=True,
    help="Also install the hook that queues tags at once (slows rebases; sync and push find tags anyway).",
)
@click.option(
    "--git-signing/--no-git-signing",
    "git_signing",
    default=None,
    help="Sign commits here with your SSH key, if Git signs with none yet [default: ask].",
)
@click.option("--force", is_flag=True, help="Replace an existing setup.")
@tuf_root_option
@global_options
@click.pass_obj
def command(
    options: Options,
    local: bool,
    public: bool,
    name: str | None,
    identity: str | None,
    issuer: str | None,
    no_hooks: bool,
    tag_hook: bool,
    git_signing: bool | None,
    force: bool,
    tuf_root: Path | None,
) -> ExitCode:
    """Set up this repository: configuration, a layout drafted from dvc.yaml, hooks, the layout signer's pin.

    Choose the trust: --local, --public, or --trust with a file or the URL of a TUF repository.

    \b
    Examples:
      gitchain init --local
      gitchain init --public --as ada@example.com --issuer https://accounts.example.com
    """
    from gitchain.produce.init import initialise
    from gitchain.trust.load_profile import pin_root

    trust = _chosen_trust(options, local=local, public=public)
    if trust in {"public", "public-v2"}:
        options.talk(PUBLIC_NOTICE)
    pin_root(trust, read_root(tuf_root))
    done = initialise(
        options.directory,
        trust,
        name=name,
        signer=(issuer, identity),
        force=force,
        offline=options.offline,
    )
    hooks = () if no_hooks else _install_hooks(options, done.project.root, tags=tag_hook)
    signing = _git_signing(options, done.project.root, wanted=git_signing)
    options.document(
        {
            "schema": INIT_SCHEMA,
            "layout": done.layout,
            "trust": done.profile.name,
            "drafted": done.drafted,
            "hooks": list(hooks),
            "gitSigning": list(signing),
            "pinned": done.pinned.to_json() if done.pinned else None,
            "undrafted": done.undrafted or None,
            "next": list(done.commands),
        }
    )
    _print_done(options, done, hooks, signing)
    _say_next(options, done.commands)
    return ExitCode.OK


def _chosen_trust(options: Options, *, local: bool, public: bool) -> str:
    """Return the trust that the options name. Raises UsageError unless it is exactly one."""
    chosen = [
        value for value in ("local" if local else None, "public" if public else None, options.trust) if value
    ]
    if len(chosen) != 1:
        raise UsageError(
            "exactly one trust is required",
            got=", ".join(chosen) or "none",
            help="gitchain init --local   (or --public, or --trust FILE)",
        )
    return chosen[0]


def _install_hooks(options: Options, root: Path, *, tags: bool) -> tuple[str, ...]:
    """Install the hooks and return their names. A failure is printed: `gitchain sync` does their work without them."""
    from gitchain.hooks import install

    try:
        return tuple(entry.name for entry in install(root, tags=tags))
    except GitchainError as problem:
        options.talk(f"no hooks  {escape(str(problem))}")
        options.talk(f"  help    {escape(problem.help or 'gitchain hooks install')}")
        return ()


def _print_done(options: Options, done: InitResult, hooks: Sequence[str], signing: Sequence[str]) -> None:
    """Print what was set up."""
    options.data(f"set up    layout {escape(done.layout)}, trust {done.profile.name}")
    if done.profile.trust.is_local:
        options.talk(NOTICE)
    options.talk(escape(done.undrafted) or "drafted   .gitchain/layout.yaml")
    if done.pinned:
        options.talk(f"pinned    only {escape(str(done.pinned))} may sign it")
        if done.replaced:
            _tell_replaced(options, done.replaced)
    else:
        options.talk(
            "not pinned: to pin the layout's signer, run gitchain trust pin --signer IDENTITY --issuer URL"
        )
    if hooks:
        options.talk(f"hooks     {', '.join(hooks)}")
    if signing:
        options.talk(f"signing   Git signs commits here: {escape(', '.join(signing))}")


def _tell_replaced(options: Options, pin: LayoutPin) -> None:
    """Say whose pin was replaced, and how to pin it again."""
    from gitchain.layout.model import Identity

    for issuer, subject in pin.signers:
        signer = Identity(issuer, subject)
        options.talk(f"unpinned  {escape(str(signer))} may no longer sign layout {escape(pin.layout)}")
    words = ["gitchain", "--trust", pin.trust, "trust", "pin", "--layout", pin.layout]
    words += [word for _, subject in pin.signers for word in ("--signer", subject)]
    words += ["--issuer", pin.signers[0][0]]
    options.talk(f"          to pin it again: {escape(shlex.join(words))}")


def _say_next(options: Options, commands: Sequence[str]) -> None:
    for index, line in enumerate(commands):
        options.talk(f"{'' if index else 'next':<9} {escape(line)}")
    if any(line.endswith("--force") for line in commands):
        options.talk(
            "          --force: only stages that run under gitchain are observed; what is up to date does not run"
        )
    options.talk("commit    .gitchain: clones read the layout and the settings from it")


def _git_signing(options: Options, root: Path, *, wanted: bool | None) -> tuple[str, ...]:
    """Set Git up to sign with the user's SSH key if they agree; return the settings that were made."""
    from gitchain.produce.git_setup import find_ssh_signing, set_up_ssh_signing

    if wanted is False:
        return ()
    found = find_ssh_signing(root)
    if not found.possible:
        if wanted:
            why = f"set already: {', '.join(found.taken)}" if found.taken else "no SSH key in ~/.ssh"
            options.talk(f"no signing of commits was set up: {why}")
        return ()
    if wanted is None:
        if options.json or not sys.stdin.isatty():
            options.talk("commits   gitchain init --git-signing … would sign them with your SSH key")
            return ()
        if not click.confirm(f"Sign commits of this repository with {escape(str(found.key))}?", err=True):
            return ()
    made = set_up_ssh_signing(root, found)
    options.talk(f"  a layout names it so: {{ssh: {escape(found.public)}}}")
    return made
