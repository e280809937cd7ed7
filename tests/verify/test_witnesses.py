"""Witness policies: the format of C2SP, line by line; quorums of operators; and the demand on real bundles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gitchain.errors import GitchainError, InclusionError, LayoutError, TrustError
from gitchain.evidence.checkpoint import Checkpoint, NoteSignature, SignedCheckpoint, render
from gitchain.evidence.cosignature import VerifierKey, cosignature, cosigned_bytes
from gitchain.evidence.digest import DigestSet
from gitchain.evidence.predicates import LAYOUT as LAYOUT_TYPE
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.instance import Instance
from gitchain.layout import Identity, parse_layout
from gitchain.verify.bundle import verify_bundle, verify_uncosigned
from gitchain.verify.layout import verify_layout
from gitchain.verify.trust import Trust
from gitchain.verify.verified import NEVER
from gitchain.verify.witnesses import MAX_NAMES, MAX_POLICY_BYTES, MAX_TIME, WitnessPolicy, cosigned_time
from tests.support.decision_input import LAYOUT
from tests.support.forged_bundles import ADA, Forge, b64, entry_of, raw

KEYS = {
    name: Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)
    for number, name in enumerate("abcdxyz", 1)
}
NOTE = Checkpoint("log.example", 5, bytes(range(32)))
TIME = 1_700_000_000


def vkey(name: str, kind: int = 4, label: str | None = None) -> str:
    return str(VerifierKey(label or f"{name}.example", kind, KEYS[name].public_key().public_bytes_raw()))


def cosign(name: str, checkpoint: Checkpoint = NOTE, time: int = TIME) -> NoteSignature:
    key = VerifierKey.parse(vkey(name))
    return cosignature(key, time, KEYS[name].sign(cosigned_bytes(checkpoint, time)))


def noted(lines: Sequence[NoteSignature], checkpoint: Checkpoint = NOTE) -> SignedCheckpoint:
    """Return the checkpoint with a log's line of its own and these."""
    log = VerifierKey.parse(vkey("x", 1, "log.example"))
    own = NoteSignature("log.example", log.key_id, KEYS["x"].sign(checkpoint.body()))
    return SignedCheckpoint.parse(render(checkpoint, (own, *lines)))


def policy(*lines: str) -> WitnessPolicy:
    return WitnessPolicy.parse("\n".join((*lines, "")).encode())


WITNESSES = tuple(f"witness {name} {vkey(name)}" for name in "abcd")
OPERATORS = (*WITNESSES, "group acme any a b", "group both 2 acme c d", "quorum both")


def reached(found: WitnessPolicy, names: str) -> bool:
    try:
        found.check(noted([cosign(name) for name in names]))
    except InclusionError:
        return False
    return True


@pytest.mark.parametrize(
    ("names", "enough"),
    [
        ("", False),
        ("a", False),
        ("ab", False),
        ("c", False),
        ("ac", True),
        ("bc", True),
        ("cd", True),
        ("abcd", True),
    ],
)
def test_operators_count_and_not_witnesses(names: str, enough: bool) -> None:
    """Two witnesses of one operator are one operator."""
    assert reached(policy(*OPERATORS), names) is enough


@pytest.mark.parametrize(
    ("threshold", "names", "enough"),
    [("any", "a", True), ("any", "", False), ("all", "abc", True), ("all", "ab", False), ("1", "b", True),
     ("2", "a", False), ("2", "bc", True), ("3", "abc", True), ("3", "ab", False)],
)  # fmt: skip
def test_thresholds(threshold: str, names: str, enough: bool) -> None:
    assert reached(policy(*WITNESSES, f"group g {threshold} a b c", "quorum g"), names) is enough


def test_a_quorum_may_be_one_witness_or_none() -> None:
    assert reached(policy(*WITNESSES, "quorum a"), "a")
    assert not reached(policy(*WITNESSES, "quorum a"), "b")
    assert reached(policy("quorum none"), "")
    assert reached(policy(*WITNESSES, "quorum none"), "")


def test_the_message_says_who_did() -> None:
    with pytest.raises(InclusionError) as told:
        policy(*OPERATORS).check(noted([cosign("b"), cosign("a")]))
    assert (told.value.expected, told.value.got) == ("the quorum both", "a, b")
    with pytest.raises(InclusionError) as told:
        policy(*OPERATORS).check(noted([]))
    assert told.value.got == "none that the policy knows"


def other_time(line: NoteSignature) -> NoteSignature:
    return replace(line, signature=(TIME + 1).to_bytes(8, "big") + line.signature[8:])


def other_byte(line: NoteSignature) -> NoteSignature:
    return replace(line, signature=line.signature[:-1] + bytes([line.signature[-1] ^ 1]))


@pytest.mark.parametrize(
    "line",
    [
        other_time(cosign("a")),
        other_byte(cosign("a")),
        replace(cosign("a"), name="b.example"),
        replace(cosign("a"), key_id=cosign("b").key_id),
        replace(cosign("a"), signature=cosign("a").signature[8:]),
        replace(cosign("b"), name="a.example", key_id=cosign("a").key_id),
        replace(cosign("a"), signature=(2**63).to_bytes(8, "big") + cosign("a").signature[8:]),
        cosign("a", replace(NOTE, size=6)),
        cosign("a", replace(NOTE, root=bytes(32))),
        cosign("a", replace(NOTE, origin="other.example")),
    ],
)
def test_what_is_no_cosignature_counts_for_nobody(line: NoteSignature) -> None:
    """Another time, byte, name, key, size, root or log: not counted, and no reason to refuse the others."""
    found = policy(*WITNESSES, "quorum a")
    with pytest.raises(InclusionError):
        found.check(noted([line]))
    found.check(noted([line, cosign("a")]))


def test_the_same_cosignature_twice_is_one() -> None:
    found = policy(*WITNESSES, "group g 2 a b", "quorum g")
    with pytest.raises(InclusionError):
        found.check(noted([cosign("a"), cosign("a", time=TIME + 5)]))


def test_logs_that_are_named_are_the_only_ones() -> None:
    """By origin and key; whose signature it really is, the trusted root says."""
    mine = f"log {vkey('x', 1, 'log.example')} https://log.example/"
    policy(mine, "quorum none").check(noted([]))
    policy(f"log {vkey('y', 1, 'other.example')}", mine, "quorum none").check(noted([]))
    policy(mine, "quorum none").check(noted([cosign("a")]))
    for other in (f"log {vkey('x', 1, 'other.example')}", f"log {vkey('y', 1, 'log.example')}"):
        with pytest.raises(InclusionError):
            policy(other, "quorum none").check(noted([]))


def test_check_takes_no_line_that_only_names_the_log_s_key() -> None:
    """Two keys of one origin are in the trusted root: the policy names one, the other one signed and names it, too."""
    named = VerifierKey.parse(vkey("y", 1, "log.example"))
    found = policy(f"log {named}", "quorum none")
    for signature in (b"-", bytes(64), KEYS["x"].sign(NOTE.body())):
        with pytest.raises(InclusionError):
            found.check(noted([NoteSignature("log.example", named.key_id, signature)]))
    true = KEYS["y"].sign(NOTE.body())
    with pytest.raises(InclusionError):
        found.check(noted([NoteSignature("other.example", named.key_id, true)]))
    found.check(noted([NoteSignature("log.example", named.key_id, true)]))


def test_check_takes_no_key_of_a_log_that_cannot_be_verified() -> None:
    """A policy may name a key of any kind; only Ed25519 notes are verified."""
    named = VerifierKey.parse(vkey("y", 5, "log.example"))
    line = NoteSignature("log.example", named.key_id, KEYS["y"].sign(NOTE.body()))
    with pytest.raises(InclusionError):
        policy(f"log {named}", "quorum none").check(noted([line]))


def test_check_of_another_log_that_a_named_log_s_key_signed_is_refused() -> None:
    """A log's key may sign for its own origin alone; the error lists the logs that the policy names."""
    log = VerifierKey.parse(vkey("x", 1, "log.example"))
    other = replace(NOTE, origin="other.example")
    lines = (NoteSignature("log.example", log.key_id, KEYS["x"].sign(other.body())),)
    found = policy(f"log {vkey('y', 1, 'first.example')}", f"log {log}", "quorum none")
    with pytest.raises(InclusionError) as told:
        found.check(SignedCheckpoint.parse(render(other, lines)))
    assert (told.value.expected, told.value.got) == ("first.example, log.example", "other.example")


def test_comments_and_spaces_are_nothing() -> None:
    found = policy(
        "# a comment",
        "",
        " \t ",
        f"  witness\ta   {vkey('a')}  https://w.example ",
        "\t# more",
        " quorum  a ",
    )
    assert reached(found, "a")


def test_names_are_octets() -> None:
    """Whatever a name encodes, it is only compared."""
    data = (
        b"witness \xff\xfe "
        + vkey("a").encode()
        + b"\ngroup \xe2\x84\xaa all \xff\xfe\nquorum \xe2\x84\xaa\n"
    )
    WitnessPolicy.parse(data).check(noted([cosign("a")]))


@pytest.mark.parametrize(
    "lines",
    [
        (),
        WITNESSES,
        ("quorum a",),
        (*WITNESSES, "quorum e"),
        ("quorum a", *WITNESSES),
        (*WITNESSES, "quorum a", "quorum a"),
        (*WITNESSES, "quorum"),
        (*WITNESSES, "quorum a b"),
        (*WITNESSES, WITNESSES[0], "quorum a"),
        (f"witness a {vkey('a')}", f"witness b {vkey('a')}", "quorum a"),
        (f"witness a {vkey('a')}", f"witness b {vkey('a', label='other')}", "quorum a"),
        (f"witness a {vkey('a', 1)}", "quorum a"),
        ("witness a nokey", "quorum none"),
        ("witness a", "quorum none"),
        (f"witness a {vkey('a')} url more", "quorum a"),
        (f"witness none {vkey('a')}", "quorum none"),
        (f"log {vkey('x', 1)}", f"log {vkey('x', 1, 'other')}", "quorum none"),
        ("log", "quorum none"),
        (f"log {vkey('x', 1)} url more", "quorum none"),
        (*WITNESSES, "group g 0 a", "quorum g"),
        (*WITNESSES, "group g 2 a", "quorum g"),
        (*WITNESSES, "group g 01 a", "quorum g"),
        (*WITNESSES, "group g -1 a", "quorum g"),
        (*WITNESSES, "group g some a", "quorum g"),
        (*WITNESSES, "group g ² a b", "quorum g"),
        (*WITNESSES, "group g any", "quorum g"),
        (*WITNESSES, "group g", "quorum a"),
        (*WITNESSES, "group g any a a", "quorum g"),
        (*WITNESSES, "group g any g", "quorum g"),
        (*WITNESSES, "group g any none", "quorum g"),
        (*WITNESSES, "group a any b", "quorum a"),
        (*WITNESSES, "group none any b", "quorum none"),
        (*WITNESSES, "group g any a", "group g any b", "quorum g"),
        (*WITNESSES, "group g any a", "group h any a", "quorum g"),
        (*WITNESSES, "group g any e", "quorum g"),
        (*WITNESSES, "quorum a\r"),
        (*WITNESSES, "quorum a\x00"),
        (*WITNESSES, "quorum a\x7f"),
        ("# a comment \x1b[2J", *WITNESSES, "quorum a"),
        ("\x0b# a comment", *WITNESSES, "quorum a"),
        (f"witness a {vkey('a')} http://a.example/\x08", "quorum a"),
        (*WITNESSES, "quorum a # no comment here"),
        (*WITNESSES, "something else", "quorum a"),
    ],
)  # fmt: skip
def test_what_is_no_policy_is_refused(lines: Sequence[str]) -> None:
    """With the line that is wrong; a policy that does not say what it means is none."""
    with pytest.raises(TrustError):
        policy(*lines)


def test_the_line_is_named() -> None:
    with pytest.raises(TrustError) as told:
        policy("# a comment", "nonsense", "quorum none")
    assert told.value.where == "witness policy, line 2"
    assert told.value.got == ascii("nonsense")


def test_parse_names_what_is_wrong_in_a_line() -> None:
    """The word that is wrong, with the names that the lines above define; else the line's first 100 characters."""
    with pytest.raises(TrustError) as told:
        policy(*WITNESSES[:2], "group g any a", "group h any g b c", "quorum h")
    assert (told.value.expected, told.value.got) == ("a, b, g", ascii("c"))
    with pytest.raises(TrustError) as told:
        policy("quorum a")
    assert (told.value.expected, told.value.got) == ("one", ascii("a"))
    with pytest.raises(TrustError) as told:
        policy("n" * 200)
    assert told.value.got == ascii("n" * 100)


def test_limits() -> None:
    """As large as the limit is read, one more is not."""
    many = [f"group g{number} any {f'g{number - 1}' if number else 'a'}" for number in range(MAX_NAMES - 4)]
    policy(*WITNESSES, *many[:-1], f"quorum g{MAX_NAMES - 6}")
    with pytest.raises(TrustError, match="too many"):
        policy(*WITNESSES, *many, "quorum a", "# beyond", f"group h any g{MAX_NAMES - 5}")
    text = b"quorum none\n#"
    WitnessPolicy.parse(text.ljust(MAX_POLICY_BYTES, b"x"))
    with pytest.raises(TrustError, match="too large"):
        WitnessPolicy.parse(text.ljust(MAX_POLICY_BYTES + 1, b"x"))


def test_a_bundle_without_the_quorum_does_not_verify(forge: Forge, trust: Trust) -> None:
    """The demand is part of the trust: with the cosignature in its checkpoint the same bundle verifies."""
    document = forge.bundle()
    demanding = replace(trust, witnesses=policy(*WITNESSES, "quorum a"))
    assert verify_bundle(raw(document), trust)
    with pytest.raises(InclusionError, match="not enough witnesses"):
        verify_bundle(raw(document), demanding)
    proof = entry_of(document)["inclusionProof"]
    note = SignedCheckpoint.parse(proof["checkpoint"]["envelope"])
    proof["checkpoint"]["envelope"] = render(
        note.checkpoint, (*note.signatures, cosign("a", note.checkpoint))
    )
    assert verify_bundle(raw(document), demanding).log.cosigned == datetime.fromtimestamp(TIME, UTC)
    assert verify_bundle(raw(document), trust).log.cosigned is None


def test_verify_uncosigned_counts_against_alone(forge: Forge, trust: Trust) -> None:
    """Without the quorum a bundle still proves who signed it; its cosignatures are ahead of every clock."""
    document = forge.bundle()
    demanding = replace(trust, witnesses=policy(*WITNESSES, "quorum a"))
    found = verify_uncosigned(raw(document), demanding)
    plain = verify_bundle(raw(document), trust)
    assert found == replace(plain, log=replace(plain.log, cosigned=NEVER))
    document["dsseEnvelope"]["signatures"][0]["sig"] = b64(b"another signature")
    with pytest.raises(GitchainError):
        verify_uncosigned(raw(document), demanding)


@pytest.mark.parametrize(
    ("lines", "times", "when"),
    [
        (("quorum a",), {"a": 5}, 5),
        (("group g 2 a b c", "quorum g"), {"a": 5, "b": 9, "c": 7}, 7),
        (("group g any a b", "group h all g c", "quorum h"), {"a": 5, "b": 3, "c": 9}, 9),
        (("group g any a b", "group h all g c", "quorum h"), {"a": 5, "b": 3, "c": 1}, 3),
    ],
)
def test_check_returns_when_the_quorum_had_cosigned(
    lines: Sequence[str], times: Mapping[str, int], when: int
) -> None:
    """A group had when the last of the members that it needs had; of two cosignatures the earlier counts."""
    signed = [cosign(name, time=TIME + time) for name, time in times.items()]
    later = [cosign(name, time=TIME + 1000) for name in times]
    found = policy(*WITNESSES, *lines).check(noted([*later, *signed]))
    assert found == datetime.fromtimestamp(TIME + when, UTC)
    assert policy(*WITNESSES, "quorum none").check(noted(signed)) is None


def test_cosigned_time_beyond_the_year_9999_is_never() -> None:
    assert cosigned_time(MAX_TIME) == datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert cosigned_time(MAX_TIME + 1) == NEVER
    found = policy(*WITNESSES, "quorum a").check(noted([cosign("a", time=2**63 - 1)]))
    assert found == NEVER


def test_a_layout_that_was_cosigned_in_the_future_is_refused(instance: Instance, trust: Trust) -> None:
    """As one that was signed in the future: a cosignature's time is compared with the verifier's clock."""
    layout, now = parse_layout(LAYOUT.encode()), datetime.now(UTC)
    subject = ResourceDescriptor(layout.name, DigestSet({"sha256": layout.digest}))
    document = Forge(instance, ADA).bundle(Statement.build([subject], LAYOUT_TYPE, layout.to_json()).payload)
    proof = entry_of(document)["inclusionProof"]
    note = SignedCheckpoint.parse(proof["checkpoint"]["envelope"])
    demanding = replace(trust, witnesses=policy(*WITNESSES, "quorum a"))

    def accepted(time: int) -> str:
        line = cosign("a", note.checkpoint, time=time)
        proof["checkpoint"]["envelope"] = render(note.checkpoint, (*note.signatures, line))
        return verify_layout(raw(document), demanding, [Identity(instance.issuer, ADA)], now, 1).layout.name

    assert accepted(int(now.timestamp())) == layout.name
    with pytest.raises(LayoutError, match="cosigned in the future") as told:
        accepted(int(now.timestamp()) + 3600)
    assert told.value.where == layout.name
