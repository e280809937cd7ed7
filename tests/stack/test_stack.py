"""The parts of the tests' stack that need no server: its door, its tokens, its trusted root, its processes."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tests.stack import front, keys, stack
from tests.stack.oidc import Issuer
from tests.stack.processes import Failed, end, free_ports, is_alive, run_all, started_at
from tests.stack.servers import Server
from tests.stack.trust import LogKey

SLEEPER = "import signal; signal.pause()"
SERVER = """\
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self): self.send_response(200); self.send_header("content-length", "0"); self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def _server(name: str, program: str = SERVER) -> Server:
    port = str(free_ports([name])[name])
    return Server(name, (sys.executable, "-c", program, port), port, "/")


@pytest.fixture
def door(tmp_path: Path) -> Iterator[int]:
    """A log's door over a folder; nothing listens behind it."""
    ports = free_ports(["door", "behind"])
    storage = tmp_path / "log"
    (storage / "tile/0/x001").mkdir(parents=True)
    (storage / "checkpoint").write_text("a checkpoint")
    (storage / "tile/0/x001/234").write_bytes(b"hashes")
    (tmp_path / "secret").write_text("secret")
    plan = [{"name": "log", "port": ports["door"], "to": str(ports["behind"]), "storage": str(storage)}]
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    command = (sys.executable, front.__file__, str(tmp_path / "plan.json"))
    pids = run_all(tmp_path, [Server("front", command, str(ports["door"]), "/checkpoint")], owned=True)
    yield ports["door"]
    end(pids)


def _get(port: int, path: str) -> tuple[int, bytes]:
    with front.connection(str(port)) as link:
        link.request("GET", path)
        reply = link.getresponse()
        return reply.status, reply.read()


def test_a_door_reads_tiles_and_checkpoints_and_no_other_file(door: int) -> None:
    assert _get(door, "/checkpoint") == (200, b"a checkpoint")
    assert _get(door, "/api/v2/tile/0/x001/234") == (200, b"hashes")
    assert _get(door, "/tile/0/x009/000")[0] == 404
    for path in ("/secret", "/tile/0/../../../secret", "/../secret", "/tile/0/x001/../../../../secret"):
        assert _get(door, path)[0] == 502, path  # not a read: passed on to the server, which is not there


def test_a_body_that_no_log_takes_is_not_passed_on(door: int) -> None:
    with front.connection(str(door)) as link:
        link.putrequest("POST", "/api/v2/log/entries")
        link.putheader("Content-Length", str(front.MAX_BODY + 1))
        link.endheaders()
        assert link.getresponse().status == 413


def test_tokens_are_as_wrong_as_they_are_asked_to_be() -> None:
    issuer = Issuer("http://127.0.0.1:1", key := rsa.generate_private_key(65537, 2048))

    def problem(token: str) -> str:
        try:
            jwt.decode(token, key.public_key(), ["RS256"], audience="sigstore", issuer=issuer.url)
        except jwt.PyJWTError as error:
            return type(error).__name__
        return ""

    assert problem(issuer.token("ada@example.com")) == ""
    assert problem(issuer.token("ada@example.com", lifetime=-1)) == "ExpiredSignatureError"
    assert problem(issuer.token("ada@example.com", starts=60)) == "ImmatureSignatureError"
    assert problem(issuer.token("ada@example.com", audience="x")) == "InvalidAudienceError"
    assert problem(issuer.token("ada@example.com", issuer="x")) == "InvalidIssuerError"
    assert problem(issuer.token("ada@example.com", signed=False)) == "InvalidAlgorithmError"
    other = rsa.generate_private_key(65537, 2048)
    assert problem(issuer.token("ada@example.com", key=other)) == "InvalidSignatureError"


def test_the_issuer_publishes_the_key_that_it_signs_with() -> None:
    issuer = Issuer("http://127.0.0.1:1", rsa.generate_private_key(65537, 2048))
    documents = json.loads(json.dumps(issuer.documents()))
    assert documents["/.well-known/openid-configuration"]["jwks_uri"] == f"{issuer.url}/keys"
    (key,) = jwt.PyJWKSet.from_dict(documents["/keys"]).keys
    assert jwt.decode(issuer.token("ada@example.com"), key, audience="sigstore")["sub"] == "ada@example.com"


def test_a_log_id_is_that_of_its_signed_notes() -> None:
    """Ed25519 ids hang on the origin; the public log's are made so. ECDSA ids are those of the key alone."""
    pure = ed25519.Ed25519PrivateKey.generate()
    assert LogKey("x", pure, "one.test").key_id != LogKey("x", pure, "two.test").key_id
    name, short, _ = LogKey("x", pure, "one.test").verifier.split("+", 2)
    assert (name, short) == ("one.test", LogKey("x", pure, "one.test").key_id[:4].hex())
    curve = ec.generate_private_key(ec.SECP256R1())
    assert LogKey("x", curve, "one.test").key_id == LogKey("y", curve, "two.test").key_id


def test_private_keys_are_for_their_owner_alone(tmp_path: Path) -> None:
    keys.write_private(tmp_path / "key", ec.generate_private_key(ec.SECP256R1()))
    assert (tmp_path / "key").stat().st_mode & 0o077 == 0


def test_ending_ends_what_was_started_and_nothing_else(tmp_path: Path) -> None:
    bystander = subprocess.Popen([sys.executable, "-c", SLEEPER])
    pids = run_all(tmp_path, [_server("a"), _server("b")], owned=True)
    assert all(is_alive(*pid) for pid in pids)
    end([*pids, (bystander.pid, "another start time"), (os.getpid(), "")])
    assert not any(is_alive(*pid) for pid in pids)
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


def test_a_server_that_does_not_start_leaves_none_running(tmp_path: Path) -> None:
    """What it said is told."""
    bad = _server("bad", "import sys; sys.exit('no such key')")
    good = _server("good")
    with pytest.raises(Failed, match="bad did not start\nno such key"):
        run_all(tmp_path, [good, bad], owned=True)
    with pytest.raises(OSError, match="refused"), front.connection(good.to) as link:
        link.request("GET", "/")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children that their parent died")
def test_an_owned_server_ends_with_its_program(tmp_path: Path) -> None:
    server = _server("a")
    program = (
        f"import sys, os; sys.path.insert(0, {str(Path(front.__file__).parents[2])!r})\n"
        f"from pathlib import Path; from tests.stack.processes import run_all; from tests.stack.servers import Server\n"
        f"pids = run_all(Path({str(tmp_path)!r}), [Server('a', {server.command!r}, {server.to!r}, '/')], owned=True)\n"
        f"print(*pids[0], flush=True); os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    pid, born = done.stdout.split()
    until = time.monotonic() + 10
    while started_at(int(pid)) == born and time.monotonic() < until:
        time.sleep(0.01)
    assert started_at(int(pid)) != born


def test_down_without_up_does_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert stack.main(["down"]) == 0
    assert "nothing is up" in capsys.readouterr().err


def test_without_servers_the_stack_is_skipped_and_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert stack.main(["up"]) == 3
    assert "SKIPPED the stack" in capsys.readouterr().err


def test_a_closed_connection_is_an_error_and_no_answer() -> None:
    port = free_ports(["nobody"])["nobody"]
    with pytest.raises((OSError, http.client.HTTPException)):
        _get(port, "/")
