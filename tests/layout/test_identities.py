"""Who matches an entry of a layout: exactly the signer that it names, and nobody beside it."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from gitchain.errors import LayoutError
from gitchain.layout import keys
from gitchain.layout.identities import (
    CLAIM_NAMES,
    KEY_ISSUER,
    SSH_ISSUER,
    Functionary,
    Identity,
    KeyMember,
    SigstoreMember,
    SshMember,
    covers,
)
from gitchain.verify.identity import CLAIMS

ISSUER = "https://token.example"
WORKFLOW = "https://github.com/acme/m/.github/workflows/train.yml@refs/"


def spki(key: Any) -> bytes:
    return bytes(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def pem(key: Any) -> str:
    text: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return text.decode()


def ssh(key: Any) -> str:
    text: bytes = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return text.decode()


ED25519 = ed25519.Ed25519PrivateKey.from_private_bytes(b"\1" * 32)
P256 = ec.derive_private_key(7, ec.SECP256R1())
RSA_2048 = rsa.generate_private_key(65537, 2048)
RSA_1024 = rsa.generate_private_key(65537, 1024)


def test_claims_have_the_names_that_certificates_are_read_with() -> None:
    """A claim that a layout may name is one that a verified certificate can have."""
    assert set(CLAIMS.values()) == CLAIM_NAMES


def test_claims_are_fulcios() -> None:
    """Each by the number that Fulcio's table of extensions gives it, letter by letter."""
    assert {name: oid.dotted_string.removeprefix("1.3.6.1.4.1.57264.1.") for oid, name in CLAIMS.items()} == {
        "issuer": "8",
        "buildSignerURI": "9",
        "buildSignerDigest": "10",
        "runnerEnvironment": "11",
        "sourceRepositoryURI": "12",
        "sourceRepositoryDigest": "13",
        "sourceRepositoryRef": "14",
        "sourceRepositoryIdentifier": "15",
        "sourceRepositoryOwnerURI": "16",
        "sourceRepositoryOwnerIdentifier": "17",
        "buildConfigURI": "18",
        "buildConfigDigest": "19",
        "buildTrigger": "20",
        "runInvocationURI": "21",
        "sourceRepositoryVisibilityAtSigning": "22",
    }


PATTERNS = {
    "exact": ("tags/v1", "tags/v1", True),
    "another": ("tags/v1", "tags/v2", False),
    "any tag": ("tags/*", "tags/v1", True),
    "prefix": ("tags/v*", "tags/v1.2", True),
    "not the prefix": ("tags/v*", "tags/w1", False),
    "empty rest": ("tags/v*", "tags/v", True),
    "no slash": ("tags/v*", "tags/v1/x", False),
    "no fewer slashes": ("tags/v*/x", "tags/v1", False),
    "anchored at the end": ("tags/v*-ok", "tags/v1-ok2", False),
    "both ends": ("tags/v*-ok", "tags/v1-ok", True),
    "both ends do not overlap": ("tags/ab*ba", "tags/aba", False),
    "middle": ("tags/v*.*.*", "tags/v1.2.3", True),
    "middle is missing": ("tags/v*.*.*", "tags/v1.2", False),
    "pieces in order": ("tags/*b*a*", "tags/xab", False),
    "a piece does not reach into the end": ("tags/*ab*b", "tags/xab", False),
    "another branch kind": ("tags/*", "heads/v1", False),
}


@pytest.mark.parametrize(("pattern", "ref", "expected"), PATTERNS.values(), ids=PATTERNS)
def test_a_star_in_the_ref(pattern: str, ref: str, expected: bool) -> None:
    """`*` covers any characters of the ref but a slash, and the rest of the subject is literal."""
    member = SigstoreMember(ISSUER, WORKFLOW + pattern)
    assert member.matches(Identity(ISSUER, WORKFLOW + ref), {}) is expected
    assert member.exact is ("*" not in pattern)


@given(st.text("ab/*", max_size=12), st.text("ab/", max_size=12))
def test_patterns_agree_with_a_regular_expression(pattern: str, name: str) -> None:
    """The linear matcher says what the anchored expression says."""
    expression = re.escape(pattern).replace(r"\*", "[^/]*")
    assert covers(pattern, name) is (re.fullmatch(expression, name) is not None)


@pytest.mark.parametrize(
    "subject",
    [
        "*",
        "*@example.com",
        "https://github.com/acme/*/.github/workflows/x.yml@refs/tags/v1",
        "https://github.com/acme/m*@refs/tags/v*",
        "https://github.com/acme/m@main*",
        f"{WORKFLOW}tags/**",
        f"{WORKFLOW}tags/v?*",
        f"{WORKFLOW}tags/[v]*",
        f"{WORKFLOW}tags/\\*",
    ],
)
def test_no_pattern_leaves_its_repository(subject: str) -> None:
    """A wildcard anywhere but in the ref, and any other kind of wildcard, is refused."""
    with pytest.raises(LayoutError) as caught:
        SigstoreMember(ISSUER, subject)
    assert caught.value.where == "subject"


def test_a_question_mark_without_a_star_is_itself() -> None:
    """A subject without `*` is compared as it is."""
    member = SigstoreMember(ISSUER, "https://example.com/?a=[b]")
    assert member.matches(Identity(ISSUER, "https://example.com/?a=[b]"), {})
    assert not member.matches(Identity(ISSUER, "https://example.com/xa=b"), {})


def test_a_wildcard_of_another_kind_is_a_character_where_there_is_no_star() -> None:
    """`?` and `[` in a ref without `*` are themselves; beside a `*`, letters of any kind are good."""
    for ref in ("tags/v?", "tags/[v]", "tags/\\v"):
        assert SigstoreMember(ISSUER, WORKFLOW + ref).exact is True
    assert SigstoreMember(ISSUER, f"{WORKFLOW}tags/X*").exact is False


def test_covers_gives_a_plain_answer() -> None:
    """True or False, also where a piece stands at the very beginning or is missing."""
    assert covers("*a*", "a") is True
    assert covers("*a*b*", "ab") is True
    assert covers("*a*b*", "ba") is False


@pytest.mark.parametrize("scheme", ["https://", "http://"])
def test_an_issuer_is_a_url(scheme: str) -> None:
    """Of either scheme, as a certificate's issuer is in a test installation; nothing else."""
    assert Identity(f"{scheme}x", "ada").issuer == f"{scheme}x"
    assert SigstoreMember(f"{scheme}x", "ada").issuer == f"{scheme}x"
    for issuer in (f"x{scheme}", "ftp://x", f"x/{scheme}"):
        for make in (Identity, SigstoreMember):
            with pytest.raises(LayoutError, match="issuer is not a URL"):
                make(issuer, "ada")


@pytest.mark.parametrize("make", [Identity, SigstoreMember])
@pytest.mark.parametrize("odd", ["", " ", "a\nb", "a\x07", " a", "a ", "a" * 2049], ids=ascii)
def test_issuer_and_subject_are_printable(make: Callable[[str, str], Any], odd: str) -> None:
    """Empty, spaces around, controls and more than 2,048 characters are refused, with the field's name."""
    with pytest.raises(LayoutError) as caught:
        make(ISSUER, odd)
    assert (caught.value.where, "not printable" in caught.value.what) == ("subject", True)
    with pytest.raises(LayoutError) as caught:
        make(f"https://{odd}\n" if odd else odd, "ada")
    assert (caught.value.where, "not printable" in caught.value.what) == ("issuer", True)


def test_a_functionary_has_a_name_and_an_identity() -> None:
    """A functionary without either is refused where it is made."""
    one = SigstoreMember(ISSUER, "ada@example.com")
    for name in ("", "a\n"):
        with pytest.raises(LayoutError) as caught:
            Functionary(name, (one,))
        assert caught.value.where == "name"
    with pytest.raises(LayoutError, match="needs an identity"):
        Functionary("ada", ())


def test_issuer_and_subject_are_one() -> None:
    """The same subject of another issuer is somebody else, and case matters."""
    alice = SigstoreMember(ISSUER, "alice@example.com")
    assert alice.matches(Identity(ISSUER, "alice@example.com"), {"buildTrigger": "push"})
    assert alice.to_json() == Identity(ISSUER, "alice@example.com").to_json()
    assert not alice.matches(Identity("https://other.example", "alice@example.com"), {})
    assert not alice.matches(Identity(ISSUER, "Alice@example.com"), {})


def test_every_claim_must_be_there_and_exactly_so() -> None:
    """A claim that the certificate lacks, or says otherwise, is no match; claims beyond are not looked at."""
    claims = {"sourceRepositoryIdentifier": "123", "buildTrigger": "push"}
    ci = SigstoreMember(ISSUER, WORKFLOW + "heads/main", tuple(claims.items()))
    who = Identity(ISSUER, WORKFLOW + "heads/main")
    assert ci.matches(who, claims)
    assert ci.matches(who, {**claims, "runnerEnvironment": "github-hosted"})
    assert not ci.matches(who, {**claims, "buildTrigger": "pull_request"})
    assert not ci.matches(who, {"buildTrigger": "push"})
    assert not ci.matches(who, {})
    assert str(ci) == f"{who.subject} ({ISSUER}; buildTrigger push, sourceRepositoryIdentifier 123)"


@pytest.mark.parametrize(
    ("claims", "where"),
    [
        ((("branch", "main"),), "claims"),
        ((("buildTrigger", ""),), "claims.buildTrigger"),
        ((("buildTrigger", "a"), ("buildTrigger", "b")), "claims"),
    ],
    ids=["unknown", "empty", "twice"],
)
def test_claims_that_say_nothing_are_refused(claims: tuple[tuple[str, str], ...], where: str) -> None:
    """A misspelt claim must not be ignored."""
    with pytest.raises(LayoutError) as caught:
        SigstoreMember(ISSUER, "s", claims)
    assert caught.value.where == where


def test_claims_have_one_order() -> None:
    """Two spellings of the same claims are the same entry."""
    one, other = ("buildTrigger", "push"), ("runnerEnvironment", "github-hosted")
    assert SigstoreMember(ISSUER, "s", (one, other)) == SigstoreMember(ISSUER, "s", (other, one))


@pytest.mark.parametrize("issuer", [KEY_ISSUER, SSH_ISSUER, "token.example", "ftp://token.example"])
def test_a_certificate_cannot_name_a_key(issuer: str) -> None:
    """An entry with issuer and subject is about a URL: a key is named by itself."""
    with pytest.raises(LayoutError):
        SigstoreMember(issuer, "sha256:00")


KEYS: dict[str, Callable[[], Any]] = {
    "ed25519": lambda: ED25519,
    "p256": lambda: P256,
    "p384": lambda: ec.derive_private_key(7, ec.SECP384R1()),
    "p521": lambda: ec.derive_private_key(7, ec.SECP521R1()),
    "rsa": lambda: RSA_2048,
}


@pytest.mark.parametrize("make", KEYS.values(), ids=KEYS)
def test_a_key_is_its_own_identity(make: Callable[[], Any]) -> None:
    """PEM in, the same PEM out, and the identity is the digest of the DER that it holds."""
    key = make()
    member = KeyMember(keys.spki_of_pem(pem(key)))
    assert member == KeyMember(spki(key))
    assert member.to_json() == {"key": pem(key)}
    assert member.identity == Identity(KEY_ISSUER, f"sha256:{keys.spki_digest(spki(key))}")
    assert member.matches(member.identity, {})
    assert not member.matches(SshMember(ssh(key)).identity, {})
    assert str(member) == str(member.identity)


@pytest.mark.parametrize("make", KEYS.values(), ids=KEYS)
def test_an_ssh_key_is_its_own_identity(make: Callable[[], Any]) -> None:
    """The comment does not count, and the identity is the fingerprint that ssh-keygen prints."""
    key = make()
    member = SshMember(keys.ssh_text(f"{ssh(key)} alice@laptop with words"))
    assert member.to_json() == {"ssh": ssh(key)}
    assert member.identity.issuer == SSH_ISSUER
    assert member.identity.subject.startswith("SHA256:")
    assert member.matches(member.identity, {})
    assert not member.matches(KeyMember(spki(key)).identity, {})
    assert keys.spki_of_ssh(ssh(key)) == spki(key)
    assert str(member) == str(member.identity)


def test_the_fingerprint_is_openssh_s() -> None:
    """A known key has the fingerprint that `ssh-keygen -l` prints for it."""
    line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c"
    assert ssh(ED25519) == line
    assert keys.fingerprint(line) == FINGERPRINT


FINGERPRINT = "SHA256:fe85JkIjo8VPe+XqXJGH5Mau1EMFdK1OdKvJUFicyA8"

REFUSED: dict[str, Callable[[], Any]] = {
    "rsa 1024": lambda: RSA_1024,
    "secp256k1": lambda: ec.derive_private_key(7, ec.SECP256K1()),
    "brainpool": lambda: ec.derive_private_key(7, ec.BrainpoolP256R1()),
    "ed448": ed448.Ed448PrivateKey.generate,
    "dsa": lambda: dsa.generate_private_key(2048),
}


@pytest.mark.parametrize("make", REFUSED.values(), ids=REFUSED)
def test_weak_and_unknown_keys_are_refused(make: Callable[[], Any]) -> None:
    """Only curves and sizes that every verifier takes are accepted."""
    with pytest.raises(LayoutError) as caught:
        KeyMember(spki(make()))
    assert caught.value.where == "key"


def test_a_weak_ssh_key_is_refused() -> None:
    """The same limits hold for SSH keys."""
    with pytest.raises(LayoutError) as caught:
        SshMember(ssh(RSA_1024))
    assert caught.value.where == "ssh"


def test_sizes_of_rsa_keys() -> None:
    """2048 to 8192 bits: less is forged, more costs every verifier seconds."""
    for bits in (2048, 8192):
        assert KeyMember(spki_of(2 ** (bits - 1) + 1))
    for bits in (2047, 8193):
        with pytest.raises(LayoutError, match="kind or size"):
            KeyMember(spki_of(2 ** (bits - 1) + 1))


def spki_of(modulus: int) -> bytes:
    public = rsa.RSAPublicNumbers(65537, modulus).public_key()
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def test_a_large_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that costs every verifier seconds is refused."""
    monkeypatch.setattr(keys, "MAX_RSA_BITS", 2047)
    keys.spki_digest.cache_clear()
    with pytest.raises(LayoutError, match="kind or size"):
        KeyMember(spki(RSA_2048))
    keys.spki_digest.cache_clear()


def test_a_key_has_one_encoding() -> None:
    """A compressed point is the same key in other bytes, so it is refused."""
    point = P256.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    whole = spki(P256)
    head = whole[: -len(P256.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))]
    fixed = bytearray(head + point)
    fixed[1] = len(fixed) - 2
    fixed[fixed.rindex(0x03, 0, len(head)) + 1] = len(point) + 1
    with pytest.raises(LayoutError, match="canonical"):
        KeyMember(bytes(fixed))


BAD_PEM = {
    "empty": "",
    "garbage": "x",
    "private": pem(P256).replace("PUBLIC", "PRIVATE"),
    "two": pem(P256) * 2,
    "before": f"comment\n{pem(P256)}",
    "after": f"{pem(P256)}more",
    "base64": "-----BEGIN PUBLIC KEY-----\nabc\n-----END PUBLIC KEY-----\n",
    "long": pem(P256) + "\n" * keys.MAX_KEY_CHARS,
    "after the padding": pem(P256).replace("-----END", "AAAA\n-----END"),
}


@pytest.mark.parametrize("text", BAD_PEM.values(), ids=BAD_PEM)
def test_a_key_is_one_pem_block(text: str) -> None:
    """Nothing before, after or beside the one block."""
    with pytest.raises(LayoutError):
        keys.spki_of_pem(text)


def test_windows_line_ends_are_the_same_key() -> None:
    """A PEM file from another system holds the same key."""
    assert keys.spki_of_pem(pem(P256).replace("\n", "\r\n")) == spki(P256)


@pytest.mark.parametrize(
    "data", [b"", b"x", spki(P256)[:-1], spki(P256) + b"\0"], ids=["none", "x", "-", "+"]
)
def test_bytes_that_are_no_key_are_refused(data: bytes) -> None:
    """A damaged key is a LayoutError."""
    with pytest.raises(LayoutError):
        KeyMember(data)


BAD_SSH = {
    "empty": "",
    "one word": "ssh-ed25519",
    "not base64": "ssh-ed25519 ?",
    "wrong type": "ssh-rsa " + ssh(ED25519).split(" ")[1],
    "not ascii": "ssh-ed25519 ä",
    "trailing": ssh(ED25519) + base64.b64encode(b"xxx").decode(),
    "long": ssh(ED25519) + " " + "x" * keys.MAX_KEY_CHARS,
    "option": f"no-pty {ssh(ED25519)}",
    "sk": "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIIqI4910CfGV/VLbLTy6XXLKZwm"
    "/HZQSG/N0iAG0D29cAAAABHNzaDo=",
}


@pytest.mark.parametrize("line", BAD_SSH.values(), ids=BAD_SSH)
def test_an_ssh_key_is_type_and_base64(line: str) -> None:
    """Anything but a plain public key line is refused, when its text is read and when it becomes an identity."""
    with pytest.raises(LayoutError):
        keys.ssh_text(line)
    with pytest.raises(LayoutError):
        SshMember(line)


def test_an_ssh_key_is_read_without_its_comment() -> None:
    """Type and base64 are the key; what follows, spaces and all, is for people."""
    for comment in ("", " ada", " ada at home"):
        assert keys.ssh_text(ssh(ED25519) + comment) == ssh(ED25519)


def test_a_refused_key_shows_the_library_s_reason_on_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has no line break and at most 200 characters."""

    def fail(_: bytes) -> None:
        raise ValueError("no\n  key: " + "x" * 300)

    monkeypatch.setattr("cryptography.hazmat.primitives.serialization.load_der_public_key", fail)
    monkeypatch.setattr("cryptography.hazmat.primitives.serialization.load_ssh_public_key", fail)
    for read in (lambda: keys.spki_digest(b"no key"), lambda: keys.spki_of_ssh("no key")):
        with pytest.raises(LayoutError) as caught:
            read()
        assert caught.value.got == "no key: " + "x" * 192


def test_a_functionary_matches_by_any_identity() -> None:
    """Each identity of a functionary is enough, and they must differ."""
    alice = Functionary("alice", (SigstoreMember(ISSUER, "a@example.com"), KeyMember(spki(P256))))
    assert alice.matches(Identity(ISSUER, "a@example.com"), {})
    assert alice.matches(KeyMember(spki(P256)).identity, {})
    assert not alice.matches(KeyMember(spki(ED25519)).identity, {})
    with pytest.raises(LayoutError, match="twice"):
        Functionary("alice", (KeyMember(spki(P256)), KeyMember(spki(P256))))
