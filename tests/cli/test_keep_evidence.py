"""`attest` and `run -- dvc repro` keep what they can attest, name the rest, and notice changes that leave all bytes equal."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gitchain.errors import ExitCode, StoreError
from gitchain.evidence.bundle import Bundle
from gitchain.evidence.statement import Statement
from gitchain.store.git_ref import AttestationStore
from gitchain.workspace.project import open_project
from tests.support.prepared_repository import PreparedRepository, intact, refused

Gitchain = Callable[..., Any]

OURS = "https://git.example.com/team/model.git"
ABSENT = "outs:\n- {md5: 379f4610dd04d4c79b4a4b0c1e8d3a5f, size: 5, hash: md5, path: huge.csv}\n"


def statements(world: PreparedRepository) -> list[Statement]:
    store = AttestationStore.open(world.repo)
    return [Bundle.parse(store.get(name) or b"").statement() for name in store.names()]


def of_step(world: PreparedRepository, step: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for statement in statements(world):
        definition: Any = statement.predicate.get("buildDefinition")
        if definition and definition["externalParameters"]["step"] == step:
            found.append(definition)
    return found


def imported(commit: str, url: str = "https://git.example.com/team/data.git") -> str:
    md5 = hashlib.md5(b"x,y\n").hexdigest()
    return (
        f"deps:\n- path: raw.csv\n  repo: {{url: '{url}', rev_lock: {commit}}}\n"
        f"outs:\n- {{md5: {md5}, size: 4, hash: md5, path: far.csv}}\n"
    )


def partial_import(commit: str) -> str:
    """Return what `dvc import --no-download` leaves: no md5."""
    return (
        f"deps:\n- path: raw.csv\n  repo: {{url: 'https://git.example.com/d.git', rev_lock: {commit}}}\n"
        "outs:\n- {hash: md5, path: later.csv}\n"
    )


def test_run_dvc_repro_attests_the_stages_beside_data_that_is_not_here(
    gitchain: Gitchain, world: PreparedRepository
) -> None:
    """A data set that was not pulled and an import without a download are named, and cost no stage its statement."""
    world.write("huge.csv.dvc", ABSENT)
    world.write("later.csv.dvc", partial_import("a1" * 20))
    done = gitchain("run", "--json", "--", "dvc", "repro", "-q", "train", cwd=world.repo)
    assert done.code == 0, done.text
    assert {row["step"] for row in done.json["attested"]} == {"prepare", "train"}
    assert {row["evidence"] for row in done.json["attested"]} == {"observed"}
    assert {row["name"] for row in done.json["notAttested"]} == {"huge.csv.dvc", "later.csv.dvc"}
    for name in ("huge.csv.dvc", "later.csv.dvc"):
        assert f"not attested: {name}" in done.err
    intact(world)


def test_attest_attests_what_is_here_and_names_the_rest(
    gitchain: Gitchain, world: PreparedRepository
) -> None:
    """Absent bytes are named and exit 0; asked for by name, they are an error."""
    world.write("huge.csv.dvc", ABSENT)
    world.write("far.csv", "x,y\n")
    world.write("far.csv.dvc", imported("a1" * 20))
    done = gitchain("attest", "--json", cwd=world.repo)
    assert done.code == 0, done.text
    assert [row["step"] for row in done.json["attested"]] == ["far.csv.dvc"]
    assert [row["name"] for row in done.json["notAttested"]] == ["huge.csv.dvc"]
    assert "not attested: huge.csv.dvc" in done.err
    assert "dvc pull" in done.err
    again = gitchain("attest", cwd=world.repo)
    assert again.code == 0
    refused(gitchain("attest", "huge.csv.dvc", cwd=world.repo), ExitCode.USAGE, "huge.csv", "dvc pull")
    world.write("dvc.lock", "schema: '2.0'\nstages: {}\n")
    (world.repo / "far.csv.dvc").unlink()
    refused(gitchain("attest", cwd=world.repo), ExitCode.USAGE, "huge.csv", "dvc pull")


@pytest.mark.parametrize(("broken", "code"), [("outs: 5\n", ExitCode.USAGE), (ABSENT, ExitCode.FAILED)])
def test_attest_keeps_the_other_statements_when_one_fails(
    gitchain: Gitchain, world: PreparedRepository, broken: str, code: ExitCode
) -> None:
    """A broken file, and bytes that are not what DVC recorded, decide the exit code; the rest is attested and listed."""
    world.write("huge.csv.dvc", broken)
    world.write("huge.csv", "other")
    world.write("far.csv", "x,y\n")
    world.write("far.csv.dvc", imported("a1" * 20))
    done = gitchain("attest", "--json", cwd=world.repo)
    refused(done, code, "huge.csv")
    assert [row["step"] for row in done.json["attested"]] == ["far.csv.dvc"]
    assert [row["name"] for row in done.json["notAttested"]] == ["huge.csv.dvc"]
    intact(world)


@pytest.mark.parametrize(("remote", "url", "uri"), [
    (OURS, OURS, f"git+{OURS}"),
    ("", "/srv/data", "git:local"),
])  # fmt: skip
def test_attest_of_an_import_from_the_own_repository(
    gitchain: Gitchain, world: PreparedRepository, remote: str, url: str, uri: str
) -> None:
    """An import with the repository's own address is a material beside the repository's commit, told apart by its own."""
    if remote:
        world.git("remote", "add", "origin", remote)
    world.write("far.csv", "x,y\n")
    world.write("far.csv.dvc", imported("a1" * 20, url))
    done = gitchain("attest", cwd=world.repo)
    assert done.code == 0, done.text
    (definition,) = of_step(world, "far.csv.dvc")
    sources = {one["uri"]: one["digest"]["gitCommit"] for one in definition["resolvedDependencies"]}
    assert sources == {uri: world.git("rev-parse", "HEAD"), f"{uri}@{'a1' * 20}": "a1" * 20}


def test_attest_notices_a_change_that_leaves_the_bytes_equal(
    gitchain: Gitchain, world: PreparedRepository
) -> None:
    """Another source, command, parameter or layout name gives a new statement; a new commit of the repository does not."""
    world.write("far.csv", "x,y\n")
    world.write("far.csv.dvc", imported("a1" * 20))
    assert gitchain("attest", cwd=world.repo).code == 0
    lock = (world.repo / "dvc.lock").read_text()
    config = (world.repo / ".gitchain/config.toml").read_text()
    changes: list[tuple[str, str, set[str]]] = [
        ("far.csv.dvc", imported("b2" * 20), {"far.csv.dvc"}),
        ("far.csv.dvc", imported("b2" * 20, "https://git.example.com/team/other.git"), {"far.csv.dvc"}),
        ("dvc.lock", lock + "    params: {params.yaml: {lr: 0.1}}\n", {"train"}),
        ("dvc.lock", lock + "    params: {params.yaml: {lr: 0.2}}\n", {"train"}),
        ("dvc.lock", lock.replace("cmd: x", "cmd: y"), {"prepare", "train"}),
        (
            ".gitchain/config.toml",
            config.replace('"demo"', '"demo2"'),
            {"prepare", "train", "far.csv.dvc"},
        ),
    ]
    for name, text, steps in changes:
        world.write(name, text)
        world.git("add", "-A")
        world.git("commit", "-q", "-m", "change")
        done = gitchain("attest", "--json", cwd=world.repo)
        assert done.code == 0, done.text
        assert {row["step"] for row in done.json["attested"]} == steps, name
        world.git("commit", "-q", "--allow-empty", "-m", "nothing")
        assert gitchain("attest", "--json", cwd=world.repo).json["attested"] == []


def test_run_dvc_repro_names_the_stages_that_did_not_run(
    gitchain: Gitchain, world: PreparedRepository
) -> None:
    """Up to date and never observed: named, with the command that observes them; after that command, verify passes."""
    subprocess.run(["dvc", "repro", "-q"], cwd=world.repo, check=True)
    done = gitchain("run", "--", "dvc", "repro", "-q", cwd=world.repo)
    assert done.code == 0, done.text
    assert "did not run: prepare, train" in done.err
    assert "gitchain run -- dvc repro -q --force" in done.err
    assert "gitchain attest" in done.err
    forced = gitchain("run", "--", "dvc", "repro", "-q", "--force", cwd=world.repo)
    assert forced.code == 0, forced.text
    assert "did not run" not in forced.err
    assert gitchain("verify", "model.bin", cwd=world.repo).code == 0
    assert "did not run" not in gitchain("run", "--", "dvc", "repro", "-q", cwd=world.repo).err


def test_run_checks_that_signing_is_possible_before_the_command(
    gitchain: Gitchain, world: PreparedRepository
) -> None:
    """An identity, a layout name or an outbox that no statement could be signed with stops `run` before the command."""
    command = ("run", "x", "-p", "made", "--", "touch", "made")
    refused(gitchain("run", "--as", "two words", *command[1:], cwd=world.repo), ExitCode.RUN, "two words")
    config = world.repo / ".gitchain/config.toml"
    text = config.read_text()
    config.write_text(text.replace('"demo"', '"de\\nmo"'))
    refused(gitchain(*command, cwd=world.repo), ExitCode.RUN, "layout")
    config.write_text(text)
    outbox = world.repo / ".git/gitchain/outbox"
    outbox.rename(outbox.with_name("kept"))
    outbox.write_text("a file where the directory should be")
    refused(gitchain(*command, cwd=world.repo), ExitCode.RUN)
    assert not (world.repo / "made").exists()


def test_attest_repeated_after_a_kill_leaves_one_entry(
    gitchain: Gitchain, world: PreparedRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A statement that waits is replaced by the same one stated again; another signer's is not."""
    from gitchain.trust.profiles import Profile

    def killed(*_: object) -> None:
        raise StoreError("killed")

    before = world.stored()
    world.write("far.csv", "x,y\n")
    world.write("far.csv.dvc", imported("a1" * 20))
    explicit = ("attest", "x", "-m", "far.csv", "-p", "model.bin")
    with monkeypatch.context() as patch:
        patch.setattr(Profile, "signer", killed)
        assert gitchain("attest", cwd=world.repo).code == ExitCode.QUEUED
        assert gitchain(*explicit, cwd=world.repo).code == ExitCode.QUEUED
        assert gitchain(*explicit, cwd=world.repo).code == ExitCode.QUEUED
        assert gitchain(*explicit, "--as", "bob@example.com", cwd=world.repo).code == ExitCode.QUEUED
    assert len(world.waiting()) == 3
    world.git("commit", "-q", "--allow-empty", "-m", "meanwhile")
    assert gitchain("attest", cwd=world.repo).code == 0
    assert len(world.waiting()) == 2
    assert gitchain("sync", "--no-remote", cwd=world.repo).code == 0
    assert world.waiting() == set()
    assert len(of_step(world, "far.csv.dvc")) == 1
    assert len(of_step(world, "x")) == 2
    assert before <= world.stored()


def test_sync_signs_nothing_that_a_killed_run_had_stored(
    gitchain: Gitchain, world: PreparedRepository
) -> None:
    """Killed between storing and forgetting: the item that is left is stored already, and is forgotten."""
    world.write("far.csv", "x,y\n")
    world.write("far.csv.dvc", imported("a1" * 20))
    assert gitchain("attest", cwd=world.repo).code == 0
    (found,) = [one for one in statements(world) if b"far.csv.dvc" in one.payload]
    project = open_project(world.repo)
    project.outbox.put(found.payload, {}, {"trust": "local", "identity": "ada@example.com"})
    assert gitchain("sync", "--no-remote", cwd=world.repo).code == 0
    assert world.waiting() == set()
    assert len(of_step(world, "far.csv.dvc")) == 1


def test_run_does_not_attest_a_product_that_was_not_written(
    gitchain: Gitchain, world: PreparedRepository
) -> None:
    """An old file under the product's name is refused by name; beside a product that was written it is only named."""
    command = ("run", "x", "-p", "old.bin", "-p", "new.bin", "--json", "--")
    world.write("old.bin", "made elsewhere")
    refused(
        gitchain(*command[:4], *command[6:], "true", cwd=world.repo),
        ExitCode.RUN,
        "did not write its product old.bin",
    )
    done = gitchain(*command, "touch", "new.bin", cwd=world.repo)
    assert done.code == 0, done.text
    assert [[one["name"] for one in row["subject"]] for row in done.json["attested"]] == [["new.bin"]]
    assert [row["name"] for row in done.json["notAttested"]] == ["old.bin"]
    assert "not attested: old.bin: the command did not write its product old.bin" in done.err
    done = gitchain(*command[:6], "-p", "gone.bin", *command[6:], "touch", "-c", "gone.bin", cwd=world.repo)
    refused(done, ExitCode.RUN, "gone.bin")
    done = gitchain("run", "x", "-p", "fresh", "-p", "gone.bin", "--", "touch", "fresh", cwd=world.repo)
    refused(done, ExitCode.RUN, "gone.bin")
    assert "attested  x  fresh  observed" in done.out
    intact(world)


@pytest.mark.parametrize("verb", ["attest", "run"])
def test_pointer_of_git_lfs_is_never_attested(
    gitchain: Gitchain, world: PreparedRepository, verb: str
) -> None:
    """What stands in for a model that was not fetched is refused, with the command that fetches it."""
    world.write(
        "models/m.bin", f"version https://git-lfs.github.com/spec/v1\noid sha256:{'4d' * 32}\nsize 75\n"
    )
    end = ("--", "cp", "models/m.bin", "copy.bin") if verb == "run" else ()
    code = ExitCode.RUN if verb == "run" else ExitCode.USAGE
    for name in ("models", "models/m.bin"):
        done = gitchain(verb, "x", "-m", name, "-p", "model.bin", *end, cwd=world.repo)
        refused(done, code, "Git LFS pointer", "models/m.bin", "git lfs pull")
    assert not (world.repo / "copy.bin").exists()
    world.write(
        "huge.csv.dvc", "outs:\n- {md5: 379f4610dd04d4c79b4a4b0c1e8d3a5f.dir, hash: md5, path: models}\n"
    )
    refused(gitchain("attest", "huge.csv.dvc", cwd=world.repo), ExitCode.USAGE, "Git LFS pointer")


def test_attest_says_that_the_layout_asks_for_observed_evidence(
    gitchain: Gitchain, world: PreparedRepository
) -> None:
    """The advice that it prints, followed, ends in PASSED: run again observed, or let the layout accept declared."""
    layout = world.repo / ".gitchain/layout.yaml"
    plain = layout.read_text()
    asking = plain.replace("  - name: ", "  - evidence: observed\n    name: ")
    layout.write_text(asking.replace("version: 1", "version: 2"))
    assert gitchain("layout", "sign", "--no-lint", cwd=world.repo).code == 0
    subprocess.run(["dvc", "repro", "-q"], cwd=world.repo, check=True)
    done = gitchain("attest", cwd=world.repo)
    assert done.code == 0, done.text
    assert "step train: the layout asks for observed evidence, and this is declared" in done.err
    assert "in .gitchain/layout.yaml, raise version, then:" in done.err
    assert "gitchain run -- dvc repro --force train" in done.err
    assert gitchain("verify", "model.bin", cwd=world.repo).code == ExitCode.FAILED
    assert gitchain("run", "--", "dvc", "repro", "--force", "train", cwd=world.repo).code == 0
    assert gitchain("verify", "model.bin", cwd=world.repo).code == 0
    (world.repo / ".gitchain/layout.sigstore.json").write_text("{")
    world.write("far.csv", "x,y\n")
    world.write("far.csv.dvc", imported("a1" * 20))
    assert "layout" not in gitchain("attest", cwd=world.repo).err


def test_attest_again_after_the_trust_was_changed(
    gitchain: Gitchain, world: PreparedRepository, tmp_path: Path
) -> None:
    """What was signed under another trust proves nothing under this one: attested again, and verified."""
    gitchain("attest", cwd=world.repo)
    assert gitchain("attest", "--json", cwd=world.repo).json["attested"] == []
    shutil.move(world.home / "local", tmp_path / "lost")  # a machine that was set up anew
    (world.home / "pins.json").unlink()
    assert gitchain("init", "--local", "--force", "--no-hooks", "--name", "demo", cwd=world.repo).code == 0
    done = gitchain("attest", "--json", cwd=world.repo)
    assert done.code == 0, done.text
    assert {row["step"] for row in done.json["attested"]} == {"prepare", "train"}
    assert gitchain("attest", "--json", cwd=world.repo).json["attested"] == []
