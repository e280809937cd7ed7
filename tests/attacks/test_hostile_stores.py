"""Stores that anybody who may push can make: each command stays within 256 MiB and ten seconds, and loses no evidence."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import socket
import ssl
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from gitchain.evidence.bundle import Bundle
from gitchain.evidence.vocabulary import MANIFEST_MEDIA_TYPE
from gitchain.store.git_ref import AttestationStore
from gitchain.store.tree_paths import content_path
from tests.support.admission import certificate
from tests.support.fuzzing import sized
from tests.support.prepared_repository import PreparedRepository

REF = "refs/gitchain/attestations"
MAX_MIB = 256
MAX_SECONDS = 10  # of processor time: other work on the machine does not count
MIB = 1 << 20
Entry = tuple[str, str, bytes]
"""Mode, path and content; of a tree and a submodule the object id."""

DRIVER = """
import json, os, resource, subprocess, sys, time
from gitchain.cli.main import run

def spent():
    found = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in found)

def peak():
    with open("/proc/self/status") as status:
        own = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    return max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) // 1024

steps = []
for command in json.loads(sys.argv[1]):
    if command[0] == "git":
        subprocess.run(command, check=True)
        continue
    before = spent()
    code = int(run(tuple(command)))
    steps.append([command[0], code, spent() - before, peak()])
with open(sys.argv[2], "w") as file:
    json.dump(steps, file)
"""


@dataclass(frozen=True)
class Target:
    """A repository with one attested model, and the server that it was synchronised with."""

    repo: Path
    server: Path
    home: Path

    def git(self, *args: str, cwd: Path | None = None, given: bytes | None = None) -> bytes:
        done = subprocess.run(
            ["git", *args], cwd=cwd or self.server, check=True, capture_output=True, input=given
        )
        return done.stdout.strip()

    def write(self, kind: str, data: bytes) -> str:
        return self.git("hash-object", "-t", kind, "-w", "--literally", "--stdin", given=data).decode()

    def plant(self, entries: Iterator[Entry], message: bytes = b"x") -> None:
        """Add entries to the server's store, below the rules of the store."""
        first = next(entries)  # what it makes of the server's store comes before
        process = subprocess.Popen(
            ["git", "fast-import", "--quiet", "--depth=0"], cwd=self.server, stdin=subprocess.PIPE
        )
        pipe = process.stdin
        assert pipe is not None
        pipe.write(b"commit %s\ncommitter x <x@x> 0 +0000\ndata %d\n" % (REF.encode(), len(message)))
        pipe.write(message + b"\nfrom " + REF.encode() + b"^0\n")
        for mode, path, data in chain([first], entries):
            if mode in {"160000", "40000"}:
                pipe.write(f"M {mode.zfill(6)} {data.decode()} {path}\n".encode())
            else:
                pipe.write(f"M {mode} inline {path}\ndata {len(data)}\n".encode() + data + b"\n")
        pipe.close()
        assert process.wait() == 0


def leaf(data: bytes, room: str = "att") -> Entry:
    """Return an entry at the place that its bytes have in a store."""
    return "100644", "/".join(content_path(room, hashlib.sha256(data).hexdigest())), data


def large_blobs(_target: Target, part: int = 1) -> Iterator[Entry]:
    for number in range(1 + 5 // part):
        yield leaf(b'{"x":"%08d' % number + b"a" * (24 * MIB - 30) + b'"}')


def blob_beyond_the_limit(_target: Target) -> Iterator[Entry]:
    yield leaf(b"[" * (100 * MIB))


def deep_trees(_target: Target) -> Iterator[Entry]:
    yield "100644", "/".join(["att", *["00"] * 1500, "x"]), b"x"


def trees_of_many_entries(target: Target, part: int = 1) -> Iterator[Entry]:
    for count, place in ((1_000_000 // part, "att/01"), (150_000 // part, "att/02/03")):
        data = b"".join(b"100644 %07x\0" % number + b"\1" * 20 for number in range(count))
        yield "40000", place, target.write("tree", data).encode()


def differences_to_a_bomb(target: Target) -> Iterator[Entry]:
    """A few bytes that are stored as a part of 300 MiB: to read them, all of it has to be unpacked."""
    base, small = b"\0" * (300 * MIB), b"\0" * 20
    header = b"blob %d\0" % len(base)

    def varint(number: int) -> bytes:
        found = bytearray()
        while number > 127:
            found.append(number & 127 | 128)
            number >>= 7
        return bytes([*found, number])

    def typed(kind: int, size: int) -> bytes:
        first, size = kind << 4 | size & 15, size >> 4
        return bytes([first | 128]) + varint(size) if size else bytes([first])

    delta = varint(len(base)) + varint(len(small)) + bytes([0x90, len(small)])
    body = b"PACK" + struct.pack(">II", 2, 2) + typed(3, len(base)) + zlib.compress(base, 1)
    body += typed(7, len(delta)) + hashlib.sha1(header + base).digest() + zlib.compress(delta)
    target.git("index-pack", "--stdin", given=body + hashlib.sha1(body).digest())
    name = hashlib.sha256(small).hexdigest()
    oid = target.git("hash-object", "--stdin", given=small)
    folder = target.write("tree", b"100644 " + name[4:].encode() + b"\0" + bytes.fromhex(oid.decode()))
    yield "40000", f"att/{name[:2]}/{name[2:4]}", folder.encode()


def many_tiny_entries(_target: Target, part: int = 1) -> Iterator[Entry]:
    for number in range(5000 // part):
        yield leaf(b"%d" % number)
        yield "100644", f"att/junk{number}", b""


def nested_json(_target: Target, part: int = 1) -> Iterator[Entry]:
    for filling in (b"[],", b'{"a":"bc"},', b'"ab",'):
        yield leaf(b'{"mediaType":[' + filling * (23 * MIB // part // len(filling)) + b"1]}")
        yield leaf(b'{"mediaType":[' + filling * 100_000 + b"1]}")


def other_kinds_of_entries(target: Target) -> Iterator[Entry]:
    commit = target.git("rev-parse", REF)
    for number, mode in enumerate(("120000", "160000", "100755") * 3):
        content = commit if mode == "160000" else b"/etc/passwd"
        place = ("link", f"att/0{number}", f"att/10/1{number}/{'0' * 60}")[number // 3]
        yield mode, f"{place}{number}" if place == "link" else place, content


def many_index_entries(target: Target) -> Iterator[Entry]:
    store = AttestationStore.open(target.server)
    name, data = next(store.items(store.tip()))
    blob = target.write("blob", data)
    for start in range(2):
        entries = sorted(f"{hashlib.sha256(b'%d' % number).hexdigest()}" for number in range(40_000))
        tree = b"".join(b"100644 " + one.encode() + b"\0" + bytes.fromhex(blob) for one in entries)
        yield (
            "40000",
            f"by-subject/sha256/{name[:2]}/0{start}/{'0' * 60}",
            target.write("tree", tree).encode(),
        )


def huge_manifests(target: Target) -> Iterator[Entry]:
    """A node of 40 MiB, and a bundle that names it, with a signature that does not verify."""
    node = b'{"entries":[' + b'{"mode":"644","name":"x","sha256":"","size":1,"type":"file"},' * (
        40 * MIB // 61
    )
    store = AttestationStore.open(target.server)
    for _, raw in store.items(store.tip()):
        bundle = json.loads(raw)
        statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
        statement["subject"][0] |= {
            "digest": {"sha256": hashlib.sha256(node).hexdigest()},
            "mediaType": MANIFEST_MEDIA_TYPE,
        }
        bundle["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
        yield leaf(json.dumps(bundle).encode())
    yield leaf(node, "manifest")


def many_forged_bundles(target: Target, part: int = 1) -> Iterator[Entry]:
    """Bundles that parse, and whose signatures do not verify."""
    store = AttestationStore.open(target.server)
    raw = next(data for _, data in store.items(store.tip()))
    bundle = json.loads(raw)
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    for number in range(1000 // part):
        statement["subject"] = [{"name": f"f{number}", "digest": {"sha256": f"{number:064x}"}}]
        bundle["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
        yield leaf(json.dumps(bundle).encode())


def long_history(target: Target, part: int = 1) -> Iterator[Entry]:
    tree = target.git("rev-parse", f"{REF}^{{tree}}").decode()
    commit = f"commit {REF}\ncommitter x <x@x> 0 +0000\ndata 1\nx\n"
    lines = [f"{commit}from {REF}^0\nM 040000 {tree} \n", *[f"{commit}M 040000 {tree} \n"] * (20_000 // part)]
    target.git("fast-import", "--quiet", given="".join(lines).encode())
    yield "100644", "README", b"junk"


SCALED = (
    large_blobs,
    trees_of_many_entries,
    many_tiny_entries,
    nested_json,
    many_forged_bundles,
    long_history,
)
"""Stores of many objects: by default a fifth of them is planted, and all in the test that is marked `slow`."""

WHOLE = (
    blob_beyond_the_limit,
    deep_trees,
    differences_to_a_bomb,
    other_kinds_of_entries,
    many_index_entries,
    huge_manifests,
)


@pytest.fixture
def target(project: PreparedRepository, git: Callable[..., str], tmp_path: Path) -> Target:
    """Return the set-up repository, whose attestations a server has too."""
    git(tmp_path, "init", "-q", "--bare", "server.git")
    git(project.repo, "remote", "add", "origin", str(tmp_path / "server.git"))
    git(project.repo, "push", "-q", "origin", f"{REF}:{REF}", "HEAD:refs/heads/main")
    for setting in (
        "pack.windowMemory=16m",
        "pack.threads=1",
        "core.bigFileThreshold=1m",
        "core.compression=1",
    ):
        git(tmp_path / "server.git", "config", *setting.split("="))
    return Target(project.repo, tmp_path / "server.git", project.home)


def name_of(make: Callable[..., Iterator[Entry]]) -> str:
    return make.__name__


@pytest.mark.parametrize("make", [*WHOLE, *SCALED], ids=name_of)
def test_hostile_store_stays_within_bounds(
    target: Target, tmp_path: Path, make: Callable[..., Iterator[Entry]]
) -> None:
    """Memory and time are bounded for each command; sync leaves the junk behind, and verification passes after it."""
    entries = make(target, part=sized(5, 1)) if make in SCALED else make(target)
    check_bounds(target, tmp_path, make, entries)


@pytest.mark.slow
@pytest.mark.parametrize("make", SCALED, ids=name_of)
def test_hostile_store_of_full_size_stays_within_bounds(
    target: Target, tmp_path: Path, make: Callable[..., Iterator[Entry]]
) -> None:
    """The same with all objects."""
    check_bounds(target, tmp_path, make, make(target))


def check_bounds(
    target: Target, tmp_path: Path, make: Callable[..., Iterator[Entry]], entries: Iterator[Entry]
) -> None:
    """Fail if a command takes more memory or time than is allowed, or loses evidence.

    Verification of the planted store itself passes too, or refuses a store that holds too much.
    """
    own = target.git("rev-parse", REF, cwd=target.repo).decode()
    message = b"m" * (20 * MIB) if make is long_history else b"x"
    target.plant(entries, message)
    planted = target.git("rev-parse", REF).decode()
    alternates = target.repo / ".git/objects/info/alternates"
    alternates.write_text(f"{target.server}/objects\n")
    identity = next(iter(AttestationStore.open(target.repo).all()))
    look = [
        ["git", "update-ref", REF, planted],
        ["verify", "model.bin"],
        ["log"],
        ["show", Bundle.parse(identity).attestation_id],
    ]
    steps = driven(target, tmp_path, look)
    # The git of a server would unpack the bomb to send a part of it, and here it runs on the same machine.
    steps.append(served(target, tmp_path, is_mirrored=make is not differences_to_a_bomb))
    steps += driven(target, tmp_path, [["git", "update-ref", REF, own], ["sync"], ["verify", "model.bin"]])
    assert {step[0]: step[3] for step in steps if step[3] > MAX_MIB} == {}
    assert {step[0]: step[2] for step in steps if step[2] > MAX_SECONDS} == {}
    codes = [step[1] for step in steps]
    assert codes[0] in {0, 8}, codes
    assert codes[-1] == 0, codes
    assert AttestationStore.open(target.repo).problems() == ()


def driven(target: Target, tmp_path: Path, commands: list[list[str]]) -> list[list[Any]]:
    """Run the commands in a process of their own; return name, exit code, seconds and the peak so far in MiB."""
    result = tmp_path / "result.json"
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, json.dumps(commands), str(result)],
        cwd=target.repo,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: list[list[Any]] = json.loads(result.read_text())
    return found


SERVE = """
import resource, subprocess, sys
process = subprocess.Popen([sys.executable, "-m", "gitchain", "serve", *sys.argv[1:]])
try:
    sys.stdin.readline()
finally:
    process.terminate()
    process.wait()
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_maxrss // 1024, used.ru_utime + used.ru_stime)
"""


def served(target: Target, tmp_path: Path, *, is_mirrored: bool) -> list[Any]:
    """Run `gitchain serve` as a process of its own over the store, and ask it about the model once it has read it.

    It reads the repository's store, and where `is_mirrored` the server's too, which it fetches.

    Returns what `driven` does for a command; the code is 0 if the model passes.
    """
    pin = json.loads((target.home / "pins.json").read_text())["layouts"]["demo"]
    evidence = f", evidence: ['git+file://{target.server}']" if is_mirrored else ""
    (tmp_path / "serve.yaml").write_text(
        "schema: https://gitchain.dev/serve/v1\n"
        f"layouts: {{demo: {{layout: {target.repo}/.gitchain/layout.sigstore.json, trust: local, "
        f"signers: {json.dumps(pin['signers'])}, repository: {target.repo}{evidence}}}}}\n"
        "rules: [{namespaces: ['*'], layout: demo}]\n"
    )
    crt, key = certificate(tmp_path)
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    options = ("--settings", tmp_path / "serve.yaml", "--certificate", crt, "--key", key)
    words = [*map(str, options), "--listen", f"127.0.0.1:{port}"]
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, *words],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        answer = asked(port, hashlib.sha256((target.repo / "model.bin").read_bytes()).hexdigest())
    finally:
        told, _ = process.communicate("\n", timeout=60)
    mib, seconds = told.split()
    return ["serve", 0 if answer["verified"] else 1, float(seconds), int(mib)]


def asked(port: int, sha256: str) -> Any:
    """Return what the server answers about a digest, once it is ready or has failed to read its evidence."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    body = json.dumps({"layout": "demo", "references": [f"sha256:{sha256}"]})
    end = time.monotonic() + 120
    while True:
        try:
            with closing(
                http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=context)
            ) as client:
                client.request("POST", "/v1/decide", body, {"Content-Type": "application/json"})
                answer = json.loads(client.getresponse().read())
        except OSError:
            answer = None
        if answer and not is_pending(answer):
            return answer
        assert time.monotonic() < end, answer
        time.sleep(0.2)


def is_pending(answer: Any) -> bool:
    return not answer["verified"] and "has not been read yet" in json.dumps(answer)
