"""Where readers of YAML differ: anchors used twice, merge keys, and what many of them cost."""

from __future__ import annotations

from typing import Any

import pytest

from gitchain.admit.manifests import read_manifests
from gitchain.collect.strict_yaml import load_yaml
from gitchain.errors import UsageError

OBJECT = "apiVersion: v1\nkind: Pod\n"


def loaded(text: str) -> dict[str, Any]:
    found = load_yaml(text.encode(), "dvc.yaml")
    assert isinstance(found, dict)
    return found


def test_inner_anchor_of_the_same_name_wins() -> None:
    """As for DVC and kubectl: it stands later than the outer one, which is complete only at its end."""
    text = "outer: &a\n  cmd: good\n  inner: &a {cmd: evil}\nlast: *a\n"
    assert loaded(text)["last"] == {"cmd": "evil"}
    (found,) = read_manifests((OBJECT + text).encode(), "pod.yaml")
    assert found.source["last"] == {"cmd": "evil"}


def test_merge_key_with_the_tag_of_no_kind_is_a_merge_key() -> None:
    """`! "<<"` merges for DVC and kubectl; a quoted one without it is a name."""
    text = 'a: &a {x: 1}\nb: {! "<<": *a}\nc: {"<<": *a}\n'
    found = loaded(text)
    assert (found["b"], found["c"]) == ({"x": 1}, {"<<": {"x": 1}})


@pytest.mark.parametrize("first", ["x: 1", "kind: ConfigMap"])
def test_merge_key_after_other_keys_is_refused_in_manifests(first: str) -> None:
    """kubectl lets it replace them; others do not."""
    text = f"{OBJECT}a: {{{first}, <<: {{x: 2, kind: Pod}}}}\n"
    with pytest.raises(UsageError, match="not the first key of its map"):
        list(read_manifests(text.encode(), "pod.yaml"))
    (found,) = read_manifests(f"{OBJECT}a: {{<<: {{x: 2, y: 3}}, x: 1}}\n".encode(), "pod.yaml")
    assert found.source["a"] == {"x": 1, "y": 3}


def test_merge_of_many_maps_costs_what_they_hold() -> None:
    """Not the product of their number and the keys that are there."""
    keys = ", ".join(f"k{number}: 1" for number in range(20_000))
    text = f"e: &e {{}}\nm: {{{keys}, <<: [{', '.join(['*e'] * 20_000)}]}}\n"
    assert len(loaded(text)["m"]) == 20_000
