"""Which of a supplier's many deliveries are looked into: all that the steps around could have used, and the newest."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gitchain.errors import LimitError
from gitchain.layout import artifact, parse_layout
from gitchain.verify.explain import MAX_SEEDS
from tests.support.decision_input import NOW, DecisionInput, codes, model, run, statement
from tests.support.decision_variants import (
    MORE_STEP,
    SUPPLIER,
    second_supplier,
    signed_layout,
    supplied,
    supplier,
    with_supplier,
    with_two_suppliers,
)

LATE = MAX_SEEDS + 2


def add_late(world: DecisionInput, layout: str = "acme-data") -> None:
    """Add more deliveries than are looked into for being new, the oldest first; no step uses any of them."""
    for number in range(LATE):
        at = NOW - timedelta(minutes=LATE - number)
        more = supplied(f"late {number}", layout=layout, at=at)
        world.evidence |= {f"{layout} {name} {number}": one for name, one in more.items()}


def served_itself(text: str) -> str:
    """The layout that serves the supplier's delivery for itself too."""
    return with_supplier(text).replace(
        "serve: [", 'serve: [{step: data, products: ["data/*"], steps: [data]}, '
    )


def test_an_old_delivery_that_a_step_took_is_looked_into() -> None:
    """A step around names its digest: however many newer ones there are, the chain is found."""
    world = supplier()
    add_late(world)
    assert world.verdict().passed


def test_an_old_delivery_that_is_served_is_looked_into() -> None:
    """The target itself is a delivery that no step took: none of the steps around can tell which."""
    world = supplier().change(served_itself)
    oldest = supplied("oldest", at=NOW - timedelta(days=1))
    world.evidence |= {f"oldest-{name}": one for name, one in oldest.items()}
    add_late(world)
    assert world.verdict(model("oldest", "data/raw.csv")).passed
    assert world.verdict().passed


def test_an_old_delivery_that_is_made_of_another_step_s_product_is_looked_into() -> None:
    """The supplier's step takes from a step of ours, and nothing takes from it."""

    def change(text: str) -> str:
        acme = '  acme: {identities: [{issuer: "https://issuer.example", subject: acme}]}\n  alice: {'
        return text.replace("  alice: {", acme, 1).replace(
            "  - name: prepare\n", f"{MORE_STEP}  - name: prepare\n"
        )

    world = DecisionInput(run()).change(change)
    world.evidence |= second_supplier()
    add_late(world, "acme-more")
    assert world.verdict().passed


def test_an_old_delivery_beside_another_supplier_s_step_is_looked_into() -> None:
    """What the other supplier delivers is not known before it is looked into: nothing is left out."""
    world = supplier().change(with_two_suppliers)
    world.evidence |= second_supplier()
    add_late(world, "acme-more")
    assert world.verdict().passed


@pytest.mark.parametrize("small_first", [False, True])
def test_an_old_delivery_is_looked_into_where_a_step_has_too_much_to_list(
    monkeypatch: pytest.MonkeyPatch, *, small_first: bool
) -> None:
    """A step around has more digests than are listed: what it could have used is not known, so nothing is left out."""
    monkeypatch.setattr(artifact, "MAX_CONTENTS", 3)
    world = supplier()
    small = {"small": statement("prepare", {"data/raw.csv": "x"}, {"data/prepared": "y"})}
    world.evidence = small | world.evidence if small_first else world.evidence | small
    add_late(world)
    assert world.verdict().passed


def test_what_is_told_of_deliveries_that_no_step_took_is_about_the_newest() -> None:
    """The steps around took something that nobody delivered: the newest delivery is what the person looks for."""
    world = supplier()
    world.evidence = {name: one for name, one in world.evidence.items() if name != "acme-clean"}
    add_late(world)
    decision = world.verdict()
    assert codes(decision)[0] == ("MISMATCH", "prepare", "data/raw.csv")
    newest = str(model(f"late {LATE - 1}").artifact)
    assert decision.findings[0].expected == f"{newest} from step data"


def test_evidence_of_the_outermost_layout_may_name_no_layout() -> None:
    """What names none belongs to the layout of the verdict, and to none inside of it."""
    assert DecisionInput.honest(layout=None).verdict().passed
    world = supplier()
    world.evidence |= {f"acme-{name}": one for name, one in supplied(layout=None).items()}
    assert not world.verdict().passed


def nested(name: str, inner: str, steps: int) -> str:
    """Return a layout of the supplier's with that many steps, each with the same sublayout."""
    lines = [
        f"  - {{name: s{number}, functionaries: [acme], sublayout: {{name: {inner}}}}}"
        for number in range(steps)
    ]
    acme = 'acme: {identities: [{issuer: "https://issuer.example", subject: acme}]}'
    head = f"schema: https://gitchain.dev/layout/v1\nname: {name}\nversion: 2\n"
    head += f'expires: "2027-01-01T00:00:00Z"\nfunctionaries:\n  {acme}\nsteps:\n'
    return "\n".join((head + lines[0], *lines[1:], 'serve: [{step: s0, products: ["*"]}]', ""))


def test_sublayouts_that_multiply_are_no_verdict_soon() -> None:
    """Three levels of 200 steps each, all of them the supplier's own: eight million layouts to look under."""
    world = supplier(nested("acme-data", "b", 200))
    for name, inner in (("b", "c"), ("c", "d")):
        world.evidence[name] = signed_layout(parse_layout(nested(name, inner, 200).encode()))
    world.evidence["d"] = signed_layout(parse_layout(SUPPLIER.replace("acme-data", "d").encode()))
    with pytest.raises(LimitError, match="too many sublayouts to decide"):
        world.verdict()
