"""The witness answers as the specification says, and never cosigns two histories of one log."""

from __future__ import annotations

import base64
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gitchain.errors import StoreError, TrustError
from gitchain.evidence.canonical import Json
from gitchain.evidence.checkpoint import SignedCheckpoint
from gitchain.evidence.cosignature import VerifierKey
from gitchain.evidence.merkle import consistency_proof, leaf_hash, root_hash
from gitchain.monitor import witness as witness_module
from gitchain.monitor.log_clients import TiledLog
from gitchain.monitor.serving import witness_server
from gitchain.monitor.witness import (
    MAX_BODY_BYTES,
    MAX_PROOF,
    SCHEMA_OF_LOG_ID,
    Witness,
    _place_of_log_id,
    _recall,
    load_key,
    place,
)
from gitchain.verify.witnesses import WitnessPolicy
from gitchain.workspace.user_directory import write_state
from tests.support.adversarial_log import HOST, OTHER_KEY, TestLog, bodies, log_key, trust_in

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(2, 34)))
NOW = 1_764_000_000
LOG = log_key()


@pytest.fixture
def witness() -> Witness:
    return Witness("witness.example/w", KEY, trust_in(LOG), lambda: NOW)


def asked(log: TestLog, old: int, *, proof: Sequence[bytes] | None = None) -> bytes:
    """Return the request for the log's checkpoint, with the proof from an old size."""
    note = SignedCheckpoint.parse(log.checkpoint())
    if proof is None:
        read = TiledLog(log.fetch)._reader(note.checkpoint)
        proof = consistency_proof(old, note.checkpoint.size, read) if 0 < old <= note.checkpoint.size else ()
    lines = "".join(f"{base64.b64encode(one).decode()}\n" for one in proof)
    return f"old {old}\n{lines}\n{note.text}".encode()


def test_a_log_that_grows_is_cosigned(witness: Witness) -> None:
    """From nothing on, each time with a proof from what was cosigned last; the answer is a line of the note."""
    policy = WitnessPolicy.parse(f"witness w {witness.verifier_key}\nquorum w\n".encode())
    old = 0
    for size in (1, 2, 3, 7, 8, 200, 256, 257, 600):
        log = TestLog(bodies(size))
        reply = witness.add_checkpoint(asked(log, old))
        assert (reply.status, reply.kind) == (200, "text/plain; charset=utf-8")
        policy.check(SignedCheckpoint.parse(log.checkpoint() + reply.body.decode()))
        old = size


def test_the_same_checkpoint_again_is_cosigned_again(witness: Witness) -> None:
    log = TestLog(bodies(5))
    assert witness.add_checkpoint(asked(log, 0)).status == 200
    assert witness.add_checkpoint(asked(log, 5)).status == 200


def test_who_does_not_know_the_size_is_told(witness: Witness) -> None:
    """409 with the size that was cosigned last."""
    assert witness.add_checkpoint(asked(TestLog(bodies(5)), 0)).status == 200
    for old in (0, 4, 6):
        reply = witness.add_checkpoint(asked(TestLog(bodies(9)), old))
        assert (reply.status, reply.body, reply.kind) == (409, b"5\n", "text/x.tlog.size")


def test_another_history_is_never_cosigned(witness: Witness) -> None:
    """The same size with another root: 409; a larger tree that does not begin with the old one: 422; nothing is kept."""
    assert witness.add_checkpoint(asked(TestLog(bodies(5)), 0)).status == 200
    before = place(LOG).read_bytes()
    forked = TestLog([b"other", *bodies(5)[1:]])
    assert witness.add_checkpoint(asked(forked, 5)).status == 409
    assert witness.add_checkpoint(asked(TestLog([b"other", *bodies(9)[1:]]), 5)).status == 422
    assert witness.add_checkpoint(asked(TestLog(bodies(9)), 5, proof=())).status == 422
    assert witness.add_checkpoint(asked(TestLog(bodies(9)), 5, proof=[bytes(32)] * 3)).status == 422
    assert place(LOG).read_bytes() == before
    assert witness.add_checkpoint(asked(TestLog(bodies(9)), 5)).status == 200


def test_only_known_logs_are_cosigned(witness: Witness) -> None:
    """404 for another origin, 403 where the log did not sign."""
    assert witness.add_checkpoint(asked(TestLog(bodies(5), origin="x.example"), 0)).status == 404
    assert witness.add_checkpoint(asked(TestLog(bodies(5), key=OTHER_KEY), 0)).status == 403
    assert witness.add_checkpoint(asked(TestLog(bodies(5), name="x.example"), 0)).status == 403
    assert not place(LOG).exists()


GOOD = asked(TestLog(bodies(5)), 0)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n\n",
        b"old\n\nx",
        GOOD.replace(b"old 0", b"old 00"),
        GOOD.replace(b"old 0", b"old -1"),
        GOOD.replace(b"old 0", b"old +0"),
        GOOD.replace(b"old 0", b"new 0"),
        GOOD.replace(b"old 0", b"old 6"),
        GOOD.replace(b"old 0\n", b"old 0\nno base64\n"),
        GOOD.replace(b"old 0\n", b"old 0\n" + b"AAAA\n" * (MAX_PROOF + 1)),
        GOOD.replace(b"\n\n", b"\n", 1),
        GOOD[:-1],
        GOOD + b"x",
        b"\xff" + GOOD,
        GOOD + b"x" * MAX_BODY_BYTES,
    ],
)
def test_what_is_no_request_is_400(witness: Witness, body: bytes) -> None:
    assert witness.add_checkpoint(body).status == 400
    assert not place(LOG).exists()


def test_every_changed_byte_is_refused(witness: Witness) -> None:
    """No byte of a request can be another: what is answered is never a cosignature of something else."""
    for at in range(len(GOOD)):
        changed = GOOD[:at] + bytes([GOOD[at] ^ 1]) + GOOD[at + 1 :]
        assert witness.add_checkpoint(changed).status in {400, 403, 404, 409, 422}, at
    assert not place(LOG).exists()


def test_a_damaged_memory_stops_the_witness(witness: Witness) -> None:
    """It never starts anew by itself: that would be the way back."""
    assert witness.add_checkpoint(asked(TestLog(bodies(5)), 0)).status == 200
    good = place(LOG).read_bytes()
    for bad in (b"", b"{}", good[:-1], good.replace(b'"size":5', b'"size":true'), good.replace(b'"size":5', b'"size":-5'),
                good.replace(LOG.host.encode(), b"other.example"), good.replace(b"v2", b"v3"), b"[]"):  # fmt: skip
        place(LOG).write_bytes(bad)
        with pytest.raises(TrustError):
            witness.add_checkpoint(asked(TestLog(bodies(9)), 5))
    place(LOG).unlink()
    place(LOG).mkdir()
    with pytest.raises(TrustError):
        witness.add_checkpoint(asked(TestLog(bodies(9)), 5))


def test_witness_refuses_a_log_whose_state_is_lost(witness: Witness) -> None:
    """With the key kept and the state gone, it would cosign another history of the same log."""
    assert witness.add_checkpoint(asked(TestLog(bodies(5)), 0)).status == 200
    place(LOG).unlink()
    for size, old in ((5, 0), (9, 0), (9, 5)):
        with pytest.raises(TrustError, match="state of this log is lost") as caught:
            witness.add_checkpoint(asked(TestLog(bodies(size)), old))
    assert "another name and key" in str(caught.value.help)
    assert not place(LOG).exists()


def test_witness_takes_a_log_with_another_key_for_the_same_log(witness: Witness) -> None:
    """Else a log that changes its key could show another history, and have it cosigned."""
    assert witness.add_checkpoint(asked(TestLog(bodies(5)), 0)).status == 200
    rotated = replace(LOG, log_id=sha256(b"another key").digest())
    assert _recall(rotated) == (5, root_of(5))


def test_witness_goes_on_from_the_state_of_an_older_version(witness: Witness) -> None:
    """Which was named by the log's id."""
    root = base64.b64encode(root_of(5)).decode()
    fields: dict[str, Json] = {"logId": LOG.log_id.hex(), "size": 5, "root": root}
    write_state(_place_of_log_id(LOG), SCHEMA_OF_LOG_ID, fields)
    assert witness.add_checkpoint(asked(TestLog(bodies(9)), 0)).status == 409
    assert witness.add_checkpoint(asked(TestLog(bodies(9)), 5)).status == 200
    _place_of_log_id(LOG).unlink()
    assert _recall(LOG)[0] == 9


def test_witness_that_could_not_store_its_first_state_tries_again(
    witness: Witness,
) -> None:
    """Nothing was cosigned: the log is still new."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(witness_module, "write_state", _full_disk)
        with pytest.raises(StoreError):
            witness.add_checkpoint(asked(TestLog(bodies(5)), 0))
    assert witness.add_checkpoint(asked(TestLog(bodies(5)), 0)).status == 200


def root_of(size: int) -> bytes:
    return root_hash(map(leaf_hash, bodies(size)))


def _full_disk(*_: object) -> None:
    raise StoreError("cannot write a file", got="no space left on device")


def test_of_two_requests_at_a_time_one_wins(witness: Witness) -> None:
    """Sixteen threads with two histories: what is cosigned is one of them, whole."""
    assert witness.add_checkpoint(asked(TestLog(bodies(5)), 0)).status == 200
    requests = [asked(TestLog(bodies(5) + bodies(4, salt)), 5) for salt in "xy"] * 8
    found: list[tuple[bytes, int]] = []
    threads = [
        threading.Thread(target=lambda one=one: found.append((one, witness.add_checkpoint(one).status)))
        for one in requests
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one for one, status in found if status == 200}) == 1
    assert {status for _, status in found} <= {200, 409}


def test_the_key_is_made_once_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "witness.pem"
    first = load_key(path).public_key().public_bytes_raw()
    assert load_key(path).public_key().public_bytes_raw() == first
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    with pytest.raises(TrustError, match="others can read"):
        load_key(path)
    path.chmod(0o600)
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    for other in (b"", b"nonsense", pem):
        path.write_bytes(other)
        with pytest.raises(TrustError):
            load_key(path)


@contextmanager
def serving(witness: Witness) -> Iterator[int]:
    server = witness_server(witness, "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def post(port: int, body: bytes, path: str = "/add-checkpoint", **headers: str) -> tuple[int, bytes]:
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    link.request("POST", path, body, {key.replace("_", "-"): value for key, value in headers.items()})
    answer = link.getresponse()
    found = answer.status, answer.read()
    link.close()
    return found


def test_over_http(witness: Witness) -> None:
    """One path, one method, a bounded body; a memory that cannot be kept is no cosignature."""
    with serving(witness) as port:
        status, body = post(port, asked(TestLog(bodies(5)), 0))
        assert status == 200
        assert body.decode().startswith("— witness.example/w ")
        assert post(port, b"", "/other")[0] == 404
        assert post(port, b"x", Content_Length="x")[0] == 411
        assert post(port, b"x", Content_Length=str(MAX_BODY_BYTES + 1))[0] == 413
        link = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        link.request("GET", "/add-checkpoint")
        assert link.getresponse().status == 405
        link.close()
        place(LOG).write_bytes(b"damaged")
        assert post(port, asked(TestLog(bodies(9)), 5))[0] == 500


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (b"Content-Length: 00000000400000000", 413),
        (b"Content-Length: 0000000000400000000", 411),
        (b"Content-Length: 1" + b"0" * 5000, 411),
        (b"Content-Length: +5", 411),
        (b"Content-Length: -5", 411),
        (b"Content-Length: 1_0", 411),
        ("Content-Length: \u0663".encode(), 411),
        (b"Content-Length: \xb2", 411),
        (b"Content-Length: 0x10", 411),
        (b"Content-Length:", 411),
        (b"X: y", 411),
        (b"Content-Length: 5\r\nContent-Length: 400000000", 400),
        (b"Transfer-Encoding: chunked", 411),
        (b"Content-Length: 5\r\nTransfer-Encoding: chunked", 411),
        (b"Content-Length: 5", 400),
    ],
)
def test_witness_server_bounds_the_body_by_what_it_reads(
    witness: Witness, headers: bytes, status: int
) -> None:
    """The body is never read past the limit, whatever form its length has, and the connection is closed."""
    with serving(witness) as port, socket.create_connection(("127.0.0.1", port), timeout=20) as link:
        link.sendall(b"POST /add-checkpoint HTTP/1.1\r\nHost: 127.0.0.1\r\n" + headers + b"\r\n\r\nold")
        link.shutdown(socket.SHUT_WR)
        answer = b""
        while part := link.recv(65536):
            answer += part
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b"Connection: close" in answer


def test_the_verb_serves_the_logs_of_the_trust(tmp_path: Path, isolated: Path, git_repo: Path) -> None:
    """`gitchain monitor --witness` says its verifier key and cosigns the embedded log; a bundle of it then satisfies."""
    from gitchain.instance import Instance

    run = [sys.executable, "-m", "gitchain"]
    subprocess.run(
        [*run, "init", "--local", "--name", "w", "--no-hooks"], cwd=git_repo, check=True, capture_output=True
    )
    process = subprocess.Popen(
        [*run, "monitor", "--witness", "w.example", "--listen", "127.0.0.1:0"],
        cwd=git_repo, env=os.environ, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout
        said = re.fullmatch(
            r"witness   w\.example (\S+) http://127\.0\.0\.1:(\d+)\n", process.stdout.readline()
        )
        assert said
        log = Instance.open(isolated / "local").log
        status, line = post(int(said[2]), b"old 0\n\n" + log.checkpoint().encode())
        assert status == 200, line
        policy = WitnessPolicy.parse(f"witness w {said[1]}\nquorum w\n".encode())
        policy.check(SignedCheckpoint.parse(log.checkpoint() + line.decode()))
        assert VerifierKey.parse(said[1]).name == "w.example"
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    for listen in ("nonsense", ":1", "127.0.0.1:99999", "203.0.113.1:1"):
        wrong = subprocess.run(
            [*run, "monitor", "--witness", "w.example", "--listen", listen],
            cwd=git_repo,
            capture_output=True,
            check=False,
        )
        assert wrong.returncode == 2, wrong.stderr
    assert HOST
