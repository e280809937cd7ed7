"""An admission with its clock and its reader at hand, and an error that can be put in front of the reader."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from gitchain.admit.admission import Admission
from gitchain.admit.evidence import SourceReader
from gitchain.admit.settings import AdmissionSettings, Durations
from gitchain.admit.verdict_cache import VerdictCache
from gitchain.consume.verifier import Verifier
from gitchain.errors import GitchainError
from gitchain.trust.load_profile import load_profile
from gitchain.trust.profiles import SigningIdentity as Signing
from gitchain.workspace.project import open_project
from tests.support.admission import WHO, Clock, admission, judged, oci, pod, review, settled


@dataclass
class Failing:
    """The real reader with an error that can be put in front of it; counts what is read."""

    reader: SourceReader
    error: GitchainError | None = None
    opened: int = 0

    def version(self, now: datetime) -> str:
        if self.error is not None:
            raise self.error
        return self.reader.version(now)

    def open(self, now: datetime) -> Verifier:
        self.opened += 1
        return self.reader.open(now)


@dataclass
class Stand:
    """An admission with its clock and its reader at hand."""

    admission: Admission
    clock: Clock
    reader: Failing

    @property
    def cache(self) -> VerdictCache:
        return self.admission.caches["credit"]

    def judge(self, model: str = "good", namespace: str = "prod") -> Any:
        return judged(self.admission, review(pod(oci(model)), namespace=namespace))

    def read(self) -> None:
        settled(self.admission)


def stand(settings: AdmissionSettings, **times: int) -> Iterator[Stand]:
    settings = replace(settings, times=replace(Durations(), **times))
    clock, reader = Clock(), Failing(SourceReader(settings.sources["credit"]))
    with admission(settings, clock, {"credit": reader}) as made:
        yield Stand(made, clock, reader)


def add(one: Stand, *statements: Any) -> None:
    repository = one.admission.settings.sources["credit"].repository
    assert repository is not None
    with load_profile("local").signer(Signing(WHO)) as signer:
        bundles = signer.sign(statements)
    open_project(repository).store.add(bundles)


class Heard(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
