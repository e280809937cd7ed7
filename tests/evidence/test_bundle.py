"""Bundles: what sigstore-python reads we read alike, and everything else is refused."""

from __future__ import annotations

import base64
import copy
import datetime as dt
import json
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st
from sigstore.models import Bundle as SigstoreBundle

from gitchain.errors import GitchainError, LimitError, MalformedError
from gitchain.evidence import bundle as module
from gitchain.evidence import entry
from gitchain.evidence.bundle import Bundle, CertificateSigner, KeyHint, Unlogged
from gitchain.evidence.checkpoint import Checkpoint, NoteSignature, render
from gitchain.evidence.digest import DigestSet
from gitchain.evidence.dsse import MessageSignature
from gitchain.evidence.fields import decode_proto_base64
from gitchain.evidence.statement import ResourceDescriptor, Statement

STATEMENT = Statement.build([ResourceDescriptor("m", DigestSet({"sha256": "ab" * 32}))], "https://x.y/z", {})


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@cache
def certificate() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(start).not_valid_after(start + dt.timedelta(1))
    return builder.sign(key, SHA256()).public_bytes(Encoding.DER)


@cache
def _document() -> dict[str, Any]:
    checkpoint = render(Checkpoint("log", 2, bytes(32)), [NoteSignature("log", b"abcd", b"s" * 64)])
    entry = {
        "logIndex": "1",
        "logId": {"keyId": b64(b"k" * 32)},
        "kindVersion": {"kind": "hashedrekord", "version": "0.0.2"},
        "integratedTime": "0",
        "inclusionProof": {
            "logIndex": "1",
            "rootHash": b64(bytes(32)),
            "treeSize": "2",
            "hashes": [b64(b"h" * 32)],
            "checkpoint": {"envelope": checkpoint},
        },
        "canonicalizedBody": b64(b"{}"),
    }
    return {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {
            "certificate": {"rawBytes": b64(certificate())},
            "tlogEntries": [entry],
            "timestampVerificationData": {"rfc3161Timestamps": [{"signedTimestamp": b64(b"time")}]},
        },
        "dsseEnvelope": {
            "payload": b64(STATEMENT.payload),
            "payloadType": "application/vnd.in-toto+json",
            "signatures": [{"sig": b64(b"signature"), "keyid": ""}],
        },
    }


def document() -> dict[str, Any]:
    return copy.deepcopy(_document())


def encode(value: Any) -> bytes:
    return json.dumps(value).encode()


def test_every_field_is_read() -> None:
    """Each field of the parsed bundle is the one of the document."""
    found = Bundle.parse(encode(document()))
    assert found.statement() == STATEMENT
    assert found.attestation_id == STATEMENT.attestation_id
    assert found.signer == CertificateSigner(certificate())
    assert found.timestamps == (b"time",)
    assert (found.envelope.signature, found.envelope.keyid) == (b"signature", "")
    logged = found.entry
    assert (logged.log_index, logged.key_id, logged.kind, logged.version) == (
        1,
        b"k" * 32,
        "hashedrekord",
        "0.0.2",
    )
    assert (logged.integrated_time, logged.body, logged.promise) == (0, b"{}", None)
    assert logged.proof is not None
    assert (logged.proof.index, logged.proof.tree_size, logged.proof.root) == (1, 2, bytes(32))
    assert logged.proof.hashes == (b"h" * 32,)
    assert logged.proof.checkpoint.startswith("log\n2\n")


def test_sigstore_reads_the_same_document() -> None:
    """The document that these tests change is one that sigstore-python parses too."""
    value = document()
    del value[VM]["timestampVerificationData"]
    value[VM][TL][0].update(integratedTime="5", inclusionPromise={"signedEntryTimestamp": b64(b"set")})
    theirs = SigstoreBundle.from_json(encode(value))
    ours = Bundle.parse(encode(value))
    assert theirs.signing_certificate.public_bytes(Encoding.DER) == ours.signer.leaf  # type: ignore[union-attr]
    assert theirs.log_entry._inner.log_index == ours.entry.log_index


def test_rekor_v1_entry_is_read() -> None:
    """An entry with an integrated time and a promise keeps both, and its own index."""
    value = document()
    entry = value["verificationMaterial"]["tlogEntries"][0]
    entry.update(
        logIndex="101487427", integratedTime="1700000000", kindVersion={"kind": "dsse", "version": "0.0.1"}
    )
    entry["inclusionPromise"] = {"signedEntryTimestamp": b64(b"set")}
    found = Bundle.parse(encode(value)).entry
    assert (found.log_index, found.integrated_time, found.promise) == (101487427, 1700000000, b"set")


@pytest.mark.parametrize("absent", ["integratedTime", "inclusionPromise", "inclusionProof"])
def test_optional_parts_may_be_null(absent: str) -> None:
    """What a log may leave out is read as absent, whether it is null or not there; verifying decides."""
    value = document()
    entry = value["verificationMaterial"]["tlogEntries"][0]
    entry[absent] = None
    first = Bundle.parse(encode(value))
    del entry[absent]
    assert Bundle.parse(encode(value)) == first


Change = Callable[[dict[str, Any]], object]


def put(*path: Any) -> Change:
    """Set the value at the path (the last item) in the document."""

    def change(value: dict[str, Any]) -> None:
        inner: Any = value
        for step in path[:-2]:
            inner = inner[step]
        inner[path[-2]] = path[-1]

    return change


VM, TL, IP = "verificationMaterial", "tlogEntries", "inclusionProof"
BAD: tuple[tuple[Any, ...], ...] = (
    ("mediaType", "application/vnd.dev.sigstore.bundle+json;version=0.2"),
    ("mediaType", None),
    ("messageSignature", {"signature": "AA=="}),
    ("dsseEnvelope", None),
    ("dsseEnvelope", "payloadType", "text/plain"),
    ("dsseEnvelope", "payloadType", ""),
    ("dsseEnvelope", "payload", "e3 0="),
    ("dsseEnvelope", "payload", "e31="),
    ("dsseEnvelope", "payload", 5),
    ("dsseEnvelope", "signatures", []),
    ("dsseEnvelope", "signatures", [{"sig": "AAAA"}, {"sig": "AAAA"}]),
    ("dsseEnvelope", "signatures", ["AAAA"]),
    ("dsseEnvelope", "signatures", [{"sig": ""}]),
    ("dsseEnvelope", "signatures", [{"sig": "AAAA", "keyid": 1}]),
    (VM, None),
    (VM, "publicKey", {"hint": "x"}),
    (VM, "x509CertificateChain", {"certificates": []}),
    (VM, "certificate", None),
    (VM, "certificate", "rawBytes", ""),
    (VM, "certificate", "rawBytes", "%%%%"),
    (VM, TL, []),
    (VM, TL, None),
    (VM, TL, [1]),
    (VM, TL, 0, "logIndex", -1),
    (VM, TL, 0, "logIndex", True),
    (VM, TL, 0, "logIndex", 1.0),
    (VM, TL, 0, "log_index", "1"),
    (VM, TL, 0, IP, "treeSize", None),
    (VM, "certificate", "rawBytes", "A"),
    (VM, "certificate", "rawBytes", "AA="),
    (VM, "certificate", "rawBytes", "AB"),
    (VM, "certificate", "rawBytes", "-A+A"),
    (VM, "certificate", "rawBytes", "_A/A"),
    (VM, TL, 0, "logIndex", "-1"),
    (VM, TL, 0, "logIndex", "01"),
    (VM, TL, 0, "logIndex", " 1"),
    (VM, TL, 0, "logIndex", "1" * 5000),
    (VM, TL, 0, "logIndex", str(2**63)),
    (VM, TL, 0, "logId", None),
    (VM, TL, 0, "logId", {"keyId": ""}),
    (VM, TL, 0, "kindVersion", None),
    (VM, TL, 0, "kindVersion", "kind", ""),
    (VM, TL, 0, "kindVersion", "version", "0\n0"),
    (VM, TL, 0, "canonicalizedBody", None),
    (VM, TL, 0, "canonicalizedBody", ""),
    (VM, TL, 0, "inclusionPromise", {"signedEntryTimestamp": ""}),
    (VM, TL, 0, IP, []),
    (VM, TL, 0, IP, "logIndex", "2"),
    (VM, TL, 0, IP, "treeSize", "0"),
    (VM, TL, 0, IP, "rootHash", b64(bytes(31))),
    (VM, TL, 0, IP, "rootHash", None),
    (VM, TL, 0, IP, "hashes", [b64(bytes(33))]),
    (VM, TL, 0, IP, "hashes", [1]),
    (VM, TL, 0, IP, "checkpoint", {"envelope": 1}),
    (VM, "timestampVerificationData", []),
    (VM, "timestampVerificationData", "rfc3161Timestamps", [{}]),
    (VM, "timestampVerificationData", "rfc3161Timestamps", [{"signedTimestamp": ""}]),
)


@pytest.mark.parametrize("change", BAD, ids=lambda change: ".".join(str(step)[:24] for step in change[-3:]))
def test_changed_documents_are_refused(change: tuple[Any, ...]) -> None:
    """A field missing, doubled, of another type, or in another spelling is malformed."""
    value = document()
    put(*change)(value)
    with pytest.raises(MalformedError):
        Bundle.parse(encode(value))


SAME: tuple[tuple[Any, ...], ...] = (
    (VM, TL, 0, "logIndex", 1),
    (VM, TL, 0, "integratedTime", 0),
    (VM, TL, 0, "integratedTime", "0"),
    (VM, TL, 0, "integratedTime", None),
    (VM, TL, 0, "inclusionPromise", None),
    (VM, TL, 0, "inclusionPromise", {}),
    (VM, TL, 0, "inclusionPromise", {"signedEntryTimestamp": None}),
    (VM, TL, 0, IP, "logIndex", 1),
    (VM, TL, 0, IP, "treeSize", 2),
    ("dsseEnvelope", "signatures", 0, "keyid", None),
    ("dsseEnvelope", "signatures", 0, "keyid", ""),
    (VM, "unknown_field", {"any_thing": [1, None]}),
)
"""What proto3 JSON lets a writer spell in another way, and mean the same."""


@pytest.mark.parametrize("change", SAME, ids=lambda change: ".".join(str(step)[:24] for step in change[-3:]))
def test_proto3_json_has_several_spellings_of_one_bundle(change: tuple[Any, ...]) -> None:
    """Numbers as text or number, zero and empty fields left out."""
    value = document()
    put(*change)(value)
    assert Bundle.parse(encode(value)) == Bundle.parse(encode(document()))


def test_proto3_json_leaves_out_zeros_and_empty_lists() -> None:
    """The first entry of a log, in a tree of one: without index, without hashes."""
    value = document()
    first, proof = value[VM][TL][0], value[VM][TL][0][IP]
    first["logIndex"], proof["logIndex"], proof["treeSize"], proof["hashes"] = "0", "0", "1", []
    whole = Bundle.parse(encode(value))
    del first["logIndex"], proof["logIndex"], proof["hashes"]
    assert Bundle.parse(encode(value)) == whole
    assert (whole.entry.log_index, whole.entry.proof.index, whole.entry.proof.hashes) == (0, 0, ())  # type: ignore[union-attr]


def snake(value: Any) -> Any:
    """Return JSON with the field names as they are in the .proto files."""
    if isinstance(value, dict):
        return {
            re.sub("([A-Z])", lambda found: f"_{found[1].lower()}", key): snake(item)
            for key, item in value.items()
        }
    return [snake(item) for item in value] if isinstance(value, list) else value


def test_proto3_json_may_have_the_original_field_names() -> None:
    """`log_index` is `logIndex`, everywhere; a field under both names is ambiguous."""
    original = snake(document())
    assert "log_index" in original["verification_material"]["tlog_entries"][0]
    assert Bundle.parse(encode(original)) == Bundle.parse(encode(document()))
    escaped = json.dumps(original).replace("_", "\\u005F")
    assert Bundle.parse(escaped.encode()) == Bundle.parse(json.dumps(document()).encode())
    with pytest.raises(MalformedError, match="two names"):
        Bundle.parse(encode(document() | {"media_type": document()["mediaType"]}))


@pytest.mark.parametrize("data", [b"", b"\xfb\xff", b"\xfb\xff\xbf", b"a", b"ab", bytes(range(256))])
def test_proto3_json_bytes_in_either_alphabet(data: bytes) -> None:
    """Standard or URL-safe base64, padded or not."""
    for text in (base64.b64encode(data).decode(), base64.urlsafe_b64encode(data).decode()):
        assert decode_proto_base64(text, "x") == decode_proto_base64(text.rstrip("="), "x") == data


def test_a_proof_without_checkpoint_is_read() -> None:
    """The first version of the format allows it; verification refuses it."""
    for checkpoint in (None, {}, {"envelope": ""}):
        value = document()
        value[VM][TL][0][IP]["checkpoint"] = checkpoint
        assert Bundle.parse(encode(value)).entry.proof.checkpoint == ""  # type: ignore[union-attr]


OLD = "application/vnd.dev.sigstore.bundle+json;version=0.2"
CHAIN = {"certificates": [{"rawBytes": b64(b"leaf")}, {"rawBytes": b64(b"issuer")}]}


def signed_by(media_type: str, **signer: Any) -> bytes:
    value = document()
    value["mediaType"] = media_type
    del value[VM]["certificate"]
    value[VM].update(signer)
    return encode(value)


def test_each_version_has_its_own_field_for_the_signer() -> None:
    """A chain before v0.3, one certificate since; the hint at a key in all; exactly one of them."""
    new = "application/vnd.dev.sigstore.bundle+json;version=0.3"
    leaf = {"rawBytes": b64(b"leaf")}
    assert Bundle.parse(signed_by(OLD, x509CertificateChain=CHAIN)).signer == CertificateSigner(
        b"leaf", (b"issuer",)
    )
    assert Bundle.parse(signed_by(new, certificate=leaf)).signer == CertificateSigner(b"leaf")
    for media_type in (OLD, new, module.BUNDLE_MEDIA_TYPE):
        assert Bundle.parse(signed_by(media_type, publicKey={"hint": "k"})).signer == KeyHint("k")
        assert Bundle.parse(signed_by(media_type, publicKey={})).signer == KeyHint("")
    for bad in (
        signed_by(new, x509CertificateChain=CHAIN),
        signed_by(OLD, certificate=leaf),
        signed_by(OLD, x509CertificateChain={"certificates": []}),
        signed_by(new),
        signed_by(new, certificate=leaf, publicKey={}),
        signed_by(new, publicKey={"hint": "k" * 1025}),
        signed_by(new, publicKey={"hint": 5}),
    ):
        with pytest.raises(MalformedError):
            Bundle.parse(bad)
    with pytest.raises(LimitError):
        Bundle.parse(signed_by(OLD, x509CertificateChain={"certificates": [leaf] * 11}))


def test_a_version_that_is_not_known_is_refused() -> None:
    """Whatever else is right about the bundle."""
    value = document()
    value["mediaType"] = "application/vnd.dev.sigstore.bundle.v0.4+json"
    for read in (Bundle.parse, Bundle.parse_any, Unlogged.parse):
        with pytest.raises(MalformedError, match="another media type"):
            read(encode(value))


def test_an_unlogged_bundle_holds_a_certificate_or_a_chain() -> None:
    """As other tools sign models: the leaf alone, or with the certificates above it."""
    new = "application/vnd.dev.sigstore.bundle.v0.3+json"
    assert Unlogged.parse(encode(document())).signer == CertificateSigner(certificate())
    chain = {"certificates": [{"rawBytes": b64(b"leaf")}, {"rawBytes": b64(b"issuer")}]}
    found = Unlogged.parse(signed_by(new, x509CertificateChain=chain))
    assert found.signer == CertificateSigner(b"leaf", (b"issuer",))


def test_the_first_version_needs_a_promise() -> None:
    """A v0.1 bundle has its time from the log's promise, or none at all."""
    first = "application/vnd.dev.sigstore.bundle+json;version=0.1"
    with pytest.raises(MalformedError, match="promise"):
        Bundle.parse(signed_by(first, x509CertificateChain=CHAIN))
    value = json.loads(signed_by(first, x509CertificateChain=CHAIN))
    value[VM][TL][0]["inclusionPromise"] = {"signedEntryTimestamp": b64(b"set")}
    assert Bundle.parse(encode(value)).entry.promise == b"set"


def file_signed(**fields: Any) -> bytes:
    value = document()
    del value["dsseEnvelope"]
    value["messageSignature"] = {"signature": b64(b"sig")} | fields
    return encode(value)


def test_a_file_may_be_signed_instead() -> None:
    """A message signature, with or without the file's digest; it is no statement."""
    found = Bundle.parse_any(file_signed(messageDigest={"algorithm": "SHA2_384", "digest": b64(b"d")}))
    assert found.content == MessageSignature(b"sig", "sha384", b"d")
    assert Bundle.parse_any(file_signed(messageDigest=None)).content == MessageSignature(b"sig")
    for read in (Bundle.parse, lambda data: Bundle.parse_any(data).statement()):
        with pytest.raises(MalformedError, match="messageSignature"):
            read(file_signed())
    for fields in (
        {"signature": ""},
        {"signature": b64(b"s" * 1025)},
        {"signature": None},
        {"messageDigest": {"algorithm": "MD5", "digest": "AAAA"}},
        {"messageDigest": {"algorithm": "SHA2_256"}},
        {"messageDigest": 5},
    ):
        with pytest.raises(MalformedError):
            Bundle.parse_any(file_signed(**fields))
    value = json.loads(file_signed())
    del value["messageSignature"]
    with pytest.raises(MalformedError, match="one of several"):
        Bundle.parse_any(encode(value))


def test_another_payload_type_is_read_but_is_no_attestation() -> None:
    """parse_any() reads any envelope, parse() in-toto's alone."""
    value = document()
    value["dsseEnvelope"]["payloadType"] = "text/plain"
    assert Bundle.parse_any(encode(value)).envelope.payload_type == "text/plain"
    with pytest.raises(MalformedError, match="in-toto"):
        Bundle.parse(encode(value))


def test_two_log_entries_are_refused() -> None:
    """A second log entry is refused: which one counted would be a guess."""
    value = document()
    value[VM][TL] *= 2
    with pytest.raises(MalformedError, match="one log entry"):
        Bundle.parse(encode(value))


@pytest.mark.parametrize(
    "change",
    [
        (VM, TL, [{}] * 1000),
        (VM, TL, 0, IP, "hashes", [b64(bytes(32))] * 65),
        (VM, "timestampVerificationData", "rfc3161Timestamps", [{"signedTimestamp": "AAAA"}] * 33),
        (VM, "certificate", "rawBytes", b64(bytes(entry.MAX_DER_BYTES + 1))),
        (VM, TL, 0, "canonicalizedBody", b64(bytes(entry.MAX_BODY_BYTES + 1))),
        ("dsseEnvelope", "signatures", [{"sig": "AAAA"}] * 10_000),
        ("dsseEnvelope", "signatures", [{"sig": "AAAA", "keyid": "k" * 2000}]),
    ],
    ids=lambda change: str(change[-2]),
)
def test_limits(change: tuple[Any, ...]) -> None:
    """Each part of a bundle is bounded."""
    value = document()
    put(*change)(value)
    with pytest.raises(LimitError):
        Bundle.parse(encode(value))


def test_size_limit() -> None:
    """A bundle beyond the limit is refused before it is read."""
    with pytest.raises(LimitError):
        Bundle.parse(b" " * (module.MAX_BUNDLE_BYTES + 1))


def test_statement_is_parsed_strictly() -> None:
    """A signed payload that is no statement is malformed, not empty."""
    value = document()
    for payload in (b"", b"{}", b"null", b"\xff", b'{"_type":1}', b"[" * 200):
        put("dsseEnvelope", "payload", b64(payload))(value)
        with pytest.raises((MalformedError, LimitError)):
            Bundle.parse(encode(value)).statement()


def test_mangled_bytes_raise_only_our_errors() -> None:
    """Each byte changed or cut: an error of the project, or a bundle that differs where the byte was."""
    data = encode(document())
    whole = Bundle.parse(data)
    for cut in range(0, len(data), 3):
        for bad in (data[:cut], data[:cut] + data[cut + 1 :], data[:cut] + b"~" + data[cut + 1 :]):
            try:
                found = Bundle.parse(bad)
            except (MalformedError, LimitError):
                continue
            assert found.envelope.payload_type == whole.envelope.payload_type


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**60) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
PATHS = [change[:-1] for change in BAD]


@given(st.sampled_from(PATHS), JSON)
def test_any_value_anywhere_raises_only_our_errors(path: tuple[Any, ...], junk: Any) -> None:
    """Whatever stands in a field, the parser raises MalformedError or LimitError or returns a bundle."""
    value = document()
    put(*path, junk)(value)
    try:
        Bundle.parse(encode(value)).statement()
    except GitchainError as error:
        assert isinstance(error, MalformedError | LimitError)  # noqa: PT017 - it may also pass


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_cleanly(data: bytes) -> None:
    """Arbitrary bytes raise errors of the project and nothing else."""
    with pytest.raises((MalformedError, LimitError)):
        Bundle.parse(data)


def test_every_limit_holds_what_it_says() -> None:
    """The limit itself is in, one more is out: entries, timestamps, chain, hint, bytes."""
    assert module.MAX_BUNDLE_BYTES == 24 * 1024 * 1024

    def read(*change: Any) -> Bundle:
        value = document()
        put(*change)(value)
        return Bundle.parse(encode(value))

    with pytest.raises(MalformedError, match="one log entry"):
        read(VM, TL, [{}] * 32)
    with pytest.raises(LimitError):
        read(VM, TL, [{}] * 33)
    times = [{"signedTimestamp": "AAAA"}] * 33
    assert len(read(VM, "timestampVerificationData", "rfc3161Timestamps", times[:32]).timestamps) == 32
    with pytest.raises(LimitError):
        read(VM, "timestampVerificationData", "rfc3161Timestamps", times)
    links = CHAIN["certificates"][:1] * 11
    found = Bundle.parse(signed_by(OLD, x509CertificateChain={"certificates": links[:10]})).signer
    assert found == CertificateSigner(b"leaf", (b"leaf",) * 9)
    with pytest.raises(LimitError):
        Bundle.parse(signed_by(OLD, x509CertificateChain={"certificates": links}))
    hint = signed_by(module.BUNDLE_MEDIA_TYPE, publicKey={"hint": "k" * 1024})
    assert Bundle.parse(hint).signer == KeyHint("k" * 1024)


def test_a_field_of_another_version_is_refused_whatever_it_holds() -> None:
    """A certificate that also looks like a chain, or a chain like a certificate, is not read as either."""
    both = {"rawBytes": b64(b"leaf"), **CHAIN}
    for media_type, field in ((OLD, "certificate"), (module.BUNDLE_MEDIA_TYPE, "x509CertificateChain")):
        with pytest.raises(MalformedError, match="another field"):
            Bundle.parse(signed_by(media_type, **{field: both}))
