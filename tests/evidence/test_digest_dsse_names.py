"""Digest sets, the PAE, and the grammar of names."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitchain.errors import GitchainError, LimitError, MalformedError
from gitchain.evidence.digest import DigestSet, sha256_hex
from gitchain.evidence.dsse import IN_TOTO_PAYLOAD_TYPE, Envelope, pae
from gitchain.evidence.names import check_name, check_names, check_step_name, check_uri

A, B = "a" * 64, "b" * 64
L, M = "a" * 128, "b" * 128


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        ({"sha256": A}, {"sha256": A}, True),
        ({"sha256": A}, {"sha256": B}, False),
        ({"sha256": A}, {"sha512": L}, False),
        ({"sha256": A, "sha512": L}, {"sha512": L}, True),
        ({"sha256": A, "sha512": L}, {"sha256": A, "sha512": M}, False),
        ({"sha256": A, "sha512": L}, {"sha256": B, "sha512": L}, False),
        ({"md5": "0" * 32}, {"md5": "0" * 32}, False),
        ({"md5": "0" * 32, "sha256": A}, {"md5": "1" * 32, "sha256": A}, True),
        ({"gitCommit": "0" * 40}, {"gitCommit": "0" * 40}, False),
        ({"sha1": "0" * 40}, {"sha1": "0" * 40}, False),
        ({"blake3": "x"}, {"blake3": "x"}, False),
        ({}, {}, False),
        ({}, {"sha256": A}, False),
    ],
)
def test_matching(left: dict[str, str], right: dict[str, str], same: bool) -> None:
    """Equal needs one accepted algorithm in common and no accepted one that disagrees; md5 and Git never count."""
    assert DigestSet(left).matches(DigestSet(right)) is same
    assert DigestSet(right).matches(DigestSet(left)) is same


def test_digest_set_is_a_value() -> None:
    """Equal and hashable by content, in any order, and not to be changed."""
    first, second = DigestSet({"sha256": A, "md5": "0" * 32}), DigestSet({"md5": "0" * 32, "sha256": A})
    assert first == second == {"sha256": A, "md5": "0" * 32}
    assert hash(first) == hash(second)
    assert len({first, second}) == 1
    with pytest.raises(TypeError):
        first["sha256"] = B  # type: ignore[index]


@pytest.mark.parametrize(
    "digests",
    [
        {"sha256": A.upper()},
        {"sha256": A[:-1]},
        {"sha256": A + "a"},
        {"sha256": "g" * 64},
        {"sha256": ""},
        {"sha256": A + "\n"},
        {"sha256": "٠" * 64},
        {"sha384": A},
        {"sha512": A},
        {"gitCommit": "a" * 41},
        {"gitTree": "A" * 40},
        {"md5": "0" * 31},
        {"blake3": ""},
        {"blake3": "a\nb"},
        {"blake3": "x" * 2000},
        {"": "a"},
        {"a b": "a"},
        {"sha256\n": A},
    ],
    ids=repr,
)
def test_malformed_digests(digests: dict[str, str]) -> None:
    """Hex is lower-case and of its algorithm's exact length."""
    with pytest.raises(MalformedError):
        DigestSet(digests)


def test_too_many_digests() -> None:
    """A set has at most 32 digests."""
    assert len(DigestSet({f"x{n}": "a" for n in range(32)})) == 32
    with pytest.raises(LimitError):
        DigestSet({f"x{n}": "a" for n in range(33)})


def test_git_object_ids_of_both_formats() -> None:
    """SHA-1 and SHA-256 repositories are carried alike, and so is what we do not know."""
    assert (
        DigestSet({"gitCommit": "a" * 40, "gitTree": "a" * 64, "dirHash": "h1:abc="})["gitCommit"] == "a" * 40
    )


@pytest.mark.parametrize(
    ("algorithm", "lengths"),
    [
        ("sha256", {64}),
        ("sha384", {96}),
        ("sha512", {128}),
        ("gitCommit", {40, 64}),
        ("gitTree", {40, 64}),
        ("gitBlob", {40, 64}),
        ("gitTag", {40, 64}),
        ("sha1", {40}),
        ("md5", {32}),
    ],
)
def test_every_known_algorithm_has_its_lengths(algorithm: str, lengths: set[int]) -> None:
    """Hex of exactly these lengths is a digest; of any other it is malformed, and so is what is not hex."""
    for length in range(130):
        if length in lengths:
            assert DigestSet({algorithm: "a" * length})
            with pytest.raises(MalformedError):
                DigestSet({algorithm: "g" * length})
        else:
            with pytest.raises(MalformedError) as caught:
                DigestSet({algorithm: "a" * length})
            assert caught.value.where == f"digest {algorithm}"
            assert caught.value.expected == f"{' or '.join(map(str, sorted(lengths)))} lower-case hex digits"


def test_sha256_hex() -> None:
    """The hash of nothing, from FIPS 180-4's examples."""
    assert sha256_hex(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_pae_vector() -> None:
    """The vector of the DSSE protocol document."""
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_pae_counts_bytes() -> None:
    """Lengths are of UTF-8 bytes: a non-ASCII type would otherwise be ambiguous."""
    assert pae("é", "é".encode()) == b"DSSEv1 2 \xc3\xa9 2 \xc3\xa9"


@given(
    st.tuples(st.text(max_size=8), st.binary(max_size=8)),
    st.tuples(st.text(max_size=8), st.binary(max_size=8)),
)
def test_pae_is_injective(first: tuple[str, bytes], second: tuple[str, bytes]) -> None:
    """Two pairs of type and payload never have one encoding."""
    try:
        encoded = pae(*first), pae(*second)
    except UnicodeEncodeError:
        return
    assert (encoded[0] == encoded[1]) == (first == second)


def test_envelope_agrees_with_sigstore() -> None:
    """Our PAE is the one that sigstore-python signs."""
    from sigstore.dsse import _pae

    assert _pae(IN_TOTO_PAYLOAD_TYPE, b"{}") == pae(IN_TOTO_PAYLOAD_TYPE, b"{}")


def test_envelope_keeps_what_was_signed() -> None:
    """Payload and signature come out of base64 as bytes; a null key id is none."""
    value: dict[str, Any] = {
        "payloadType": "a/b",
        "payload": "e30=",
        "signatures": [{"sig": "AAAA", "keyid": None}],
    }
    assert Envelope.parse(value) == Envelope("a/b", b"{}", b"\x00\x00\x00", "")


GOOD_NAMES = [
    "a",
    "model.pkl",
    "data/x y/z",
    ".hidden",
    "...",
    "a..b/c.",
    "ünï/ço∂é",
    "git:local",
    "a@b",
    "-x",
    "x" * 1024,
]
BAD_NAMES = {
    "empty": "",
    "absolute": "/a",
    "trailing slash": "a/",
    "double slash": "a//b",
    "dot": ".",
    "dot part": "a/./b",
    "leading dot": "./a",
    "dot dot": "..",
    "climb": "a/../b",
    "backslash": "a\\b",
    "newline": "a\nb",
    "return": "a\rb",
    "nul": "a\x00b",
    "delete": "a\x7f",
    "c1 control": "a\x85b",
    "line separator": "a\u2028b",
    "paragraph separator": "a\u2029b",
    "right to left": "a\u202etxt.exe",
    "isolate": "a\u2066b",
    "nfd": unicodedata.normalize("NFD", "é"),
    "surrogate": "a\udcff",
    "too long": "x" * 1025,
    "too long in bytes": "é" * 513,
}


@pytest.mark.parametrize("name", GOOD_NAMES)
def test_good_names(name: str) -> None:
    """Normalised relative paths are names."""
    assert check_name(name) == name


@pytest.mark.parametrize("name", BAD_NAMES.values(), ids=BAD_NAMES)
def test_bad_names(name: str) -> None:
    """A path that could mean two things, or show as another, is refused."""
    with pytest.raises(MalformedError):
        check_name(name)


@given(st.text(max_size=30))
def test_names_never_climb(name: str) -> None:
    """Every accepted name is its own normal form and stays below its root."""
    import posixpath

    try:
        check_name(name)
    except MalformedError:
        return
    assert posixpath.normpath(name) == name
    assert not name.startswith(("/", "../"))
    assert name != ".."
    assert name.encode().decode() == name


@pytest.mark.parametrize(
    "names", [("a", "a"), ("a", "A"), ("straße", "STRASSE"), ("é", "É"), ("data/X", "data/x")], ids=str
)
def test_names_that_meet(names: tuple[str, ...]) -> None:
    """Equal names, and names that some file system holds equal, are refused together."""
    with pytest.raises(MalformedError):
        check_names(names)


def test_names_that_do_not_meet() -> None:
    """Different names pass, as any iterable."""
    check_names(iter(["a", "b", "a/b"]))


@pytest.mark.parametrize("name", ["train", "train@us", "sub/dvc.yaml:train", "x" * 200, "évaluer", "a b"])
def test_good_step_names(name: str) -> None:
    """DVC's addresses are step names."""
    assert check_step_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        " a",
        "a ",
        "a\nb",
        "a\tb",
        "x" * 201,
        "a\x00",
        "a\u202eb",
        "a\u00a0b",
        "\u00a0a",
        unicodedata.normalize("NFD", "é"),
    ],
)
def test_bad_step_names(name: str) -> None:
    """What does not print, or is too long, is no step name."""
    with pytest.raises(MalformedError):
        check_step_name(name)


@pytest.mark.parametrize("uri", ["https://x/y", "git:local", "git+ssh://h/p", "pkg:pypi/x@1", "urn:uuid:1"])
def test_good_uris(uri: str) -> None:
    """A lower-case scheme and a rest."""
    assert check_uri(uri) == uri


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "x",
        "x:",
        ":x",
        "HTTPS://x",
        "1x:y",
        "a b:c",
        "https://a b",
        "https://x\n",
        "é:x",
        "https://\u202ex",
    ],
)
def test_bad_uris(uri: str) -> None:
    """No scheme, a space or a control character: no uri."""
    with pytest.raises(MalformedError):
        check_uri(uri)


def test_long_uri() -> None:
    """A uri is at most 4096 bytes."""
    with pytest.raises(LimitError):
        check_uri("x:" + "y" * 4096)


@pytest.mark.parametrize("name", ["a\u00a0b", "\u0645\u200c\u0627", "\U0001f468\u200d\U0001f33e", "\u00c9X"])
def test_names_of_every_language_are_allowed(name: str) -> None:
    """Spaces that do not break, joiners, emoji: only controls and what changes the direction of text are refused."""
    assert check_name(name) == name


def test_the_error_of_a_name_says_what_is_wrong() -> None:
    """An artifact's name and a URI are called so; a name that appears twice is told from two that differ in case."""
    for names, says in (
        (["a", "a"], "^artifact name appears twice"),
        (["a", "A"], "^two artifact names differ only in case"),
    ):
        with pytest.raises(MalformedError, match=says):
            check_names(names)
    with pytest.raises(MalformedError, match=r"^artifact name is empty"):
        check_name("")
    with pytest.raises(MalformedError, match=r"^uri is not a URI"):
        check_uri("x")


@given(st.sampled_from([check_name, check_step_name, check_uri]), st.text(max_size=40))
def test_any_text_is_refused_cleanly(check: Callable[[str], str], text: str) -> None:
    """Arbitrary text is returned unchanged or raises an error of the project."""
    try:
        assert check(text) == text
    except GitchainError as error:
        assert isinstance(error, MalformedError | LimitError)  # noqa: PT017 - it may also pass


def test_payload_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A payload beyond the limit is refused, however it came."""
    monkeypatch.setattr("gitchain.evidence.dsse.MAX_JSON_BYTES", 3)
    value: dict[str, Any] = {"payloadType": "a/b", "payload": "AAAAAA==", "signatures": [{"sig": "AAAA"}]}
    with pytest.raises(LimitError, match="payload"):
        Envelope.parse(value)


def test_digest_set_shows_itself() -> None:
    """A digest set prints as what makes it."""
    assert repr(DigestSet({"md5": "0" * 32})) == f"DigestSet({{'md5': '{'0' * 32}'}})"
