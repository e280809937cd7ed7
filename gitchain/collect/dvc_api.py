"""Calls of DVC itself: dvc.yaml with templates resolved, ignored files, and fetching. No other module calls DVC.

DVC is imported inside the functions (0.3 s). DVC and its libraries raise many types of exceptions, some of them not
DVC's own. Each is converted to one ProjectError with the file name, or TransportError during a fetch;
KeyboardInterrupt, MemoryError, and errors of a full or failing disk are raised unchanged. No Stage of DVC is created:
that would require all its files, and the libraries of its remote.

Stages are run by `repro`. Files that need no DVC are read by `dvc_files`.
"""

from __future__ import annotations

import errno
import importlib.metadata
import importlib.util
import logging
import os
import shlex
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from gitchain.collect.committed import not_a_dvc_project
from gitchain.collect.dvc_cache import dvc_root
from gitchain.collect.dvc_files import parse_dvc, read_file
from gitchain.collect.dvc_pipeline import ResolvedYaml, model_paths, plan_data, plan_stages, variable_files
from gitchain.collect.git_index import dvc_files_here, pipelines_here
from gitchain.collect.stages import PipelineStage
from gitchain.collect.strict_yaml import load_yaml
from gitchain.errors import GitchainError, ProjectError, TransportError, UsageError
from gitchain.evidence.canonical import Json
from gitchain.platform.files import is_special, special_files
from gitchain.platform.processes import safe_path

_SYSTEM = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EROFS,
        errno.EIO,
        errno.EMFILE,
        errno.ENFILE,
        errno.EAGAIN,
    }
)
"""Exceptions that the command line handles."""

_LOGGERS = ("dvc", "dvc_data", "dvc_objects", "scmrepo")


def dvc_version() -> str:
    """Return the version of the installed DVC. Raises UsageError if it is missing."""
    _require_dvc()
    return importlib.metadata.version("dvc")


def load_stages(root: Path, project: Path | None = None) -> tuple[PipelineStage, ...]:
    """Return every stage and *.dvc file of the DVC project (default: at `root`), templates resolved.

    Names are relative to `root`. Raises ProjectError or LimitError if there is no project or a file cannot be read.
    """
    top = os.path.realpath(root)
    with _repo(project or root) as repo:
        files = tuple(_resolve(repo, root, file) for file in _own(repo, root, pipelines_here(root)))
        data = [file for file in _own(repo, root, dvc_files_here(root)) if file.endswith(".dvc")]
    tracked = [plan_data(file, parse_dvc(read_file(root, file), file), top) for file in data]
    return tuple(sorted((*plan_stages(files, top), *tracked), key=lambda stage: stage.name))


def artifacts(root: Path, project: Path | None = None) -> Mapping[str, str]:
    """Return the models in dvc.yaml files: `name` or `sub:name`, mapped to a path relative to `root`."""
    found: dict[str, str] = {}
    with _repo(project or root) as repo:
        for file in _own(repo, root, pipelines_here(root)):
            found |= model_paths(_resolve(repo, root, file), os.path.realpath(root))
    return found


def fetch_artifact(project: Path, path: Path) -> None:
    """Fetch the cache objects of one tracked file or directory from the default remote.

    Raises TransportError if that fails, ProjectError if DVC does not track the path.
    """
    with _repo(project) as repo:
        from dvc.exceptions import NoOutputOrStageError
        from dvc.stage.exceptions import StageFileDoesNotExistError

        try:
            repo.fetch(targets=[os.fspath(path)])
        except (NoOutputOrStageError, StageFileDoesNotExistError) as error:
            raise ProjectError(
                "DVC does not track this",
                where=str(path),
                got=_first_line(error),
                help="dvc add it, or make it in a stage of dvc.yaml",
            ) from error
        except MemoryError:
            raise
        except Exception as error:
            raise TransportError(
                "file cannot be fetched",
                where=str(path),
                got=_first_line(error),
                help=f"dvc fetch {shlex.quote(str(path))}",
            ) from error


def ignored(project: Path, paths: Iterable[str]) -> frozenset[str]:
    """Return the absolute paths among `paths` that DVC ignores in directories (.dvcignore, .git, .dvc)."""
    with _repo(project) as repo:
        return frozenset(path for path in paths if repo.dvcignore.is_ignored_file(path))


@contextmanager
def _repo(project: Path) -> Iterator[Any]:
    """Open DVC's project; exceptions are converted to errors with the project's name.

    Runs under `safe_path`, since importing a Git library of DVC already runs git. Raises UsageError if DVC is not
    installed.
    """
    _require_dvc(str(project))
    if is_special(project / ".dvcignore"):
        raise _special(str(project / ".dvcignore"))
    for path in special_files(project / ".dvc"):
        raise _special(str(path))
    for name in _LOGGERS:
        logging.getLogger(name).addHandler(logging.NullHandler())
    with safe_path(project), warnings.catch_warnings(), _unlogged(), _translated(str(project)):
        warnings.simplefilter("ignore")
        from dvc.exceptions import NotDvcRepoError
        from dvc.repo import Repo

        try:
            opened = Repo(os.fspath(project))
        except NotDvcRepoError as error:
            raise not_a_dvc_project(project) from error
        with opened as repo:
            yield repo


def _require_dvc(where: str = "") -> None:
    """Raise UsageError if DVC is not installed: gitchain-core excludes it (docs/packaging.md)."""
    if importlib.util.find_spec("dvc") is None:
        raise UsageError(
            "this needs DVC, which is not installed beside gitchain",
            where=where,
            help="install gitchain rather than gitchain-core, or DVC in the same environment: pip install 'dvc>=3.67,<4'",
        )


@contextmanager
def _unlogged() -> Iterator[None]:
    """Disable logging of libraries: DVC's handler fails if the stderr of DVC's import was closed."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _special(where: str) -> ProjectError:
    return ProjectError("special file where DVC expects its own", where=where, expected="a regular file")


@contextmanager
def _translated(where: str) -> Iterator[None]:
    """Convert exceptions of DVC to a ProjectError with the file or project `where`."""
    try:
        yield
    except (GitchainError, MemoryError):
        raise
    except RecursionError as error:
        raise ProjectError(
            "DVC cannot read the project",
            where=where,
            got="a value that is nested too deeply",
            help="correct what DVC names; dvc status   reads the same files",
        ) from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _SYSTEM:
            raise
        raise ProjectError(
            "DVC cannot read the project",
            where=where,
            got=_first_line(error),
            help="correct what DVC names; dvc status   reads the same files",
        ) from error


def _first_line(error: BaseException) -> str:
    """Return the first line of a library's message: DVC's advice is on the following lines."""
    from dvc.exceptions import DvcException

    detail = getattr(error, "exc", None)  # the failed part of the schema, for schema errors
    said = f"{error}: {detail}" if isinstance(detail, Exception) else str(error)
    line = next((line for line in said.splitlines() if line.strip()), "")[:300]
    is_plain = isinstance(error, DvcException) and line
    return line if is_plain else f"{type(error).__name__}: {line}" if line else type(error).__name__


def _own(repo: Any, root: Path, files: Iterable[str]) -> Iterator[str]:
    """Yield the files of this project, without those of nested projects and those in .dvcignore."""
    top = os.path.realpath(root)
    for file in files:
        path = os.path.join(top, file)
        is_own = dvc_root(os.path.dirname(path), top) == os.path.realpath(repo.root_dir)
        if is_own and not repo.dvcignore.is_ignored_file(path):
            yield file


def _resolve(repo: Any, root: Path, file: str) -> ResolvedYaml:
    """Return the dvc.yaml after DVC resolved its templates.

    It and the files in its `vars` are first read by our bounded reader, since DVC expands aliases: raises LimitError.
    Files that only our reader refuses are accepted; if both refuse, the error has our line number.
    """
    ours: ProjectError | None = None
    try:
        document = load_yaml(read_file(root, file), file)
    except ProjectError as error:
        ours = error
    else:
        _check_size(root, file, document)
    try:
        with _translated(file):
            return _resolved(repo, root, file)
    except ProjectError as error:
        raise ours or error from error


def _check_size(root: Path, file: str, document: Json) -> None:
    """Raise LimitError for a YAML file with template values that is too large after expansion."""
    for name in variable_files(file, document):
        if is_special(root / name):  # DVC would block on it
            raise _special(name)
        if os.path.isfile(root / name):
            with suppress(ProjectError):
                load_yaml(read_file(root, name), name)


def _resolved(repo: Any, root: Path, file: str) -> ResolvedYaml:
    from dvc.dvcfile import ProjectFile

    resolver = ProjectFile(repo, os.path.join(os.path.realpath(root), file)).resolver
    return ResolvedYaml(
        file,
        stages={name: resolver.resolve_one(name)[name] for name in resolver.get_keys()},
        metrics=resolver.resolve_metrics(),
        plots=resolver.resolve_plots(),
        artifacts=resolver.resolve_artifacts(),
        datasets=resolver.resolve_datasets(),
    )
