"""OpenSSF model signatures: every field of the statement, and the bundle that may lack a log entry."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gitchain.errors import LimitError, MalformedError
from gitchain.evidence import oms
from gitchain.evidence.bundle import KeyHint, Unlogged
from gitchain.evidence.claim import claimless_artifacts
from gitchain.evidence.digest import sha256_hex
from gitchain.evidence.oms import ModelSignature, model_statement, read_model_signature
from gitchain.evidence.statement import OLD_STATEMENT_TYPE, Statement
from tests.support.model_signatures import FILES, bundle, new_key, statement

KEY = new_key()


def read(value: dict[str, Any]) -> ModelSignature:
    return read_model_signature(Statement.parse(json.dumps(value).encode()))


def resource(name: str, data: bytes = b"", **changed: Any) -> dict[str, Any]:
    return {"name": name, "algorithm": "sha256", "digest": sha256_hex(data), **changed}


def root(*datas: bytes) -> list[dict[str, Any]]:
    whole = b"".join(bytes.fromhex(sha256_hex(data)) for data in datas)
    return [{"name": "model", "digest": {"sha256": sha256_hex(whole)}}]


def test_the_files_are_read_with_their_digests() -> None:
    """Name, files and what the signer left out."""
    found = read(statement(serialization={"ignore_paths": [".git", "cacheX/"]}))
    assert found.name == "model"
    assert found.files == {name: sha256_hex(data) for name, data in FILES.items()}
    assert found.ignored == (".git", "cacheX")
    assert not found.single


def test_signature_in_an_old_statement_is_refused() -> None:
    """OpenSSF model signatures are Statements v1; nothing reads them from a v0.1."""
    with pytest.raises(MalformedError, match="model signature is in an old statement"):
        read({**statement(), "_type": OLD_STATEMENT_TYPE})


def test_one_file_is_a_model() -> None:
    """Its resource has no name but a dot."""
    assert read(statement({".": b"weights"})).single
    with pytest.raises(MalformedError):
        read(statement({".": b"weights", "a": b""}))
    with pytest.raises(MalformedError):
        read(statement({"..": b"weights"}))


def test_both_orders_of_names_are_sorted() -> None:
    """As text, `a.b` comes before `a/b`; part by part, after it. Any other order is refused."""
    for names in (("a.b", "a/b"), ("a/b", "a.b")):
        found = read(statement(resources=[resource(name) for name in names], subject=root(b"", b"")))
        assert list(found.files) == list(names)
    for names in (("b", "a"), ("a", "a"), ("a", "A"), ("A", "a")):
        with pytest.raises(MalformedError):
            read(statement(resources=[resource(name) for name in names], subject=root(b"", b"")))


def test_a_model_may_have_no_name() -> None:
    """A subject that has a uri alone is read, as a model whose name is empty."""
    [subject] = root(b"")
    nameless = {"uri": "https://models.example/bert", "digest": subject["digest"]}
    assert read(statement(resources=[resource("a")], subject=[nameless])).name == ""
    assert read(statement(resources=[resource("a")], subject=[subject])).name == "model"


BROKEN: dict[str, dict[str, Any]] = {
    "another type": statement(kind="https://model_signing/signature/v1.1"),
    "two subjects": statement(
        resources=[resource("a")], subject=[*root(b""), {"name": "b", "digest": {"sha256": "0" * 64}}]
    ),
    "another root": statement(subject=root(b"other")),
    "root without sha256": statement(subject=[{"name": "model", "digest": {"sha512": "0" * 128}}]),
    "no files": statement(resources=[], subject=root()),
    "shards": statement(serialization={"method": "shards"}),
    "another hash": statement(serialization={"hash_type": "blake2b"}),
    "symlinks": statement(serialization={"allow_symlinks": True}),
    "another digest": statement(resources=[resource("a", algorithm="md5")], subject=root(b"")),
    "digest is malformed": statement(resources=[resource("a", digest="00")], subject=root(b"")),
    "name leaves the model": statement(resources=[resource("../a")], subject=root(b"")),
    "absolute name": statement(resources=[resource("/a")], subject=root(b"")),
    "ignores outside": statement(serialization={"ignore_paths": ["../.."]}),
    "ignores everything": statement(serialization={"ignore_paths": ["."]}),
    "ignores no text": statement(serialization={"ignore_paths": [1]}),
    "no serialization": {**statement(), "predicate": {"resources": [resource("a")]}},
}


@pytest.mark.parametrize("value", BROKEN.values(), ids=BROKEN)
def test_what_is_no_model_signature_is_refused(value: dict[str, Any]) -> None:
    """Each differs from an honest one in one thing."""
    with pytest.raises(MalformedError):
        read(value)


def test_too_many_files_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits on files and on what is left out."""
    monkeypatch.setattr(oms, "MAX_RESOURCES", 2)
    with pytest.raises(LimitError):
        read(statement())
    monkeypatch.undo()
    with pytest.raises(LimitError):
        read(statement(serialization={"ignore_paths": ["a"] * 1001}))


def test_a_bundle_may_lack_its_entry_here() -> None:
    """Absent or empty, or there."""
    value = bundle(statement(), KEY)
    for entries, expected in (([], False), (None, False), ([{}], True)):
        value["verificationMaterial"]["tlogEntries"] = entries
        found = Unlogged.parse(json.dumps(value).encode())
        assert found.has_entry is expected
        assert isinstance(found.signer, KeyHint)


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        (("mediaType",), "application/vnd.dev.sigstore.bundle.v0.4+json"),
        (("dsseEnvelope", "payloadType"), "text/plain"),
        (("dsseEnvelope", "signatures"), []),
        (("verificationMaterial", "publicKey"), None),
        (("verificationMaterial", "certificate"), {"rawBytes": "AA=="}),
        (("verificationMaterial",), None),
    ],
)
def test_other_bundles_are_refused(path: tuple[str, ...], wrong: object) -> None:
    """It is strict in everything else."""
    value = bundle(statement(), KEY)
    place = value
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = wrong
    with pytest.raises(MalformedError):
        Unlogged.parse(json.dumps(value).encode())


@pytest.mark.parametrize("name", ["..", "../weights", "/weights", "a//b", ""])
def test_a_lone_file_has_a_name_like_any_other(name: str) -> None:
    """Only the dot stands for a model that is one file."""
    with pytest.raises(MalformedError):
        read(statement({name: b"weights"}))


def test_a_statement_of_files_reads_back() -> None:
    """What is said of a model's files is what is read of them, in the order of their paths' parts."""
    files = {name: f"{number:064x}" for number, name in enumerate(("a/b", "a-b", "z", "a/c/d"))}
    statement = model_statement("bert", files, (".git", "bert.sig"))
    found = read_model_signature(Statement.parse(statement.payload))
    assert (found.name, found.files, found.ignored) == ("bert", files, (".git", "bert.sig"))
    assert list(found.files) == ["a/b", "a/c/d", "a-b", "z"]
    assert statement.predicate["serialization"] == {
        "method": "files",
        "hash_type": "sha256",
        "allow_symlinks": False,
        "ignore_paths": [".git", "bert.sig"],
    }
    assert model_statement("one", {".": "0" * 64}).predicate["serialization"]["ignore_paths"] == []  # type: ignore[index, call-overload]


@pytest.mark.parametrize("files", [{}, {"../x": "0" * 64}, {"x": "0" * 63}, {"x": "Z" * 64}])
def test_a_statement_of_no_model_is_refused(files: dict[str, str]) -> None:
    """Nothing is signed that a reader would refuse."""
    with pytest.raises(MalformedError):
        model_statement("bert", files)


def test_listed_files_are_those_with_a_sha256() -> None:
    """Of a statement that may not be readable: what is no digest is left out, and each digest appears once."""
    good = sha256_hex(b"a")
    items = [
        resource("a", b"a"),
        resource("b", b"a"),
        {"digest": 7},
        {},
        "x",
        None,
        {"digest": "A" * 64},
        {"digest": good[1:]},
    ]
    for resources, digests in ((items, [good]), ({"a": 1}, []), (None, [])):
        value = statement(resources=resources)
        found = oms.listed_files(Statement.parse(json.dumps(value).encode()))
        assert [one.digest["sha256"] for one in found] == digests
        assert {one.name for one in found} <= {None}
        about = claimless_artifacts(Statement.parse(json.dumps(value).encode()))
        assert [one.digest["sha256"] for one in about][1:] == digests
    other = Statement.parse(json.dumps({**statement(), "predicateType": "https://x.example/v1"}).encode())
    assert oms.listed_files(other) == ()
    assert claimless_artifacts(other) == other.subject
