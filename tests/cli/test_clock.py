"""Verbs whose clock is behind what was signed: nothing from the future is shown or believed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gitchain.errors import NoEvidenceError, SignatureError
from gitchain.pipeline import history as module
from gitchain.pipeline.bundles import bundle_trust, verify_file, wanted_signer
from gitchain.pipeline.project import open_project
from gitchain.store.git_ref import AttestationStore

Gitchain = Callable[..., Any]


@pytest.fixture
def attested(gitchain: Gitchain, tiny: Path) -> Path:
    assert gitchain("attest", "train", "-m", "in.txt", "-p", "model.txt", cwd=tiny).code == 0
    return tiny


def test_verify_file_refuses_a_signature_from_the_future(
    gitchain: Gitchain, attested: Path, tmp_path: Path
) -> None:
    """`bundle verify`: the file is the right one, and the clock is an hour behind."""
    found = gitchain("log", "model.txt", "--json", cwd=attested).json["events"][0]
    store = AttestationStore.open(attested)
    bundle = tmp_path / "x.sigstore.json"
    for raw in store.all():
        bundle.write_bytes(raw)
        wanted = wanted_signer(found["signer"], found["issuer"], None)
        trust, now = bundle_trust(None, "local", staging=False), datetime.now(UTC)
        try:
            assert verify_file(bundle, str(attested / "model.txt"), wanted, trust, now).time <= now
        except SignatureError:
            continue  # of another artifact
        with pytest.raises(SignatureError, match="signed in the future"):
            verify_file(bundle, str(attested / "model.txt"), wanted, trust, now - timedelta(hours=1))
        return
    pytest.fail("no bundle about the model")


class Behind(datetime):
    """A clock that is an hour behind."""

    @classmethod
    def now(cls, tz: Any = None) -> datetime:
        return datetime.now(tz) - timedelta(hours=1)


def test_history_leaves_out_what_is_ahead_of_the_clock(
    attested: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`log`: no event is shown before its time, and where nothing is left the answer is that nothing is known."""
    project = open_project(attested)
    assert module.history(project, str(attested / "model.txt"), None).events
    monkeypatch.setattr(module, "datetime", Behind)
    with pytest.raises(NoEvidenceError, match="nothing is attested"):
        module.history(project, str(attested / "model.txt"), None)
