"""Directories under two versions of the manifest: what equals what, in rules, targets and negative evidence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Literal

import pytest

from gitchain.evidence.digest import DigestSet, sha256_hex
from gitchain.evidence.manifest import FileEntry, Manifest, build_manifest
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.evidence.vocabulary import MANIFEST_MEDIA_TYPES, ManifestVersion
from gitchain.layout.artifact import Artifact, Link, Manifests, contents, lookup
from gitchain.verify.decide import Target
from gitchain.verify.step_diagnostics import MAX_FILES
from gitchain.verify.vsa import summary
from tests.support.decision_input import NOW, DecisionInput, codes, descriptor, run, statement, verified
from tests.support.decision_variants import revoked, saying

FILES = {"train.csv": "train", "test.csv": "test", "deep/run.sh": "run"}


def tree(
    version: ManifestVersion, files: dict[str, str] = FILES, *, executable: tuple[str, ...] = ()
) -> Manifest:
    return build_manifest(
        (
            FileEntry(path, path in executable, len(text), sha256_hex(text.encode()))
            for path, text in files.items()
        ),
        version,
    )


OLD, NEW = tree(1), tree(2)
OLD_X = tree(1, executable=("deep/run.sh",))
NODES = {**OLD.nodes, **OLD_X.nodes, **NEW.nodes}


def artifact(manifest: Manifest, nodes: dict[str, bytes] | None = None) -> Artifact:
    return Manifests((NODES if nodes is None else nodes).get).artifact(descriptor("d", manifest))


# What equals what -----------------------------------------------------------------------------------------------------


def test_artifacts_of_one_version_are_equal_by_their_digest() -> None:
    """Under version 1 modes are in it: old evidence is judged as before."""
    assert artifact(OLD) == artifact(OLD, {})
    assert artifact(NEW) == artifact(NEW, {})
    assert artifact(OLD) != artifact(OLD_X)
    assert artifact(NEW) != artifact(tree(2, {"a": "b"}))


def test_artifacts_of_two_versions_are_equal_if_the_older_ones_nodes_say_so() -> None:
    """Whatever the modes, in both directions; without these nodes, or for other files, never."""
    for old in (OLD, OLD_X):
        assert artifact(old) == artifact(NEW, {})
        assert artifact(NEW, {}) == artifact(old)
        assert artifact(old, dict(NEW.nodes)) != artifact(NEW)
        assert artifact(NEW) != artifact(old, dict(NEW.nodes))
    for digest in OLD.nodes:
        assert artifact(OLD, {key: node for key, node in OLD.nodes.items() if key != digest}) != artifact(NEW)
    assert artifact(tree(1, {"a": "b"}), dict(tree(1, {"a": "b"}).nodes)) != artifact(NEW)


@pytest.mark.parametrize(("digest", "version"), [(OLD.digest, 2), (NEW.digest, 1)])
def test_artifacts_with_a_digest_of_the_other_version_equal_nothing(
    digest: str, version: ManifestVersion
) -> None:
    """A false media type opens nothing and makes nothing equal."""
    manifests = Manifests(NODES.get)
    said = ResourceDescriptor("d", DigestSet({"sha256": digest}), media_type=MANIFEST_MEDIA_TYPES[version])
    false = manifests.artifact(said)
    assert manifests.is_closed(false)
    assert manifests.entries(false) == {}
    assert manifests.files(false) is None
    assert manifests.executables(false) is None
    for true in (OLD, OLD_X, NEW):
        assert false != manifests.artifact(descriptor("d", true))


def test_a_file_equals_no_directory_of_either_version() -> None:
    """Nor does an artifact without sha256 equal one of the other version."""
    for made in (OLD, NEW):
        file = Artifact(DigestSet({"sha256": made.digest}))
        assert file != artifact(made)
        assert file.kind == 0
    long = DigestSet({"sha512": "ab" * 64})
    assert Artifact(long, True, 1) != Artifact(long, True, 2)
    assert Artifact(long, True, 1).newest is None
    assert Artifact(long, True, 1) == Artifact(long, True, 1)
    assert Artifact(DigestSet({"sha256": OLD.digest}), False, 1) != artifact(NEW)
    assert artifact(NEW) != Artifact(DigestSet({"sha256": NEW.digest}), False, 1)


def test_directories_below_have_the_version_of_their_root() -> None:
    """One step may take a subdirectory of what another made before."""
    manifests = Manifests(NODES.get)
    below = [
        lookup({"d": manifests.artifact(descriptor("d", one))}, "d/deep", manifests) for one in (OLD_X, NEW)
    ]
    assert below[0] == below[1]
    assert [one.version for one in below if one is not None] == [1, 2]


def test_contents_hold_both_digests_of_an_older_directory() -> None:
    """Where the newer one is known: links with nothing in common are not compared further."""
    link = Link({"d": artifact(OLD)}, {})
    found = contents(link, Manifests(NODES.get))
    assert found is not None
    assert {("sha256", OLD.digest), ("sha256", NEW.digest)} <= found
    bare = contents(Link({}, {"d": artifact(OLD, {})}), Manifests(lambda _: None))
    assert bare == frozenset({("sha256", OLD.digest)})
    newer = contents(Link({"d": artifact(NEW)}, {}), Manifests(NODES.get))
    assert newer is not None
    assert ("sha256", OLD.digest) not in newer


def test_a_pair_that_was_hashed_needs_no_nodes() -> None:
    """The verifier's own two digests of one directory."""
    manifests = Manifests(lambda _: None, {OLD.digest: NEW.digest}.get)
    assert manifests.artifact(descriptor("d", OLD)) == manifests.artifact(descriptor("d", NEW))


Change = Callable[[str], str]
BEFORE = 'expectedMaterials: [[REQUIRE, data/prepared/train.csv], [MATCH, "data/prepared/*", WITH, PRODUCTS, FROM, prepare]'
AFTER = "expectedMaterials: [[REQUIRE, data/prepared], [MATCH, data/prepared, WITH, PRODUCTS, FROM, prepare]"


def revokers(text: str) -> str:
    return text + "revokers: [alice]\n"


# Chains over the change -------------------------------------------------------------------------------------------------


def chain(
    made: Manifest, taken: Manifest, nodes: dict[str, bytes] | None = None, *, change: Change = str
) -> DecisionInput:
    """`prepare` made the directory under one version, `train` took it under another."""
    found = DecisionInput.honest().change(lambda text: change(text.replace(BEFORE, AFTER)))
    found.nodes = dict(NODES if nodes is None else nodes)
    found.evidence["prepare"] = statement(
        "prepare", {"data/raw.csv": "raw", "src/p.py": "code"}, {"data/prepared": made}
    )
    found.evidence["train"] = statement("train", {"data/prepared": taken}, {"models/model.pkl": "model 1"})
    return found


@pytest.mark.parametrize(("made", "taken"), [(OLD, NEW), (OLD_X, NEW), (NEW, OLD), (NEW, OLD_X), (OLD, OLD)])
def test_chain_over_two_versions_passes(made: Manifest, taken: Manifest) -> None:
    """A MATCH between a directory of version 1 and one of version 2 holds; files in both are found as before."""
    assert chain(made, taken).verdict().passed


@pytest.mark.parametrize(
    ("made", "taken", "nodes"),
    [
        (
            OLD,
            tree(2, FILES | {"train.csv": "other"}),
            {**NODES, **tree(2, FILES | {"train.csv": "other"}).nodes},
        ),
        (OLD, OLD_X, None),
        (OLD, NEW, dict(NEW.nodes)),
    ],
    ids=["other content", "other mode under version 1", "private nodes"],
)
def test_chain_over_two_versions_is_refused(
    made: Manifest, taken: Manifest, nodes: dict[str, bytes] | None
) -> None:
    """Other files, other modes under version 1, and an older directory whose nodes are not at hand."""
    found = chain(made, taken, nodes)
    assert ("NOT_FROM_SOURCE", "train", "data/prepared") in codes(
        found.verdict()
    ) or not found.verdict().passed
    assert not found.verdict().passed


def test_people_with_two_versions_do_not_agree() -> None:
    """A threshold counts statements that name the same digests."""
    text = "functionaries: [alice, bob]\n    evidence: observed\n"
    found = DecisionInput.honest().change(lambda whole: whole.replace(text, text + "    threshold: 2\n"))
    found.nodes |= NODES
    both = [
        statement(
            "train",
            {"data/prepared/train.csv": "train", "src/d": one},
            {"models/model.pkl": "model 1"},
            who=who,
        )
        for one, who in ((OLD, "alice"), (NEW, "bob"))
    ]
    found.evidence |= dict(zip(("train", "bob"), both, strict=True))
    assert ("DISAGREE", "train", "") in codes(found.verdict())


# Targets ---------------------------------------------------------------------------------------------------------------


def served(made: Manifest, nodes: dict[str, bytes] | None = None) -> DecisionInput:
    found = DecisionInput.honest().change(
        lambda text: text.replace("models/model.pkl", "models/m").replace('"models/*"', "models/m", 1)
    )
    found.nodes |= NODES if nodes is None else nodes
    found.evidence["train"] = statement("train", {"data/prepared/train.csv": "train"}, {"models/m": made})
    for name in ("evaluate", "approve"):
        del found.evidence[name]
    found.layout = replace(found.layout, steps=found.layout.steps[:3])
    return found


def hashed(old: Manifest, name: str | None = "models/m") -> Target:
    """A directory on disk with the modes of `old`: both digests are known."""
    older = Target(old.digest, name, True, old.nodes, 1)
    return Target(NEW.digest, name, True, NEW.nodes, older=lambda: older)


def test_target_is_compared_under_the_version_of_its_evidence() -> None:
    """Version 2: whatever the modes. Version 1: the attested modes alone, even where its nodes are at hand."""
    for old in (OLD, OLD_X):
        assert served(NEW).verdict(hashed(old)).passed
        assert served(old).verdict(hashed(old)).passed
        assert served(old, {}).verdict(hashed(old)).passed
    assert not served(OLD).verdict(hashed(OLD_X)).passed
    assert not served(OLD_X).verdict(hashed(OLD)).passed


def test_target_of_other_modes_is_told_so() -> None:
    """Each file with its mode and the command that restores it; `dvc checkout` cannot."""
    for made, here, wanted, sign in ((OLD_X, OLD, "executable", "+x"), (OLD, OLD_X, "not executable", "-x")):
        first, second = served(made).verdict(hashed(here)).findings
        assert first.expected == f"directory sha256:{made.digest}"
        assert first.got == f"directory sha256:{here.digest}"
        assert "modes" in first.help
        assert "dvc" not in first.help
        assert second.artifact == "models/m/deep/run.sh"
        assert second.expected == wanted
        assert second.got != wanted
        assert {second.got, wanted} == {"executable", "not executable"}
        assert second.help == f"chmod {sign} models/m/deep/run.sh"
        assert second.step == "train"
        assert "another file mode" in second.message


def test_modes_are_named_only_where_nothing_else_differs() -> None:
    """Where content differs as well, or the attested nodes are not at hand, the help is about content."""
    made = tree(1, FILES | {"train.csv": "other"}, executable=("deep/run.sh",))
    found = served(made, {**NODES, **made.nodes}).verdict(hashed(OLD)).findings
    assert [one.artifact for one in found] == ["models/m", "models/m/train.csv"]
    assert "dvc checkout" in found[0].help
    (alone,) = served(OLD_X, {}).verdict(hashed(OLD)).findings
    assert "dvc checkout" in alone.help


def test_named_modes_are_bounded() -> None:
    """A copy that lost every mode does not flood the report."""
    files = {f"f{number}": "x" for number in range(MAX_FILES + 5)}
    bare, full = tree(1, files), tree(1, files, executable=tuple(files))
    new = tree(2, files)
    older = Target(bare.digest, "models/m", True, bare.nodes, 1)
    target = Target(new.digest, "models/m", True, new.nodes, older=lambda: older)
    assert len(served(full, dict(full.nodes)).verdict(target).findings) == 1 + MAX_FILES


def test_a_digest_is_a_target_under_either_version() -> None:
    """As it was attested; a subject of a bundle only under the version that its media type says."""
    for made in (OLD, NEW):
        assert served(made).verdict(Target(made.digest, directory=None)).passed
        version = made.version
        assert served(made).verdict(Target(made.digest, "models/m", True, version=version)).passed
        other: Literal[1, 2] = 2 if version == 1 else 1
        assert not served(made).verdict(Target(made.digest, "models/m", True, version=other)).passed
    assert not served(OLD).verdict(Target(NEW.digest, directory=None)).passed


def test_target_names_its_digests() -> None:
    """What evidence is looked for by, and how the target reads under each version."""
    target = hashed(OLD)
    assert target.digests == (NEW.digest, OLD.digest)
    assert target.upgrade(OLD.digest) == NEW.digest
    assert target.upgrade(OLD_X.digest) is None
    assert target.under(1).content == f"directory sha256:{OLD.digest}"
    assert target.under(1).name == "models/m"
    assert target.under(2) is target
    alone = Target(NEW.digest, directory=True)
    assert (alone.digests, alone.upgrade(OLD.digest), alone.under(1)) == ((NEW.digest,), None, alone)
    assert Target.of(artifact(OLD), "x") == Target(OLD.digest, "x", True, version=1)
    assert replace(target, name="other").under(1).name == "other"


def test_summary_of_a_directory_says_its_version() -> None:
    """The subject of a VSA is what evidence of that version can match."""
    for version, target in ((2, hashed(OLD)), (1, Target(OLD.digest, "models/m", True, version=1))):
        decision = served(NEW if version == 2 else OLD).verdict(target)
        assert decision.passed
        (subject,) = summary(decision, "https://verifier.example").subject
        assert subject.manifest_version == version


# What takes away ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("used", [OLD, OLD_X, NEW], ids=["version 1", "other modes", "version 2"])
@pytest.mark.parametrize("named", [OLD, NEW, "run"], ids=["version 1", "version 2", "a file in it"])
def test_revocation_counts_under_both_versions(used: Manifest, named: Manifest | str) -> None:
    """Of the directory by either digest, and of a file in it."""
    found = chain(used, used, change=revokers)
    assert found.verdict().passed
    found.evidence["revocation"] = revoked({"x": named})
    assert "REVOKED_ARTIFACT" in {code for code, _, _ in codes(found.verdict())}


def test_revocation_of_a_subdirectory_counts_under_both_versions() -> None:
    """A directory below, by the digest of the version that the evidence is not of."""
    for used, other in ((OLD, NEW), (NEW, OLD_X)):
        manifests = Manifests(NODES.get)
        below = lookup({"d": manifests.artifact(descriptor("d", other))}, "d/deep", manifests)
        assert below is not None
        found = chain(used, used, change=revokers)
        found.evidence["revocation"] = revoked({"x": replace(other, digest=below.digest["sha256"])})
        assert "REVOKED_ARTIFACT" in {code for code, _, _ in codes(found.verdict())}


def test_revocation_of_another_directory_takes_nothing_away() -> None:
    """Also where its nodes are at hand, and where they are not."""
    other = tree(1, {"a": "b"})
    for nodes in (NODES, {**NODES, **other.nodes}):
        found = chain(NEW, NEW, nodes, change=revokers)
        found.evidence["revocation"] = revoked({"x": other})
        assert found.verdict().passed


@pytest.mark.parametrize(("good", "bad"), [(NEW, OLD), (NEW, OLD_X), (OLD, NEW), (OLD_X, NEW)])
def test_denied_statement_counts_under_both_versions(good: Manifest, bad: Manifest) -> None:
    """What an authorised signer said against a product is not escaped by attesting it under the other version."""
    floor = '    evidence: observed\n    constraints: [{name: floor, expression: "predicate.score >= 0.9"}]\n'
    before = "  - name: prepare\n    functionaries: [alice]\n    evidence: observed\n"
    after = "  - name: prepare\n    functionaries: [alice, bob]\n" + floor
    found = chain(good, good, change=lambda text: text.replace(before, after))
    made = found.evidence["prepare"]
    found.evidence["prepare"] = saying(made, score=0.95)
    assert found.verdict().passed
    against = statement("prepare", {"data/raw.csv": "raw"}, {"data/prepared": bad}, who="bob")
    found.evidence["against"] = saying(against, score=0.5)
    assert ("DENIED", "prepare", "data/prepared") in codes(found.verdict())


def test_unreadable_statement_counts_under_both_versions() -> None:
    """What an authorised signer signed against a product and this version cannot read: the same."""
    floor = '    evidence: observed\n    constraints: [{name: floor, expression: "predicate.score >= 0.9"}]\n'
    before = "  - name: prepare\n    functionaries: [alice]\n    evidence: observed\n"
    after = "  - name: prepare\n    functionaries: [alice, bob]\n" + floor
    for bad, passes in ((OLD_X, False), (NEW, False), (tree(1, {"a": "b"}), True)):
        found = chain(NEW, NEW, change=lambda text: text.replace(before, after))
        found.evidence["prepare"] = saying(found.evidence["prepare"], score=0.95)
        made = Statement.build(
            [descriptor("data/prepared", bad)], "https://slsa.dev/provenance/v1", {"buildDefinition": 3}
        )
        found.evidence["against"] = verified(made, "bob", NOW - timedelta(hours=1))
        assert found.verdict().passed == passes


def test_an_honest_world_is_of_version_2() -> None:
    """What these tests change is the version alone."""
    before = run()["prepare"].statement.subject[0]
    assert before.manifest_version == 2
    assert (
        verified(run()["prepare"].statement, "alice", NOW - timedelta(hours=1)).statement.subject[0] == before
    )
