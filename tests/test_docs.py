"""The pages are true: what they name exists, their tables are the code's, and their examples hold."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from jsonschema import Draft202012Validator

from gitchain import errors
from gitchain.errors import ExitCode
from gitchain.evidence import predicates
from gitchain.evidence.digest import Sha256
from gitchain.evidence.manifest import FileEntry, build_manifest, expand
from gitchain.verify.findings import MEANINGS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
SCHEMAS = ROOT / "schemas"
SOURCES = [
    *PAGES,
    *(path for room in ("gitchain", "bench", "examples", "tests") for path in (ROOT / room).rglob("*.py")),
    *(ROOT / "hooks").iterdir(),
    *SCHEMAS.iterdir(),
]
SPECIFICATIONS = {
    "c2sp.org", "github.com", "git-scm.com", "in-toto.io", "slsa.dev", "spdx.org", "www.rfc-editor.org",
    "actions.github.io", "cyclonedx.org", "docs.pypi.org", "spdx.dev", "token.actions.githubusercontent.com",
}  # fmt: skip
OURS = re.compile(r"gitchain\.dev|(.+\.)?example\.com|.+\.gitchain\.invalid|127\.0\.0\.1|localhost")
MACHINE = re.compile(r"(?<![\w.>/])/(?:home|Users|root|tmp|work|mnt|opt|var|private)/\w|\b[A-Z]:\\")


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def label(path: Path) -> str:
    return str(path.relative_to(ROOT))


def rows(page: str) -> list[list[str]]:
    """Return the cells of every line of a table."""
    lines = (line for line in page.splitlines() if line.startswith("| "))
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def block(section: str, kind: str = "json") -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)\n```$", section, re.DOTALL | re.MULTILINE)


def sections(page: Path) -> dict[str, str]:
    """Return the text below each second-level heading."""
    return dict(part.split("\n", 1) for part in text(page).split("\n## ")[1:])


def anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-")


@pytest.mark.parametrize("path", SOURCES, ids=label)
def test_pages_and_schemas_that_are_named_exist(path: Path) -> None:
    """A page, schema or section of the design that code, schemas, hooks or pages name is there."""
    named = re.findall(r"(?<![\w/.<-])((?:docs|schemas)/[\w./-]+\.(?:md|json))", text(path))
    assert [name for name in named if not (ROOT / name).is_file()] == []
    asked = re.findall(r"docs/design\.md,? section (\d+)", text(path))
    assert [number for number in asked if f"\n## {number}. " not in text(DOCS / "design.md")] == []


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_every_relative_link_resolves(page: Path) -> None:
    """A link leads to a file or directory of the repository, and to a heading that is there."""
    for link in re.findall(r"\]\(([^)\s]+)\)", text(page)):
        if urlsplit(link).scheme:
            continue
        name, _, heading = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        if heading:
            assert heading in map(anchor, re.findall(r"^#+ (.+)$", text(target), re.MULTILINE)), link


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_no_page_names_this_machine_or_a_foreign_host(page: Path) -> None:
    """Pages name specifications, our own namespace and example hosts; never a path of somebody's machine."""
    assert MACHINE.findall(text(page)) == []
    hosts = {urlsplit(url).hostname or "" for url in re.findall(r"\b\w+://[^\s)\"'`>,]+", text(page))}
    foreign = {host for host in hosts - SPECIFICATIONS if OURS.fullmatch(host) is None}
    assert {host for host in foreign if "." in host} == set()


def test_every_page_is_in_the_index_once() -> None:
    """docs/README.md lists each page below one of four headings, and the decisions as a directory."""
    found = sections(DOCS / "README.md")
    assert list(found) == ["Tutorial", "How-to guides", "Reference", "Explanation"]
    listed = re.findall(r"\]\(([^)#]+)\)", "".join(found.values()))
    pages = [path.relative_to(DOCS) for path in DOCS.rglob("*.md") if path.name != "README.md"]
    there = {"decisions/" if path.parts[0] == "decisions" else str(path) for path in pages}
    assert sorted(listed) == sorted(there)


def test_every_schema_is_named_on_a_page() -> None:
    """No schema is without a page that says what it is for."""
    told = "".join(map(text, PAGES))
    assert [path.name for path in SCHEMAS.iterdir() if f"schemas/{path.name}" not in told] == []


def test_the_findings_are_those_of_the_code() -> None:
    """docs/findings.md has each code once, in order, with its meaning, and says what to do."""
    table = [cells for cells in rows(text(DOCS / "findings.md")) if cells[0].startswith("`GC-")]
    assert [cells[:2] for cells in table] == [[f"`{code}`", meaning] for code, meaning in MEANINGS.items()]
    assert all(len(cells) == 3 and cells[2] for cells in table)


def test_the_exit_codes_are_those_of_the_code() -> None:
    """docs/reference/exit-codes.md has every code; docs/design.md has each with its name and the errors that end in it."""
    page = rows(text(DOCS / "reference" / "exit-codes.md"))
    assert [int(cells[0]) for cells in page if cells[0].isdigit()] == list(ExitCode)
    table = rows(sections(DOCS / "design.md")["5. Exit codes"])[1:]
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    raised = [kind for kind in kinds if issubclass(kind, errors.GitchainError)]
    assert [[*cells[:2], set(re.findall(r"`(\w+)`", cells[2]))] for cells in table] == [
        [str(code.value), f"`{code.name}`", {kind.__name__ for kind in raised if kind.exit_code == code}]
        for code in ExitCode
    ]


def test_the_manifest_example_recomputes() -> None:
    """docs/formats/manifest.md: the files give exactly these nodes and digests."""
    example = sections(DOCS / "formats" / "manifest.md")["Example"]
    table = re.findall(r"^\| `(.+?)` \| `(.+?)` \|$", example, re.MULTILINE)
    files = [(path, content.replace("\\n", "\n").encode()) for path, content in table]
    entries = [
        FileEntry(path, path == "run.sh", len(data), Sha256(hashlib.sha256(data).hexdigest()))
        for path, data in files
    ]
    manifest = build_manifest(entries)
    nodes = [node.encode() for node in block(example)]
    digests = re.findall(r"SHA-256 is `([0-9a-f]{64})`", example)
    assert dict(zip(digests, nodes, strict=True)) == manifest.nodes
    assert digests[-1] == manifest.digest
    assert len(list(expand(digests[-1], manifest.nodes.get))) == len(files) == 3
    assert build_manifest(entries, 1).digest in sections(DOCS / "formats" / "manifest.md")["Version 1"]


def test_the_examples_of_predicates_satisfy_their_schemas() -> None:
    """docs/formats/predicates.md: each example is valid where it names a schema."""
    checked = 0
    for section in sections(DOCS / "formats" / "predicates.md").values():
        schema = re.search(r"(?:Predicate|Schema of the whole statement): `(schemas/[\w.]+)`", section)
        if schema:
            (example,) = block(section)
            Draft202012Validator(json.loads(text(ROOT / schema[1]))).validate(json.loads(example))
            checked += 1
    assert checked == 6


def test_the_examples_of_the_history_satisfy_their_schemas() -> None:
    """docs/formats/history.md: what is remembered, and what a checkpoint says."""
    found = sections(DOCS / "formats" / "history.md")
    for heading, schema in (("What a user has seen", "seen"), ("Checkpoints", "checkpoint")):
        (example,) = block(found[heading])
        validator = Draft202012Validator(json.loads(text(SCHEMAS / f"{schema}.schema.json")))
        validator.validate(json.loads(example))


def test_every_predicate_type_is_on_the_page() -> None:
    """The table names every type of ours, and every standard type that gitchain writes or reads a claim from."""
    page = text(DOCS / "formats" / "predicates.md")
    known = {
        predicates.PROVENANCE,
        predicates.LINK,
        predicates.RELEASE,
        predicates.SVR,
        predicates.TEST_RESULT,
    }
    ours = {
        value for value in vars(predicates).values() if str(value).startswith("https://gitchain.dev/pred")
    }
    assert len(ours) == 8
    assert [kind for kind in known | ours if f"`{kind}`" not in page] == []


def test_the_pins_example_satisfies_its_schema() -> None:
    """docs/formats/outbox.md: the example is what the schema asks for."""
    (example,) = block(sections(DOCS / "formats" / "outbox.md")["Pins"])
    Draft202012Validator(json.loads(text(SCHEMAS / "pins.schema.json"))).validate(json.loads(example))


def test_every_attack_has_a_test_that_is_there() -> None:
    """docs/threats.md: the catalogue in order, and each test that a row names exists."""
    page = text(DOCS / "threats.md")
    attacks = [cells for cells in rows(page) if re.fullmatch(r"A\d+", cells[0])]
    assert [cells[0] for cells in attacks] == [f"A{number}" for number in range(1, len(attacks) + 1)]
    assert len(attacks) >= 28
    sources = "".join(text(path) for path in (ROOT / "tests").rglob("test_*.py"))
    there = set(re.findall(r"^def (test_\w+)\(", sources, re.MULTILINE))
    named = [re.findall(r"`(test_\w+)`", cells[3]) for cells in attacks]
    assert all(named)
    assert [name for names in named for name in names if name not in there] == []
    files = [cells for cells in rows(page) if re.fullmatch(r"M\d+", cells[0])]
    assert [cells[0] for cells in files] == [f"M{number}" for number in range(1, len(files) + 1)]
    tests = [set(re.findall(r"`(test_\w+)`", cells[3])) for cells in files]
    assert all(names and names <= there for names in tests)
