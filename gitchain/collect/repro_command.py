"""The command line of `dvc repro`: which stages it names, and the shell that watches them."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gitchain.collect import shim
from gitchain.collect.hash_cache import StateCache
from gitchain.collect.stages import PipelineStage
from gitchain.errors import StoreError

_SHELL_NAMES = frozenset({"bash", "zsh", "fish", "sh", "dash", "ksh", "mksh", "ash"})


ELSEWHERE = frozenset({"--temp", "--queue", "--run-all"})


def is_dvc_repro(argv: Sequence[str]) -> bool:
    """Return True if a command line is `dvc repro` or `dvc exp run`, with any launcher (`uv run dvc repro`)."""
    for index, word in enumerate(argv):
        if os.path.basename(word) == "dvc":
            verbs = [one for one in argv[index + 1 :] if not one.startswith("-")]
            return verbs[:1] == ["repro"] or (verbs[:1] in (["exp"], ["experiments"]) and "run" in verbs[1:2])
    return False


def stages_named(stages: Sequence[PipelineStage], argv: Sequence[str]) -> Sequence[PipelineStage]:
    """Return the stages that DVC will bring up to date; none if arguments and option values are ambiguous."""
    planned = [stage for stage in stages if not stage.is_data and not stage.frozen]
    dvc = next(index for index, word in enumerate(argv) if os.path.basename(word) == "dvc")
    verb = next(index for index, word in enumerate(argv) if index > dvc and word in {"repro", "run"})
    words = [word for word in argv[verb + 1 :] if not word.startswith("-") and "=" not in word]
    if not words:
        return planned
    chosen = [stage for stage in planned if not _addresses(stage).isdisjoint(words)]
    if len(chosen) != len(words):
        return ()
    for stage in chosen:  # grows during the iteration
        chosen += [
            other
            for other in planned
            if other not in chosen and any(overlap(dep, out) for dep in stage.deps for out in other.outs)
        ]
    return chosen


def _addresses(stage: PipelineStage) -> frozenset[str]:
    """Return the stage's addresses in DVC: from the repository's root, or from the directory of its dvc.yaml."""
    return frozenset(
        {stage.name, stage.key, f"{os.path.dirname(stage.lock)}/dvc.yaml:{stage.key}".lstrip("/")}
    )


@contextmanager
def watching_shell(
    root: Path,
    project: str,
    stages: Sequence[PipelineStage],
    state: StateCache,
    env: Mapping[str, str],
    *,
    reload: bool,
) -> Iterator[tuple[Path, dict[str, str]]]:
    """Set up the shim in a new directory; yield its path and the environment for DVC."""
    user_shell = env.get("SHELL") or None
    spec: dict[str, Any] = {
        "root": str(root),
        "project": project,
        "state": str(state.path),
        "shell": shutil.which(user_shell or "/bin/sh") or "/bin/sh",
        "user_shell": user_shell,
        "reload": reload,
        "stages": [shim.plan(stage, root) for stage in stages],
    }
    scratch = _scratch(state.path.parent)
    try:
        shim.write_json(scratch / shim.SPEC, spec)
        yield scratch, {**env, "SHELL": str(_script(scratch, os.path.basename(spec["shell"])))}
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _scratch(beside: Path) -> Path:
    """Create a private directory that allows executing scripts: /tmp is often mounted noexec."""
    for parent in (None, beside):
        try:
            made = Path(tempfile.mkdtemp(prefix="gitchain-run-", dir=parent))
        except OSError:
            continue
        probe = made / "probe"
        probe.touch(mode=0o700)
        if os.access(probe, os.X_OK):
            probe.unlink()
            return made
        shutil.rmtree(made, ignore_errors=True)
    raise StoreError(
        "no directory for a script", where=tempfile.gettempdir(), help="set TMPDIR to one on a normal disk"
    )


def _script(scratch: Path, shell: str) -> Path:
    package = Path(__file__).resolve().parents[2]
    code = (
        f"import sys; sys.path.append({str(package)!r}); "
        f"from gitchain.collect.shim import main; sys.exit(main({str(scratch)!r}))"
    )
    script = scratch / (shell if shell in _SHELL_NAMES else "sh")
    script.write_text(
        f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -I -c {shlex.quote(code)} "$@"\n', encoding="utf-8"
    )
    script.chmod(0o700)
    return script


def overlap(one: str, other: str) -> bool:
    """Return True if one path is the other, or inside of it."""
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")
