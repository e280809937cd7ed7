"""`gitchain report`: the page and its facts, on chains that the embedded instance signed."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from gitchain.errors import ExitCode
from gitchain.evidence import predicates
from gitchain.evidence.predicates import DEPLOYMENT
from gitchain.evidence.statement import Statement
from gitchain.evidence.vocabulary import DATASET, RETIREMENT
from tests.cli.test_documents import validator
from tests.support.model_versions import Version, Workshop, descriptor, workshop_in

Gitchain = Callable[..., Any]
OLD = Version("old.bin", "old", metrics={"m.json": {"acc": 0.5}}, parameters={"p.yaml": {"lr": 1}})
NEW = Version("new.bin", "new", metrics={"m.json": {"acc": 0.75}}, parameters={"p.yaml": {"lr": 2}})
TERMS = {
    "source": "https://example.com/d",
    "licence": "CC0-1.0",
    "consent": "obtained",
    "personalData": "none",
}
PLACE = {
    "model": "new.bin",
    "environment": "production",
    "cluster": "eu-1",
    "namespace": "scoring",
    "workload": "deployment/scorer",
}
DEPLOYED = PLACE | {"deployedBy": "ada@example.com", "deployedOn": "2026-11-30T12:00:00Z"}
RETIRED = PLACE | {"retiredBy": "ada@example.com", "retiredOn": "2026-11-30T13:00:00Z"}


class Page(HTMLParser):
    """The elements, attributes and texts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.texts))


@pytest.fixture
def workshop(gitchain: Gitchain, tiny: Path) -> Workshop:
    """Return a repository in which to sign versions of a model."""
    return workshop_in(tiny, lambda: gitchain("layout", "sign", "--no-lint", cwd=tiny))


@pytest.fixture
def report(gitchain: Gitchain, workshop: Workshop) -> Callable[..., tuple[int, Page, str]]:
    """Return a function that makes a report and returns its exit code, the parsed page and its bytes."""

    def make(target: str, *arguments: str) -> tuple[int, Page, str]:
        done = gitchain("report", target, "-o", "-", *arguments, cwd=workshop.repo)
        return done.code, Page(done.out), done.out

    return make


@pytest.fixture
def facts(gitchain: Gitchain, workshop: Workshop) -> Callable[[str], Any]:
    """Return a function that returns the valid document of `report --json`."""

    def make(target: str) -> Any:
        done = gitchain("report", "--json", target, cwd=workshop.repo)
        validator("report").validate(done.json)
        assert done.json["exitCode"] == done.code
        return done.json

    return make


def state(
    workshop: Workshop, kind: str, item: tuple[str, str], predicate: Any, who: str = "ada@example.com"
) -> None:
    """Sign and store a statement about one artifact."""
    workshop.sign(who, [Statement.build([descriptor(*item)], kind, predicate)])


def test_report_of_a_model_that_passes(workshop: Workshop, report: Callable[..., Any]) -> None:
    """The page has verdict, layout, trust by name, signers, data, values and proofs, each with its basis."""
    workshop.add(NEW)
    code, page, _ = report("new.bin")
    assert code == ExitCode.OK
    for text in (
        "✔ PASSED",
        "new.bin (sha256:" + descriptor("x", "new").digest["sha256"][:12],
        "satisfies layout tiny version 2. Evidence of 3 steps by 2 signers forms one chain.",
        "Trust profile local: an embedded instance.",
        "carol@example.com",
        "data/raw.csv",
        "m.json:acc",
        "0.75",
        "No functionary states source and licence and consent and personal data of data/raw.csv.",
        "No functionary attested a deployment of the model.",
    ):
        assert text in page.text, text
    assert page.all("html") == [{"lang": "en"}]


def test_report_states_facts_and_gaps(workshop: Workshop, facts: Callable[[str], Any]) -> None:
    """Facts of functionaries about data, deployments and retirements fill the gaps that are listed without them."""
    workshop.add(NEW)
    before = {one["code"] for one in facts("new.bin")["gaps"]}
    assert {"data-facts", "no-deployment", "no-release", "embedded-instance", "always"} <= before
    state(workshop, DATASET, ("data/raw.csv", "raw"), TERMS)
    state(workshop, DEPLOYMENT, ("new.bin", "new"), DEPLOYED)
    deployed = facts("new.bin")
    codes = {one["code"] for one in deployed["gaps"]}
    assert "no-retirement" in codes
    assert not codes & {"data-facts", "no-deployment"}
    (data,) = (one for one in deployed["dataSets"] if one["name"] == "data/raw.csv")
    assert data["facts"][0].items() >= TERMS.items()
    assert data["missing"] == []
    state(workshop, RETIREMENT, ("new.bin", "new"), RETIRED)
    retired = facts("new.bin")
    assert [one["kind"] for one in retired["timeline"]][-2:] == ["deployment", "retirement"]
    assert (
        retired["timeline"][-2]["what"]
        == "production / eu-1 / scoring / deployment/scorer by ada@example.com"
    )
    assert "no-retirement" not in {one["code"] for one in retired["gaps"]}


def test_report_does_not_count_statements_of_strangers(
    workshop: Workshop, facts: Callable[[str], Any]
) -> None:
    """A stranger's deployment is listed as not counted, and a stranger's facts about data do not appear."""
    workshop.add(NEW)
    state(workshop, DEPLOYMENT, ("new.bin", "new"), DEPLOYED, who="mallory@example.com")
    state(workshop, DATASET, ("data/raw.csv", "raw"), TERMS, who="mallory@example.com")
    document = facts("new.bin")
    assert {"no-deployment", "other-signers", "data-facts"} <= {one["code"] for one in document["gaps"]}
    assert [one["counted"] for one in document["timeline"] if one["kind"] == "deployment"] == [False]
    assert document["values"]["versions"]["listed"][0]["deployments"] == []


def test_report_shows_values_over_versions(
    workshop: Workshop, facts: Callable[[str], Any], report: Callable[..., Any]
) -> None:
    """Numbers of the versions that passed are plotted and listed, the oldest version first."""
    same = Version("new.bin", "older", metrics={"m.json": {"acc": 0.5}}, parameters={"p.yaml": {"lr": 1}})
    workshop.add(same, NEW)
    versions = facts("new.bin")["values"]["versions"]
    assert [one["current"] for one in versions["listed"]] == [False, True]
    assert versions["series"] == [
        {"kind": "metric", "name": "m.json:acc", "values": [0.5, 0.75]},
        {"kind": "parameter", "name": "p.yaml:lr", "values": [1, 2]},
    ]
    page = report("new.bin")[1]
    assert len(page.all("polyline")) == 2
    assert len(page.all("circle")) == 4


def test_report_shows_changes_since_the_previous_version(
    workshop: Workshop, facts: Callable[[str], Any], report: Callable[..., Any]
) -> None:
    """The groups of `gitchain diff` from the version that passed before; the first version has none."""
    first = Version("new.bin", "older", parameters={"p.yaml": {"lr": 1}})
    workshop.add(first)
    assert facts("new.bin")["changes"] is None
    workshop.add(NEW)
    changes = facts("new.bin")["changes"]
    assert changes["since"]["digest"] == dict(descriptor("x", "older").digest)
    (lr,) = changes["groups"]["parameters"]["changes"]
    assert (lr["name"], lr["a"], lr["b"], lr["difference"]) == ("p.yaml:lr", 1, 2, "+1")
    assert "parametersp.yaml:lr 1 2 +1 (+100%)" in report("new.bin")[1].text


def test_report_of_a_model_that_fails(workshop: Workshop, report: Callable[..., Any]) -> None:
    """A changed file has a report with the findings, and the exit code of verify."""
    workshop.add(NEW)
    (workshop.repo / "new.bin").write_text("changed")
    code, page, _ = report("new.bin")
    assert code == ExitCode.FAILED
    assert "✘ FAILED" in page.text
    assert "does not satisfy layout tiny version 2" in page.text
    assert "GC-E0202" in page.text
    assert "No statement of a functionary is connected with it by digests" in page.text


def test_report_shows_a_revoked_ancestor(
    gitchain: Gitchain, workshop: Workshop, report: Callable[..., Any]
) -> None:
    """Revoked data fail the model: the page names the revocation in the verdict, the lineage and the timeline."""
    workshop.add(NEW)
    (workshop.repo / "data").mkdir()
    (workshop.repo / "data/raw.csv").write_text("raw")
    revoked = gitchain(
        "revoke",
        "artifact",
        "data/raw.csv",
        "--reason",
        "compromised",
        "--as",
        "ada@example.com",
        cwd=workshop.repo,
    )
    assert revoked.code == ExitCode.OK, revoked.text
    code, page, _ = report("new.bin")
    assert code == ExitCode.FAILED
    assert "revocation artifact data/raw.csv" in page.text
    assert any("dirty" in str(one["class"]) for one in page.all("rect"))


def test_report_without_evidence_is_one_error(gitchain: Gitchain, workshop: Workshop) -> None:
    """Nothing is attested: exit code 3, and no file."""
    workshop.add(NEW)
    done = gitchain("report", f"sha256:{'0' * 64}", "-o", "r.html", cwd=workshop.repo)
    assert done.code == ExitCode.NOTHING
    assert not (workshop.repo / "r.html").exists()


def test_report_has_the_same_bytes(
    gitchain: Gitchain, workshop: Workshop, report: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page depends on the evidence: not on the clock, the hash seed or the order of the store. --at is printed."""
    workshop.add(NEW)
    first = report("new.bin")[2]
    assert report("new.bin")[2] == first
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    assert report("new.bin")[2] == first
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    at = report("new.bin", "--at", now)
    assert report("new.bin", "--at", now)[2] == at[2]
    assert now.replace("T", " ").replace("Z", " UTC") in at[1].text


def test_report_at_an_earlier_time_counts_no_later_evidence(gitchain: Gitchain, workshop: Workshop) -> None:
    """Before the evidence was signed nothing counts; a time ahead of the clock is refused."""
    workshop.add(NEW)
    early = gitchain("report", "new.bin", "-o", "-", "--at", "2020-01-01", cwd=workshop.repo)
    assert early.code in {ExitCode.FAILED, ExitCode.NOTHING}
    ahead = gitchain("report", "new.bin", "-o", "-", "--at", "2999-01-01", cwd=workshop.repo)
    assert ahead.code == ExitCode.USAGE
    assert "ahead of the clock" in ahead.err


def test_report_policy_allows_its_style_alone(workshop: Workshop, report: Callable[..., Any]) -> None:
    """The policy of the page has the hash of its style sheet; nothing is loaded, run, linked or styled elsewhere."""
    workshop.add(NEW)
    _, page, text = report("new.bin")
    style = text.split("<style>")[1].split("</style>")[0]
    digest = base64.b64encode(sha256(style.encode()).digest()).decode()
    policy = page.all("meta")[1]["content"]
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert not {"script", "link", "img", "iframe", "object", "embed", "form", "base", "image", "use"} & {
        name for name, _ in page.elements
    }
    for _, attributes in page.elements:
        assert not {name for name in attributes if name.startswith("on")} | (
            {"style", "src"} & attributes.keys()
        )
        assert str(attributes.get("href", "#")).startswith("#")
    assert "url(" not in style


def test_report_is_usable_without_sight_or_mouse(workshop: Workshop, report: Callable[..., Any]) -> None:
    """Landmarks, headings in order, header cells with a scope, named pictures, links that lead somewhere."""
    workshop.add(OLD, NEW)
    page = report("new.bin")[1]
    tags = [name for name, _ in page.elements]
    assert [tags.count(one) for one in ("header", "main", "nav", "footer", "h1")] == [1, 1, 1, 1, 1]
    levels = [int(name[1]) for name in tags if re.fullmatch("h[1-6]", name)]
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all("scope" in one for one in page.all("th"))
    ids = [str(attributes["id"]) for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    named = [
        name
        for _, one in page.elements
        for name in (*str(one.get("aria-labelledby") or "").split(), str(one.get("href") or "#main")[1:])
    ]
    assert set(named) <= set(ids)
    assert all(one["role"] == "img" and one["aria-labelledby"] for one in page.all("svg"))


CONTROLS = (
    "\u202egnp.exe\u2066 \x1b[31mred\x1b]8;;http://evil/\x07 \x00\r\nSet-Cookie: a\u2028b \u200b\ufeffe"
)
HOSTILE = {
    "markup": "<script>alert(1)</script>\"><img src=x onerror=alert(1)>' onclick=alert(1) {{ 7*7 }} {% raw %} javascript:1",
    "characters": CONTROLS + "\u0301" * 500,
    "long": "</style></svg></title><svg onload=alert(1)>&lt;b&gt;&#106;avascript: " + "A" * 100_000,
}


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
def test_report_escapes_hostile_text(
    workshop: Workshop, report: Callable[..., Any], facts: Callable[[str], Any], hostile: str
) -> None:
    """No element, attribute, id or address of the page comes from evidence, and no control character."""
    plain = replace(NEW, command=("x",), data={"data/raw.csv": "raw"})
    workshop.add(plain)
    structure = [(name, sorted(attributes)) for name, attributes in report("new.bin")[1].elements]
    name = "".join(
        char if char.isprintable() and char not in "/:\\" else "_" for char in hostile.replace("\u0301", "")
    )[:200]
    evil = replace(
        NEW,
        model="evil",
        name="evil.bin",
        command=(hostile,),
        parameters={"p.yaml": {hostile: hostile}},
        metrics={"m.json": {hostile: hostile}},
        environment={"os": hostile},
        data={f"data/{name.strip()}": "raw 2"},
    )
    workshop.add(evil)
    places = {key: hostile[:300] for key in PLACE if key != "model"}
    state(workshop, DEPLOYMENT, ("evil.bin", "evil"), DEPLOYED | places)
    state(workshop, DATASET, ("data/raw.csv", "raw 2"), dict.fromkeys(TERMS, hostile))
    facts("evil.bin")
    code, page, raw = report("evil.bin")
    assert code == ExitCode.OK
    found = [(one, sorted(attributes)) for one, attributes in page.elements]
    assert {one for one, _ in found} <= {one for one, _ in structure} | {
        "details",
        "summary",
        "polyline",
        "circle",
    }
    assert {name for _, names in found for name in names} <= {name for _, names in structure for name in names} | {
        "points", "cx", "cy", "r", "colspan"
    }  # fmt: skip
    for _, attributes in page.elements:
        for value in attributes.values():
            assert "alert" not in str(value)
            assert "AAAA" not in str(value)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069\u2028\ufeff]", raw)
    assert "\u0301" * 5 not in raw
    assert len(raw) < 500_000


def test_report_of_many_values_is_bounded(workshop: Workshop, report: Callable[..., Any]) -> None:
    """10,000 parameters with long names are one small page that states how many there are."""
    names = {f"{'é<' * 200}{number}": "&" * 1000 for number in range(10_000)}
    workshop.add(replace(NEW, parameters={"p.yaml": names}))
    _, page, text = report("new.bin")
    assert len(text.encode()) < 5 << 20
    assert "Parameters (10000)" in page.text
    assert "9000 more parameters are not listed" in page.text


def test_report_of_a_thousand_artifacts_is_bounded(workshop: Workshop, report: Callable[..., Any]) -> None:
    """Artifacts with the same neighbours are drawn as one box."""
    data = {f"data/{number}.csv": str(number) for number in range(1000)}
    workshop.add(replace(NEW, data=data))
    _, page, text = report("new.bin")
    assert len(text.encode()) < 5 << 20
    assert len(page.all("rect")) < 10
    assert "1000 like data/0.csv" in page.text


def test_report_draws_a_cycle(workshop: Workshop, report: Callable[..., Any]) -> None:
    """A step that makes what it used, under another name, is drawn with an arrow that goes up."""
    workshop.add(replace(NEW, data={"data/raw.csv": "new"}))
    code, page, _ = report("new.bin")
    assert code == ExitCode.OK
    assert sum(one["class"] == "edge up" for one in page.all("path")) == 1


@pytest.mark.parametrize("kind", ["directory", "link", "absent"])
def test_report_writes_only_regular_files(gitchain: Gitchain, workshop: Workshop, kind: str) -> None:
    """A directory, a symbolic link and a missing directory are refused, and nothing is changed."""
    workshop.add(NEW)
    path = workshop.repo / "r.html"
    if kind == "directory":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(workshop.repo / "new.bin")
    else:
        path = workshop.repo / "absent" / "r.html"
    done = gitchain("report", "new.bin", "-o", str(path), cwd=workshop.repo)
    assert done.code == ExitCode.USAGE
    assert (workshop.repo / "new.bin").read_text() == "new"


def test_report_has_a_harmless_default_name(gitchain: Gitchain, workshop: Workshop) -> None:
    """Without -o the file is named after the target, in the current directory, and stdout names it."""
    workshop.add(NEW)
    done = gitchain("report", "./new.bin", cwd=workshop.repo)
    assert done.out == "PASSED  report-new.bin.html\n"
    assert (workshop.repo / "report-new.bin.html").read_text().startswith("<!DOCTYPE html>")
    assert gitchain("report", "./new.bin", cwd=workshop.repo).code == ExitCode.OK
    assert not list(workshop.repo.glob(".tmp-*"))


def test_report_outside_of_a_repository(gitchain: Gitchain, workshop: Workshop, tmp_path: Path) -> None:
    """Layout and evidence in files are enough."""
    workshop.add(NEW)
    evidence = tmp_path / "evidence"
    assert gitchain("bundle", "push", str(evidence), cwd=workshop.repo).code == ExitCode.OK
    layout = tmp_path / "layout.sigstore.json"
    layout.write_bytes((workshop.repo / ".gitchain/layout.sigstore.json").read_bytes())
    (tmp_path / "new.bin").write_text("new")
    signer = json.loads(gitchain("layout", "show", "--json", cwd=workshop.repo).out)
    assert signer
    done = gitchain(
        *("report", "new.bin", "-o", "-", "--layout", str(layout), "--evidence", str(evidence)), cwd=tmp_path
    )
    assert "PASSED" in Page(done.out).text, done.err


def test_predicates_of_the_fixtures_are_valid() -> None:
    """The facts that the tests sign are those that gitchain itself would sign."""
    assert (
        predicates.dataset(
            source=TERMS["source"], licence=TERMS["licence"], consent="obtained", personal_data="none"
        ).items()
        >= {key: TERMS[key] for key in ("source", "licence")}.items()
    )
