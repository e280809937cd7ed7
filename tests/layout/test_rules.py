"""Artifact rules: what is reported beside the verdict (`test_rules_differential.py`), and our meaning of directories."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest
from in_toto.exceptions import RuleVerificationError
from in_toto.verifylib import RULE_TRACE, verify_item_rules

from gitchain.evidence.digest import DigestSet, sha256_hex
from gitchain.evidence.manifest import FileEntry, build_manifest
from gitchain.layout.artifact import Artifact, Link, Manifests, lookup
from gitchain.layout.rule import ArtifactList, ArtifactRule, parse_rule
from gitchain.layout.rules import RulesResult, apply_rules, match_name

NAMES = ("a", "b", "d/a", "d/b", "d/e/a", "d.x/a", ".h", "A", "d/]", "dd/a")
PATTERNS = ("*", "a", "d/*", "d/?", "?", "*a", "d*", "d/e/*", "*.x/*", "A", ".*", "nothing", "*]", "d")
PREFIXES = ("d", "d/e", "d.x", "nothing", "dd")


def file(content: str) -> Artifact:
    return Artifact(DigestSet({"sha256": sha256_hex(content.encode())}))


def link(materials: dict[str, Artifact] | None = None, products: dict[str, Artifact] | None = None) -> Link:
    return Link(materials or {}, products or {})


def rules(*lines: str) -> list[ArtifactRule]:
    return [parse_rule(line.split()) for line in lines]


def authorizer(
    lines: list[ArtifactRule],
    links: dict[str, Link],
    side: ArtifactList = ArtifactList.PRODUCTS,
    nodes: dict[str, bytes] | None = None,
) -> RulesResult:
    sources = {name: (one,) for name, one in links.items()}
    return apply_rules(lines, side, links["s"], sources, Manifests((nodes or {}).get))


def refused(outcome: RulesResult) -> list[tuple[str, str]]:
    return [(refusal.artifact, refusal.reason) for refusal in outcome.refusals]


def random_case(rng: random.Random) -> tuple[list[ArtifactRule], ArtifactList, dict[str, Link]]:
    def artifacts() -> dict[str, Artifact]:
        return {name: file(rng.choice("xyz")) for name in rng.sample(NAMES, rng.randint(0, 6))}

    def rule() -> ArtifactRule:
        word = rng.choice(
            ("MATCH", "MATCH", "MATCH", "CREATE", "DELETE", "MODIFY", "ALLOW", "DISALLOW", "REQUIRE")
        )
        if word == "REQUIRE":
            return parse_rule([word, rng.choice(NAMES)])
        if word != "MATCH":
            return parse_rule([word, rng.choice(PATTERNS)])
        source = ["IN", rng.choice(PREFIXES)] if rng.random() < 0.4 else []
        dest = ["IN", rng.choice(PREFIXES)] if rng.random() < 0.4 else []
        side = rng.choice(("MATERIALS", "PRODUCTS"))
        return parse_rule(
            [
                "MATCH",
                rng.choice(PATTERNS),
                *source,
                "WITH",
                side,
                *dest,
                "FROM",
                rng.choice(("t", "s", "gone")),
            ]
        )

    lines = [rule() for _ in range(rng.randint(0, 5))] + (rules("DISALLOW *") if rng.random() < 0.5 else [])
    links = {name: link(artifacts(), artifacts()) for name in ("s", "t")}
    return lines, rng.choice(list(ArtifactList)), links


def engine(
    lines: list[ArtifactRule], side: ArtifactList, links: dict[str, Link]
) -> tuple[bool, set[str] | None]:
    """Return in-toto's own verdict, and what is left in its queue where it passes."""
    plain = {
        name: SimpleNamespace(
            materials={key: dict(item.digest) for key, item in one.materials.items()},
            products={key: dict(item.digest) for key, item in one.products.items()},
        )
        for name, one in links.items()
    }
    try:
        verify_item_rules("s", side.value, [list(rule.tokens) for rule in lines], plain)
    except RuleVerificationError:
        return False, None
    trace = RULE_TRACE["trace"]
    return True, set(trace[-1]["queue"]) if trace else None


def test_matches_are_what_left_the_queue() -> None:
    """Each match names an artifact that in-toto's queue no longer holds after a passing run."""
    rng = random.Random(7)
    for _ in range(500):
        lines, side, links = random_case(rng)
        passed, queue = engine(lines, side, links)
        if passed and queue is not None:
            taken = {match.artifact for match in authorizer(lines, links, side).matches}
            assert not taken & queue


@pytest.mark.parametrize(
    ("pattern", "name", "hit"),
    [
        ("*", "a/b/.c", True),
        ("a/*", "a/b/c", True),
        ("?", "/", True),
        ("*", "x", True),
        ("a", "A", False),
        ("*.CSV", "x.csv", False),
    ],
)
def test_globs_cross_slashes_and_keep_case(pattern: str, name: str, hit: bool) -> None:
    """`*` and `?` match `/` and a leading dot; case is kept on every system."""
    outcome = authorizer(rules(f"DISALLOW {pattern}"), {"s": link(products={name: file("x")})})
    assert bool(outcome.refusals) is hit


def test_all_refusals_are_reported_with_what_match_expected() -> None:
    """A refused artifact says what the MATCH rule over it wanted; the second refusal is not lost."""
    links = {"s": link({"a": file("x"), "b": file("x")}), "t": link(products={"a": file("y")})}
    outcome = authorizer(
        rules("MATCH a WITH PRODUCTS FROM t", "DISALLOW *", "REQUIRE c"), links, ArtifactList.MATERIALS
    )
    assert refused(outcome) == [("a", "disallowed"), ("b", "disallowed"), ("c", "required")]
    near = outcome.refusals[0].near
    assert [(one.step, one.name, one.expected) for one in near] == [("t", "a", file("y"))]
    assert outcome.refusals[1].near == ()


def test_an_artifact_without_accepted_digest_matches_nothing() -> None:
    """md5 and Git's SHA-1 are carried and never matched on: equal md5 is no equality."""
    weak = Artifact(DigestSet({"md5": "0" * 32}))
    links = {"s": link({"a": weak}), "t": link(products={"a": weak})}
    assert refused(
        authorizer(rules("MATCH * WITH PRODUCTS FROM t", "DISALLOW *"), links, ArtifactList.MATERIALS)
    )


def test_a_disagreeing_second_digest_is_a_mismatch() -> None:
    """Two accepted digests in common must both agree."""
    one = Artifact(DigestSet({"sha256": "0" * 64, "sha512": "0" * 128}))
    two = Artifact(DigestSet({"sha256": "0" * 64, "sha512": "1" * 128}))
    links = {"s": link({"a": one}), "t": link(products={"a": two})}
    assert refused(
        authorizer(rules("MATCH * WITH PRODUCTS FROM t", "DISALLOW *"), links, ArtifactList.MATERIALS)
    )


# Directories -------------------------------------------------------------------------------------------------


def directory(**files: str) -> tuple[Artifact, dict[str, bytes]]:
    entries = [
        FileEntry(path.replace("__", "/"), False, len(content), sha256_hex(content.encode()))
        for path, content in files.items()
    ]
    manifest = build_manifest(entries)
    return Artifact(DigestSet({"sha256": manifest.digest}), directory=True), dict(manifest.nodes)


def test_a_directory_is_one_artifact() -> None:
    """A rule for the directory's name compares the manifest digest; nothing is opened."""
    data, _ = directory(x="1", y="2")
    links = {"s": link({"data": data}), "t": link(products={"data": data})}
    assert not authorizer(
        rules("MATCH data WITH PRODUCTS FROM t", "DISALLOW *"), links, ArtifactList.MATERIALS
    ).refusals


def test_a_file_never_equals_a_directory() -> None:
    """The same 64 hex digits as a file and as a directory are two different artifacts."""
    data, _ = directory(x="1")
    links = {"s": link({"data": Artifact(data.digest)}), "t": link(products={"data": data})}
    assert refused(
        authorizer(rules("MATCH data WITH PRODUCTS FROM t", "DISALLOW *"), links, ArtifactList.MATERIALS)
    )


@pytest.mark.parametrize("pattern", ["data/x", "data/*", "*"])
def test_one_file_of_an_earlier_directory_is_matched(pattern: str) -> None:
    """A step may take one file out of a directory that an earlier step made."""
    data, nodes = directory(x="1", sub__y="2")
    links = {"s": link({"data/x": file("1"), "data/sub/y": file("2")}), "t": link(products={"data": data})}
    lines = rules(
        f"MATCH {pattern} WITH PRODUCTS FROM t", "MATCH data/sub/y WITH PRODUCTS FROM t", "DISALLOW *"
    )
    assert not authorizer(lines, links, ArtifactList.MATERIALS, nodes).refusals


def test_a_changed_file_of_an_earlier_directory_is_refused() -> None:
    """The edge through a directory is checked by the file's digest, and the refusal says which."""
    data, nodes = directory(x="1")
    links = {"s": link({"data/x": file("9")}), "t": link(products={"data": data})}
    outcome = authorizer(
        rules("MATCH data/* WITH PRODUCTS FROM t", "DISALLOW *"), links, ArtifactList.MATERIALS, nodes
    )
    assert refused(outcome) == [("data/x", "disallowed")]
    assert outcome.refusals[0].near[0].expected == file("1")


def test_a_subdirectory_of_an_earlier_directory_is_matched() -> None:
    """A subdirectory's node has the same digest inside its parent as alone."""
    data, nodes = directory(sub__y="2", x="1")
    sub, _ = directory(y="2")
    links = {"s": link({"data/sub": sub}), "t": link(products={"data": data})}
    assert not authorizer(
        rules("MATCH data/sub WITH PRODUCTS FROM t", "DISALLOW *"), links, ArtifactList.MATERIALS, nodes
    ).refusals


def test_prefixes_reach_into_directories() -> None:
    """IN applies before the manifest is opened, on both sides."""
    data, nodes = directory(x="1")
    links = {"s": link({"in/x": file("1")}), "t": link(products={"out": data})}
    lines = rules("MATCH * IN in WITH PRODUCTS IN out FROM t", "DISALLOW *")
    assert not authorizer(lines, links, ArtifactList.MATERIALS, nodes).refusals


def test_an_own_directory_opens_where_a_rule_reaches_inside() -> None:
    """With a rule for its files, a directory stands for its files; each must be consumed."""
    data, nodes = directory(x="1", evil="2")
    links = {"s": link(products={"data": data})}
    lines = rules("CREATE data/x", "DISALLOW *")
    assert refused(authorizer(lines, links, nodes=nodes)) == [("data/evil", "disallowed")]


def test_a_wildcard_does_not_open_a_directory() -> None:
    """Only the literal part of a pattern reaches inside: `*` and `data*` see one artifact."""
    data, nodes = directory(x="1")
    links = {"s": link(products={"data": data})}
    for pattern in ("*", "data*", "da*/x"):
        assert refused(authorizer(rules(f"DISALLOW {pattern}"), links, nodes=nodes)) in (
            [("data", "disallowed")],
            [],
        )
    assert refused(authorizer(rules("DISALLOW data/x"), links, nodes=nodes)) == [("data/x", "disallowed")]


def test_require_reaches_inside() -> None:
    """REQUIRE names a file of a directory literally."""
    data, nodes = directory(x="1")
    links = {"s": link(products={"data": data})}
    assert not authorizer(rules("REQUIRE data/x"), links, nodes=nodes).refusals
    assert refused(authorizer(rules("REQUIRE data/y"), links, nodes=nodes)) == [("data/y", "required")]


def test_a_missing_manifest_is_refused_where_a_rule_reaches_inside() -> None:
    """Withholding a manifest must not hide a file from DISALLOW: the list is refused."""
    data, _ = directory(evil="1")
    links = {"s": link(products={"data": data})}
    assert refused(authorizer(rules("DISALLOW data/evil", "ALLOW *"), links)) == [("data", "closed")]


def test_a_missing_manifest_of_the_other_list_is_refused_where_it_matters() -> None:
    """CREATE compares with the materials, so a materials directory that stays closed must not make files new."""
    old, nodes = directory(x="1")
    links = {"s": link(materials={"data": old}, products={"data": old})}
    lines = rules("CREATE data/*", "DISALLOW *")
    assert refused(authorizer(lines, links, nodes=nodes)) == [("data/x", "disallowed")]
    assert ("data", "closed") in refused(authorizer(lines, links))


def test_a_missing_manifest_of_an_earlier_step_matches_nothing() -> None:
    """A lookup through a manifest that is not at hand, or is not what its digest says, finds nothing."""
    data, nodes = directory(x="1")
    links = {"s": link({"data/x": file("1")}), "t": link(products={"data": data})}
    lines = rules("MATCH data/* WITH PRODUCTS FROM t", "DISALLOW *")
    assert refused(authorizer(lines, links, ArtifactList.MATERIALS))
    assert refused(authorizer(lines, links, ArtifactList.MATERIALS, dict.fromkeys(nodes, b"{}")))


@pytest.mark.parametrize("order", [("data", "data/x"), ("data/x", "data")])
def test_a_list_that_contradicts_its_own_manifest_is_refused(order: tuple[str, str]) -> None:
    """A file named beside its directory with another digest cannot hide behind the manifest's entry."""
    data, nodes = directory(x="1")
    both = {"data": data, "data/x": file("bad")}
    links = {"s": link({name: both[name] for name in order}), "t": link(products={"data": data})}
    outcome = authorizer(
        rules("MATCH data/* WITH PRODUCTS FROM t", "DISALLOW *"), links, ArtifactList.MATERIALS, nodes
    )
    assert ("data/x", "conflict") in refused(outcome)


def test_several_links_of_a_source_are_alternatives() -> None:
    """With candidates for a source, an artifact is refused only if none of them holds it."""
    link_, one, two = (
        link({"a": file("1"), "b": file("2")}),
        link(products={"a": file("1")}),
        link(products={"b": file("2")}),
    )
    lines = rules("MATCH * WITH PRODUCTS FROM t", "DISALLOW *")
    none = Manifests(lambda _: None)
    assert not apply_rules(lines, ArtifactList.MATERIALS, link_, {"t": (one, two)}, none).refusals
    assert refused(apply_rules(lines, ArtifactList.MATERIALS, link_, {"t": (one,)}, none)) == [
        ("b", "disallowed")
    ]


def test_each_manifest_node_is_read_once() -> None:
    """Ten thousand lookups into one directory cost one parse of its node."""
    data, nodes = directory(**{f"f{number}": "x" for number in range(1000)})
    asked: list[str] = []

    def fetch(digest: str) -> bytes | None:
        asked.append(digest)
        return nodes.get(digest)

    link_ = link({f"data/f{number}": file("x") for number in range(1000)})
    lines = rules("MATCH data/* WITH PRODUCTS FROM t", "DISALLOW *")
    assert not apply_rules(
        lines, ArtifactList.MATERIALS, link_, {"t": (link(products={"data": data}),)}, Manifests(fetch)
    ).refusals
    assert len(asked) == 1


def test_lookup_stops_at_a_file() -> None:
    """Nothing is below a file, in a list or in a manifest."""
    data, nodes = directory(x="1")
    assert lookup({"a": file("1")}, "a/b", Manifests(nodes.get)) is None
    assert lookup({"data": data}, "data/x/y", Manifests(nodes.get)) is None
    assert lookup({"data": data}, "data/z", Manifests(nodes.get)) is None
    assert lookup({"data": data}, "data/x", Manifests(nodes.get)) == file("1")


# What is reported beside the verdict --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "name", "dest"),
    [
        ("MATCH * WITH PRODUCTS FROM t", "a/b", "a/b"),
        ("MATCH b IN a WITH PRODUCTS FROM t", "a/b", "b"),
        ("MATCH b IN a WITH PRODUCTS IN c/d FROM t", "a/b", "c/d/b"),
        ("MATCH * IN a WITH PRODUCTS IN c FROM t", "ab/b", None),
        ("MATCH b IN a WITH PRODUCTS FROM t", "b", None),
        ("MATCH c IN a WITH PRODUCTS FROM t", "a/b", None),
        ("ALLOW *", "a", None),
    ],
)
def test_match_name_is_where_a_rule_looks(line: str, name: str, dest: str | None) -> None:
    """The prefixes are exchanged, the pattern applies to what is between them; no other rule looks anywhere."""
    assert match_name(parse_rule(line.split()), name) == dest


def test_a_refusal_names_every_match_rule_over_it_and_the_first_that_is_there() -> None:
    """Rules that do not cover the artifact are left out; of several links, the first that holds the name speaks."""
    mine = link({"in/a": file("x"), "b": file("x")})
    sources = {
        "t": (link(products={}), link(products={"out/a": file("y")}), link(products={"out/a": file("z")}))
    }
    lines = rules(
        "ALLOW nothing",
        "MATCH * IN in WITH PRODUCTS IN out FROM t",
        "MATCH z WITH PRODUCTS FROM t",
        "MATCH in/* WITH MATERIALS FROM gone",
        "DISALLOW *",
    )
    outcome = apply_rules(lines, ArtifactList.MATERIALS, mine, sources, Manifests(lambda _: None))
    assert refused(outcome) == [("b", "disallowed"), ("in/a", "disallowed")]
    assert outcome.refusals[0].near == ()
    assert [(one.step, one.side, one.name, one.expected) for one in outcome.refusals[1].near] == [
        ("t", ArtifactList.PRODUCTS, "out/a", file("y")),
        ("gone", ArtifactList.MATERIALS, "in/a", None),
    ]
    quiet = apply_rules(
        lines, ArtifactList.MATERIALS, mine, sources, Manifests(lambda _: None), explain=False
    )
    assert refused(quiet) == refused(outcome)
    assert [refusal.near for refusal in quiet.refusals] == [(), ()]
    assert quiet.applied == ()


def test_what_each_rule_did_is_told() -> None:
    """Each rule in order with what it consumed and refused; matches are sorted by name."""
    mine = link({"a": file("1"), "b": file("2"), "c": file("3")})
    sources = {"t": (link(products={"b": file("2"), "a": file("1")}),)}
    lines = rules("MATCH * WITH PRODUCTS FROM t", "REQUIRE a", "ALLOW c", "REQUIRE d", "DISALLOW *")
    outcome = apply_rules(lines, ArtifactList.MATERIALS, mine, sources, Manifests(lambda _: None))
    assert [(one.consumed, one.refused) for one in outcome.applied] == [
        (("a", "b"), ()),
        ((), ("a",)),
        (("c",), ()),
        ((), ("d",)),
        ((), ()),
    ]
    assert [(one.artifact, one.step, one.side) for one in outcome.matches] == [
        ("a", "t", ArtifactList.MATERIALS),
        ("b", "t", ArtifactList.MATERIALS),
    ]
    assert [(one.artifact, one.got, one.reason, one.near) for one in outcome.refusals] == [
        ("a", file("1"), "required", ()),
        ("d", None, "required", ()),
    ]


def test_the_rule_that_reaches_inside_is_named() -> None:
    """A directory that stays closed is refused once, by the first rule that reaches into it."""
    data, _ = directory(x="1")
    mine = link(products={"data": data, "other": data})
    lines = rules("ALLOW data", "ALLOW elsewhere/x", "REQUIRE data/x", "ALLOW data/*")
    outcome = apply_rules(lines, ArtifactList.PRODUCTS, mine, {}, Manifests(lambda _: None))
    assert [(one.artifact, one.reason, str(one.rule)) for one in outcome.refusals] == [
        ("data", "closed", "REQUIRE data/x"),
        ("data/x", "required", "REQUIRE data/x"),
    ]
    assert outcome.refusals[0].got == data
    assert [one.refused for one in outcome.applied] == [(), (), ("data", "data/x"), ()]


def test_a_pattern_with_a_prefix_reaches_inside_as_a_whole() -> None:
    """`MATCH * IN data/sub` reaches into data; `MATCH * IN data` does so too, `MATCH data` does not."""
    data, nodes = directory(sub__y="2", x="1")
    mine = link({"data": data})
    for line, names in (
        ("MATCH * IN data/sub WITH PRODUCTS FROM t", ["data/sub/y", "data/x"]),
        ("MATCH x IN data WITH PRODUCTS FROM t", ["data/sub/y", "data/x"]),
        ("MATCH data WITH PRODUCTS FROM t", ["data"]),
    ):
        outcome = authorizer(rules(line, "DISALLOW *"), {"s": mine}, ArtifactList.MATERIALS, nodes)
        assert refused(outcome) == [(name, "disallowed") for name in names]


def test_one_list_is_opened_without_the_other() -> None:
    """Only CREATE, DELETE and MODIFY look at the other list, so only with them must it open."""
    data, nodes = directory(x="1")
    old, _ = directory(old="1")
    links = {"s": link(materials={"data": old}, products={"data": data})}
    assert not authorizer(rules("REQUIRE data/x"), links, nodes=nodes).refusals
    assert not authorizer(rules("ALLOW data/*", "DISALLOW *"), links, nodes=nodes).refusals
    for word in ("CREATE", "DELETE", "MODIFY"):
        found = authorizer(rules(f"{word} data/*"), links, nodes=nodes).refusals
        assert [(one.artifact, one.reason, one.side) for one in found] == [
            ("data", "closed", ArtifactList.MATERIALS)
        ]
