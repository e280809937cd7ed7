"""A signed commit or tag as evidence: only of the commit it is over, bound by SHA-256, at a proven time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from gitchain.consume.git_evidence import GitEvidence
from gitchain.errors import GitchainError, MalformedError, SignatureError
from gitchain.evidence.claim import claim_of
from gitchain.evidence.digest import DigestSet, Sha256, sha256_hex
from gitchain.evidence.dsse import AttestationId
from gitchain.evidence.gitobject import GitObject, with_signature
from gitchain.evidence.gittree import trailer
from gitchain.evidence.manifest import FileEntry, build_manifest
from gitchain.evidence.revocation import attestation_descriptor, revocation
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.evidence.vocabulary import REVOCATION, SOURCE
from gitchain.layout import parse_layout
from gitchain.verify.bundle import verify_bundle
from gitchain.verify.gitsigned import verify_object
from gitchain.verify.gitsource import source_evidence
from gitchain.verify.revocations import Revocations
from gitchain.verify.trust import Trust
from gitchain.verify.verified import LogRef, VerifiedObject, VerifiedStatement
from tests.support.decision_input import LAYOUT, NOW, verified
from tests.support.forged_bundles import ADA, Forge, raw
from tests.support.git_signatures import Cms, armor, signed_commit, ssh_blob, sshsig, string

FILES = (FileEntry("train.py", False, 3, Sha256("a" * 64)), FileEntry("lib/a.py", True, 4, Sha256("b" * 64)))
LINE = trailer(build_manifest(FILES, 1).digest).encode()
ED = ed25519.Ed25519PrivateKey.from_private_bytes(b"k" * 32)


def payload(message: bytes = b"work\n\n" + LINE + b"\n", size: int = 40) -> bytes:
    people = b"author A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\n"
    return b"tree " + b"a" * size + b"\n" + people + message


def sign(data: bytes) -> bytes:
    signature = sshsig(
        ssh_blob(ED.public_key()), lambda one: string(b"ssh-ed25519") + string(ED.sign(one)), payload=data
    )
    return armor("SSH SIGNATURE", signature)


def ssh(trust: Trust, data: bytes | None = None) -> VerifiedObject:
    data = payload() if data is None else data
    return verify_object(signed_commit(sign(data), data), trust)


@pytest.fixture
def about(forge: Forge, trust: Trust) -> Callable[[VerifiedObject], VerifiedStatement]:
    """Returns a logged statement about an object."""

    def make(signed: VerifiedObject) -> VerifiedStatement:
        subject = [ResourceDescriptor("git:commit", DigestSet({"sha256": signed.object.sha256}))]
        statement = Statement.build(subject, "https://example.com/p/v1", {})
        return verify_bundle(raw(forge.bundle(statement.payload)), trust)

    return make


def evidence(
    signed: VerifiedObject, proofs: Any = (), commit: GitObject | None = None, files: Any = FILES
) -> VerifiedStatement:
    return source_evidence(signed, commit or signed.object, files, "source", "credit", proofs)


def test_a_logged_signature_is_evidence_by_itself(forge: Forge, trust: Trust) -> None:
    """Its own time and place in the log; the files are products, and nothing went into them."""
    signed = verify_object(Cms(forge, payload=payload()).commit(), trust)
    found = evidence(signed)
    assert (found.identity.subject, found.time, found.log) == (ADA, signed.time, signed.log)
    assert found.ids == (sha256_hex(signed.object.payload), signed.object.sha256)
    assert found.claims == signed.claims
    claim = claim_of(found.statement)
    assert (claim.step, claim.layout, claim.evidence) == ("source", "credit", "declared")
    assert claim.run == f"commit-{signed.object.oid}"
    assert claim.materials == ()
    assert {one.name: one.digest["sha256"] for one in claim.products} == {
        "train.py": "a" * 64,
        "lib/a.py": "b" * 64,
    }
    assert found.statement.predicate_type == SOURCE
    assert set(found.statement.predicate) == {"kind", "id", "commit", "tree", "gitchain_step"}


def test_an_ssh_signature_counts_from_when_the_commit_was_logged(
    trust: Trust, about: Callable[[VerifiedObject], VerifiedStatement]
) -> None:
    """The earliest of several; a statement about something else proves nothing."""
    signed = ssh(trust)
    first = about(signed)
    later = replace(first, time=first.time + timedelta(hours=1), log=LogRef("later", 9))
    other = replace(about(ssh(trust, payload(LINE))), time=datetime(2020, 1, 1, tzinfo=UTC))
    found = evidence(signed, (later, other, first))
    assert (found.time, found.log) == (first.time, first.log)
    for proofs in ((), (other,)):
        with pytest.raises(SignatureError, match="its time is not proven") as error:
            evidence(signed, proofs)
        assert signed.object.sha256 in error.value.expected
        assert "gitchain sync" in error.value.help


def test_source_evidence_counts_a_statement_about_the_commit_and_something_else(
    forge: Forge, trust: Trust
) -> None:
    """One of several subjects is enough: a statement of a whole revision names its commit among other things."""
    signed = ssh(trust)
    subject = [
        ResourceDescriptor("git:tag", DigestSet({"sha256": "e" * 64})),
        ResourceDescriptor("git:commit", DigestSet({"sha256": signed.object.sha256})),
    ]
    statement = Statement.build(subject, "https://example.com/p/v1", {})
    proof = verify_bundle(raw(forge.bundle(statement.payload)), trust)
    assert evidence(signed, (proof,)).time == proof.time


def test_half_a_proof_is_none(trust: Trust) -> None:
    """A time without a log entry, or the other way round."""
    signed = ssh(trust)
    for half in (replace(signed, time=datetime.now(UTC)), replace(signed, log=LogRef("x", 1))):
        with pytest.raises(SignatureError, match="its time is not proven"):
            evidence(half)


def test_a_sha1_alone_never_binds(trust: Trust, about: Callable[[VerifiedObject], VerifiedStatement]) -> None:
    """Without the line, with the line of other files, with two lines: refused. In SHA-256 the ids bind."""
    for message, says in (
        (b"work\n", "SHA-1 alone"),
        (trailer("c" * 64).encode(), "manifest of other files"),
        (LINE + b"\n" + LINE, "no single manifest"),
    ):
        signed = ssh(trust, payload(message))
        with pytest.raises(GitchainError, match=says):
            evidence(signed, (about(signed),))
    data = payload(b"work\n", 64)
    signed = verify_object(
        GitObject.parse("commit", "d" * 64, with_signature("commit", data, sign(data))), trust
    )
    assert evidence(signed, (about(signed),)).identity == signed.identity
    signed = ssh(trust)
    with pytest.raises(SignatureError, match="manifest of other files"):
        evidence(signed, (about(signed),), files=FILES[:1])


def test_a_tag_is_over_the_commit_that_it_names(
    trust: Trust, about: Callable[[VerifiedObject], VerifiedStatement]
) -> None:
    """The line stands in the tag's own message; another commit, or no commit at all, is refused."""
    commit = signed_commit(sign(payload()), payload())
    head = f"object {commit.oid}\ntype commit\ntag v1\ntagger A <a@b> 1 +0000\n\n".encode()
    body = head + LINE + b"\n"
    tag = GitObject.parse("tag", "c" * 40, body + sign(body))
    signed = verify_object(tag, trust)
    assert evidence(signed, (about(signed),), commit).statement.predicate["commit"] == commit.oid
    bare = verify_object(GitObject.parse("tag", "c" * 40, head + b"m\n" + sign(head + b"m\n")), trust)
    with pytest.raises(SignatureError, match="SHA-1 alone"):
        evidence(bare, (about(bare),), commit)
    other = replace(commit, oid="e" * 40)
    for wrong in (other, replace(tag, oid=commit.oid)):
        with pytest.raises(SignatureError, match="over another commit"):
            evidence(signed, (about(signed),), wrong)
    with pytest.raises(SignatureError, match="over another commit"):
        evidence(ssh(trust), (), other)


def test_a_commit_without_files_says_nothing(
    trust: Trust, about: Callable[[VerifiedObject], VerifiedStatement]
) -> None:
    """A statement needs a subject."""
    signed = ssh(trust, payload(trailer(build_manifest((), 1).digest).encode()))
    with pytest.raises(MalformedError):
        evidence(signed, (about(signed),), files=())


def test_a_bundle_never_speaks_for_git(forge: Forge, trust: Trust) -> None:
    """A functionary's signature over a statement of this type is not Git's: whatever it says, it is refused."""
    statement = Statement.build([ResourceDescriptor("train.py", DigestSet({"sha256": "a" * 64}))], SOURCE, {})
    with pytest.raises(SignatureError, match="derived from a Git signature"):
        verify_bundle(raw(forge.bundle(statement.payload)), trust)


def rearmored(armored: bytes) -> bytes:
    """The same signature in lines of another length."""
    begin, *lines, end = armored.split(b"\n")
    text = b"".join(lines)
    return b"\n".join([begin, *(text[at : at + 40] for at in range(0, len(text), 40)), end])


def revoking(ids: Sequence[str]) -> VerifiedStatement:
    predicate = revocation(
        reason="mistaken", when="2026-11-22T12:00:00Z", attestations=[AttestationId(one) for one in ids]
    )
    return verified(
        Statement.build([attestation_descriptor(AttestationId(ids[0]))], REVOCATION, predicate), "alice", NOW
    )


def test_a_commit_with_its_signature_in_another_form_stays_revoked(
    trust: Trust, about: Callable[[VerifiedObject], VerifiedStatement]
) -> None:
    """Another armour makes another Git id, and is revoked by the id of what was signed, or with the object that was named."""
    first = ssh(trust)
    again = verify_object(signed_commit(rearmored(sign(payload())), payload()), trust)
    assert first.object.oid != again.object.oid
    one, other = evidence(first, [about(first)]), evidence(again, [about(again)])
    assert one.attestation_id == other.attestation_id
    assert one.other_ids != other.other_ids
    for ids, both in (([one.attestation_id], ()), ([first.object.sha256], (one,))):
        revocation = revoking(ids)
        found = Revocations.by(lambda _: True, [revocation, *both, other], NOW)
        assert found.statement(other) is not None
    assert Revocations.by(lambda _: True, [revoking(["0" * 64]), one, other], NOW).statement(other) is None


def test_a_git_signature_from_the_future_does_not_verify(forge: Forge, trust: Trust) -> None:
    """Neither as evidence nor in the report about a revision: its proven time is ahead of the clock."""
    commit = Cms(forge, payload=payload()).commit()
    layout = parse_layout(LAYOUT.encode())
    now = datetime.now(UTC)

    def run_gpg(key: bytes, signature: bytes, payload: bytes) -> tuple[int, str]:
        raise AssertionError("no OpenPGP here")

    def asked(at: datetime) -> object:
        return GitEvidence(Path(), trust, layout, lambda _: (), run_gpg, at)._verify_once(commit)

    assert isinstance(asked(now), VerifiedObject)
    found = asked(now - timedelta(hours=1))
    assert isinstance(found, SignatureError)
    assert found.what == "signed in the future"
