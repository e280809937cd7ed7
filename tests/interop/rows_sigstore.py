"""Rows about sigstore-python's own command line, in both directions."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

from tests.interop.interop_run import IDENTITY, STRANGER, Answer, InteropRun, flipped, tampered
from tests.interop.rows_cosign import our_verdicts
from tests.interop.table import Cases, Row

SLSA = "https://slsa.dev/provenance/v1"


def verifies_ours(world: InteropRun, cases: Cases) -> None:
    """`sigstore verify identity` on the bundle of the demo's training, about the model's bytes."""
    model, ours = world.model(), world.bundle()

    def ask(bundle: bytes, file: Path = model, **who: str) -> Answer:
        return world.call(
            *("sigstore", "--trust-config", world.stack.trust_config, "verify", "identity"),
            *("--bundle", world.write("sigstore/ours.json", bundle)),
            *("--cert-identity", who.get("identity", IDENTITY)),
            *("--cert-oidc-issuer", who.get("issuer", world.issuer), file),
        )

    cases.accepts("as we wrote it", ask(ours))
    cases.refuses(
        "a byte of the model", ask(ours, world.write("sigstore/model", flipped(model.read_bytes())))
    )
    cases.refuses("another identity", ask(ours, identity=STRANGER))
    cases.refuses("another issuer", ask(ours, issuer=world.stack.foreign.url))
    for name, bundle in tampered(ours).items():
        cases.refuses(name, ask(bundle))


def _signs(world: InteropRun, verb: str, bundle: Path, *arguments: str | Path) -> str:
    return world.must(
        *("sigstore", "--trust-config", world.stack.trust_config, verb),
        *("--identity-token", world.stack.token(IDENTITY), "--bundle", bundle, "--overwrite", *arguments),
    )


def signs_a_file(world: InteropRun, cases: Cases) -> None:
    """`sigstore sign`, verified by us."""
    our_verdicts(world, cases, lambda file, bundle: _signs(world, "sign", bundle, file))


def attests_a_predicate(world: InteropRun, cases: Cases) -> None:
    """`sigstore attest`, verified by us."""
    details = {"builder": {"id": "https://example.com/builder"}}
    definition = {"buildType": "https://example.com/interop/v1", "externalParameters": {"n": 1}}
    predicate = world.write(
        "sigstore/predicate.json", json.dumps({"buildDefinition": definition, "runDetails": details}).encode()
    )
    options = ("--predicate", predicate, "--predicate-type", SLSA)
    our_verdicts(world, cases, lambda file, bundle: _signs(world, "attest", bundle, *options, file))


def _version() -> str:
    return version("sigstore")


ROWS = (
    Row("sigstore", _version, "verifies our attestation", verifies_ours),
    Row("sigstore", _version, "signs a file, we verify", signs_a_file),
    Row("sigstore", _version, "attests a predicate, we verify", attests_a_predicate),
)
