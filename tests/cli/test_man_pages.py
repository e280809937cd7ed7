"""The man pages: one for each verb, complete, and printed by groff and man without a warning."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from gitchain.cli.main import VERBS

ROOT = Path(__file__).parents[2]
MAN = ROOT / "docs" / "man"
PAGES = sorted(MAN.iterdir())
SECTIONS = ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "EXAMPLES", "SEE ALSO"]
GROFF = pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")


@pytest.fixture
def generator(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the module examples/man_pages.py."""
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    sys.modules.pop("man_pages", None)
    return importlib.import_module("man_pages")


def rendered(text: str) -> tuple[str, str]:
    """Return what groff prints for a page, without fonts, and its warnings."""
    command = ["groff", "-man", "-ww", "-Tutf8", "-P-cbou", "-rLL=100n"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, encoding="utf-8", check=True)
    return done.stdout, done.stderr


def test_man_pages_name_each_verb_and_program() -> None:
    verbs = {f"gitchain-{verb}.1" for verb in VERBS}
    assert {path.name for path in PAGES} == verbs | {"gitchain.1", "gitchain-git-sign.1"}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_man_page_has_the_sections_of_a_manual(path: Path) -> None:
    """The sections are there, in the order of manuals, and each has text; COMMANDS may stand before OPTIONS."""
    parts = path.read_text(encoding="utf-8").split("\n.SH ")
    titles = [part.partition("\n")[0] for part in parts[1:]]
    assert [title for title in titles if title != "COMMANDS"] == SECTIONS
    assert all(part.partition("\n")[2].strip() for part in parts[1:])
    assert path.read_text(encoding="utf-8").isascii()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_man_page_refers_to_pages_that_exist(path: Path) -> None:
    also = path.read_text(encoding="utf-8").split(".SH SEE ALSO\n")[1].replace("\\-", "-")
    named = re.findall(r"\\fB(gitchain[\w-]*)\\fR\(1\)", also)
    assert named
    assert {f"{name}.1" for name in named} <= {one.name for one in PAGES} - {path.name}


@GROFF
@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_man_page_renders_without_a_warning(path: Path) -> None:
    """groff knows every request and character, and what it prints has the page's name and no roff left in it."""
    printed, warnings = rendered(path.read_text(encoding="utf-8"))
    assert warnings == ""
    assert f"{path.stem.upper()}(1)" in printed
    assert not re.search(r"\\[fe&(\[]|^ *\.(SH|TP|PP|br)", printed, re.MULTILINE)


@GROFF
def test_man_page_keeps_special_characters(generator: ModuleType) -> None:
    """What a help text may hold is printed as it is, and can be pasted into a shell."""
    text = """.start 'quoted' "twice" back\\slash -m/--material `x ^~` … * \\fBnot bold"""
    page = "\n".join([*generator.heading("x", "y"), ".SH DESCRIPTION", generator.roff(text)])
    printed, warnings = rendered(page)
    assert warnings == ""
    assert text in " ".join(printed.split())


@pytest.mark.skipif(shutil.which("man") is None, reason="man is not installed")
def test_man_finds_the_pages_beside_the_programs(tmp_path: Path) -> None:
    """`man gitchain-verify` finds share/man beside a directory of PATH, which is where a wheel puts the pages."""
    (tmp_path / "bin").mkdir()
    shutil.copytree(MAN, tmp_path / "share" / "man" / "man1")
    environment = {**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "MANROFFOPT": "-ww"}
    environment.pop("MANPATH", None)
    done = subprocess.run(
        ["man", "gitchain-verify"], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "Exit code 0 means that all targets are verified" in done.stdout
