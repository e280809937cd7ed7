"""Attacks from where the verifier stands: files in the current directory, the repository's own settings, the network.

Each hostile thing leaves a mark when it runs. Verification of a good model passes, of a changed one fails, and
there is never a mark.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gitchain.errors import ExitCode
from tests.support.command_line import call
from tests.support.preloaded import programs
from tests.support.prepared_repository import PreparedRepository

SCRIPT = Path(sys.executable).parent / "gitchain"


def gitchain(project: PreparedRepository, *args: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does, from the repository's directory."""
    return subprocess.run([SCRIPT, *args], cwd=project.repo, capture_output=True, text=True, check=False)


def unmoved(project: PreparedRepository, mark: Path) -> None:
    """The good model passes, a changed one fails, and nothing hostile has run."""
    good = gitchain(project, "verify", "model.bin")
    assert good.returncode == ExitCode.OK, good.stderr
    project.write("model.bin", "tampered")
    assert gitchain(project, "verify", "model.bin").returncode == ExitCode.FAILED
    assert not mark.exists(), mark.read_text()


def test_a27_hostile_cwd(project: PreparedRepository, tmp_path: Path) -> None:
    """Python modules, rc files and settings in the working directory are not read: the GHSA-wc64-c5rv-32pf way."""
    mark = tmp_path / "mark"
    code = f"open({str(mark)!r}, 'a').write(__name__ + chr(10))\n"
    for name in (
        "sitecustomize",
        "usercustomize",
        "json",
        "click",
        "gitchain",
        "cryptography",
        "sigstore",
        "pygit2",
        "conftest",
    ):
        project.write(f"{name}.py", code)
    for name in (
        ".in_totorc",
        ".gitchain.toml",
        "gitchain.toml",
        ".gitchainrc",
        "pyproject.toml",
        "setup.cfg",
        ".env",
        "click.cfg",
    ):
        project.write(
            name,
            "[settings]\ntrust = 'evil'\nkey_paths = evil\noffline = false\n[tool.gitchain]\ntrust = 'evil'\n",
        )
    project.write(".pth", "import os; os.system('id')\n")
    unmoved(project, mark)


def test_a27_settings_of_the_repository_are_for_producers(
    project: PreparedRepository, tmp_path: Path
) -> None:
    """`.gitchain/config.toml` comes with the repository that is judged: no verdict depends on it."""
    evil = 'layout = "evil"\n[sign]\ntrust = "evil.json"\nidentity = "eve@example.com"\n'
    project.write(".gitchain/config.toml", f'schema = "https://gitchain.dev/config/v1"\n{evil}')
    project.write("evil.json", "{}")
    unmoved(project, tmp_path / "mark")


def test_ghsa_fqfh_evil_git_in_cwd(project: PreparedRepository, tmp_path: Path) -> None:
    """A `git` in the working directory is a file like any other."""
    mark = tmp_path / "mark"
    for name in ("git", "git.exe", "git.cmd", "dvc", "python", "python3"):
        project.write(name, f"#!/bin/sh\necho {name} >> {mark}\n").chmod(0o755)
    unmoved(project, mark)


def test_cve_2025_48384_hostile_repo(project: PreparedRepository, tmp_path: Path) -> None:
    """Hooks, filters, monitors, diff drivers and helpers that the repository's own settings name do not run."""
    mark = tmp_path / "mark"
    evil = project.write("evil.sh", f"#!/bin/sh\necho $0 $@ >> {mark}\ncat\n")
    evil.chmod(0o755)
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    for hook in (
        "post-checkout",
        "post-index-change",
        "reference-transaction",
        "pre-auto-gc",
        "fsmonitor-watchman",
    ):
        (hooks / hook).write_text(f"#!/bin/sh\necho {hook} >> {mark}\n")
        (hooks / hook).chmod(0o755)
    for key, value in {
        "core.hooksPath": str(hooks), "core.fsmonitor": str(evil), "core.pager": str(evil), "core.editor": str(evil),
        "core.sshCommand": str(evil), "core.gitProxy": str(evil), "diff.external": str(evil), "credential.helper": str(evil),
        "filter.evil.clean": str(evil), "filter.evil.smudge": str(evil), "filter.evil.process": str(evil), "filter.evil.required": "true",
        "diff.evil.textconv": str(evil), "diff.evil.command": str(evil), "merge.evil.driver": str(evil), "gpg.program": str(evil),
        "gc.auto": "1", "uploadpack.packObjectsHook": str(evil), "alias.rev-parse": f"!{evil}", "log.showSignature": "true",
        "core.alternateRefsCommand": str(evil), "interactive.diffFilter": str(evil), "sequence.editor": str(evil),
    }.items():  # fmt: skip
        project.git("config", key, value)
    project.write(".gitattributes", "* filter=evil diff=evil merge=evil\n")
    project.write(".gitmodules", '[submodule "x\r"]\n\tpath = x\r\n\turl = --upload-pack=./evil.sh\n')
    unmoved(project, mark)


@pytest.mark.parametrize("url", ["ssh://example.invalid/x", "."])
@pytest.mark.parametrize("lacks", ["the commit", "the store"])
def test_a27_partial_clone_fetches_nothing(
    project: PreparedRepository, tmp_path: Path, url: str, lacks: str
) -> None:
    """What is missing in a partial clone is not fetched to judge it: its settings name the program that would."""
    mark = tmp_path / "mark"
    evil = project.write("evil.sh", f"#!/bin/sh\necho $0 $@ >> {mark}\n")
    evil.chmod(0o755)
    for key, value in {
        "extensions.partialClone": "origin", "core.repositoryFormatVersion": "1", "remote.origin.promisor": "true",
        "remote.origin.url": url, "remote.origin.uploadpack": str(evil), "core.sshCommand": str(evil),
        "core.gitProxy": str(evil), "credential.helper": f"!{evil}", "core.askPass": str(evil),
        "protocol.allow": "always", "gpg.program": str(evil), "log.showSignature": "true",
    }.items():  # fmt: skip
        project.git("config", key, value)
    missing(project, "HEAD" if lacks == "the commit" else "refs/gitchain/attestations")
    for command in (
        ("verify", "model.bin"), ("verify", "HEAD"), ("verify", "dvc.lock@HEAD"), ("log",), ("show", "sha256:00"),
        ("diff", "HEAD", "model.bin"),
        ("models",),
        ("trust", "status"), ("doctor",), ("layout", "show"),
    ):  # fmt: skip
        assert call(*command, cwd=project.repo).code != ExitCode.BUG
        assert not mark.exists(), (command, mark.read_text())


@pytest.mark.parametrize("path", [".", "", "evil", "{repo}/evil", "{repo}/../repo-link/evil"])
def test_git_in_the_repository_is_not_run_from_path(
    project: PreparedRepository, tmp_path: Path, path: str
) -> None:
    """PATH may name the current directory, a relative one, or one of the repository: no program is found there."""
    mark = tmp_path / "mark"
    for name in ("git", "gpg", "dvc", "nvidia-smi", "ssh", "uname"):
        for folder in ("", "evil/"):
            project.write(folder + name, f"#!/bin/sh\necho $0 $@ >> {mark}\n").chmod(0o755)
    (project.repo.parent / "repo-link").symlink_to(project.repo)
    env = {**os.environ, "PATH": f"{path.format(repo=project.repo)}:{os.environ['PATH']}"}
    for command in (
        ("verify", "model.bin"),
        ("diff", "model.bin", "model.bin"),
        ("models",),
        ("doctor",),
        ("hooks", "status"),
        ("run", "x", "-p", "o", "--", "/bin/true"),
    ):
        done = subprocess.run(
            [programs() / "gitchain", *command],
            cwd=project.repo,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in {ExitCode.OK, ExitCode.RUN, ExitCode.QUEUED}, done.stderr
        assert not mark.exists(), (command, mark.read_text())


@pytest.mark.parametrize(
    "command",
    [
        "log",
        "show",
        "diff HEAD model.bin",
        "trust status",
        "layout show",
        "layout lint",
        "doctor",
        "hooks status",
    ],
)
def test_a27_looking_runs_no_filter(project: PreparedRepository, tmp_path: Path, command: str) -> None:
    """Whoever only looks at a repository runs no filter of it, no signature checker and no monitor."""
    mark = tmp_path / "mark"
    evil = project.write("evil.sh", f"#!/bin/sh\necho $0 $@ >> {mark}\ncat\n")
    evil.chmod(0o755)
    for key in ("filter.evil.clean", "core.fsmonitor", "gpg.program", "diff.external", "diff.evil.textconv"):
        project.git("config", key, str(evil))
    project.git("config", "log.showSignature", "true")
    project.write(".gitattributes", "* filter=evil diff=evil\n")
    (project.repo / "hooks-here").mkdir()
    project.git("config", "core.hooksPath", str(project.repo / "hooks-here"))
    project.write("data/raw.csv", "changed")
    call(*command.split(), *(["sha256:00"] if command == "show" else []), cwd=project.repo)
    assert not mark.exists(), mark.read_text()


def missing(project: PreparedRepository, ref: str) -> None:
    """Take every object away that the ref's commit, its tree and its files are made of."""
    listed = project.git("rev-list", "--objects", "--no-walk", ref).split()
    project.git("repack", "-adq")
    packs = project.repo / ".git/objects/pack"
    for pack in packs.glob("*.pack"):
        moved = project.repo / "moved.pack"
        pack.rename(moved)
        pack.with_suffix(".idx").unlink()
        with moved.open("rb") as file:
            subprocess.run(["git", "unpack-objects", "-q"], cwd=project.repo, stdin=file, check=True)
    for oid in listed:
        loose = project.repo / ".git/objects" / oid[:2] / oid[2:]
        if len(oid) == 40:
            loose.unlink(missing_ok=True)


def test_cve_2026_24137_symlinked_settings(project: PreparedRepository, tmp_path: Path) -> None:
    """A `.gitchain` that is a link elsewhere brings no layout that the user did not pin."""
    mark = tmp_path / "mark"
    (project.repo / ".gitchain").rename(tmp_path / "elsewhere")
    (project.repo / ".gitchain").symlink_to(tmp_path / "elsewhere")
    done = gitchain(project, "verify", "model.bin")
    assert done.returncode in {ExitCode.OK, ExitCode.LAYOUT, ExitCode.USAGE}
    (tmp_path / "elsewhere/layout.sigstore.json").write_text("{}")
    assert gitchain(project, "verify", "model.bin").returncode == ExitCode.LAYOUT
    assert not mark.exists()


def recorded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the hosts that somebody tries to reach from now on; none is reached."""
    hosts: list[str] = []

    def resolve(host: object, *_args: object, **_more: object) -> None:
        hosts.append(str(host))
        raise socket.gaierror(socket.EAI_NONAME, "no network here")

    def connect(_self: socket.socket, address: object) -> None:
        hosts.append(str(address))
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket.socket, "connect", connect)
    return hosts


@pytest.mark.parametrize("options", [(), ("--offline",), ("--explain",), ("--json",)])
def test_cve_2023_47122_no_trust_over_network(
    project: PreparedRepository, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    """Verification with a pinned or given trust opens no connection: keys never come from a log's API."""
    hosts = recorded(monkeypatch)
    assert call("verify", "model.bin", *options, cwd=project.repo).code == 0
    assert hosts == []


def test_cve_2023_47122_no_trust_over_network_except_tuf(
    project: PreparedRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The public trust is updated by TUF, from its one host, and by nobody else; offline by nobody at all."""
    hosts = recorded(monkeypatch)
    arguments = (
        "--layout",
        ".gitchain/layout.sigstore.json",
        "--signer",
        "ada@example.com",
        "--issuer",
        "https://x.example",
    )
    done = call("verify", "model.bin", *arguments, "--trust", "public", "--offline", cwd=project.repo)
    assert done.code not in {0, ExitCode.BUG}
    assert hosts == []
    done = call("verify", "model.bin", *arguments, "--trust", "public", cwd=project.repo)
    assert done.code not in {0, ExitCode.BUG}
    assert set(hosts) <= {"tuf-repo-cdn.sigstore.dev"}


def test_a18_swap_after_verify(project: PreparedRepository) -> None:
    """The verdict is about bytes, and names them: what is served later is checked by that digest."""
    import hashlib

    done = call("verify", "model.bin", "--json", cwd=project.repo)
    digest = done.json["resource"]["digest"]["sha256"]
    assert digest == hashlib.sha256((project.repo / "model.bin").read_bytes()).hexdigest()
    project.write("model.bin", "swapped")
    assert call("verify", "model.bin", cwd=project.repo).code == ExitCode.FAILED
    assert call("verify", f"sha256:{digest}", cwd=project.repo).code == ExitCode.OK


def test_a04_drop_each_attestation_of_a_repository(project: PreparedRepository) -> None:
    """The store without its attestations, or set back: never verified; and it is noticed that something is gone."""
    assert call("verify", "model.bin", cwd=project.repo).code == 0
    name = "refs/gitchain/attestations"
    before = project.git("rev-list", "--first-parent", name).splitlines()
    for commit in before[1:]:
        project.git("update-ref", name, commit)
        assert call("verify", "model.bin", cwd=project.repo).code != 0
    project.git("update-ref", "-d", name)
    assert call("verify", "model.bin", cwd=project.repo).code != 0


def test_a19_rolled_back_store_is_noticed(project: PreparedRepository) -> None:
    """A store that held more when it was seen last is exit code 4, whatever it holds now."""
    assert call("verify", "model.bin", cwd=project.repo).code == 0
    name = "refs/gitchain/attestations"
    project.git("update-ref", name, f"{name}~1")
    assert call("verify", "model.bin", cwd=project.repo).code == ExitCode.TRUST


def test_a02_rolled_back_layout_is_noticed(project: PreparedRepository) -> None:
    """A layout with a lower version than one that was accepted before is exit code 5."""
    signed = (project.repo / ".gitchain/layout.sigstore.json").read_bytes()
    text = project.repo / ".gitchain/layout.yaml"
    text.write_text(text.read_text().replace("version: 1\n", "version: 2\n", 1))
    assert call("layout", "sign", cwd=project.repo).code == 0
    assert call("verify", "model.bin", cwd=project.repo).code == 0
    project.write(".gitchain/layout.sigstore.json", signed)
    assert call("verify", "model.bin", cwd=project.repo).code == ExitCode.LAYOUT
