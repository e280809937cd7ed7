"""DVC's project as DVC resolves it, through one adapter: whatever DVC raises is one error that names the file."""

from __future__ import annotations

import errno
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gitchain.collect import dvc_api
from gitchain.collect.declared import declare_stage, recorded_stages, stage_sources
from gitchain.collect.dvc_api import artifacts, fetch_artifact, ignored, load_stages
from gitchain.collect.stages import PipelineStage
from gitchain.errors import LimitError, ProjectError, TransportError

Write = Callable[..., Path]
MD5 = "5d41402abc4b2a76b9719d911017c592"


@pytest.fixture
def write(git_repo: Path) -> Write:
    """Return a function that writes files into an empty DVC project and returns its root."""
    (git_repo / ".dvc").mkdir()
    (git_repo / ".dvc/config").write_text("")

    def call(**files: str) -> Path:
        for name, text in files.items():
            path = git_repo / name.replace("__", "/").replace("_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return git_repo

    return call


def by_name(root: Path) -> dict[str, PipelineStage]:
    return {stage.name: stage for stage in load_stages(root)}


REPORTS = """
stages:
  train: {cmd: x, deps: [a], outs: [out, {model.bin: {cache: false, persist: true, desc: d}}]}
  check:
    cmd: x
    deps: [model.bin]
    outs: [eval]
    metrics: [scores.json: {cache: false}, more.json]
    plots: [curve.csv: {x: a, y: b, cache: false}, images]
metrics: [eval/metrics.json]
plots:
- eval/plots
- ROC: {x: fpr, y: {eval/roc.json: tpr, out/train.json: [tpr]}}
- eval/loss.json: {template: linear}
- eval/none.json:
"""


def test_load_stages_reports_need_no_bytes(write: Write) -> None:
    """Metrics and plots inside directories that were not pulled are known by name, in every form that DVC has."""
    stages = by_name(
        write(
            dvc_yaml=REPORTS,
            dvc_lock=f"""
schema: '2.0'
stages:
  check:
    cmd: x
    outs:
    - {{path: eval, hash: md5, md5: {MD5}.dir, size: 1, nfiles: 1}}
""",
        )
    )
    assert stages["check"].outs == ("eval", "scores.json", "more.json", "curve.csv", "images")
    assert stages["check"].reports == ("scores.json", "more.json", "curve.csv", "images")
    assert stages["check"].mixed == ("eval",)
    assert stages["train"].outs == ("out", "model.bin")
    assert (stages["train"].reports, stages["train"].mixed) == ((), ("out",))


@pytest.mark.parametrize(
    "text",
    ["", "# nothing\n", "vars: [{a: 1}]\n", "artifacts: {m: {path: models/m.pkl, type: model, meta: {a: 1}}}\n",
     "metrics: [m.json]\nplots: [p.csv]\nparams: [params.yaml]\n", "stages: {}\n", "datasets: []\n"],
)  # fmt: skip
def test_load_stages_dvc_yaml_without_stages(write: Write, text: str) -> None:
    """A dvc.yaml may be empty or hold any one section."""
    root = write(dvc_yaml=text)
    assert load_stages(root) == ()
    assert dict(artifacts(root)) == ({"m": "models/m.pkl"} if "artifacts" in text else {})


def test_load_stages_sources_outside_the_repository(write: Write) -> None:
    """Imports, remote files, databases and datasets are URIs; no remote's library and no address needs to be there."""
    out = f"outs: [{{path: x, md5: {MD5}, hash: md5}}]\n"
    stages = by_name(write(
        dvc_yaml="""
datasets:
- {name: dogs, type: dvc, url: 'https://u:p@example.com/d.git', rev: main}
- {name: cats, type: dc, url: 'dc://cats@v2'}
- {name: birds, type: url, url: 's3://bucket/birds'}
stages:
  a: {cmd: x, deps: ['ds://dogs', 'ds://cats', 'ds://birds', 'ds://fish', 's3://bucket/k', 'hdfs://h/p', ../up, /etc/hosts], outs: [o]}
""",
        a__repo_dvc="deps: [{path: p, repo: {url: 'https://nowhere.invalid/a.git', rev_lock: " + "a" * 40 + "}}]\n" + out.replace("x", "r"),
        a__url_dvc="frozen: true\ndeps: [{path: 'gs://bucket/k', etag: e}]\n" + out.replace("x", "u"),
        a__db_dvc="deps: [{db: {query: q, connection: shop}}]\n" + out.replace("x", "d"),
    ))  # fmt: skip
    assert stages["a"].sources == (
        "git+https://example.com/d.git",
        "dc://cats@v2",
        "s3://bucket/birds",
        "ds://fish",
        "s3://bucket/k",
        "hdfs://h/p",
        "file://../up",
        "file:///etc/hosts",
    )
    assert stages["a"].deps == ()
    assert stages["a/repo.dvc"].sources == ("git+https://nowhere.invalid/a.git",)
    assert stages["a/url.dvc"].sources == ("gs://bucket/k",)
    assert stages["a/db.dvc"].sources == ("db:shop",)
    assert all(stages[name].is_import for name in ("a/repo.dvc", "a/url.dvc", "a/db.dvc"))


def test_load_stages_paths_as_dvc_takes_them(write: Write) -> None:
    """From the working directory; several params files, whole files, generated stages, an absolute path that is inside."""
    root = write(params_yaml="sets: {us: {n: 1}, eu: {n: 2}}\n", pyproject_toml="[x]\n", src__keep="")
    write(
        dvc_yaml=f"""
stages:
  train:
    foreach: ${{sets}}
    do:
      wdir: src
      cmd: [a, 'run ${{key}} ${{item.n}}']
      deps: [../in, {root}/in2]
      params: [sets.us, ../pyproject.toml: [x, y], {{other.yaml: }}, lib.py: []]
      outs: ['${{key}}.bin']
      frozen: true
  grid:
    matrix: {{m: [a, b], n: [1]}}
    cmd: x ${{item.m}} ${{item.n}}
    outs: ['${{item.m}}${{item.n}}']
"""
    )
    stages = by_name(root)
    assert set(stages) == {"train@us", "train@eu", "grid@a-1", "grid@b-1"}
    us = stages["train@us"]
    assert us.commands == ("a", "run us 1")
    assert (us.wdir, us.deps, us.outs) == ("src", ("in", "in2"), ("src/us.bin",))
    assert us.params == (
        "src/params.yaml:sets.us",
        "pyproject.toml:x",
        "pyproject.toml:y",
        "src/other.yaml",
        "src/lib.py",
    )
    assert (us.frozen, us.key, us.lock) == (True, "train@us", "dvc.lock")


WRONG = {
    "schema": "stages: {a: {outs: [b]}}\n",
    "unknown section": "nothing: 1\n",
    "template": "stages: {a: {cmd: '${nowhere}'}}\n",
    "unclosed template": "stages: {a: {cmd: '${a.}'}}\n",
    "vars": "vars: [nowhere.yaml]\n",
    "foreach of a text": "stages: {a: {foreach: text, do: {cmd: x}}}\n",
    "matrix of a text": "stages: {a: {matrix: {k: '${v}'}, cmd: x}}\nvars: [{v: 1}]\n",
    "datasets a number": "datasets: 5\n",
    "dep a number": "vars: [{n: 5}]\nstages: {a: {cmd: x, deps: ['${n}']}}\n",
    "out a list": "vars: [{n: [5]}]\nstages: {a: {cmd: x, outs: ['${n}']}}\n",
    "cmd a number": "vars: [{n: 5}]\nstages: {a: {cmd: '${n}'}}\n",
    "wdir outside": "stages: {a: {cmd: x, wdir: ../..}}\n",
    "not YAML": "stages: [\n",
    "a list": "- 1\n",
    "a tag": "stages: !!python/tuple []\n",
    "recursion": "stages: &a {b: *a}\n",
    "artifact path": "vars: [{n: 5}]\nartifacts: {m: {path: '${n}'}}\n",
}


@pytest.mark.parametrize("how", WRONG)
def test_load_stages_whatever_dvc_raises_names_the_file(write: Write, how: str) -> None:
    """Types that are not DvcException (TypeError, AttributeError, AssertionError, …) are one error too."""
    root = write(dvc_yaml=WRONG[how])
    with pytest.raises(ProjectError) as caught:
        artifacts(root) if how == "artifact path" else load_stages(root)
    assert caught.value.where.startswith("dvc.yaml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "error", [KeyError("k"), RecursionError(), AssertionError(), OSError(errno.EACCES, "denied")]
)
def test_adapter_turns_any_exception_into_a_project_error(
    write: Write, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that a library raises ends as a bug of ours."""
    from dvc.parsing import DataResolver

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(DataResolver, "resolve_metrics", fail)
    with pytest.raises(ProjectError, match="DVC cannot read") as caught:
        load_stages(write(dvc_yaml=""))
    assert caught.value.where == "dvc.yaml"
    assert caught.value.__cause__ is not None
    assert caught.value.got


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError(), OSError(errno.ENOSPC, "full")])
def test_adapter_lets_an_interruption_and_a_full_disk_pass(
    write: Write, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command line has words and exit codes of its own for these."""
    from dvc.parsing import DataResolver

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(DataResolver, "resolve_metrics", fail)
    with pytest.raises(type(error)):
        load_stages(write(dvc_yaml=""))


def test_adapter_broken_config_names_the_project(write: Write) -> None:
    """DVC reads its own configuration before any file."""
    with pytest.raises(ProjectError, match="DVC cannot read") as caught:
        load_stages(write(_dvc__config="['remote \"x\"']\n"))
    assert caught.value.where.endswith("repo")


BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10)
)


@pytest.mark.parametrize("name", ["dvc_yaml", "params_yaml", "more_yaml", "stage_yaml"])
def test_load_stages_alias_bomb_is_refused_before_dvc_expands_it(write: Write, name: str) -> None:
    """In dvc.yaml and in every file that its templates take values from."""
    yaml = "vars: [more.yaml]\nstages: {a: {cmd: x, vars: [stage.yaml:a]}}\n"
    files = {"dvc_yaml": yaml, "more_yaml": "b: 1\n", "stage_yaml": "a: 1\n"}
    root = write(
        **files | {name: BOMB + ("stages: {a: {cmd: x, meta: *a9}}\n" if name == "dvc_yaml" else "")}
    )
    began = time.monotonic()
    with pytest.raises(LimitError, match="too many values") as caught:
        load_stages(root)
    assert caught.value.where.startswith(name.replace("_", "."))
    assert time.monotonic() - began < 30


def test_load_stages_keys_that_only_dvc_takes_are_left_to_dvc(write: Write) -> None:
    """Our reader is stricter in corners that no evidence needs: it never overrules DVC about dvc.yaml."""
    assert by_name(write(dvc_yaml="stages: {a: {cmd: x, outs: [o], meta: {1: a, '1': b, ? [k] : c}}}\n"))[
        "a"
    ].outs == ("o",)


def test_load_stages_dvcignore_hides_files_and_projects_are_apart(write: Write) -> None:
    """DVC reads no file that .dvcignore names, and none of a project inside this one."""
    tracked = f"outs: [{{path: x, md5: {MD5}, hash: md5}}]\n"
    root = write(
        dvc_yaml="stages: {a: {cmd: x, outs: [o]}}\n",
        examples__dvc_yaml="broken: [\n",
        examples__dvc_lock="broken: [\n",
        examples__x_dvc="broken: [\n",
        inner__y_dvc=tracked,
        inner__dvc_yaml="stages: {b: {cmd: x, outs: [o]}}\n",
        inner___dvc__config="",
        data__z_dvc=tracked,
    )
    with pytest.raises(ProjectError, match="not YAML"):
        load_stages(root)
    with pytest.raises(ProjectError, match="not YAML"):
        recorded_stages(root)
    (root / ".dvcignore").write_text("# ours\nexamples/\n")
    assert set(by_name(root)) == {"a", "data/z.dvc"}
    assert {stage.name for stage in load_stages(root, root / "inner")} == {"inner/dvc.yaml:b", "inner/y.dvc"}
    assert set(recorded_stages(root)) == {"inner/y.dvc", "data/z.dvc"}


def test_ignored_and_fetch_name_what_failed(write: Write) -> None:
    """The other two calls of the adapter."""
    root = write(x_dvc=f"outs: [{{path: x, md5: {MD5}, hash: md5}}]\n", _dvcignore="*.tmp\n")
    (root / "a.tmp").write_text("x")
    assert ignored(root, [str(root / "a.tmp"), str(root / "x")]) == {str(root / "a.tmp")}
    with pytest.raises(ProjectError, match="not a DVC project"):
        ignored(root.parent, [])
    with pytest.raises(ProjectError, match="does not track"):
        fetch_artifact(root, root / "README.md")


def test_fetch_artifact_any_exception_is_a_transport_error(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cloud library raises its own types; Ctrl-C passes."""
    from dvc.repo import Repo

    error: BaseException = ValueError("a library's word\nand its advice")

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Repo, "fetch", fail)
    root = write()
    with pytest.raises(TransportError) as caught:
        fetch_artifact(root, root / "x")
    assert caught.value.got == "ValueError: a library's word"
    for error in (KeyboardInterrupt(), MemoryError()):
        with pytest.raises(type(error)):
            fetch_artifact(root, root / "x")


def test_adapter_libraries_write_nothing(write: Write, capfd: pytest.CaptureFixture[str]) -> None:
    """DVC warns about names of artifacts and of loop variables, ruamel about anchors: not into our output."""
    root = write(
        params_yaml="item: 1\n",
        dvc_yaml="artifacts: {'not a name!': {path: p}}\n"
        "stages: {a: {foreach: [1], do: {cmd: &x x, outs: [o]}}, b: {cmd: &x y}}\n",
    )
    assert set(by_name(root)) == {"a@1", "b"}
    assert dict(artifacts(root)) == {"not a name!": "p"}
    assert capfd.readouterr() == ("", "")


def test_stage_sources_of_records(write: Write) -> None:
    """What DVC locked of each source is in the material: commit, version, query; never a credential."""
    rev = "a" * 40
    root = write(
        dvc_yaml="stages: {a: {cmd: x, outs: [o]}}\n",
        dvc_lock=f"""
schema: '2.0'
stages:
  a:
    cmd: x
    deps:
    - path: ds://dogs
      dataset: {{name: dogs, type: dvc, url: 'https://u:p@example.com/d.git', path: dogs, rev: main, rev_lock: {rev}}}
    - path: ds://puppies
      dataset: {{name: puppies, type: dvc, url: 'https://example.com/d.git', path: puppies, rev_lock: {"b" * 40}}}
    - path: ds://cats
      dataset: {{name: cats, type: dc, url: 'dc://cats', version: 2, created_at: '2024-01-01T00:00:00'}}
    - path: ds://birds
      dataset: {{name: birds, type: url, url: 's3://b/birds', meta: {{version_id: v}}, files: [{{relpath: f, meta: {{etag: e, version_id: w}}}}]}}
    - {{path: 's3://b/k', etag: e, size: 1}}
    outs: [{{path: 's3://b/out', etag: e}}]
""",
        q_dvc=f"deps: [{{db: {{query: select 1, connection: shop}}}}]\nouts: [{{path: q, md5: {MD5}}}]\n",
        i_dvc=f"deps: [{{path: p, repo: {{url: /home/me/other, rev: main}}}}]\nouts: [{{path: i, md5: {MD5}}}]\n",
    )
    found = recorded_stages(root)
    dogs, puppies, cats, birds, key = stage_sources(found["a"])
    assert (dogs.uri, dict(dogs.digest)) == ("git+https://example.com/d.git", {"gitCommit": rev})
    assert dogs.annotations == {"path": "dogs", "dataset": "dogs"}
    assert (puppies.uri, puppies.digest["gitCommit"]) == ("git+https://example.com/d.git#puppies", "b" * 40)
    assert cats.uri == "dc://cats"
    assert cats.annotations == {"dataset": "cats", "version": 2, "createdAt": "2024-01-01T00:00:00"}
    assert birds.uri == "s3://b/birds"
    assert birds.annotations["versionId"] == "v"
    assert len(str(birds.annotations["filesSha256"])) == 64
    assert (key.uri, key.annotations) == ("s3://b/k", {"etag": "e"})
    assert (found["a"].outs, found["a"].lost) == ((), ())
    (query,) = stage_sources(found["q.dvc"])
    assert (query.uri, query.annotations) == ("db:shop", {"query": "select 1"})
    (imported,) = stage_sources(found["i.dvc"])
    assert (imported.uri, dict(imported.digest)) == ("git:local", {})
    assert imported.annotations == {"path": "p", "rev": "main"}


def test_recorded_stages_forget_what_foreach_no_longer_makes(write: Write) -> None:
    """dvc.lock keeps the stage of an item that is gone; DVC does not look at it, and neither do we."""
    root = write(
        params_yaml="regions: [us]\n",
        dvc_yaml="stages: {t: {foreach: '${regions}', do: {cmd: x, outs: ['${item}']}}, u: {cmd: x, outs: [v]}}\n",
        dvc_lock="schema: '2.0'\nstages:\n"
        + "".join(
            f"  {name}: {{cmd: x, outs: [{{path: p{at}}}]}}\n"
            for at, name in enumerate(["t@us", "t@eu", "u", "w"])
        ),
    )
    assert set(recorded_stages(root)) == {"t@us", "u"}


def test_declare_other_stages_where_one_out_lies_outside(write: Write) -> None:
    """The stage with the out is named; the others are still read."""
    md5 = "900150983cd24fb0d6963f7d28e17f72"
    root = write(
        evil_dvc=f"outs: [{{path: ../../etc/passwd, md5: {MD5}, hash: md5}}]\n",
        good_dvc=f"outs: [{{path: good, md5: {md5}, hash: md5}}]\n",
        good="abc",
    )
    stages = recorded_stages(root)
    with pytest.raises(ProjectError, match="outside") as caught:
        declare_stage(root, stages["evil.dvc"])
    assert caught.value.where == "stage evil.dvc"
    assert declare_stage(root, stages["good.dvc"]).name == "good.dvc"


def test_load_stages_of_a_link_to_the_project(write: Write, tmp_path: Path) -> None:
    """The directory may be reached through a link."""
    root = write(dvc_yaml="stages: {a: {cmd: x, deps: [d], outs: [o]}}\n")
    link = tmp_path / "link"
    link.symlink_to(root)
    stage = by_name(link)["a"]
    assert (stage.deps, stage.outs, stage.wdir) == (("d",), ("o",), ".")


def test_dvc_version_is_that_of_the_command(write: Write) -> None:
    """The version in statements is what `dvc --version` prints."""
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "--version"], check=True, capture_output=True, text=True
    )
    assert dvc_api.dvc_version() == done.stdout.strip()
