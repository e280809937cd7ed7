"""Which logs there are, where they are read, and what of the trusted root ends soon."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from gitchain.errors import UsageError
from gitchain.monitor.alerts import AlertCode
from gitchain.monitor.log_clients import RekorV1, TiledLog
from gitchain.monitor.logs import SOON, ending, selected_logs, view_of
from gitchain.trust.profiles import Profile
from tests.support.adversarial_log import HOST, NOW, log_key, served, trust_in


def profile(*services: object) -> Profile:
    return Profile("file", json.dumps({"signingConfig": {"rekorTlogUrls": list(services)}}))


def test_the_signing_config_says_where_and_how() -> None:
    """By the log's own name alone; of another log's URL nothing is taken."""
    first = profile({"url": f"https://{HOST}/", "majorApiVersion": 1})
    second = profile({"url": "https://other.example"}, {"url": f"https://{HOST}", "majorApiVersion": 2})
    assert isinstance(view_of(first, log_key(), {}), RekorV1)
    assert isinstance(view_of(second, log_key(), {}), TiledLog)


def test_where_nothing_is_said_both_are_tried() -> None:
    with served(lambda path, _body: (200, b"note") if path == "/api/v2/checkpoint" else (404, b"")) as url:
        assert isinstance(view_of(profile(), log_key(), {HOST: url}), TiledLog)
    with served(lambda _path, _body: (404, b"")) as url:
        assert isinstance(view_of(profile(), log_key(), {HOST: url}), RekorV1)


def test_logs_are_chosen_by_name() -> None:
    log = log_key()
    assert selected_logs(trust_in(log), ()) == selected_logs(trust_in(log), (HOST,)) == (log,)
    with pytest.raises(UsageError):
        selected_logs(trust_in(log), ("other",))


@pytest.mark.parametrize(
    ("left", "told"),
    [(None, False), (SOON + timedelta(seconds=1), False), (SOON, False), (SOON - timedelta(seconds=1), True),
     (timedelta(0), True), (timedelta(seconds=-1), False)],
)  # fmt: skip
def test_what_ends_soon_is_told(left: timedelta | None, told: bool) -> None:
    """Within thirty days, and not what has ended already: that was replaced."""
    log = log_key(None if left is None else NOW + left)
    found = ending(replace(trust_in(log), ct_logs=(log,)), NOW)
    assert [one.code for one in found] == [AlertCode.EXPIRING] * (2 * told)
    assert all(one.severity == "warning" for one in found)
