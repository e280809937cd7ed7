"""Evidence from elsewhere: a mirrored ref, a registry, a directory; outside of the repository it came from."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gitchain.errors import ExitCode
from tests.support.oci_registry import SmallRegistry, real_registry, small_registry

Gitchain = Callable[..., Any]
LAYOUT = ".gitchain/layout.sigstore.json"


@pytest.fixture
def model(gitchain: Gitchain, tiny: Path, tmp_path: Path) -> Path:
    """Return a directory outside of any repository with a model and its layout, attested in `tiny`."""
    assert gitchain("attest", "train", "-m", "in.txt", "-p", "model.txt", cwd=tiny).code == 0
    away = tmp_path / "away"
    away.mkdir()
    shutil.copy(tiny / "model.txt", away)
    shutil.copy(tiny / LAYOUT, away / "layout.sigstore.json")
    return away


@pytest.fixture
def verify(gitchain: Gitchain, tiny: Path, model: Path) -> Gitchain:
    """Return a function that verifies outside of the repository, with a pin for the layout."""
    issuer = gitchain("local", "status", "--json", cwd=tiny).json["issuer"]

    def call(*args: str) -> Any:
        layout = ["--layout", "layout.sigstore.json", "--signer", "ada@example.com", "--issuer", issuer]
        return gitchain("verify", *layout, "--trust", "local", *args, cwd=model)

    return call


@pytest.fixture(params=["real", "referrers", "tags"])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Yield a registry's host: the reference implementation, and one with and one without the referrers API."""
    if request.param == "real":
        with real_registry(tmp_path) as found:
            yield found
    else:
        with small_registry(referrers=request.param == "referrers") as server:
            yield server.host


@pytest.fixture
def server() -> Iterator[SmallRegistry]:
    with small_registry() as found:
        yield found


def test_without_the_evidence_nothing_is_known(verify: Gitchain) -> None:
    assert verify("model.txt").code == ExitCode.NOTHING


def test_a_directory_is_enough(gitchain: Gitchain, tiny: Path, verify: Gitchain, tmp_path: Path) -> None:
    """What `bundle push` exported verifies without the repository, and pushing again writes nothing."""
    to = str(tmp_path / "evidence")
    assert gitchain("bundle", "push", "--json", to, cwd=tiny).json["written"] > 0
    done = verify("model.txt", "--evidence", to)
    assert (done.code, "Pass --checkpoint to detect removed attestations." in done.err) == (0, True)
    assert gitchain("bundle", "push", "--json", to, cwd=tiny).json["written"] == 0


def test_a_registry_is_enough(gitchain: Gitchain, tiny: Path, verify: Gitchain, host: str) -> None:
    """Bundles beside a tag that was made for them; a second push adds nothing; a new attestation is found."""
    place = f"oci://{host}/team/evidence:models"
    first = gitchain("bundle", "push", "--json", place, cwd=tiny).json
    assert first["written"] >= first["bundles"] > 0
    assert "@sha256:" in first["to"]
    assert verify("model.txt", "--evidence", place).code == 0
    assert gitchain("bundle", "push", "--json", place, cwd=tiny).json["written"] == 0
    gitchain("attest", "train", "-m", "in.txt", "-p", "model.txt", cwd=tiny)
    (tiny / "model.txt").write_text("another")
    gitchain("attest", "train", "-m", "in.txt", "-p", "model.txt", cwd=tiny)
    assert gitchain("bundle", "push", "--json", place, cwd=tiny).json["written"] >= 1
    assert verify("model.txt", "--evidence", place).code == 0


def test_an_artifact_in_a_registry_is_its_manifest(
    gitchain: Gitchain, tiny: Path, verify: Gitchain, server: SmallRegistry
) -> None:
    """`oci://…@sha256:…` is the manifest that a cluster pins; a tag is resolved once, and that is told."""
    manifest = json.dumps({"schemaVersion": 2, "config": {}, "layers": []}).encode()
    (tiny / "model.txt").write_bytes(manifest)
    assert gitchain("attest", "train", "-m", "in.txt", "-p", "model.txt", cwd=tiny).code == 0
    pinned = f"oci://{server.host}/team/model@sha256:{server.put(manifest, 'v1')}"
    assert verify(pinned).code == ExitCode.NOTHING
    assert gitchain("bundle", "push", pinned, cwd=tiny).code == 0
    assert verify(pinned).code == 0
    by_tag = verify(f"oci://{server.host}/team/model:v1")
    assert (by_tag.code, f"is {pinned} now" in by_tag.err) == (0, True)
    assert verify("--offline", f"oci://{server.host}/team/model:v1").code == ExitCode.UNAVAILABLE


def test_a_mirrored_ref_is_enough_and_must_not_shrink(
    gitchain: Gitchain, tiny: Path, verify: Gitchain, git: Callable[..., str]
) -> None:
    """git+file:// is fetched; when it is rewound, emptied or replaced the answer is 4, again and again."""
    ref = "refs/gitchain/attestations"
    place = f"git+file://{tiny}"
    first = git(tiny, "rev-parse", ref)
    assert verify("model.txt", "--evidence", place).code == 0
    (tiny / "in.txt").write_text("more")
    gitchain("attest", "train", "-m", "in.txt", "-p", "model.txt", cwd=tiny)
    assert verify("model.txt", "--evidence", place).code == 0
    whole = git(tiny, "rev-parse", ref)
    git(tiny, "update-ref", ref, first)
    for _ in range(2):
        done = verify("model.txt", "--evidence", place)
        assert (done.code, place in done.err) == (ExitCode.TRUST, True)
    git(tiny, "update-ref", "-d", ref)
    assert verify("model.txt", "--evidence", place).code == ExitCode.TRUST
    git(tiny, "update-ref", ref, whole)
    assert verify("model.txt", "--evidence", place).code == 0
    shutil.rmtree(tiny / ".git" / "refs" / "gitchain")
    subprocess.run(["git", "-C", str(tiny), "pack-refs", "--all"], check=True)
    assert verify("--offline", "model.txt", "--evidence", place).code == 0


def test_a_mirror_whose_first_fetch_failed_is_no_evidence(
    tiny: Path, verify: Gitchain, tmp_path: Path
) -> None:
    """Offline it could lack a revocation, so that it is refused until a fetch was completed, also of an empty remote."""
    place = f"git+file://{tmp_path / 'later'}"
    assert verify("model.txt", "--evidence", place).code == ExitCode.UNAVAILABLE
    done = verify("--offline", "model.txt", "--evidence", place)
    assert (done.code, "never fetched" in done.err) == (ExitCode.UNAVAILABLE, True)
    subprocess.run(["git", "init", "-q", "--bare", str(tmp_path / "later")], check=True)
    assert verify("model.txt", "--evidence", place).code == ExitCode.NOTHING
    assert verify("--offline", "model.txt", "--evidence", place).code == ExitCode.NOTHING


@pytest.mark.parametrize(
    ("place", "code"),
    [
        ("nowhere", ExitCode.USAGE),
        ("git+file://relative", ExitCode.USAGE),
        ("git+ssh://git@example.com/a.git", ExitCode.USAGE),
        ("git+http://example.com/a.git", ExitCode.USAGE),
        ("git+https://user:secret@example.com/a.git", ExitCode.USAGE),
        ("git+file:///nowhere/at/all", ExitCode.UNAVAILABLE),
        ("ftp://example.com/", ExitCode.USAGE),
        ("oci://example.com/name", ExitCode.USAGE),
        ("oci://example.com/UPPER:tag", ExitCode.USAGE),
        ("oci://example.com/name@sha512:" + "0" * 128, ExitCode.USAGE),
        ("oci://127.0.0.1:1/name:tag", ExitCode.UNAVAILABLE),
    ],
)
def test_what_is_no_source_is_one_clear_error(verify: Gitchain, place: str, code: ExitCode) -> None:
    """Never an empty source, never a traceback."""
    done = verify("model.txt", "--evidence", place)
    assert (done.code, done.err.count("error:")) == (code, 1)


def test_a_source_cannot_make_what_is_not_signed_count(
    gitchain: Gitchain, tiny: Path, verify: Gitchain, tmp_path: Path
) -> None:
    """A spoilt bundle among good ones is told and does not count; a wrong manifest node is passed over."""
    place = tmp_path / "evidence"
    gitchain("bundle", "push", str(place), cwd=tiny)
    for path in place.glob("*.sigstore.json"):
        path.write_bytes(path.read_bytes().replace(b'"sig":"', b'"sig":"AAAA'))
    (place / "x.manifest.json").write_bytes(b"{}")
    done = verify("model.txt", "--evidence", str(place))
    assert (done.code, "not counted" in done.err) == (ExitCode.NOTHING, True)


def without_name(statement: dict[str, Any]) -> None:
    del statement["subject"][0]["name"]


UNREADABLE: dict[str, Callable[[dict[str, Any]], object]] = {
    "a type of gitchain in version 0.1": lambda one: one.update(
        _type="https://in-toto.io/Statement/v0.1", predicateType="https://gitchain.dev/predicate/dataset/v0.1"
    ),
    "a subject without a name": without_name,
    "a URL as name": lambda one: one["subject"][0].update(name="https://org.example/model.txt"),
    "malformed step facts": lambda one: one["predicate"].update(gitchain_step={"name": ""}),
}
"""Statements about the model that cannot be evidence, by what is wrong with them."""


@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_statement_that_cannot_be_read_is_named(
    gitchain: Gitchain, tiny: Path, verify: Gitchain, tmp_path: Path, kind: str
) -> None:
    """Verify does not say that there is no attestation of the model: it names the one that it cannot read, and why."""
    place = tmp_path / "evidence"
    gitchain("bundle", "push", str(place), cwd=tiny)
    for path in place.glob("*.sigstore.json"):
        bundle = json.loads(path.read_bytes())
        statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
        UNREADABLE[kind](statement)
        bundle["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
        path.write_text(json.dumps(bundle))
    done = verify("model.txt", "--evidence", str(place))
    assert done.code == ExitCode.NOTHING
    assert "names model.txt, but cannot be read as evidence: " in done.out, done.text
    assert "no attestation found" not in done.out
