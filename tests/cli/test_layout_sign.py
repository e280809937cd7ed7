"""Signing a layout, and what holds afterwards: no error of lint, no older version, no other signer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gitchain.errors import ExitCode

Gitchain = Callable[..., Any]
YAML, SIGNED = ".gitchain/layout.yaml", ".gitchain/layout.sigstore.json"
ATTEST = ("attest", "train", "-m", "in.txt", "-p", "model.txt")


def edit(repo: Path, old: str, new: str) -> None:
    path = repo / YAML
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_a_layout_with_an_error_of_lint_is_not_signed(gitchain: Gitchain, tiny: Path) -> None:
    """The first error is named with its place, the signed layout stays as it was, and --no-lint signs all the same."""
    before = (tiny / SIGNED).read_bytes()
    edit(tiny, "[ALLOW, 'git:*'], [DISALLOW, '*']", "[ALLOW, 'git:*']")
    edit(tiny, "version: 1", "version: 2")
    done = gitchain("layout", "sign", cwd=tiny)
    assert done.code == ExitCode.LAYOUT
    assert "GC-L01" in done.err
    assert "steps[0].expectedMaterials" in done.err
    assert "--no-lint" in done.err
    assert (tiny / SIGNED).read_bytes() == before
    assert gitchain("layout", "sign", "--no-lint", cwd=tiny).code == ExitCode.OK
    assert (tiny / SIGNED).read_bytes() != before


def test_a_change_needs_a_higher_version(gitchain: Gitchain, tiny: Path) -> None:
    """Other content under a version that was signed before, or a lower one, is refused; the same content is not."""
    edit(tiny, "version: 1", "version: 5")
    assert gitchain("layout", "sign", cwd=tiny).code == ExitCode.OK
    assert gitchain("layout", "sign", cwd=tiny).code == ExitCode.OK
    edit(tiny, "version: 5", "version: 4")
    done = gitchain("layout", "sign", cwd=tiny)
    assert (done.code, "version ≥ 6" in done.err) == (ExitCode.LAYOUT, True)
    edit(tiny, "version: 4", "version: 5")
    edit(tiny, "2099", "2098")
    done = gitchain("layout", "sign", "--no-lint", cwd=tiny)
    assert (done.code, "set version: 6" in done.err) == (ExitCode.LAYOUT, True)
    edit(tiny, "version: 5", "version: 6")
    assert gitchain("layout", "sign", cwd=tiny).code == ExitCode.OK


def test_policy_rollback(gitchain: Gitchain, tiny: Path) -> None:
    """A2: a layout that its owner has replaced decides nothing any more, for whoever has seen the new one."""
    gitchain(*ATTEST, cwd=tiny)
    old = (tiny / SIGNED).read_bytes()
    assert gitchain("verify", "model.txt", cwd=tiny).code == ExitCode.OK
    edit(tiny, "version: 1", "version: 2")
    assert gitchain("layout", "sign", cwd=tiny).code == ExitCode.OK
    assert gitchain("verify", "model.txt", cwd=tiny).code == ExitCode.OK
    (tiny / SIGNED).write_bytes(old)
    done = gitchain("verify", "model.txt", cwd=tiny)
    assert (done.code, "older than pinned" in done.err) == (ExitCode.LAYOUT, True)


def test_policy_rollback_under_one_version(gitchain: Gitchain, tiny: Path, tmp_path: Path) -> None:
    """Two layouts of one version, both signed by the owner: the first that was accepted stays."""
    gitchain(*ATTEST, cwd=tiny)
    assert gitchain("verify", "model.txt", cwd=tiny).code == ExitCode.OK
    (tiny / SIGNED).unlink()  # so that signing does not see that the version is taken
    edit(tiny, "[ALLOW, in.txt]", "[ALLOW, 'in*']")
    assert gitchain("layout", "sign", cwd=tiny).code == ExitCode.OK
    done = gitchain("verify", "model.txt", cwd=tiny)
    assert (done.code, "same version" in done.err) == (ExitCode.LAYOUT, True)


def test_the_signer_comes_from_outside(gitchain: Gitchain, tiny: Path) -> None:
    """The repository's own layout, signed by somebody else than the user named, decides nothing."""
    gitchain(*ATTEST, cwd=tiny)
    issuer = gitchain("local", "status", "--json", cwd=tiny).json["issuer"]
    edit(tiny, "version: 1", "version: 2")
    assert gitchain("layout", "sign", "--as", "mallory@example.com", cwd=tiny).code == ExitCode.OK
    done = gitchain("verify", "model.txt", cwd=tiny)
    assert (done.code, "by an identity that may not sign it" in done.err) == (ExitCode.LAYOUT, True)
    named = ("--signer", "mallory@example.com", "--issuer", issuer, "--trust", "local")
    assert gitchain("verify", "model.txt", *named, cwd=tiny).code == ExitCode.OK
    other = ("--signer", "mallory@example.com", "--issuer", "https://other.example", "--trust", "local")
    assert gitchain("verify", "model.txt", *other, cwd=tiny).code == ExitCode.LAYOUT


def test_layout_expiry(gitchain: Gitchain, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A layout that has expired is neither signed nor does it decide."""
    gitchain(*ATTEST, cwd=tiny)
    edit(tiny, "2099-01-01", "2020-01-01")
    edit(tiny, "version: 1", "version: 2")
    for flags in ((), ("--no-lint",)):
        done = gitchain("layout", "sign", *flags, cwd=tiny)
        assert (done.code, "expired" in done.err) == (ExitCode.LAYOUT, True)
    edit(tiny, "2020-01-01", "2098-01-01")
    assert gitchain("layout", "sign", cwd=tiny).code == ExitCode.OK
    import gitchain.cli.verify as verb
    from gitchain.verify import layout as module

    assert verb
    check = module._check_time
    monkeypatch.setattr(module, "_check_time", lambda one, verified, now: check(one, verified, one.expires))
    done = gitchain("verify", "model.txt", cwd=tiny)
    assert (done.code, "layout has expired" in done.err) == (ExitCode.LAYOUT, True)
