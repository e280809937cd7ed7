"""What only DVC itself can say: stages with templates resolved, model names, ignored files, and fetching.

DVC is imported inside the functions (0.3 s). Its exceptions become ProjectError, or TransportError while
fetching. Does NOT run stages (see `repro`) and does not read what `dvc_files` can read without DVC.
"""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gitchain.collect.stages import PipelineStage
from gitchain.errors import ProjectError, TransportError
from gitchain.platform.processes import safe_path


def dvc_version() -> str:
    """Return the version of the DVC that is installed beside gitchain."""
    return importlib.metadata.version("dvc")


def load_stages(root: Path, project: Path | None = None) -> tuple[PipelineStage, ...]:
    """Return every stage and *.dvc file of the DVC project (at `root` unless given), templates resolved.

    Names are relative to `root`. Raises ProjectError if there is no project or DVC cannot read it.
    """
    with _repo(project or root) as repo:
        top = os.path.realpath(root)
        reports = _reports(repo, top)
        stages = [_stage(stage, top, reports) for stage in repo.index.stages]
    return tuple(sorted(stages, key=lambda stage: stage.name))


def artifacts(root: Path, project: Path | None = None) -> Mapping[str, str]:
    """Return the models that dvc.yaml files name, as `name` or `sub:name` to a path relative to `root`."""
    found: dict[str, str] = {}
    with _repo(project or root) as repo:
        for file, models in repo.artifacts.read().items():
            folder = os.path.dirname(os.path.join(repo.root_dir, file))
            prefix = _relative(folder, os.path.realpath(root))
            for name, model in models.items():
                path = _relative(os.path.normpath(os.path.join(folder, model.path)), os.path.realpath(root))
                if path is not None:
                    found[name if prefix in {".", None} else f"{prefix}:{name}"] = path
    return found


def fetch_artifact(project: Path, path: Path) -> None:
    """Bring the cache objects of one tracked file or directory here from the default remote.

    Raises TransportError if they cannot be had, ProjectError if DVC does not track the path.
    """
    from dvc.exceptions import DvcException, NoOutputOrStageError
    from dvc.stage.exceptions import StageFileDoesNotExistError

    with _repo(project) as repo:
        try:
            repo.fetch(targets=[os.fspath(path)])
        except (NoOutputOrStageError, StageFileDoesNotExistError) as error:
            raise ProjectError("DVC does not track this", where=str(path), got=_first(error)) from error
        except (DvcException, OSError) as error:
            raise TransportError(
                "file cannot be fetched", where=str(path), got=_first(error), help=f"dvc fetch {path}"
            ) from error


def ignored(project: Path, paths: Iterable[str]) -> frozenset[str]:
    """Return those of the absolute paths that DVC leaves out of directories (.dvcignore, .git, .dvc)."""
    with _repo(project) as repo:
        return frozenset(path for path in paths if repo.dvcignore.is_ignored_file(path))


@contextmanager
def _repo(project: Path) -> Iterator[Any]:
    with safe_path(project):  # importing a Git library of DVC's runs git already
        yield from _opened(project)


def _opened(project: Path) -> Iterator[Any]:
    from dvc.exceptions import DvcException, NotDvcRepoError
    from dvc.repo import Repo

    try:
        with Repo(os.fspath(project)) as repo:
            yield repo
    except NotDvcRepoError as error:
        raise ProjectError("not a DVC project", where=str(project), help="dvc init") from error
    except DvcException as error:
        raise ProjectError("DVC cannot read the project", where=str(project), got=_first(error)) from error
    except RecursionError as error:
        raise ProjectError(
            "DVC cannot read the project", where=str(project), got="a dvc.yaml that is nested too deeply"
        ) from error


def _first(error: BaseException) -> str:
    """DVC puts its advice on the lines after the first."""
    return next(iter(str(error).splitlines()), type(error).__name__)[:300]


def _reports(repo: Any, root: str) -> frozenset[str]:
    """Return the names of all metrics and plots, those that dvc.yaml lists at its top level included."""
    keys = (*repo.index.metric_keys.get("repo", ()), *repo.index.plot_keys.get("repo", ()))
    names = (_relative(os.path.join(repo.root_dir, *key), root) for key in keys)
    return frozenset(name for name in names if name is not None)


def _stage(stage: Any, root: str, reports: frozenset[str]) -> PipelineStage:
    from dvc.dependency import ParamsDependency

    key = getattr(stage, "name", None)
    file = _relative(stage.path, root) or stage.path
    deps = [dep for dep in stage.deps if not isinstance(dep, ParamsDependency)]
    params = [dep for dep in stage.deps if isinstance(dep, ParamsDependency)]
    inside = {id(item): _inside(item, root) for item in (*deps, *stage.outs)}
    outs = tuple(name for out in stage.outs if (name := inside[id(out)]) is not None)
    commands = stage.cmd.splitlines() if isinstance(stage.cmd, str) else stage.cmd or ()
    return PipelineStage(
        name=_address(file, key),
        commands=tuple(commands),
        wdir=_relative(os.path.realpath(stage.wdir), root) or ".",
        deps=tuple(name for dep in deps if (name := inside[id(dep)]) is not None),
        outs=outs,
        reports=tuple(name for name in outs if name in reports),
        mixed=tuple(
            name
            for name in outs
            if name not in reports and any(one.startswith(f"{name}/") for one in reports)
        ),
        params=tuple(
            f"{_inside(dep, root) or dep.def_path}:{name}" for dep in params for name in sorted(dep.params)
        ),
        external=tuple(str(item) for item in (*deps, *stage.outs) if inside[id(item)] is None),
        lock=file if key is None else os.path.join(os.path.dirname(file), "dvc.lock"),
        key=key or "",
        frozen=bool(stage.frozen),
        is_data=key is None,
        is_import=bool(stage.is_import),
    )


def _address(file: str, key: str | None) -> str:
    if key is None:
        return file
    return key if file == "dvc.yaml" else f"{file}:{key}"


def _inside(item: Any, root: str) -> str | None:
    """Return the name below root of a dep or out, None for one in another repository, remote or place."""
    if item.protocol != "local" or getattr(item, "def_repo", None) is not None:
        return None
    return _relative(os.path.normpath(item.fs_path), root)


def _relative(path: str, root: str) -> str | None:
    """Return the path relative to root, None if it lies outside. Links in the project's own path are resolved."""
    for candidate in (path, os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))):
        relative = os.path.relpath(candidate, root)
        if relative != ".." and not relative.startswith("../"):
            return relative
    return None
