"""Git state of a step: commit, tree, branch and changes, with the git binary as `collect` runs it.

Git runs without any transport, and its errors name the repository. Only the binary reads SHA-256 repositories, reftables
and partial clones: see `gitchain.platform.git`. Arguments that come from outside go through standard input, never onto
the command line. The repository is not changed.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gitchain.errors import NoRepositoryError, ProjectError
from gitchain.evidence.digest import Sha256, sha256_hex
from gitchain.platform.git import LOCAL_SECONDS, Git, GitJob, refused_owner

MAX_OUTPUT = 256 << 20
"""Most bytes of an answer: the names of a million files are shorter."""

WORK_TREE_SECONDS = 600.0
"""For what looks at every file of a work tree."""


def start(
    root: str,
    *args: str,
    stdin: bytes = b"",
    seconds: float = LOCAL_SECONDS,
    sink: Callable[[bytes], object] | None = None,
) -> GitJob:
    """Start git in `root`. Raises ProjectError or StoreError if that fails."""
    git = Git(Path(root), offline=True)
    return git.start(*args, stdin=stdin, seconds=seconds, limit=MAX_OUTPUT, sink=sink)


def finish(job: GitJob, root: str, *, ok: tuple[int, ...] = (0,)) -> bytes:
    """Return the output once git has ended. Raises ProjectError unless its exit code is among `ok`."""
    done = job.finish(None)
    if done.code not in ok:
        lacking = "promisor" in done.stderr or "not allowed" in done.stderr
        raise ProjectError(
            "this clone lacks objects" if lacking else "git failed",
            where=root,
            got=done.reason[:200],
            help="git fetch --refetch --no-filter" if lacking else "",
        )
    return done.stdout


def run_git(root: Path, *args: str, stdin: bytes = b"", seconds: float = LOCAL_SECONDS) -> bytes:
    """Run git to its end and return its output. Raises ProjectError if it fails, TransportError, LimitError."""
    return finish(start(str(root), *args, stdin=stdin, seconds=seconds), str(root))


OID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}", re.ASCII)
_FACTS = ("--is-bare-repository", "--is-shallow-repository", "--show-object-format", "--git-common-dir")


@dataclass(frozen=True, slots=True)
class GitState:
    """A repository at one moment. Before the first commit, `commit`, `tree` and `commit_sha256` are None.

    `dirty`: tracked files differ from the commit, staged or not; untracked files do not count.
    `diff_sha256` is over `git diff HEAD --binary` then. `remote` has no credentials, and is None for a path
    on this machine. In a bare repository and inside a Git directory `has_work_tree` is False, and `root` is the
    Git directory.
    """

    root: Path
    common_dir: Path
    commit: str | None
    tree: str | None
    commit_sha256: Sha256 | None
    branch: str | None
    dirty: bool
    diff_sha256: Sha256 | None
    remote: str | None
    shallow: bool
    object_format: str
    has_work_tree: bool = True


_STATUS = ("--porcelain=v2", "--branch", "-z", "--untracked-files=no", "--ignore-submodules=dirty")


def git_state(path: Path, *, changes: bool = True) -> GitState:
    """Return the state of the repository around `path`.

    Without `changes`, changes are not detected: `branch` is None and `dirty` is False. Detecting them runs filters
    from the repository's settings, so verification must not do it. A repository without a work tree is accepted only
    without `changes`. Raises NoRepositoryError without a repository, ProjectError without a work tree or git, or if
    git refuses the repository.
    """
    bare, shallow, object_format, common, top = _facts(path)
    if changes and not top:
        raise ProjectError(
            "repository is bare" if bare == "true" else "not in a work tree",
            where=os.path.abspath(path),
            expected="a work tree",
            help="git clone it, and type the command there"
            if bare == "true"
            else "type the command outside of the .git directory",
        )
    root = top or common
    jobs = [
        start(root, "cat-file", "--batch", stdin=b"HEAD\n"),
        start(root, "config", "-z", "--get-regexp", r"^(remote|branch)\..*\.(url|remote)$"),
        *([start(root, "status", *_STATUS, seconds=WORK_TREE_SECONDS)] if changes else []),
    ]
    head, config, *looked = [finish(job, root, ok=(0, 1)) for job in jobs]
    status = b"".join(looked)
    raw = parse_batch(head, object_format, "HEAD")
    commit, content = (raw[0], raw[2]) if raw is not None else (None, b"")
    branch, dirty = _status(status)
    return GitState(
        root=Path(root),
        common_dir=Path(common),
        commit=commit,
        tree=content[5 : content.index(b"\n")].decode("ascii") if commit else None,
        commit_sha256=sha256_hex(content) if commit else None,
        branch=branch,
        dirty=dirty,
        diff_sha256=_diff(root) if dirty and commit else None,
        remote=_remote(config, branch),
        shallow=shallow == "true",
        object_format=object_format,
        has_work_tree=bool(top),
    )


def _facts(path: Path) -> tuple[str, ...]:
    folder = Path(os.path.abspath(path if path.is_dir() else path.parent))
    job = start(str(folder), "rev-parse", "--path-format=absolute", *_FACTS, "--show-toplevel")
    done = job.finish(None)
    lines = done.stdout.decode("utf-8", "surrogateescape").splitlines()
    if done.code == 0 and len(lines) == 5:
        return tuple(lines)
    if len(lines) == 4 and "work tree" in done.stderr:
        return (*lines, "")
    if "dubious ownership" in done.stderr:
        raise ProjectError(
            "repository belongs to another user",
            where=str(folder),
            help=refused_owner(done.stderr, str(folder)),
        )
    if "safe.bareRepository" in done.stderr:
        raise ProjectError(
            "Git is set to use no bare repository that it finds by itself",
            where=str(folder),
            expected="safe.bareRepository all",
            got="safe.bareRepository explicit",
            help="git config --global safe.bareRepository all",
        )
    if done.code == 0:  # Git ends each line of the answer with the character that is in the name
        raise ProjectError(
            "the path of the repository holds a line break",
            where=ascii(str(folder)),
            help="give the directory another name: mv",
        )
    error = NoRepositoryError if "not a git repository" in done.stderr else ProjectError
    raise error("not a Git repository with files", where=str(folder), help="git init", got=done.reason[:200])


def parse_batch(out: bytes, object_format: str, asked: str) -> tuple[str, str, bytes] | None:
    """Read one object from the output of `cat-file --batch`: (id, kind, content), None if it is missing."""
    head, _, rest = out.partition(b"\n")
    parts = head.decode("utf-8", "replace").split()
    if len(parts) != 3 or not parts[2].isdigit():
        return None
    oid, kind, content = parts[0], parts[1], rest[: int(parts[2])]
    digest = hashlib.new(object_format, usedforsecurity=False)
    digest.update(f"{kind} {len(content)}\0".encode())
    digest.update(content)
    if digest.hexdigest() != oid:
        raise ProjectError(
            "Git object is corrupted", where=asked, expected=oid, got=digest.hexdigest(), help="git fsck"
        )
    return oid, kind, content


def format_of(oid: str) -> str:
    """Return the object format of an object id, by its length."""
    return "sha1" if len(oid) == 40 else "sha256"


def _status(out: bytes) -> tuple[str | None, bool]:
    branch, dirty = None, False
    for line in out.split(b"\0"):
        if line.startswith(b"# branch.head "):
            branch = line[14:].decode("utf-8", "replace")
        elif line and not line.startswith(b"#"):
            dirty = True
    return (None if branch == "(detached)" else branch), dirty


def _diff(root: str) -> Sha256:
    flags = (
        "--binary",
        "--no-ext-diff",
        "--no-textconv",
        "--no-color",
        "--no-renames",
        "--ignore-submodules=dirty",
    )
    digest = hashlib.sha256()
    job = start(root, "diff", *flags, "HEAD", seconds=WORK_TREE_SECONDS, sink=digest.update)
    finish(job, root)
    return Sha256(digest.hexdigest())


def _remote(config: bytes, branch: str | None) -> str | None:
    """Prefer the branch's own remote, then origin, then the only one."""
    values: dict[str, str] = {}
    for item in config.decode("utf-8", "replace").split("\0"):
        key, _, value = item.partition("\n")
        values.setdefault(key, value)
    urls = [value for key, value in values.items() if key.startswith("remote.") and key.endswith(".url")]
    name = values.get(f"branch.{branch}.remote", "origin")
    if not urls:
        return None
    from gitchain.collect.remotes import public_url

    only = urls[0] if len(urls) == 1 else ""
    return public_url(values.get(f"remote.{name}.url", only))


def path_text(path: bytes) -> str:
    """Return a path of Git as text. Raises ProjectError if it is not UTF-8."""
    try:
        return path.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ProjectError("file name is not UTF-8", where=ascii(path)[1:], help="rename the file") from error
