"""What is declared, what is pinned and what is locked are the same packages, with hashes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
REQUIREMENTS = ROOT / "requirements"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
LOCKS = sorted(path.stem for path in REQUIREMENTS.glob("*.txt"))


def name_of(requirement: Requirement) -> str:
    return re.sub(r"[-_.]+", "-", requirement.name).lower()


def written(name: str) -> dict[str, Requirement]:
    """Return the requirements of an .in file, with those of the files that it includes."""
    found: dict[str, Requirement] = {}
    for line in (REQUIREMENTS / f"{name}.in").read_text("utf-8").splitlines():
        wanted = line.partition("#")[0].strip()
        if wanted.startswith("-r "):
            found |= written(Path(wanted.removeprefix("-r ")).stem)
        elif wanted:
            requirement = Requirement(wanted)
            found[name_of(requirement)] = requirement
    return found


def locked(name: str) -> dict[str, str]:
    """Return the versions of a lock file; each is pinned exactly and has a hash."""
    found = {}
    entries = re.split(r"\n(?=[\w.-]+(?:\[[\w,-]+\])?==)", (REQUIREMENTS / f"{name}.txt").read_text("utf-8"))
    for entry in entries:
        requirement = Requirement(entry.split("\\")[0].strip())
        assert "--hash=sha256:" in entry, requirement
        found[name_of(requirement)] = str(requirement.specifier).removeprefix("==")
    return found


DECLARED = {name_of(one): one for one in map(Requirement, PROJECT["dependencies"])}
EXTRAS = {
    extra: {name_of(one): one for one in map(Requirement, wanted)}
    for extra, wanted in PROJECT["optional-dependencies"].items()
}


def test_dependencies_are_declared_and_pinned_alike() -> None:
    """pyproject.toml and requirements/base.in name the same packages: what is imported, and DVC."""
    assert set(DECLARED) == set(written("base"))
    assert set(written("base")) - set(written("core")) == {"dvc"}


def test_core_lock_holds_nothing_of_dvc() -> None:
    """The small installation and the container image lack DVC, and what comes with it alone."""
    assert {"dvc", "dvc-data", "celery", "diskcache", "hydra-core"} <= set(locked("base"))
    for name in ("core", "serve"):
        assert not {
            one for one in locked(name) if "dvc" in one or one in {"celery", "diskcache", "gitpython"}
        }
    assert set(EXTRAS["serve"]) == set(written("serve")) - set(written("core"))


@pytest.mark.parametrize("name", LOCKS)
def test_lock_fits_what_is_declared(name: str) -> None:
    """Each locked version is one that pyproject.toml accepts, and every lock file has the same one."""
    versions, everything = locked(name), locked("dev")
    assert set(written(name)) <= set(versions)
    for package, version in versions.items():
        assert everything.get(package, version) == version
        for wanted in (DECLARED, *EXTRAS.values()):
            if package in wanted:
                assert wanted[package].specifier.contains(version), (package, version)


def test_nothing_is_declared_that_was_dropped() -> None:
    """asn1crypto, which nobody releases any more, is a peer in tests and nothing that gitchain needs."""
    assert "asn1crypto" not in locked("core") | locked("base") | locked("serve")
