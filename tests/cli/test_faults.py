"""Services that fail in every way: one clear reason, the right exit code, nothing lost, and nothing logged twice."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gitchain.evidence.digest import DigestSet
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.store.git_ref import AttestationStore
from gitchain.workspace.project import open_project
from tests.support.faulty_server import (
    CA,
    LOG,
    TSA,
    Fault,
    FaultServer,
    a_day_off,
    changed,
    drip,
    endless,
    lost,
    other_entry,
    redirect,
    reset,
    stale,
    status,
)
from tests.support.fuzzing import sized
from tests.support.private_sigstore import QUICK, Site

Gitchain = Callable[..., Any]


FAULTS: dict[str, tuple[str, Fault, str]] = {
    "log answers with another entry": (LOG, other_entry, "about another signature"),
    "log answers with a stale checkpoint": (LOG, changed(stale), "checkpoint"),
    "log says 429": (LOG, status(429, Retry_After="3600"), "HTTP 429"),
    "log says 500": (LOG, status(500, b"\0"), "HTTP 500"),
    "log says 503": (LOG, status(503, b'{"message":"pushback"}'), "pushback"),
    "log says 400": (LOG, status(400, b'{"message":"bad entry"}'), "bad entry"),
    "log says 409 without saying where": (LOG, status(409), "no index is named"),
    "log says 409 of an entry that it has not": (LOG, status(409, b'{"message":"already exists in the transparency log with index 99"}'), "no checkpoint covers it"),
    "log says 409 of another entry": (LOG, status(409, b'{"message":"already exists in the transparency log with index 0"}'), "about"),
    "log says garbage": (LOG, status(201, b"\x1f\x8b garbage"), "cannot be used"),
    "log says a list": (LOG, status(201, b"[]"), "cannot be used"),
    "log never ends": (LOG, endless, "too large"),
    "log gives a byte now and then": (LOG, drip, "cannot be reached"),
    "log sends elsewhere": (LOG, redirect, "another address"),
    "log hangs up": (LOG, reset, "cannot be reached"),
    "authority is a day off": (TSA, a_day_off, "clock"),
    "authority says 500": (TSA, status(500), "HTTP 500"),
    "authority says garbage": (TSA, status(201, b"garbage"), "cannot be used"),
    "authority says nothing": (TSA, status(201, b""), "cannot be used"),
    "authority never ends": (TSA, endless, "too large"),
    "CA says 503": (CA, status(503), "HTTP 503"),
    "CA says garbage": (CA, status(201, b"garbage"), "cannot be used"),
    "CA never ends": (CA, endless, "too large"),
    "CA gives a byte now and then": (CA, drip, "cannot be reached"),
    "CA sends elsewhere": (CA, redirect, "another address"),
    "CA refuses the token": (CA, status(401, b'{"message":"who?"}'), "who?"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_fault_keeps_the_statement(site: Site, name: str) -> None:
    """The statement waits with a reason and exit code 9; once the fault is over, sync stores it."""
    path, fault, reason = FAULTS[name]
    if name == "log answers with another entry":
        site.server.orders[path] = [other_entry]
        assert site.attest("earlier").code == 0
    before = site.stored()
    site.server.orders[path] = [fault]
    done = site.attest()
    assert done.code == 9, done.text
    assert reason in done.json["reason"], done.json["reason"]
    assert "Traceback" not in done.err
    assert (site.waiting(), site.stored()) == (1, before)
    assert site.server.sent < 32 << 20, "the answer is cut off at a limit"
    site.server.orders.clear()
    done = site.sync()
    assert (done.code, done.json["waiting"]) == (0, 0), done.text
    assert (site.waiting(), site.stored()) == (0, before + 1)


def test_run_ends_with_9_while_its_statement_waits(site: Site) -> None:
    """A command that ended with 0 is no success of `run` before its statement is logged; another code is passed on."""
    words = ("run", "made", "-p", "run.txt", "--identity-token", site.token, "--", "sh", "-c")
    site.server.orders[CA] = [status(503)]
    done = site.gitchain(*words, "echo 1 > run.txt", cwd=site.repo)
    assert done.code == 9, done.text
    assert site.waiting() == 1
    assert site.gitchain(*words, "echo 2 > run.txt; exit 3", cwd=site.repo).code == 3
    site.server.orders.clear()
    assert site.sync().code == 0
    assert site.waiting() == 0


def test_fault_without_an_outbox_is_exit_code_7(site: Site) -> None:
    """What cannot wait, such as a layout, says that the service failed."""
    layout = (
        "schema: https://gitchain.dev/layout/v1\nname: demo\nversion: 1\nexpires: '2099-01-01T00:00:00Z'\n"
        "functionaries: {ada: {identities: [{issuer: 'https://i.example', subject: ada@example.com}]}}\n"
        "steps: [{name: train, functionaries: [ada], expectedProducts: [[CREATE, m], [DISALLOW, '*']]}]\n"
        "serve: [{step: train, products: [m]}]\n"
    )
    (site.repo / ".gitchain/layout.yaml").write_text(layout)
    site.server.orders[LOG] = [status(503)]
    done = site.gitchain("layout", "sign", "--no-lint", "--identity-token", site.token, cwd=site.repo)
    assert done.code == 7, done.text
    assert "gitchain doctor" in done.err


def test_an_answer_that_was_lost_is_not_logged_twice(site: Site) -> None:
    """The log took the entry and the connection broke: the next attempt finds it there (409) and proves it by tiles."""
    site.server.orders[LOG] = [lost]
    done = site.attest()
    assert done.code == 0, done.text
    assert (site.logged(), site.stored(), site.waiting()) == (1, 1, 0)


def test_short_trouble_is_waited_out(site: Site) -> None:
    """Each service may fail twice in a row: the third attempt counts, and nothing is logged twice."""
    for path in (CA, LOG, TSA):
        site.server.orders[path] = [status(503), reset if path != LOG else status(502), None]
    assert site.attest().code == 0
    assert (site.logged(), site.stored(), site.waiting()) == (1, 1, 0)


def test_refusals_are_not_repeated(site: Site) -> None:
    """Only what another attempt can mend is tried again."""
    site.server.orders[LOG] = [status(400)]
    assert site.attest().code == 9
    assert site.server.calls.count(LOG) == 1


def test_one_certificate_for_a_batch_and_a_failure_in_its_middle(site: Site) -> None:
    """What was logged before a failure is stored: the next run signs only the rest, so that none is logged twice."""
    queue(site.repo, site.trust, 10)
    site.server.orders[LOG] = [None, None, None, None, status(400)]
    done = site.sync()
    assert (done.code, site.waiting(), site.stored()) == (9, 6, 4), done.text
    assert site.server.calls.count(CA) == 1
    site.server.orders.clear()
    assert site.sync().code == 0
    assert (site.waiting(), site.stored(), site.logged()) == (0, 10, 10)


def test_an_outage_loses_nothing_and_a_dead_service_fails_fast(site: Site) -> None:
    """Many statements wait while the log is down, which each batch learns at once; then all are logged, each once."""
    number = 300
    queue(site.repo, site.trust, number)
    site.server.orders[LOG] = [status(503)]
    done = site.sync()
    assert (done.code, site.waiting(), site.stored()) == (9, number, 0), done.text
    assert site.server.calls.count(LOG) <= QUICK.attempts, "later batches do not ask a log that just failed"
    site.server.orders.clear()
    done = site.sync()
    assert (done.code, done.json["attested"]) == (0, number), done.text
    assert (site.waiting(), site.stored(), site.logged()) == (0, number, number)


def test_an_hour_without_services(site: Site) -> None:
    """Many statements wait for a server that is not there at all, and drain completely, each logged once."""
    number = sized(120, 1000)
    queue(site.repo, site.trust, number)
    site.server.shutdown()
    site.server.server_close()
    assert site.sync().code == 9
    assert (site.waiting(), site.stored()) == (number, 0)
    with FaultServer(site.server.instance, int(site.server.url.rpartition(":")[2])):
        done = site.sync()
    assert (done.code, done.json["attested"]) == (0, number), done.text
    assert (site.waiting(), site.stored(), site.logged()) == (0, number, number)


def queue(repo: Path, trust: Path, number: int) -> None:
    """Put statements into the outbox, as a producer does whose services are down."""
    outbox = open_project(repo).outbox
    for index in range(number):
        subject = ResourceDescriptor(f"file-{index}", DigestSet({"sha256": f"{index:064x}"}))
        statement = Statement.build((subject,), "https://example.com/predicate", {"number": index})
        outbox.put(statement.payload, meta={"trust": str(trust)})


def test_key_signs_without_oidc(site: Site, tmp_path: Path) -> None:
    """With --key nobody asks for a token; the configuration may name the key, relative to the repository."""
    key = tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", str(key)], check=True
    )
    local = site.gitchain(
        "--trust", "local", "init", "--force", "--no-hooks", "--name", "demo", cwd=site.repo
    )
    assert local.code == 0, local.text
    (site.repo / "model.bin").write_text("m")
    done = site.gitchain("attest", "train", "-p", "model.bin", "--key", str(key), cwd=site.repo)
    assert done.code == 0, done.text
    (site.repo / "key.pem").write_bytes(key.read_bytes())
    config = site.repo / ".gitchain/config.toml"
    config.write_text(config.read_text() + 'key = "key.pem"\n')
    (site.repo / "sub").mkdir()
    done = site.gitchain("attest", "other", "-p", "../model.bin", cwd=site.repo / "sub")
    assert done.code == 0, done.text
    store = AttestationStore.open(site.repo)
    kinds = [json.loads(store.get(name) or b"")["verificationMaterial"].keys() for name in store.names()]
    assert len(kinds) == 2
    assert all("publicKey" in kind for kind in kinds)


def test_key_that_is_none_is_refused_before_anything_is_kept(site: Site) -> None:
    """A typing mistake in --key is told at once: nothing waits for a key that never comes."""
    (site.repo / "model.bin").write_text("m")
    done = site.gitchain("attest", "train", "-p", "model.bin", "--key", "nowhere.pem", cwd=site.repo)
    assert done.code == 2
    assert "nowhere.pem" in done.err
    assert site.waiting() == 0
    both = ("--key", "a", "--identity-token", "b")
    assert site.gitchain("attest", "train", "-p", "model.bin", *both, cwd=site.repo).code == 2


def test_passphrase_that_is_missing_keeps_the_statement(site: Site, tmp_path: Path) -> None:
    """An encrypted key without its passphrase: the statement waits, and is signed once the variable is set."""
    key = tmp_path / "key.pem"
    subprocess.run(
        [
            "openssl",
            "genpkey",
            "-algorithm",
            "EC",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-aes256",
            "-pass",
            "pass:secret",
            "-out",
            str(key),
        ],
        check=True,
        capture_output=True,
    )
    assert (
        site.gitchain(
            "--trust", "local", "init", "--force", "--no-hooks", "--name", "demo", cwd=site.repo
        ).code
        == 0
    )
    (site.repo / "model.bin").write_text("m")
    done = site.gitchain("attest", "train", "-p", "model.bin", "--key", str(key), cwd=site.repo)
    assert done.code == 9, done.text
    assert "GITCHAIN_KEY_PASSPHRASE" in done.err
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GITCHAIN_KEY_PASSPHRASE", "secret")
        assert site.gitchain("sync", "--no-remote", cwd=site.repo).code == 0
    assert (site.waiting(), site.stored()) == (0, 1)
