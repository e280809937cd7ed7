"""`dvc repro` watched: every stage that really ran is observed, and nothing else passes for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gitchain.collect.hash_cache import StateCache
from gitchain.collect.repro import Reproduction, observe_dvc
from gitchain.collect.repro_command import is_dvc_repro
from gitchain.errors import ProjectError, RunError, UsageError, VerificationError

REPRO = ("dvc", "repro", "-R", ".")


def run(root: Path, state: StateCache, *argv: str, cwd: Path | None = None) -> Reproduction:
    return observe_dvc(root, argv or REPRO, cwd=cwd, state=state)


def test_stages_that_ran_are_observed_and_the_rest_give_nothing(
    pipeline: Path, state: StateCache, capfd: pytest.CaptureFixture[str]
) -> None:
    """A changed parameter runs training and evaluation; preparation did not change and gives nothing."""
    assert run(pipeline, state).stages == ()
    (pipeline / "params.yaml").write_text("lr: 0.5\n", encoding="utf-8")
    seen = run(pipeline, state)
    assert (seen.exit_code, seen.problems) == (0, ())
    assert [stage.name for stage in seen.stages] == ["train@us", "train@eu", "sub/dvc.yaml:evaluate"]
    us, _, evaluate = seen.stages
    assert us.evidence == "observed"
    assert us.commands == ("echo first us", "python train.py us")
    assert [one.exit_code for one in us.ran] == [0, 0]
    assert {one.name for one in us.materials} == {"src/train.py", "data/prepared"}
    assert [one.name for one in us.products] == ["src/model us.bin"]
    assert us.params == {"params.yaml": {"lr": 0.5}}
    assert us.started is not None
    assert us.finished is not None
    assert us.started <= us.finished
    prepared = next(one for one in us.materials if one.name == "data/prepared")
    assert prepared.manifest is not None
    assert prepared.files == 2
    assert evaluate.materials[0].descriptor.digest == us.products[0].descriptor.digest
    assert "trained us" in capfd.readouterr().out


@pytest.mark.usefixtures("forked")
def test_a_run_cache_hit_is_told_apart(pipeline: Path, state: StateCache) -> None:
    """Products that DVC takes from its run cache were not made under our eyes: declared, and marked."""
    (pipeline / "params.yaml").write_text("lr: 0.5\n", encoding="utf-8")
    run(pipeline, state)
    (pipeline / "params.yaml").write_text("lr: 1e-05\n", encoding="utf-8")
    seen = run(pipeline, state)
    assert {stage.name for stage in seen.stages} == {"train@us", "train@eu", "sub/dvc.yaml:evaluate"}
    assert all(stage.run_cache and stage.evidence == "declared" and not stage.ran for stage in seen.stages)


@pytest.mark.usefixtures("forked")
def test_products_restored_without_a_run_are_a_run_cache_hit(pipeline: Path, state: StateCache) -> None:
    """A deleted product that DVC brings back leaves dvc.lock as it was, and is still no observed run."""
    (pipeline / "src" / "model us.bin").unlink()
    seen = run(pipeline, state)
    assert [(stage.name, stage.run_cache) for stage in seen.stages] == [("train@us", True)]


@pytest.mark.usefixtures("forked")
def test_new_data_is_declared_and_what_it_causes_is_observed(pipeline: Path, state: StateCache) -> None:
    """`dvc repro` updates raw.csv.dvc on the way: nobody ran that, so it is declared."""
    (pipeline / "raw.csv").write_text("e f g h", encoding="utf-8")
    seen = run(pipeline, state)
    assert [(stage.name, stage.evidence) for stage in seen.stages][:2] == [
        ("raw.csv.dvc", "declared"),
        ("prepare", "observed"),
    ]
    assert not seen.stages[0].run_cache


@pytest.mark.usefixtures("forked")
def test_a_failing_stage_keeps_the_finished_ones_and_the_exit_code(pipeline: Path, state: StateCache) -> None:
    """Evaluation dies: training is attested all the same, and DVC's exit code comes through."""
    (pipeline / "params.yaml").write_text("lr: 0.5\n", encoding="utf-8")
    text = (pipeline / "src" / "train.py").read_text(encoding="utf-8")
    (pipeline / "src" / "train.py").write_text(text + "\nif region == 'eu': sys.exit(7)\n", encoding="utf-8")
    seen = run(pipeline, state)
    assert seen.exit_code not in {0, None}
    assert [stage.name for stage in seen.stages] == ["train@us"]
    assert seen.problems == ()


@pytest.mark.usefixtures("forked")
def test_a_killed_command_is_no_evidence(pipeline: Path, state: StateCache) -> None:
    """A stage whose command is killed gives nothing."""
    (pipeline / "prepare.py").write_text("import os; os.kill(os.getpid(), 9)\n", encoding="utf-8")
    seen = run(pipeline, state)
    assert seen.exit_code != 0
    assert seen.stages == ()


@pytest.mark.usefixtures("forked")
def test_a_material_that_changes_while_the_stage_runs_is_refused(pipeline: Path, state: StateCache) -> None:
    """Nobody could say which bytes the command read; the message names the file inside the directory."""
    text = (pipeline / "src" / "train.py").read_text(encoding="utf-8")
    spoil = (
        "\nos = __import__('os'); p='../data/prepared/train.csv'; os.chmod(p,0o644); open(p,'a').write('x')\n"
    )
    (pipeline / "src" / "train.py").write_text(text + spoil, encoding="utf-8")
    seen = run(pipeline, state, "dvc", "repro", "train@us")
    assert "train@us" not in [stage.name for stage in seen.stages]
    assert any(
        isinstance(one, RunError) and "train.csv" in one.where and "train@us" in one.where
        for one in seen.problems
    )


@pytest.mark.usefixtures("forked")
def test_the_run_works_from_a_subdirectory_and_with_no_commit(pipeline: Path, state: StateCache) -> None:
    """DVC's addresses are relative to where it starts; ours never are. --no-commit still writes dvc.lock."""
    (pipeline / "params.yaml").write_text("lr: 0.7\n", encoding="utf-8")
    seen = run(pipeline, state, "dvc", "repro", "--no-commit", "../dvc.yaml:train@us", cwd=pipeline / "sub")
    assert [(stage.name, stage.evidence) for stage in seen.stages] == [("train@us", "observed")]
    assert seen.problems == ()


def test_an_experiment_that_sets_parameters_is_seen_as_it_ran(pipeline: Path, state: StateCache) -> None:
    """`dvc exp run -S` rewrites params.yaml before the stages run: what is recorded is what ran."""
    seen = run(pipeline, state, "dvc", "exp", "run", "-S", "lr=0.9")
    assert seen.exit_code == 0
    assert {stage.name for stage in seen.stages} >= {"train@us", "train@eu"}
    assert all(
        stage.params == {"params.yaml": {"lr": 0.9}}
        for stage in seen.stages
        if stage.name.startswith("train")
    )
    assert seen.problems == ()


def test_runs_in_other_work_trees_are_refused(pipeline: Path, state: StateCache) -> None:
    """`dvc exp run --temp` leaves nothing here to attest."""
    with pytest.raises(UsageError, match="another work tree"):
        run(pipeline, state, "dvc", "exp", "run", "--temp")


def test_stage_commands_see_the_users_own_shell(
    pipeline: Path, state: StateCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stage that starts $SHELL must not start ours, and bash keeps the flags that DVC gives to bash."""
    monkeypatch.setenv("SHELL", "/bin/bash")
    (pipeline / "dvc.yaml").write_text(
        'stages:\n  s:\n    cmd: echo "$SHELL $0 $BASH_VERSION" > out.txt\n    outs:\n    - out.txt\n',
        encoding="utf-8",
    )
    seen = run(pipeline, state, "dvc", "repro", "s")
    assert [stage.name for stage in seen.stages] == ["s"]
    shell, zero, version = (pipeline / "out.txt").read_text(encoding="utf-8").split()
    assert shell == zero == "/bin/bash"
    assert version


def test_a_dvc_that_lies_in_its_lock_is_refused(pipeline: Path, state: StateCache) -> None:
    """If dvc.lock names other bytes than those that were seen, there is no attestation but an error with both."""
    wrapper = pipeline / "dvc"
    wrapper.write_text(
        f"#!{sys.executable}\nimport re,subprocess,sys,pathlib\ncode=subprocess.call(['dvc',*sys.argv[1:]])\n"
        "lock=pathlib.Path('dvc.lock'); t=lock.read_text()\n"
        "lock.write_text(re.sub(r'(path: model us.bin\\n      hash: md5\\n      md5: )\\w{32}', r'\\g<1>' + 'f'*32, t))\nsys.exit(code)\n",
        encoding="utf-8",
    )
    wrapper.chmod(0o755)
    (pipeline / "params.yaml").write_text("lr: 0.5\n", encoding="utf-8")
    seen = run(pipeline, state, "./dvc", "repro")
    assert [stage.name for stage in seen.stages] == ["train@eu"]
    (problem,) = [one for one in seen.problems if isinstance(one, VerificationError)]
    assert "train@us" in problem.where
    assert "model us.bin" in problem.where
    assert "f" * 32 in problem.expected


@pytest.mark.usefixtures("forked")
def test_a_product_that_persists_is_observed_as_far_as_the_stage_wrote_it(
    pipeline: Path, state: StateCache
) -> None:
    """DVC keeps `persist` outs: what the stage left there is no product of this run, and is named."""
    (pipeline / "dvc.yaml").write_text(
        "stages:\n  s:\n    cmd:\n    - mkdir -p kept; cat turn > kept/$(cat turn)\n    - echo\n    deps: [turn]\n"
        "    outs:\n    - kept: {persist: true}\n    - log: {persist: true}\n",
        encoding="utf-8",
    )
    (pipeline / "turn").write_text("1", encoding="utf-8")
    (pipeline / "log").write_text("old", encoding="utf-8")
    first = run(pipeline, state, "dvc", "repro", "s")
    (stage,) = first.stages
    assert [one.name for one in stage.products] == ["kept"]
    assert [name for name, _ in first.notices] == ["s: log"]
    (pipeline / "turn").write_text("2", encoding="utf-8")
    second = run(pipeline, state, "dvc", "repro", "s")
    (stage,) = second.stages
    assert [one.name for one in stage.products] == ["kept/2"]
    assert [name for name, _ in second.notices] == ["s: kept", "s: log"]
    assert "kept/1" in second.notices[0][1].got
    assert (first.problems, second.problems) == ((), ())


@pytest.mark.usefixtures("forked")
def test_a_stage_that_could_not_be_attested_is_told_before_it_runs(
    pipeline: Path, state: StateCache, tmp_path: Path
) -> None:
    """What a stage takes is read before DVC starts: an error if it is sure to run, else a warning, and others go on."""
    (tmp_path / "far").write_text("far", encoding="utf-8")
    (pipeline / "link").symlink_to(tmp_path / "far")
    (pipeline / "in").write_text("1", encoding="utf-8")
    stages = "stages:\n  a:\n    cmd: cp {0} a.out\n    deps: [{0}]\n    outs: [a.out]\n"
    stages += "  b:\n    cmd: cp a.out b.out\n    deps: [a.out]\n    outs: [b.out]\n"
    stages += "  c:\n    cmd: cp in c.out\n    deps: [in]\n    outs: [c.out]\n"
    (pipeline / "dvc.yaml").write_text(stages.format("link"), encoding="utf-8")
    told: list[str] = []

    def repro(*words: str) -> Reproduction:
        told.clear()
        return observe_dvc(
            pipeline, ["dvc", "repro", "-q", *words], state=state, report=lambda name, _: told.append(name)
        )

    for words in ((), ("a",), ("b",), ("dvc.yaml:b",), ("--force", "b")):
        with pytest.raises(ProjectError) as caught:
            repro(*words)
        assert "stage a" in caught.value.where
        assert "link" in caught.value.where
    assert not (pipeline / "a.out").exists()
    assert [stage.name for stage in repro("c").stages] == ["c"]
    (pipeline / "dvc.yaml").write_text(stages.format("in"), encoding="utf-8")
    assert {stage.name for stage in repro("b").stages} == {"a", "b"}
    (pipeline / "dvc.yaml").write_text(stages.format("link"), encoding="utf-8")
    (pipeline / "in").write_text("2", encoding="utf-8")
    assert repro("c").exit_code == 0
    assert told == []
    seen = repro("b")
    assert told == ["a"]
    assert [str(problem) for problem in seen.problems]
    assert repro("-j", "1", "c").exit_code != 1
    (pipeline / "dvc.yaml").write_text(stages.format("in").replace("c.out", '"c\\\\out"'), encoding="utf-8")
    with pytest.raises(ProjectError, match="backslash"):
        repro("--force", "c")


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["dvc", "repro"], True),
        (["uv", "run", "dvc", "-v", "repro", "train"], True),
        ([".venv/bin/dvc", "exp", "run", "-S", "a=1"], True),
        (["dvc", "experiments", "run"], True),
        (["dvc", "exp", "show"], False),
        (["dvc", "status"], False),
        (["python", "repro"], False),
        ([], False),
    ],
)
def test_dvc_runs_are_recognised(argv: list[str], expected: bool) -> None:
    """However it is started, a DVC run is a DVC run, and nothing else is."""
    assert is_dvc_repro(argv) is expected


def test_ctrl_c_leaves_no_scratch_directory(pipeline: Path, tmp_path: Path, git: Callable[..., str]) -> None:
    """A stage killed by SIGTERM to our process ends DVC, and what we set up is gone."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    marker = tmp_path / "started"
    (pipeline / "prepare.py").write_text(
        f"import pathlib,time; pathlib.Path({str(marker)!r}).touch(); time.sleep(60)\n", encoding="utf-8"
    )
    code = (
        "import sys; from pathlib import Path; from gitchain.collect.repro import observe_dvc; "
        "from gitchain.collect.hash_cache import StateCache; "
        f"r = observe_dvc(Path({str(pipeline)!r}), ['dvc', 'repro'], state=StateCache(Path({str(tmp_path / 's.db')!r}))); "
        "print('CODE', r.exit_code, len(r.stages))"
    )
    env = {**os.environ, "TMPDIR": str(scratch), "PYTHONPATH": str(Path(__file__).parents[2])}
    child = subprocess.Popen(
        [sys.executable, "-c", code],
        env=env,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd=pipeline,
    )
    while not marker.exists():
        assert child.poll() is None
        os.sched_yield()
    os.killpg(child.pid, 2)
    out, _ = child.communicate(timeout=30)
    last = out.strip().splitlines()[-1]
    assert last.startswith("CODE ")
    assert last.endswith(" 0")
    assert not last.startswith("CODE 0")
    assert not [name for name in scratch.iterdir() if name.name.startswith("gitchain-run-")]


def test_records_are_private(pipeline: Path, state: StateCache, tmp_path: Path) -> None:
    """The directory with the records is 0700: nobody else may write evidence into it."""
    probe = tmp_path / "probe.json"
    (pipeline / "dvc.yaml").write_text(
        "stages:\n  s:\n    cmd: "
        f"python -c \"import glob,json,os; d=[p for p in glob.glob(os.environ['TMPDIR']+'/gitchain-run-*')]; open({str(probe)!r},'w').write(json.dumps([oct(os.stat(p).st_mode) for p in d]))\"\n"
        "    always_changed: true\n",
        encoding="utf-8",
    )
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    code = (
        "from pathlib import Path; from gitchain.collect.repro import observe_dvc; "
        "from gitchain.collect.hash_cache import StateCache; "
        f"observe_dvc(Path({str(pipeline)!r}), ['dvc', 'repro', 's'], state=StateCache(Path({str(tmp_path / 's.db')!r})))"
    )
    env = {**os.environ, "TMPDIR": str(scratch), "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, check=False, cwd=pipeline, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(probe.read_text(encoding="utf-8")) == ["0o40700"]
