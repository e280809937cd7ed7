"""Commits and tags by their exact bytes: what Git itself writes is read, what can be read in two ways is refused."""

from __future__ import annotations

import hashlib

import pytest

from gitchain.errors import LimitError, MalformedError
from gitchain.evidence.gitobject import (
    MAX_OBJECT_BYTES,
    MAX_SIGNATURE_BYTES,
    GitObject,
    unarmored,
    with_signature,
)

TREE = b"tree " + b"a" * 40 + b"\n"
PARENT = b"parent " + b"b" * 40 + b"\n"
AUTHOR = b"author Ada <ada@example.com> 1700000000 +0000\n"
COMMITTER = b"committer Ada <ada@example.com> 1700000000 +0000\n"
TAGGER = b"tagger Ada <ada@example.com> 1700000000 +0000\n"
ARMOR = b"-----BEGIN SSH SIGNATURE-----\nAAAA\nBBBB\n-----END SSH SIGNATURE-----"
HEADER = b"gpgsig " + ARMOR.replace(b"\n", b"\n ") + b"\n"
OID = "c" * 40
START = b"object " + b"b" * 40 + b"\ntype commit\ntag v1.0\n" + TAGGER


def commit(*headers: bytes, message: bytes = b"a message\n") -> GitObject:
    raw = b"".join(headers or (TREE, PARENT, AUTHOR, COMMITTER, HEADER)) + b"\n" + message
    return GitObject.parse("commit", OID, raw)


def tag(end: bytes = ARMOR + b"\n", start: bytes = START) -> GitObject:
    return GitObject.parse("tag", OID, start + b"\na message\n" + end)


def test_a_signed_commit_is_split_into_what_was_signed_and_its_signature() -> None:
    """The payload is the object without the header and its continuation lines, byte for byte."""
    raw = TREE + PARENT + AUTHOR + COMMITTER + HEADER + b"encoding UTF-8\n\nm\r\nsg\n"
    found = GitObject.parse("commit", OID, raw)
    assert found.payload == raw.replace(HEADER, b"")
    assert found.signature is not None
    assert (found.signature.form, found.signature.armored) == ("ssh", ARMOR + b"\n")
    assert found.sha256 == hashlib.sha256(raw).hexdigest()
    assert (found.kind, found.oid, found.points_at, found.target) == ("commit", OID, "a" * 40, "tree")
    assert (found.message, found.name) == (b"m\r\nsg\n", "")


def test_an_unsigned_commit_has_no_signature_whatever_its_message_quotes() -> None:
    """Only the header signs a commit: a signature in its message is text."""
    found = commit(TREE, AUTHOR, COMMITTER, message=ARMOR + b"\n" + ARMOR)
    assert found.signature is None
    assert found.payload.endswith(ARMOR)


@pytest.mark.parametrize(
    ("label", "form"),
    [
        (b"SSH SIGNATURE", "ssh"),
        (b"SIGNED MESSAGE", "x509"),
        (b"PGP SIGNATURE", "openpgp"),
        (b"PGP MESSAGE", "openpgp"),
    ],
)
def test_the_armor_says_the_form(label: bytes, form: str) -> None:
    """As for Git itself."""
    found = tag(ARMOR.replace(b"SSH SIGNATURE", label) + b"\n").signature
    assert found is not None
    assert found.form == form


def test_a_signed_tag_is_split_at_its_signature() -> None:
    """The payload ends where the signature begins; its last line end may be missing."""
    for end in (ARMOR, ARMOR + b"\n"):
        found = tag(end)
        assert found.payload == START + b"\na message\n"
        assert found.signature is not None
        assert found.signature.armored == ARMOR + b"\n"
        assert (found.kind, found.name, found.target, found.points_at) == ("tag", "v1.0", "commit", "b" * 40)


def test_an_unsigned_tag_has_no_signature() -> None:
    """The whole object is the payload then."""
    found = tag(b"")
    assert found.signature is None
    assert found.payload == START + b"\na message\n"


def test_a_tag_may_have_a_signature_and_no_message() -> None:
    """The signature begins right after the empty line."""
    found = GitObject.parse("tag", OID, START + b"\n" + ARMOR + b"\n")
    assert found.signature is not None
    assert (found.payload, found.message) == (START + b"\n", b"")


def test_a_block_begins_once() -> None:
    """A second beginning without an end is part of no signature."""
    twice = ARMOR.replace(b"AAAA", b"-----BEGIN ANYTHING-----")
    with pytest.raises(MalformedError, match="not one block"):
        tag(twice + b"\n")


def test_unknown_headers_may_repeat_and_merge_tags_may_hold_signatures() -> None:
    """Converters write such headers, merges embed signed tags: both are part of what was signed."""
    merged = b"mergetag object " + b"b" * 40 + b"\n " + ARMOR.replace(b"\n", b"\n ") + b"\n"
    found = commit(TREE, PARENT, PARENT, AUTHOR, COMMITTER, merged, merged, b"HG:x 1\n", b"HG:x 2\n", HEADER)
    assert found.signature is not None
    assert merged in found.payload


def test_sha256_objects_are_signed_by_their_own_header() -> None:
    """The header with the object's own hash counts, the other one is over another form of it."""
    long = b"tree " + b"a" * 64 + b"\n"
    raw = long + AUTHOR + COMMITTER + HEADER.replace(b"gpgsig", b"gpgsig-sha256") + b"\n"
    assert GitObject.parse("commit", "d" * 64, raw).signature is not None
    with pytest.raises(MalformedError, match="another form"):
        GitObject.parse("commit", "d" * 64, long + AUTHOR + COMMITTER + HEADER + b"\n")
    with pytest.raises(MalformedError, match="another form"):
        commit(TREE, AUTHOR, COMMITTER, HEADER.replace(b"gpgsig", b"gpgsig-sha256"))
    with pytest.raises(MalformedError, match="object id is malformed"):
        commit(long, AUTHOR, COMMITTER)


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ((TREE, TREE, AUTHOR, COMMITTER), "twice"),
        ((TREE, AUTHOR, AUTHOR, COMMITTER), "twice"),
        ((TREE, AUTHOR, COMMITTER, COMMITTER), "twice"),
        ((TREE, AUTHOR, COMMITTER, HEADER, HEADER), "twice"),
        ((TREE, AUTHOR, COMMITTER, b"encoding a\n", b"encoding b\n"), "twice"),
        (
            (TREE, AUTHOR, COMMITTER, HEADER, HEADER.replace(b"gpgsig", b"gpgsig-sha256")),
            "several signatures",
        ),
        ((TREE, COMMITTER, AUTHOR), "out of order"),
        ((AUTHOR, TREE, COMMITTER), "out of order"),
        ((TREE, AUTHOR, PARENT, COMMITTER), "out of order"),
        ((b"x y\n", TREE, AUTHOR, COMMITTER), "out of order"),
        ((TREE, AUTHOR, COMMITTER, b"x y\n", PARENT), "out of order"),
        ((AUTHOR, COMMITTER), "missing"),
        ((TREE, COMMITTER), "missing"),
        ((TREE, AUTHOR), "missing"),
        ((b" x\n", TREE, AUTHOR, COMMITTER), "malformed"),
        ((TREE, AUTHOR, COMMITTER, b"bare\n"), "malformed"),
        ((TREE, AUTHOR, COMMITTER, b" \n"), "several lines"),
        ((TREE, AUTHOR, COMMITTER.replace(b"\n", b"\r\n")), "carriage return"),
        ((TREE, AUTHOR, COMMITTER, HEADER.replace(b"AAAA\n", b"AAAA\r\n")), "carriage return"),
        ((TREE, AUTHOR.replace(b"Ada", b"A\0a"), COMMITTER), "NUL"),
        ((TREE[:-2] + b"\n", AUTHOR, COMMITTER), "object id"),
        ((TREE.replace(b"a" * 40, b"A" * 40), AUTHOR, COMMITTER), "object id"),
        ((TREE, AUTHOR, COMMITTER, b"gpgsig junk\n"), "unknown form"),
        ((TREE, AUTHOR, COMMITTER, HEADER + b" more\n"), "one block"),
        ((TREE, AUTHOR, COMMITTER, HEADER + HEADER.replace(b"gpgsig", b"", 1)), "one block"),
        ((TREE, AUTHOR, COMMITTER, HEADER.replace(b"END SSH", b"END PGP")), "one block"),
        (
            (TREE, AUTHOR, COMMITTER, HEADER.replace(b"SIGNATURE-----\n AA", b"SIGNATURE-----x\n AA")),
            "one block",
        ),
        ((TREE, AUTHOR, COMMITTER, HEADER.replace(b"BBBB", b"-----END SSH SIGNATURE-----")), "one block"),
    ],
)
def test_a_commit_that_can_be_read_in_two_ways_is_refused(headers: tuple[bytes, ...], says: str) -> None:
    """With one error that says what and in which object."""
    with pytest.raises(MalformedError, match=says) as error:
        commit(*headers)
    assert OID[:12] in error.value.where


def test_nul_bytes_are_refused_in_messages_too() -> None:
    """Programs written in C end there."""
    with pytest.raises(MalformedError, match="NUL") as error:
        commit(message=b"good\0bad\n")
    assert error.value.got.startswith("byte ")


def test_headers_must_end() -> None:
    """An object of headers alone is none of Git's."""
    with pytest.raises(MalformedError, match="do not end"):
        GitObject.parse("commit", OID, TREE + AUTHOR + COMMITTER)


@pytest.mark.parametrize(
    ("end", "start", "says"),
    [
        (ARMOR + b"\n" + ARMOR + b"\n", START, "several signatures"),
        (ARMOR + b"\nmore\n", START, "one block"),
        (ARMOR + b"\n\n", START, "one block"),
        (ARMOR.replace(b"AAAA\n", b"AAAA\r\n"), START, "carriage return in the signature"),
        (b"", START + b"gpgsig " + ARMOR.replace(b"\n", b"\n ") + b"\n", "is in a header"),
        (b"", START + b"gpgsig-sha256 x\n", "is in a header"),
        (b"", START + TAGGER, "twice"),
        (b"", START.replace(b"tag v1.0\n", b"tag v1.0\ntag v2.0\n"), "twice"),
        (b"", START.replace(b"type commit\n", b""), "missing"),
        (b"", START.replace(b"tag v1.0\n", b""), "missing"),
        (b"", START.replace(b"object ", b"parent "), "out of order"),
        (b"", START.partition(b"\n")[2], "missing"),
        (b"", START.replace(b"type commit\ntag v1.0\n", b"tag v1.0\ntype commit\n"), "out of order"),
        (b"", START.replace(b"v1.0", b"v\xff"), "not UTF-8"),
        (b"", START.replace(b"b" * 40, b"b" * 39), "object id"),
    ],
)
def test_a_tag_that_can_be_read_in_two_ways_is_refused(end: bytes, start: bytes, says: str) -> None:
    """Git takes the last signature of a message, other readers the first."""
    with pytest.raises(MalformedError, match=says):
        tag(end, start)


def test_sizes_are_bounded() -> None:
    """The largest that is read, and one byte more."""
    room = MAX_OBJECT_BYTES - len(TREE + AUTHOR + COMMITTER) - 1
    commit(TREE, AUTHOR, COMMITTER, message=b"m" * room)
    with pytest.raises(LimitError, match="Git object is too large"):
        commit(TREE, AUTHOR, COMMITTER, message=b"m" * (room + 1))
    pad = MAX_SIGNATURE_BYTES - len(ARMOR)
    tag(ARMOR.replace(b"AAAA", b"A" * (4 + pad)))
    with pytest.raises(LimitError, match="signature is too large"):
        tag(ARMOR.replace(b"AAAA", b"A" * (5 + pad)))


def test_other_kinds_are_refused() -> None:
    """A tree or blob is never signed."""
    with pytest.raises(MalformedError, match="not a commit or an annotated tag"):
        GitObject.parse("blob", OID, b"x")


def test_a_signature_is_put_back_where_git_puts_it() -> None:
    """Commits in the header of their hash, tags at the end: what is split is whole again."""
    signed = commit(TREE, AUTHOR, COMMITTER, HEADER)
    assert GitObject.parse("commit", OID, with_signature("commit", signed.payload, ARMOR + b"\n")) == signed
    long = b"tree " + b"a" * 64 + b"\n" + AUTHOR + COMMITTER + b"\nm\n"
    assert b"\ngpgsig-sha256 -----BEGIN" in with_signature("commit", long, ARMOR)
    assert b"\ngpgsig -----BEGIN" in with_signature("commit", b"odd\n\n", ARMOR)
    assert with_signature("tag", b"object x\n\nm\n", ARMOR + b"\n") == b"object x\n\nm\n" + ARMOR + b"\n"


def test_armor_holds_lines_of_base64() -> None:
    """None empty, none long, canonical."""
    begin, end = b"-----BEGIN SSH SIGNATURE-----\n", b"\n-----END SSH SIGNATURE-----"

    def data(body: bytes) -> bytes:
        signature = tag(begin + body + end).signature
        assert signature is not None
        return unarmored(signature)

    assert data(b"QUFB\nQUE=") == b"AAAAA"
    assert data(b"QUFB" * 19) == b"A" * 57
    assert data(b"QUF\nB") == b"AAA"
    for body in (b"QUFB" * 20, b"QUFB\n\nQUFB", b"QUF", b"QUF=", b"Q:FB", b"\xff\xff\xff\xff"):
        with pytest.raises(MalformedError):
            data(body)
