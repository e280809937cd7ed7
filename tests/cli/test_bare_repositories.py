"""Repositories without a work tree are read like others; what they lack is said, never taken as nothing."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gitchain.admit.evidence import SourceReader
from gitchain.admit.settings import LayoutSource
from gitchain.consume.targets import GivenTarget
from gitchain.errors import ExitCode, GitchainError
from gitchain.layout.model import Identity
from gitchain.workspace.project import open_project
from tests.support.prepared_repository import git, refused

Gitchain = Callable[..., Any]
REF = "refs/gitchain/attestations"
NOBODY = 65534


@dataclass(frozen=True)
class Site:
    """A consumer's directory with a model and its layout, and the repository where it was attested."""

    source: Path
    away: Path
    issuer: str

    @property
    def policy(self) -> tuple[str, ...]:
        who = ("--signer", "ada@example.com", "--issuer", self.issuer)
        return ("--layout", str(self.away / "layout.sigstore.json"), *who, "--trust", "local")

    def reader(self, repository: Path) -> SourceReader:
        """Return what `gitchain serve` reads the repository with."""
        layout = self.away / "layout.sigstore.json"
        return SourceReader(
            LayoutSource(
                name="tiny",
                layout=layout,
                signers=(Identity(self.issuer, "ada@example.com"),),
                trust="local",
                repository=repository,
            )
        )


@pytest.fixture
def object_format() -> str:
    return "sha1"


@pytest.fixture
def site(object_format: str, gitchain: Gitchain, tmp_path: Path) -> Site:
    """Attest a model in a repository."""
    repo, away = tmp_path / "source", tmp_path / "away"
    away.mkdir()
    git(tmp_path, "init", "-q", f"--object-format={object_format}", str(repo))
    (repo / "in.txt").write_text("in")
    (repo / "model.txt").write_text("model")
    assert gitchain("init", "--local", "--no-hooks", "--name", "tiny", cwd=repo).code == 0
    assert gitchain("attest", "train", "-m", "in.txt", "-p", "model.txt", cwd=repo).code == 0
    assert gitchain("layout", "draft", "--write", cwd=repo).code == 0
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "first")
    assert gitchain("layout", "sign", cwd=repo).code == 0
    shutil.copy(repo / ".gitchain/layout.sigstore.json", away / "layout.sigstore.json")
    shutil.copy(repo / "model.txt", away)
    issuer = gitchain("local", "status", "--json").json["issuer"]
    return Site(repo, away, issuer)


def mirror(site: Site, *options: str) -> Path:
    to = site.away.parent / "mirror.git"
    git(site.source, "config", "uploadpack.allowFilter", "true")
    git(site.away, "clone", "-q", "--mirror", *options, f"file://{site.source}", str(to))
    return to


def bare(site: Site) -> Path:
    to = site.away.parent / "bare.git"
    git(site.away, "clone", "-q", "--bare", str(site.source), str(to))
    git(to, "fetch", "-q", "origin", f"{REF}:{REF}")
    return to


def git_directory(site: Site) -> Path:
    return site.source / ".git"


def separate(site: Site) -> Path:
    """Copy a work tree's Git directory to a place of its own: it does not say that it is bare."""
    return shutil.copytree(site.source / ".git", site.away.parent / "separate.git")


@pytest.mark.parametrize(
    ("make", "object_format"),
    [(mirror, "sha1"), (mirror, "sha256"), (bare, "sha1"), (git_directory, "sha1"), (separate, "sha256")],
)
def test_every_reading_verb_reads_it(
    gitchain: Gitchain, process: Gitchain, site: Site, make: Callable[[Site], Path], tmp_path: Path
) -> None:
    place = make(site)
    model = str(site.away / "model.txt")
    before = set(place.rglob("*"))
    assert gitchain("-C", str(place), "verify", model, *site.policy).code == 0
    assert (
        gitchain("verify", model, *site.policy, "--evidence", f"git+file://{place}", cwd=site.away).code == 0
    )
    done = process(
        "-C",
        str(place),
        "guard",
        model,
        *site.policy,
        "--",
        sys.executable,
        "-c",
        "print('ran')",
        cwd=site.away,
    )
    assert (done.code, done.out) == (0, "ran\n"), done.text
    done = gitchain("-C", str(place), "fetch", model, str(tmp_path / "to"), *site.policy)
    assert (done.code, (tmp_path / "to" / "model.txt").read_text()) == (0, "model")
    done = gitchain("-C", str(place), "log", "--trust", "local", "--json")
    assert [event["step"] for event in done.json["events"]] == ["train", None]
    done = gitchain("-C", str(place), "monitor", "--trust", "local")
    assert done.code == 0, done.text
    reader = site.reader(place)
    decision = reader.open(datetime.now(UTC)).verify(GivenTarget.parse(model)).decisions[0]
    assert decision.passed
    version = reader.version(datetime.now(UTC))
    git(place, "update-ref", "-d", REF)
    assert reader.version(datetime.now(UTC)) != version
    made = {path.relative_to(place).parts[:2] for path in set(place.rglob("*")) - before}
    assert made <= {("refs", "gitchain"), ("refs", "gitchain-seen")}, made


@pytest.mark.parametrize("make", [mirror, git_directory])
def test_what_writes_refuses_it(gitchain: Gitchain, site: Site, make: Callable[[Site], Path]) -> None:
    """Attesting needs files; signing settings come from a work tree."""
    place = make(site)
    for command in (
        ("attest",),
        ("sync",),
        ("init", "--trust", "local"),
        ("run", "x", "-p", "f", "--", "true"),
    ):
        done = gitchain("-C", str(place), *command)
        refused(done, done.code, "work tree")
        assert done.code in {ExitCode.USAGE, ExitCode.RUN}
    refused(gitchain("-C", str(place), "show", "abcdef", "--trust", "public", "--offline"), ExitCode.NOTHING)


def test_a_bare_repository_has_no_configuration(gitchain: Gitchain, site: Site) -> None:
    """Also where its commit has one: the trust has to be named."""
    place = mirror(site)
    refused(gitchain("-C", str(place), "log"), ExitCode.USAGE, "bare", "--trust")
    done = gitchain("-C", str(place), "doctor")
    assert "git checkout" not in done.text, done.text


def test_a_clone_without_the_ref_says_how_to_get_it(gitchain: Gitchain, site: Site) -> None:
    """`git clone --bare` takes branches and tags alone."""
    to = site.away / "plain.git"
    git(site.away, "clone", "-q", "--bare", str(site.source), str(to))
    done = gitchain("-C", str(to), "log", "--trust", "local")
    refused(done, ExitCode.NOTHING, "git fetch origin 'refs/gitchain/*:refs/gitchain/*'")
    git(to, "fetch", "-q", "origin", "refs/gitchain/*:refs/gitchain/*")
    assert gitchain("-C", str(to), "log", "--trust", "local").code == 0


@pytest.mark.parametrize("options", [("--filter=blob:none",), ("--filter=tree:0",)], ids=" ".join)
def test_a_partial_mirror_is_no_smaller_store(
    gitchain: Gitchain, site: Site, options: tuple[str, ...]
) -> None:
    """What it lacks may be a revocation: no verdict, no history and no monitoring on less; then as the help says."""
    place, model = mirror(site, *options), str(site.away / "model.txt")
    verbs = (
        ("verify", model, *site.policy),
        ("log", "--trust", "local"),
        ("monitor", "--trust", "local"),
        ("fetch", model, str(site.away / "to"), *site.policy),
    )
    for verb in verbs:
        refused(gitchain("-C", str(place), *verb), ExitCode.NOTHING, "lacks", "--refetch --no-filter")
    with pytest.raises(GitchainError, match="lacks"):
        site.reader(place).open(datetime.now(UTC))
    git(place, "fetch", "-q", "--refetch", "--no-filter", "origin", "refs/gitchain/*:refs/gitchain/*")
    for verb in verbs:
        assert gitchain("-C", str(place), *verb).code == 0
    assert site.reader(place).open(datetime.now(UTC)).verify(GivenTarget.parse(model)).decisions[0].passed


def test_a_partial_mirror_that_lacks_one_revocation(gitchain: Gitchain, site: Site) -> None:
    """Everything else is there, and the model would pass without it."""
    place, model = mirror(site), str(site.away / "model.txt")
    git(place, "config", "remote.origin.promisor", "true")
    git(place, "config", "remote.origin.partialclonefilter", "blob:none")
    before = {line.split()[0] for line in git(place, "rev-list", "--objects", REF).splitlines()}
    assert gitchain("revoke", "artifact", "model.txt", "--reason", "withdrawn", cwd=site.source).code == 0
    git(place, "fetch", "-q", "--filter=blob:none", "origin", f"{REF}:{REF}")
    lacking = [
        one
        for one in git(place, "rev-list", "--objects", "--missing=print", REF).splitlines()
        if one.startswith("?")
    ]
    assert before
    assert lacking
    refused(gitchain("-C", str(place), "verify", model, *site.policy), ExitCode.NOTHING, "lacks")


def test_a_bare_repository_is_no_directory_of_bundles(gitchain: Gitchain, site: Site) -> None:
    """It would be an empty source: the error says how to name it."""
    place = mirror(site)
    done = gitchain("verify", "model.txt", *site.policy, "--evidence", str(place), cwd=site.away)
    refused(done, ExitCode.USAGE, f"git+file://{place}")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("make", [mirror, lambda site: site.source], ids=["bare", "work tree"])
def test_another_users_repository(
    gitchain: Gitchain,
    site: Site,
    make: Callable[[Site], Path],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Git's own rule holds: refused with the command that accepts it, which then works for every way to read it."""
    place, model = make(site), str(site.away / "model.txt")
    inside = place / "refs" if (place / "refs").exists() else place / "sub"
    inside.mkdir(exist_ok=True)
    for path in (place, *place.rglob("*")):
        os.lchown(path, NOBODY, NOBODY)
    for here in (place, inside):
        done = gitchain("-C", str(here), "verify", model, *site.policy)
        refused(done, ExitCode.USAGE, f"git config --global --add safe.directory {place}\n")
    done = gitchain("verify", model, *site.policy, "--evidence", f"git+file://{place}", cwd=site.away)
    refused(done, ExitCode.UNAVAILABLE, "git config --global --add safe.directory ")
    names = [line.split()[-1] for line in done.err.splitlines() if "safe.directory" in line]
    with pytest.raises(GitchainError, match="another user"):
        site.reader(place).version(datetime.now(UTC))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    for name in {str(place), *names}:  # git asks for a work tree's Git directory where it serves it
        git(tmp_path, "config", "--global", "--add", "safe.directory", name)
    assert gitchain("-C", str(place), "verify", model, *site.policy).code == 0
    assert site.reader(place).open(datetime.now(UTC)).verify(GivenTarget.parse(model)).decisions[0].passed
    done = gitchain("verify", model, *site.policy, "--evidence", f"git+file://{place}", cwd=site.away)
    assert done.code == 0, done.text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_another_users_repository_accepted_by_the_environment(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container without a home directory can say it by variables."""
    place = mirror(site)
    for path in (place, *place.rglob("*")):
        os.lchown(path, NOBODY, NOBODY)
    for key, value in (("COUNT", "1"), ("KEY_0", "safe.directory"), ("VALUE_0", str(place))):
        monkeypatch.setenv(f"GIT_CONFIG_{key}", value)
    found = site.reader(place).open(datetime.now(UTC)).verify(GivenTarget.parse(str(site.away / "model.txt")))
    assert found.decisions[0].passed


def test_a_git_that_finds_no_bare_repository(
    gitchain: Gitchain, site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`safe.bareRepository explicit` is the user's own setting: refused, with the setting named."""
    place = mirror(site)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    git(tmp_path, "config", "--global", "safe.bareRepository", "explicit")
    done = gitchain("-C", str(place), "log", "--trust", "local")
    refused(done, ExitCode.USAGE, "git config --global safe.bareRepository all")


def test_the_opened_project_says_that_there_is_no_work_tree(site: Site) -> None:
    project = open_project(mirror(site), changes=False)
    assert (project.git.has_work_tree, project.root, project.config) == (False, project.git.common_dir, None)
    assert open_project(site.source, changes=False).git.has_work_tree


def test_a_repository_that_git_refuses_is_not_passed_over(
    gitchain: Gitchain, site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With --layout no repository is needed; one that is there and cannot be opened may hold a revocation."""
    model, evidence = str(site.away / "model.txt"), f"git+file://{site.source}"
    assert gitchain("-C", str(tmp_path), "verify", model, *site.policy, "--evidence", evidence).code == 0
    (site.source / ".git" / "config").write_text("[core]\n\trepositoryformatversion = 99\n")
    done = gitchain("-C", str(site.source), "verify", model, *site.policy)
    refused(done, ExitCode.USAGE, "99")
    done = gitchain("-C", str(site.source), "monitor", "--trust", "local")
    refused(done, ExitCode.USAGE, "99")


@pytest.mark.parametrize("first", ["sha1", "sha256"])
def test_a_mirrored_repository_that_changes_its_object_format(
    gitchain: Gitchain, site: Site, first: str, tmp_path: Path
) -> None:
    """It is another repository: what was seen at the URL is missed, whichever format it had."""
    model, place = str(site.away / "model.txt"), tmp_path / "served.git"
    other = "sha256" if first == "sha1" else "sha1"
    git(tmp_path, "init", "-q", "--bare", f"--object-format={first}", str(place))
    clone = site.source
    if first == "sha256":
        clone = tmp_path / "clone"
        git(tmp_path, "init", "-q", "--object-format=sha256", str(clone))
        (clone / "model.txt").write_text("model")
        (clone / "in.txt").write_text("in")
        assert gitchain("init", "--local", "--name", "tiny", cwd=clone).code == 0
        assert gitchain("attest", "train", "-m", "in.txt", "-p", "model.txt", cwd=clone).code == 0
    git(clone, "push", "-q", str(place), REF)
    evidence = f"git+file://{place}"
    assert gitchain("verify", model, *site.policy, "--evidence", evidence, cwd=site.away).code == 0
    shutil.rmtree(place)
    git(tmp_path, "init", "-q", "--bare", f"--object-format={other}", str(place))
    for _ in range(2):
        done = gitchain("verify", model, *site.policy, "--evidence", evidence, cwd=site.away)
        assert done.code in {ExitCode.TRUST, ExitCode.UNAVAILABLE}, done.text
