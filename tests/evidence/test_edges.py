"""The edges of what is read: the limit itself is in, one more is out."""

from __future__ import annotations

import base64

import pytest

from gitchain.errors import LimitError, MalformedError
from gitchain.evidence import manifest
from gitchain.evidence.checkpoint import Checkpoint, NoteSignature, SignedCheckpoint, render
from gitchain.evidence.digest import DigestSet, Sha256
from gitchain.evidence.dsse import Envelope
from gitchain.evidence.entry import MAX_KIND_CHARS, _word, bounded
from gitchain.evidence.fields import decimal, get_array
from gitchain.evidence.merkle import EMPTY_ROOT
from gitchain.evidence.names import check_name, check_names, check_step_name, check_uri
from gitchain.evidence.openpgp import MAX_LINE, dearmored
from gitchain.evidence.predicates import VersionArtifact
from gitchain.evidence.statement import MAX_MEDIA_TYPE, ResourceDescriptor
from gitchain.evidence.store_checkpoint import StoreCheckpoint
from gitchain.evidence.tile import TileId
from gitchain.evidence.vocabulary import check_text

ROOT = bytes(range(32))
SIGNATURE = NoteSignature("log", b"\x01\x02\x03\x04", b"s")


def test_checkpoint_sizes_and_roots() -> None:
    """Sizes from 0 to 2**63 - 1; the empty log has the empty root and no other; 32 bytes."""
    assert Checkpoint("o", 2**63 - 1, ROOT).size == 2**63 - 1
    assert Checkpoint("o", 0, EMPTY_ROOT).size == 0
    assert Checkpoint("o", 1, EMPTY_ROOT).size == 1
    for size, root in ((2**63, ROOT), (-1, ROOT), (0, ROOT), (1, ROOT[:31]), (1, ROOT + b"x")):
        with pytest.raises(MalformedError):
            Checkpoint("o", size, root)


@pytest.mark.parametrize("char", ["\x00", "\x1f", chr(0xD800), chr(0xDFFF)], ids=ascii)
def test_characters_that_no_line_holds(char: str) -> None:
    """Controls and both ends of the surrogates; what is beside them is text."""
    for line in (char, f"a{char}b"):
        with pytest.raises(MalformedError):
            Checkpoint(line, 1, ROOT)
        with pytest.raises(MalformedError):
            Checkpoint("o", 1, ROOT, ("fine", line))
    assert Checkpoint("\x20\ud7ff\ue000", 1, ROOT).origin


def test_checkpoint_extensions() -> None:
    """Sixteen extension lines, made or parsed."""
    full = Checkpoint("o", 1, ROOT, ("e",) * 16)
    text = render(full, [SIGNATURE])
    assert SignedCheckpoint.parse(text).checkpoint == full
    with pytest.raises(LimitError):
        Checkpoint("o", 1, ROOT, ("e",) * 17)
    with pytest.raises(LimitError):
        SignedCheckpoint.parse(text.replace("e\n", "e\ne\n", 1))


def test_checkpoint_signatures() -> None:
    """A hundred signature lines; a name without spaces or plus; an id of 4 bytes and one byte more."""
    head = Checkpoint("o", 1, ROOT)
    assert len(SignedCheckpoint.parse(render(head, [SIGNATURE] * 100)).signatures) == 100
    with pytest.raises(LimitError):
        SignedCheckpoint.parse(render(head, [SIGNATURE] * 101))
    for name in ("", "a b", "a+b", "a\u00a0b", "\t"):
        with pytest.raises(MalformedError):
            NoteSignature(name, b"1234", b"s")
    for key_id, signature in ((b"123", b"s"), (b"12345", b"s"), (b"1234", b"")):
        with pytest.raises(MalformedError):
            NoteSignature("log", key_id, signature)
    with pytest.raises(MalformedError):
        render(head, [])


def test_checkpoint_text() -> None:
    """A million characters; three lines before the blank one; a dash before each signature."""
    line = len(render(Checkpoint("o", 1, ROOT), [SIGNATURE])) - 1
    fits = render(Checkpoint("o" * (1_000_000 - line), 1, ROOT), [SIGNATURE])
    assert len(fits) == 1_000_000
    assert SignedCheckpoint.parse(fits)
    with pytest.raises(LimitError):
        SignedCheckpoint.parse("o" + fits)
    text = render(Checkpoint("o", 1, ROOT), [SIGNATURE])
    for bad in (
        text.replace("o\n", "", 1),
        text.replace("\u2014 ", "", 1),
        text[:-1],
        text.replace("\n\n", "\n"),
    ):
        with pytest.raises(MalformedError):
            SignedCheckpoint.parse(bad)
    for bad in (
        "",
        "o\n1\n",
        text[:-1],
        text[:-1] + "x",
        text.replace("\n\n", "\n"),
        text.partition("\n\n")[0] + "\n\n",
    ):
        with pytest.raises(MalformedError, match="not a signed note"):
            SignedCheckpoint.parse(bad)
    odd = base64.b64encode(b"1234").decode()
    with pytest.raises(MalformedError):
        SignedCheckpoint.parse(text[: text.index("\u2014")] + f"\u2014 log {odd}\n")


def test_names_and_texts() -> None:
    """Names of 1,024 bytes, steps of 200 characters, URIs of 4,096 bytes, texts of 10,000 characters."""
    assert check_name("é" * 512)
    assert check_step_name("é" * 200)
    assert check_uri("x:" + "é" * 2047)
    assert check_text("x" * 10_000, "here")
    assert check_text("x", "here", limit=1)
    for check, text in ((check_name, "é" * 512 + "x"), (check_step_name, "é" * 201), (check_step_name, "")):
        with pytest.raises(MalformedError):
            check(text)
    with pytest.raises(LimitError):
        check_uri("x:" + "é" * 2047 + "y")
    with pytest.raises(MalformedError, match="is empty"):
        check_name("")
    for bad in ("x" * 10_001, ""):
        with pytest.raises((MalformedError, LimitError)):
            check_text(bad, "here")


def test_digests() -> None:
    """32 digests, each of an accepted kind of its own length, of another kind of up to 1,024 characters."""
    assert len(DigestSet({f"kind{number}": "x" for number in range(32)})) == 32
    assert DigestSet({"other": "x" * 1024})
    with pytest.raises(LimitError):
        DigestSet({f"kind{number}": "x" for number in range(33)})
    for value in ("", "x" * 1025, "é", "\n"):
        with pytest.raises(MalformedError):
            DigestSet({"other": value})
    for kind, size in (("sha256", 64), ("sha384", 96), ("sha512", 128)):
        assert DigestSet({kind: "a" * size})
        for length in (size - 1, size + 1):
            with pytest.raises(MalformedError):
                DigestSet({kind: "a" * length})


def envelope(**fields: object) -> dict[str, object]:
    signature = {"sig": base64.b64encode(b"s").decode(), "keyid": fields.pop("keyid", "")}
    return {"payload": "e30=", "payloadType": "t", "signatures": [signature], **fields}


def test_envelopes() -> None:
    """256 characters of type, 1,024 of key id, 1,024 bytes of signature; exactly one signature."""
    assert Envelope.parse(envelope(payloadType="t" * 256, keyid="k" * 1024))  # type: ignore[arg-type]
    assert Envelope.parse(envelope(signatures=[{"sig": base64.b64encode(bytes(1024)).decode()}]))  # type: ignore[arg-type]
    one = {"sig": "AAAA"}
    for bad in (
        envelope(payloadType="t" * 257),
        envelope(payloadType=""),
        envelope(payloadType="\n"),
        envelope(keyid="k" * 1025),
        envelope(signatures=[{"sig": base64.b64encode(bytes(1025)).decode()}]),
        envelope(signatures=[]),
        envelope(signatures=[one] * 2),
        envelope(signatures=[one] * 32),
    ):
        with pytest.raises((MalformedError, LimitError)):
            Envelope.parse(bad)  # type: ignore[arg-type]


def test_arrays_and_bytes() -> None:
    """A limit on items, and one on bytes."""
    assert get_array({"a": [1, 2]}, "a", "here", limit=2) == [1, 2]
    with pytest.raises(LimitError):
        get_array({"a": [1, 2, 3]}, "a", "here", limit=2)
    assert bounded(b"12", "here", limit=2) == b"12"
    assert bounded(bytes(65536), "here")
    for data, limit in ((b"123", 2), (bytes(65537), 65536)):
        with pytest.raises(LimitError):
            bounded(data, "here", limit=limit)


def test_tiles() -> None:
    """Levels 0 to 7, widths 1 to 256, indexes as far as a log can have tiles."""
    assert TileId(0, 0, 1)
    assert TileId(7, 0, 256)
    assert TileId(0, (2**63 - 1) >> 8, 256)
    for level, index, width in ((-1, 0, 1), (8, 0, 1), (0, -1, 1), (0, ((2**63 - 1) >> 8) + 1, 1), (0, 0, 0), (0, 0, 257)):  # fmt: skip
        with pytest.raises(MalformedError):
            TileId(level, index, width)


def test_a_directory_may_be_as_large_as_a_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit itself is allowed, one byte more is not."""
    entry = manifest.FileEntry("a", False, 1, Sha256("0" * 64))
    (node,) = manifest.build_manifest([entry]).nodes.values()
    monkeypatch.setattr(manifest, "MAX_NODE_BYTES", len(node))
    assert manifest.build_manifest([entry]).files == 1
    monkeypatch.setattr(manifest, "MAX_NODE_BYTES", len(node) - 1)
    with pytest.raises(LimitError):
        manifest.build_manifest([entry])


def test_a_checkpoint_says_which_of_its_names_are_wrong() -> None:
    """Names that are not sorted: of those before, or of those that it adds."""
    one, two = "1" * 64, "2" * 64
    for where, lists in (("previous", ((two, one), (one,))), ("added", ((), (two, one)))):
        with pytest.raises(MalformedError) as caught:
            StoreCheckpoint(3, "0" * 64, *lists)
        assert caught.value.where == where


def test_the_file_that_defines_an_artifact_has_a_name() -> None:
    """No path out of the repository, absolute, or with dots."""
    for name in ("../dvc.lock", "/dvc.lock", "a/../dvc.lock"):
        with pytest.raises(MalformedError):
            VersionArtifact("model.bin", name)


def test_what_has_a_limit_may_reach_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Payloads, words of a log entry, numbers, lines of a block, media types: the longest, and one more."""
    monkeypatch.setattr("gitchain.evidence.dsse.MAX_JSON_BYTES", 3)
    assert Envelope.parse(envelope(payload="YWJj")).payload == b"abc"  # type: ignore[arg-type]
    with pytest.raises(LimitError, match="payload is too large"):
        Envelope.parse(envelope(payload="YWJjZA=="))  # type: ignore[arg-type]
    assert _word({"kind": "k" * MAX_KIND_CHARS}, "kind") == "k" * MAX_KIND_CHARS
    for odd in ("", "k" * (MAX_KIND_CHARS + 1)):
        with pytest.raises(MalformedError, match="kind is malformed"):
            _word({"kind": odd}, "kind")
    assert decimal(str(2**63 - 1), "x") == 2**63 - 1
    for odd in (str(2**63), "1" + "0" * 19):
        with pytest.raises(MalformedError, match="canonical decimal"):
            decimal(odd, "x")
    head, end = b"-----BEGIN X-----\n\n", b"\n-----END X-----\n"
    assert dearmored(head + b"A" * MAX_LINE + end, "X") == bytes(57)
    with pytest.raises(MalformedError, match="long line"):
        dearmored(head + b"A" * (MAX_LINE + 4) + end, "X")
    assert ResourceDescriptor("a", media_type="m" * MAX_MEDIA_TYPE).media_type
    for odd in ("", "m" * (MAX_MEDIA_TYPE + 1)):
        with pytest.raises(MalformedError, match="media type"):
            ResourceDescriptor("a", media_type=odd)


def test_names_are_checked_one_by_one_and_together() -> None:
    """The error shows the first hundred characters of the name that is wrong, escaped."""
    check_names(["a", "b/c"])
    long = "\u00e9" * 200
    for names, where, got in (
        (["a", "../b"], "'../b'", ""),
        ([long, long], ascii(long[:100]), ""),
        (["a", "A"], "'A'", "also 'a'"),
    ):
        with pytest.raises(MalformedError) as told:
            check_names(names)
        assert (told.value.where, told.value.got) == (where, got)
