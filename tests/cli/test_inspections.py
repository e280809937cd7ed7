"""Inspections through the command line: bytes that run code fail, what was not inspected never passes."""

from __future__ import annotations

import itertools
import json
import os
import pickle
import subprocess
import tempfile
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from sklearn.linear_model import LogisticRegression

from gitchain.consume import inspections
from gitchain.consume.inspections import overlap
from gitchain.errors import ExitCode

Gitchain = Callable[..., Any]
LAYOUT = """schema: https://gitchain.dev/layout/v1
name: tiny
version: 2
expires: '2099-01-01T00:00:00Z'
functionaries: {ada: {identities: [{issuer: 'ISSUER', subject: ada@example.com}]}}
steps:
  - name: train
    functionaries: [ada]
    expectedMaterials: [[ALLOW, '*']]
    expectedProducts: [[ALLOW, '*']]
serve: [{step: train, products: SERVED}]
inspections: INSPECTIONS
"""


class Runs:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("true",)


GOOD, BAD = pickle.dumps({"w": 1.0}), pickle.dumps(Runs())
PICKLES = "[{name: no-code, kind: pickle, artifacts: ['*.pkl'], frameworks: [numpy]}]"


class Setting:
    """A repository whose layout asks for inspections."""

    def __init__(self, gitchain: Gitchain, repo: Path) -> None:
        self.gitchain, self.repo = gitchain, repo
        self.issuer = gitchain("local", "status", "--json", cwd=repo).json["issuer"]

    def layout(self, inspections: str = PICKLES, served: str = "['*']", version: int = 2) -> Setting:
        text = (
            LAYOUT.replace("ISSUER", self.issuer)
            .replace("version: 2", f"version: {version}")
            .replace("SERVED", served)
            .replace("INSPECTIONS", inspections)
        )
        (self.repo / ".gitchain/layout.yaml").write_text(text)
        assert self.gitchain("layout", "sign", cwd=self.repo).code == 0
        return self

    def made(self, *names: str, **files: bytes) -> Setting:
        for name, data in files.items():
            path = self.repo / name.replace("__", "/").replace("_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        products = [argument for name in names for argument in ("-p", name)]
        done = self.gitchain("attest", "train", "-m", "in.txt", *products, cwd=self.repo)
        assert done.code == 0, done.text
        return self

    def verify(self, *targets: str) -> Any:
        return self.gitchain("verify", *targets, cwd=self.repo)

    def codes(self, *targets: str) -> list[str]:
        done = self.gitchain("verify", "--json", *targets, cwd=self.repo)
        assert done.code in {ExitCode.OK, ExitCode.FAILED}, done.text
        return [finding["code"] for finding in done.json["findings"]]


@pytest.fixture
def setting(gitchain: Gitchain, tiny: Path) -> Setting:
    return Setting(gitchain, tiny)


def test_a_model_that_runs_code_fails(setting: Setting) -> None:
    """Honest evidence all the way, and a pickle that runs a command when it is loaded: exit 1, with its name."""
    setting.layout().made("m.pkl", m_pkl=BAD)
    done = setting.verify("m.pkl")
    assert done.code == ExitCode.FAILED
    assert "GC-E0350" in done.out
    assert "system" in done.out


@pytest.mark.parametrize("place", [(), ("--copy", "copies")], ids=["in place", "copy"])
@pytest.mark.parametrize(("model", "code"), [(BAD, ExitCode.RUN), (GOOD, ExitCode.OK)], ids=["bad", "good"])
def test_guard_inspects_the_bytes_that_it_starts_the_command_on(
    setting: Setting, process: Gitchain, model: bytes, code: int, place: tuple[str, ...]
) -> None:
    """The command starts if the inspection of the model, or of its copy, finds nothing, and only then."""
    setting.layout().made("m.pkl", m_pkl=model)
    done = process(
        "guard", "m.pkl", "--name", "m.pkl", *place, "--", "echo", "started", "{}", cwd=setting.repo
    )
    assert (done.code, "started" in done.out) == (code, code == ExitCode.OK), done.err


@pytest.mark.parametrize(("model", "codes"), [(BAD, ["GC-E0350"]), (GOOD, [])], ids=["bad", "good"])
@pytest.mark.parametrize("name", ["m.pkl", "bert/m.pkl"], ids=["file", "directory"])
def test_a_version_is_inspected_as_its_commit_holds_it(
    setting: Setting,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    model: bytes,
    codes: list[str],
) -> None:
    """The work tree has another version, or none: what counts are the bytes that Git holds, and no copy stays behind."""
    served = name.split("/", maxsplit=1)[0]
    setting.layout(served=f"[{served}]")
    path = setting.repo / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(model)
    setting.made(served)
    for words in (("add", served), ("commit", "-qm", "v1"), ("tag", "v1"), ("rm", "-qr", served)):
        subprocess.run(["git", *words], cwd=setting.repo, check=True)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(temporary))
        assert setting.codes("v1") == codes
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(pickle.dumps("another"))
        assert setting.codes("v1") == codes
    assert list(temporary.iterdir()) == []


def test_a_version_without_room_for_a_copy_is_exit_code_7(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes that only the commit holds and that cannot be copied are not inspected, and so do not pass."""
    setting.layout(served="[m.pkl]").made("m.pkl", m_pkl=GOOD)
    for words in (("add", "m.pkl"), ("commit", "-qm", "v1"), ("tag", "v1"), ("rm", "-q", "m.pkl")):
        subprocess.run(["git", *words], cwd=setting.repo, check=True)
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(setting.repo / "none"))
        done = setting.verify("v1")
    assert done.code == ExitCode.UNAVAILABLE, done.text
    assert "TMPDIR" in done.err


def test_inspection_allows_the_named_frameworks_alone(setting: Setting) -> None:
    """An estimator passes where the layout names scikit-learn, and fails where it names NumPy or a class of another kind."""
    model = pickle.dumps(LogisticRegression().fit([[0.0], [1.0]], [0, 1]))
    versions = itertools.count(2)
    for list_, codes in (
        ("frameworks: [scikit-learn]", []),
        ("frameworks: [numpy]", ["GC-E0350"]),
        ("allow: [sklearn.linear_model._logistic.LogisticRegression], frameworks: [numpy]", []),
    ):
        setting.layout(PICKLES.replace("frameworks: [numpy]", list_), version=next(versions)).made(
            "m.pkl", m_pkl=model
        )
        assert setting.codes("m.pkl") == codes, list_


def test_a_harmless_model_passes(setting: Setting) -> None:
    """The same with plain data passes, and --explain says that it was inspected."""
    setting.layout().made("m.pkl", m_pkl=GOOD)
    assert setting.verify("m.pkl").code == ExitCode.OK
    explained = setting.gitchain("verify", "--json", "--explain", "m.pkl", cwd=setting.repo).json
    (check,) = [one for one in explained["checks"] if one["check"] == "inspection"]
    assert (check["passed"], check["basis"], check["artifacts"]) == (True, "proven", ["m.pkl"])


def test_every_file_of_a_directory_is_inspected(setting: Setting) -> None:
    """One bad file deep in a served directory fails the directory, and names the file."""
    setting.layout().made("out", out__a_pkl=GOOD, out__sub__b_pkl=BAD, out__c_txt=b"text")
    done = setting.gitchain("verify", "--json", "out", cwd=setting.repo)
    assert [(one["code"], one["artifact"]) for one in done.json["findings"]] == [
        ("GC-E0350", "out/sub/b.pkl")
    ]
    assert setting.codes("out/a.pkl") == []


def test_sizes_types_and_formats_are_demanded(setting: Setting) -> None:
    """Each kind reaches the file: all three are wrong with it."""
    setting.layout(
        "[{name: small, kind: size, artifacts: ['*'], maxBytes: 10}, {name: kinds, kind: types, artifacts: ['*'], allow: ['.json']}, "
        "{name: st, kind: safetensors, artifacts: ['*']}]"
    ).made("m.safetensors", m_safetensors=b"x" * 11)
    assert setting.codes("m.safetensors") == ["GC-E0350"] * 3


def test_external_data_has_to_be_verified_too(setting: Setting) -> None:
    """An ONNX model alone may not name another file; as a directory with it, it may."""
    from tests.support.model_files import external, onnx

    inspections = "[{name: graph, kind: onnx, artifacts: ['*.onnx']}]"
    setting.layout(inspections).made("out", out__m_onnx=onnx(external(location="w.bin")), out__w_bin=bytes(4))
    assert setting.codes("out") == []
    assert setting.codes("out/m.onnx") == ["GC-E0350"]


def test_without_bytes_nothing_is_inspected(setting: Setting) -> None:
    """A digest says nothing of what the bytes do: it fails where an inspection is asked for."""
    from hashlib import sha256

    setting.layout().made("m.pkl", m_pkl=GOOD)
    assert setting.codes(f"sha256:{sha256(GOOD).hexdigest()}") == ["GC-E0352"]


def test_an_inspection_that_looks_at_nothing_never_passes(setting: Setting) -> None:
    """Another name is no way around: neither for a product, nor for a copy outside of the repository."""
    setting.layout(served="['m.dat']").made("m.dat", m_dat=BAD)
    assert setting.codes("m.dat") == ["GC-E0351", "GC-E0351"]


def test_an_inspection_for_another_product_is_no_matter(setting: Setting) -> None:
    """A layout that serves a model and a table inspects each as what it is; one that nothing looks at fails."""
    both = "[{name: no-code, kind: pickle, artifacts: ['*.pkl'], frameworks: [numpy]}, {name: kinds, kind: types, artifacts: ['*.json'], allow: ['.json']}]"
    setting.layout(both, "[m.pkl, t.json]").made("m.pkl", "t.json", m_pkl=GOOD, t_json=b"{}")
    assert setting.codes("m.pkl") == setting.codes("t.json") == []


def test_a_copy_outside_of_the_repository_is_inspected(setting: Setting, tmp_path: Path) -> None:
    """Under a name of its own: what the patterns do not match has not been inspected."""
    setting.layout().made("m.pkl", m_pkl=GOOD)
    for name, codes in (("copy.pkl", []), ("copy.bin", ["GC-E0351", "GC-E0351"])):
        (tmp_path / name).write_bytes(GOOD)
        assert setting.codes(str(tmp_path / name)) == codes, name


def test_a_version_is_inspected_where_its_bytes_are(setting: Setting, git: Callable[..., str]) -> None:
    """A commit's model is inspected in the work tree, or in DVC's cache where the work tree has moved on."""
    import hashlib

    md5 = hashlib.md5(BAD, usedforsecurity=False).hexdigest()
    setting.layout().made("m.pkl", m_pkl=BAD)
    (setting.repo / "m.pkl.dvc").write_text(
        f"outs:\n- md5: {md5}\n  size: {len(BAD)}\n  hash: md5\n  path: m.pkl\n"
    )
    (setting.repo / ".dvc").mkdir()
    git(setting.repo, "add", "m.pkl.dvc")
    git(setting.repo, "commit", "-qm", "model")
    assert setting.codes("HEAD") == ["GC-E0350"]
    cached = setting.repo / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
    cached.parent.mkdir(parents=True)
    cached.write_bytes(BAD)
    (setting.repo / "m.pkl").write_bytes(GOOD)
    assert setting.codes("HEAD") == ["GC-E0350"]


@pytest.mark.parametrize("swap", ["other", "gone", "link", "directory"])
def test_swap_after_verify(setting: Setting, monkeypatch: pytest.MonkeyPatch, swap: str) -> None:
    """A18: the file that was verified is swapped before it is inspected. It fails, whatever took its place."""
    setting.layout().made("m.pkl", m_pkl=GOOD)
    path, real = setting.repo / "m.pkl", inspections.inspected

    def swapped(*arguments: Any) -> Any:
        path.unlink()
        if swap == "other":
            path.write_bytes(pickle.dumps({"w": 2.0}))
        if swap == "link":
            (setting.repo / "elsewhere").write_bytes(GOOD)
            path.symlink_to("elsewhere")
        if swap == "directory":
            path.mkdir()
        return real(*arguments)

    monkeypatch.setattr(inspections, "inspected", swapped)
    done = setting.gitchain("verify", "--json", "m.pkl", cwd=setting.repo)
    assert done.code in {ExitCode.FAILED, ExitCode.USAGE}, done.text
    if "findings" in done.json:
        assert [one["code"] for one in done.json["findings"]] == ["GC-E0353"]


def test_explain_shows_what_an_inspection_did_not_like(setting: Setting) -> None:
    """The failed inspection is the last check, and the document validates."""
    setting.layout().made("m.pkl", m_pkl=BAD)
    document = json.loads(setting.gitchain("verify", "--json", "--explain", "m.pkl", cwd=setting.repo).out)
    assert [one["passed"] for one in document["checks"]][-1] is False
    assert document["checks"][-1]["check"] == "inspection"


def test_overlap_is_exact() -> None:
    """Two patterns overlap exactly if some name matches both: all patterns and names up to a length."""
    patterns = ["".join(one) for size in range(4) for one in itertools.product("ab*?", repeat=size)]
    names = ["".join(one) for size in range(7) for one in itertools.product("ab", repeat=size)]
    matched = {pattern: {name for name in names if fnmatchcase(name, pattern)} for pattern in patterns}
    wrong = [
        (left, right)
        for left, right in itertools.product(patterns, repeat=2)
        if overlap(left, right) is matched[left].isdisjoint(matched[right])
    ]
    assert wrong == []
