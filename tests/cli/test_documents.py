"""Every --json document validates against its schema, and every verb that prints one is here."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from gitchain.errors import ExitCode
from gitchain.evidence.canonical import canonical_json
from gitchain.store.git_ref import AttestationStore
from gitchain.workspace.project import open_project

Gitchain = Callable[..., Any]
SCHEMAS = Path(__file__).parents[2] / "schemas"


def load(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))
    return document


def validator(name: str) -> Draft202012Validator:
    registry: Registry[Any] = Registry().with_resources(
        (schema["$id"], Resource.from_contents(schema))
        for schema in map(load, ("verify", "diff", "report", "error", "cli", "seen"))
    )
    return Draft202012Validator(load(name), registry=registry)


def schema_of(document: dict[str, Any]) -> str:
    kind = str(document["schema"]).split("/")[-2]
    return kind if kind in {"verify", "diff", "report", "error"} else "cli"


CALLS = {
    "archive create": ["archive", "create", "model.txt", "-o", "model.tar"],
    "attest": ["attest", "train", "-m", "in.txt", "-p", "model.txt"],
    "bundle push": ["bundle", "push", "evidence"],
    "diff": ["diff", "model.txt", "model.txt"],
    "doctor": ["doctor"],
    "hooks": ["hooks", "status"],
    "import": ["import", "one.sigstore.json"],
    "init": ["init", "--local", "--force"],
    "layout lint": ["layout", "lint"],
    "layout test": ["layout", "test", str(SCHEMAS.parent / "examples" / "layouts" / "credit-model")],
    "layout sign": ["layout", "sign"],
    "layout show": ["layout", "show"],
    "local status": ["local", "status"],
    "local token": ["local", "token", "ada@example.com"],
    "log": ["log"],
    "run": ["run", "train", "-m", "in.txt", "-p", "model.txt", "--", "true"],
    "report": ["report", "model.txt"],
    "revoke": ["revoke", "artifact", "in.txt", "--reason", "withdrawn"],
    "sync": ["sync"],
    "trust forget-history": ["trust", "forget-history", "--yes"],
    "trust status": ["trust", "status"],
    "trust pin": ["trust", "pin", "--signer", "ada@example.com"],
    "verify": ["verify", "model.txt"],
    "failure": ["verify", "sha256:nonsense"],
}


@pytest.mark.parametrize("arguments", CALLS.values(), ids=CALLS)
def test_documents_validate(gitchain: Gitchain, tiny: Path, arguments: list[str]) -> None:
    """One document on stdout, with a schema that is in schemas/ and that it satisfies."""
    if arguments[0] in {"archive", "bundle", "diff", "log", "report", "verify"}:
        gitchain(*CALLS["attest"], cwd=tiny)
    if arguments[0] == "import":
        (tiny / arguments[1]).write_bytes(next(open_project(tiny).store.all()))
    done = gitchain(arguments[0], "--json", *arguments[1:], cwd=tiny)
    validator(schema_of(done.json)).validate(done.json)


def test_show_validates(gitchain: Gitchain, tiny: Path) -> None:
    """show prints the statement with its signature."""
    made = gitchain("attest", "--json", "train", "-m", "in.txt", "-p", "model.txt", cwd=tiny).json
    shown = gitchain("show", "--json", made["attested"][0]["id"][:12], cwd=tiny)
    assert (shown.code, shown.json["verified"]) == (0, True)
    validator("cli").validate(shown.json)


def test_the_verdict_says_that_the_trust_is_local(gitchain: Gitchain, tiny: Path) -> None:
    """The embedded instance never passes for a public one, in JSON as in text."""
    gitchain(*CALLS["attest"], cwd=tiny)
    done = gitchain("verify", "--json", "model.txt", cwd=tiny)
    assert done.json["trust"]["local"] is True
    assert "embedded instance" in done.err


def test_pins_validate(tiny: Path, isolated: Path) -> None:
    """What init pinned satisfies the schema of the pins file."""
    assert tiny.is_dir()
    document = json.loads((isolated / "pins.json").read_bytes())
    Draft202012Validator(load("pins")).validate(document)


def test_a_foreign_document_is_refused() -> None:
    """The schema can fail: an unknown document and an extra field do."""
    for document in (
        {"schema": "https://gitchain.dev/nosuch/v1"},
        {"schema": "https://gitchain.dev/doctor/v1", "checks": [], "x": 1},
    ):
        assert list(validator("cli").iter_errors(document))


def kind_of(bundle: dict[str, Any]) -> str:
    return str(json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))["predicateType"])


def test_evidence_that_does_not_verify_is_named(
    gitchain: Gitchain, tiny: Path, git: Callable[..., str]
) -> None:
    """Altered evidence does not count, and the verdict says that it is there and why it does not."""
    gitchain(*CALLS["attest"], cwd=tiny)
    names = git(tiny, "ls-tree", "-r", "--name-only", "refs/gitchain/attestations").splitlines()
    leaves = [name for name in names if name.startswith("att/")]
    bundles = [git(tiny, "cat-file", "blob", f"refs/gitchain/attestations:{name}") for name in leaves]
    changed = next(bundle for bundle in map(json.loads, bundles) if kind_of(bundle).endswith("provenance/v1"))
    signature = changed["dsseEnvelope"]["signatures"][0]
    signature["sig"] = (
        signature["sig"][:20] + ("A" if signature["sig"][20] != "A" else "B") + signature["sig"][21:]
    )
    git(tiny, "update-ref", "-d", "refs/gitchain/attestations")
    AttestationStore.open(tiny).add([canonical_json(changed)])
    assert (
        gitchain("trust", "forget-history", "--yes", cwd=tiny).code == 0
    )  # what else was there is not missed
    done = gitchain("verify", "--json", "model.txt", cwd=tiny)
    assert done.code == ExitCode.NOTHING
    (refused,) = done.json["refused"]
    assert refused["step"] == "train"
    assert "does not verify" in done.err
    validator("verify").validate(done.json)
