"""`gitchain report --cyclonedx`: valid ML-BOMs with the values of the report, each with its basis, and nothing else."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.licenses import _spdx

from gitchain.errors import ExitCode
from gitchain.evidence.vocabulary import DATASET, RELEASE
from tests.cli.test_report import HOSTILE, NEW, OLD, TERMS, state
from tests.support.model_versions import Workshop, workshop_in

Gitchain = Callable[..., Any]
Bom = Callable[..., Any]
Git = Callable[..., str]
VALIDATOR = JsonStrictValidator(SchemaVersion.V1_6)


@pytest.fixture
def workshop(gitchain: Gitchain, tiny: Path) -> Workshop:
    """Return a repository in which to sign versions of a model."""
    return workshop_in(tiny, lambda: gitchain("layout", "sign", "--no-lint", cwd=tiny))


@pytest.fixture
def bom(gitchain: Gitchain, workshop: Workshop) -> Bom:
    """Return a function that returns the valid ML-BOM about a target."""

    def make(target: str, code: ExitCode = ExitCode.OK) -> Any:
        done = gitchain("report", target, "--cyclonedx", "-", cwd=workshop.repo)
        assert done.code == code, done.err
        assert VALIDATOR.validate_str(done.out) is None
        found = json.loads(done.out)
        refs = [value for key, value in fields(found) if key == "bom-ref"]
        assert len(refs) == len(set(refs))
        # the schema does not compare references
        used = {value for key, value in fields(found) if key == "ref"} | set(
            found["dependencies"][0]["dependsOn"]
        )
        assert used <= set(refs)
        return found

    return make


@pytest.fixture
def facts(gitchain: Gitchain, workshop: Workshop) -> Callable[[str], Any]:
    """Return a function that returns the facts about a target."""
    return lambda target: gitchain("report", "--json", target, cwd=workshop.repo).json


def properties(one: Any) -> dict[str, str]:
    """Return the properties without the namespace; each is in it."""
    assert all(each["name"].startswith("gitchain:") for each in one["properties"])
    return {each["name"].removeprefix("gitchain:"): each["value"] for each in one["properties"]}


def fields(value: Any) -> Any:
    """Yield each field of each object in a JSON value."""
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from fields(one)
    yield from value.items() if isinstance(value, dict) else ()


def data_of(found: Any) -> Any:
    """Return the only data set."""
    (data,) = (one for one in found["components"] if one["type"] == "data")
    return data


def test_bom_has_the_facts_of_the_report(workshop: Workshop, bom: Bom, facts: Callable[[str], Any]) -> None:
    """Digest, metrics, parameters, data, licence and attestations are those of the report, each with its basis."""
    workshop.add(NEW)
    state(workshop, DATASET, ("data/raw.csv", "raw"), TERMS)
    found, report = bom("new.bin"), facts("new.bin")
    model = found["metadata"]["component"]
    assert (model["type"], model["name"]) == ("machine-learning-model", "new.bin")
    assert model["hashes"] == [{"alg": "SHA-256", "content": report["models"][0]["digest"]["sha256"]}]
    card = model["modelCard"]
    assert card["quantitativeAnalysis"]["performanceMetrics"] == [{"type": "m.json:acc", "value": "0.75"}]
    assert properties(card) == {"performanceMetrics:0:step": "train", "parameter:train:p.yaml:lr": "2"}
    data = data_of(found)
    (stated,) = report["dataSets"]
    assert (data["type"], data["name"]) == ("data", stated["name"])
    assert data["hashes"][0]["content"] == stated["digest"]["sha256"]
    assert data["licenses"] == [{"license": {"id": "CC0-1.0", "acknowledgement": "declared"}}]
    assert card["modelParameters"]["datasets"] == [{"ref": data["bom-ref"]}]
    (code,) = (one for one in found["components"] if one["type"] == "file")
    assert code["name"] == "train.py"
    (node,) = (one for one in report["lineage"]["nodes"] if one["kind"] == "input")
    assert properties(code) == {
        "basis:name": "claimed",
        "basis:digest": "claimed",
        "digest": node["detail"],
    }
    depends = [data["bom-ref"], code["bom-ref"]]
    assert found["dependencies"] == [{"ref": model["bom-ref"], "dependsOn": depends}]
    assert properties(data) == {
        "basis:hashes": "claimed",
        "basis:name": "claimed",
        "basis:licenses": "claimed",
        **{f"basis:{name}": "claimed" for name in ("source", "consent", "personalData")},
        **TERMS,
    }
    assert [one["url"] for one in model["externalReferences"]] == [
        f"nih:sha-256;{one['id']}" for one in report["attestations"]
    ]
    assert [one["hashes"][0]["content"] for one in model["externalReferences"]] == [
        one["bundle"]["digest"]["sha256"] for one in report["attestations"]
    ]
    known = properties(found["metadata"])
    assert known["verificationResult"] == report["verificationResult"] == "PASSED"
    assert known["layout:sha256"] == report["layout"]["digest"]["sha256"]
    assert {one.removeprefix("gap:") for one in known if one.startswith("gap:")} == {
        one["code"] for one in report["gaps"]
    }
    assert found["metadata"]["timestamp"] == report["newestEvidence"]


def test_bom_has_the_steps_as_a_workflow(workshop: Workshop, bom: Bom, facts: Callable[[str], Any]) -> None:
    """Each step with its commands, and the components that it used and made."""
    workshop.add(NEW)
    found = bom("new.bin")
    (formula,) = found["formulation"]
    (workflow,) = formula["workflows"]
    tasks = {one["name"]: one for one in workflow["tasks"]}
    assert tasks.keys() == {one["name"] for one in facts("new.bin")["layout"]["steps"]}
    data, code = (one["bom-ref"] for one in found["components"])
    assert [one["resource"]["ref"] for one in tasks["prepare"]["outputs"]] == [data]
    assert {one["resource"]["ref"] for one in tasks["train"]["inputs"]} == {data, code}
    assert [one["resource"]["ref"] for one in tasks["train"]["outputs"]] == ["model"]
    assert tasks["train"]["steps"] == [{"commands": [{"executed": "python train.py"}]}]
    assert properties(tasks["train"]) == {
        "basis:inputs": "claimed",
        "basis:outputs": "claimed",
        "basis:steps": "claimed",
        "evidence": "observed",
    }
    assert properties(tasks["prepare"])["basis:steps"] == "missing"


def test_bom_marks_what_is_missing(workshop: Workshop, bom: Bom) -> None:
    """Without statements there is no field: no licence, metric or parameter is invented."""
    workshop.add(replace(NEW, metrics={}, parameters={}))
    found = bom("new.bin")
    model, data = found["metadata"]["component"], data_of(found)
    assert model["modelCard"].keys() == {"modelParameters"}
    assert not {"licenses", "version"} & model.keys()
    assert properties(model) == {
        "verificationResult": "PASSED",
        "basis:hashes": "proven",
        "basis:externalReferences": "proven",
        "basis:name": "claimed",
        "basis:version": "missing",
        "basis:licenses": "missing",
        "basis:modelCard.modelParameters.datasets": "claimed",
        "basis:modelCard.quantitativeAnalysis.performanceMetrics": "missing",
        "basis:modelCard.considerations": "missing",
        "basis:modelCard.properties": "missing",
    }
    assert "licenses" not in data
    assert {properties(data)[f"basis:{one}"] for one in ("licenses", "source", "consent")} == {"missing"}
    assert "NOASSERTION" not in json.dumps(found)


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("cc-by-4.0", [{"license": {"id": "CC-BY-4.0", "acknowledgement": "declared"}}]),
        ("MIT OR ISC", [{"expression": "MIT OR ISC", "acknowledgement": "declared"}]),
        ("Ours-1.0", [{"license": {"name": "Ours-1.0", "acknowledgement": "declared"}}]),
        ("MIT OR Ours", [{"license": {"name": "MIT OR Ours", "acknowledgement": "declared"}}]),
        ("NOASSERTION", None),
        (" ", None),
    ],
)
def test_bom_has_spdx_licences_only_if_valid(
    workshop: Workshop, bom: Bom, licence: str, expected: Any
) -> None:
    """An unknown licence is a name, and a word for an unknown licence is no licence."""
    workshop.add(NEW)
    state(workshop, DATASET, ("data/raw.csv", "raw"), TERMS | {"licence": licence})
    data = data_of(bom("new.bin"))
    assert data.get("licenses") == expected
    assert properties(data)["basis:licenses"] == ("claimed" if expected else "missing")


def test_bom_lists_each_licence_that_is_stated(workshop: Workshop, bom: Bom) -> None:
    """Functionaries that disagree are both there, the newest first; a schema has no list of expressions."""
    workshop.add(NEW)
    for licence in ("MIT OR ISC", "ours", "MIT", "mit"):
        state(workshop, DATASET, ("data/raw.csv", "raw"), TERMS | {"licence": licence})
    data = data_of(bom("new.bin"))
    assert [next(iter(one["license"].items())) for one in data["licenses"]] == [
        ("id", "MIT"),
        ("name", "ours"),
        ("name", "MIT OR ISC"),
    ]


def test_bom_of_a_model_that_fails(workshop: Workshop, bom: Bom) -> None:
    """The verdict, the findings and the digest of the given file are in it; the exit code is that of verify."""
    workshop.add(NEW)
    (workshop.repo / "new.bin").write_text("changed")
    found = bom("new.bin", ExitCode.FAILED)
    known = properties(found["metadata"])
    assert known["verificationResult"] == "FAILED"
    assert "finding:GC-E0202" in known
    assert properties(found["metadata"]["component"])["verificationResult"] == "FAILED"


def test_bom_of_several_models_is_one_model_with_parts(
    workshop: Workshop, bom: Bom, facts: Callable[[str], Any], git: Git
) -> None:
    """A commit with two models: each file is a part with its own digest and verdict."""
    workshop.add(OLD, NEW)
    for one in (OLD, NEW):
        md5 = hashlib.md5(one.model.encode()).hexdigest()
        tracked = f"outs:\n- md5: {md5}\n  size: {len(one.model)}\n  hash: md5\n  path: {one.name}\n"
        (workshop.repo / f"{one.name}.dvc").write_text(tracked)
    git(workshop.repo, "add", "old.bin.dvc", "new.bin.dvc")
    git(workshop.repo, "commit", "-q", "-m", "models")
    found, report = bom("HEAD"), facts("HEAD")
    model = found["metadata"]["component"]
    assert (model["type"], model["name"]) == ("machine-learning-model", "HEAD")
    assert "hashes" not in model
    assert "basis:hashes" not in properties(model)
    assert [(one["name"], one["hashes"][0]["content"]) for one in model["components"]] == [
        (one["name"], one["digest"]["sha256"]) for one in report["models"]
    ]
    assert [properties(one)["verificationResult"] for one in model["components"]] == ["PASSED", "PASSED"]
    (train,) = (one for one in found["formulation"][0]["workflows"][0]["tasks"] if one["name"] == "train")
    made = {one["resource"]["ref"] for one in train["outputs"]}
    assert made == {one["bom-ref"] for one in model["components"]}


def test_bom_has_the_version_of_one_release(workshop: Workshop, bom: Bom) -> None:
    """The tag that a functionary attested; a stranger's tag is none, a stage is none, and two tags are no version."""
    workshop.add(NEW)
    for tag, who in (("v9", "mallory@example.com"), ("m#prod", "ada@example.com"), ("v1", "ada@example.com")):
        purl = f"pkg:generic/new@{tag.replace('#', '%23')}"
        state(workshop, RELEASE, ("new.bin", "new"), {"purl": purl}, who=who)
    model = bom("new.bin")["metadata"]["component"]
    assert (model["version"], properties(model)["basis:version"]) == ("v1", "claimed")
    state(workshop, RELEASE, ("new.bin", "new"), {"purl": "pkg:generic/new@v2"})
    model = bom("new.bin")["metadata"]["component"]
    assert "version" not in model
    assert properties(model)["basis:version"] == "missing"


def test_bom_marks_revoked_data(gitchain: Gitchain, workshop: Workshop, bom: Bom) -> None:
    """A revoked data set is marked in a model that fails because of it."""
    workshop.add(NEW)
    (workshop.repo / "data").mkdir()
    (workshop.repo / "data/raw.csv").write_text("raw")
    who = ("--as", "ada@example.com")
    revoke = ("revoke", "artifact", "data/raw.csv", "--reason", "withdrawn", *who)
    assert gitchain(*revoke, cwd=workshop.repo).code == ExitCode.OK
    found = bom("new.bin", ExitCode.FAILED)
    assert properties(data_of(found))["revoked"] == "true"


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
def test_bom_bounds_hostile_text(workshop: Workshop, bom: Bom, hostile: str) -> None:
    """Texts of evidence are short, and without control, bidirectional or invisible characters; the BOM is valid."""
    workshop.add(
        replace(
            NEW,
            command=(hostile,),
            parameters={"p.yaml": {hostile: hostile}},
            metrics={"m.json": {hostile: hostile}},
        )
    )
    state(workshop, DATASET, ("data/raw.csv", "raw"), dict.fromkeys(TERMS, hostile))
    found = bom("new.bin")
    data = data_of(found)
    assert next(iter(data["licenses"][0]["license"])) == "name"
    texts = list(strings(found))
    assert max(map(len, texts)) <= 1000
    assert not [one for one in texts if not one.isprintable() or "\u0301" * 5 in one]


def strings(value: Any) -> Any:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in [*value, *value.values()] if isinstance(value, dict) else value:
            yield from strings(one)


def test_bom_states_what_it_leaves_out(workshop: Workshop, bom: Bom) -> None:
    """Beyond the limits of the report the BOM is incomplete, and has the numbers."""
    workshop.add(replace(NEW, parameters={"p.yaml": {str(number): number for number in range(1500)}}))
    found = bom("new.bin")
    assert properties(found["metadata"])["omitted:parameters"] == "500"
    assert found["compositions"][0]["aggregate"] == "incomplete"


def test_bom_of_a_thousand_data_sets_is_bounded(workshop: Workshop, bom: Bom) -> None:
    """The data sets of the report, and how many more there are."""
    workshop.add(replace(NEW, data={f"data/{number}.csv": str(number) for number in range(1000)}))
    found = bom("new.bin")
    assert sum(one["type"] == "data" for one in found["components"]) == 200
    known = properties(found["metadata"])
    assert known["omitted:dataSets"] == "800"
    assert int(known["omitted:artifacts"]) >= 1000
    assert found["compositions"][0]["aggregate"] == "incomplete"


def test_bom_of_directories_has_manifests(workshop: Workshop, bom: Bom) -> None:
    """The digest of a directory is that of gitchain's manifest: it is no hash of a file."""
    workshop.add(replace(NEW, directory=True, data={"raw.csv": "raw"}))
    data = data_of(bom("new.bin"))
    assert "hashes" not in data
    known = properties(data)
    assert re.fullmatch("[0-9a-f]{64}", known["manifest:sha256"])
    assert known["basis:manifest:sha256"] == "claimed"


def test_bom_has_the_same_bytes(gitchain: Gitchain, workshop: Workshop) -> None:
    """The BOM depends on the facts: the serial number changes with them, and --at is the timestamp."""
    workshop.add(NEW)

    def run(*more: str) -> str:
        return str(gitchain("report", "new.bin", "--cyclonedx", "-", *more, cwd=workshop.repo).out)

    first = run()
    assert run() == first
    state(workshop, DATASET, ("data/raw.csv", "raw"), TERMS)
    second = json.loads(run())
    assert second["serialNumber"] != json.loads(first)["serialNumber"]
    late = second["metadata"]["timestamp"]
    at = json.loads(run("--at", late))
    assert at["metadata"]["timestamp"] == late
    assert properties(at["metadata"])["timestamp"] == "timeVerified"


@pytest.mark.parametrize("kind", ["directory", "link", "absent"])
def test_bom_is_written_to_regular_files_only(gitchain: Gitchain, workshop: Workshop, kind: str) -> None:
    """A directory, a symbolic link and a missing directory are refused, and nothing is changed, the page neither."""
    workshop.add(NEW)
    path = workshop.repo / "m.json"
    if kind == "directory":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(workshop.repo / "new.bin")
    else:
        path = workshop.repo / "absent" / "m.json"
    done = gitchain("report", "new.bin", "-o", "r.html", "--cyclonedx", str(path), cwd=workshop.repo)
    assert done.code == ExitCode.USAGE
    assert (workshop.repo / "new.bin").read_text() == "new"
    assert not (workshop.repo / "r.html").exists()


def test_bom_stands_beside_the_page_and_the_facts(gitchain: Gitchain, workshop: Workshop) -> None:
    """Alone it is the only file; -o adds the page; --json prints the facts too. Two documents in one file are refused."""
    workshop.add(NEW)

    def run(*more: str) -> Any:
        return gitchain("report", "new.bin", *more, cwd=workshop.repo)

    assert run("--cyclonedx", "m.json").out == "PASSED  m.json\n"
    assert not list(workshop.repo.glob("*.html"))
    assert run("--cyclonedx", "m.json", "-o", "r.html").out == "PASSED  r.html\nPASSED  m.json\n"
    assert run("--json", "--cyclonedx", "m.json").json["verificationResult"] == "PASSED"
    assert VALIDATOR.validate_str((workshop.repo / "m.json").read_text()) is None
    assert json.loads(run("--cyclonedx", "-", "-o", "r.html").out)["bomFormat"] == "CycloneDX"
    for wrong in (
        ["--json", "--cyclonedx", "-"],
        ["-o", "-", "--cyclonedx", "-"],
        ["-o", "m.json", "--cyclonedx", "./m.json"],
        ["--cyclonedx", ""],
    ):
        assert run(*wrong).code == ExitCode.USAGE


def test_identifiers_of_the_licence_list_are_cyclonedx_identifiers() -> None:
    """A newer list of packaging would have identifiers that the schema of CycloneDX refuses."""
    document = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1}
    licences = [{"license": {"id": one["id"]}} for one in _spdx.LICENSES.values()]
    component = {"type": "data", "name": "d", "licenses": licences}
    assert VALIDATOR.validate_str(json.dumps(document | {"components": [component]})) is None


def test_validator_refuses_other_documents() -> None:
    """The schema is not lenient: an unknown field and an unknown identifier are refused."""
    for wrong in ({"x": 1}, {"licenses": [{"license": {"id": "Ours"}}]}):
        document = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1}
        component = {"type": "data", "name": "d", **wrong}
        assert VALIDATOR.validate_str(json.dumps(document | {"components": [component]})) is not None
