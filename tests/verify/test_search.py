"""The search and its chains: what is dropped before, what ties two groups, what is only worked out to explain."""

from __future__ import annotations

from gitchain.layout.artifact import Manifests
from gitchain.verify.authorization import Authorizer
from gitchain.verify.chain import Chains, EvidenceGroup, EvidenceGroups
from gitchain.verify.classify import sort_claims
from gitchain.verify.cross_step_constraints import CrossStepConstraints
from gitchain.verify.search import ChainSearch, SearchBudget
from gitchain.verify.verified import StepReader, VerifiedStatement
from tests.support.decision_input import DecisionInput, model, run, statement


def searching(world: DecisionInput) -> tuple[ChainSearch, EvidenceGroups]:
    manifests, authorizer = Manifests(world.nodes.get), Authorizer(world.layout, world.now)
    statements = tuple(world.evidence.values())
    claims, _ = sort_claims(authorizer, statements, manifests, StepReader())
    demands = CrossStepConstraints(world.layout, authorizer, model(), statements, manifests)
    search = ChainSearch(Chains(world.layout, manifests), claims.groups, demands, SearchBudget())
    return search, claims


def evaluation(**materials: str) -> VerifiedStatement:
    took = {"models/model.pkl": "model 1", **{f"{name}.py": text for name, text in materials.items()}}
    return statement("evaluate", took, {"metrics.json": "metrics 1"})


def group_of(claims: EvidenceGroups, one: VerifiedStatement) -> EvidenceGroup:
    return next(
        group
        for groups in claims.groups.values()
        for group in groups
        if any(member.statement is one for member in group.members)
    )


def test_narrow_drops_what_the_rules_refuse_whatever_the_others_are() -> None:
    """An evaluation that took a file which no rule allows is in no chain; the honest one beside it stays."""
    world = DecisionInput.honest()
    world.evidence["odd"] = evaluation(extra="x")
    search, claims = searching(world)
    narrowed = search.narrow(group_of(claims, world.evidence["train"]))
    assert narrowed is not None
    assert narrowed["evaluate"] == (group_of(claims, world.evidence["evaluate"]),)
    assert narrowed.keys() == {"data", "prepare", "train", "evaluate", "approve"}


def test_narrow_finds_nothing_where_a_step_has_nothing_left() -> None:
    """One step alone without a group that could be in a chain: no search is needed."""
    for evaluations in ({"odd": evaluation(extra="x")}, {}):
        world = DecisionInput.honest()
        del world.evidence["evaluate"]
        world.evidence |= evaluations
        search, claims = searching(world)
        assert search.narrow(group_of(claims, world.evidence["train"])) is None


def test_linked_needs_a_rule_that_matches_and_not_content_in_common_alone() -> None:
    """Two steps that both took the same source file are not tied by it; the model that one made ties them."""
    world = DecisionInput.honest()
    took = {"data/prepared/train.csv": "train", "src/x.py": "x"}
    world.evidence["train"] = statement("train", took, {"models/model.pkl": "model 1"})
    tied = evaluation(**{"src/x": "x"})
    other = statement(
        "evaluate", {"models/model.pkl": "model 2", "src/x.py": "x"}, {"metrics.json": "metrics 2"}
    )
    world.evidence |= {"tied": tied, "other": other}
    search, claims = searching(world)
    train = group_of(claims, world.evidence["train"])
    for one, is_linked in ((tied, True), (other, False)):
        group = group_of(claims, one)
        assert search.chains.linked(train, group) is is_linked
        assert search.chains.linked(group, train) is is_linked


def test_check_lists_what_each_rule_took_only_to_explain() -> None:
    """The search asks thousands of times and needs the refusals alone."""
    world = DecisionInput.honest()
    search, claims = searching(world)
    chain = {name: group_of(claims, one) for name, one in world.evidence.items()}
    prepare = chain["prepare"]
    assert search.chains.check(prepare, {"data": (chain["data"],)}).applied == ()
    assert search.chains.explain(prepare, chain).applied
    assert set(run()) == chain.keys()
