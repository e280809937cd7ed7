"""Commands that were searched before are found alike, at their own place, and only as many as fit are remembered."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gitchain.admit import known_commands, models
from gitchain.admit.known_commands import KnownCommands, command_key
from gitchain.admit.model_problems import ModelSearchSettings
from gitchain.admit.models import DemandedModels, models_of
from gitchain.admit.mutate import PREFIX
from gitchain.admit.review import read_envelope, read_request
from gitchain.evidence.canonical import canonical_json
from tests.support.admission import pod, review
from tests.support.fuzzing import sized

Object = dict[str, Any]
SETTINGS = (
    ModelSearchSettings(),
    ModelSearchSettings(strict=False),
    ModelSearchSettings(ignore=("gpt2", "MODEL=gpt2")),
    ModelSearchSettings(guarded=("pvc:*",)),
)


def searched(source: Object, looking: ModelSearchSettings = SETTINGS[0]) -> DemandedModels:
    uid, request = read_envelope(canonical_json(review(source)))
    return models_of(read_request(uid, request), looking)


def running(**container: Any) -> Object:
    found = pod()
    found["spec"]["containers"][0] |= container
    return found


@pytest.fixture(autouse=True)
def memory(monkeypatch: pytest.MonkeyPatch) -> KnownCommands:
    known = KnownCommands()
    monkeypatch.setattr(models, "_KNOWN", known)
    return known


WORDS = st.sampled_from(
    [
        "gpt2",
        "--model",
        "serve",
        "oci://r.example.com/m",
        "s3://b/m",
        "owner/name",
        "/mnt/models",
        "a b",
        "{}",
        "1",
    ]
)
CONTAINERS = st.fixed_dictionaries(
    {},
    optional={
        "command": st.lists(WORDS, max_size=3),
        "args": st.lists(WORDS, max_size=3),
        "env": st.lists(
            st.fixed_dictionaries(
                {"name": st.sampled_from(["MODEL", "PORT", "STORAGE_URI"])},
                optional={
                    "value": WORDS,
                    "valueFrom": st.just({"configMapKeyRef": {"name": "c", "key": "k"}}),
                    "annotations": st.just({"gitchain.dev/model": "sha256:" + "0" * 64}),
                },
            ),
            max_size=3,
        ),
        "envFrom": st.just([{"secretRef": {"name": "s"}}]),
        "name": st.sampled_from(["a", "gitchain-guard"]),
    },
)


@given(st.lists(CONTAINERS, min_size=1, max_size=3), st.sampled_from(SETTINGS))
@settings(
    max_examples=sized(75, 5_000),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_a_search_finds_the_same_with_and_without_what_is_remembered(
    containers: list[Object], looking: ModelSearchSettings
) -> None:
    known = models._KNOWN
    source = pod()
    source["spec"]["containers"] = [{"name": "c", "image": "r.example.com/i", **one} for one in containers]
    for other in SETTINGS:  # what one rule's settings found counts for no other
        searched(copy.deepcopy(source), other)
    again = searched(copy.deepcopy(source), looking)
    known._entries.clear()
    assert again == searched(source, looking)


def test_a_command_is_searched_once(memory: KnownCommands, monkeypatch: pytest.MonkeyPatch) -> None:
    first = searched(running(args=["--model", "gpt2"]))
    monkeypatch.setattr(models._ReferenceCollector, "_search_run", None)
    assert first.problems
    assert searched(running(args=["--model", "gpt2"])) == first
    assert len(memory) == 1


def test_a_denial_names_the_place_of_this_object() -> None:
    both = running(args=["--model", "gpt2"])
    both["spec"]["containers"].append({**both["spec"]["containers"][0], "name": "second"})
    places = [one.where for one in searched(both).problems]
    assert any("containers[0]" in place for place in places)
    assert any("containers[1]" in place for place in places)


def test_a_command_of_the_guard_is_searched_in_another_container() -> None:
    """The guard's own containers are not searched: what was found there counts for no other name."""
    looking = ModelSearchSettings(guarded=("pvc:*",))
    guards = searched(running(name=f"{PREFIX}fetch", args=["--model", "gpt2"]), looking)
    other = searched(running(name="server", args=["--model", "gpt2"]), looking)
    assert "GC-A0208" not in {str(one.code) for one in guards.problems}
    assert "GC-A0208" in {str(one.code) for one in other.problems}


@pytest.mark.parametrize(
    "container",
    [
        {"args": ["/" + "x" * known_commands.MAX_COMMAND]},
        {"args": ["owner/name"] * (known_commands.MAX_FOUND + 1)},
        {"args": ["owner/" + "n" * 3000] * 3},
        {"env": [{"name": "A", "annotations": {"gitchain.dev/model": "sha256:" + "0" * 64}}]},
    ],
)
def test_what_takes_much_memory_is_not_remembered(memory: KnownCommands, container: Object) -> None:
    searched(running(**container))
    assert len(memory) == 0


def test_the_memory_has_an_end(memory: KnownCommands) -> None:
    for number in range(known_commands.MAX_ENTRIES + 50):
        memory.put(number, known_commands.FoundReferences())
        memory.get(0)  # used last, so it stays
    assert len(memory) == known_commands.MAX_ENTRIES
    assert memory.get(0) is not None
    assert memory.get(1) is None


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), (True, 1), ("1", 1), ([], {}), (None, "")])
def test_different_commands_have_different_keys(one: Any, other: Any) -> None:
    assert command_key({"args": [one]}, "", "", ()) != command_key({"args": [other]}, "", "", ())
    assert command_key({"args": [one]}, "", "", ()) == command_key({"args": [copy.copy(one)]}, "", "", ())
