"""Build the two distributions of this source tree: `gitchain`, and `gitchain-core`, which is the same without DVC.

    python deploy/wheels.py dist          # both wheels, and the source distribution of gitchain
    python deploy/wheels.py --core dist   # the wheel of gitchain-core alone, as the container image installs it

Needs setuptools (requirements/build.txt) and no network. The description of both is README.md with its links made
absolute, below the project's Source URL: on a package index a relative link leads nowhere. Builds in a copy,
so the tree stays as it is. Why two distributions: docs/decisions/0011-two-distributions.md.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILES = ("pyproject.toml", "README.md", "LICENSE")
LINK = re.compile(r"""(\]\(|(?:src|href)=")(?![a-z][a-z0-9+.-]*:|\#)""")
"""What starts a link of Markdown or HTML that has no scheme and is more than a fragment."""


def absolute(text: str, base: str) -> str:
    """Return Markdown whose relative links lead below `base`."""
    return LINK.sub(lambda found: found[1] + base, text)


def core_project(text: str) -> str:
    """Return pyproject.toml for gitchain-core: another name, and no dependency on DVC; ValueError if it does not fit."""
    text, renamed = re.subn(r'(?m)^name = "gitchain"$', 'name = "gitchain-core"', text)
    text, dropped = re.subn(r'(?m)^    "dvc[>=].*\n', "", text)
    if (renamed, dropped) != (1, 1):
        message = f"pyproject.toml: expected one name and one dependency on DVC, got {renamed} and {dropped}"
        raise ValueError(message)
    return text


def stage(into: Path, *, core: bool) -> None:
    """Copy what a build reads, with the description and, for `core`, the metadata changed."""
    for name in FILES:
        shutil.copy(ROOT / name, into / name)
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    shutil.copytree(ROOT / "gitchain", into / "gitchain", ignore=ignored)  # follows the link to schemas/
    shutil.copytree(ROOT / "docs" / "man", into / "docs" / "man")
    project = into / "pyproject.toml"
    text = project.read_text("utf-8")
    base = tomllib.loads(text)["project"]["urls"]["Source"]
    readme = into / "README.md"
    readme.write_text(absolute(readme.read_text("utf-8"), base), "utf-8")
    if core:
        project.write_text(core_project(text), "utf-8")


def build(dest: Path, *, core: bool, source: bool = False) -> list[str]:
    """Build a wheel, and the source distribution with `source`, into `dest`; return their names."""
    from setuptools import build_meta

    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        stage(Path(folder), core=core)
        os.chdir(folder)  # the build backend's interface: it builds what is in the current directory
        try:
            made = [build_meta.build_wheel(str(dest))]
            if source:
                made.append(build_meta.build_sdist(str(dest)))
        finally:
            os.chdir(before)
    return made


def main() -> int:
    """Build what the arguments ask for and print the names of the files."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--core", action="store_true", help="the wheel of gitchain-core alone")
    parser.add_argument("dest", type=Path, help="directory for the files")
    arguments = parser.parse_args()
    dest = arguments.dest.resolve()
    dest.mkdir(parents=True, exist_ok=True)
    made = build(dest, core=True)
    if not arguments.core:
        made += build(dest, core=False, source=True)
    sys.stdout.write("".join(f"{dest / name}\n" for name in made))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
