"""Which tests the driver of the mutation tests chooses for a mutant."""

from __future__ import annotations

import tomllib
from pathlib import Path

from tests.mutation.driver import ROOT, Baseline, Candidate, candidates

OWN, OTHER = "tests/evidence/test_names.py::test_a", "tests/evidence/test_dsse.py::test_b"
MODULE = "gitchain/evidence/names.py"


def chosen(*contexts: str) -> list[str]:
    """The tests for a mutant in line 5, which ran in these contexts."""
    baseline = Baseline({OWN: 0.1, OTHER: 0.1}, {MODULE: {"5": list(contexts)}}, {}, [])
    return baseline.chosen(Candidate(MODULE, 0, 5, range(5, 6), False, "f", "was", "now"))


def test_chosen_takes_the_tests_that_execute_the_line() -> None:
    """Those and no others."""
    assert chosen(OTHER) == [OTHER]


def test_chosen_adds_the_module_s_own_tests_to_a_line_that_runs_while_tests_are_collected() -> None:
    """What a test module computes while it is imported belongs to no test, but its tests may compare it."""
    assert chosen("") == [OWN]
    assert sorted(chosen("", OTHER)) == sorted([OWN, OTHER])


def test_chosen_falls_back_to_all_tests() -> None:
    """A line that nothing executes is tried with every test that there is."""
    assert chosen() == [OWN, OTHER]


def test_equivalent_lists_mutants_of_the_code_as_it_is() -> None:
    """A change of a listed line, or a function that moved, is noticed here, not in a run of hours."""
    listed = tomllib.loads((Path(__file__).parent / "equivalent.toml").read_text(encoding="utf-8"))["mutant"]
    keys = {(one["module"], one["function"], one["was"], one["now"]) for one in listed}
    modules = {module for module, *_ in keys}
    assert [module for module in sorted(modules) if not (ROOT / module).is_file()] == []
    made = {candidate.key for module in modules for candidate in candidates(ROOT / module, ())}
    assert sorted(keys - made) == []
