"""What the rows of `make interop` share: the running stack, a project of ours on it, and ways to call the peers."""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.stack.build import CATALOGUE, MODULES, Builder, Outcome, State
from tests.stack.servers import clean_environ
from tests.stack.stack import Stack

TOP = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
REF = "refs/gitchain/attestations"
SECONDS = 180  # for one call of a client
IDENTITY = "train-ci@example.com"  # who signed the bundle that peers are given
STRANGER = "mallory@example.net"
Answer = tuple[bool, str]


@dataclass(slots=True)
class InteropRun:
    """One run's place: nothing in it outlives the run."""

    stack: Stack
    folder: Path
    builder: Builder
    project: Any = None
    """The demo's project, chained on the stack; set by the first row."""
    unapproved: Any = None
    """The same before its approval, for attacks."""
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    @property
    def issuer(self) -> str:
        """The issuer that certificates name."""
        return self.stack.issuer.url

    def tool(self, name: str) -> Path:
        """Return a peer's binary; NotHere if it cannot be had, AssertionError if its pinned sources do not build."""
        from tests.interop.table import NotHere

        if name not in self.outcomes:
            self.outcomes[name] = self.builder.build(next(tool for tool in CATALOGUE if tool.name == name))
        outcome = self.outcomes[name]
        assert outcome.state is not State.BROKEN, outcome.why
        if outcome.path is None:
            raise NotHere(f"{outcome.state.value}: {outcome.why.splitlines()[-1]}")
        return outcome.path

    def call(self, *command: str | Path, cwd: Path | None = None, **environ: str) -> Answer:
        """Run a client; return whether it ended with 0, and what it said."""
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        own = {"HOME": str(home), "GITCHAIN_HOME": str(home / "gitchain"), "NO_COLOR": "1"}
        own |= {"PATH": f"{BIN}:{clean_environ()['PATH']}"}
        try:
            done = subprocess.run(
                [str(part) for part in command],
                cwd=cwd or self.folder,
                env=clean_environ() | own | environ,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return False, f"no answer within {SECONDS} s"
        return done.returncode == 0, done.stdout + done.stderr

    def must(self, *command: str | Path, cwd: Path | None = None, **environ: str) -> str:
        """Run a client that has to succeed; return what it said."""
        done, said = self.call(*command, cwd=cwd, **environ)
        assert done, f"$ {' '.join(map(str, command))}\n{said}"
        return said

    def write(self, name: str, content: bytes) -> Path:
        """Write a file into the run's folder and return it."""
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return file

    def model(self) -> Path:
        """Return the model of the demo's project; AssertionError if its chain could not be made."""
        assert self.project is not None, "the demo's chain was not made"
        return Path(self.project.cwd) / "models/model.json"

    def bundle(self) -> bytes:
        """Return the bundle of the model's training, taken out of the store with git alone."""
        cwd = self.model().parents[1]
        listing = self.must("git", "ls-tree", "-r", "--name-only", REF, "att/", cwd=cwd)
        for name in listing.split():
            raw = self.must("git", "cat-file", "blob", f"{REF}:{name}", cwd=cwd)
            statement = json.loads(base64.b64decode(json.loads(raw)["dsseEnvelope"]["payload"]))
            definition = statement["predicate"].get("buildDefinition", {})
            if definition.get("externalParameters", {}).get("step") == "train":
                return raw.encode()
        raise AssertionError("no bundle of the training in the store")

    def sign_something(self, identity: str = STRANGER, rekor: str = "") -> None:
        """Have sigstore-python's command line log an entry, in the stack's first log or in the one at `rekor`."""
        services = self.stack.services
        config = json.loads(self.stack.trust_config.read_text(encoding="utf-8"))
        config["signingConfig"] = services.signing_config(rekor)
        trust = self.write("something/trust.json", json.dumps(config).encode())
        self.must(
            *("sigstore", "--trust-config", trust, "sign", "--identity-token", self.stack.token(identity)),
            *("--bundle", self.folder / "something/bundle", "--overwrite"),
            self.write("something/file", os.urandom(16)),
        )

    def gitsign_environ(self, identity: str) -> dict[str, str]:
        """Return the environment in which gitsign signs as `identity` on the second log, and verifies with its key."""
        folder, services = self.stack.folder, self.stack.services
        return {
            "GITSIGN_REKOR_VERSION": "2",
            "GITSIGN_REKOR_MODE": "offline",  # the entry lies in the signature
            "GITSIGN_FULCIO_URL": services.fulcio,
            "GITSIGN_REKOR_URL": self.stack.ecdsa_log,
            "GITSIGN_TIMESTAMP_SERVER_URL": services.tsa,
            "GITSIGN_TIMESTAMP_CERT_CHAIN": str(folder / "tsa-chain.pem"),
            "GITSIGN_FULCIO_ROOT": str(folder / "fulcio.pem"),
            "GITSIGN_OIDC_ISSUER": self.issuer,
            "SIGSTORE_REKOR_PUBLIC_KEY": str(folder / "rekor-ecdsa.pub"),
            "SIGSTORE_CT_LOG_PUBLIC_KEY_FILE": str(folder / "ct.pub"),
            "SIGSTORE_ID_TOKEN": self.stack.token(identity),
        }

    def verify(self, bundle: Path, target: Path | str, **other: str) -> Answer:
        """Ask `gitchain bundle verify`; `identity` and `issuer` are the right ones unless others are given."""
        return self.call(
            *("gitchain", "bundle", "verify", "--bundle", bundle),
            *("--trusted-root", self.stack.folder / "trusted_root.json"),
            *("--certificate-identity", other.get("identity", IDENTITY)),
            *("--certificate-oidc-issuer", other.get("issuer", self.issuer), target),
        )


def flipped(data: bytes, position: int | None = None) -> bytes:
    """Return the bytes with one bit turned over, in the middle unless said otherwise."""
    at = len(data) // 2 if position is None else position
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def tampered(bundle: bytes) -> Mapping[str, bytes]:
    """Return bundles that differ from a good one in one byte: of what is signed, the signature, the time, the log's proof.

    Not of the proof's `rootHash`: cosign takes the root from the checkpoint, which is as good. We refuse that too.
    """
    found = {}
    for name, path in PLACES.items():
        document = json.loads(bundle)
        place: Any = document
        try:
            for key in path[:-1]:
                place = place[key]
            data = base64.b64decode(place[path[-1]])
            place[path[-1]] = base64.b64encode(flipped(data, _where_it_counts(path[-1], data))).decode()
        except (KeyError, IndexError):
            continue  # a signature over a file has no payload, one over a statement no message digest
        found[name] = json.dumps(document).encode()
    return found


def _where_it_counts(field: str | int, data: bytes) -> int | None:
    """Return the place of a byte that means something: clients read past some, such as spare bits of base64."""
    if field == "canonicalizedBody" and (at := data.find(DIGEST)) >= 0:
        return at + len(DIGEST)
    return len(data) - 10 if field == "signedTimestamp" else None  # the authority's signature comes last


LOG_ENTRY = "a byte of the log's entry"
DIGEST = b'"digest":"'  # of what was signed, in a log's entry
_ENTRY: tuple[str | int, ...] = ("verificationMaterial", "tlogEntries", 0)
_TIMES = ("verificationMaterial", "timestampVerificationData", "rfc3161Timestamps")
PLACES: Mapping[str, tuple[str | int, ...]] = {
    "a byte of the payload": ("dsseEnvelope", "payload"),
    "a byte of the statement's signature": ("dsseEnvelope", "signatures", 0, "sig"),
    "a byte of the file's signature": ("messageSignature", "signature"),
    "a byte of the certificate": ("verificationMaterial", "certificate", "rawBytes"),
    "a byte of the timestamp": (*_TIMES, 0, "signedTimestamp"),
    "a byte of the log's proof": (*_ENTRY, "inclusionProof", "hashes", 0),
    LOG_ENTRY: (*_ENTRY, "canonicalizedBody"),
}


@cache
def pinned(name: str, module: str = "") -> str:
    """Return the version of a tool's module, as its go.mod pins it, or of another `module` that the tool is made of."""
    tool = next(tool for tool in CATALOGUE if tool.name == name)
    text = (MODULES / (tool.module or tool.name) / "go.mod").read_text(encoding="utf-8")
    versions: dict[str, str] = dict(re.findall(r"(\S+\.\S+/\S+) (v\S+)", text))
    return versions[module or max((path for path in versions if tool.package.startswith(path)), key=len)]


def demo() -> ModuleType:
    """Return examples/demo.py as a module."""
    spec = importlib.util.spec_from_file_location("demo", TOP / "examples/demo.py")
    assert spec
    assert spec.loader
    module = sys.modules["demo"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
