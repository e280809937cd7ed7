"""Rows about cosign, in both directions."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from tests.interop.interop_run import (
    IDENTITY,
    LOG_ENTRY,
    STRANGER,
    Answer,
    InteropRun,
    flipped,
    pinned,
    tampered,
)
from tests.interop.table import Cases, Row

SLSA = "slsaprovenance1"
PREDICATE = "https://example.com/interop/v1"


def verifies_ours(world: InteropRun, cases: Cases) -> None:
    """cosign on the bundle of the demo's training, about the model's bytes."""
    cosign, model, ours = world.tool("cosign"), world.model(), world.bundle()

    def ask(bundle: bytes, file: Path = model, kind: str = SLSA, **who: str) -> Answer:
        return world.call(
            *(cosign, "verify-blob-attestation", "--bundle", world.write("cosign/ours.json", bundle)),
            *("--trusted-root", world.stack.folder / "trusted_root.json", "--use-signed-timestamps"),
            *("--certificate-identity", who.get("identity", IDENTITY)),
            *("--certificate-oidc-issuer", who.get("issuer", world.issuer), "--type", kind, file),
        )

    cases.accepts("as we wrote it", ask(ours))
    cases.refuses("a byte of the model", ask(ours, world.write("cosign/model", flipped(model.read_bytes()))))
    cases.refuses("another identity", ask(ours, identity=STRANGER))
    cases.refuses("another issuer", ask(ours, issuer=world.stack.foreign.url))
    cases.refuses("another predicate type", ask(ours, kind=PREDICATE))
    for name, bundle in tampered(ours).items():
        if (
            name != LOG_ENTRY
        ):  # it makes Rekor v2's entry itself, and looks for that one in the log (docs/interop.md)
            cases.refuses(name, ask(bundle))


def our_verdicts(world: InteropRun, cases: Cases, make: Callable[[Path, Path], object]) -> None:
    """Ask us about what a peer makes: `make(file, bundle)` signs the file as IDENTITY and writes the bundle."""
    file = world.write("theirs/file", b"weights of a model\n" * 50)
    bundle = file.with_name("bundle.json")
    bundle.unlink(missing_ok=True)
    make(file, bundle)
    raw = bundle.read_bytes()
    cases.accepts("as they wrote it", world.verify(bundle, file))
    cases.accepts("by digest", world.verify(bundle, f"sha256:{sha256(file.read_bytes()).hexdigest()}"))
    changed = world.write("theirs/changed", flipped(file.read_bytes()))
    cases.refuses("a byte of the file", world.verify(bundle, changed))
    cases.refuses("another identity", world.verify(bundle, file, identity=STRANGER))
    cases.refuses("another issuer", world.verify(bundle, file, issuer=world.stack.foreign.url))
    for name, other in tampered(raw).items():
        cases.refuses(name, world.verify(world.write("theirs/other.json", other), file))


def _signs(world: InteropRun, verb: str, bundle: Path, *arguments: str | Path) -> str:
    return world.must(
        *(world.tool("cosign"), verb, "--identity-token", world.stack.token(IDENTITY), "--bundle", bundle),
        *("--signing-config", world.stack.folder / "signing_config.json"),
        *("--trusted-root", world.stack.folder / "trusted_root.json", "-y", *arguments),
    )


def signs_a_file(world: InteropRun, cases: Cases) -> None:
    """cosign sign-blob, verified by us."""
    our_verdicts(world, cases, lambda file, bundle: _signs(world, "sign-blob", bundle, file))


def attests_a_predicate(world: InteropRun, cases: Cases) -> None:
    """cosign attest-blob with a predicate of any type, verified by us: cosign writes the statement."""
    predicate = world.write("theirs/predicate.json", b'{"reviewed":true}')
    options = ("--predicate", predicate, "--type", PREDICATE)
    our_verdicts(world, cases, lambda file, bundle: _signs(world, "attest-blob", bundle, *options, file))


def attests_a_statement(world: InteropRun, cases: Cases) -> None:
    """cosign attest-blob with a statement that is ready, verified by us."""

    def make(file: Path, bundle: Path) -> None:
        subject = [{"name": file.name, "digest": {"sha256": sha256(file.read_bytes()).hexdigest()}}]
        statement = {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": subject,
            "predicateType": PREDICATE,
        }
        ready = world.write("theirs/statement.json", json.dumps(statement | {"predicate": {"n": 1}}).encode())
        _signs(world, "attest-blob", bundle, "--statement", ready)

    our_verdicts(world, cases, make)


def _version() -> str:
    return pinned("cosign")


ROWS = (
    Row("cosign", _version, "verifies our attestation", verifies_ours),
    Row("cosign", _version, "signs a file, we verify", signs_a_file),
    Row("cosign", _version, "attests a predicate, we verify", attests_a_predicate),
    Row("cosign", _version, "attests a statement, we verify", attests_a_statement),
)
