"""One full attest (collect, sign, record, store) of a small unchanged stage against sigstore-python's own sign.

Both on the same embedded instance, in this process, interleaved, each with a fresh certificate. Start-up is not counted.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

ROUNDS = 60
GOAL = 2.0


def prepare(directory: Path) -> Path:
    os.environ["GITCHAIN_HOME"] = str(directory / "home")
    repo = directory / "repo"
    (repo / ".gitchain").mkdir(parents=True)
    (repo / "data.csv").write_text("a,b\n1,2\n" * 100, encoding="utf-8")
    (repo / "model.json").write_text('{"w": 1}\n' * 100, encoding="utf-8")
    (repo / ".gitchain/config.toml").write_text(
        'schema = "https://gitchain.dev/config/v1"\nlayout = "bench"\n[sign]\ntrust = "local"\n',
        encoding="utf-8",
    )
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
    for command in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-q", "-m", "x"]):
        subprocess.run(["git", *command], cwd=repo, check=True)
    return repo


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        repo = prepare(Path(directory))
        from sigstore.dsse import Statement as SigstoreStatement
        from sigstore.oidc import IdentityToken

        from gitchain.instance import Instance
        from gitchain.produce.sign_and_store import SigningIdentity, record
        from gitchain.produce.steps import provenance_draft
        from gitchain.trust.load_profile import load_profile
        from gitchain.workspace.project import open_project
        from gitchain.workspace.user_directory import local_directory

        Instance.create(local_directory())
        os.chdir(repo)
        project, profile = open_project(repo), load_profile("local")
        instance = profile.instance
        assert instance is not None
        who = SigningIdentity("ada@example.com")

        def ours() -> float:
            start = time.perf_counter()
            draft = provenance_draft(project, "train", ["data.csv"], ["model.json"], kind="training")
            done = record(project, profile, (draft,), who)
            assert len(done.stored) == 1, done.reason
            return time.perf_counter() - start

        def peer() -> float:
            payload = provenance_draft(
                project, "train", ["data.csv"], ["model.json"], kind="training"
            ).statement.payload
            start = time.perf_counter()
            context = instance.signing_context()
            with context.signer(IdentityToken(instance.token("ada@example.com"))) as signer:
                signer.sign_dsse(SigstoreStatement(payload))
            return time.perf_counter() - start

        ours(), peer()
        sides = zip(*[(ours() * 1000, peer() * 1000) for _ in range(ROUNDS)], strict=True)
        own, theirs = (statistics.median(side) for side in sides)
        row = {
            "name": "attest / sigstore-python sign, same instance",
            "ours": own,
            "peer": theirs,
            "unit": "ms",
        }
        print(json.dumps(row | {"ratio": own / theirs, "goal": GOAL}))


if __name__ == "__main__":
    main()
