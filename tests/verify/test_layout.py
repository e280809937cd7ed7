"""Signed layouts: who may sign, when it is too late, and what is rolled back. Each failure is exit code 5."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gitchain.errors import ExitCode, LayoutError
from gitchain.evidence.digest import DigestSet
from gitchain.evidence.predicates import LAYOUT as LAYOUT_TYPE
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.instance import Instance
from gitchain.layout import Identity, parse_layout
from gitchain.layout.identities import KEY_ISSUER
from gitchain.verify.layout import SignedLayout, pin_command, verify_layout
from gitchain.verify.trust import Trust
from tests.support.decision_input import LAYOUT
from tests.support.forged_bundles import ADA, Forge, raw

HONEST = parse_layout(LAYOUT.encode())


def signed(
    instance: Instance,
    predicate: dict[str, Any] | None = None,
    *,
    who: str = ADA,
    kind: str = LAYOUT_TYPE,
    name: str = HONEST.name,
    digest: str = HONEST.digest,
) -> bytes:
    subject = ResourceDescriptor(name, DigestSet({"sha256": digest}))
    statement = Statement.build([subject], kind, HONEST.to_json() if predicate is None else predicate)
    return raw(Forge(instance, who).bundle(statement.payload))


def accepted(instance: Instance, trust: Trust, bundle: bytes, **changed: Any) -> SignedLayout:
    arguments = {
        "signers": [Identity(instance.issuer, ADA)],
        "now": datetime.now(UTC),
        "minimum_version": 1,
        **changed,
    }
    return verify_layout(bundle, trust, **arguments)


def test_a_layout_of_its_owner_is_accepted(instance: Instance, trust: Trust) -> None:
    """The layout comes from the signed predicate, with signer, digest, version and time."""
    found = accepted(instance, trust, signed(instance))
    assert (found.layout, found.digest, found.version) == (HONEST, HONEST.digest, 1)
    assert found.signer == Identity(instance.issuer, ADA)


REFUSED: dict[str, tuple[Callable[[Instance], bytes], str]] = {
    "another signer": (lambda one: signed(one, who="eve@example.com"), "may not sign"),
    "another predicate type": (
        lambda one: signed(one, kind="https://slsa.dev/provenance/v1"),
        "not a signed layout",
    ),
    "another subject name": (lambda one: signed(one, name="other"), "subject"),
    "another subject digest": (lambda one: signed(one, digest="0" * 64), "subject"),
    "not a layout": (lambda one: signed(one, {"a": 1}), "missing"),
    "an unknown field": (lambda one: signed(one, {**HONEST.to_json(), "extra": 1}), "unknown field"),
    "unsigned": (lambda one: HONEST.canonical, "does not verify"),
    "garbage": (lambda one: b"\x00", "does not verify"),
}


@pytest.mark.parametrize(("make", "words"), REFUSED.values(), ids=REFUSED)
def test_layouts_that_may_not_decide_are_refused(
    instance: Instance, trust: Trust, make: Callable[[Instance], bytes], words: str
) -> None:
    """Whatever is wrong with a signed layout, it is a LayoutError that says what."""
    with pytest.raises(LayoutError, match=words) as caught:
        accepted(instance, trust, make(instance))
    assert caught.value.exit_code is ExitCode.LAYOUT


def test_a_layout_of_another_instance_is_refused(
    instance: Instance, stranger: Instance, trust: Trust
) -> None:
    """The right name at the wrong instance is somebody else."""
    with pytest.raises(LayoutError):
        accepted(instance, trust, signed(stranger))


def test_the_same_subject_of_another_issuer_may_not_sign(instance: Instance, trust: Trust) -> None:
    """A signer is issuer and subject together, and no signer at all signs nothing."""
    for signers in ([Identity("https://other.example", ADA)], []):
        with pytest.raises(LayoutError, match="may not sign"):
            accepted(instance, trust, signed(instance), signers=signers)


@pytest.mark.parametrize(("seconds", "passes"), [(-1, True), (0, False), (1, False)])
def test_the_expiry_itself_is_too_late(instance: Instance, trust: Trust, seconds: int, passes: bool) -> None:
    """`expires` is the first moment at which the layout no longer decides."""
    bundle, now = signed(instance), HONEST.expires + timedelta(seconds=seconds)
    if passes:
        assert accepted(instance, trust, bundle, now=now)
        return
    with pytest.raises(LayoutError, match="expired"):
        accepted(instance, trust, bundle, now=now)


def test_a_layout_older_than_pinned_is_rolled_back(instance: Instance, trust: Trust) -> None:
    """The version must reach the pinned one; the same version passes."""
    bundle = signed(instance)
    assert accepted(instance, trust, bundle, minimum_version=1)
    with pytest.raises(LayoutError, match="older than pinned") as caught:
        accepted(instance, trust, bundle, minimum_version=2)
    assert (caught.value.expected, caught.value.got) == ("version 2 or newer", "version 1")


def test_a_clock_far_behind_is_said(instance: Instance, trust: Trust) -> None:
    """A layout signed in the future means that this machine's clock is wrong."""
    with pytest.raises(LayoutError, match="future"):
        accepted(instance, trust, signed(instance), now=datetime.now(UTC) - timedelta(days=365))


def test_pin_command_names_a_key_by_its_file_and_others_by_identity() -> None:
    """An issuer of keys is no issuer that can be typed; names are quoted for the shell."""
    key, person = Identity(KEY_ISSUER, "sha256:00"), Identity("https://issuer.example", "ada lovelace")
    assert pin_command("my layout", key) == "gitchain trust pin --layout 'my layout' --signer-key FILE"
    assert pin_command("m", person) == (
        "gitchain trust pin --layout m --signer 'ada lovelace' --issuer https://issuer.example"
    )
