"""More worlds: changed predicates, revocations, suppliers with a layout of their own, verification summaries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from gitchain.evidence.predicates import DATASET, LAYOUT, REVOCATION, VSA
from gitchain.evidence.revocation import RevokedSigner, attestation_descriptor, revocation
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.evidence.store_checkpoint import checkpoint_statements
from gitchain.layout import Layout, parse_layout
from gitchain.layout.model import Identity
from gitchain.verify.verified import VerifiedStatement
from tests.support.decision_input import (
    ISSUER,
    NOW,
    Content,
    DecisionInput,
    descriptor,
    run,
    statement,
    verified,
)

WHEN = "2026-11-22T10:30:00Z"


def saying(one: VerifiedStatement, **said: Any) -> VerifiedStatement:
    """The same evidence with more in its predicate."""
    before = one.statement
    built = Statement.build(before.subject, before.predicate_type, {**before.predicate, **said})
    return verified(built, one.identity.subject, one.time)


def by(one: VerifiedStatement, who: Identity, **claims: str) -> VerifiedStatement:
    """The same evidence, signed by somebody else with what the certificate claims."""
    return replace(one, identity=who, claims=claims)


def revoked(
    what: VerifiedStatement | Mapping[str, Content] | str,
    *,
    who: str = "alice",
    at: datetime = NOW,
    since: datetime | None = None,
) -> VerifiedStatement:
    """A revocation of an attestation, of artifacts by their content, or of a signer from a time on."""
    subjects: list[ResourceDescriptor] = []
    more: dict[str, Any] = {}
    if isinstance(what, VerifiedStatement):
        subjects = [attestation_descriptor(what.attestation_id)]
        more["attestations"] = [what.attestation_id]
    elif isinstance(what, str):
        start = since or NOW - timedelta(days=1)
        signer = RevokedSigner(ISSUER, what, start.strftime("%Y-%m-%dT%H:%M:%SZ"))
        subjects, more["signers"] = [signer.descriptor], [signer]
    else:
        subjects = [descriptor(name, content) for name, content in what.items()]
    predicate = revocation(reason="compromised", when=WHEN, **more)
    return verified(Statement.build(subjects, REVOCATION, predicate), who, at)


def summary(
    products: Mapping[str, Content], *, who: str = "vendor", result: object = "PASSED", **said: Any
) -> VerifiedStatement:
    """A verification summary as another tool writes it: it names its verifier and no step."""
    predicate: dict[str, Any] = {
        "verifier": {"id": "https://vendor.example/verifier"},
        "timeVerified": WHEN,
        "resourceUri": f"pkg:generic/{next(iter(products), '').rpartition('/')[2]}",
        "policy": {"uri": "https://vendor.example/policy"},
        "verificationResult": result,
        "verifiedLevels": ["SLSA_BUILD_LEVEL_1"],
    }
    subject = [descriptor(name, content) for name, content in products.items()]
    return verified(Statement.build(subject, VSA, {**predicate, **said}), who, NOW - timedelta(hours=1))


def facts(
    artifacts: Mapping[str, Content],
    *,
    who: str = "alice",
    licence: str = "CC0-1.0",
    consent: str = "obtained",
) -> VerifiedStatement:
    """What somebody says about a data set."""
    said = {
        "source": "https://data.example/x",
        "licence": licence,
        "consent": consent,
        "personalData": "none",
    }
    subject = [descriptor(name, content) for name, content in artifacts.items()]
    return verified(Statement.build(subject, DATASET, said), who, NOW - timedelta(hours=1))


def signed_layout(
    layout: Layout, *, who: str = "acme", at: datetime = NOW - timedelta(hours=2)
) -> VerifiedStatement:
    """A layout as its signer puts it into the evidence."""
    from gitchain.evidence.digest import DigestSet

    subject = [ResourceDescriptor(layout.name, DigestSet({"sha256": layout.digest}))]
    return verified(Statement.build(subject, LAYOUT, layout.to_json()), who, at)


SUPPLIER = """
schema: https://gitchain.dev/layout/v1
name: acme-data
version: 2
expires: "2027-01-01T00:00:00Z"
functionaries:
  anna: {identities: [{issuer: "https://issuer.example", subject: anna}]}
  otto: {identities: [{issuer: "https://issuer.example", subject: otto}]}
steps:
  - name: collect
    functionaries: [anna]
    expectedProducts: [[REQUIRE, raw/all.csv], [CREATE, "raw/*"], [DISALLOW, "*"]]
  - name: clean
    functionaries: [otto]
    expectedMaterials: [[REQUIRE, raw/all.csv], [MATCH, "raw/*", WITH, PRODUCTS, FROM, collect], [DISALLOW, "*"]]
    expectedProducts: [[REQUIRE, data/raw.csv], [CREATE, "data/*"], [DISALLOW, "*"]]
serve: [{step: clean, products: ["data/*"]}]
"""


def supplied(
    raw: str = "raw", *, layout: str | None = "acme-data", **more: Any
) -> dict[str, VerifiedStatement]:
    """The supplier's own evidence for one delivery."""
    return {
        "collect": statement("collect", {}, {"raw/all.csv": f"all {raw}"}, who="anna", layout=layout, **more),
        "clean": statement(
            "clean", {"raw/all.csv": f"all {raw}"}, {"data/raw.csv": raw}, who="otto", layout=layout, **more
        ),
    }


DATA_STEP = """  - name: data
    functionaries: [carol]
    evidence: declared
"""


def with_supplier(text: str, behind: str = "sublayout: {name: acme-data, minimumVersion: 2}") -> str:
    """The layout in which the supplier stands behind the data."""
    return text.replace(
        DATA_STEP, f"  - name: data\n    functionaries: [acme, carol]\n    {behind}\n"
    ).replace(
        "  alice: {",
        '  acme: {identities: [{issuer: "https://issuer.example", subject: acme}]}\n  alice: {',
        1,
    )


MORE_STEP = """  - name: more
    functionaries: [acme]
    sublayout: {name: acme-more}
    expectedProducts: [[MATCH, data/raw.csv, WITH, PRODUCTS, FROM, data], [DISALLOW, "*"]]
"""


def with_two_suppliers(text: str) -> str:
    """The layout in which a second supplier's delivery has to be what the first one's holds."""
    return with_supplier(text).replace("  - name: prepare\n", f"{MORE_STEP}  - name: prepare\n")


def second_supplier() -> dict[str, VerifiedStatement]:
    """The second supplier's signed layout, and its evidence."""
    layout = parse_layout(SUPPLIER.replace("name: acme-data", "name: acme-more").encode())
    made = {f"more-{name}": one for name, one in supplied(layout="acme-more").items()}
    return {"second": signed_layout(layout), **made}


def supplier(text: str = SUPPLIER, **more: Any) -> DecisionInput:
    """The honest world with a supplier's chain in place of the data step."""
    world = DecisionInput(run()).change(with_supplier)
    world.evidence.pop("data")
    world.evidence |= {"layout": signed_layout(parse_layout(text.encode()), **more)}
    world.evidence |= {f"acme-{name}": one for name, one in supplied().items()}
    return world


DATASETS = """datasets:
  functionaries: [alice, bob]
  artifacts: [{step: data, products: ["data/*"]}]
  constraints: [{name: licence, expression: "dataset.licence == 'CC0-1.0'"}]
serve:"""
"""What stands in the place of `serve:` in a layout that asks for facts about the data."""
(POINT,) = checkpoint_statements((), (), ["a" * 64])


def checkpoint(who: str = "alice", age: timedelta = timedelta(hours=1)) -> VerifiedStatement:
    """A signed checkpoint of an empty store."""
    return verified(POINT, who, NOW - age)


def fresh(text: str) -> str:
    """The layout that asks for a checkpoint of the last week."""
    return text.replace("steps:\n", "revokers: [carol]\nfreshness: P7D\nsteps:\n", 1)
