"""Index of a pipeline's products: find the stages that make a path, or a path below it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from gitchain.errors import LayoutError
from gitchain.evidence.names import MAX_NAME_BYTES


@dataclass(frozen=True, slots=True)
class DraftStage:
    """One stage of a pipeline, or one that does not run: tracked data, a frozen stage (`observed=False`).

    `reports` are the outs that only report (metrics, plots): they are never proposed for serving. `mixed` are directories
    that hold reports, perhaps with a model: the stage may be an evaluation, or a training that writes metrics there too.
    `sources` are the URIs of materials outside the repository.
    """

    name: str
    deps: tuple[str, ...] = ()
    outs: tuple[str, ...] = ()
    reports: tuple[str, ...] = ()
    observed: bool = True
    mixed: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()


class PathIndex:
    """Numbers by path. Raises LayoutError for a path that is longer than any name in evidence may be."""

    def __init__(self, paths: Iterable[tuple[str, int]]) -> None:
        self._at: dict[str, list[int]] = {}
        self._below: dict[str, list[int]] = {}
        for path, number in paths:
            self._at.setdefault(path, []).append(number)
            for above in _above(path):
                self._below.setdefault(above, []).append(number)

    def holding(self, path: str) -> Iterator[int]:
        """Yield the numbers of the path itself, and of each directory that holds it."""
        for above in (path, *_above(path)):
            yield from self._at.get(above, ())

    def below(self, path: str) -> Sequence[int]:
        """Return the numbers of the paths inside this one."""
        return self._below.get(path, ())

    def meets(self, path: str) -> bool:
        """Return True if a path of the index is this one, is inside it, or holds it."""
        return bool(self.below(path)) or next(self.holding(path), None) is not None


class StagePaths:
    """The stages of a pipeline, by what they make."""

    def __init__(self, stages: Sequence[DraftStage]) -> None:
        self.stages = stages
        self._outs = PathIndex((out, number) for number, stage in enumerate(stages) for out in stage.outs)

    def makers(self, path: str) -> Sequence[DraftStage]:
        """Return the stages that have the path, or a directory that holds it, among their outs, in order."""
        return [self.stages[number] for number in sorted({*self._outs.holding(path)})]

    def related(self, path: str) -> Sequence[DraftStage]:
        """Return the stages that make the path, or something below it, in order."""
        return [self.stages[number] for number in self._related(path)]

    def is_above_outs(self, path: str) -> bool:
        """Return True if a stage makes something below the path."""
        return bool(self._outs.below(path))

    def parts(self) -> Sequence[Sequence[DraftStage]]:
        """Return the stages in parts that nothing ties to each other, both in the order of the stages."""
        part = list(range(len(self.stages)))

        def first(number: int) -> int:
            while part[number] != number:
                part[number] = part[part[number]]
                number = part[number]
            return number

        taken: dict[str, int] = {}
        for number, stage in enumerate(self.stages):
            for dep in stage.deps:
                tied = [taken[dep]] if dep in taken else self._related(dep)
                if tied:
                    taken[dep] = number
                for other in tied:
                    low, high = sorted((first(number), first(other)))
                    part[high] = low
        found: dict[int, list[DraftStage]] = {}
        for number, stage in enumerate(self.stages):
            found.setdefault(first(number), []).append(stage)
        return list(found.values())

    def _related(self, path: str) -> Sequence[int]:
        return sorted({*self._outs.holding(path), *self._outs.below(path)})


def _above(path: str) -> Iterator[str]:
    """Yield every directory that holds the path."""
    if len(path.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES:
        raise LayoutError(
            "the path of a stage is too long",
            expected=f"at most {MAX_NAME_BYTES} bytes",
            got=ascii(path[:100]),
        )
    return (path[:at] for at, char in enumerate(path) if char == "/")
