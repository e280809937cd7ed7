"""`gitchain diff` of a side that failed: only statements of functionaries count, and strangers can connect nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from gitchain.errors import ExitCode
from tests.cli.test_diff import NEW, OLD, changes
from tests.cli.test_diff import workshop as workshop  # noqa: PLC0414 - a fixture
from tests.cli.test_documents import validator
from tests.support.model_versions import Version, Workshop, descriptor

Gitchain = Callable[..., Any]


def failed(gitchain: Gitchain, workshop: Workshop) -> Any:
    """Return the document of old.bin, which passes, and new.bin, which fails."""
    done = gitchain("diff", "--json", "old.bin", "new.bin", cwd=workshop.repo)
    assert done.code == ExitCode.FAILED, done.text
    validator("diff").validate(done.json)
    return done.json


def link(workshop: Workshop, version: Version) -> None:
    """Let a stranger state that a version of the model was made of old.bin."""
    made, used = descriptor(version.name, version.model), descriptor("x.py", "old")
    workshop.sign("mallory@example.com", [workshop.step("train", version, [used], [made], {})])


def revoke(gitchain: Gitchain, workshop: Workshop, step: str) -> None:
    """Revoke the attestation of a step of new.bin."""
    events = gitchain("log", "--json", "new.bin", cwd=workshop.repo).json["events"]
    found = next(one["id"] for one in events if one["step"] == step)
    done = gitchain("revoke", "attestation", found, "--reason", "mistaken", cwd=workshop.repo)
    assert done.code == ExitCode.OK, done.text


def test_diff_follows_no_link_of_a_stranger(gitchain: Gitchain, workshop: Workshop) -> None:
    """A stranger's statement that new.bin was made of old.bin gives new.bin no signer and no approval of old.bin."""
    workshop.add(OLD)
    tampered = replace(NEW, model="tampered")
    (workshop.repo / "new.bin").write_text("tampered")
    link(workshop, tampered)
    document = failed(gitchain, workshop)
    assert document["b"]["steps"] == []
    assert {name for name, group in document["groups"].items() if group["compared"]} == {"model", "layout"}


def test_diff_takes_no_approval_of_another_model(gitchain: Gitchain, workshop: Workshop) -> None:
    """A model that lacks an approval does not get that of a model to which a stranger linked it."""
    workshop.add(OLD)
    workshop.sign("ada@example.com", [workshop.prepare(NEW), workshop.train(NEW)])
    (workshop.repo / "new.bin").write_text("new")
    link(workshop, NEW)
    document = failed(gitchain, workshop)
    assert [step["name"] for step in document["b"]["steps"]] == ["prepare", "train"]
    (approval,) = [one for one in document["groups"]["approvals"]["changes"] if one["name"] == ""]
    assert (approval["change"], approval["steps"]) == ("removed", ["approve"])


def test_diff_takes_no_model_that_a_functionary_made_of_it(gitchain: Gitchain, workshop: Workshop) -> None:
    """The statement of a model that was trained from a failed one is not taken for the failed one's."""
    workshop.add(OLD)
    workshop.sign("ada@example.com", [workshop.prepare(NEW), workshop.train(NEW)])
    (workshop.repo / "new.bin").write_text("new")
    made = descriptor("next.bin", "next")
    later = workshop.step(
        "train", NEW, [descriptor("new.bin", "new")], [made], {"parameters": {"p": {"x": 1}}}
    )
    workshop.sign("bob@example.com", [later])
    document = failed(gitchain, workshop)
    assert changes(document, "parameters") == changes(document, "signers") == []


def test_diff_leaves_out_revoked_statements(gitchain: Gitchain, workshop: Workshop) -> None:
    """A revoked approval, and the statements of a revoked signer, are not compared: they count for nothing."""
    workshop.add(OLD, replace(NEW, trainer="bob@example.com"))
    revoke(gitchain, workshop, "approve")
    document = failed(gitchain, workshop)
    assert [step["name"] for step in document["b"]["steps"]] == ["prepare", "train"]
    issuer = document["b"]["steps"][1]["attestations"][0]["signer"]["issuer"]
    named = ("bob@example.com", "--issuer", issuer, "--reason", "compromised")
    done = gitchain("revoke", "signer", *named, cwd=workshop.repo)
    assert done.code == ExitCode.OK, done.text
    assert failed(gitchain, workshop)["b"]["steps"] == []
    shown = gitchain("diff", "old.bin", "new.bin", cwd=workshop.repo).out
    assert "no statement about it counts" in shown


def test_diff_shows_a_revocation_before_statements_of_strangers(
    gitchain: Gitchain, workshop: Workshop
) -> None:
    """However many statements strangers sign, the revocation is among the findings that are shown."""
    workshop.add(OLD, NEW)
    revoke(gitchain, workshop, "approve")
    for number in range(25):
        many = replace(NEW, command=(str(number),))
        kinds = (
            workshop.train(many),
            replace(workshop.approve(many), predicate_type="https://example.com/x"),
        )
        workshop.sign("mallory@example.com", [kinds[number % 2]])
    document = failed(gitchain, workshop)
    assert document["b"]["findings"][0]["code"] == "GC-E0340"
    assert "mallory" in json.dumps(document["b"]["findings"])
    assert "GC-E0340" in gitchain("diff", "old.bin", "new.bin", cwd=workshop.repo).out


def test_diff_of_a_failed_side_calls_no_chain_the_same(gitchain: Gitchain, workshop: Workshop) -> None:
    """If a side fails, "the same" of signers and approvals is about identities, and what the layout does not accept."""
    workshop.add(OLD, replace(NEW, data={"data/raw.csv": "other"}))
    revoke(gitchain, workshop, "prepare")
    failed(gitchain, workshop)
    shown = gitchain("diff", "new.bin", "new.bin", cwd=workshop.repo).out.splitlines()
    note = "= the same identities; the layout does not accept A and B"
    assert [line for line in shown if line.startswith(("signers", "approvals"))] == [
        f"signers     proven  {note}",
        f"approvals   claimed {note}",
    ]
    page = gitchain("diff", "new.bin", "new.bin", "--markdown", cwd=workshop.repo).out
    assert "The same (proven): model, signers identities; the layout does not accept A and B" in page
