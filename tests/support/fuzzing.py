"""Two sizes of the generated and long tests: small and repeatable in `make test`, large under `make fuzz`.

`make fuzz` sets GITCHAIN_FUZZ=1. A test that counts its own cases asks `sized(small, large)` for the number;
a hypothesis test without `max_examples` of its own follows the profile.
"""

from __future__ import annotations

import os

from hypothesis import Phase, settings

FUZZ = os.environ.get("GITCHAIN_FUZZ") == "1"


def sized(small: int, large: int) -> int:
    """Return how many cases to try: `small` in `make test`, `large` under `make fuzz`."""
    return large if FUZZ else small


def load_profiles() -> None:
    """Register the hypothesis profiles and load the one for this run.

    small: the same cases every time. fuzz: many, and others every time. mutants: few, and a failure is
    a failure; finding the smallest one costs more than the whole mutant.
    """
    settings.register_profile("small", deadline=None, derandomize=True, database=None, print_blob=True)
    settings.register_profile("fuzz", deadline=None, max_examples=3000, print_blob=True)
    settings.register_profile(
        "mutants",
        deadline=None,
        derandomize=True,
        database=None,
        max_examples=50,
        phases=(Phase.explicit, Phase.generate),
    )
    settings.load_profile("fuzz" if FUZZ else "small")
