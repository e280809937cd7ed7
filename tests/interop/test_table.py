"""The table of `make interop` says no more than what was asked."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tests.interop import rows_chain, run, table
from tests.interop.interop_run import flipped, pinned, tampered
from tests.interop.table import Cases, NotHere, Row

WORLD: Any = None


def _row(*cases: tuple[bool, bool], error: Exception | None = None) -> table.Result:
    def ask(world: object, found: Cases) -> None:
        for accept, accepted in cases:
            (found.accepts if accept else found.refuses)("a case", (accepted, "what it said"))
        if error:
            raise error

    return table.run(Row("peer", lambda: "v1", "does it", ask), WORLD)


def test_a_row_agrees_when_every_case_does() -> None:
    result = _row((True, True), (False, False))
    assert result.agreed
    assert "peer" in table.text([result])
    assert "DISAGREES" not in table.text([result])


@pytest.mark.parametrize("wrong", [(True, False), (False, True)])
def test_one_case_that_disagrees_is_told(wrong: tuple[bool, bool]) -> None:
    result = _row((True, True), (False, False), wrong)
    assert not result.agreed
    assert "2 DISAGREES" in table.text([result])
    assert "what it said" in table.text([result])


@pytest.mark.parametrize("cases", [(), ((True, True),), ((False, False),)])
def test_a_row_that_refuses_nothing_or_takes_nothing_proves_nothing(
    cases: tuple[tuple[bool, bool], ...],
) -> None:
    assert not _row(*cases).agreed


def test_a_row_that_breaks_off_disagrees() -> None:
    result = _row((True, True), (False, False), error=ValueError("a defect"))
    assert not result.agreed
    assert "ValueError: a defect" in table.text([result])


def test_a_peer_that_is_not_here_is_one_line() -> None:
    result = _row(error=NotHere("no Go"))
    lines = [
        line
        for line in table.text([_row((True, True), (False, False)), result]).splitlines()
        if "no Go" in line
    ]
    assert lines == ["SKIPPED  peer: does it: no Go"]


def test_a_changed_bundle_differs_in_one_place(tmp_path: Path) -> None:
    found = tampered(b'{"dsseEnvelope":{"payload":"AAAA","signatures":[{"sig":"AAAA"}]}}')
    assert set(found) == {"a byte of the payload", "a byte of the statement's signature"}
    assert b'"payload": "AAEA"' in found["a byte of the payload"]
    assert flipped(b"abc") == b"acc"


def test_an_entry_is_changed_where_it_says_what_was_signed() -> None:
    body = b'{"data":{"digest":"AAAA"},"signature":{"content":"' + b"A" * 99 + b'"}}'
    bundle = {
        "verificationMaterial": {"tlogEntries": [{"canonicalizedBody": base64.b64encode(body).decode()}]}
    }
    (changed,) = tampered(json.dumps(bundle).encode()).values()
    entry = json.loads(changed)["verificationMaterial"]["tlogEntries"][0]
    assert json.loads(base64.b64decode(entry["canonicalizedBody"]))["data"] == {"digest": "@AAA"}


def test_versions_are_those_of_the_pins() -> None:
    assert pinned("cosign").startswith("v3.")
    assert pinned("rekor-server").startswith("v2.")


def test_only_peers_that_there_are_can_be_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["cosing"]) == 2
    assert "no peer cosing" in capsys.readouterr().err


def test_the_demo_signs_with_tokens_where_it_named_a_person() -> None:
    class Stack:
        trust_config = Path("/trust.json")
        issuer = type("Issuer", (), {"url": "http://127.0.0.1:1"})

        def token(self, identity: str) -> str:
            return f"token-of-{identity}"

    stack: Any = Stack()
    attested = rows_chain.with_tokens(("gitchain", "attest", "x", "--as", "ada@example.com", "--json"), stack)
    assert attested == ("gitchain", "attest", "x", "--identity-token", "token-of-ada@example.com", "--json")
    started = rows_chain.with_tokens(("gitchain", "init", "--local", "--as", "ada@example.com"), stack)
    assert started == (
        "gitchain",
        "init",
        "--as",
        "ada@example.com",
        "--trust",
        "/trust.json",
        "--issuer",
        stack.issuer.url,
    )
