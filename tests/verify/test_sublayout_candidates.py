"""Offered layouts: which one stands behind a step, and what a person is told of one that may not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gitchain.evidence.digest import DigestSet
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.evidence.vocabulary import LAYOUT
from gitchain.layout import parse_layout
from gitchain.verify.findings import MEANINGS, FindingCode
from gitchain.verify.step_diagnostics import MAX_PER_STEP
from tests.support.decision_input import ISSUER, NOW, DecisionInput, verified
from tests.support.decision_variants import SUPPLIER, signed_layout, supplier, with_supplier

Told = list[tuple[str, str, str]]


def told(world: DecisionInput) -> Told:
    """Return message, expected and got of each finding about a layout behind a step."""
    findings = world.verdict().findings
    return [
        (one.message, one.expected, one.got)
        for one in findings
        if one.code in {FindingCode.SUBLAYOUT, FindingCode.SUBLAYOUT_NESTING}
    ]


def changed(before: str, after: str) -> DecisionInput:
    return supplier(SUPPLIER.replace(before, after))


def signed_by_two_of_three() -> DecisionInput:
    three = "sublayout: {name: acme-data, minimumVersion: 2}\n    threshold: 3"
    world = supplier().change(
        lambda text: with_supplier(text, three).replace("[acme, carol]", "[acme, carol, bob]")
    )
    world.evidence["carol"] = signed_layout(parse_layout(SUPPLIER.encode()), who="carol")
    return world


def not_well_formed() -> DecisionInput:
    world = supplier()
    subject = [ResourceDescriptor("acme-data", DigestSet({"sha256": "0" * 64}))]
    world.evidence["layout"] = verified(Statement.build(subject, LAYOUT, {"name": "acme-data"}), "acme", NOW)
    return world


def forms(*expires: str) -> DecisionInput:
    """Return a world in which one version of the layout is signed in several forms, beside an older one."""
    world = supplier()
    for day in expires:
        world.evidence[day] = signed_layout(parse_layout(SUPPLIER.replace("2027-01-01", day).encode()))
    older = parse_layout(SUPPLIER.replace("version: 2", "version: 1").encode())
    world.evidence = {"older": signed_layout(older)} | world.evidence
    return world


def digests(*expires: str) -> str:
    texts = [SUPPLIER.replace("2027-01-01", day) for day in ("2027-01-01", *expires)]
    return " and ".join(sorted(parse_layout(text.encode()).digest[:12] for text in texts))


INSPECTIONS = 'inspections: [{name: i, kind: size, artifacts: ["*"], maxBytes: 9}]\nserve:'
REFUSED: dict[str, tuple[Callable[[], DecisionInput], Told]] = {
    "too few": (
        signed_by_two_of_three,
        [("layout acme-data version 2 is signed by too few", "3 of acme, carol, bob", "acme, carol")],
    ),
    "old": (
        lambda: changed("version: 2", "version: 1"),
        [("layout acme-data version 1 is too old", "version 2 or newer", "version 1")],
    ),
    "expired": (
        lambda: changed("2027-01-01T00", "2026-11-22T12"),
        [
            (
                "layout acme-data version 2 has expired",
                "a time after 2026-11-22T12:00:00+00:00",
                "2026-11-22T12:00:00+00:00",
            )
        ],
    ),
    "inspections": (
        lambda: changed("serve:", INSPECTIONS),
        [
            (
                "layout acme-data version 2 has inspections, which need the bytes",
                "a layout without inspections",
                "",
            )
        ],
    ),
    "two forms": (
        lambda: forms("2027-01-02"),
        [
            (
                "layout acme-data version 2 is signed in two forms",
                "one layout for a version",
                digests("2027-01-02"),
            )
        ],
    ),
    "three forms": (
        lambda: forms("2027-01-03", "2027-01-02"),
        [
            (
                "layout acme-data version 2 is signed in two forms",
                "one layout for a version",
                digests("2027-01-02", "2027-01-03"),
            )
        ],
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_newest_names_what_is_wrong_with_the_layout(name: str) -> None:
    """A person reads which layout and version, what was expected, and what was found."""
    world, expected = REFUSED[name]
    assert told(world()) == expected


def test_newest_names_a_layout_that_is_not_well_formed() -> None:
    """The problem is told in place of the layout, not beside a second one."""
    ((message, _, got),) = told(not_well_formed())
    assert message == "layout acme-data is not well formed"
    assert got


def test_newest_is_found_behind_a_crowd_of_strangers() -> None:
    """Strangers' signatures are told up to MAX_PER_STEP; the layout that counts is accepted after any number of them."""
    world = supplier()
    honest = world.evidence.pop("layout")
    strangers = {
        f"stranger{number}": signed_layout(parse_layout(SUPPLIER.encode()), who=f"mallory{number}")
        for number in range(MAX_PER_STEP + 1)
    }
    world.evidence = strangers | world.evidence
    reasons = told(world)
    assert len(reasons) == MAX_PER_STEP
    assert reasons[0][0] == f"layout acme-data version 2 does not count: {MEANINGS[FindingCode.UNAUTHORISED]}"
    assert reasons[0][2] == f"mallory0 ({ISSUER})"
    world.evidence["layout"] = honest
    assert world.verdict().passed


def test_a_layout_in_a_statement_of_another_type_does_not_stand_behind_a_step() -> None:
    """The predicate type says what is signed: a layout inside another statement is not read at all."""
    world = supplier()
    honest = world.evidence["layout"].statement
    other = Statement.build(honest.subject, "https://example.com/copy/v1", honest.predicate)
    world.evidence["layout"] = verified(other, "acme", NOW)
    ((message, _, _),) = told(world)
    assert "well formed" not in message  # it is no layout, so it is no malformed one
    del world.evidence["layout"]
    assert told(world)[0][0] == message
