"""Real Sigstore services on loopback: `python -m tests.stack.stack up|down`, or `with Stack.start() as stack:`.

Two Rekor v2 logs (Ed25519, as public ones are, and ECDSA, which gitsign needs), Fulcio with a file CA, a static CT
log, a timestamp authority and an OIDC issuer, all with keys of their own and on free ports. `up` leaves them running
and says where they are; `down` ends what `up` started and nothing else. A started stack ends with its program.
It is not Rekor v1: that is five processes and a database.

Exit codes: 0 done; 1 it does not start; 3 it cannot be had here.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tests.stack import keys, servers
from tests.stack.build import CATALOGUE, Builder, State, cache_directory, complain, seconds_allowed
from tests.stack.oidc import AUDIENCE, Issuer
from tests.stack.processes import Failed, Pid, end, free_ports, is_alive, run_all
from tests.stack.servers import Log, Server
from tests.stack.trust import LogKey, Services

PORTS = (
    *("fulcio", "fulcio-grpc", "fulcio-metrics", "ct", "issuer", "other-issuer", "tsa", "tsa-own"),
    "witness",
    *("rekor", "rekor-grpc", "rekor-metrics", "rekor-door"),
    *("rekor-ecdsa", "rekor-ecdsa-grpc", "rekor-ecdsa-metrics", "rekor-ecdsa-door"),
)


class Missing(Exception):  # noqa: N818 - no error: a machine without Go is no failure
    """The stack cannot be had here."""


@dataclass(frozen=True, slots=True)
class Stack:
    """A running stack: where its services are, and tokens for them."""

    folder: Path
    services: Services
    issuer: Issuer
    foreign: Issuer
    """An issuer that the certificate authority does not know."""
    ecdsa_log: str
    """The second log's URL; its origin is the URL's host name."""
    witness: str
    """The line of a witness policy that names the first log's witness; nothing where it has none."""
    pids: tuple[Pid, ...]

    @classmethod
    @contextlib.contextmanager
    def start(cls, builder: Builder | None = None, *, witnessed: bool = False) -> Iterator[Stack]:
        """Start a stack and end it again, its servers built by `builder`; `witnessed`, our witness cosigns its first log.

        Missing if it cannot be had here, Failed if a server does not start."""
        folder = Path(tempfile.mkdtemp(prefix="gitchain-stack-"))
        try:
            stack = start(
                folder, binaries(builder or Builder(seconds_allowed())), owned=True, witnessed=witnessed
            )
            try:
                yield stack
            finally:
                end(stack.pids)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @property
    def trust_config(self) -> Path:
        """The ClientTrustConfig that `gitchain init --trust` takes."""
        return self.folder / "trust.json"

    def token(self, identity: str, **wrong: object) -> str:
        """Return a token for `identity`; see Issuer.token for tokens that must be refused."""
        return self.issuer.token(identity, **wrong)  # type: ignore[arg-type]


def binaries(builder: Builder) -> dict[str, Path]:
    """Return the servers' binaries; Missing if one cannot be had here, Failed if its pinned sources do not build."""
    found = {}
    for tool in (tool for tool in CATALOGUE if tool.name in servers.TOOLS):
        outcome = builder.build(tool)
        if outcome.path is None:
            complain(outcome)
            raise (Failed if outcome.state is State.BROKEN else Missing)(
                f"{tool.name}: {outcome.state.value}"
            )
        found[tool.name] = outcome.path
    return found


def start(folder: Path, binary: dict[str, Path], *, owned: bool, witnessed: bool = False) -> Stack:
    """Start every server in `folder`, each when those it needs are ready; `owned` servers end with this program."""
    ports = free_ports(PORTS)
    url = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    logs = (
        Log("rekor", "rekor.test", ports["rekor-door"]),
        Log("rekor-ecdsa", "127.0.0.1", ports["rekor-ecdsa-door"]),
    )
    services, issuer, foreign = make_keys(folder, url, logs)
    services.write(folder)
    isolated = servers.can_have_namespace()
    policy = folder / "witnesses.txt"
    flags: tuple[str, ...] = ()
    witness = keys.witness(folder / "witness", servers.WITNESS, url["witness"]) if witnessed else ""
    if witness:
        policy.write_text(f"{witness}\nquorum w\n", encoding="utf-8")
        flags = (f"--witness-policy-path={policy}",)
    issuers = {issuer.url: {"IssuerURL": issuer.url, "ClientID": AUDIENCE, "Type": "email"}}
    doors = [
        {"name": "issuer", "port": ports["issuer"], "issuer": issuer.url, "key": str(folder / "issuer.key")},
        {
            "name": "other",
            "port": ports["other-issuer"],
            "issuer": foreign.url,
            "key": str(folder / "other.key"),
        },
        {
            "name": "tsa",
            "port": ports["tsa"],
            "to": str(folder / "tsa.sock" if isolated else ports["tsa-own"]),
        },
        *(
            {
                "name": log.name,
                "port": log.port,
                "to": str(ports[log.name]),
                "storage": str(folder / log.name),
            }
            for log in logs
        ),
    ]
    (folder / "doors.json").write_text(json.dumps(doors), encoding="utf-8")
    order = (
        Server(
            "front",
            (sys.executable, str(Path(__file__).with_name("front.py")), str(folder / "doors.json")),
            str(ports["issuer"]),
            "/keys",
        ),
        servers.certificate_log(folder, binary["tesseract"], ports),
        servers.certificates(folder, binary["fulcio"], ports, issuers),
        servers.timestamps(folder, binary["timestamp-server"], None if isolated else ports["tsa-own"]),
        *([servers.witness(folder, ports["witness"])] if witness else []),
        servers.log(folder, binary["rekor-server"], ports, logs[0], *flags),
        servers.log(folder, binary["rekor-server"], ports, logs[1]),
    )
    pids = run_all(folder, order, owned=owned)
    return Stack(folder, services, issuer, foreign, url["rekor-ecdsa-door"], witness, pids)


def make_keys(folder: Path, url: dict[str, str], logs: tuple[Log, ...]) -> tuple[Services, Issuer, Issuer]:
    """Write every key and certificate; return what is public of them, and both issuers."""
    log_key, ct_key = ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256R1())
    second_key = ec.generate_private_key(ec.SECP256R1())
    authority, stamps = keys.certificate_authority(), keys.timestamp_authority()
    keys.write_private(folder / "fulcio.key", authority.key, password=keys.PASSWORD)
    keys.write_private(folder / "tsa.key", stamps.key)
    keys.write_private(folder / "ct.key", ct_key, old_format=True)
    keys.write_chain(folder / "fulcio.pem", authority.chain)
    keys.write_chain(folder / "tsa-chain.pem", stamps.chain)
    keys.write_public(folder / "ct.pub", ct_key)
    pairs: tuple[keys.PrivateKey, ...] = (log_key, second_key)
    for log, signer in zip(logs, pairs, strict=True):
        keys.write_private(folder / f"{log.name}.key", signer)
        keys.write_public(folder / f"{log.name}.pub", signer)
    issuers = []
    for name, file in (("issuer", "issuer.key"), ("other-issuer", "other.key")):
        key = rsa.generate_private_key(65537, 2048)
        keys.write_private(folder / file, key)
        issuers.append(Issuer(url[name], key))
    services = Services(
        fulcio=url["fulcio"],
        issuer=url["issuer"],
        tsa=f"{url['tsa']}/api/v1/timestamp",
        rekor=url["rekor-door"],
        logs=(
            LogKey(f"https://{logs[0].origin}", log_key, logs[0].origin),
            LogKey(url["rekor-ecdsa-door"], second_key, logs[1].origin),
        ),
        ct=LogKey(url["ct"], ct_key),
        authority=authority.chain,
        timestamps=stamps.chain,
    )
    return services, issuers[0], issuers[1]


def up() -> int:
    """Start a stack that stays when this program ends, and say where it is."""
    state = state_file()
    if state.exists() and running(state):
        print(f"it is up already\n{json.loads(state.read_text(encoding='utf-8'))['folder']}", file=sys.stderr)
        return 1
    folder = Path(tempfile.mkdtemp(prefix="gitchain-stack-"))
    try:
        stack = start(folder, binaries(Builder(seconds_allowed())), owned=False)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    state.parent.mkdir(parents=True, exist_ok=True)
    state.write_text(json.dumps({"folder": str(folder), "pids": stack.pids}), encoding="utf-8")
    print(f"folder  {folder}\ntrust   {stack.trust_config}\nissuer  {stack.issuer.url}")
    print("token   python -m tests.stack.stack token ada@example.com\nstop    make stack-down")
    return 0


def down() -> int:
    """End what `up` started, and remove its folder."""
    state = state_file()
    if not state.exists():
        print("nothing is up", file=sys.stderr)
        return 0
    known = json.loads(state.read_text(encoding="utf-8"))
    end([(pid, born) for pid, born in known["pids"]])
    if Path(known["folder"]).name.startswith("gitchain-stack-"):
        shutil.rmtree(known["folder"], ignore_errors=True)
    state.unlink()
    return 0


def token(identity: str) -> int:
    """Print a token of the stack that is up."""
    folder = Path(json.loads(state_file().read_text(encoding="utf-8"))["folder"])
    doors = json.loads((folder / "doors.json").read_text(encoding="utf-8"))
    print(Issuer.load(doors[0]["issuer"], Path(doors[0]["key"])).token(identity))
    return 0


def state_file() -> Path:
    """Return where `up` writes what it started."""
    return cache_directory() / "up.json"


def running(state: Path) -> bool:
    """Say whether any process of a state file still runs."""
    return any(is_alive(pid, born) for pid, born in json.loads(state.read_text(encoding="utf-8"))["pids"])


def main(arguments: list[str]) -> int:
    """Do what was asked."""
    try:
        match arguments:
            case ["up"]:
                return up()
            case ["down"]:
                return down()
            case ["token", identity]:
                return token(identity)
    except Missing as problem:
        print(f"SKIPPED the stack: {problem}", file=sys.stderr)
        return 3
    except Failed as problem:
        print(f"FAILED {problem}", file=sys.stderr)
        return 1
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
