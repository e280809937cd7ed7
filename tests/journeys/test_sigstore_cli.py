"""The plain `sigstore` client, which knows nothing of gitchain, on a bundle that gitchain wrote."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from tests.support.shell import Done, Shell

REF = "refs/gitchain/attestations"
IDENTITY = "ada@example.com"


def bundle_of(shell: Shell, step: str) -> bytes:
    """Take the bundle of a step out of the store with git alone."""
    names = shell.must("git", "ls-tree", "-r", "--name-only", REF, "att/").split()
    for name in names:
        raw = shell.must("git", "cat-file", "blob", f"{REF}:{name}").encode()
        statement = json.loads(base64.b64decode(json.loads(raw)["dsseEnvelope"]["payload"]))
        definition = statement["predicate"].get("buildDefinition", {})
        if definition.get("externalParameters", {}).get("step") == step:
            return raw
    raise AssertionError(f"no bundle of step {step} among {len(names)}")


class Client:
    """`sigstore verify identity` with the trust configuration that gitchain exports."""

    def __init__(self, shell: Shell, folder: Path, *export: str) -> None:
        self._shell = shell
        self._folder = folder
        self._issuer = shell.json("local", "status")["issuer"]
        (folder / "trust.json").write_text(shell.must("gitchain", *export), encoding="utf-8")

    def verify(self, raw: bytes, file: Path | str, *, identity: str = IDENTITY) -> Done:
        (self._folder / "bundle.json").write_bytes(raw)
        return self._shell.run(
            "sigstore",
            *("--trust-config", str(self._folder / "trust.json"), "verify", "identity"),
            *("--bundle", str(self._folder / "bundle.json"), "--cert-identity", identity),
            *("--cert-oidc-issuer", self._issuer, str(file)),
        )


@pytest.mark.parametrize("export", [("trust", "export"), ("local", "trust")])
def test_client_verifies_our_bundle(file_model: Shell, tmp_path: Path, export: tuple[str, str]) -> None:
    """The exported configuration is all that the client needs; it holds the bundle to be about model.json's bytes."""
    client = Client(file_model, tmp_path, *export)
    raw = bundle_of(file_model, "train")
    done = client.verify(raw, "model.json")
    assert done.code == 0, done.text
    assert "OK" in done.text


def test_client_refuses_what_was_changed(file_model: Shell, tmp_path: Path) -> None:
    """One changed byte of the payload, another file, another person: each is refused by the client."""
    client = Client(file_model, tmp_path, "trust", "export")
    raw = bundle_of(file_model, "train")
    document = json.loads(raw)
    payload = base64.b64decode(document["dsseEnvelope"]["payload"])
    assert payload.count(b"train") > 0
    document["dsseEnvelope"]["payload"] = base64.b64encode(payload.replace(b"train", b"trait", 1)).decode()
    assert client.verify(json.dumps(document).encode(), "model.json").code != 0

    assert client.verify(raw, "model.json", identity="mallory@example.com").code != 0
    file_model.flip("model.json")
    assert client.verify(raw, "model.json").code != 0
