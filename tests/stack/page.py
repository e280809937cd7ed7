"""The commands of a page of docs/, and the files that it tells to write, in their order."""

from __future__ import annotations

import re
import subprocess
import textwrap
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"^( *)```(console|yaml)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Step:
    """A file to write, or a command with the lines that it has to print."""

    text: str
    file: str = ""
    printed: tuple[str, ...] = ()

    @property
    def fails(self) -> bool:
        """Tell whether the page shows that the command is refused."""
        return any(line.startswith(("Error", "no")) for line in self.printed)


def steps(page: str, section: str, change: Mapping[str, str]) -> Iterator[Step]:
    """Yield the steps of a section, with what the page tells to put something else in the place of."""
    inside = page.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    assert inside, section
    for _, kind, block in _BLOCK.findall(inside):
        text = textwrap.dedent(block)
        for old, new in change.items():
            text = text.replace(old, new)
        if kind == "yaml":
            name = re.match(r"# (\S+\.yaml)\n", text)
            assert name, text
            yield Step(text, name[1])
            continue
        for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            command, *printed = part.splitlines()
            yield Step(command, printed=tuple(line for line in printed if line.strip()))


def follow(step: Step, folder: Path, environ: Mapping[str, str]) -> str:
    """Write the file or run the command; return what is wrong, or nothing. What takes a moment is looked at again."""
    if step.file:
        (folder / step.file).write_text(step.text, encoding="utf-8")
        return ""
    wait = threading.Event()
    for _ in range(int(SECONDS)):
        done = subprocess.run(
            ["bash", "-c", step.text], cwd=folder, env=environ, capture_output=True, text=True, check=False
        )
        said = done.stdout + done.stderr
        lacking = [line for line in step.printed if not _pattern(line).search(said)]
        good = (done.returncode != 0) == step.fails and not lacking
        if good or " get " not in step.text:
            break
        wait.wait(1)
    return "" if good else f"$ {step.text}\n{said}exit code {done.returncode}, lacking {lacking}"


def _pattern(line: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, line.strip().split("…"))))
