"""Verify the signature of a commit or tag over its raw bytes, and return a VerifiedObject: signer, and time if logged.

| form | signer | time |
|---|---|---|
| SSH (`gitchain.verify.sshsig`) | the key's fingerprint | unknown |
| CMS of gitsign and gitchain | the certificate's identity | proven, by the signed entry timestamp or a timestamp |
| OpenPGP (`gitchain.verify.openpgp`) | the primary key's fingerprint | unknown |

A CMS signature passes every check of a bundle but B1 and B3 (`gitchain.verify.bundle`), and
 G1 its message digest is that of the signed bytes of the object
 G2 its log entry is inside and about it: the body is rebuilt from the signature, so the log's proof verifies over that.
gitsign labels entries of Rekor v2 as v1. The signed entry timestamp tells them apart: entries of v1 always have one.

Does NOT check whether the signer is allowed (`gitchain.layout`), nor bind the files of the commit.
"""

from __future__ import annotations

import hashlib

from gitchain.errors import GitchainError, SignatureError, UnknownSignerError
from gitchain.evidence.bundle import CertificateSigner
from gitchain.evidence.entry import LogEntry
from gitchain.evidence.fields import encode_base64
from gitchain.evidence.gitobject import GitObject, unarmored
from gitchain.evidence.logproto import entry_json
from gitchain.verify.certificate import check_certificate, leaf_of
from gitchain.verify.cms import parse_cms
from gitchain.verify.log_inclusion import check_logged, known_log, promised_time
from gitchain.verify.openpgp import OpenPgp, verify_openpgp
from gitchain.verify.rekor_entry import SignatureRecord, body_of
from gitchain.verify.sshsig import verify_ssh
from gitchain.verify.timestamp import proven_times
from gitchain.verify.trust import Trust
from gitchain.verify.verified import VerifiedObject

KEY_DETAILS = "PKIX_ECDSA_P256_SHA_256"
"""The only key type of CMS signatures."""


def verify_object(found: GitObject, trust: Trust, openpgp: OpenPgp | None = None) -> VerifiedObject:
    """Return the verified signature of the commit or tag. Without `openpgp`, no OpenPGP key is known.

    Raises SignatureError without a signature or if it does not verify, MalformedError or LimitError for a malformed one,
    InclusionError if its log entry does not verify, and the errors of `verify_openpgp`.
    """
    where = f"{found.kind} {found.oid[:12]}"
    try:
        return _verify(found, trust, openpgp)
    except GitchainError as error:
        error.where = f"{where}, {error.where}" if error.where else where
        raise


def _verify(found: GitObject, trust: Trust, openpgp: OpenPgp | None) -> VerifiedObject:
    signature = found.signature
    if signature is None:
        raise SignatureError("not signed", help="git commit -S   or git tag -s")
    if signature.form == "x509":
        return _verify_cms(found, unarmored(signature), trust)
    if signature.form == "ssh":
        return VerifiedObject(found, verify_ssh(signature, found.payload), None, None)
    if openpgp is None:
        raise UnknownSignerError("OpenPGP signatures are not read here", expected="SSH or CMS")
    return VerifiedObject(found, verify_openpgp(signature, found.payload, openpgp), None, None)


def _verify_cms(found: GitObject, der: bytes, trust: Trust) -> VerifiedObject:
    cms = parse_cms(der)
    if cms.message_digest != hashlib.sha256(found.payload).digest():  # G1
        raise SignatureError(
            "signature is over other content",
            expected=hashlib.sha256(found.payload).hexdigest(),
            got=cms.message_digest.hex(),
        )
    leaf = leaf_of(CertificateSigner(cms.certificate), trust)  # C3, B4
    if leaf.key.details != KEY_DETAILS:
        raise SignatureError(
            "signature is of another kind of key", expected=KEY_DETAILS, got=leaf.key.details
        )
    digest = hashlib.sha256(cms.signed).digest()
    leaf.key.verify_digest(cms.signature, digest)  # B2
    entry = _entry(cms.entry, SignatureRecord(cms.signature, digest, leaf.key, cms.certificate, None))  # G2
    log = known_log(entry, trust)  # L1
    promised = promised_time(entry, log, trust)  # L11
    times = proven_times(cms.timestamps, cms.signature, trust, promised)  # T1, T4, T5
    check_certificate(leaf, trust, times)  # C1, C2, T2, T3
    place = check_logged(entry, log, trust, times[0])  # L2 to L6, L8 to L10
    return VerifiedObject(found, leaf.identity, times[0], place, leaf.claims)


def _entry(stored: bytes | None, signed: SignatureRecord) -> LogEntry:
    """G2: return the stored entry, with the body rebuilt from the signature."""
    if stored is None:
        raise SignatureError(
            "signature holds no log entry", help="git config gitsign.rekorMode offline, and sign again"
        )
    found = entry_json(stored)
    v2 = "inclusionPromise" not in found
    kind = {"kind": "hashedrekord", "version": "0.0.2" if v2 else "0.0.1"}
    body = encode_base64(body_of(signed, v2=v2))
    return LogEntry.parse(found | {"kindVersion": kind, "canonicalizedBody": body}, "log entry")
