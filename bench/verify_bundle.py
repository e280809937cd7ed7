"""Verifying bundles: ours against sigstore-python's Verifier on the same bundles, both warm, interleaved.

Rows: bundles of one signing session (they share a certificate, as a run's do), bundles that share none, one public
Rekor v1 bundle where the test vectors are present, and 1,000 bundles that share certificates with an empty memory
for each. Every round of ours starts with an empty memory, so that no bundle was seen before; the public bundle
is seen ten times. What sigstore-python does not check we check too.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from cryptography import x509
from sigstore.models import Bundle, ClientTrustConfig
from sigstore.verify import Verifier

from gitchain.evidence.digest import DigestSet
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.instance import Instance
from gitchain.sign.keyless import KeylessSigner
from gitchain.verify.bundle import verify_bundle
from gitchain.verify.public_trust import public_trust_config
from gitchain.verify.trust import Trust

ROOT = Path(__file__).parents[1]
VECTORS = Path(os.environ.get("GITCHAIN_VECTORS") or ROOT.parent / "shared" / "vectors")
PUBLIC = VECTORS / "sigstore-conformance/bundle-verify/happy-path-intoto-in-dsse-v3/bundle.sigstore.json"
ROUNDS = 15
BUNDLES = 40
MANY = 1000


class Anyone:
    def verify(self, cert: x509.Certificate) -> None:
        pass


def statements(count: int) -> list[Statement]:
    return [
        Statement.build(
            [ResourceDescriptor(f"m{number}", DigestSet({"sha256": f"{number:064x}"}))],
            "https://example.com/p/v1",
            {"number": number},
        )
        for number in range(count)
    ]


def signed(instance: Instance, *, sessions: int, each: int) -> list[bytes]:
    """Return bundles of several signing sessions: each session has one certificate."""
    made: list[bytes] = []
    for number in range(sessions):
        who = f"person{number}@example.com"
        with KeylessSigner(instance.signing_context(), instance.token(who)) as signer:
            made += signer.sign(statements(each))
    return made


def seconds(work: Callable[[], object]) -> float:
    """Return the processor time that the work took: other programs do not count."""
    start = time.process_time()
    work()
    return time.process_time() - start


def compare(
    name: str, ours: Callable[[], object], peer: Callable[[], object], count: int, goal: float
) -> None:
    """Print a row: the median ratio of rounds that run one side after the other."""
    ours()
    peer()
    pairs = [(seconds(ours), seconds(peer)) for _ in range(ROUNDS)]
    left, right = (statistics.median(side) * 1000 / count for side in zip(*pairs, strict=True))
    ratio = statistics.median(one / two for one, two in pairs)
    print(
        json.dumps({"name": name, "ours": left, "peer": right, "unit": "ms", "ratio": ratio, "goal": goal}),
        flush=True,
    )


def against_sigstore(name: str, bundles: Sequence[bytes], config: str, goal: float) -> None:
    verifier = Verifier(trusted_root=ClientTrustConfig.from_json(config).trusted_root)
    trusts = [Trust.parse(config) for _ in range(ROUNDS + 1)]

    def ours() -> None:
        trust = trusts.pop()
        for raw in bundles:
            verify_bundle(raw, trust)

    def peer() -> None:
        for raw in bundles:
            verifier.verify_dsse(Bundle.from_json(raw), Anyone())

    compare(name, ours, peer, len(bundles), goal)


def with_and_without_memory(bundles: Sequence[bytes], config: str) -> None:
    """Print what remembering saves over many bundles; once is enough for so many."""
    trust = Trust.parse(config)
    fresh = [Trust.parse(config) for _ in bundles]
    ours = seconds(lambda: [verify_bundle(raw, trust) for raw in bundles]) * 1000 / len(bundles)
    peer = (
        seconds(lambda: [verify_bundle(raw, one) for raw, one in zip(bundles, fresh, strict=True)])
        * 1000
        / len(bundles)
    )
    row = {"name": f"{len(bundles)} bundles / with no memory", "ours": ours, "peer": peer, "unit": "ms"}
    print(json.dumps(row | {"ratio": ours / peer, "goal": 1.0}), flush=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        instance = Instance.create(Path(directory) / "local")
        config = instance.trust_config()
        one = signed(instance, sessions=1, each=BUNDLES)
        against_sigstore("verify, one session / sigstore-python", one, config, 1.0)
        distinct = signed(instance, sessions=BUNDLES, each=1)
        against_sigstore("verify, other certificate each / sigstore-python", distinct, config, 1.0)
        if PUBLIC.exists():
            public = public_trust_config(offline=True)
            against_sigstore(
                "verify, public Rekor v1 / sigstore-python", [PUBLIC.read_bytes()] * 10, public, 1.0
            )
        else:
            print(f"no public bundle: {PUBLIC} is absent, set GITCHAIN_VECTORS", file=sys.stderr)
        with_and_without_memory(signed(instance, sessions=10, each=MANY // 10), config)


if __name__ == "__main__":
    main()
