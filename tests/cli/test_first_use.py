"""The first commands of a new user: what is missing is named once, on readable lines, with a command that works."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gitchain.errors import ExitCode
from tests.support.prepared_repository import PreparedRepository, refused

Gitchain = Callable[..., Any]
PIPELINE = "stages:\n  train:\n    cmd: cp a model.bin\n    deps: [a]\n    outs: [model.bin]\n"


@pytest.fixture
def dvc_repo(git_repo: Path) -> Path:
    """Return a repository with a DVC pipeline of one stage."""
    (git_repo / ".dvc").mkdir()
    (git_repo / ".dvc/config").write_text("")
    (git_repo / "dvc.yaml").write_text(PIPELINE)
    (git_repo / "a").write_text("1")
    return git_repo


def without_email(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GIT_COMMITTER_EMAIL", "GIT_AUTHOR_EMAIL", "EMAIL"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    "words", [(), ("trust",), ("layout",), ("bundle",), ("revoke",), ("local",)], ids=str
)
def test_command_without_arguments_prints_its_help(gitchain: Gitchain, words: tuple[str, ...]) -> None:
    """A group that is called alone prints its help on lines of its own and exits 2."""
    done = gitchain(*words)
    assert done.code == 2
    assert "Usage:" in done.err
    assert "\\n" not in done.text
    assert len(done.err.splitlines()) >= 5


def test_command_without_arguments_answers_json(gitchain: Gitchain) -> None:
    """Under --json it is an error like any other."""
    done = gitchain("--json", "trust")
    assert done.code == 2
    assert done.json["error"]["help"] == "gitchain trust --help"


@pytest.mark.parametrize("option", [None, "--reason"])
def test_missing_option_lists_its_choices_on_one_line(
    gitchain: Gitchain, git_repo: Path, option: str | None
) -> None:
    """Click puts each choice on a line of its own; here they follow each other, without escapes."""
    words = ("revoke", "artifact", "x", *((option,) if option else ()))
    done = gitchain(*words, cwd=git_repo)
    assert done.code == 2
    assert "--reason" in done.err
    assert "\\n" not in done.text
    assert "\\t" not in done.text
    if option is None:
        assert "--reason compromised|mistaken" in done.err


def test_init_without_an_identity_names_it(
    gitchain: Gitchain, dvc_repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without user.email nothing is set up; with it, or with --as, init drafts a layout."""
    without_email(monkeypatch)
    done = gitchain("init", "--local", "--no-hooks", cwd=dvc_repo)
    assert done.code == 2
    assert "user.email" in done.err
    assert "--as" in done.err
    assert "dvc.yaml" not in done.text
    assert not (dvc_repo / ".gitchain").exists()
    assert gitchain("init", "--local", "--no-hooks", "--as", "ada@example.com", cwd=dvc_repo).code == 0
    assert (dvc_repo / ".gitchain/layout.yaml").exists()


@pytest.mark.parametrize(
    "content", ["", "artifacts:\n  churn:\n    path: m.pkl\n    type: model\n", "stages: {}\n"]
)
def test_init_with_a_dvc_yaml_without_stages(gitchain: Gitchain, dvc_repo: Path, content: str) -> None:
    """A dvc.yaml that makes nothing is no reason to set nothing up: init says why it drafted no layout."""
    (dvc_repo / "dvc.yaml").write_text(content)
    (dvc_repo / "m.pkl").write_text("w")
    done = gitchain("init", "--local", "--no-hooks", cwd=dvc_repo)
    assert done.code == 0, done.text
    assert (dvc_repo / ".gitchain/config.toml").exists()
    assert "no stage of a dvc.yaml has an output" in done.err
    drafted = gitchain("layout", "draft", cwd=dvc_repo)
    assert drafted.code == 2
    assert "no stage of a dvc.yaml has an output" in drafted.err


def test_init_keeps_a_layout_that_is_there(gitchain: Gitchain, dvc_repo: Path) -> None:
    """A layout that somebody wrote before stays, and init says so."""
    (dvc_repo / ".gitchain").mkdir()
    (dvc_repo / ".gitchain/layout.yaml").write_text("mine")
    done = gitchain("init", "--local", "--no-hooks", cwd=dvc_repo)
    assert done.code == 0
    assert "kept .gitchain/layout.yaml" in done.err
    assert (dvc_repo / ".gitchain/layout.yaml").read_text() == "mine"


def test_init_says_what_to_type_next(gitchain: Gitchain, dvc_repo: Path) -> None:
    """The commands name the model; --force is among them where a dvc.lock says that stages ran before."""
    done = gitchain("init", "--local", "--no-hooks", "--json", cwd=dvc_repo)
    commands = ["gitchain layout sign", "gitchain run -- dvc repro", "gitchain verify model.bin"]
    assert done.json["next"] == commands
    assert "commit    .gitchain: clones read" in done.err
    assert done.json["undrafted"] is None
    (dvc_repo / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    done = gitchain("init", "--local", "--no-hooks", "--force", "--json", cwd=dvc_repo)
    assert "gitchain run -- dvc repro --force" in done.json["next"]


def test_init_says_what_to_type_next_without_dvc(gitchain: Gitchain, git_repo: Path) -> None:
    """Without DVC a step is run first: a layout is drafted from its attestation."""
    done = gitchain("init", "--local", "--no-hooks", "--json", cwd=git_repo)
    assert done.json["next"][0].startswith("gitchain run STEP")
    assert done.json["next"][1] == "gitchain layout draft --write"
    assert "dvc repro" not in " ".join(done.json["next"])


def test_init_says_what_to_type_next_for_several_pipelines(gitchain: Gitchain, git_repo: Path) -> None:
    """In a monorepo every pipeline is run: of one DVC project, or of one in each directory."""
    for part in ("text", "vision"):
        (git_repo / part).mkdir()
        (git_repo / part / "dvc.yaml").write_text(PIPELINE)
        (git_repo / part / ".dvc").mkdir()
        (git_repo / part / ".dvc/config").write_text("")
    done = gitchain("init", "--local", "--no-hooks", "--json", cwd=git_repo)
    runs = [line for line in done.json["next"] if "repro" in line]
    assert runs == ["gitchain -C text run -- dvc repro", "gitchain -C vision run -- dvc repro"]
    for part in ("text", "vision"):
        shutil.rmtree(git_repo / part / ".dvc")
    (git_repo / ".dvc").mkdir()
    (git_repo / ".dvc/config").write_text("")
    done = gitchain("init", "--local", "--no-hooks", "--force", "--json", cwd=git_repo)
    assert [line for line in done.json["next"] if "repro" in line] == [
        "gitchain run -- dvc repro --all-pipelines"
    ]


def test_init_again_names_a_command_that_works(gitchain: Gitchain, world: PreparedRepository) -> None:
    """What init says of a repository that is set up already is a whole command."""
    done = gitchain("init", "--local", "--no-hooks", "--json", cwd=world.repo)
    assert done.code == 2
    advice = done.json["error"]["help"].partition(": ")[2]
    assert advice == "gitchain init --local --force"
    assert gitchain(*advice.split()[1:], "--no-hooks", cwd=world.repo).code == 0


@pytest.mark.parametrize(
    "words", [("log", "model.bin"), ("verify", "model.bin"), ("attest", "train")], ids=str
)
def test_second_machine_of_a_local_repository(
    gitchain: Gitchain,
    world: PreparedRepository,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
) -> None:
    """The first machine's trust comes here as a file; then its model verifies, whatever command is typed first."""
    exported = gitchain("local", "trust", cwd=world.repo).out
    second = tmp_path / "second"
    world.git("clone", "-q", str(world.repo), str(second))
    world.git(
        "-C", str(second), "fetch", "-q", "origin", "refs/gitchain/attestations:refs/gitchain/attestations"
    )
    shutil.copytree(world.repo / ".gitchain", second / ".gitchain", dirs_exist_ok=True)
    shutil.copy(world.repo / "model.bin", second)
    shutil.copytree(world.repo / "data", second / "data", dirs_exist_ok=True)
    monkeypatch.setenv("GITCHAIN_HOME", str(tmp_path / "other-home"))
    refused = gitchain(*words, cwd=second)
    assert refused.code == 4
    assert "gitchain init --local --force" in refused.err or "trust pin" in refused.err
    assert "set up already" not in refused.text

    (second / "trust.json").write_text(exported)
    pinned = gitchain("--trust", "trust.json", "trust", "pin", "--signer", "ada@example.com", cwd=second)
    assert pinned.code == 0, pinned.text
    (second / "sub").mkdir()
    assert gitchain("verify", "../model.bin", cwd=second / "sub").code == 0, (
        "the pin holds in every directory"
    )
    assert gitchain("log", "model.bin", cwd=second).code == 0
    hooks = [one for one in gitchain("doctor", "--json", cwd=second).json["checks"] if one["name"] == "hooks"]
    assert [(one["state"], one["help"]) for one in hooks] == [("ok", "")], (
        "it signs nothing: hooks are no advice"
    )


def test_second_machine_makes_an_instance_of_its_own(
    gitchain: Gitchain, world: PreparedRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`gitchain init --local --force` works in a repository that is set up, and signs from then on."""
    monkeypatch.setenv("GITCHAIN_HOME", str(tmp_path / "other-home"))
    assert gitchain("init", "--local", "--force", "--no-hooks", cwd=world.repo).code == 0
    assert gitchain("local", "status", cwd=world.repo).code == 0


def test_init_tells_how_to_get_the_pin_of_another_machine_back(
    gitchain: Gitchain, world: PreparedRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--force` replaces the pin under the other machine's trust; the command that it prints brings it back."""
    (tmp_path / "trust.json").write_text(gitchain("local", "trust", cwd=world.repo).out)
    monkeypatch.setenv("GITCHAIN_HOME", str(tmp_path / "other-home"))
    pin = ("--trust", str(tmp_path / "trust.json"), "trust", "pin", "--signer", "ada@example.com")
    assert gitchain(*pin, cwd=world.repo).code == 0
    assert gitchain("verify", "model.bin", cwd=world.repo).code == 0
    done = gitchain("init", "--local", "--force", "--no-hooks", cwd=world.repo)
    assert done.code == 0
    assert gitchain("verify", "model.bin", cwd=world.repo).code != 0
    again = re.search(r"^ +to pin it again: gitchain (.*)$", done.err, re.MULTILINE)
    assert again, done.err
    assert gitchain(*shlex.split(again[1]), cwd=world.repo).code == 0
    assert gitchain("verify", "model.bin", cwd=world.repo).code == 0


def test_local_status_says_where_the_instance_is_and_how_long_its_log_has_grown(
    gitchain: Gitchain, git_repo: Path
) -> None:
    """The log grows by one entry for each attestation."""
    assert gitchain("init", "--local", "--no-hooks", cwd=git_repo).code == 0
    before = gitchain("local", "status", "--json", cwd=git_repo).json
    assert Path(before["directory"]).is_dir()
    (git_repo / "model.bin").write_bytes(b"model")
    assert gitchain("attest", "train", "-p", "model.bin", cwd=git_repo).code == 0
    after = gitchain("local", "status", "--json", cwd=git_repo).json
    assert after["logSize"] == before["logSize"] + 1


@pytest.mark.parametrize("name", ["a\nb", "\x1b[2J", "x" * 5000, "a b "])
def test_trust_pin_takes_no_name_that_no_layout_can_have(
    gitchain: Gitchain, world: PreparedRepository, name: str
) -> None:
    """It would say that it is pinned, and never be used."""
    done = gitchain(
        "--trust", "local", "trust", "pin", "--layout", name, "--signer", "ada@example.com", cwd=world.repo
    )
    assert (done.code, "name" in done.err, "pinned" in done.out) == (ExitCode.LAYOUT, True, False)


def test_trust_pin_names_the_missing_issuer(gitchain: Gitchain, world: PreparedRepository) -> None:
    """Only an embedded instance says by itself who its issuer is."""
    done = gitchain(
        "--trust", "public", "--offline", "trust", "pin", "--signer", "ada@example.com", cwd=world.repo
    )
    assert done.code == 2
    assert "--issuer URL" in done.err


def test_layout_draft_has_the_steps_in_the_order_of_the_log(gitchain: Gitchain, git_repo: Path) -> None:
    """Several were signed within one second: the proven times are equal, and the log's indices are not."""
    assert gitchain("init", "--local", "--no-hooks", cwd=git_repo).code == 0
    for number in range(6):
        (git_repo / f"{number}.txt").write_text(str(number))
        step = ("attest", f"step-{number}", "-m", f"{max(number - 1, 0)}.txt", "-p", f"{number}.txt")
        assert gitchain(*step, cwd=git_repo).code == 0
    drafted = gitchain("layout", "draft", cwd=git_repo)
    assert re.findall(r"name: (step-\d)", drafted.out) == [f"step-{number}" for number in range(6)]


def test_layout_draft_without_dvc(gitchain: Gitchain, git_repo: Path) -> None:
    """A layout is drafted from what was attested, and the model verifies under it; what others signed is a comment."""
    (git_repo / "raw.csv").write_text("raw")
    assert gitchain("init", "--local", "--no-hooks", cwd=git_repo).code == 0
    nothing = gitchain("layout", "draft", cwd=git_repo)
    assert nothing.code == 2
    assert "ada@example.com" in nothing.err
    assert "gitchain run STEP" in nothing.err
    copy = ("run", "prepare", "-m", "raw.csv", "-p", "clean.csv", "--", "cp", "raw.csv", "clean.csv")
    assert gitchain(*copy, cwd=git_repo).code == 0
    copy = ("run", "train", "-m", "clean.csv", "-p", "model.bin", "--", "cp", "clean.csv", "model.bin")
    assert gitchain(*copy, cwd=git_repo).code == 0
    assert gitchain("attest", "pack", "-p", "raw.csv", "--as", "eve@example.com", cwd=git_repo).code == 0
    drafted = gitchain("layout", "draft", cwd=git_repo)
    assert drafted.code == 0, drafted.text
    assert '# Attested, and not in here: "step pack, attested by eve@example.com' in drafted.out
    assert "eve" not in "".join(line for line in drafted.out.splitlines() if not line.startswith("#"))
    assert gitchain("layout", "draft", "--write", cwd=git_repo).code == 0
    assert gitchain("layout", "lint", cwd=git_repo).code == 0
    assert gitchain("layout", "sign", cwd=git_repo).code == 0
    verified = gitchain("verify", "model.bin", cwd=git_repo)
    assert verified.code == 0, verified.text
    (git_repo / "model.bin").write_text("changed")
    assert gitchain("verify", "model.bin", cwd=git_repo).code == 1


def test_rules_of_the_documentation_pass_on_our_own_evidence(gitchain: Gitchain, git_repo: Path) -> None:
    """The first layout of docs/layout.md, with this instance's identities, passes on evidence made by gitchain."""
    page = (Path(__file__).parents[2] / "docs/layout.md").read_text(encoding="utf-8")
    text = page.split("```yaml\n")[1].split("```")[0]
    assert gitchain("init", "--local", "--no-hooks", "--name", "credit-model", cwd=git_repo).code == 0
    issuer = gitchain("local", "status", "--json", cwd=git_repo).json["issuer"]
    for other in ("https://accounts.example.com", "https://token.example.com"):
        text = text.replace(other, issuer)
    text = text.replace("2027-11-22", "2099-11-22")
    (git_repo / ".gitchain/layout.yaml").write_text(text)
    for name in ("src/prepare.py", "src/train.py", "data/raw.csv"):
        (git_repo / name).parent.mkdir(exist_ok=True)
        (git_repo / name).write_text(name)
    assert gitchain("layout", "sign", "--no-lint", cwd=git_repo).code == 0
    ci = ("--as", "https://example.com/repo/.ci@refs/heads/main")
    prepare = "mkdir -p data/prepared && cp data/raw.csv data/prepared/train.csv"
    for words in (
        ("run", "prepare", *ci, "-m", "src/prepare.py", "-m", "data/raw.csv", "-p", "data/prepared", "--", "sh", "-c", prepare),
        ("run", "train", *ci, "-m", "src/train.py", "-m", "data/prepared", "-p", "model.pkl", "--", "cp", "data/prepared/train.csv", "model.pkl"),
    ):  # fmt: skip
        done = gitchain(*words, cwd=git_repo)
        assert done.code == 0, done.text
    (git_repo / "verdict.json").write_text(
        '{"verifier":{"id":"https://risk.example.com"},"timeCreated":"2026-01-01T00:00:00Z","properties":["OK"]}'
    )
    svr = ("--type", "https://in-toto.io/attestation/svr/v0.2", "--predicate", "verdict.json")
    who = ("--as", "alice@example.com")
    assert gitchain("attest", "approve", *svr, "-m", "model.pkl", *who, cwd=git_repo).code == 0
    done = gitchain("verify", "model.pkl", cwd=git_repo)
    assert done.code == 0, done.text


def test_hooks_status_fails_where_doctor_does(gitchain: Gitchain, git_repo: Path) -> None:
    """What went wrong behind the hooks is exit code 1 of both, and in the document of both."""
    assert gitchain("init", "--local", cwd=git_repo).code == 0
    assert gitchain("hooks", "status", cwd=git_repo).code == 0
    (git_repo / ".git/gitchain").mkdir(exist_ok=True)
    (git_repo / ".git/gitchain/hook-error").write_text("post-commit: no such file\n")
    done, checked = (gitchain(*words, "--json", cwd=git_repo) for words in (("hooks", "status"), ("doctor",)))
    assert (done.code, checked.code) == (1, 1)
    assert done.json["troubles"] == ["hook: post-commit: no such file"]
    assert "hook: post-commit: no such file" in [one["detail"] for one in checked.json["checks"]]


def test_attest_names_what_to_type_where_nothing_is_recorded(gitchain: Gitchain, tiny: Path) -> None:
    """Without DVC there is no step that could have its attestation."""
    done = gitchain("attest", cwd=tiny)
    assert done.code == 0
    assert "no dvc.lock or .dvc file records a step" in done.err
    assert "gitchain attest STEP -m MATERIAL -p PRODUCT" in done.err


@pytest.mark.parametrize(
    "words",
    [
        ("attest", "s", "-m", "FILE", "-p", "in.txt"),
        ("attest", "s", "-p", "FILE"),
        ("attest", "s", "-p", "in.txt", "--metrics", "FILE"),
        ("attest", "s", "-p", "in.txt", "--params", "FILE:lr"),
        ("run", "s", "-m", "FILE", "-p", "in.txt", "--", "true"),
        ("run", "s", "-m", "in.txt", "-p", "x", "--params", "FILE", "--", "true"),
    ],
    ids=" ".join,
)
def test_missing_file_says_how_to_get_it(gitchain: Gitchain, tiny: Path, words: tuple[str, ...]) -> None:
    """A file that Git holds, one that DVC tracks, and one that neither knows: each has its own advice."""
    (tiny / "held.txt").write_text("1")
    subprocess.run(["git", "add", "held.txt"], cwd=tiny, check=True)
    (tiny / "held.txt").unlink()
    (tiny / "far.txt.dvc").write_text("outs:\n- md5: b026324c6904b2a9cb4b88d6d61c81d1\n  path: far.txt\n")
    for name, advice in (
        ("held.txt", "git restore held.txt"),
        ("far.txt", "dvc pull far.txt"),
        ("no.txt", "make the file first, or correct the path"),
    ):
        done = gitchain(*(word.replace("FILE", name) for word in words), cwd=tiny)
        assert done.code == (125 if words[0] == "run" else 2), done.text
        assert f"where     {name}" in done.err
        assert f"help      {advice}" in done.err


def test_hooks_status_and_doctor_agree(gitchain: Gitchain, git_repo: Path) -> None:
    """What went wrong behind the hooks is shown by both, with the same help."""
    assert gitchain("init", "--local", cwd=git_repo).code == 0
    (git_repo / ".git/gitchain").mkdir(exist_ok=True)
    (git_repo / ".git/gitchain/hook-error").write_text("the queue cannot be written\n")
    for words in (("hooks", "status"), ("doctor",)):
        done = gitchain(*words, cwd=git_repo)
        assert "hook: the queue cannot be written" in done.text, words
        assert "gitchain sync" in done.text


def test_init_takes_the_name_of_the_layout_that_is_there(gitchain: Gitchain, tiny: Path) -> None:
    """`--force` keeps the name, not the directory's, and tells whose pin it replaces."""
    done = gitchain("init", "--local", "--force", "--as", "bob@example.com", cwd=tiny)
    assert done.code == 0, done.text
    assert "set up    layout tiny," in done.out
    assert re.search(
        r"^unpinned  ada@example.com \(.*\) may no longer sign layout tiny$", done.err, re.MULTILINE
    )
    again = gitchain("init", "--local", "--force", "--as", "bob@example.com", "--name", "other", cwd=tiny)
    assert "set up    layout other," in again.out
    assert "unpinned" not in again.err


def test_run_without_dvc_asks_for_the_files_of_a_step(gitchain: Gitchain, tiny: Path) -> None:
    """In a project without dvc.yaml the help is not to set DVC up."""
    done = gitchain("run", "train", "--", "true", cwd=tiny)
    refused(done, 125, "gitchain run train -m MATERIAL -p PRODUCT -- CMD")
    assert "dvc init" not in done.err


def test_verify_says_how_to_make_evidence_without_dvc(gitchain: Gitchain, tiny: Path) -> None:
    """The help for missing and for declared evidence has a command for projects without DVC."""
    (tiny / "other.txt").write_text("other")
    assert "or without DVC: gitchain run STEP" in gitchain("verify", "other.txt", cwd=tiny).out
    layout = tiny / ".gitchain/layout.yaml"
    text = layout.read_text().replace("version: 1", "version: 2")
    layout.write_text(text.replace("functionaries: [ada]", "functionaries: [ada]\n    evidence: observed"))
    assert gitchain("layout", "sign", cwd=tiny).code == 0
    (tiny / "model.txt").write_text("declared")
    assert gitchain("attest", "train", "-m", "in.txt", "-p", "model.txt", cwd=tiny).code == 0
    done = gitchain("verify", "model.txt", cwd=tiny)
    assert "GC-E0304" in done.out
    assert "gitchain run -- dvc repro --force, or without DVC: gitchain run STEP" in done.out


def test_doctor_finds_a_layout_that_was_changed_after_it_was_signed(gitchain: Gitchain, tiny: Path) -> None:
    """The signed layout decides: an edit, and a file that is no layout any more, are warnings until it is signed."""
    layout = tiny / ".gitchain/layout.yaml"
    text = layout.read_text()

    def found() -> dict[str, Any]:
        checks = gitchain("doctor", "--json", cwd=tiny).json["checks"]
        return next(check for check in checks if check["name"] == "layout")

    assert found()["state"] == "ok"
    for changed in (text.replace("in.txt", "other.txt"), "]"):
        layout.write_text(changed)
        assert (found()["state"], "differs from the signed layout tiny v1" in found()["detail"]) == (
            "warning",
            True,
        )
        assert found()["help"] == "raise its version, then: gitchain layout sign"
    layout.write_text("# a comment\n" + text)
    assert found()["state"] == "ok"
    layout.unlink()
    assert found()["state"] == "ok"


def test_trust_status_names_trusted_roots_that_are_not_in_use(
    gitchain: Gitchain, tiny: Path, isolated: Path
) -> None:
    """The one in use is not an earlier one."""
    assert "earlier" not in gitchain("trust", "status", cwd=tiny).out
    kept = gitchain("trust", "status", "--json", cwd=tiny).json["kept"]
    shutil.rmtree(isolated / "local")
    assert gitchain("init", "--local", "--force", cwd=tiny).code == 0
    assert (
        f"1 earlier trusted root(s), for --trust: sha256:{kept[0]}"
        in gitchain("trust", "status", cwd=tiny).out
    )


def test_run_takes_the_files_of_a_stage_in_a_subdirectory(gitchain: Gitchain, git_repo: Path) -> None:
    """`run STEP` in a monorepo finds a stage of a DVC project that is not at the root, by its name in the layout."""
    part = git_repo / "text"
    (part / ".dvc").mkdir(parents=True)
    (part / ".dvc/config").write_text("")
    (part / "dvc.yaml").write_text(
        "stages:\n  train:\n    cmd: x\n    deps: [in.txt]\n    outs: [model.bin]\n"
    )
    (part / "in.txt").write_text("in")
    assert gitchain("init", "--local", "--no-hooks", cwd=git_repo).code == 0
    done = gitchain("run", "text/dvc.yaml:train", "--", "cp", "in.txt", "model.bin", cwd=part)
    assert done.code == 0, done.text
    assert "text/model.bin" in done.out


def test_stages_are_named_as_dvc_names_them_in_a_subdirectory(gitchain: Gitchain, git_repo: Path) -> None:
    """`train` in a subdirectory is its own stage, a group is all of its stages; a stage that has not run is told as that."""
    part = git_repo / "text"
    part.mkdir()
    (git_repo / ".dvc").mkdir()
    (git_repo / ".dvc/config").write_text("")
    (part / "dvc.yaml").write_text(
        "stages:\n  train: {cmd: x, deps: [in.txt], outs: [model.bin]}\n"
        "  all: {foreach: [a, b], do: {cmd: x, outs: ['${item}.bin']}}\n"
    )
    (part / "in.txt").write_text("in")
    assert gitchain("init", "--local", "--no-hooks", cwd=git_repo).code == 0
    assert gitchain("layout", "sign", cwd=git_repo).code == 0
    done = gitchain("attest", cwd=part)
    assert "gitchain run -- dvc repro" in done.err
    done = gitchain("attest", "train", cwd=part)
    refused(done, ExitCode.USAGE, "has not run", "gitchain run -- dvc repro train ")
    done = gitchain("run", "train", "--", "cp", "in.txt", "model.bin", cwd=part)
    assert (done.code, "text/dvc.yaml:train" in done.out) == (0, True), done.text
    assert gitchain("verify", "model.bin", cwd=part).code == 0
    done = gitchain("run", "all", "--", "cp", "in.txt", "a.bin", cwd=part)
    refused(done, ExitCode.RUN, "several DVC stages", "text/dvc.yaml:all@a, text/dvc.yaml:all@b")
    (part / "a.bin").write_text("a")
    (part / "dvc.lock").write_text(
        "schema: '2.0'\nstages:\n  all@a:\n    cmd: x\n    outs:\n    - path: a.bin\n      hash: md5\n"
        "      md5: 0cc175b9c0f1b6a831c399e269772661\n      size: 1\n"
    )
    done = gitchain("attest", "all", cwd=part)
    assert (done.code, "text/dvc.yaml:all@a" in done.out) == (0, True), done.text
    assert "gitchain run -- dvc repro --force all@a " in done.err


def test_verify_warns_where_the_repository_chooses_among_a_signers_layouts(
    gitchain: Gitchain, world: PreparedRepository
) -> None:
    """A signer that the verifier names may have signed several layouts: only --layout-name says which one applies."""
    issuer = gitchain("local", "status", "--json", cwd=world.repo).json["issuer"]
    signer = ("--signer", "ada@example.com", "--issuer", issuer)
    warned = gitchain("verify", "model.bin", *signer, cwd=world.repo)
    assert "To choose it yourself: --layout-name" in warned.err
    named = gitchain("verify", "model.bin", *signer, "--layout-name", "demo", cwd=world.repo)
    assert "To choose it yourself" not in named.err
