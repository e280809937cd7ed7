"""What people write into the chart's values is checked before anything is installed, in one line for each mistake."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import yaml

from gitchain.admit.config import read_settings
from gitchain.errors import UsageError
from tests.stack import chart, mistakes

ONE = "values don't meet the specifications of the schema(s) in the following chart(s):\ngitchain:\n- "


def test_the_charts_schema_has_the_settings_of_the_server() -> None:
    """Written anew by `python -m tests.stack.chart`."""
    assert json.loads(chart.SCHEMA.read_text(encoding="utf-8")) == chart.schema()


@pytest.mark.parametrize("name", mistakes.MISTAKES)
def test_a_mistake_is_one_line(helm: Path, name: str) -> None:
    """It names the field and what is wrong with it."""
    change, told = mistakes.MISTAKES[name]
    done = chart.helm(helm, "template", mistakes.made(change))
    assert done.returncode != 0
    text = done.stderr.replace(ONE, "").replace("Use --debug flag to render out invalid YAML", "")
    lines = [line for line in text.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    assert told in lines[0]


BY_THE_CHART = {
    "a webhook that ends before the answer",
    "files that nobody hands over",
    "a file in a folder",
    "a volume that is not there",
    "a repository beside the settings",
    "a team that was forgotten",
    "an instance that no pod has",
}
"""What is wrong with a pod, and no mistake of the settings by themselves."""


@pytest.mark.parametrize("name", sorted(mistakes.MISTAKES.keys() - BY_THE_CHART))
def test_the_server_refuses_what_the_chart_refuses(name: str, tmp_path: Path) -> None:
    """Each mistake of the settings themselves is one error there too, with the field."""
    settings = mistakes.made(mistakes.MISTAKES[name][0])["settings"]
    place = tmp_path / "serve.yaml"
    place.write_text(json.dumps({"schema": "https://gitchain.dev/serve/v1"} | settings))
    with pytest.raises(UsageError) as caught:
        read_settings(place)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", [999_999, 1_000_000])
def test_large_numbers_arrive_as_numbers(helm: Path, tmp_path: Path, number: int) -> None:
    """`toYaml` of helm would write 1e+06."""
    settings = copy.deepcopy(dict(chart.SETTINGS)) | {"decisions": number}
    settings["rules"][0]["guard"] = {"image": f"gitchain@sha256:{'0' * 64}", "user": 2_147_483_647}
    found = chart.rendered(helm, chart.values(settings))
    (text,) = (one["data"]["serve.yaml"] for one in found if "serve.yaml" in one.get("data", {}))
    place = tmp_path / "serve.yaml"
    place.write_text(text)
    read = read_settings(place)
    assert read.decisions == number
    assert read.rules[0].guarding is not None
    assert read.rules[0].guarding.user == 2_147_483_647


def test_the_values_that_are_there_satisfy_their_schema_but_for_the_settings(helm: Path) -> None:
    """Nothing has to be given but what only the operator knows: the settings, and a CA."""
    given = {"settings": yaml.safe_load(json.dumps(dict(chart.SETTINGS))), "policy": {"configMaps": ["p"]}}
    given |= {"evidence": {"volume": {"emptyDir": {}}}}
    done = chart.helm(helm, "template", given)
    assert "webhook.caBundle" in done.stderr
    assert chart.helm(helm, "template", given | {"webhook": {"caBundle": "Zm9v"}}).returncode == 0
