"""Sign and log on real services: one full attest against what sigstore-python's command line does, on one stack.

Fulcio, Rekor v2 and a timestamp authority on loopback (docs/interop.md), interleaved, each with a fresh certificate.
Start-up is not counted. Both wait for the log, which looks once a second whether a checkpoint covers the entry: that is
most of it. So that both wait equally long, each starts right after an answer of the log to somebody else. What comes
before the entry is sent is hidden by that wait; what comes after the answer (verifying, storing, flushing) is not.
Exit code 3, and one line, where the services cannot be had.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from attest import prepare

from tests.stack.stack import Missing, Stack

ROUNDS = 15
GOAL = 1.1
ADA = "ada@example.com"


def measure(stack: Any, directory: Path) -> dict[str, Any]:
    repo = prepare(directory)
    config = repo / ".gitchain/config.toml"
    text = config.read_text(encoding="utf-8").replace('"local"', json.dumps(str(stack.trust_config)))
    config.write_text(text, encoding="utf-8")
    from sigstore.dsse import Statement
    from sigstore.models import ClientTrustConfig
    from sigstore.oidc import IdentityToken
    from sigstore.sign import SigningContext

    from gitchain.produce.sign_and_store import SigningIdentity, record
    from gitchain.produce.steps import provenance_draft
    from gitchain.trust.load_profile import load_profile
    from gitchain.workspace.project import open_project

    os.chdir(repo)
    project, profile = open_project(repo), load_profile(str(stack.trust_config))

    def draft() -> Any:
        return provenance_draft(project, "train", ["data.csv"], ["model.json"], kind="training")

    def ours(token: str) -> None:
        done = record(project, profile, (draft(),), SigningIdentity(token=token))
        assert len(done.stored) == 1, done.reason

    def peer(token: str, payload: bytes) -> None:
        config = ClientTrustConfig.from_json(stack.trust_config.read_text(encoding="utf-8"))
        with SigningContext.from_trust_config(config).signer(IdentityToken(token)) as signer:
            signer.sign_dsse(Statement(payload))

    def timed(call: Any, *arguments: Any) -> float:
        start = time.perf_counter()
        call(*arguments)
        return (time.perf_counter() - start) * 1000

    def after_an_answer(call: Any, *arguments: Any) -> float:
        peer(stack.token(ADA), payload)
        return timed(call, stack.token(ADA), *arguments)

    def both() -> tuple[float, float]:
        return after_an_answer(ours), after_an_answer(peer, payload)

    payload = draft().statement.payload
    both()
    own, theirs = (statistics.median(side) for side in zip(*[both() for _ in range(ROUNDS)], strict=True))
    name = "attest / sigstore-python sign, real services"
    return {"name": name, "ours": own, "peer": theirs, "unit": "ms", "ratio": own / theirs, "goal": GOAL}


def main() -> int:
    try:
        with tempfile.TemporaryDirectory() as directory, Stack.start() as stack:
            print(json.dumps(measure(stack, Path(directory))))
    except Missing as problem:
        print(f"SKIPPED real_log: {problem}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
