"""Rows about model_signing (OpenSSF Model Signing), in both directions."""

from __future__ import annotations

import shutil
from importlib.metadata import version
from pathlib import Path

from tests.interop.interop_run import IDENTITY, STRANGER, Answer, InteropRun, flipped, tampered
from tests.interop.table import Cases, Row


def _model(world: InteropRun, name: str) -> Path:
    """Return a model directory with several files."""
    for number in range(4):
        world.write(f"{name}/part-{number}.safetensors", bytes([number]) * 4096)
    world.write(f"{name}/config/config.json", b'{"layers": 4}\n')
    return world.folder / name


def signs(world: InteropRun, cases: Cases) -> None:
    """`model_signing sign sigstore`, verified by us."""
    model = _model(world, "oms/theirs")
    signature = world.folder / "oms/theirs.sig"
    world.must(
        *("model_signing", "sign", "sigstore", "--trust_config", world.stack.trust_config),
        *("--identity_token", world.stack.token(IDENTITY), "--signature", signature, model),
    )
    cases.accepts("as they wrote it", world.verify(signature, model))
    cases.refuses("another identity", world.verify(signature, model, identity=STRANGER))
    cases.refuses("another issuer", world.verify(signature, model, issuer=world.stack.foreign.url))
    for name, copy in changed_models(world, model).items():
        cases.refuses(name, world.verify(signature, copy))
    for name, bundle in tampered(signature.read_bytes()).items():
        cases.refuses(name, world.verify(world.write("oms/other.sig", bundle), model))


def verifies(world: InteropRun, signature: Path, model: Path, **who: str) -> Answer:
    """Ask `model_signing verify sigstore`."""
    return world.call(
        *("model_signing", "verify", "sigstore", "--trust_config", world.stack.trust_config),
        *("--identity", who.get("identity", IDENTITY)),
        *("--identity_provider", who.get("issuer", world.issuer), "--signature", signature, model),
    )


def changed_models(world: InteropRun, model: Path) -> dict[str, Path]:
    """Return copies of a model that are not what was signed."""
    copies = {}
    for name in ("a byte of the last part", "a file more", "a file less", "two files exchanged"):
        copy = world.folder / "oms/changed" / name.replace(" ", "-")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(model, copy)
        copies[name] = copy
    parts = [sorted(copy.glob("part-*")) for copy in copies.values()]
    parts[0][-1].write_bytes(flipped(parts[0][-1].read_bytes()))
    parts[1][0].with_name("part-9.safetensors").write_bytes(b"x")
    parts[2][0].unlink()
    first, second = parts[3][:2]
    bytes_of_first = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(bytes_of_first)
    return copies


def verifies_ours(world: InteropRun, cases: Cases) -> None:
    """`gitchain bundle sign`, verified by model_signing."""
    model = _model(world, "oms/ours")
    signature = world.folder / "oms/ours.sig"
    world.must(
        *("gitchain", "--trust", world.stack.trust_config, "bundle", "sign", "--output", signature),
        *("--identity-token", world.stack.token(IDENTITY), model),
    )
    cases.accepts("as we wrote it", verifies(world, signature, model))
    cases.refuses("another identity", verifies(world, signature, model, identity=STRANGER))
    cases.refuses("another issuer", verifies(world, signature, model, issuer=world.stack.foreign.url))
    for name, copy in changed_models(world, model).items():
        cases.refuses(name, verifies(world, signature, copy))
    for name, bundle in tampered(signature.read_bytes()).items():
        cases.refuses(name, verifies(world, world.write("oms/other.sig", bundle), model))


def _version() -> str:
    return version("model-signing")


ROWS = (
    Row("model_signing", _version, "verifies our model signature", verifies_ours),
    Row("model_signing", _version, "signs a model, we verify", signs),
)
