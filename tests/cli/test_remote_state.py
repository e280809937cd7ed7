"""Remotes and store refs that are not what they should be: nothing run, nothing lost, no verdict."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gitchain.errors import ExitCode
from tests.support.prepared_repository import PreparedRepository, git, intact, refused

Gitchain = Callable[..., Any]


@pytest.mark.parametrize("url", ["/nowhere/at/all", "http://127.0.0.1:9/x.git", "ext::sh -c 'touch pwned'", "--upload-pack=touch pwned", "ssh://-oProxyCommand=touch pwned/x"])  # fmt: skip
def test_a_remote_that_is_not_there(gitchain: Gitchain, world: PreparedRepository, url: str) -> None:
    """A remote that does not exist or refuses: 7, nothing run, nothing lost."""
    stored = world.stored()
    world.git("config", "remote.origin.url", url)
    refused(gitchain("sync", cwd=world.repo), ExitCode.UNAVAILABLE, "origin")
    assert not (world.repo / "pwned").exists()
    intact(world, stored)


def test_a_remote_that_refuses(gitchain: Gitchain, world: PreparedRepository) -> None:
    """A server whose hook refuses the push: 7 with its reason; all stays here, and goes once it agrees."""
    remote = world.repo.parent / "remote.git"
    git(world.repo.parent, "init", "-q", "--bare", str(remote))
    hook = remote / "hooks/pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho no attestations here >&2\nexit 1\n")
    hook.chmod(0o755)
    world.git("remote", "add", "origin", str(remote))
    refused(gitchain("sync", cwd=world.repo), ExitCode.UNAVAILABLE, "refused")
    hook.unlink()
    assert gitchain("sync", cwd=world.repo).code == 0
    assert git(remote, "rev-parse", "refs/gitchain/attestations") == world.git("rev-parse", "refs/gitchain/attestations")  # fmt: skip
    intact(world)


def test_a_remote_that_was_rewound(gitchain: Gitchain, world: PreparedRepository) -> None:
    """A remote that lost attestations gets them back, and the user hears of it."""
    remote = world.repo.parent / "remote.git"
    git(world.repo.parent, "init", "-q", "--bare", str(remote))
    world.git("remote", "add", "origin", str(remote))
    assert gitchain("sync", cwd=world.repo).code == 0
    tip = git(remote, "rev-parse", "refs/gitchain/attestations")
    git(remote, "update-ref", "-d", "refs/gitchain/attestations")
    done = gitchain("sync", cwd=world.repo)
    assert done.code == 0
    assert "lost attestations" in done.err
    assert git(remote, "rev-parse", "refs/gitchain/attestations") == tip


@pytest.mark.parametrize("what", ["blob", "tree", "foreign commit", "missing object", "tag"])
def test_a_store_ref_that_points_elsewhere(gitchain: Gitchain, world: PreparedRepository, what: str) -> None:
    """The ref names what is no store: one error, no verdict, and `attest` writes nothing over it."""
    ref = "refs/gitchain/attestations"
    tip = world.git("rev-parse", ref)
    value = {
        "blob": lambda: world.git("rev-parse", "HEAD:dvc.lock"),
        "tree": lambda: world.git("rev-parse", "HEAD^{tree}"),
        "foreign commit": lambda: world.git("rev-parse", "HEAD"),
        "missing object": lambda: "1" * 40,
        "tag": lambda: world.git("tag", "-a", "t", "-m", "t", tip) or world.git("rev-parse", "t"),
    }[what]()
    (world.repo / ".git" / ref).write_text(value + "\n")
    for command in (("verify", "model.bin"), ("log",), ("show", "abcdef")):
        done = gitchain(*command, cwd=world.repo)
        if what != "tag":
            refused(done, done.code, "")
        assert done.code in {ExitCode.FAILED, ExitCode.NOTHING, ExitCode.UNAVAILABLE, ExitCode.USAGE}, (
            done.text
        )
    done = gitchain("attest", "x", "-p", "model.bin", cwd=world.repo)
    assert done.code in {ExitCode.QUEUED, ExitCode.UNAVAILABLE, ExitCode.FAILED}, done.text
    assert "a bug" not in done.text
    assert (world.repo / ".git" / ref).read_text().strip() == value
    done = gitchain("doctor", cwd=world.repo)
    assert "problem  store" in done.out
    world.git("update-ref", "--no-deref", ref, tip)
    assert gitchain("sync", "--no-remote", cwd=world.repo).code == 0
    assert gitchain("verify", "model.bin", cwd=world.repo).code == 0
    intact(world)
