"""What only DVC itself can say: dvc.yaml with templates resolved, ignored files, and fetching. The one place that calls DVC.

DVC is imported inside the functions (0.3 s). DVC and its libraries raise many types of exceptions, and not all of them
are DVC's own. Each becomes one ProjectError that names the file, or TransportError while fetching; only Ctrl-C, a lack
of memory, and a disk that is full or failing stay what they are. No Stage of DVC is built: that would need what a
path names to be here, and the libraries of its remote.

Does NOT run stages (see `repro`) and does not read what `dvc_files` can read without DVC.
"""

from __future__ import annotations

import errno
import importlib.metadata
import logging
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from gitchain.collect.committed import not_a_dvc_project
from gitchain.collect.dvc_cache import dvc_root
from gitchain.collect.dvc_files import parse_dvc, read_file
from gitchain.collect.dvc_pipeline import ResolvedYaml, model_paths, plan_data, plan_stages, variable_files
from gitchain.collect.git import dvc_files_here, pipelines_here
from gitchain.collect.stages import PipelineStage
from gitchain.collect.strict_yaml import load_yaml
from gitchain.errors import GitchainError, ProjectError, TransportError
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
"""What the command line explains better than we can here."""

_LOGGERS = ("dvc", "dvc_data", "dvc_objects", "scmrepo")


def dvc_version() -> str:
    """Return the version of the DVC that is installed beside gitchain."""
    return importlib.metadata.version("dvc")


def load_stages(root: Path, project: Path | None = None) -> tuple[PipelineStage, ...]:
    """Return every stage and *.dvc file of the DVC project (at `root` unless given), templates resolved.

    Names are relative to `root`. Raises ProjectError, or LimitError, if there is no project or a file cannot be read.
    """
    top = os.path.realpath(root)
    with _repo(project or root) as repo:
        files = tuple(_resolve(repo, root, file) for file in _own(repo, root, pipelines_here(root)))
        data = [file for file in _own(repo, root, dvc_files_here(root)) if file.endswith(".dvc")]
    tracked = [plan_data(file, parse_dvc(read_file(root, file), file), top) for file in data]
    return tuple(sorted((*plan_stages(files, top), *tracked), key=lambda stage: stage.name))


def artifacts(root: Path, project: Path | None = None) -> Mapping[str, str]:
    """Return the models that dvc.yaml files name, as `name` or `sub:name` to a path relative to `root`."""
    found: dict[str, str] = {}
    with _repo(project or root) as repo:
        for file in _own(repo, root, pipelines_here(root)):
            found |= model_paths(_resolve(repo, root, file), os.path.realpath(root))
    return found


def fetch_artifact(project: Path, path: Path) -> None:
    """Bring the cache objects of one tracked file or directory here from the default remote.

    Raises TransportError if they cannot be had, ProjectError if DVC does not track the path.
    """
    with _repo(project) as repo:
        from dvc.exceptions import NoOutputOrStageError
        from dvc.stage.exceptions import StageFileDoesNotExistError

        try:
            repo.fetch(targets=[os.fspath(path)])
        except (NoOutputOrStageError, StageFileDoesNotExistError) as error:
            raise ProjectError("DVC does not track this", where=str(path), got=_said(error)) from error
        except MemoryError:
            raise
        except Exception as error:
            raise TransportError(
                "file cannot be fetched", where=str(path), got=_said(error), help=f"dvc fetch {path}"
            ) from error


def ignored(project: Path, paths: Iterable[str]) -> frozenset[str]:
    """Return those of the absolute paths that DVC leaves out of directories (.dvcignore, .git, .dvc)."""
    with _repo(project) as repo:
        return frozenset(path for path in paths if repo.dvcignore.is_ignored_file(path))


@contextmanager
def _repo(project: Path) -> Iterator[Any]:
    """Open DVC's project; what is raised while it is open becomes an error that names the project.

    Under `safe_path`, since importing a Git library of DVC's runs git already.
    """
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


@contextmanager
def _unlogged() -> Iterator[None]:
    """Let no library log: DVC's handler raises when the stream is closed that was standard error at DVC's import."""
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
    """Turn whatever DVC raises into a ProjectError that names the file or project `where`."""
    try:
        yield
    except (GitchainError, MemoryError):
        raise
    except RecursionError as error:
        raise ProjectError(
            "DVC cannot read the project", where=where, got="a value that is nested too deeply"
        ) from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _SYSTEM:
            raise
        raise ProjectError("DVC cannot read the project", where=where, got=_said(error)) from error


def _said(error: BaseException) -> str:
    """Return the first line of a library's message: DVC puts its advice on the lines after it."""
    from dvc.exceptions import DvcException

    detail = getattr(error, "exc", None)  # what the schema did not like, where that is what failed
    said = f"{error}: {detail}" if isinstance(detail, Exception) else str(error)
    line = next((line for line in said.splitlines() if line.strip()), "")[:300]
    is_plain = isinstance(error, DvcException) and line
    return line if is_plain else f"{type(error).__name__}: {line}" if line else type(error).__name__


def _own(repo: Any, root: Path, files: Iterable[str]) -> Iterator[str]:
    """Yield the files that belong to this project and not to one inside it, and that no .dvcignore hides."""
    top = os.path.realpath(root)
    for file in files:
        path = os.path.join(top, file)
        is_own = dvc_root(os.path.dirname(path), top) == os.path.realpath(repo.root_dir)
        if is_own and not repo.dvcignore.is_ignored_file(path):
            yield file


def _resolve(repo: Any, root: Path, file: str) -> ResolvedYaml:
    """Return what the dvc.yaml says once DVC has resolved its templates.

    It and the files in its `vars` are read by our own bounded reader first, since DVC expands what aliases stand for:
    LimitError. What that refuses otherwise and DVC takes is right; what both refuse is told with our line.
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
    """Raise LimitError for a YAML file that templates may take values from and that is too large once expanded."""
    for name in variable_files(file, document):
        if is_special(root / name):  # DVC would wait for it
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
