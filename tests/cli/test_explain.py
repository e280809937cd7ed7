"""`verify --explain`: what is broken first, by the shortest way; then every check, on whose word, by whom, when, where."""

from __future__ import annotations

import fcntl
import os
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gitchain.cli.output import Options
from gitchain.cli.verdict import print_verdict
from gitchain.errors import ExitCode
from tests.cli.test_documents import validator

Gitchain = Callable[..., Any]


@pytest.fixture
def chain(gitchain: Gitchain, tiny: Path) -> Path:
    """A model of two steps, of which the second took another model than the first made."""
    text = (tiny / ".gitchain/layout.yaml").read_text().replace("version: 1", "version: 2")
    check = (
        "  - name: check\n    functionaries: [ada]\n"
        "    expectedMaterials: [[REQUIRE, model.txt], [MATCH, model.txt, WITH, PRODUCTS, FROM, train], [ALLOW, 'git:*'], [DISALLOW, '*']]\n"
        "    expectedProducts: [[ALLOW, report.txt], [DISALLOW, '*']]\nserve:"
    )
    (tiny / ".gitchain/layout.yaml").write_text(text.replace("serve:", check))
    assert gitchain("layout", "sign", cwd=tiny).code == 0
    assert gitchain("attest", "train", "-m", "in.txt", "-p", "model.txt", cwd=tiny).code == 0
    (tiny / "report.txt").write_text("fine")
    return tiny


def checked(gitchain: Gitchain, chain: Path, content: str) -> None:
    (chain / "model.txt").write_text(content)
    assert gitchain("attest", "check", "-m", "model.txt", "-p", "report.txt", cwd=chain).code == 0
    (chain / "model.txt").write_text("model")


def test_the_way_to_what_is_broken_comes_first(gitchain: Gitchain, chain: Path) -> None:
    """From the model by its steps to the broken link, with who signed each."""
    checked(gitchain, chain, "another")
    done = gitchain("verify", "--explain", "model.txt", cwd=chain)
    assert done.code == ExitCode.FAILED
    lines = done.out.splitlines()
    start = lines.index("  model.txt")
    assert [line.strip(" └─`-") for line in lines[start + 1 : start + 5]] == [
        "train, signed by ada@example.com",
        "check, signed by ada@example.com",
        "FAIL GC-E0312 an artifact differs from what the step that made it attested",
        "model.txt",
    ]
    assert start < next(number for number, line in enumerate(lines) if line.startswith("error["))


def test_every_check_says_on_whose_word(gitchain: Gitchain, chain: Path) -> None:
    """Proven, claimed, unknown; who signed, when, where logged, once for each attestation."""
    checked(gitchain, chain, "model")
    done = gitchain("verify", "--explain", "model.txt", cwd=chain)
    assert done.code == ExitCode.OK
    checks = re.findall(r"^    (ok|FAIL) +(proven|claimed) +(.+)$", done.out, re.MULTILINE)
    document = gitchain("verify", "--json", "--explain", "model.txt", cwd=chain).json
    validator("verify").validate(document)
    assert [(word, basis, message) for word, basis, message in checks] == [
        ("ok", check["basis"], check["message"]) for check in document["checks"]
    ]
    assert len(re.findall(r"^ +at 20\d\d-.+, logged in .+ as entry \d+$", done.out, re.MULTILINE)) == 2
    assert re.findall(r"^    -    unknown  (.+)$", done.out, re.MULTILINE) == document["unknown"]
    headings = re.findall(r"^  (the layout|the target|step \w+|unknown)$", done.out, re.MULTILINE)
    assert headings == ["the layout", "step train", "step check", "the target", "unknown"]


def test_a_target_without_a_way_still_has_a_reason(gitchain: Gitchain, chain: Path) -> None:
    """Nothing is known of the target: the reason hangs on the target itself."""
    done = gitchain("verify", "--explain", "report.txt", cwd=chain)
    assert "FAIL GC-E02" in done.out


def test_the_chain_behind_a_step_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """A step that stands for another layout is followed by that layout's steps, and text from it cannot steer a terminal."""
    inner = {"name": "collect\x1b[2J", "functionaries": ["sam"], "evidence": "observed", "attestations": []}
    behind = {"name": "datahouse", "version": 2, "digest": {"sha256": "0" * 64}, "steps": [inner]}
    outer = {
        "name": "data",
        "functionaries": ["acme"],
        "evidence": None,
        "attestations": [],
        "sublayout": behind,
    }
    document = {
        "verificationResult": "PASSED",
        "resource": {"name": "m", "digest": {"sha256": "0" * 64}},
        "layout": {
            "name": "credit",
            "version": 1,
            "signer": {"issuer": "https://issuer.example", "subject": "owner"},
        },
        "steps": [outer],
        "findings": [],
    }
    print_verdict(Options(color=False), document)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert [line.split()[:2] for line in out.splitlines()[2:]] == [
        ["step", "data"],
        ["sublayout", "datahouse"],
        ["step", "collect\\x1b[2J"],
    ]


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("colour", [(), ("--no-color",)], ids=["colour", "plain"])
def test_a_terminal_is_not_overrun(
    gitchain: Gitchain, chain: Path, columns: int, colour: tuple[str, ...]
) -> None:
    """On a terminal the checks are wrapped to its width, and coloured if it may be."""
    checked(gitchain, chain, "another")
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    command = [sys.executable, "-m", "gitchain", *colour, "verify", "--explain", "model.txt"]
    kept = {key: value for key, value in os.environ.items() if key not in {"COLUMNS", "NO_COLOR"}}
    with subprocess.Popen(command, cwd=chain, stdout=theirs, stderr=subprocess.DEVNULL, env=kept) as process:
        os.close(theirs)
        text = _read(ours).decode()
        assert process.wait() == ExitCode.FAILED
    assert ("\x1b[31m" in text) is (not colour)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()
    checks = lines[next(number for number, line in enumerate(lines) if line.startswith("Every check")) :]
    assert [line for line in checks if len(line) > columns and "sha256:" not in line] == []


def _read(handle: int) -> bytes:
    parts = []
    while True:
        try:
            part = os.read(handle, 1 << 16)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        parts.append(part)
    os.close(handle)
    return b"".join(parts)
