"""Trees by their exact bytes, and the one line in a signed message that binds a tree's files."""

from __future__ import annotations

import pytest

from gitchain.errors import MalformedError
from gitchain.evidence.gittree import TreeEntry, parse_tree, trailer, trailer_in

ID = b"\x01" * 20


def entry(mode: bytes, name: bytes, oid: bytes = ID) -> bytes:
    return mode + b" " + name + b"\0" + oid


def test_a_tree_is_read_as_git_writes_it() -> None:
    """Every kind of entry, with ids of either length, which may hold any byte."""
    raw = (
        entry(b"100644", b"a b")
        + entry(b"100755", b"c")
        + entry(b"40000", b"d", b"\0 " * 10)
        + entry(b"120000", b"e")
        + entry(b"160000", "ü".encode())
    )
    kinds = ["file", "program", "tree", "link", "submodule"]
    found = parse_tree(raw, 20)
    assert [one.kind for one in found] == kinds
    assert [one.name for one in found] == ["a b", "c", "d", "e", "ü"]
    assert found[2].oid == "0020" * 10
    assert parse_tree(entry(b"100644", b"x", b"\x02" * 32), 32) == [TreeEntry("file", "x", "02" * 32)]
    assert parse_tree(b"", 20) == []


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (entry(b"100664", b"x"), "malformed"),
        (entry(b"040000", b"x"), "malformed"),
        (entry(b"100644", b"x")[:-1], "malformed"),
        (b"100644 x", "malformed"),
        (entry(b"100644", b"x") + b"j", "malformed"),
        (entry(b"100644", b"x") * 2, "twice"),
        (entry(b"100644", b"x") + entry(b"40000", b"x"), "twice"),
        (entry(b"100644", b""), "impossible"),
        (entry(b"100644", b"a/b"), "impossible"),
        (entry(b"40000", b".."), "impossible"),
        (entry(b"40000", b"."), "impossible"),
        (entry(b"40000", b".git"), "impossible"),
        (entry(b"100644", b"\xff"), "not UTF-8"),
    ],
)
def test_what_git_would_not_write_is_refused(raw: bytes, says: str) -> None:
    """Unknown modes, ids cut short, names twice, names that lead elsewhere."""
    with pytest.raises(MalformedError, match=says):
        parse_tree(raw, 20)


def test_the_line_is_found_wherever_it_stands() -> None:
    """In any paragraph, with spaces around the value, as Git's trailers have them."""
    digest = "ab" * 32
    assert trailer_in(f"subject\n\n{trailer(digest)}\n".encode()) == digest
    assert trailer_in(f"{trailer(digest)}  \nSigned-off-by: A\n".encode()) == digest
    assert trailer_in(f"x\nGitchain-Manifest:sha256:{digest}".encode()) == digest
    for none in (b"", b"subject\n", b"see Gitchain-Manifest: x\n"):
        assert trailer_in(none) is None


@pytest.mark.parametrize(
    "message",
    [
        f"{trailer('a' * 64)}\n{trailer('a' * 64)}\n",
        f"{trailer('a' * 64)}\n{trailer('b' * 64)}\n",
        f"{trailer('a' * 63)}\n",
        f"{trailer('a' * 65)}\n",
        f"{trailer('A' * 64)}\n",
        f"Gitchain-Manifest: sha1:{'a' * 40}\n",
        "Gitchain-Manifest:\n",
        f"{trailer('a' * 64)} and more\n",
    ],
)
def test_a_line_that_names_no_single_manifest_is_refused(message: str) -> None:
    """Two lines, even of one value; digests of another kind or length."""
    with pytest.raises(MalformedError, match="no single manifest"):
        trailer_in(message.encode())
