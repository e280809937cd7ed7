"""The index of a pipeline's paths: the same answers as comparing each stage with each, in linear time."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitchain.errors import LayoutError
from gitchain.layout.stage_paths import DraftStage, PathIndex, StagePaths

PATHS = st.lists(
    st.lists(st.sampled_from("ab"), min_size=1, max_size=3).map("/".join), max_size=3, unique=True
).map(tuple)


def makes(stage: DraftStage, path: str) -> bool:
    return any(out == path or path.startswith(f"{out}/") for out in stage.outs)


def is_above(stage: DraftStage, path: str) -> bool:
    return any(out.startswith(f"{path}/") for out in stage.outs)


def linked(one: DraftStage, other: DraftStage) -> bool:
    pairs = ((one, other), (other, one))
    return any(makes(maker, dep) or is_above(maker, dep) for maker, taker in pairs for dep in taker.deps)


def parts(stages: Sequence[DraftStage]) -> list[list[DraftStage]]:
    """Return the parts as found by comparing each stage with each."""
    found: list[list[DraftStage]] = []
    for stage in stages:
        tied = [part for part in found if any(linked(stage, one) for one in part)]
        found = [part for part in found if part not in tied]
        found.append([stage, *(one for part in tied for one in part)])
    ordered = [[stage for stage in stages if stage in part] for part in found]
    return sorted(ordered, key=lambda part: stages.index(part[0]))


@given(st.lists(st.tuples(PATHS, PATHS), max_size=6), PATHS)
def test_stage_paths_answers_as_a_comparison_of_each_with_each(
    sides: Sequence[tuple[tuple[str, ...], tuple[str, ...]]], asked: tuple[str, ...]
) -> None:
    stages = [DraftStage(f"s{number}", deps, outs) for number, (deps, outs) in enumerate(sides)]
    paths = StagePaths(stages)
    assert paths.parts() == parts(stages)
    for path in asked:
        assert paths.makers(path) == [stage for stage in stages if makes(stage, path)]
        assert paths.is_above_outs(path) == any(is_above(stage, path) for stage in stages)
        related = [stage for stage in stages if makes(stage, path) or is_above(stage, path)]
        assert paths.related(path) == related


@pytest.mark.parametrize(
    ("path", "meets"), [("a", True), ("a/b", True), ("a/b/c", True), ("a/c", False), ("ab", False)]
)
def test_path_index_meets_what_holds_or_lies_in_a_path(path: str, meets: bool) -> None:
    assert PathIndex([("a/b", 0)]).meets(path) is meets


def test_path_index_takes_no_path_longer_than_a_name() -> None:
    """A path of a million directories would have a million paths above it."""
    PathIndex([("a/" * 511 + "b", 0)])
    for use in (lambda path: PathIndex([(path, 0)]), PathIndex([]).meets):
        with pytest.raises(LayoutError, match="the path of a stage is too long"):
            use("a/" * 1_000_000)


def test_stage_paths_of_ten_thousand_stages_that_share_a_directory_are_quick() -> None:
    """Each stage takes the directory that all the others write to: a hundred million pairs."""
    start = time.process_time()
    stages = [DraftStage(f"s{number}", ("data",), (f"data/{number}",)) for number in range(10_000)]
    assert len(StagePaths(stages).parts()) == 1
    assert len(StagePaths([DraftStage(one.name, (), one.outs) for one in stages]).parts()) == 10_000
    assert time.process_time() - start < 5
