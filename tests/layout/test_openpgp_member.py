"""OpenPGP keys of functionaries: one public key and its whole fingerprint, of an accepted kind, and nobody else's."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jsonschema import Draft202012Validator

from gitchain.errors import LayoutError
from gitchain.evidence.vocabulary import SOURCE
from gitchain.layout import parse_layout
from gitchain.layout.identities import (
    OPENPGP_ISSUER,
    Identity,
    KeyMember,
    OpenPgpMember,
    SigstoreMember,
    SshMember,
)
from gitchain.layout.lint import lint
from gitchain.layout.openpgp import MAX_BLOCK_CHARS, read_block, signing_keys
from gitchain.layout.yaml import read_yaml
from tests.support.openpgp_signatures import Pgp, integer, packet, public_block, whole

SCHEMA = json.loads((Path(__file__).parents[2] / "schemas" / "layout.schema.json").read_text())
BLOCK = """\
-----BEGIN PGP PUBLIC KEY BLOCK-----

mDMEZZIAgBYJKwYBBAHaRw8BAQdAUU9mIyuLzH0Eb997H8azk81yjsEtQxO5y+4R
OM2Wufa0FUJvYiA8Ym9iQGV4YW1wbGUuY29tPoiQBBMWCAA4FiEEsNamVumRoBF/
FyeVgWDg9tEleYgFAmWSAIACGwMFCwkIBwIGFQoJCAsCBBYCAwECHgECF4AACgkQ
gWDg9tEleYhR5AD/VueM10zgdzs0/U0lPzQMNsIa1fnrCqQpzqkg0pF4smgA/iZg
fBdMxFQEBvHzaX9PSNelkw+QoGBgWPXXLCpnC90J
=yIpZ
-----END PGP PUBLIC KEY BLOCK-----
"""
FINGERPRINT = "B0D6A656E991A0117F1727958160E0F6D1257988"
PAT = Pgp()
SUB = Pgp(ed25519.Ed25519PrivateKey.from_private_bytes(b"s" * 32))
CI = {"issuer": "https://issuer.example.com", "subject": "ci@example.com"}


def layout(identity: dict[str, Any], *more: dict[str, Any], kind: str = SOURCE) -> dict[str, Any]:
    """A layout whose developer has this identity; `more` are those of somebody else."""
    people = {"dev": {"identities": [identity]}, "ci": {"identities": [CI, *more]}}
    matched = [["MATCH", "train.py", "WITH", "PRODUCTS", "FROM", "source"], ["DISALLOW", "*"]]
    source = {"name": "source", "functionaries": ["dev"], "predicateType": kind}
    made = [["CREATE", "model.bin"], ["DISALLOW", "*"]]
    return {
        "schema": "https://gitchain.dev/layout/v1",
        "name": "signed",
        "version": 1,
        "expires": "2026-12-01T00:00:00Z",
        "functionaries": people,
        "steps": [
            {**source, "expectedProducts": [["ALLOW", "train.py"], ["DISALLOW", "*"]]},
            {
                "name": "train",
                "functionaries": ["ci"],
                "expectedMaterials": matched,
                "expectedProducts": made,
            },
        ],
        "serve": [{"step": "train", "products": ["model.bin"]}],
    }


def load(identity: dict[str, Any], *more: dict[str, Any], kind: str = SOURCE) -> Any:
    return parse_layout(json.dumps(layout(identity, *more, kind=kind)).encode())


def entry(primary: Pgp, *subkeys: Pgp, **more: Any) -> dict[str, Any]:
    return {"openpgp": public_block(whole(primary, subkeys, **more)), "fingerprint": primary.fingerprint}


def test_gnupgs_key_is_an_identity() -> None:
    """Its fingerprint is who signs; the block is kept as gpg writes it, without comments, and reads back the same."""
    commented = BLOCK.replace("\n", "\nComment: of Bob\n", 1).replace("\n", "\r\n")
    for text in (BLOCK, BLOCK.rstrip("\n"), commented):
        given = {"openpgp": text, "fingerprint": FINGERPRINT}
        Draft202012Validator(SCHEMA).validate(layout(given))
        found = load(given)
        (one,) = found.openpgp
        assert one == OpenPgpMember(read_block(BLOCK), FINGERPRINT)
        assert one.identity == Identity(OPENPGP_ISSUER, FINGERPRINT)
        assert one.matches(one.identity, {})
        assert not one.matches(Identity(OPENPGP_ISSUER, PAT.fingerprint), {})
        assert one.to_json() == {"openpgp": BLOCK, "fingerprint": FINGERPRINT}
        assert str(one) == f"{FINGERPRINT} (gitchain:openpgp)"
        assert (one.signers, len(one.spkis)) == ({FINGERPRINT}, 1)
        assert parse_layout(found.canonical) == found
        assert found.keys == ()


def test_yaml_holds_it_as_a_person_writes_it() -> None:
    """A block of lines, and a fingerprint that is no number: quotes are not needed."""
    lines = "".join(f"  {line}\n" for line in BLOCK.splitlines())
    assert read_yaml(f"openpgp: |\n{lines}fingerprint: {FINGERPRINT}\n") == {
        "openpgp": BLOCK,
        "fingerprint": FINGERPRINT,
    }


KEYS = {
    "ed25519": PAT,
    "rsa": Pgp(rsa.generate_private_key(65537, 2048)),
    "p256": Pgp(ec.derive_private_key(7, ec.SECP256R1())),
    "p384": Pgp(ec.derive_private_key(7, ec.SECP384R1())),
    "p521": Pgp(ec.derive_private_key(7, ec.SECP521R1())),
}


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_accepted_kinds_are_those_of_other_keys(key: Pgp) -> None:
    """Each becomes the very DER that the key has elsewhere."""
    spki = key.private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert signing_keys(whole(key, hashed=10)) == ((key.fingerprint, spki),)
    taken = packet(14, bytes([4]) + bytes(4) + bytes([18]) + b"what only others encrypt to")
    assert signing_keys(whole(key, [SUB]) + taken)[0] == (key.fingerprint, spki)
    assert [name for name, _ in signing_keys(whole(key, [SUB]) + taken)] == [key.fingerprint, SUB.fingerprint]


def public(algorithm: int, numbers: bytes, tag: int = 6) -> bytes:
    return packet(tag, bytes([4]) + bytes(4) + bytes([algorithm]) + numbers)


DSA = dsa.generate_private_key(2048).public_key().public_numbers()
POINT = KEYS["p256"].body[6:]
NATIVE = PAT.body[6:]
PAIR = KEYS["rsa"].body[6:]
REFUSED = {
    "dsa": (
        public(17, b"".join(map(integer, (DSA.parameter_numbers.p, DSA.parameter_numbers.q, 2, DSA.y)))),
        "kind that is not accepted",
    ),
    "elgamal": (public(16, integer(7) * 3), "kind that is not accepted"),
    "rsa that only signs": (public(3, PAIR), "kind that is not accepted"),
    "ed25519 of version 6": (public(27, bytes(32)), "kind that is not accepted"),
    "small rsa": (Pgp(rsa.generate_private_key(65537, 1024)).body, "kind or size"),
    "even rsa": (public(1, integer(4) + integer(3)), "kind or size|not a public key"),
    "no rsa": (public(1, integer(7) + integer(1)), "not a public key"),
    "rsa and more": (public(1, PAIR + b"x"), "more than it should"),
    "half of rsa": (public(1, PAIR[:-1]), "ends early"),
    "padded rsa": (public(1, b"\x08\x08\0" + PAIR[2:]), "number of an OpenPGP packet"),
    "secp256k1": (public(19, b"\5\x2b\x81\4\0\x0a" + POINT[9:]), "kind that is not accepted"),
    "no point": (public(19, POINT[:-1] + bytes([POINT[-1] ^ 1])), "not a public key"),
    "ed25519 that is called ecdsa": (public(19, NATIVE), "kind that is not accepted"),
    "p256 that is called eddsa": (public(22, POINT), "kind that is not accepted"),
    "ed25519 on another curve": (public(22, POINT[:9] + NATIVE[10:]), "kind that is not accepted"),
    "short point": (public(22, NATIVE[:10] + b"\0\x07\x40"), "not a public key"),
    "other point": (public(22, NATIVE[:10] + b"\1\7\x50" + bytes(32)), "kind that is not accepted"),
    "no curve": (public(22, b""), "ends early"),
    "weak subkey": (whole(PAT) + packet(14, public(17, b"x")[6:]), "kind that is not accepted"),
}
REFUSED["small rsa"] = (packet(6, REFUSED["small rsa"][0]), REFUSED["small rsa"][1])


@pytest.mark.parametrize(("key", "says"), REFUSED.values(), ids=REFUSED)
def test_other_kinds_are_refused(key: bytes, says: str) -> None:
    """Weak, unknown, malformed, or a subkey that could sign and is such."""
    with pytest.raises(LayoutError, match=says) as error:
        load({"openpgp": public_block(key), "fingerprint": "0" * 40})
    assert error.value.where == "functionaries.dev.identities[0].openpgp"
    assert "export-minimal" in error.value.help


SECRET = "c2VjcmV0c2VjcmV0"
PRIVATE = f"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n{SECRET}\n-----END PGP PRIVATE KEY BLOCK-----\n"


@pytest.mark.parametrize("text", [PRIVATE, BLOCK + PRIVATE, f"\n{PRIVATE}", PRIVATE.replace("\n", "")])
def test_a_private_key_is_called_one(text: str) -> None:
    """And none of it is repeated where a log would keep it."""
    with pytest.raises(LayoutError, match="the layout contains a private key") as error:
        load({"openpgp": text, "fingerprint": FINGERPRINT})
    assert "revoke it" in error.value.help
    assert SECRET not in f"{error.value} {error.value.help} {error.value.__cause__}"


@pytest.mark.parametrize("tag", [5, 7])
def test_a_private_key_in_a_public_block_is_called_one(tag: int) -> None:
    """By its packet, whatever the block's label says."""
    key = whole(PAT) + packet(tag, PAT.body + b"\0secret") if tag == 7 else packet(5, PAT.body + b"\0secret")
    with pytest.raises(LayoutError, match="a private key instead of a public key"):
        load({"openpgp": public_block(key), "fingerprint": PAT.fingerprint})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (public_block(whole(PAT) + whole(SUB)), "not one primary key"),
        (public_block(whole(PAT)) + public_block(whole(SUB)), "not one block|long line"),
        (public_block(PAT.sign(b"x")), "not one primary key"),
        (public_block(PAT.sign(b"x")).replace("PUBLIC KEY BLOCK", "SIGNATURE"), "not one block"),
        ("x", "not one block"),
        ("0x" + FINGERPRINT, "not one block"),
        (BLOCK.replace("mDME", "mDMF"), "checksum"),
        (BLOCK.replace("mDME", "mDM\u00e9"), "not base64"),
        (BLOCK.replace("mDME", "mDM "), "not base64"),
        (BLOCK + "x", "not one block"),
        (public_block(whole(PAT) + packet(13, b"x" * MAX_BLOCK_CHARS)), "too long"),
    ],
)
def test_what_is_not_one_key_is_refused(text: str, says: str) -> None:
    """Several primary keys, several blocks, signatures, ids of keys, damaged blocks, blocks without end."""
    with pytest.raises(LayoutError, match=says) as error:
        load({"openpgp": text, "fingerprint": FINGERPRINT})
    assert error.value.where == "functionaries.dev.identities[0].openpgp"
    assert "gpg --armor" in error.value.help


@pytest.mark.parametrize(
    ("fingerprint", "says"),
    [
        (SUB.fingerprint, "another key's"),
        (PAT.fingerprint, "another key's"),
        (FINGERPRINT[-16:], "not the whole fingerprint"),
        (FINGERPRINT.lower(), "not the whole fingerprint"),
        (f"0x{FINGERPRINT}", "not the whole fingerprint"),
        (f"{FINGERPRINT}\n", "not the whole fingerprint"),
        (" ".join((FINGERPRINT[:20], FINGERPRINT[20:])), "not the whole fingerprint"),
    ],
)
def test_a_fingerprint_is_whole_and_the_primary_keys(fingerprint: str, says: str) -> None:
    """No key id, no subkey's, no other spelling."""
    with pytest.raises(LayoutError, match=says) as error:
        load({"openpgp": BLOCK, "fingerprint": fingerprint})
    assert error.value.where == "functionaries.dev.identities[0].fingerprint"


def test_both_fields_and_no_others() -> None:
    """A key without its fingerprint, one beside an SSH key, one with claims."""
    for given in (
        {"openpgp": BLOCK},
        {"fingerprint": FINGERPRINT},
        {"openpgp": BLOCK, "fingerprint": FINGERPRINT, "claims": {}},
        {"openpgp": BLOCK, "fingerprint": FINGERPRINT, "ssh": "x"},
        {"openpgp": "", "fingerprint": FINGERPRINT},
    ):
        with pytest.raises(LayoutError):
            load(given)
        assert list(Draft202012Validator(SCHEMA).iter_errors(layout(given)))


def test_a_certificate_cannot_name_an_openpgp_key() -> None:
    """Its issuer is no URL."""
    with pytest.raises(LayoutError):
        SigstoreMember(OPENPGP_ISSUER, FINGERPRINT)


def found(identity: dict[str, Any], *more: dict[str, Any], kind: str = SOURCE) -> set[str]:
    now = datetime(2026, 6, 1, tzinfo=UTC)
    return {one.code.name for one in lint(load(identity, *more, kind=kind), now) if one.severity == "error"}


def test_an_openpgp_key_signs_sources_alone() -> None:
    """As an SSH key does: lint says that it signs no attestations."""
    assert found(entry(PAT)) == set()
    assert "UNSATISFIABLE" in found(entry(PAT), kind="https://slsa.dev/provenance/v1")


def test_lint_knows_one_key_under_several_names() -> None:
    """A subkey of two primary keys, and a subkey that is an SSH key or a plain key too, is one signer."""
    spki = SUB.private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    text = SUB.private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    for other in (
        entry(KEYS["rsa"], SUB),
        entry(SUB),
        SshMember(text).to_json(),
        KeyMember(spki).to_json(),
    ):
        assert found(entry(PAT, SUB), other) == {"OVERLAP"}
        assert found(entry(PAT), other) == set()


def test_one_key_is_in_one_functionary() -> None:
    """The same fingerprint twice is refused, whatever else the blocks hold."""
    with pytest.raises(LayoutError, match="listed twice"):
        load(entry(PAT), entry(PAT, SUB))
