"""Drafted layouts: valid, closed at every end, and satisfied by the pipeline that they were drafted from."""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gitchain.errors import LayoutError, MalformedError
from gitchain.evidence.digest import DigestSet, Sha256, sha256_hex
from gitchain.evidence.manifest import FileEntry, build_manifest
from gitchain.evidence.names import check_name, check_step_name
from gitchain.layout.artifact import Artifact, Link, Manifests
from gitchain.layout.draft import draft
from gitchain.layout.lint import lint
from gitchain.layout.load import parse_layout
from gitchain.layout.model import Identity, Layout
from gitchain.layout.rule import ArtifactList, Keyword
from gitchain.layout.rules import apply_rules
from gitchain.layout.stage_paths import DraftStage
from gitchain.verify.target import is_served

ALICE = Identity("https://issuer.example", "alice@example.com")
GOLDEN = Path(__file__).parent / "golden"
EXPIRES = datetime(2027, 11, 22, tzinfo=UTC)
STAGES = (
    DraftStage("data/raw.csv", outs=("data/raw.csv",), observed=False),
    DraftStage("prepare", deps=("data/raw.csv", "src/prepare.py"), outs=("data/prepared",)),
    DraftStage("train@us", deps=("data/prepared/train.csv", "src"), outs=("models/us.pkl",)),
    DraftStage("evaluate", deps=("data/prepared", "data/prepared/test.csv", "models", "src/[x].py"), outs=("metrics.json",), reports=("metrics.json",)),
)  # fmt: skip


def made(stages: tuple[DraftStage, ...] = STAGES, **more: object) -> Layout:
    return parse_layout(draft("credit-model", stages, ALICE, EXPIRES, **more).encode())  # type: ignore[arg-type]


def file(content: str) -> Artifact:
    return Artifact(DigestSet({"sha256": sha256_hex(content.encode())}))


def directory(*names: str) -> tuple[Artifact, dict[str, bytes]]:
    manifest = build_manifest(FileEntry(name, False, 1, sha256_hex(name.encode())) for name in names)
    return Artifact(DigestSet({"sha256": manifest.digest}), directory=True), dict(manifest.nodes)


def test_a_step_per_stage_and_a_match_per_edge() -> None:
    """Every edge of the pipeline is a MATCH, every list ends with DISALLOW *, every input is required."""
    layout = made()
    assert [(step.name, step.evidence) for step in layout.steps] == [
        ("data/raw.csv", "declared"),
        ("prepare", "observed"),
        ("train@us", "observed"),
        ("evaluate", "observed"),
    ]
    assert [step.sources for step in layout.steps] == [
        (),
        ("data/raw.csv",),
        ("prepare",),
        ("prepare", "train@us"),
    ]
    for step in layout.steps:
        for rules in (step.expected_materials, step.expected_products):
            assert rules[-1].tokens == ("DISALLOW", "*")
    required = {
        rule.pattern
        for step in layout.steps
        for rule in step.expected_materials
        if rule.keyword is Keyword.REQUIRE
    }
    assert required == {"data/raw.csv", "data/prepared/train.csv", "data/prepared/test.csv"}


def test_sources_outside_the_repository_are_allowed() -> None:
    """An imported data set's URI is a material of its step; Git's own are allowed everywhere already."""
    sources = ("https://example.com/raw.csv", "git+https://example.com/a.git", "git:local", "db:shop")
    tracked = DraftStage("data/raw.csv", outs=("data/raw.csv",), observed=False, sources=sources)
    rules = [rule.tokens for rule in made((tracked, *STAGES[1:])).steps[0].expected_materials]
    assert rules == [
        ("ALLOW", "https://example.com/raw.csv"),
        ("ALLOW", "db:shop"),
        ("ALLOW", "git+*"),
        ("ALLOW", "git:*"),
        ("DISALLOW", "*"),
    ]


def test_only_what_no_stage_reports_is_served() -> None:
    """Metrics are not served although nothing consumes them; the model is, although evaluation reads it."""
    assert [(one.step, one.products) for one in made().serve] == [("train@us", ("models/us.pkl",))]
    named = made(serve=["models/us.pkl", "data/prepared/train.csv"])
    assert [(one.step, one.products) for one in named.serve] == [
        ("prepare", ("data/prepared/train.csv",)),
        ("train@us", ("models/us.pkl",)),
    ]


def test_the_pipeline_itself_satisfies_the_draft() -> None:
    """Evidence of an honest run passes every list: directories, files inside them, parameters, the commit."""
    layout = made()
    prepared, nodes = directory("train.csv", "test.csv")
    models, more = directory("us.pkl")
    nodes |= more
    git = Artifact(DigestSet({"gitCommit": "0" * 40}))
    common = {"git+https://example.com/r": git}
    links = {
        "data/raw.csv": Link({}, {"data/raw.csv": file("raw")}),
        "prepare": Link({"data/raw.csv": file("raw"), "src/prepare.py": file("c"), **common}, {"data/prepared": prepared}),
        "train@us": Link(
            {"data/prepared/train.csv": file("train.csv"), "src": models, **common}, {"models/us.pkl": file("us.pkl")}
        ),
        "evaluate": Link(
            {"data/prepared": prepared, "data/prepared/test.csv": file("test.csv"), "models": models, "src/[x].py": file("x"), "git:local": git},
            {"metrics.json": file("m")},
        ),
    }  # fmt: skip
    sources = {name: (link,) for name, link in links.items()}
    for step in layout.steps:
        for side, rules in (
            (ArtifactList.MATERIALS, step.expected_materials),
            (ArtifactList.PRODUCTS, step.expected_products),
        ):
            outcome = apply_rules(rules, side, links[step.name], sources, Manifests(nodes.get))
            assert outcome.refusals == (), (step.name, side)


def test_a_swapped_file_inside_a_mixed_directory_is_refused() -> None:
    """A directory that holds sources beside a stage's out accepts any source, and only that stage's out."""
    layout = made()
    prepared, nodes = directory("train.csv", "test.csv")
    manifest = build_manifest(
        [FileEntry("us.pkl", False, 1, Sha256("0" * 64)), FileEntry("notes", False, 1, Sha256("1" * 64))]
    )
    models = Artifact(DigestSet({"sha256": manifest.digest}), directory=True)
    link = Link({"data/prepared": prepared, "data/prepared/test.csv": file("test.csv"), "models": models}, {})
    links = {"prepare": Link({}, {"data/prepared": prepared}), "evaluate": link}
    links["train@us"] = Link({}, {"models/us.pkl": file("us.pkl")})
    rules = layout.step("evaluate").expected_materials
    manifests = Manifests((nodes | dict(manifest.nodes)).get)
    sources = {name: (one,) for name, one in links.items()}
    outcome = apply_rules(rules, ArtifactList.MATERIALS, link, sources, manifests)
    assert [refusal.artifact for refusal in outcome.refusals] == ["models/us.pkl"]


def test_evidence_that_names_nothing_does_not_satisfy_the_draft() -> None:
    """Empty materials of a step with inputs are refused: its inputs are required."""
    layout = made()
    step = layout.step("prepare")
    outcome = apply_rules(
        step.expected_materials, ArtifactList.MATERIALS, Link({}, {}), {}, Manifests(lambda _: None)
    )
    assert [refusal.artifact for refusal in outcome.refusals] == ["data/raw.csv"]


@pytest.mark.parametrize("name", ["no", "true", "1", "a b", 'quo"te', "колонка", "# x", "a: b", "- x", "{a}"])
def test_odd_names_survive(name: str) -> None:
    """A name is quoted wherever YAML would read something else."""
    stages = (DraftStage(name, deps=(f"in/{name}",), outs=(f"out/{name}",)),)
    layout = parse_layout(draft(name, stages, ALICE, EXPIRES).encode())
    assert (layout.name, layout.steps[0].name) == (name, name)
    assert layout.serve[0].products == (f"out/{name}",)
    assert "колонка" in draft("колонка", stages, ALICE, EXPIRES)


def test_a_draft_says_why_a_rule_is_there() -> None:
    """Beside the rules that let something in."""
    lines = draft("credit-model", STAGES, ALICE, EXPIRES).splitlines()
    [commit, *_] = [line for line in lines if line.endswith("# the commit")]
    assert commit.strip().startswith("- [ALLOW, ")
    assert any(line.endswith("# no stage makes this: any content is accepted") for line in lines)
    assert all(line.endswith("]") for line in lines if "- [REQUIRE, " in line)


def test_a_draft_is_for_reading() -> None:
    """Parts stand apart, each behind what it is for."""
    parts = draft("credit-model", STAGES, ALICE, EXPIRES).split("\n\n")
    assert [part.splitlines()[0] for part in parts] == [
        "# Who may do which step of this model's life, and how the steps fit together.",
        "# A functionary is one person or workload; both issuer and subject must be exactly right.",
        "steps:",
        *["  - name: prepare", "  - name: train@us", "  - name: evaluate"],
        "# What may be served: only these products, and only if every step above is in order.",
    ]


def test_workload_identities_get_a_plain_label() -> None:
    """A URL subject makes no good label."""
    ci = Identity("https://token.example", "https://example.com/repo/.ci@refs/heads/main")
    assert [one.name for one in parse_layout(draft("m", STAGES, ci, EXPIRES).encode()).functionaries] == [
        "builder"
    ]
    assert [one.name for one in made().functionaries] == ["alice"]


def test_every_draft_of_these_tests_lints_without_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A draft may leave choices to its reader, but no rule of it undoes another: whatever the pipeline's shape."""
    checked: list[str] = []
    plain = draft

    def checking(*args: Any, **more: Any) -> str:
        text = plain(*args, **more)
        found = lint(parse_layout(text.encode()), datetime(2027, 1, 1, tzinfo=UTC))
        assert [one for one in found if one.severity == "error"] == [], text
        checked.append(text)
        return text

    monkeypatch.setitem(globals(), "draft", checking)
    for test in (
        test_a_step_per_stage_and_a_match_per_edge,
        test_only_what_no_stage_reports_is_served,
        test_a_swapped_file_inside_a_mixed_directory_is_refused,
        test_independent_models_are_drafted_each_with_its_steps,
        test_a_directory_that_holds_reports_hides_no_model,
        test_a_pipeline_of_reports_alone_serves_them,
        test_workload_identities_get_a_plain_label,
    ):
        test()
    assert len(checked) >= 7


RESERVED = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"]


@pytest.mark.parametrize("word", [*RESERVED, "True", "NO"])
def test_a_name_that_yaml_reads_as_something_else_is_quoted(word: str) -> None:
    """YAML 1.1 reads such a word as a boolean or null, so a draft never writes it plain."""
    text = draft("m", [DraftStage(word, outs=("model",))], ALICE, EXPIRES)
    assert f'  - name: "{word}"\n' in text
    assert f'  - step: "{word}"\n' in text
    assert yaml.safe_load(text)["steps"][0]["name"] == word


@pytest.mark.parametrize(
    ("subject", "label"),
    [
        ("alice@example.com", "alice"),
        ("Alice Smith+ci@example.com", "alice-smith-ci"),
        ("-.a.-@example.com", "a"),
        ("@example.com", "builder"),
        ("\u00e9@example.com", "builder"),
        ("https://github.com/acme/m", "builder"),
    ],
)
def test_a_functionary_is_labelled_by_its_mail_address(subject: str, label: str) -> None:
    """Letters, digits, dots and dashes of the part before the @; `builder` where nothing is left of it."""
    text = draft("m", [DraftStage("train", outs=("model",))], Identity("https://i.example", subject), EXPIRES)
    assert list(yaml.safe_load(text)["functionaries"]) == [label]


TRAIN = DraftStage("train", deps=("data.csv",), outs=("model.pkl",))


def served(*stages: DraftStage, **more: object) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    return {one.step: (one.products, one.steps) for one in made(stages, **more).serve}


def test_each_product_of_a_shared_data_set_needs_its_own_steps() -> None:
    """Where one product needs every step and another does not, both name theirs."""
    data = DraftStage("prepare", outs=("data.csv",))
    other = DraftStage("other", deps=("data.csv",), outs=("other.pkl",))
    found = served(data, TRAIN, other, serve=["data.csv", "model.pkl", "other.pkl"])
    assert {step: steps for step, (_, steps) in found.items()} == {
        "prepare": ("prepare", "train", "other"),
        "train": ("prepare", "train"),
        "other": ("prepare", "other"),
    }


def test_a_stage_that_takes_a_directory_belongs_to_every_stage_that_makes_some_of_it() -> None:
    """Whatever else the maker makes beside it."""
    maker = DraftStage("train", outs=("models/a.pkl", "log.txt"))
    taker = DraftStage("check", deps=("models",), outs=("m.json",), reports=("m.json",))
    assert [step.name for step in made((maker, taker)).steps] == ["train", "check"]


def test_reports_alone_are_not_served_beside_a_model() -> None:
    """A stage that only reports, and has nothing to do with the model, is left out."""
    report = DraftStage("lint", deps=("src",), outs=("lint.json",), reports=("lint.json",))
    assert served(report, TRAIN) == {"train": (("model.pkl",), ())}


def test_a_frozen_stage_is_not_what_a_pipeline_ends_in() -> None:
    """What runs is served: what a frozen stage made of it is not."""
    frozen = DraftStage("export", deps=("model.pkl",), outs=("model.onnx",), observed=False)
    assert served(TRAIN, frozen) == {"train": (("model.pkl",), ())}


def test_a_directory_and_a_file_in_it_are_allowed_together() -> None:
    """A directory that the list opens is allowed by the names of its files, another file by its own."""
    stage = DraftStage("train", deps=("src", "src/a.py", "X.csv"), outs=("X.pkl",))
    [step] = made((stage,)).steps
    allowed = [one.pattern for one in step.expected_materials if one.keyword is Keyword.ALLOW]
    assert allowed == ["src/*", "src/a.py", "X.csv", "git+*", "git:*"]
    required = [one.pattern for one in step.expected_products if one.keyword is Keyword.REQUIRE]
    assert required == ["X.pkl"]


@pytest.mark.parametrize(
    ("name", "spelled"),
    [
        ("X 1.pkl", '"X 1.pkl"'),
        ('a"b', '"a\\"b"'),
        ("a\u2003b", '"a\\U00002003b"'),
        ("a-b", "a-b"),
    ],
)
def test_a_path_is_spelled_so_that_yaml_reads_it_back(name: str, spelled: str) -> None:
    """Quotes, backslashes and what does not print are escaped, and nothing else."""
    text = draft("m", [DraftStage("train", outs=(name,))], ALICE, EXPIRES)
    assert f"products: [{spelled}]" in text
    noted = draft("m", [TRAIN], ALICE, EXPIRES, notes=["a\\b\n"])
    assert '# Attested, and not in here: "a\\\\b\\U0000000a"\n' in noted
    assert yaml.safe_load(text)["serve"][0]["products"] == [name]


def test_what_nothing_makes_cannot_be_served() -> None:
    """The path that is wrong is named, also after one that is right; without any product there is no draft."""
    with pytest.raises(LayoutError, match="no stage makes the product to serve") as caught:
        made(serve=["models/us.pkl", "nothing"])
    assert (caught.value.where, caught.value.got) == ("serve", "nothing")
    with pytest.raises(LayoutError, match="no stage makes anything that could be served") as caught:
        made((DraftStage("check", deps=("data",)),))
    assert caught.value.help == "name it under artifacts: in dvc.yaml"


def test_nothing_to_serve_is_said() -> None:
    """A pipeline that makes nothing, or not what is asked for, gives an error instead of an empty policy."""
    with pytest.raises(LayoutError):
        draft("m", (DraftStage("s", deps=("a",)),), ALICE, EXPIRES)
    with pytest.raises(LayoutError):
        made(serve=["other.pkl"])


def test_independent_models_are_drafted_each_with_its_steps() -> None:
    """Each part of the pipeline that makes a model is served on its own; data that nothing takes is named in a comment."""
    spare = DraftStage("extra.dvc", outs=("extra",), observed=False)
    other = DraftStage("other", deps=("x.txt",), outs=("other.pkl",))
    text = draft("credit-model", (spare, other, *STAGES), ALICE, EXPIRES)
    layout = parse_layout(text.encode())
    assert [step.name for step in layout.steps] == ["other", *(stage.name for stage in STAGES)]
    assert [(one.step, one.steps) for one in layout.serve] == [
        ("other", ("other",)),
        ("train@us", tuple(stage.name for stage in STAGES)),
    ]
    assert 'depends on them: "extra.dvc"\n' in text
    assert lint(layout, datetime(2027, 1, 1, tzinfo=UTC))[0].severity == "warning"
    named = made((spare, other, *STAGES), serve=["other.pkl"])
    assert [step.name for step in named.steps] == ["other"]
    assert named.serve[0].steps == ()
    both = made((other, *STAGES), serve=["models/us.pkl", "other.pkl"])
    assert [one.products for one in both.serve] == [("other.pkl",), ("models/us.pkl",)]


def test_models_of_one_data_set_are_drafted_each_with_its_steps() -> None:
    """Trainings that share their data need it, their own evaluation and nothing of each other."""
    shared = DraftStage("prep", deps=("raw",), outs=("clean",))
    models = [DraftStage(f"train@{name}", deps=("clean",), outs=(f"{name}.bin",)) for name in ("us", "gb")]
    score = DraftStage("score@us", deps=("us.bin",), outs=("us.json",), reports=("us.json",))
    layout = made((shared, *models, score))
    assert {one.step: one.steps for one in layout.serve} == {
        "train@us": ("prep", "train@us", "score@us"),
        "train@gb": ("prep", "train@gb"),
    }
    compared = DraftStage("compare", deps=("us.bin", "gb.bin"), outs=("all.json",), reports=("all.json",))
    assert all(one.steps == () for one in made((shared, *models, compared)).serve)


def test_data_alone_is_served_where_there_is_nothing_else() -> None:
    """A pipeline without a stage that runs has its data sets as products, each with its own step."""
    data = [DraftStage(f"{name}.dvc", outs=(name,), observed=False) for name in ("a", "b")]
    assert [one.steps for one in made((data[0], data[1])).serve] == [("a.dvc",), ("b.dvc",)]
    report = DraftStage("s", outs=("m.json",), reports=("m.json",))
    assert [one.step for one in made((data[0], report)).serve] == ["s"]


HOSTILE = (
    "models/*", "models/?", "models/[a]", "models/[*]", "[[]", "[!a]", "a]b", "*", "?", "**", "a*b?c[d",
    "# x", "x # y", "- x", "? x", ": x", "a: b", "{a}", "[a, b]", "&a", "*a", "!a", "|", ">", "%a", "@a", "`a`",
    '"', "'", 'a"b', "a'b", "~", "null", "True", "no", "NO", "On", "y", "1", "1.0", "0x10", "1e3", ".inf", "2027-01-01",
    "<<", "=", "...", "---", "--- a", "a ,b", "a]", "}", "\u00e9", "\u20ac", "\U0001f600", "\U0001f600*", "\u00a0x",
    "FROM", "WITH", "IN", "DISALLOW", "git:model", "git+model", "x" * 190, "колонка",
)  # fmt: skip
"""Names that are valid for files, and that mean something in YAML or in a pattern."""
REFUSED = ("a\nb", "a\rb", "a\u0085b", "a\u2028b", "a\u2029b", "a\x00b", "a\tb", "a\x7fb", "a\\b", "a\ud800b")
ALPHABET = "ab/*?[]!^-#:,{}&|>%@`\"' .~\u00a0\u00e9\u2028\u2029\u0085\ufeff\u200e\U0001f600\n\t"


def hostile_draft(step: str, path: str) -> Layout:
    """Return the layout of two stages and a left-out data set with these names, checked word by word."""
    stages = (
        DraftStage(f"{step}.dvc", outs=(f"left/{path}",), observed=False),
        DraftStage(step, deps=(f"src/{path}",), outs=(path,)),
        DraftStage(f"{step}2", deps=(path,), outs=("report",), reports=("report",)),
    )
    text = draft("credit-model", stages, ALICE, EXPIRES)
    assert all(char == "\n" or char.isprintable() for char in text)
    layout = parse_layout(text.encode())
    assert [one.name for one in layout.steps] == [step, f"{step}2"]
    assert [one.functionaries for one in layout.steps] == [("alice",), ("alice",)]
    assert layout.step(f"{step}2").sources == (step,)
    assert [(one.step, one.steps) for one in layout.serve] == [(step, ())]
    as_others_read = yaml.safe_load(text)
    assert as_others_read["serve"] == [{"step": step, "products": list(layout.serve[0].products)}]
    assert [one["name"] for one in as_others_read["steps"]] == [step, f"{step}2"]
    assert set(as_others_read) == {"schema", "name", "version", "expires", "functionaries", "steps", "serve"}
    return layout


def others(path: str) -> set[str]:
    """Return names near this one: what a wildcard in it would match."""
    near = {path.replace(char, more) for char in "*?[]!" for more in ("", "x", "xy", "x/y")}
    return (near | {f"{path}x", f"x{path}", f"{path}/x", "x", "a", "models/evil", "models/a"}) - {path}


def serves_only(layout: Layout, step: str, path: str) -> None:
    assert is_served(layout, step, path)
    assert [name for name in others(path) if is_served(layout, step, name)] == []
    for side, link in (
        (ArtifactList.PRODUCTS, Link({}, {path: file("model")})),
        (ArtifactList.MATERIALS, Link({f"src/{path}": file("code")}, {})),
    ):
        rules = (
            layout.step(step).expected_products
            if side is ArtifactList.PRODUCTS
            else layout.step(step).expected_materials
        )
        assert not apply_rules(rules, side, link, {}, Manifests(lambda _: None)).refusals
        name = next(iter(link.products or link.materials))
        for other in others(path):
            near = (
                Link({f"src/{other}": file("x")}, {})
                if side is ArtifactList.MATERIALS
                else Link({}, {other: file("x")})
            )
            refused = apply_rules(rules, side, near, {}, Manifests(lambda _: None)).refusals
            assert any(one.artifact != name for one in refused), (name, other)


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_a_draft_takes_names_as_they_are(name: str) -> None:
    """Whatever a stage or a file is called, the draft names exactly it: no field, no comment's end, no wildcard."""
    step = name.strip()
    serves_only(hostile_draft(step, name), step, name)


@pytest.mark.parametrize("name", REFUSED, ids=ascii)
def test_a_draft_refuses_names_that_no_layout_holds(name: str) -> None:
    """A name with a line break or another control character is an error that shows it escaped, not a field of its own."""
    named = (
        [] if "\\" in name else [DraftStage(name, outs=("a",))]
    )  # a step may hold a backslash, a path may not
    for stage in (DraftStage("s", outs=(name,)), DraftStage("s", (name,), ("a",)), *named):
        with pytest.raises(LayoutError) as caught:
            draft("credit-model", (stage,), ALICE, EXPIRES)
        assert str(caught.value).isprintable()
    spare = DraftStage(name, outs=("left",), observed=False)
    text = draft("credit-model", (spare, DraftStage("s", outs=("a",))), ALICE, EXPIRES)
    assert all(char == "\n" or char.isprintable() for char in text)
    assert [step.name for step in parse_layout(text.encode()).steps] == ["s"]


@given(st.text(ALPHABET, min_size=1, max_size=12), st.text(ALPHABET, min_size=1, max_size=12))
def test_a_draft_takes_any_name_as_it_is_or_refuses_it(step: str, path: str) -> None:
    """For names made of everything that is special somewhere: exactly the intended layout, or one clear error."""
    try:
        check_step_name(f"{step}2"), check_step_name(step), check_name(path)
    except MalformedError:
        with contextlib.suppress(LayoutError):
            hostile_draft(step, path)
        return
    serves_only(hostile_draft(step, path), step, path)


def test_a_path_that_looks_like_a_source_is_bound() -> None:
    """The rules that allow the commit allow no other content of a product that is called like one."""
    stages = (DraftStage("make", outs=("git:x",)), DraftStage("train", deps=("git:x",), outs=("m",)))
    layout = made(stages)
    sources = {"make": (Link({}, {"git:x": file("good")}),)}
    rules = layout.step("train").expected_materials
    for content, refused in (("good", []), ("bad", ["git:x"])):
        link = Link({"git:x": file(content)}, {})
        found = apply_rules(rules, ArtifactList.MATERIALS, link, sources, Manifests(lambda _: None)).refusals
        assert [one.artifact for one in found] == refused


def test_a_directory_that_holds_reports_hides_no_model() -> None:
    """Metrics that lie in an evaluation's directory do not make it the model; nor is a model beside its metrics left out."""
    evaluation = DraftStage("evaluate", deps=("models/us.pkl",), outs=("eval",), mixed=("eval",))
    served = {one.step: one.products for one in made((*STAGES[:3], evaluation)).serve}
    assert served["train@us"] == ("models/us.pkl",)
    training = DraftStage("train", deps=("data/prepared",), outs=("out",), mixed=("out",))
    served = {one.step: one.products for one in made((*STAGES[:2], training)).serve}
    assert served["train"] == ("out",)


def test_a_pipeline_of_reports_alone_serves_them() -> None:
    """Where every stage only reports, the reports are what there is."""
    layout = made((DraftStage("s", outs=("m.json",), reports=("m.json",)),))
    assert layout.serve[0].products == ("m.json",)


def test_no_product_is_required_that_is_a_pattern_or_is_opened() -> None:
    """A name with a wildcard, and a directory beside a file of its own, cannot be required; the rest is."""
    stages = (DraftStage("make", outs=("out", "out/a", "b*", "c?", "d")),)
    required = [
        rule.pattern for rule in made(stages).steps[0].expected_products if rule.keyword is Keyword.REQUIRE
    ]
    assert required == ["out/a", "d"]


def test_what_is_built_on_is_not_served() -> None:
    """Whole, in part, or as a part of the directory that the next stage takes."""
    for dep in ("models/us.pkl", "models", "models/us.pkl/part"):
        package = DraftStage("package", deps=(dep,), outs=("package.tar",))
        assert [one.products for one in made((*STAGES[:3], package)).serve] == [("package.tar",)]


def test_a_stage_takes_nothing_from_itself() -> None:
    """What it goes on with came from somewhere else, or from nowhere."""
    stages = (DraftStage("train", deps=("state",), outs=("state", "model")),)
    step = made(stages, serve=["model"]).steps[0]
    assert not [rule for rule in step.expected_materials if rule.keyword is Keyword.MATCH]


def test_a_training_s_own_report_is_not_served() -> None:
    """Metrics that a stage writes beside its model are no model, though nothing takes them either."""
    training = DraftStage(
        "train", deps=("data/prepared",), outs=("model.pkl", "metrics.json"), reports=("metrics.json",)
    )
    assert [one.products for one in made((*STAGES[:2], training)).serve] == [("model.pkl",)]


@pytest.mark.parametrize(
    ("dep", "out", "keyword"),
    [
        ("state", "state", Keyword.ALLOW),
        ("state/old", "state", Keyword.ALLOW),
        ("state", "state/new", Keyword.ALLOW),
        ("states", "state", Keyword.CREATE),
        ("a/state", "state", Keyword.CREATE),
    ],
)
def test_what_a_stage_goes_on_with_need_not_be_new(dep: str, out: str, keyword: Keyword) -> None:
    """An out that the stage read before, or a part or the whole of it, is allowed to be what it was."""
    stages = (DraftStage("train", deps=(dep,), outs=(out,)),)
    products = made(stages, serve=[out]).steps[0].expected_products
    assert [rule.keyword for rule in products] == [Keyword.REQUIRE, keyword, Keyword.DISALLOW]


WHOLE = (
    DraftStage("raw.dvc", outs=("raw",), observed=False, sources=("https://example.com/raw", "git+https://example.com/a")),
    DraftStage("prepare", deps=("raw", "raw/labels.csv", "src"), outs=("clean", "clean/index", "part*")),
    DraftStage("train", deps=("clean/a.csv", "all", "git:x", "state"), outs=("model.pkl", "state")),
    DraftStage("split", deps=("raw/labels.csv",), outs=("all/train", "all/test", "git:x")),
    DraftStage("other", deps=("src/o.py",), outs=("other.pkl",)),
    DraftStage("spare.dvc", outs=("spare",), observed=False),
    DraftStage("left.dvc", outs=("left",), observed=False),
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "stages", "more"),
    [
        ("draft.yaml", STAGES, {}),
        ("draft-parts.yaml", WHOLE, {"version": 7, "notes": ("a note", "b\u2028note")}),
    ],
)
def test_a_whole_draft(name: str, stages: tuple[DraftStage, ...], more: dict[str, Any]) -> None:
    """Word for word: what a person reads first of gitchain's policies, with every comment in its place."""
    text = draft("credit-model", stages, ALICE, EXPIRES.replace(hour=5), **more)
    assert text == (GOLDEN / name).read_text(encoding="utf-8")


def test_a_draft_that_no_layout_may_hold_is_refused() -> None:
    """Sixty models of one long pipeline: the steps that each of them needs are more text than a layout may have."""
    long = "s" * 180
    shared = [DraftStage(f"{long}{n}", deps=(f"d{n - 1}",) if n else (), outs=(f"d{n}",)) for n in range(100)]
    models = [DraftStage(f"{long}m{n}", deps=("d99",), outs=(f"m{n}",)) for n in range(60)]
    with pytest.raises(LayoutError, match="layout is too large"):
        draft("credit-model", (*shared, *models), ALICE, EXPIRES)
    assert draft("credit-model", (*shared, *models[:2]), ALICE, EXPIRES)


def test_a_draft_of_more_stages_than_a_layout_holds_is_refused_at_once() -> None:
    """Only those count that a served product depends on; the refusal takes no text, and no time."""
    start = time.process_time()
    stages = [DraftStage(f"s{n}", deps=(f"in/{n}",), outs=(f"out/{n}",)) for n in range(10_000)]
    with pytest.raises(LayoutError, match="too many stages for one layout") as caught:
        draft("credit-model", stages, ALICE, EXPIRES)
    assert caught.value.got == "10000"
    text = draft("credit-model", stages, ALICE, EXPIRES, serve=[f"out/{n}" for n in range(1000)])
    assert time.process_time() - start < 20
    assert len(parse_layout(text.encode()).steps) == 1000
