"""A dvc.yaml whose templates DVC has resolved, and *.dvc files, as PipelineStages: plain values in, plain values out.

Paths are taken as DVC takes them: those of a stage from its working directory, those of the top level from the
directory of dvc.yaml. Nothing that a path names needs to be here: metrics inside a directory that was not pulled are
known by their names.

Does NOT import DVC (see `dvc_api`) and does not read dvc.lock (see `declared`).
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gitchain.collect.dvc_records import DvcFile
from gitchain.collect.dvc_sources import dataset_uri, file_uri, outside_sources
from gitchain.collect.stages import PipelineStage
from gitchain.errors import ProjectError
from gitchain.evidence.canonical import Json

DEFAULT_PARAMS = "params.yaml"
"""The file of a parameter that dvc.yaml names without a file."""

_DATASET = "ds://"


@dataclass(frozen=True, slots=True)
class ResolvedYaml:
    """One dvc.yaml with its templates resolved: the values are DVC's own, checked by its schema before resolving."""

    file: str
    stages: Mapping[str, Mapping[str, Any]]
    metrics: Sequence[Any] = ()
    plots: Sequence[Any] = ()
    artifacts: Mapping[str, Any] | None = None
    datasets: Sequence[Any] = ()

    @property
    def folder(self) -> str:
        """Return the directory of the file, relative to the repository's root."""
        return posixpath.dirname(self.file)


def plan_stages(files: Sequence[ResolvedYaml], root: str) -> Iterator[PipelineStage]:
    """Yield every stage of these files; names are relative to `root`. Raises ProjectError for a value of a wrong type."""
    datasets = {
        str(one.get("name")): one for file in files for one in file.datasets if isinstance(one, Mapping)
    }
    top_reports = {name for file in files for name in _top_reports(file, root)}
    for file in files:
        for key, stage in file.stages.items():
            yield _stage(file, key, stage, root, datasets, top_reports)


def plan_data(file: str, parsed: DvcFile, root: str) -> PipelineStage:
    """Return the stage of a *.dvc file; names are relative to `root`."""
    wdir = posixpath.normpath(posixpath.join(posixpath.dirname(file), parsed.wdir))
    deps = [(entry, locate_below(root, wdir, entry.path)) for entry in parsed.deps]
    outs = [locate_below(root, wdir, entry.path) for entry in parsed.outs]
    sources = outside_sources(parsed.source, [entry for entry, name in deps if name is None])
    return PipelineStage(
        name=file,
        commands=(),
        wdir=wdir,
        deps=tuple(name for _, name in deps if name is not None),
        outs=tuple(name for name in outs if name is not None),
        reports=(),
        params=(),
        sources=tuple(source.uri for source in sources if source.uri is not None),
        lock=file,
        key="",
        frozen=parsed.frozen,
        is_data=True,
        is_import=len(parsed.outs) == 1 and len(parsed.deps) + (parsed.source is not None) == 1,
    )


def model_paths(file: ResolvedYaml, root: str) -> Mapping[str, str]:
    """Return the models under `artifacts`, as `name` or `sub:name` to a path relative to `root`."""
    found: dict[str, str] = {}
    for name, model in (file.artifacts or {}).items():
        path = model.get("path") if isinstance(model, Mapping) else None
        if not isinstance(path, str):
            raise _wrong(file.file, f"artifacts.{name}.path", "text", path)
        located = locate_below(root, file.folder, path)
        if located is not None:
            found[f"{file.folder}:{name}" if file.folder else name] = located
    return found


def locate_below(root: str, folder: str, path: str) -> str | None:
    """Return the name below `root` of a DVC path relative to `folder`, or None if it is outside or remote.

    Links in the path's directories are resolved if the result is below the root.
    """
    if "://" in path:
        return None
    full = os.path.normpath(os.path.join(root, folder, path))
    for candidate in (full, os.path.join(os.path.realpath(os.path.dirname(full)), os.path.basename(full))):
        relative = os.path.relpath(candidate, root)
        if relative != ".." and not relative.startswith("../"):
            return relative
    return None


def variable_files(file: str, document: Json) -> Iterator[str]:
    """Yield the names of the YAML files that the templates of this dvc.yaml, not yet resolved, may take values from."""
    folder = posixpath.dirname(file)
    if not isinstance(document, dict):
        return
    stages = document.get("stages")
    bodies = (
        [one.get("do", one) for one in stages.values() if isinstance(one, dict)]
        if isinstance(stages, dict)
        else []
    )
    for body in (document, *(body for body in bodies if isinstance(body, dict))):
        wdir = body.get("wdir")
        here = posixpath.join(folder, wdir) if isinstance(wdir, str) else folder
        names = body.get("vars")
        for name in (DEFAULT_PARAMS, *(names if isinstance(names, list) else ())):
            path = name.partition(":")[0] if isinstance(name, str) else ""
            if path and not path.endswith((".json", ".toml", ".py")):
                yield posixpath.normpath(posixpath.join(here, path))


def _stage(
    file: ResolvedYaml,
    key: str,
    stage: Mapping[str, Any],
    root: str,
    datasets: Mapping[str, Mapping[str, Any]],
    top_reports: set[str],
) -> PipelineStage:
    where = f"{file.file}: stage {key}"
    wdir = locate_below(root, file.folder, _text(stage.get("wdir") or ".", where, "wdir"))
    if wdir is None:
        raise ProjectError("wdir is outside the repository", where=where, got=ascii(stage["wdir"])[:200])
    deps = [(path, locate_below(root, wdir, path)) for path in _texts(stage, "deps", where)]
    outs = [
        (locate_below(root, wdir, path), is_report)
        for section, is_report in (("outs", False), ("metrics", True), ("plots", True))
        for path in _out_paths(stage, section, where)
    ]
    names = tuple(dict.fromkeys(name for name, _ in outs if name is not None))
    reports = top_reports | {name for name, is_report in outs if is_report and name is not None}
    return PipelineStage(
        name=f"{file.file}:{key}" if file.folder else key,
        commands=_commands(stage, where),
        wdir=wdir,
        deps=tuple(dict.fromkeys(name for _, name in deps if name is not None)),
        outs=names,
        reports=tuple(name for name in names if name in reports),
        mixed=tuple(
            name
            for name in names
            if name not in reports and any(report.startswith(f"{name}/") for report in reports)
        ),
        metrics=tuple(_metrics(file, stage, root, wdir, names, where)),
        params=tuple(_params(stage, root, wdir, where)),
        sources=tuple(dict.fromkeys(_source(path, datasets, where) for path, name in deps if name is None)),
        lock=posixpath.join(file.folder, "dvc.lock"),
        key=key,
        frozen=bool(stage.get("frozen")),
    )


def _commands(stage: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """Return the commands as DVC runs them: a text is split at its line ends."""
    command = stage.get("cmd")
    if isinstance(command, str):
        return tuple(command.splitlines())
    if isinstance(command, Sequence):
        return tuple(str(one) for one in command)
    raise _wrong(where, "cmd", "text or a list", command)


def _texts(stage: Mapping[str, Any], section: str, where: str) -> list[str]:
    return [_text(item, where, section) for item in stage.get(section) or ()]


def _out_paths(stage: Mapping[str, Any], section: str, where: str) -> Iterator[str]:
    """Yield the paths of a list of outs, each a text or a mapping of paths to their options."""
    for item in stage.get(section) or ():
        yield from (_text(path, where, section) for path in (item if isinstance(item, Mapping) else [item]))


def _metrics(
    file: ResolvedYaml, stage: Mapping[str, Any], root: str, wdir: str, outs: Sequence[str], where: str
) -> Iterator[str]:
    """Yield the metric files of a stage: its own, and top-level ones that are outs, or in an out."""
    own = [locate_below(root, wdir, path) for path in _out_paths(stage, "metrics", where)]
    top = [locate_below(root, file.folder, path) for path in file.metrics if isinstance(path, str)]
    for name in dict.fromkeys((*own, *top)):
        if name is not None and any(name == out or name.startswith(f"{out}/") for out in outs):
            yield name


def _params(stage: Mapping[str, Any], root: str, wdir: str, where: str) -> Iterator[str]:
    """Yield `file:key` for each parameter, and `file` where a stage takes all of it."""
    found: dict[str, set[str]] = {}
    for item in stage.get("params") or ():
        files = item if isinstance(item, Mapping) else {DEFAULT_PARAMS: [item]}
        for path, keys in files.items():
            name = locate_below(root, wdir, _text(path, where, "params")) or path
            found.setdefault(name, set()).update(_text(key, where, "params") for key in keys or ())
    for name, keys in found.items():
        yield from (f"{name}:{key}" for key in sorted(keys)) if keys else (name,)


def _source(path: str, datasets: Mapping[str, Mapping[str, Any]], where: str) -> str:
    if not path.startswith(_DATASET):
        return file_uri(path)
    dataset = datasets.get(path.removeprefix(_DATASET))
    if dataset is None:  # DVC reports this itself when it runs the stage
        return file_uri(path)
    kind, url = (_text(dataset.get(field), where, f"datasets.{field}") for field in ("type", "url"))
    return dataset_uri(kind, url)


def _top_reports(file: ResolvedYaml, root: str) -> Iterator[str]:
    """Yield the names of the metrics and plots that dvc.yaml lists at its top level."""
    paths = [*file.metrics, *(path for plot in file.plots for path in _plot_paths(plot))]
    for path in paths:
        name = locate_below(root, file.folder, path) if isinstance(path, str) else None
        if name is not None:
            yield name


def _plot_paths(plot: Any) -> Iterator[Any]:
    """Yield the files that a plot shows: those that its axes name, else the plot's own name."""
    if not isinstance(plot, Mapping):
        yield plot
        return
    for name, options in plot.items():
        axes = [options.get(axis) for axis in ("x", "y")] if isinstance(options, Mapping) else []
        named = [path for axis in axes if isinstance(axis, Mapping) for path in axis]
        yield from named or [name]


def _text(value: Any, where: str, field: str) -> str:
    if not isinstance(value, str):
        raise _wrong(where, field, "text", value)
    return value


def _wrong(where: str, field: str, expected: str, value: Any) -> ProjectError:
    return ProjectError(
        "DVC file is malformed",
        where=where,
        expected=f"{expected} in {field!a}",
        got=type(value).__name__,
        help="dvc status   shows DVC's error",
    )
