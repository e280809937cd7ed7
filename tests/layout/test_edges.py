"""Corners of rules and artifacts that few layouts reach."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gitchain.errors import LayoutError
from gitchain.evidence.digest import DigestSet, sha256_hex
from gitchain.evidence.manifest import FileEntry, build_manifest
from gitchain.evidence.openpgp import PUBLIC_KEY, armored
from gitchain.layout import artifact as artifact_module
from gitchain.layout import keys, load, model, openpgp, parse_layout
from gitchain.layout.artifact import Artifact, Link, Manifests, contents
from gitchain.layout.constraint import MAX_PROBLEM, _short
from gitchain.layout.keys import spki_of_pem, ssh_text
from gitchain.layout.openpgp import read_block
from gitchain.layout.parts import Inspection
from gitchain.layout.rule import parse_rule
from gitchain.layout.rules import match_name
from gitchain.layout.step import Sublayout


def test_an_artifact_equals_artifacts_alone() -> None:
    """Comparing with anything else is left to the other side, and is unequal."""
    one = Artifact(DigestSet({"sha256": "0" * 64}))
    assert one != "0" * 64
    assert one.__eq__("0" * 64) is NotImplemented


def test_a_directory_beyond_the_limit_has_no_list_of_contents(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many files to list are compared by rules alone: None, which never says that nothing is in common."""
    manifest = build_manifest(FileEntry(f"f{n}", False, 1, sha256_hex(bytes([n]))) for n in range(9))
    manifests = Manifests(manifest.nodes.get)
    directory = Artifact(DigestSet({"sha256": manifest.digest}), directory=True)
    whole = manifests.tree(directory, 10)
    assert whole is not None
    assert len(whole) == 10
    assert manifests.tree(directory, 9) is None
    link = Link({}, {"d": directory})
    assert len(contents(link, manifests) or ()) == 10
    monkeypatch.setattr(artifact_module, "MAX_CONTENTS", 9)
    assert contents(link, manifests) is None
    files = {str(n): Artifact(DigestSet({"sha256": sha256_hex(bytes([n]))})) for n in range(11)}
    assert contents(Link(files, {}), manifests) is None


@pytest.mark.parametrize(
    "tokens",
    [
        ["MATCH", "x"],
        ["MATCH", "x", "WITH"],
        ["MATCH", "x", "WITH", "PRODUCTS", "FROM"],
        ["MATCH", "x", "WITH", "PRODUCTS", "FROM", ""],
        ["MATCH", "x", "WITH", "PRODUCTS", "FROM", "a\x00b"],
        ["MATCH", "x", "IN", "", "WITH", "PRODUCTS", "FROM", "a"],
    ],
    ids=range(6),
)
def test_a_match_that_is_cut_short_is_refused(tokens: list[str]) -> None:
    """Every part has its value, and the step a name that a step can have."""
    with pytest.raises(LayoutError):
        parse_rule(tokens)


def test_a_required_name_may_be_a_uri() -> None:
    """What provenance names by uri alone can be required by it."""
    assert parse_rule(["REQUIRE", "pkg:pypi/x@1"]).pattern == "pkg:pypi/x@1"


@pytest.mark.parametrize(
    ("rule", "name", "found"),
    [
        ("MATCH * IN a WITH PRODUCTS IN b FROM s", "a/x", "b/x"),
        ("MATCH * IN a WITH PRODUCTS FROM s", "a/x", "x"),
        ("MATCH * IN a WITH PRODUCTS FROM s", "ab/x", None),
        ("MATCH y IN a WITH PRODUCTS FROM s", "a/x", None),
        ("MATCH x WITH PRODUCTS FROM s", "x", "x"),
        ("ALLOW x", "x", None),
    ],
    ids=range(6),
)
def test_where_a_match_looks(rule: str, name: str, found: str | None) -> None:
    """The source prefix is taken off, the other put on; no pattern applies to either."""
    assert match_name(parse_rule(rule.split()), name) == found


LAYOUT = """\
schema: https://gitchain.dev/layout/v1
name: m
version: 1
expires: "2027-11-22T00:00:00Z"
functionaries:
  ada: {identities: [{issuer: "https://issuer.example", subject: ada}]}
  bob: {identities: [{issuer: "https://issuer.example", subject: bob}]}
steps:
  - {name: a, functionaries: [ada], expectedProducts: [[ALLOW, "*"]]}
  - {name: b, functionaries: [bob], expectedProducts: [[ALLOW, "*"]]}
serve: [{step: a, products: ["*"]}]
"""
PUBLIC = ed25519.Ed25519PrivateKey.from_private_bytes(b"\1" * 32).public_key()


@pytest.mark.parametrize(("limit", "where"), [("MAX_FUNCTIONARIES", "functionaries"), ("MAX_STEPS", "steps")])
def test_lists_of_a_layout_may_reach_their_limit(
    monkeypatch: pytest.MonkeyPatch, limit: str, where: str
) -> None:
    """Two functionaries, two steps: neither may be one too many."""
    layout = parse_layout(LAYOUT.encode())
    monkeypatch.setattr(model, limit, 2)
    assert replace(layout) == layout
    monkeypatch.setattr(model, limit, 1)
    with pytest.raises(LayoutError, match="1 to 1 entries") as told:
        replace(layout)
    assert told.value.where == where


def test_numbers_of_a_layout_may_reach_their_limit() -> None:
    """Versions and sizes: as far as JSON counts exactly."""
    layout = parse_layout(LAYOUT.encode())
    makes: tuple[Callable[[int], int | None], ...] = (
        lambda number: replace(layout, version=number).version,
        lambda number: Sublayout("x", number).minimum_version,
        lambda number: Inspection("s", "size", ("*",), max_bytes=number).max_bytes,
    )
    for make in makes:
        assert (make(1), make(2**53 - 1)) == (1, 2**53 - 1)
        for odd in (0, 2**53):
            with pytest.raises(LayoutError):
                make(odd)


def test_texts_of_a_layout_may_reach_their_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The layout, a key in each form, and what the engine says: the longest, and one character more."""
    pem = PUBLIC.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    ssh = PUBLIC.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    block = armored(b"\xcd\x01a", PUBLIC_KEY)
    for module, limit, read, text in (
        (load, "MAX_LAYOUT_BYTES", lambda text: parse_layout(text.encode()), LAYOUT),
        (keys, "MAX_KEY_CHARS", spki_of_pem, pem),
        (keys, "MAX_KEY_CHARS", ssh_text, ssh),
        (openpgp, "MAX_BLOCK_CHARS", read_block, block),
    ):
        monkeypatch.setattr(module, limit, len(text))
        assert read(text)
        monkeypatch.setattr(module, limit, len(text) - 1)
        with pytest.raises(LayoutError):
            read(text)
    assert _short("x" * MAX_PROBLEM) == "x" * MAX_PROBLEM
    assert _short("x" * (MAX_PROBLEM + 1)) == "x" * MAX_PROBLEM + "…"
