"""Make docs/report.png: the start of a report, as Chromium shows it.

    python examples/report_picture.py [report.html]

Without a file, the demo's project is built and reported on first, which takes a minute. Needs Chromium on PATH; it gets an
empty profile, and no network is needed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import demo

PICTURE = Path(__file__).parents[1] / "docs" / "report.png"
WIDTH, HEIGHT = 960, 900
MOST = 150_000


def main(page: Path | None) -> int:
    """Write the picture; return 1 if it is too large."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        print("no Chromium on PATH: apt-get install chromium", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="gitchain-picture-") as directory:
        page = page or make_page(Path(directory))
        take(browser, page, Path(directory))
    print(f"{PICTURE.stat().st_size} bytes in {PICTURE}")
    return int(PICTURE.stat().st_size > MOST)


def make_page(directory: Path) -> Path:
    """Build the demo's project, and return the report on its model."""
    home, project = directory / "home", directory / "project"
    home.mkdir()
    project.mkdir()
    shell = demo.Shell(project, home)
    demo.build(shell)
    demo.approve(shell)
    demo.release(shell, "v1.0")
    demo.deploy(shell)
    page = directory / "report.html"
    shell.gitchain("report", "v1.0", "-o", str(page))
    return page


def take(browser: str, page: Path, directory: Path) -> None:
    """Let the browser write the picture."""
    options = (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--hide-scrollbars",
    )
    subprocess.run(
        [
            browser,
            *options,
            f"--user-data-dir={directory / 'profile'}",
            f"--window-size={WIDTH},{HEIGHT}",
            f"--screenshot={PICTURE}",
            page.resolve().as_uri(),
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else None))
