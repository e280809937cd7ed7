"""OpenPGP signatures of commits and tags: the real gpg's word, by the layout's key alone, and only one kind of yes."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from gitchain.errors import GitchainError, LimitError, MalformedError, SignatureError, UnknownSignerError
from gitchain.evidence.gitobject import GitObject
from gitchain.evidence.openpgp import SIGNATURE, armored, dearmored
from gitchain.layout.identities import OPENPGP_ISSUER, OpenPgpMember
from gitchain.layout.openpgp import read_block
from gitchain.platform.gpg import GpgVerifier
from gitchain.verify.gitsigned import verify_object
from gitchain.verify.openpgp import OpenPgp
from gitchain.verify.trust import Trust
from tests.support.git_signatures import PAYLOAD, signed_commit
from tests.support.openpgp_signatures import (
    CREATED,
    NOW,
    Pgp,
    block,
    gpg_home,
    integer,
    member,
    needs_gpg,
    packet,
    sub,
    whole,
)

PAT = Pgp()
SUB = Pgp(ed25519.Ed25519PrivateKey.from_private_bytes(b"s" * 32))
EVE = Pgp(ed25519.Ed25519PrivateKey.from_private_bytes(b"e" * 32))
RSA = Pgp(rsa.generate_private_key(65537, 2048))
GPG = GpgVerifier(Path("/nonexistent"), NOW)
KEY = member(whole(PAT, [SUB]), PAT)


def check(
    signature: bytes, trust: Trust, *members: OpenPgpMember, payload: bytes = PAYLOAD, gpg: GpgVerifier = GPG
) -> str:
    """Who signed the commit, by gpg's word; the signature is a packet, or a block already."""
    text = signature if signature.startswith(b"-----") else block(signature)
    found = verify_object(signed_commit(text, payload), trust, OpenPgp(members or (KEY,), gpg))
    assert (found.identity.issuer, found.time, found.log) == (OPENPGP_ISSUER, None, None)
    return found.identity.subject


CURVES = [Pgp(ec.derive_private_key(9, curve)) for curve in (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1())]


@needs_gpg
@pytest.mark.parametrize("hashed", [8, 9, 10])
@pytest.mark.parametrize("key", [PAT, RSA, *CURVES], ids=["ed25519", "rsa", "p256", "p384", "p521"])
def test_a_signature_says_whose_key_made_it(key: Pgp, hashed: int, trust: Trust) -> None:
    """The primary key's fingerprint, and nothing about the time."""
    signature, listed = key.sign(PAYLOAD, hashed=hashed), member(whole(key, hashed=10), key)
    if hashed < {CURVES[1]: 9, CURVES[2]: 10}.get(key, 8):  # gpg wants a digest as long as the curve
        with pytest.raises(SignatureError):
            check(signature, trust, listed)
    else:
        assert check(signature, trust, listed) == key.fingerprint


@needs_gpg
@pytest.mark.parametrize(
    ("algorithm", "subkey"), [("ed25519", None), ("rsa2048", None), ("rsa2048", "ed25519")]
)
def test_gpgs_own_keys_and_signatures_are_read(algorithm: str, subkey: str | None, trust: Trust) -> None:
    """As `gpg -bsa` makes them for Git; a subkey's signature counts for its primary key."""
    with gpg_home() as home:
        name = home.new("ada", algorithm, "cert" if subkey else "sign")
        if subkey:
            home.gpg("--quick-add-key", name, subkey, "sign", "never")
            home.gpg("--quick-add-key", name, "cv25519", "encr", "never")
        signature = home.gpg("-bsa", "-u", name, given=PAYLOAD).rstrip(b"\n")
        key = OpenPgpMember(read_block(home.public(name)), name)
    gpg = GpgVerifier(Path("/nonexistent"), datetime.now(UTC))
    assert check(signature, trust, key, gpg=gpg) == name
    with pytest.raises(SignatureError, match="does not verify"):
        check(signature, trust, key, payload=PAYLOAD.replace(b"message", b"massage"), gpg=gpg)


@needs_gpg
def test_a_tag_is_signed_at_its_end(trust: Trust) -> None:
    """The raw bytes before the block are what is signed."""
    head = f"object {'a' * 40}\ntype commit\ntag v1\ntagger A <a@b> 1 +0000\n\nmessage\n".encode()
    raw = head + block(PAT.sign(head)) + b"\n"
    tag = GitObject.parse("tag", "c" * 40, raw)
    assert verify_object(tag, trust, OpenPgp((KEY,), GPG)).identity == KEY.identity
    moved = GitObject.parse("tag", "c" * 40, raw.replace(b"tag v1", b"tag v2"))
    with pytest.raises(SignatureError, match="signature does not verify"):
        verify_object(moved, trust, OpenPgp((KEY,), GPG))


@needs_gpg
def test_content_that_was_changed_is_refused(trust: Trust) -> None:
    """A byte of the message, another tree, another commit's signature: gpg sees the raw bytes of this very object."""
    signature = PAT.sign(PAYLOAD)
    assert check(signature, trust) == PAT.fingerprint
    for old, new in ((b"message", b"massage"), (b"a" * 40, b"b" * 40), (b"\n\na", b"\n\n a")):
        with pytest.raises(SignatureError, match="signature does not verify"):
            check(signature, trust, payload=PAYLOAD.replace(old, new, 1))


@needs_gpg
def test_a_subkey_counts_for_its_primary(trust: Trust) -> None:
    """If both have signed that they belong together; one that is merely taken along is nobody's."""
    signature = SUB.sign(PAYLOAD)
    assert check(signature, trust) == PAT.fingerprint
    taken = member(whole(EVE, [SUB], back=False), EVE)
    with pytest.raises(SignatureError):
        check(signature, trust, taken)
    with pytest.raises(SignatureError, match="several owners"):
        check(signature, trust, KEY, taken)
    revoked = member(whole(PAT, [SUB], revoked_subkeys=True), PAT)
    assert check(PAT.sign(PAYLOAD), trust, revoked) == PAT.fingerprint
    with pytest.raises(SignatureError, match="key that signed is revoked"):
        check(signature, trust, revoked)


def test_a_key_that_the_layout_does_not_hold_is_told(trust: Trust) -> None:
    """No gpg is run: there is nothing to check it with. It is no signature that fails to verify."""
    for openpgp in (None, OpenPgp((), GPG), OpenPgp((KEY,), GPG)):
        with pytest.raises(UnknownSignerError) as error:
            verify_object(signed_commit(block(EVE.sign(PAYLOAD))), trust, openpgp)
        assert error.value.where.startswith("commit ")
    assert EVE.fingerprint in error.value.got
    both = block(EVE.sign(PAYLOAD, unhashed=EVE.issuers + PAT.issuers))
    with pytest.raises(UnknownSignerError) as error:
        verify_object(signed_commit(both), trust, OpenPgp((), GPG))
    named = (EVE.fingerprint, EVE.fingerprint[-16:], PAT.fingerprint, PAT.fingerprint[-16:])
    assert error.value.got == ", ".join(sorted(named))


@needs_gpg
def test_a_signature_that_names_a_listed_key_has_to_be_its(trust: Trust) -> None:
    """Who made it does not go by what it says: with another's fingerprint or key id it does not verify."""
    for unhashed in (PAT.issuers, sub(16, bytes.fromhex(PAT.fingerprint[-16:]))):
        with pytest.raises(SignatureError, match="signature does not verify"):
            check(EVE.sign(PAYLOAD, unhashed=unhashed), trust)
    for unhashed in (EVE.issuers + PAT.issuers, EVE.issuers[:23] + PAT.issuers[23:]):
        with pytest.raises(SignatureError, match="several owners") as caught:
            check(EVE.sign(PAYLOAD, unhashed=unhashed), trust)
        names = caught.value.got.split(", ")
        assert len(names) > 1
        assert names == sorted(names)
        assert all(EVE.fingerprint.endswith(name) or PAT.fingerprint.endswith(name) for name in names)
        with pytest.raises(SignatureError, match="several owners"):
            check(EVE.sign(PAYLOAD, unhashed=unhashed), trust, KEY, member(whole(EVE), EVE))


DAY = 24 * 3600


@needs_gpg
def test_expired_and_revoked_keys_are_refused(trust: Trust) -> None:
    """By the time that is told, not by this machine's; and by what stands in the layout's key."""
    lasting = member(whole(PAT, lasts=10 * DAY), PAT)
    start = datetime.fromtimestamp(CREATED, UTC)
    signature = PAT.sign(PAYLOAD)
    assert (
        check(signature, trust, lasting, gpg=GpgVerifier(Path("/x"), start + timedelta(days=9)))
        == PAT.fingerprint
    )
    with pytest.raises(SignatureError, match="key that signed has expired") as error:
        check(signature, trust, lasting, gpg=GpgVerifier(Path("/x"), start + timedelta(days=11)))
    assert "new end" in error.value.help
    with pytest.raises(SignatureError, match="key that signed is revoked"):
        check(signature, trust, member(whole(PAT, revoked=True), PAT))
    for days, ok in ((1, True), (3, False)):
        gpg = GpgVerifier(Path("/x"), start + timedelta(days=days))
        short = PAT.sign(PAYLOAD, more=sub(3, (2 * DAY).to_bytes(4)))
        if ok:
            assert check(short, trust, gpg=gpg) == PAT.fingerprint
        else:
            with pytest.raises(SignatureError, match="signature has expired"):
                check(short, trust, gpg=gpg)


@needs_gpg
def test_a_key_that_gpg_does_not_take_is_told(trust: Trust) -> None:
    """Its own signature over itself is weak, wrong, or missing: the layout holds it, and it signs nothing."""
    forged = whole(PAT).replace(b"Pat <pat@", b"Eve <pat@", 1)
    for key in (whole(PAT, hashed=2), forged, packet(6, PAT.body)):
        with pytest.raises(SignatureError, match="gpg does not take the layout's key") as error:
            check(PAT.sign(PAYLOAD), trust, member(key, PAT))
        assert "--check-signatures" in error.value.help


def test_what_is_not_one_plain_signature_is_refused_before_gpg(trust: Trust) -> None:
    """Classes, weak digests, other algorithms, several packets, other packets, other versions: each by its own words."""

    def never(key: bytes, signature: bytes, payload: bytes) -> tuple[int, str]:
        raise AssertionError

    good = PAT.sign(PAYLOAD)
    odd_algorithm = bytearray(good)
    odd_algorithm[8] = 17
    literal = packet(11, b"b\0" + bytes(4) + PAYLOAD)
    cases: list[tuple[bytes, type[GitchainError], str]] = [
        (PAT.sign(PAYLOAD, kind=1), SignatureError, "another class"),
        (PAT.sign(PAYLOAD, kind=0x10), SignatureError, "another class"),
        (PAT.sign(PAYLOAD, hashed=2), SignatureError, "weak or unknown"),
        (PAT.sign(PAYLOAD, hashed=11), SignatureError, "weak or unknown"),
        (bytes(odd_algorithm), SignatureError, "unknown kind of key"),
        (PAT.sign(PAYLOAD, version=3), MalformedError, "another version"),
        (PAT.sign(PAYLOAD, unhashed=b""), MalformedError, "names no key"),
        (good + good, MalformedError, "not one OpenPGP signature"),
        (good + EVE.sign(PAYLOAD), MalformedError, "not one OpenPGP signature"),
        (whole(PAT), MalformedError, "not one OpenPGP signature"),
        (good + literal, MalformedError, "not one OpenPGP signature"),
        (packet(4, bytes(13)) + literal + good, MalformedError, "not one OpenPGP signature"),
        (packet(8, b"\0" + good), MalformedError, "not one OpenPGP signature"),
        (good + b"\0", MalformedError, "definite length"),
        (good[:-1], MalformedError, "ends early"),
        (block(good, "PGP MESSAGE"), MalformedError, "not one block"),
        (b"\xc2\x00" * 1001, LimitError, "too many"),
    ]
    for signature, kind, says in cases:
        text = signature if signature.startswith(b"-----") else block(signature)
        with pytest.raises(kind, match=says):
            verify_object(signed_commit(text), trust, OpenPgp((KEY,), never))


@needs_gpg
@pytest.mark.parametrize("name", ["MD5", "RIPEMD160"])
def test_gpgs_own_weak_digests_are_refused(name: str, trust: Trust) -> None:
    """Where gpg still makes such signatures at all."""
    with gpg_home() as home:
        key = home.new("ada", "rsa2048")
        made = home.gpg("--digest-algo", "RIPEMD160", "-bsa", "-u", key, given=PAYLOAD).rstrip(b"\n")
        public = OpenPgpMember(read_block(home.public(key)), key)
    if name == "MD5":
        data = bytearray(dearmored(made + b"\n", SIGNATURE))
        data[data.index(b"\x04\x00\x01\x03") + 3] = 1
        made = block(bytes(data))
    with pytest.raises(SignatureError, match="weak or unknown"):
        check(made, trust, public)


@dataclass(frozen=True)
class Said:
    """Stands where gpg does, and says this."""

    status: str
    code: int = 0

    def __call__(self, key: bytes, signature: bytes, payload: bytes) -> tuple[int, str]:
        return self.code, self.status


GOOD = f"[GNUPG:] NEWSIG\n[GNUPG:] GOODSIG {PAT.fingerprint[-16:]} Pat\n"
VALID = f"[GNUPG:] VALIDSIG {PAT.fingerprint} 2023-11-14 1700000060 0 4 0 22 8 00 {PAT.fingerprint}\n"


@pytest.mark.parametrize(
    ("status", "code", "says"),
    [
        (GOOD + VALID, 0, ""),
        (GOOD + VALID.replace("\n", " a-field-of-a-newer-gpg\n"), 0, ""),
        (
            GOOD + VALID.replace(f"{PAT.fingerprint} ", f"{EVE.fingerprint} {PAT.fingerprint} ", 1),
            0,
            "another",
        ),
        (
            GOOD + VALID.replace(f"{PAT.fingerprint} 2023-11-14", f"{EVE.fingerprint} {PAT.fingerprint}", 1),
            0,
            "another",
        ),
        (GOOD + VALID, 1, "did not report a good signature"),
        ("", 0, "did not report a good signature"),
        (GOOD, 0, "did not report a good signature"),
        ("[GNUPG:] NEWSIG\n" + VALID, 0, "did not report a good signature"),
        (GOOD + VALID + VALID, 0, "did not report a good signature"),
        (GOOD + GOOD + VALID, 0, "did not report a good signature"),
        (GOOD.replace("[GNUPG:] ", "gpg: ") + VALID, 0, "did not report a good signature"),
        (GOOD.replace("[GNUPG:] ", "") + VALID, 0, "did not report a good signature"),
        (GOOD + VALID + "[GNUPG:] BADSIG x\n", 0, "^signature does not verify"),
        (GOOD + VALID + "[GNUPG:] ERRSIG x 1 8 00 1 4\n", 0, "^signature cannot be checked"),
        (GOOD + VALID + "[GNUPG:] EXPSIG x\n", 0, "^signature has expired"),
        (GOOD + VALID + "[GNUPG:] EXPKEYSIG x\n", 0, "^key that signed has expired"),
        (GOOD + VALID + "[GNUPG:] REVKEYSIG x\n", 0, "^key that signed is revoked"),
        (GOOD + VALID + "[GNUPG:] NO_PUBKEY x\n", 0, "does not take the layout's key"),
        (GOOD + VALID + "[GNUPG:] NODATA 4\n", 0, "^signature cannot be checked"),
        (GOOD + VALID + "[GNUPG:] UNEXPECTED 0\n", 0, "^signature cannot be checked"),
        (GOOD + VALID + "[GNUPG:] ERROR verify 1\n", 0, "^signature cannot be checked"),
        (GOOD + VALID + "[GNUPG:] FAILURE gpg-exit 33554433\n", 0, "^signature cannot be checked"),
        (GOOD + "[GNUPG:] VALIDSIG\n", 0, "checked another signature"),
        (GOOD + VALID.replace(" 8 00 ", " 2 00 "), 0, "checked another signature"),
        (GOOD + VALID.replace(" 8 00 ", " 8 01 "), 0, "checked another signature"),
        (GOOD + VALID.replace(" 4 0 22", " 3 0 22"), 0, "checked another signature"),
        (GOOD + VALID.replace(" 0 22 8", " 0 1 8"), 0, "checked another signature"),
        (GOOD + VALID.replace(PAT.fingerprint, EVE.fingerprint), 0, "checked another signature"),
        (GOOD + VALID.replace(PAT.fingerprint, EVE.fingerprint, 1), 0, "checked another signature"),
        (GOOD + f" {EVE.fingerprint}".join(VALID.rsplit(f" {PAT.fingerprint}", 1)), 0, "another signature"),
    ],
)
def test_only_one_answer_is_a_yes(status: str, code: int, says: str, trust: Trust) -> None:
    """Good once, valid once, of this form by this key, exit code 0, and nothing against it."""
    commit = signed_commit(block(PAT.sign(PAYLOAD)))
    openpgp = OpenPgp((KEY,), Said(status, code))
    if not says:
        assert verify_object(commit, trust, openpgp).identity == KEY.identity
        return
    with pytest.raises(SignatureError, match=says):
        verify_object(commit, trust, openpgp)


@needs_gpg
def test_every_byte_of_a_signature_counts(trust: Trust) -> None:
    """Each byte changed, each end cut off: refused, with one of this project's errors and no other."""
    good = PAT.sign(PAYLOAD, unhashed=sub(33, b"\x04" + bytes.fromhex(PAT.fingerprint)))
    changed = [good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :] for at in range(len(good))]
    cut = [good[:at] for at in range(1, len(good))]
    for one in (*changed, *cut):
        with pytest.raises(GitchainError) as error:
            check(one, trust)
        assert isinstance(error.value, (MalformedError, SignatureError))


@needs_gpg
def test_nothing_is_left_behind(trust: Trust, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file in the temporary directory, none in the user's keyring, and no agent."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("GNUPGHOME", str(tmp_path / "none"))
    assert check(PAT.sign(PAYLOAD), trust) == PAT.fingerprint
    assert list(tmp_path.iterdir()) == [tmp_path / "home"]
    named = [one.read_bytes() for one in Path("/proc").glob("[0-9]*/cmdline") if one.parent.exists()]
    assert not [one for one in named if str(tmp_path).encode() in one and b"gpg" in one]


@needs_gpg
def test_hostile_notations_are_no_status_lines(trust: Trust) -> None:
    """What a signature says of itself reaches the answer escaped: no line of it is gpg's own."""
    text = f"x\n[GNUPG:] GOODSIG {EVE.fingerprint}\n{VALID}".encode()
    note = sub(
        20,
        b"\x80\0\0\0" + len(b"n@example.com").to_bytes(2) + len(text).to_bytes(2) + b"n@example.com" + text,
    )
    policy = sub(26, text)
    user = whole(PAT, user=b"Pat\n[GNUPG:] VALIDSIG x\n")
    assert check(PAT.sign(PAYLOAD, more=note + policy), trust, member(user, PAT)) == PAT.fingerprint
    with pytest.raises(SignatureError, match="signature does not verify"):
        check(EVE.sign(PAYLOAD, more=note + policy, unhashed=PAT.issuers), trust, member(user, PAT))


def test_blocks_have_one_form(trust: Trust) -> None:
    """What stands in the commit is one block of base64 with a right checksum, whatever gpg would make of it."""
    good = block(PAT.sign(PAYLOAD))
    begin, blank, first, *rest = good.split(b"\n")
    for lines in (
        [begin, first, *rest],
        [begin, b"Comment", blank, first, *rest],
        [begin, *[b"Comment: x"] * 9, blank, first, *rest],
        [begin, blank, blank, first, *rest],
        [begin, blank, first + b" ", *rest],
        [begin, blank, first[:-1] + b"?", *rest],
        [begin, blank, first, *rest[:-2], b"=AAAA", rest[-1]],
        [begin, blank, rest[-1]],
        [begin, blank, first + rest[0], *rest[1:]],
        [begin, blank, rest[-2], rest[-1]],
    ):
        with pytest.raises(MalformedError):
            check(b"\n".join(lines), trust)
    with pytest.raises(LimitError, match="signature is too large"):
        check(block(packet(2, bytes(64 * 1024))), trust)
    for header in (b"gpgsig", b"gpgsig-sha256"):
        raw = PAYLOAD.replace(
            b"\n\n", b"\ngpgsig " + good.replace(b"\n", b"\n ") + b"\n" + header + b" x\n\n", 1
        )
        with pytest.raises(MalformedError):
            GitObject.parse("commit", "c" * 40, raw)


@needs_gpg
def test_headers_and_checksums_are_optional(trust: Trust) -> None:
    """Old programs write Version and Comment, new ones no checksum."""
    begin, blank, *rest = block(PAT.sign(PAYLOAD)).split(b"\n")
    for lines in (
        [begin, b"Version: GnuPG v1", b"Comment: any", blank, *rest],
        [begin, blank, *rest[:-2], rest[-1]],
    ):
        assert check(b"\n".join(lines), trust) == PAT.fingerprint
    assert armored(PAT.sign(PAYLOAD), SIGNATURE).encode() == b"\n".join([begin, blank, *rest, b""])
    assert integer(1) == b"\0\1\1"
