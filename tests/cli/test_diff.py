"""`gitchain diff`: every kind of change, on chains that the embedded instance signed, as text, JSON and Markdown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gitchain.errors import ExitCode
from gitchain.evidence.predicates import SVR
from gitchain.evidence.statement import Statement
from tests.cli.test_documents import validator
from tests.support.model_versions import Version, Workshop, descriptor, workshop_in
from tests.support.signed_sources import make

Gitchain = Callable[..., Any]
OLD = Version("old.bin", "old")
NEW = Version("new.bin", "new")


@pytest.fixture
def workshop(gitchain: Gitchain, tiny: Path) -> Workshop:
    """Return a repository in which to sign versions of a model."""
    return workshop_in(tiny, lambda: gitchain("layout", "sign", "--no-lint", cwd=tiny))


@pytest.fixture
def compared(gitchain: Gitchain, workshop: Workshop) -> Callable[..., Any]:
    """Return a function that stores two versions and returns what `diff --json` prints of them."""

    def compare(old: Version, new: Version) -> Any:
        workshop.add(old, new)
        done = gitchain("diff", "--json", old.name, new.name, cwd=workshop.repo)
        assert done.code == ExitCode.OK, done.text
        validator("diff").validate(done.json)
        return done.json

    return compare


def changes(document: Any, group: str) -> list[tuple[Any, ...]]:
    """Return name, kind and both values of each change of a group."""
    return [
        (one["name"], one["change"], one.get("a"), one.get("b"))
        for one in document["groups"][group]["changes"]
    ]


def sha256(content: str) -> str:
    return f"sha256:{descriptor('x', content).digest['sha256']}"


def test_diff_shows_changed_files(compared: Callable[..., Any]) -> None:
    """Files are compared by name and digest: added, removed and changed ones, each once for all steps."""
    old = replace(OLD, data={"data/raw.csv": "1", "data/gone.csv": "2", "data/same.csv": "3"})
    new = replace(NEW, data={"data/raw.csv": "4", "data/more.csv": "5", "data/same.csv": "3"}, code="other")
    document = compared(old, new)
    assert sorted(changes(document, "data")) == [
        ("data/gone.csv", "removed", sha256("2"), None),
        ("data/more.csv", "added", None, sha256("5")),
        ("data/raw.csv", "changed", sha256("1"), sha256("4")),
        ("train.py", "changed", sha256("train"), sha256("other")),
    ]
    raw = next(one for one in document["groups"]["data"]["changes"] if one["name"] == "data/raw.csv")
    assert (raw["basis"], raw["steps"]) == ("claimed", ["prepare", "train"])


def test_diff_opens_directories(compared: Callable[..., Any]) -> None:
    """Two versions of a directory are compared file by file, through their stored manifests."""
    files = {f"deep/{number}.csv": "same" for number in range(50)}
    old = replace(OLD, directory=True, data=files | {"gone": "1", "deep/x": "2"})
    new = replace(NEW, directory=True, data=files | {"more": "1", "deep/x": "3"})
    found = [one for one in changes(compared(old, new), "data") if one[0].startswith("data/")]
    assert found == [
        ("data/deep/x", "changed", sha256("2"), sha256("3")),
        ("data/gone", "removed", sha256("1"), None),
        ("data/more", "added", None, sha256("1")),
    ]


def test_diff_shows_parameters_and_metrics(compared: Callable[..., Any]) -> None:
    """Nested values have dotted names by file; numbers have their exact difference, and the relative one."""
    old = replace(
        OLD,
        parameters={"params.yaml": {"train": {"lr": 0.1, "act": "relu", "old": 1}, "seed": 7}},
        metrics={"m.json": {"acc": 0.93, "zero": 0, "nan": ".nan", "flag": 1}},
    )
    new = replace(
        NEW,
        parameters={"params.yaml": {"train": {"lr": 0.3, "act": "gelu"}, "seed": 7, "a.b": None}},
        metrics={"m.json": {"acc": 0.95, "zero": 2, "nan": 0.5, "flag": True}},
    )
    document = compared(old, new)
    assert changes(document, "parameters") == [
        ('params.yaml:"a.b"', "added", None, None),
        ("params.yaml:train.act", "changed", "relu", "gelu"),
        ("params.yaml:train.lr", "changed", 0.1, 0.3),
        ("params.yaml:train.old", "removed", 1, None),
    ]
    assert document["groups"]["parameters"]["compared"] == 5
    metrics = {one["name"]: one for one in document["groups"]["metrics"]["changes"]}
    assert metrics["m.json:acc"]["difference"] == "+0.02"
    assert metrics["m.json:acc"]["relative"] == "+2.15%"
    assert metrics["m.json:zero"]["difference"] == "+2"
    for name in ("zero", "nan", "flag"):
        assert "relative" not in metrics[f"m.json:{name}"]
    for name in ("nan", "flag"):
        assert "difference" not in metrics[f"m.json:{name}"]
    assert {one["basis"] for one in metrics.values()} == {"claimed"}


def test_diff_counts_commits(gitchain: Gitchain, workshop: Workshop, git: Callable[..., str]) -> None:
    """The commits of both sides are a range; the number of its commits needs a repository that has both."""

    def here() -> dict[str, str]:
        return {
            "commit": git(workshop.repo, "rev-parse", "HEAD"),
            "tree": git(workshop.repo, "rev-parse", "HEAD^{tree}"),
        }

    old = replace(OLD, git=here())
    for number in range(3):
        git(workshop.repo, "commit", "-q", "--allow-empty", "-m", str(number))
    new = replace(NEW, git=here())
    workshop.add(
        old, new, replace(NEW, name="far.bin", model="far", git={"commit": "a" * 40, "tree": "b" * 40})
    )
    (there,) = gitchain("diff", "--json", "old.bin", "new.bin", cwd=workshop.repo).json["groups"]["code"][
        "changes"
    ]
    assert there["commits"] == {"onlyA": 0, "onlyB": 3}
    shown = gitchain("diff", "old.bin", "new.bin", cwd=workshop.repo).out
    assert f"{here()['commit'][:8]}  3 commits" in shown
    assert "3 commits back" in gitchain("diff", "new.bin", "old.bin", cwd=workshop.repo).out
    (lacking,) = gitchain("diff", "--json", "old.bin", "far.bin", cwd=workshop.repo).json["groups"]["code"][
        "changes"
    ]
    assert (lacking["b"], "commits" in lacking) == ("a" * 40, False)


def test_diff_shows_command_and_environment(compared: Callable[..., Any]) -> None:
    """Commands are compared as text, packages by name; an environment that one side lacks is one change."""
    interpreter = {"name": "python3.11", "implementation": "CPython", "version": "3.11.7"}
    old = replace(
        OLD,
        environment={
            "os": {"system": "Linux"},
            "ci": {"provider": "github", "run": "https://example.com/1"},
            "interpreters": [interpreter | {"packages": {"sha256": "0", "list": ["numpy==1.26", "six==1"]}}],
        },
    )
    new = replace(
        NEW,
        command=("python", "train.py", "--fast run"),
        environment={
            "os": {"system": "Linux"},
            "ci": {"provider": "github", "run": "https://example.com/2"},
            "interpreters": [interpreter | {"packages": {"sha256": "1", "list": ["numpy==2.0"]}}],
        },
    )
    document = compared(old, new)
    assert changes(document, "command") == [
        ("", "changed", "python train.py", "python train.py '--fast run'")
    ]
    assert changes(document, "environment") == [
        ("package numpy", "changed", "1.26", "2.0"),
        ("package six", "removed", "1", None),
    ]
    assert document["groups"]["environment"]["compared"] == 5
    bare = compared(
        replace(OLD, name="x.bin", model="x", environment={"os": {"system": "Linux"}}),
        replace(NEW, name="y.bin", model="y"),
    )
    assert changes(bare, "environment") == [("", "removed", "1 fact", None)]


def test_diff_shows_who_signed_and_approved(compared: Callable[..., Any]) -> None:
    """Signers and approvals are proven; approvals have their time."""
    document = compared(
        OLD, replace(NEW, trainer="bob@example.com", approver="ada@example.com", evidence="declared")
    )
    (signers,) = document["groups"]["signers"]["changes"]
    assert (signers["basis"], signers["steps"]) == ("proven", ["train"])
    assert [signers[side][0]["subject"] for side in "ab"] == ["ada@example.com", "bob@example.com"]
    (approval,) = document["groups"]["approvals"]["changes"]
    assert (approval["basis"], approval["steps"]) == ("proven", ["approve"])
    assert [approval[side][0]["subject"] for side in "ab"] == ["carol@example.com", "ada@example.com"]
    assert approval["a"][0]["time"].endswith("Z")
    assert changes(document, "evidence") == [("", "changed", "observed", "declared")]
    assert document["groups"]["layout"] | {"changes": []} == {
        "basis": "proven", "compared": 1, "total": 0, "complete": True, "changes": []
    }  # fmt: skip


def test_diff_of_a_target_with_itself_is_empty(gitchain: Gitchain, workshop: Workshop) -> None:
    """The same target twice has no differences, whichever way it is named."""
    workshop.add(OLD)
    done = gitchain("diff", "old.bin", sha256("old"), cwd=workshop.repo)
    assert done.code == ExitCode.OK
    lines = done.out.splitlines()
    assert [line.split()[0] for line in lines[:2]] == ["PASSED", "PASSED"]
    assert not [line for line in lines if " ~ " in line or " + " in line or " - " in line]
    assert "data        claimed = the same" in lines
    assert "evidence    claimed = the same: 2 steps observed, 1 step declared" in lines
    assert "layout      proven  = one layout for both: tiny v2" in lines
    assert "parameters  claimed   not stated" in lines


def test_diff_fits_on_a_screen(
    gitchain: Gitchain, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many changes there are, the text is short and no line is wider than the terminal; each is marked."""
    monkeypatch.setenv("COLUMNS", "80")
    many = {f"p{number}": number for number in range(3000)}
    old = replace(OLD, parameters={"params.yaml": many}, command=("python " + "x " * 100,))
    new = replace(
        NEW,
        parameters={"params.yaml": {name: value + 1 for name, value in many.items()}},
        command=("sh " + "y " * 100,),
    )
    workshop.add(old, new)
    done = gitchain("diff", "old.bin", "new.bin", cwd=workshop.repo)
    lines = done.out.splitlines()
    assert (done.code, len(lines) <= 60, max(map(len, lines)) <= 80) == (ExitCode.OK, True, True), done.out
    assert "and 2980 more: --json" in done.out
    marked = [line for line in lines[4:-3] if not line.startswith(" " * 22)]
    assert {line[12:20].strip() for line in marked} == {"proven", "claimed"}
    document = gitchain("diff", "--json", "old.bin", "new.bin", cwd=workshop.repo).json
    validator("diff").validate(document)
    group = document["groups"]["parameters"]
    assert (group["total"], len(group["changes"]), group["complete"]) == (3000, 1000, False)


@pytest.mark.parametrize("length", [30, 50, 300])
def test_diff_never_cuts_a_difference(
    gitchain: Gitchain, workshop: Workshop, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    """Beside a long name, the difference of numbers is on a line of its own; the end of the name is shown."""
    monkeypatch.setenv("COLUMNS", "80")
    name = f"{'n' * length}_17"
    workshop.add(
        replace(OLD, metrics={"metrics.json": {name: 0.857142857142857, "tiny": 1e-40}}),
        replace(NEW, metrics={"metrics.json": {name: 0.999999999999999, "tiny": 3}}),
    )
    done = gitchain("diff", "old.bin", "new.bin", cwd=workshop.repo)
    assert max(map(len, done.out.splitlines())) <= 80
    assert "+0.142857142857142 (+16.7%)" in done.out
    assert "0.857142857142857 -> 0.999999999999999" in done.out
    assert "_17" in done.out
    (tiny,) = [
        one
        for one in gitchain("diff", "--json", "old.bin", "new.bin", cwd=workshop.repo).json["groups"][
            "metrics"
        ]["changes"]
        if one["name"].endswith("tiny")
    ]
    assert f"{tiny['difference']} ({tiny['relative']})" in " ".join(done.out.split())


def test_diff_as_markdown(gitchain: Gitchain, workshop: Workshop) -> None:
    """--markdown is a table for a pull request, with the same basis for each line."""
    workshop.add(OLD, replace(NEW, metrics={"m.json": {"acc": 1}}))
    done = gitchain("diff", "old.bin", "new.bin", "--markdown", cwd=workshop.repo)
    assert done.code == ExitCode.OK
    assert "| metrics | <code>m&#46;json&#58;acc</code> |  | <code>1</code> | added | claimed |" in done.out
    assert "The same (proven): signers, layout (one for both)." in done.out
    assert "The same (claimed): data, command, evidence" in done.out
    assert "layout (one for both)." in done.out
    assert "Not stated: parameters, code, environment." in done.out
    both = gitchain("diff", "old.bin", "new.bin", "--markdown", "--json", cwd=workshop.repo)
    assert both.code == ExitCode.USAGE


SUPPLIER = """\
schema: https://gitchain.dev/layout/v1
name: acme
version: VERSION
expires: "2099-01-01T00:00:00Z"
functionaries: {sam: {identities: [{issuer: "ISSUER", subject: sam@example.com}]}}
steps:
  - name: collect
    functionaries: [sam]
    expectedProducts: [[ALLOW, "data/*"], [DISALLOW, "*"]]
serve: [{step: collect, products: ["data/*"]}]
"""


def test_diff_of_a_supplied_step(gitchain: Gitchain, workshop: Workshop) -> None:
    """Under the layout of a supplier the steps have the supplier's step as prefix, and the layout is compared."""
    file = workshop.repo / ".gitchain/layout.yaml"
    ours = file.read_text()
    issuer = ours.split('issuer: "')[1].split('"')[0]
    file.write_text(SUPPLIER.replace("VERSION", "1").replace("ISSUER", issuer))
    assert gitchain("layout", "sign", "--no-lint", "--as", "sam@example.com", cwd=workshop.repo).code == 0
    supplied = "    functionaries: [ada, sam]\n    sublayout: {name: acme}\n    expectedProducts: [[ALLOW"
    ours = ours.replace("    functionaries: [ada]\n    expectedProducts: [[ALLOW", supplied)
    sam = f'  sam: {{identities: [{{issuer: "{issuer}", subject: sam@example.com}}]}}\nrevokers'
    file.write_text(ours.replace("revokers", sam).replace("version: 2", "version: 3"))
    assert gitchain("layout", "sign", "--no-lint", cwd=workshop.repo).code == 0
    for version in (OLD, replace(NEW, data={"data/raw.csv": "next"})):
        collect = workshop.step("collect", replace(version, layout="acme"), [], workshop.data(version)[0], {})
        workshop.sign("sam@example.com", [collect])
        workshop.sign("ada@example.com", [workshop.train(version)])
        workshop.sign("carol@example.com", [workshop.approve(version)])
        (workshop.repo / version.name).write_text(version.model)
    done = gitchain("diff", "--json", "old.bin", "new.bin", "--layout-name", "tiny", cwd=workshop.repo)
    assert done.code == ExitCode.OK, done.text
    validator("diff").validate(done.json)
    assert [step["name"] for step in done.json["a"]["steps"]] == [
        "prepare",
        "prepare/collect",
        "train",
        "approve",
    ]
    (raw,) = done.json["groups"]["data"]["changes"]
    assert raw["steps"] == ["prepare/collect", "train"]
    assert (done.json["groups"]["layout"]["compared"], done.json["groups"]["layout"]["changes"]) == (2, [])


def test_diff_of_a_bundle_file(gitchain: Gitchain, workshop: Workshop) -> None:
    """A bundle file is its subjects, of which each is verified; a file that failed is the one shown."""
    workshop.add(OLD, NEW)
    both = workshop.approve(OLD), workshop.approve(NEW)
    subjects = [item for one in both for item in one.subject]
    many = Statement.build([*subjects, descriptor("z.bin", "unknown")], SVR, both[0].predicate)
    (bundle,) = workshop.sign("carol@example.com", [many])
    (workshop.repo / "both.sigstore.json").write_bytes(bundle)
    done = gitchain("diff", "--json", "old.bin", "both.sigstore.json", cwd=workshop.repo)
    validator("diff").validate(done.json)
    assert done.code == gitchain("verify", "both.sigstore.json", cwd=workshop.repo).code != ExitCode.OK
    assert done.json["b"]["resourcesTotal"] == 3
    assert [one[:2] for one in changes(done.json, "model")] == [("new.bin", "added"), ("z.bin", "added")]
    shown = gitchain("diff", "old.bin", "both.sigstore.json", cwd=workshop.repo)
    assert "FAILED  B  both.sigstore.json: z.bin" in shown.out
    assert "and 2 more" in shown.out.splitlines()[1]
    assert "the verdict is about its 3 subjects" in shown.err


@pytest.mark.parametrize("same_name", [True, False])
def test_diff_of_digests_lists_the_model_once(
    gitchain: Gitchain, workshop: Workshop, same_name: bool
) -> None:
    """A model given by its digest has its attested name, and is not listed again as data."""
    workshop.add(OLD, replace(NEW, name="old.bin" if same_name else "new.bin"))
    done = gitchain("diff", "--json", sha256("old"), sha256("new"), cwd=workshop.repo)
    validator("diff").validate(done.json)
    assert changes(done.json, "model") == [("old.bin", "changed", sha256("old"), sha256("new"))]
    assert done.json["groups"]["model"]["changes"][0]["steps"] == []
    assert changes(done.json, "data") == []


def test_diff_of_many_subjects_is_bounded(gitchain: Gitchain, workshop: Workshop) -> None:
    """Of 121 artifacts, JSON has 100 and 20 of their findings, and both totals; text has one and three findings."""
    workshop.add(OLD)
    approval = workshop.approve(OLD)
    unknown = [descriptor(f"{number}.bin", f"unknown {number}") for number in range(120)]
    many = Statement.build([*approval.subject, *unknown], SVR, approval.predicate)
    (bundle,) = workshop.sign("carol@example.com", [many])
    (workshop.repo / "many.sigstore.json").write_bytes(bundle)
    side = gitchain("diff", "--json", "old.bin", "many.sigstore.json", cwd=workshop.repo).json["b"]
    assert (len(side["resources"]), side["resourcesTotal"]) == (100, 121)
    assert (len(side["findings"]), side["findingsTotal"] >= 120) == (20, True)
    shown = gitchain("diff", "old.bin", "many.sigstore.json", cwd=workshop.repo).out
    assert (shown.count("GC-E"), "and 120 more" in shown) == (3, True)


def test_schema_of_diff_refuses_contradictions(compared: Callable[..., Any]) -> None:
    """The schema sees a change without a basis, one with a side too many, a missing group and an unknown field."""
    document = compared(OLD, replace(NEW, metrics={"m.json": {"acc": 1}}))
    (change,) = document["groups"]["metrics"]["changes"]
    for wrong in ({"a": 1}, {"basis": "likely"}, {"change": "changed"}, {"extra": 1}):
        kept = dict(change)
        change.update(wrong)
        assert not validator("diff").is_valid(document), wrong
        change.clear()
        change.update(kept)
    assert validator("diff").is_valid(document)
    for name in ("signers", "layout"):
        groups = {key: group for key, group in document["groups"].items() if key != name}
        assert not validator("diff").is_valid(document | {"groups": groups})


def test_diff_of_a_signed_commit(tmp_path: Path, gitchain: Gitchain) -> None:
    """A step whose evidence is a signed commit has its signer; its files are not listed as data."""
    signed = make(tmp_path, gitchain, "sha256")
    signed.commit(key=signed.dev)
    signed.attest()
    done = gitchain("diff", "--json", "HEAD", "model.txt", cwd=signed.repo)
    assert done.code == ExitCode.OK, done.text
    validator("diff").validate(done.json)
    assert [step["name"] for step in done.json["a"]["steps"]] == ["source", "train"]
    assert [group["changes"] for group in done.json["groups"].values() if group["changes"]] == []
    assert done.json["groups"]["signers"]["compared"] == 1
