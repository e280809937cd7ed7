"""Exhaustion: what is too deep, too long or too many ends soon, small, and with exit code 8 or 1.

Each input is read by a process of its own, whose memory over that of a process that reads a broken bundle is bounded.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from gitchain.cli.output import escape
from gitchain.errors import ExitCode
from tests.support.command_line import call

MORE = 256 * 1024  # KiB of memory that a hostile bundle may take beyond a broken one
SECONDS = 60  # of processor time, after which the system ends the process


def judged(tmp_path: Path, bundle: Path) -> tuple[int, int]:
    """Return exit code and peak memory in KiB of `gitchain bundle verify`."""
    out = os.open(tmp_path / "said", os.O_CREAT | os.O_WRONLY, 0o600)
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        os.dup2(out, 1)
        os.dup2(out, 2)
        arguments = ["bundle", "verify", "--bundle", str(bundle), "--certificate-identity", "a@b.example"]
        issuer = ["--certificate-oidc-issuer", "https://b.example", "sha256:" + "0" * 64]
        os.execv(sys.executable, [sys.executable, "-m", "gitchain", *arguments, *issuer])
    os.close(out)
    _, status, used = os.wait4(child, 0)
    assert os.WIFEXITED(status), f"ended by signal {os.WTERMSIG(status)}"
    return os.WEXITSTATUS(status), used.ru_maxrss


def huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 30)


def text(value: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(value)


ENVELOPE = '{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","dsseEnvelope":{"payload":"","payloadType":"x","signatures":[%s]}}'
HOSTILE = {
    "depth of 100,000": text("[" * 100_000 + "]" * 100_000),
    "objects 100,000 deep": text('{"a":' * 100_000 + "1" + "}" * 100_000),
    "an integer of a million digits": text('{"mediaType":' + "9" * 1_000_000 + "}"),
    "a float of a million digits": text('{"mediaType":0.' + "9" * 1_000_000 + "e999999999}"),
    "duplicate keys": text("{" + ",".join(['"a":1'] * 200_000) + "}"),
    "a million signatures": text(ENVELOPE % ",".join(['{"sig":""}'] * 1_000_000)),
    "a million empty values": text("[" + "[]," * 1_000_000 + "[]]"),
    "a gigabyte": huge,
}


def test_a28_limits(tmp_path: Path) -> None:
    """Each is refused with a limit or as malformed, below 256 MiB more than a broken bundle takes."""
    (tmp_path / "broken").write_text("{}")
    code, usual = judged(tmp_path, tmp_path / "broken")
    assert code == ExitCode.FAILED
    for name, make in HOSTILE.items():
        make(tmp_path / "bundle")
        code, used = judged(tmp_path, tmp_path / "bundle")
        assert code in {ExitCode.FAILED, ExitCode.LIMIT}, (name, code)
        assert used - usual < MORE, (name, used - usual)


STRANGE = (
    "\x1b[2J\x1b[31mPASSED",
    "\r\x1b[1APASSED",
    "\x9b31m",
    "\u202eDESSAP",
    "\x07\x08",
    "\u2066x",
    "a\nPASSED  model.bin",
    "<script>alert(1)</script>",
)


def test_cve_2026_45803_terminal_and_html_escape(tmp_path: Path) -> None:
    """Hostile text in every place that is shown: nothing but printable characters and our own line ends comes out."""
    for strange in STRANGE:
        value = {"mediaType": strange, "dsseEnvelope": {"payloadType": strange, "payload": strange}}
        for bundle in (
            value,
            {**value, "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json"},
            [strange],
            strange,
        ):
            (tmp_path / "bundle").write_text(json.dumps(bundle))
            for options in ((), ("--json",)):
                done = call(
                    "bundle", "verify", *options, "--bundle", "bundle", "--certificate-identity", strange,
                    "--certificate-oidc-issuer", "https://b.example", strange, cwd=tmp_path,
                )  # fmt: skip
                assert done.code != 0
                assert all(one.isprintable() or one == "\n" for one in done.text), ascii(done.text)
                assert not any(line.startswith("PASSED") for line in done.text.splitlines())
                assert options == () or done.out.isascii()


def test_cve_2026_45803_every_character_is_escaped() -> None:
    """No control, format or bidirectional character survives."""
    for number in range(sys.maxunicode + 1):
        if unicodedata.category(chr(number)) in {"Cc", "Cf", "Cs", "Zl", "Zp"}:
            assert escape(chr(number)).isascii(), hex(number)


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/../../b", "/etc/passwd", "a" * 5000])
def test_a13_targets_that_leave_the_repository(tmp_path: Path, name: str) -> None:
    """A bundle or target that cannot be named is an error, never a verdict."""
    done = call(
        "bundle",
        "verify",
        "--bundle",
        name,
        "--certificate-identity",
        "a",
        "--certificate-oidc-issuer",
        "https://b",
        name,
        cwd=tmp_path,
    )
    assert done.code in {ExitCode.USAGE, ExitCode.FAILED}
