"""Readiness: a process is ready when it can answer reviews, whatever the answers are."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from gitchain.errors import (
    GitchainError,
    LayoutError,
    LayoutExpiredError,
    StoreError,
    TransportError,
)
from tests.support.admission import AdmissionFiles, oci, pod, review, serving


class Unread:
    """A reader that waits, and then raises what it is given."""

    def __init__(self, error: GitchainError) -> None:
        self.go, self.error = threading.Event(), error

    def version(self, now: datetime) -> str:
        self.go.wait(30)
        raise self.error

    def open(self, now: datetime) -> Any:
        raise self.error


@pytest.mark.parametrize(
    ("errors", "status"),
    [
        ({"credit": LayoutExpiredError("layout has expired")}, 200),
        ({"credit": TransportError("no network")}, 503),
        ({"credit": TransportError("no network"), "other": LayoutError("no layout")}, 200),
        ({"credit": TransportError("no network"), "other": StoreError("no disk")}, 503),
    ],
    ids=["expired", "source", "one of two", "both sources"],
)
def test_readyz_waits_for_the_first_readings(
    models: AdmissionFiles, tmp_path: Path, errors: dict[str, GitchainError], status: int
) -> None:
    """Until they end it is 503. After that a closed layout counts no more, except where no source can be read at all."""
    readers = {name: Unread(error) for name, error in errors.items()}
    sources = {name: replace(models.settings.sources["credit"], name=name) for name in errors}
    with serving(replace(models.settings, sources=sources), tmp_path, readers=readers) as (_, client):
        found, answer = client.call("GET", "/readyz")
        assert (found, len(answer["missing"])) == (503, len(errors))
        for reader in readers.values():
            reader.go.set()
        for _ in range(200):
            found, answer = client.call("GET", "/readyz")
            if all("reason" in one and one["reason"] != "starting" for one in answer["layouts"].values()):
                break
            time.sleep(0.02)
        assert client.call("GET", "/readyz")[0] == status
        assert client.post("/validate", review(pod(oci("good"))))[1]["response"]["allowed"] is False
