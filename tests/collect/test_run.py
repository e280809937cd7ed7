"""A command is run between two looks, its output unchanged, its end passed on."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gitchain.collect.environment import environment
from gitchain.collect.run import observe
from gitchain.collect.scrub import scrub_command
from gitchain.errors import ProjectError, RunError
from gitchain.evidence.canonical import canonical_json

PY = sys.executable


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "in").write_text("input", encoding="utf-8")
    return tmp_path


def test_materials_products_and_outputs_are_digested(
    root: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """What was read, what was made and what was said, bytes unchanged on their way to us."""
    seen = observe(root, ["sh", "-c", "cat in > out; printf 'a\\000b'; printf err >&2"], ["in"], ["out"])
    assert capfdbinary.readouterr() == (b"a\0b", b"err")
    assert seen.stdout_sha256 == hashlib.sha256(b"a\0b").hexdigest()
    assert seen.stderr_sha256 == hashlib.sha256(b"err").hexdigest()
    assert seen.materials[0].descriptor.digest == seen.products[0].descriptor.digest
    assert (seen.exit_code, seen.command[0]) == (0, "sh")
    assert seen.started <= seen.finished


def test_large_outputs_on_both_sides_do_not_block(root: Path) -> None:
    """Megabytes on stdout and stderr in turns fill every pipe."""
    null = os.open(os.devnull, os.O_WRONLY)
    code = "import sys\nfor i in range(40):\n sys.stdout.write('o'*100000); sys.stderr.write('e'*100000)"
    seen = observe(root, [PY, "-c", code], stdout=null, stderr=null)
    os.close(null)
    assert seen.stdout_sha256 == hashlib.sha256(b"o" * 4_000_000).hexdigest()
    assert seen.stderr_sha256 == hashlib.sha256(b"e" * 4_000_000).hexdigest()


def test_a_failing_command_passes_its_code_through(root: Path) -> None:
    """A failure is no error of ours, and a missing product none then."""
    assert observe(root, ["sh", "-c", "exit 7"], ["in"], ["out"]).exit_code == 7
    assert observe(root, ["sh", "-c", "kill -9 $$"], ["in"], ["out"]).exit_code == 137


def test_a_changed_material_is_refused_unless_it_is_a_product(root: Path) -> None:
    """The message names the file."""
    command = ["sh", "-c", "echo more >> in; echo x > out"]
    with pytest.raises(RunError, match="changed while") as caught:
        observe(root, command, ["in"], ["out"])
    assert caught.value.where == "in"
    assert len(observe(root, command, ["in"], ["out", "in"]).products) == 2


def test_a_material_that_disappears_is_refused(root: Path) -> None:
    """Gone is changed."""
    with pytest.raises(RunError, match="gone"):
        observe(root, ["rm", "in"], ["in"])


def test_a_missing_product_of_a_success_is_refused(root: Path) -> None:
    """Exit 0 without the product is a lie."""
    with pytest.raises(RunError, match="did not make") as caught:
        observe(root, ["true"], ["in"], ["out"])
    assert caught.value.where == "out"


def test_what_cannot_start_is_our_error(root: Path) -> None:
    """Exit 125 territory: the command never ran."""
    for command in (["no-such-command-here"], ["a\0b"], []):
        with pytest.raises(RunError):
            observe(root, command, ["in"])
    with pytest.raises(ProjectError):
        observe(root, ["true"], ["missing"])


def test_a_background_process_does_not_hold_us_up(root: Path) -> None:
    """A server that the command leaves behind keeps the pipe open for a minute; we return after the grace."""
    seen = observe(root, ["sh", "-c", "sleep 60 & echo $! > pid; echo done"])
    os.kill(int((root / "pid").read_text(encoding="utf-8")), signal.SIGKILL)
    assert seen.stdout_sha256 == hashlib.sha256(b"done\n").hexdigest()


def test_signals_reach_the_command(root: Path) -> None:
    """SIGTERM to us is SIGTERM to the command, and its answer is what counts."""
    code = (
        "from pathlib import Path; from gitchain.collect.run import observe; "
        f"print(observe(Path({str(root)!r}), ['sh', '-c', 'trap \"exit 9\" TERM; echo ready; while :; do sleep 0.05; done']).exit_code)"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    child = subprocess.Popen([PY, "-c", code], env=env, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    child.terminate()
    out, _ = child.communicate(timeout=30)
    assert out == "9\n"


def test_a_reader_that_goes_away_ends_the_command(root: Path) -> None:
    """`gitchain run -- yes | head` must end as `yes | head` does."""
    read, write = os.pipe()
    os.close(read)
    seen = observe(root, ["yes"], stdout=write)
    os.close(write)
    assert seen.exit_code != 0


@pytest.mark.parametrize(
    ("argv", "clean"),
    [
        (["curl", "--token", "abc"], ["curl", "--token", "***"]),
        (["x", "--api-key=abc"], ["x", "--api-key=***"]),
        (["env", "AWS_SECRET_ACCESS_KEY=abc", "x"], ["env", "AWS_SECRET_ACCESS_KEY=***", "x"]),
        (["x", "https://u:p@example.com/a"], ["x", "https://***@example.com/a"]),
        (["x", "AKIAABCDEFGHIJKLMNOP"], ["x", "***"]),
        (["x", "ghp_" + "a" * 36], ["x", "***"]),
        (["x", "https://b/c?sig=abc&a=1"], ["x", "https://b/c?sig=***&a=1"]),
        (
            ["sh", "-c", "HF_TOKEN='a b' python x --password p"],
            ["sh", "-c", "HF_TOKEN=*** python x --password ***"],
        ),
        (
            ["python", "train.py", "--lr", "0.1", "--tokenizer", "bert"],
            ["python", "train.py", "--lr", "0.1", "--tokenizer", "bert"],
        ),
        (["x", "--max-tokens", "5", "--keys", "a"], ["x", "--max-tokens", "5", "--keys", "a"]),
    ],
)
def test_secrets_leave_the_command_line(argv: list[str], clean: list[str]) -> None:
    """What looks like a secret is hidden, and what does not stays."""
    assert list(scrub_command(argv)) == clean


def test_the_environment_is_an_allow_list() -> None:
    """No variable gets in, not even as part of a CI address."""
    secret = "s3cr3t-value"
    variables = {
        "AWS_SECRET_ACCESS_KEY": secret,
        "GITHUB_ACTIONS": "true",
        "GITHUB_SERVER_URL": f"https://u:{secret}@github.com",
        "GITHUB_REPOSITORY": "o/r",
        "GITHUB_RUN_ID": "1",
        "GITHUB_RUN_ATTEMPT": "2",
        "GITHUB_TOKEN": secret,
    }
    found = environment((), variables)
    text = canonical_json(found).decode()
    assert secret not in text
    assert found["ci"] == {"provider": "github", "run": "https://github.com/o/r/actions/runs/1/attempts/2"}
    assert set(found) <= {"interpreters", "os", "cpus", "gpus", "container", "ci"}
    assert found["interpreters"] == []
    assert "interpreters" not in environment(None, variables)
