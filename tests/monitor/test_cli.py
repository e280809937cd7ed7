"""`gitchain monitor` on the embedded instance: quiet while all is well, and loud about each thing that is not."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from jsonschema import Draft202012Validator

from gitchain.cli.main import run
from gitchain.errors import ExitCode
from gitchain.instance import Instance
from gitchain.instance.entry import request_of
from gitchain.workspace.user_directory import local_directory
from tests.support.adversarial_log import TestLog, served

ADA = "ada@example.com"
SCHEMA = json.loads((Path(__file__).parents[2] / "schemas/cli.schema.json").read_text())


class Done:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        value = json.loads(self.out)
        Draft202012Validator(SCHEMA).validate(value)
        return value

    @property
    def codes(self) -> list[str]:
        return [one["code"] for one in self.json["alerts"]]


Gitchain = Callable[..., Done]


@pytest.fixture
def gitchain(capfd: pytest.CaptureFixture[str], git_repo: Path, monkeypatch: pytest.MonkeyPatch) -> Gitchain:
    """Return gitchain in a repository on the embedded instance, with one attestation."""
    monkeypatch.chdir(git_repo)

    def call(*args: str) -> Done:
        code = run(args)
        out, err = capfd.readouterr()
        return Done(int(code), out, err)

    assert call("init", "--local", "--name", "tiny", "--no-hooks").code == 0
    (git_repo / "model.txt").write_text("model")
    assert call("attest", "train", "-p", "model.txt").code == 0
    return call


def instance() -> Instance:
    return Instance.open(local_directory())


def log_entry(who: str, *, certificate: bytes | None = None) -> None:
    """Put an entry into the log as a stranger would who can sign as `who`, and store nothing."""
    here, key = instance(), ec.generate_private_key(ec.SECP256R1())
    asked = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    given = certificate or here.issue(here.token(who), asked).public_bytes(Encoding.DER)
    signature = key.sign(b"message", ec.ECDSA(hashes.SHA256()))
    here.log_entry(dict(request_of(hashlib.sha256(b"message").digest(), signature, given)))


def test_all_is_well(gitchain: Gitchain) -> None:
    """What is in the log under my name is here; a second look reads nothing, a third what is new."""
    done = gitchain("monitor", "--json")
    assert (done.code, done.codes) == (ExitCode.OK, [])
    (log,) = done.json["logs"]
    assert log["size"] == log["read"] == log["next"] > 1
    assert gitchain("monitor", "--json").json["logs"][0]["read"] == 0
    Path("model.txt").write_text("model 2")
    assert gitchain("attest", "train", "-p", "model.txt").code == 0
    done = gitchain("monitor")
    assert done.code == ExitCode.OK
    assert "1 read" in done.out
    assert "all is well" in done.out


def test_somebody_signs_as_me(gitchain: Gitchain) -> None:
    """An entry under my name that no attestation here explains: told once, with its place; another's is none of mine."""
    assert gitchain("monitor").code == ExitCode.OK
    log_entry("bob@example.com")
    assert gitchain("monitor", "--json").codes == []
    log_entry(ADA)
    done = gitchain("monitor", "--json")
    assert (done.code, done.codes) == (ExitCode.FAILED, ["GC-M04"])
    assert ADA in done.json["alerts"][0]["got"]
    assert (
        "look for it in other clones and on other machines on which you sign"
        in done.json["alerts"][0]["help"]
    )
    assert done.json["alerts"][0]["index"] == instance().log.size() - 1
    assert gitchain("monitor").code == ExitCode.OK


def test_whom_to_look_for_can_be_said(gitchain: Gitchain) -> None:
    """Another identity than the store's signers; half of one is a usage error."""
    issuer = instance().issuer
    log_entry("bob@example.com")
    done = gitchain("monitor", "--json", "--identity", "bob@example.com", "--issuer", issuer)
    assert done.codes == ["GC-M04"]
    assert gitchain("monitor", "--identity", ADA).code == ExitCode.USAGE


def test_a_certificate_that_nobody_issued_is_a_warning(gitchain: Gitchain) -> None:
    """Rekor takes any certificate: one that only says my name is told, and is no misbehaviour of the log."""
    here, key = instance(), ec.generate_private_key(ec.SECP256R1())
    asked = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    real = here.issue(here.token(ADA), asked)
    name = x509.Name([])
    builder = x509.CertificateBuilder(
        name, name, key.public_key(), 1, real.not_valid_before_utc, real.not_valid_after_utc
    )
    for extension in real.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    forged = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(Encoding.DER)
    verifier = {
        "keyDetails": "PKIX_ECDSA_P256_SHA_256",
        "x509Certificate": {"rawBytes": base64.b64encode(forged).decode()},
    }
    body = {
        "apiVersion": "0.0.2",
        "kind": "hashedrekord",
        "spec": {"hashedRekordV002": {"signature": {"verifier": verifier}}},
    }
    here.log.append([json.dumps(body).encode()])
    done = gitchain("monitor", "--json")
    assert (done.code, done.codes) == (ExitCode.OK, ["GC-M11"])


def test_a_planted_bundle_hides_nothing(gitchain: Gitchain, git_repo: Path) -> None:
    """A bundle in the store that carries somebody's entry and does not verify is no explanation of it."""
    log_entry(ADA)
    index = instance().log.size() - 1
    from gitchain.evidence.tile import WIDTH, TileId, decode_entries, tile_width
    from gitchain.store.git_ref import AttestationStore

    store = AttestationStore.open(git_repo)
    honest = json.loads(next(iter(store.all())))
    size = index + 1
    tile = TileId(None, index // WIDTH, tile_width(None, index // WIDTH, size))
    body = decode_entries(instance().log.tile(tile) or b"", tile.width)[index % WIDTH]
    (entry,) = honest["verificationMaterial"]["tlogEntries"]
    entry["canonicalizedBody"] = base64.b64encode(body).decode()
    store.add([json.dumps(honest).encode()])
    assert sorted(gitchain("monitor", "--json").codes) == ["GC-M04", "GC-M05"]


def test_a_log_that_is_put_back_is_noticed(gitchain: Gitchain, tmp_path: Path) -> None:
    """The instance's directory restored from a backup: shorter than remembered, and shorter than attestations say."""
    shutil.copytree(local_directory() / "log", tmp_path / "backup")
    Path("model.txt").write_text("model 2")
    assert gitchain("attest", "train", "-p", "model.txt").code == 0
    assert gitchain("monitor").code == ExitCode.OK
    shutil.rmtree(local_directory() / "log")
    shutil.copytree(tmp_path / "backup", local_directory() / "log")
    done = gitchain("monitor", "--json")
    assert done.code == ExitCode.FAILED
    assert done.codes[0] == "GC-M03"
    assert gitchain("monitor").code == ExitCode.FAILED


def test_another_place_is_compared(gitchain: Gitchain) -> None:
    """A mirror with the same checkpoint is quiet; one that shows another is a split or another log's."""
    host = instance().origin
    text = instance().log.checkpoint().encode()
    with served(lambda _path, _body: (200, text)) as url:
        assert gitchain("monitor", "--json", "--also", f"{host}={url}/x").codes == []
    with served(lambda _path, _body: (200, TestLog([b"x"]).checkpoint().encode())) as url:
        assert gitchain("monitor", "--json", "--also", f"{host}={url}/x").codes == ["GC-M08"]
    assert gitchain("monitor", "--also", "nonsense").code == ExitCode.USAGE
    assert gitchain("monitor", "--log", "no.such.log").code == ExitCode.USAGE


def test_a_log_over_http(gitchain: Gitchain) -> None:
    """The same log read from its server, as any other Rekor v2 log is."""
    from gitchain.evidence.tile import parse_path

    def answers(path: str, _body: bytes) -> tuple[int, bytes]:
        name = path.removeprefix("/api/v2/")
        found = (
            instance().log.checkpoint().encode()
            if name == "checkpoint"
            else instance().log.tile(parse_path(name))
        )
        return (404, b"") if found is None else (200, found)

    with served(answers) as url:
        done = gitchain("monitor", "--json", "--url", f"{instance().origin}={url}")
        assert (done.code, done.codes) == (ExitCode.OK, [])
        assert done.json["logs"][0]["read"] > 1
    done = gitchain("monitor", "--json", "--url", f"{instance().origin}=http://127.0.0.1:1")
    assert (done.code, done.codes) == (ExitCode.UNAVAILABLE, ["GC-M08"])
    assert gitchain("monitor", "--url", f"{instance().origin}=http://example.com").code == ExitCode.USAGE


def test_people_are_told(gitchain: Gitchain) -> None:
    """Alerts go to the webhook as the document; while it cannot be told nothing is forgotten; no alert is no call."""
    told: list[Any] = []

    def answers(_path: str, body: bytes) -> tuple[int, bytes]:
        told.append(json.loads(body))
        return 200, b""

    with served(answers) as url:
        assert gitchain("monitor", "--webhook", url).code == ExitCode.OK
        assert told == []
        log_entry(ADA)
        assert gitchain("monitor", "--webhook", "http://127.0.0.1:1").code == ExitCode.UNAVAILABLE
        assert gitchain("monitor", "--webhook", url).code == ExitCode.FAILED
    assert [one["code"] for one in told[0]["alerts"]] == ["GC-M04"]
    Draft202012Validator(SCHEMA).validate(told[0])
    assert gitchain("monitor", "--webhook", "http://example.com").code == ExitCode.USAGE


def test_without_a_repository(gitchain: Gitchain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trust alone says which logs there are; who I am then has to be said, or nobody is looked for."""
    outside = tmp_path / "outside"
    outside.mkdir()
    monkeypatch.chdir(outside)
    assert gitchain("monitor", "--trust", "local").code == ExitCode.OK
    assert gitchain("monitor").code == ExitCode.USAGE
    assert gitchain("monitor", "--offline", "--trust", "local").code == ExitCode.USAGE


def test_again_and_again(gitchain: Gitchain) -> None:
    """--follow looks until it is stopped, and an interrupt is an interrupt."""
    import os
    import signal
    import sys

    assert gitchain("monitor").code == ExitCode.OK
    process = subprocess.Popen(
        [sys.executable, "-m", "gitchain", "monitor", "--follow", "1"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ,
    )
    assert process.stdout
    seen = [process.stdout.readline() for _ in range(4)]
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == ExitCode.INTERRUPTED
    assert sum(line.startswith("log ") for line in seen) == 2


def test_a_root_that_changed_is_told(gitchain: Gitchain, tmp_path: Path) -> None:
    """Another trusted root than at the last look: once, as a warning."""
    text = json.loads(instance().trust_config())
    assert gitchain("monitor").code == ExitCode.OK
    text["trustedRoot"]["timestampAuthorities"][0]["subject"]["organization"] = "renamed"
    file = tmp_path / "trust.json"
    file.write_text(json.dumps(text))
    with served(lambda path, _body: (200, _page(path))) as url:
        host = instance().origin
        done = gitchain("monitor", "--json", "--trust", str(file), "--url", f"{host}={url}")
        assert (done.code, done.codes) == (ExitCode.OK, ["GC-M07"])
        assert gitchain("monitor", "--json", "--trust", str(file), "--url", f"{host}={url}").codes == []


def _page(path: str) -> bytes:
    from gitchain.evidence.tile import parse_path

    name = path.removeprefix("/api/v2/")
    return (
        instance().log.checkpoint().encode()
        if name == "checkpoint"
        else instance().log.tile(parse_path(name)) or b""
    )
