"""Functionaries and principals: who may sign, and how many people that makes."""

from __future__ import annotations

import pytest

from gitchain.evidence.vocabulary import PROVENANCE, VSA
from gitchain.layout import parse_layout
from gitchain.layout.artifact import Manifests
from gitchain.layout.identities import KeyMember
from gitchain.layout.model import Identity
from gitchain.verify.authorization import Authorizer, Signers
from gitchain.verify.classify import claims_under
from gitchain.verify.search import LayoutStack, Sources
from tests.support.decision_input import ISSUER, LAYOUT, NOW, DecisionInput, codes, model, statement
from tests.support.decision_variants import SUPPLIER, by, facts, supplier

CI = "https://ci.example"
WORKFLOW = "https://example.com/m/.github/workflows/train.yml@refs"
TRAINERS = f"""  ci-main: {{identities: [{{issuer: "{CI}", subject: "{WORKFLOW}/heads/main", claims: {{buildTrigger: push}}}}]}}
  ci-manual: {{identities: [{{issuer: "{CI}", subject: "{WORKFLOW}/heads/main", claims: {{buildTrigger: workflow_dispatch}}}}]}}
  ci-tags: {{identities: [{{issuer: "{CI}", subject: "{WORKFLOW}/tags/v*"}}]}}
"""


def layout(text: str, *, functionaries: str, threshold: int, principals: str = "") -> str:
    """The honest layout, with other people who may train."""
    text = text.replace("  bob: {", f"{TRAINERS}  bob: {{", 1).replace("steps:\n", f"{principals}steps:\n", 1)
    return text.replace(
        "functionaries: [alice, bob]\n", f"functionaries: [{functionaries}]\n    threshold: {threshold}\n"
    )


def trained(*signers: tuple[Identity, dict[str, str]], **given: object) -> DecisionInput:
    world = DecisionInput.honest().change(lambda text: layout(text, **given))  # type: ignore[arg-type]
    honest = world.evidence.pop("train")
    for number, (who, claims) in enumerate(signers):
        world.evidence[f"train{number}"] = by(honest, who, **claims)
    return world


def ci(ref: str, trigger: str = "") -> tuple[Identity, dict[str, str]]:
    return Identity(CI, f"{WORKFLOW}/{ref}"), {"buildTrigger": trigger} if trigger else {}


def person(name: str) -> tuple[Identity, dict[str, str]]:
    return Identity(ISSUER, name), {}


@pytest.mark.parametrize(
    ("signer", "passes"),
    [
        (ci("heads/main", "push"), True),
        (ci("heads/main", "pull_request"), False),
        (ci("heads/main"), False),
        (ci("heads/evil", "push"), False),
        (ci("heads/main/x", "push"), False),
    ],
    ids=["push", "pull-request", "no-claim", "other-branch", "longer"],
)
def test_claims_are_part_of_who_signed(signer: tuple[Identity, dict[str, str]], *, passes: bool) -> None:
    """A functionary with claims is a certificate that makes them: another trigger, or none, is somebody else."""
    decision = trained(signer, functionaries="ci-main", threshold=1).verdict()
    assert decision.passed == passes
    assert passes or codes(decision) == [("UNAUTHORISED", "train", "")]


@pytest.mark.parametrize(("ref", "passes"), [("tags/v1", True), ("tags/v1/x", False), ("heads/v1", False)])
def test_a_ref_pattern_is_anchored(ref: str, *, passes: bool) -> None:
    """`tags/v*` covers tags and nothing behind a slash."""
    assert trained(ci(ref), functionaries="ci-tags", threshold=1).verdict().passed == passes


def test_the_finding_says_who_may_with_claims() -> None:
    """What is expected names the claims too."""
    decision = trained(ci("heads/main", "pull_request"), functionaries="ci-main", threshold=1).verdict()
    assert "buildTrigger push" in decision.findings[0].expected


def test_two_functionaries_of_one_principal_are_one_person() -> None:
    """A person with an identity in each of two functionaries counts once where `principals` says that they are one."""
    two = (person("alice"), person("bob"))
    principals = "principals: {pair: [alice, bob]}\n"
    given = {"functionaries": "alice, bob, carol", "threshold": 2}
    assert trained(*two, **given).verdict().passed
    short = trained(*two, **given, principals=principals).verdict()
    assert codes(short) == [("THRESHOLD", "train", "")]
    decision = trained(*two, person("carol"), **given, principals=principals).verdict()
    assert decision.steps[2].functionaries == ("carol", "pair")


def test_one_signer_is_one_person_whatever_it_claims() -> None:
    """Two functionaries that differ in claims alone are the same signer: two of its certificates count once."""
    both = (ci("heads/main", "push"), ci("heads/main", "workflow_dispatch"))
    given = {"functionaries": "ci-main, ci-manual, ci-tags", "threshold": 2}
    assert codes(trained(*both, **given).verdict()) == [("THRESHOLD", "train", "")]
    assert trained(*both, ci("tags/v1"), **given).verdict().passed


def test_two_refs_of_one_pattern_are_one_functionary() -> None:
    """However many tags sign: the functionary whose pattern covers them counts once."""
    given = {"functionaries": "ci-tags, alice", "threshold": 2}
    assert codes(trained(ci("tags/v1"), ci("tags/v2"), **given).verdict()) == [("THRESHOLD", "train", "")]
    assert trained(ci("tags/v1"), ci("tags/v2"), person("alice"), **given).verdict().passed


def test_a_signer_that_is_nobody_has_no_person() -> None:
    """Who a stranger is, is not guessed."""
    signers = Signers(DecisionInput.honest().layout)
    assert signers.person(Identity(ISSUER, "alice2")) == "alice"
    with pytest.raises(KeyError):
        signers.person(Identity(ISSUER, "mallory"))


def test_the_same_attestation_twice_counts_once() -> None:
    """One bundle found in two places, or signed again by the same person, is one person's word."""
    world = trained(person("alice"), functionaries="alice, bob", threshold=2)
    world.evidence["again"] = world.evidence["train0"]
    world.evidence["later"] = statement(
        "train", {"data/prepared/train.csv": "train"}, {"models/model.pkl": "model 1"}, run="run-2"
    )
    assert codes(world.verdict()) == [("THRESHOLD", "train", "")]


def test_a_key_signs_as_itself() -> None:
    """A key that the layout names is an identity of its functionary; a certificate cannot have its issuer."""
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    pem = (
        generate_private_key(SECP256R1())
        .public_key()
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    key = pem.decode().strip().replace("\n", "\\n")
    world = DecisionInput.honest().change(
        lambda text: text.replace("  bob: {identities: [", f'  bob: {{identities: [{{key: "{key}\\n"}}, ', 1)
    )
    [member] = [
        one
        for one in parse_layout(world.layout.canonical).functionary("bob").identities
        if isinstance(one, KeyMember)
    ]
    world.evidence["approve"] = by(world.evidence["approve"], member.identity)
    assert world.verdict(model()).passed


def test_what_a_certificate_claims_is_part_of_what_was_found() -> None:
    """One statement signed twice in a second with different claims: the one that does not count hides nothing."""
    first, second = ci("heads/main", "push"), ci("heads/main", "pull_request")
    for signers in ((first, second), (second, first)):
        assert trained(*signers, functionaries="ci-main", threshold=1).verdict().passed


def test_a_group_is_as_new_as_its_newest_member() -> None:
    """Two people, two times: what the newest signed is what the user works on."""
    world = DecisionInput.honest()
    world.evidence["bob"] = statement(
        "train", {"data/prepared/train.csv": "train"}, {"models/model.pkl": "model 1"}, who="bob", at=NOW
    )
    claims = claims_under(
        world.layout,
        LayoutStack((world.layout.name,)),
        Sources(tuple(world.evidence.values()), NOW, Manifests(world.nodes.get)),
    )
    (group,) = claims.counted("train")
    assert len(group.members) == 2
    assert group.time == NOW


def test_inside_a_layout_only_a_summary_may_be_silent() -> None:
    """Evidence that names no step and no layout is the outer layout's, unless it is somebody's summary."""
    authorizer = Authorizer(DecisionInput.honest().layout, NOW, inside=True)
    assert authorizer._may_be_silent(VSA, None)
    assert not authorizer._may_be_silent(VSA, "train")
    assert not authorizer._may_be_silent(PROVENANCE, None)


def test_nothing_widens_a_steps_functionaries() -> None:
    """Neither a principal, a revoker, an owner of facts, another step nor a sublayout lets anybody sign for a step."""
    outer = LAYOUT.replace(
        "steps:\n", "principals: {pair: [alice, bob]}\nrevokers: [carol]\nsteps:\n", 1
    ).replace(
        "serve:", "datasets: {functionaries: [carol], artifacts: [{step: data, products: ['*']}]}\nserve:"
    )
    for step, who in (("evaluate", "bob"), ("evaluate", "carol"), ("prepare", "bob"), ("data", "alice")):
        world = DecisionInput.honest()
        world.layout = parse_layout(outer.encode())
        world.evidence["facts"] = facts({"data/raw.csv": "raw"}, who="carol")
        assert world.verdict().passed
        world.evidence[step] = by(world.evidence[step], Identity(ISSUER, who))
        assert ("UNAUTHORISED", step, "") in codes(world.verdict()), (step, who)
    two = supplier()
    assert two.verdict().passed
    for name, who in (
        ("acme-clean", "anna"),
        ("acme-clean", "acme"),
        ("acme-collect", "alice"),
        ("train", "otto"),
    ):
        spoilt = DecisionInput(
            {**two.evidence, name: by(two.evidence[name], Identity(ISSUER, who))}, two.layout
        )
        assert not spoilt.verdict().passed, (name, who)
    inner = SUPPLIER.replace(
        "functionaries:\n",
        'functionaries:\n  alice: {identities: [{issuer: "https://issuer.example", subject: mallory}]}\n',
        1,
    )
    named = supplier(inner)
    named.evidence["train"] = by(named.evidence["train"], Identity(ISSUER, "mallory"))
    assert ("UNAUTHORISED", "train", "") in codes(named.verdict())
