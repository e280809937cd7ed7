"""Run the commands of README.md and docs/tutorial.md in real projects, and write their output and a picture.

`python examples/walk.py` rewrites the marked blocks of both pages, and docs/verify.svg. A marked block is a `console` block
after a line `<!-- output: PROJECT -->`; bash runs each line that starts with `$ ` on a terminal, in a new project for each
name: blocks of one page with the same name follow one another. The tutorial's project has the files that the page shows.
What differs from run to run (times, ids, the name of the built-in instance, paths) is replaced by fixed values.
`python examples/walk.py --check` writes nothing, and exits with 1 if a file is not what a run gives today.
"""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from html import escape
from pathlib import Path

from demo import Shell

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
TUTORIAL = ROOT / "docs" / "tutorial.md"
PICTURE = ROOT / "docs" / "verify.svg"
BLOCK = re.compile(r"(<!-- output: (\w+) -->\n```console\n)(.*?)(^```$)", re.DOTALL | re.MULTILINE)
SHOWN_FILE = re.compile(r"^`([\w.]+)`[^\n]*:\n\n```(?:text|python)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FILES = {
    "data.csv": "".join(f"{x},{2 * x + 1}\n" for x in range(10)),
    "train.py": """import pickle
from statistics import linear_regression

rows = [line.split(",") for line in open("data.csv").read().split()]
slope, intercept = linear_regression([int(x) for x, _ in rows], [int(y) for _, y in rows])
with open("model.pkl", "wb") as file:
    pickle.dump({"slope": slope, "intercept": intercept}, file, protocol=4)
""",
}
STAGES = """stages:
  train:
    cmd: python train.py
    deps: [data.csv, train.py]
    outs: [model.pkl]
"""
SHOWN = ("gitchain verify model.pkl", "echo tampered >> model.pkl", "gitchain verify model.pkl", "echo $?")
FIXED = (
    (re.compile(r"\blocal-[0-9a-f]{8}\b"), "local-2cfa5983"),
    (re.compile(r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"), "2026-11-30 09:00:00 UTC"),
    (re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "2026-11-30T09:00:00Z"),
    (re.compile(r"(?<![0-9a-f:])(?=[0-9a-f]*\d)[0-9a-f]{12}(?![0-9a-f])"), "b4e38c45adc8"),
)
SEQUENCE = re.compile(r"\x1b\[([0-9;]*)m")
COLUMNS = 100
STYLES = {"1": "bold", "31": "red", "32": "green", "33": "yellow"}


class Terminal:
    """Runs commands one after another in a project, each on a terminal of its own, as Ada."""

    def __init__(self, folder: Path, files: dict[str, str] = FILES) -> None:
        """Make a Git repository `churn` without a commit in `folder`, with some files."""
        self.shell = Shell(folder / "churn", folder / "home")
        self.code = 0
        for directory in (self.shell.cwd, self.shell.home):
            directory.mkdir(parents=True)
        for name, text in files.items():
            self.shell.write(name, text)
        self.shell.must("git", "init", "-q", "-b", "main")
        self.shell.must("git", "config", "user.name", "Ada")
        self.shell.must("git", "config", "user.email", "ada@example.com")

    def type(self, command: str) -> str:
        """Run one line with bash, and return its output with terminal colours and fixed ids, times and paths."""
        main, end = pty.openpty()
        environment = self.shell.environment() | {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
        del environment["NO_COLOR"]
        line = f"(exit {self.code}); {command}"
        with subprocess.Popen(
            ["bash", "-c", line], cwd=self.shell.cwd, env=environment, stdin=end, stdout=end, stderr=end
        ) as process:
            os.close(end)
            output = read_all(main)
        self.code = process.returncode
        text = output.decode().replace("\r\n", "\n").replace(f"{self.shell.cwd.resolve()}/", "")
        for pattern, value in FIXED:
            text = pattern.sub(value, text)
        return text


def read_all(descriptor: int) -> bytes:
    """Return all bytes from a terminal, until its last writer closes it."""
    parts = []
    try:
        while part := os.read(descriptor, 65536):
            parts.append(part)
    except OSError:  # EIO: Linux reports the end so
        pass
    finally:
        os.close(descriptor)
    return b"".join(parts)


def plain(folder: Path) -> Terminal:
    """Return a project without DVC."""
    return Terminal(folder)


def dvc(folder: Path) -> Terminal:
    """Return a project with a DVC pipeline that is up to date."""
    terminal = Terminal(folder)
    terminal.shell.write("dvc.yaml", STAGES)
    terminal.shell.must("dvc", "init", "-q")
    terminal.shell.must("dvc", "repro", "-q")
    terminal.shell.must("git", "add", "-A")
    terminal.shell.must("git", "commit", "-q", "-m", "first model")
    return terminal


def tutorial(folder: Path) -> Terminal:
    """Return a project with the files that the tutorial shows."""
    return Terminal(folder, dict(SHOWN_FILE.findall(TUTORIAL.read_text(encoding="utf-8"))))


PROJECTS: dict[str, Callable[[Path], Terminal]] = {"plain": plain, "dvc": dvc, "tutorial": tutorial}


def commands(block: str) -> list[str]:
    """Return the lines of a block that start with `$ `, without it."""
    return [line[2:] for line in block.splitlines() if line.startswith("$ ")]


def page(text: str, folder: Path) -> str:
    """Return `text` with the output of every marked block replaced by that of a run in new projects below `folder`."""
    terminals: dict[str, Terminal] = {}

    def replaced(match: re.Match[str]) -> str:
        if match[2] not in terminals:
            terminals[match[2]] = PROJECTS[match[2]](folder / match[2])
        terminal = terminals[match[2]]
        lines = [f"$ {command}\n{SEQUENCE.sub('', terminal.type(command))}" for command in commands(match[3])]
        return match[1] + "".join(lines) + match[4]

    return BLOCK.sub(replaced, text)


def picture(text: str, folder: Path) -> str:
    """Return an SVG of a terminal session on the project that the README's block without DVC makes."""
    terminal = plain(folder / "picture")
    block = next(found[3] for found in BLOCK.finditer(text) if found[2] == "plain")
    for command in commands(block):
        terminal.type(command)
    return svg("".join(f"\x1b[1m$ {command}\x1b[0m\n{terminal.type(command)}" for command in SHOWN))


def cells(text: str) -> list[list[tuple[str, str]]]:
    """Return lines of (character, style classes), wrapped at COLUMNS as a terminal does."""
    lines: list[list[tuple[str, str]]] = [[]]
    style: list[str] = []
    for part in re.split(r"(\x1b\[[0-9;]*m|\n)", text):
        if found := SEQUENCE.fullmatch(part):
            named = [STYLES[code] for code in found[1].split(";") if code in STYLES]
            style = [*style, *named] if named else []
        elif part == "\n":
            lines.append([])
        else:
            for character in part:
                if len(lines[-1]) == COLUMNS:
                    lines.append([])
                lines[-1].append((character, " ".join(style)))
    return lines[:-1] if not lines[-1] else lines


def spans(line: list[tuple[str, str]]) -> str:
    """Return the characters of one line as SVG text, a tspan for each run of one style."""
    runs: list[tuple[str, str]] = []
    for character, style in line:
        if runs and runs[-1][1] == style:
            runs[-1] = (runs[-1][0] + character, style)
        else:
            runs.append((character, style))
    return "".join(
        f'<tspan class="{style}">{escape(text)}</tspan>' if style else escape(text) for text, style in runs
    )


def svg(text: str) -> str:
    """Return a terminal session as one SVG with a light and a dark palette; no script, no font, no link."""
    lines = cells(text)
    width, height = COLUMNS * 8 + 40, len(lines) * 20 + 36
    rows = "\n".join(
        f'<text x="20" y="{number * 20 + 32}" xml:space="preserve">{spans(line)}</text>'
        for number, line in enumerate(lines)
    )
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return f"""<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">
<title>gitchain verify: PASSED, and FAILED after the model was changed</title>
<style>
rect {{ fill: #f6f8fa; stroke: #d0d7de }}
text {{ fill: #1f2328; font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace }}
.bold {{ font-weight: bold }} .red {{ fill: #b3261e }} .green {{ fill: #116329 }} .yellow {{ fill: #7d4e00 }}
@media (prefers-color-scheme: dark) {{
rect {{ fill: #0d1117; stroke: #3d444d }}
text {{ fill: #e6edf3 }}
.red {{ fill: #ff7b72 }} .green {{ fill: #56d364 }} .yellow {{ fill: #e3b341 }}
}}
</style>
<rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8"/>
{rows}
</svg>
"""


def today(folder: Path) -> dict[Path, str]:
    """Return both pages and the picture as a run below `folder` gives them."""
    pages = {path: page(path.read_text(encoding="utf-8"), folder) for path in (README, TUTORIAL)}
    return {**pages, PICTURE: picture(pages[README], folder)}


def main(check: bool) -> int:
    """Write the files, or compare them: return 1 if one differs."""
    with tempfile.TemporaryDirectory(prefix="gitchain-walk-") as folder:
        changed = {
            path: text
            for path, text in today(Path(folder)).items()
            if not path.is_file() or path.read_text(encoding="utf-8") != text
        }
    for path, text in changed.items():
        print(f"{path.relative_to(ROOT)} {'is not what a run gives today' if check else 'written'}")
        if not check:
            path.write_text(text, encoding="utf-8")
    return 1 if check and changed else 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv))
