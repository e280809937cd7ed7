"""The built files: what is in them, what their metadata says, and that each works where it is installed."""

from __future__ import annotations

import email
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.message import Message
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from packaging.requirements import Requirement

from deploy import wheels
from tests.support.installed_distributions import ROOT, Installed

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
SOURCE = PROJECT["urls"]["Source"]
SCHEMAS = sorted((ROOT / "schemas").iterdir())
MAN = ROOT / "docs" / "man"
TRAIN = "open('model.pkl', 'w').write(open('data.csv').read() * 2)"


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [one for one in archive.namelist() if one.endswith(".dist-info/METADATA")]
        return email.message_from_bytes(archive.read(name))


def files(wheel: Path) -> dict[str, int]:
    with zipfile.ZipFile(wheel) as archive:
        return {one.filename: one.CRC for one in archive.infolist() if ".dist-info/" not in one.filename}


def shared(name: str) -> str:
    """Return a file's name without that of the distribution, which the directory of data files has."""
    return re.sub(r"^[\w.-]+\.data/", "", name)


def man_pages(wheel: Path) -> set[str]:
    """Return the names of the pages that an installation puts where `man` looks."""
    found = (re.fullmatch(r"[\w.-]+\.data/data/share/man/man1/(.+)", name) for name in files(wheel))
    return {name[1] for name in found if name}


def requirements(wheel: Path) -> dict[str, str]:
    listed = map(Requirement, metadata(wheel).get_all("Requires-Dist", []))
    return {f"{one.name} {one.marker}": str(one.specifier) for one in listed}


def test_both_wheels_hold_the_same_files(distributions: dict[str, Path]) -> None:
    """gitchain-core is gitchain but for its name and the dependency on DVC."""
    core, full = distributions["core"], distributions["full"]
    assert {shared(name): crc for name, crc in files(core).items()} == {
        shared(name): crc for name, crc in files(full).items()
    }
    assert set(requirements(full).items()) - set(requirements(core).items()) == {("dvc None", "<4,>=3.67")}
    assert (metadata(core)["Name"], metadata(full)["Name"]) == ("gitchain-core", "gitchain")


def test_wheel_holds_the_package_and_the_schemas(distributions: dict[str, Path]) -> None:
    """Every module, every file that a module reads, every schema, the man pages: nothing else."""
    held = {name for name in files(distributions["full"]) if ".data/data/share/man/" not in name}
    package = ROOT / "gitchain"
    tracked = {
        f"gitchain/{path.relative_to(package).as_posix()}"
        for folder in (package, *(one for one in package.rglob("*") if one.is_symlink()))
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert held == tracked
    assert {f"gitchain/schemas/{path.name}" for path in SCHEMAS} <= held


@pytest.mark.parametrize("kind", ["core", "full"])
def test_wheel_holds_the_man_pages(distributions: dict[str, Path], kind: str) -> None:
    """A wheel puts every page below share/man, and no other file beside the package."""
    wheel = distributions[kind]
    assert man_pages(wheel) == {path.name for path in MAN.iterdir()}
    assert len(man_pages(wheel)) == len([name for name in files(wheel) if ".data/" in name])


def test_source_distribution_builds_the_wheel(distributions: dict[str, Path]) -> None:
    """It holds the schemas as files, not a link that leads out of it."""
    with tarfile.open(distributions["source"]) as archive:
        members = {one.name.partition("/")[2]: one for one in archive.getmembers()}
    assert all(members[f"gitchain/schemas/{path.name}"].isreg() for path in SCHEMAS)
    assert all(f"docs/man/{path.name}" in members for path in MAN.iterdir())
    assert {"pyproject.toml", "LICENSE", "README.md"} <= set(members)


@pytest.mark.parametrize("kind", ["core", "full"])
def test_metadata_is_what_an_index_shows(distributions: dict[str, Path], kind: str) -> None:
    """Licence, versions of Python, addresses, words to find it by."""
    found = metadata(distributions[kind])
    assert found["License-Expression"] == "Apache-2.0"
    assert found["License-File"] == "LICENSE"
    assert found["Description-Content-Type"] == "text/markdown"
    assert {url.split(", ")[0] for url in found.get_all("Project-URL", [])} >= {
        "Homepage",
        "Source",
        "Changelog",
    }
    assert not [one for one in found.get_all("Classifier", []) if one.startswith("License")]  # PEP 639
    assert len(str(found["Keywords"]).split(",")) >= 5


@pytest.mark.parametrize("kind", ["core", "full"])
def test_description_has_no_relative_link(distributions: dict[str, Path], kind: str) -> None:
    """On an index a relative link leads nowhere: each leads below the Source URL, to a file that this tree has."""
    text = str(metadata(distributions[kind]).get_payload())
    targets = re.findall(r"\]\(([^)\s]+)|(?:src|href)=\"([^\"]+)", text)
    assert len(targets) > 10
    for target in map("".join, targets):
        assert re.match(r"https://|#", target), target
        if target.startswith(SOURCE):
            assert (ROOT / target.removeprefix(SOURCE).partition("#")[0]).exists(), target


def test_absolute_changes_only_relative_links() -> None:
    """Links with a scheme and fragments stay; images and HTML are covered."""
    text = (
        '[a](guides/a.md#b) [b](https://example.com/) [c](#here) ![d](x.svg) <img src="y.svg"> <a href="#z">'
    )
    assert wheels.absolute(text, "https://x/") == (
        "[a](https://x/guides/a.md#b) [b](https://example.com/) [c](#here) ![d](https://x/x.svg)"
        ' <img src="https://x/y.svg"> <a href="#z">'
    )


@pytest.mark.parametrize(
    "text", ["", 'name = "gitchain"\n', 'name = "gitchain"\n    "dvc>=3",\n    "dvc>=4",\n']
)
def test_core_project_refuses_what_it_does_not_know(text: str) -> None:
    """A pyproject.toml that changed its form makes no gitchain-core that still asks for DVC."""
    with pytest.raises(ValueError, match="expected one name and one dependency"):
        wheels.core_project(text)


def test_containerfile_copies_what_its_build_reads(tmp_path: Path) -> None:
    """With nothing but the files that it copies, the image's build makes gitchain-core, hooks and schemas included."""
    text = (ROOT / "deploy/container/Containerfile").read_text("utf-8")
    copied = [
        line.split()[1:] for line in text.splitlines() if line.startswith("COPY ") and "--from" not in line
    ]
    for *sources, to in copied:
        for source in sources:
            where = tmp_path / to / (source if to == "./" else "")
            where = where / Path(source).name if to.endswith("requirements/") else where
            where.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / source).is_dir():
                shutil.copytree(
                    ROOT / source, where, symlinks=True, ignore=shutil.ignore_patterns("__pycache__")
                )
            else:
                shutil.copy(ROOT / source, where)
    assert "deploy/wheels.py --core dist" in text
    assert "requirements/serve.txt" in text
    command = [sys.executable, "deploy/wheels.py", "--core", "dist"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    (wheel,) = (tmp_path / "dist").glob("gitchain_core-*.whl")
    held = set(files(wheel))
    assert {"gitchain/schemas/verify.schema.json", "gitchain/hooks/shims/post-commit"} <= held
    assert "gitchain.1" in man_pages(wheel)


@pytest.mark.parametrize("kind", ["small", "full"])
def test_installed_gitchain_verifies_elsewhere(
    kind: str, request: pytest.FixtureRequest, git_repo: Path, tmp_path: Path
) -> None:
    """The wheel alone, run from other directories: version, schemas, a chain from nothing to PASSED and FAILED."""
    installed: Installed = request.getfixturevalue(kind)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert installed.ok("gitchain", "--version", cwd=elsewhere) == f"gitchain {PROJECT['version']}\n"
    code = (
        "import gitchain, json; from importlib.resources import files;"
        "held = files('gitchain') / 'schemas';"
        "print(json.dumps([gitchain.__file__, {one.name: json.loads(one.read_text()) for one in held.iterdir()}]))"
    )
    place, schemas = json.loads(installed.ok("python", "-c", code, cwd=elsewhere))
    assert place.startswith(str(installed.home))
    assert schemas == {path.name: json.loads(path.read_text("utf-8")) for path in SCHEMAS}

    assert (installed.home / "share/man/man1/gitchain-verify.1").read_text("utf-8").startswith('.\\"')

    (git_repo / "data.csv").write_text("1,2\n")
    for command in (
        ("init", "--local"),
        ("run", "train", "-m", "data.csv", "-p", "model.pkl", "--", "python", "-c", TRAIN),
        ("layout", "draft", "--write"),
        ("layout", "sign"),
        ("bundle", "push", str(elsewhere / "evidence")),
    ):
        installed.ok("gitchain", *command, cwd=git_repo)
    where = ("--layout", str(git_repo / ".gitchain/layout.sigstore.json"), "--evidence", "evidence", "--json")
    model = str(git_repo / "model.pkl")
    passed = json.loads(installed.ok("gitchain", "verify", model, *where, cwd=elsewhere))
    Draft202012Validator(schemas["verify.schema.json"]).validate(passed)
    assert passed["verificationResult"] == "PASSED"
    (git_repo / "model.pkl").write_text("another")
    assert installed.run("gitchain", "verify", model, *where, cwd=elsewhere).returncode in {1, 3}
