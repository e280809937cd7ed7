"""Verify OpenPGP signatures of commits and tags with `gpg`, by the keys in a layout.

 P1 the block is one signature packet of version 4, and nothing else (`gitchain.evidence.openpgp`)
 P2 it is over bytes (class 0x00), by RSA, ECDSA or EdDSA, and its digest is a SHA-2 of 256 bits or more
 P3 it names one key of the layout: its primary key or a subkey
 P4 `gpg`, with that key alone, the packet and the signed bytes, reports once that the signature is good and once that it
    is valid, by that primary key, and reports nothing against it: bad, expired, revoked, unknown

So `gpg` gets only what passed P1 to P3, never the original block; and what P2 refuses, P4 refuses again. `gpg` checks the
expiry of key and signature at the given time, and knows only the revocations in the layout's key. It is run in
`gitchain.platform.gpg`.

Status lines: doc/DETAILS of GnuPG, "General status codes". Does NOT prove when anything was signed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from gitchain.errors import MalformedError, SignatureError, UnknownSignerError
from gitchain.evidence.gitobject import GitSignature
from gitchain.evidence.openpgp import VERSION, PgpSignature, parse_signature
from gitchain.layout.identities import Identity, OpenPgpMember
from gitchain.layout.openpgp import ECDSA, EDDSA, RSA

BINARY = 0x00
HASHES = {8: "SHA-256", 9: "SHA-384", 10: "SHA-512"}
ALGORITHMS = frozenset({RSA, ECDSA, EDDSA})
STATUS = "[GNUPG:] "

_AGAINST = {
    "BADSIG": "signature does not verify",
    "EXPSIG": "signature has expired",
    "EXPKEYSIG": "key that signed has expired",
    "REVKEYSIG": "key that signed is revoked",
    "NO_PUBKEY": "gpg does not take the layout's key",
    "ERRSIG": "signature cannot be checked",
    "NODATA": "signature cannot be checked",
    "UNEXPECTED": "signature cannot be checked",
    "FAILURE": "signature cannot be checked",
    "ERROR": "signature cannot be checked",
}
"""Status lines against a signature, with messages; the most specific first."""

_HELP = {
    "EXPKEYSIG": "put the key with its new end into the layout, or revoke it there",
    "NO_PUBKEY": "is it expired, or its signatures over itself weak? gpg --check-signatures FINGERPRINT",
}


class RunGpg(Protocol):
    """Runs gpg on one signature."""

    def __call__(self, key: bytes, signature: bytes, payload: bytes) -> tuple[int, str]:
        """Return exit code and status lines of `gpg --verify` with this key alone.

        Raises ProjectError without gpg, StoreError or TransportError if it does not end normally.
        """


@dataclass(frozen=True, slots=True)
class OpenPgp:
    """The OpenPGP keys of a layout, and the function that runs gpg."""

    members: Sequence[OpenPgpMember]
    run: RunGpg = field(repr=False)


def verify_openpgp(signature: GitSignature, payload: bytes, openpgp: OpenPgp) -> Identity:
    """Return the layout's key that signed the payload.

    Raises SignatureError unless the signature verifies, UnknownSignerError if none of the keys made it, MalformedError or
    LimitError for a malformed one, and the errors of `RunGpg`.
    """
    found = parse_signature(signature.armored)  # P1
    _check_form(found)  # P2
    member = _member(found, openpgp.members)  # P3
    code, status = openpgp.run(member.public_key, found.packet, payload)
    _check_status(code, status, found, member)  # P4
    return member.identity


def _check_form(found: PgpSignature) -> None:
    if found.kind != BINARY:
        raise SignatureError(
            "signature is of another class", expected="0x00, over bytes", got=f"0x{found.kind:02x}"
        )
    if found.hash_algorithm not in HASHES:
        raise SignatureError(
            "signature hashes in a weak or unknown way",
            expected=", ".join(HASHES.values()),
            got=f"algorithm {found.hash_algorithm}",
        )
    if found.key_algorithm not in ALGORITHMS:
        raise SignatureError(
            "signature is of an unknown kind of key",
            expected="RSA, ECDSA, EdDSA",
            got=f"algorithm {found.key_algorithm}",
        )


def _member(found: PgpSignature, members: Sequence[OpenPgpMember]) -> OpenPgpMember:
    """Return the one member with every key that the signature names, by fingerprint or its last 16 digits."""
    if not found.issuers:
        raise MalformedError("signature names no key")
    owners = {
        member for member in members for one in member.signers for name in found.issuers if one.endswith(name)
    }
    names = ", ".join(sorted(found.issuers))
    if not owners:
        raise UnknownSignerError(
            "signed with an OpenPGP key that the layout does not hold",
            got=names,
            help="if the signer may sign, put what `gpg --armor --export FINGERPRINT` prints into the layout as openpgp",
        )
    owner, *more = owners
    if more or not all(any(one.endswith(name) for one in owner.signers) for name in found.issuers):
        raise SignatureError("signature names keys of several owners", expected="1", got=names)
    return owner


def _check_status(code: int, status: str, found: PgpSignature, member: OpenPgpMember) -> None:
    lines = [line.removeprefix(STATUS).split(" ") for line in status.split("\n") if line.startswith(STATUS)]
    said = {word for word, *_ in lines}
    for word, what in _AGAINST.items():
        if word in said:
            raise SignatureError(what, expected="GOODSIG", got=word, help=_HELP.get(word, ""))
    counts = Counter(word for word, *_ in lines)
    valid = [rest for word, *rest in lines if word == "VALIDSIG"]
    if code or [counts[word] for word in ("NEWSIG", "GOODSIG", "VALIDSIG")] != [1, 1, 1]:
        raise SignatureError("gpg did not report a good signature", got=f"exit code {code}")
    _check_valid(valid[0], found, member)


def _check_valid(fields: Sequence[str], found: PgpSignature, member: OpenPgpMember) -> None:
    """Compare gpg's line about the valid signature with the signature: its key, its form, and the primary key."""
    form = [VERSION, found.key_algorithm, found.hash_algorithm, f"{BINARY:02x}", member.fingerprint]
    expected, got = list(map(str, form)), [*fields[4:5], *fields[6:10]]
    if member.signers.isdisjoint(fields[:1]) or got != expected:
        raise SignatureError(
            "gpg checked another signature", expected=" ".join(expected), got=" ".join(fields)[:200]
        )
