"""README.txt of an archive: its commands, typed on the members of a real archive, without gitchain."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.archives import bundles_of, parts_of

Gitchain = Callable[..., Any]


@pytest.fixture
def unpacked(gitchain: Gitchain, tiny: Path, tmp_path: Path) -> Path:
    """Return the members of an archive, as tar unpacks them, and its digests in `expected`."""
    for number in range(5):  # so that the path to the root has several hashes
        (tiny / "model.txt").write_text(f"model {number}")
        assert gitchain("attest", "train", "-m", "in.txt", "-p", "model.txt", cwd=tiny).code == 0
    (tmp_path / "members").mkdir()
    made = gitchain("archive", "model.txt", "--json", "-o", "../model.tar", cwd=tiny)
    assert made.code == 0, made.text
    subprocess.run(["tar", "-xf", tmp_path / "model.tar", "-C", tmp_path / "members"], check=True)
    (tmp_path / "expected").write_text(made.json["trustDigest"])
    return tmp_path / "members"


def typed(members: Path) -> subprocess.CompletedProcess[str]:
    """Type every command of the page in a POSIX shell, which stops at the first that fails."""
    page = (members / "README.txt").read_text()
    commands = "\n".join(line[4:] for line in page.splitlines() if line.startswith("    "))
    assert commands.count("openssl") > 10
    return subprocess.run(
        ["sh", "-eu"], input=commands, cwd=members, capture_output=True, text=True, check=False
    )


def test_the_commands_of_the_page_verify_an_attestation(unpacked: Path, tmp_path: Path) -> None:
    """Digests, signature, certificate, time, inclusion and checkpoint; and the digest of the trusted root."""
    done = typed(unpacked)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (done.stdout + done.stderr).splitlines()
    for expected in (
        "Verified OK",
        "Verification: OK",
        "true",
        "Root: OK",
        "Signature Verified Successfully",
    ):
        assert expected in lines
    assert any(line.endswith("cert.pem: OK") for line in lines)
    assert lines[0].split()[0] == (tmp_path / "expected").read_text()
    assert "email:ada@example.com" in done.stdout


@pytest.mark.parametrize("field", ["tlogEntries", "timestampVerificationData", "certificate"])
def test_the_commands_of_the_page_notice_another_signature(unpacked: Path, field: str) -> None:
    """Log entry, timestamp or certificate of another attestation of the same signer, valid in itself: the commands stop."""
    page = (unpacked / "README.txt").read_text()
    name = next(line.strip()[2:] for line in page.splitlines() if line.startswith("    B="))
    other = next(
        path for path in sorted(unpacked.glob("evidence/*.sigstore.json")) if path != unpacked / name
    )
    bundle, foreign = json.loads((unpacked / name).read_text()), json.loads(other.read_text())
    bundle["verificationMaterial"][field] = foreign["verificationMaterial"][field]
    replace_member(unpacked, name, json.dumps(bundle))
    done = typed(unpacked)
    assert done.returncode != 0
    assert ".json: FAILED" not in done.stdout


def replace_member(members: Path, name: str, data: str) -> None:
    """Write a member, with its digest in the manifest corrected."""
    (members / name).write_text(data)
    manifest = json.loads((members / "archive.json").read_text())
    for member in manifest["members"]:
        if member["name"] == name:
            member["sha256"] = hashlib.sha256(data.encode()).hexdigest()
    (members / "archive.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    "field", ["sig", "rawBytes", "signedTimestamp", "canonicalizedBody", "hashes", "envelope"]
)
def test_the_commands_of_the_page_notice_a_change(unpacked: Path, field: str) -> None:
    """One character of a field of the bundle, with its digest in the manifest corrected: the commands stop."""
    page = (unpacked / "README.txt").read_text()
    name = next(line.strip()[2:] for line in page.splitlines() if line.startswith("    B="))
    data = (unpacked / name).read_text()
    at = data.index(f'"{field}"') + len(field) + 60
    data = data[:at] + ("A" if data[at] != "A" else "B") + data[at + 1 :]
    replace_member(unpacked, name, data)
    done = typed(unpacked)
    assert done.returncode != 0
    assert ".json: FAILED" not in done.stdout  # the digests are right


def test_the_page_names_the_chain(unpacked: Path, tmp_path: Path) -> None:
    """Step, signer and file of each attestation of the verdict; nothing but ASCII, and lines that fit a page."""
    page = (unpacked / "README.txt").read_text("ascii")
    assert "train, signed by ada@example.com at " in page
    named = {
        word for word in page.split() if word.startswith("evidence/") and word.endswith(".sigstore.json")
    }
    named -= {"evidence/*.sigstore.json"}
    assert len(named) == 1
    assert named <= set(parts_of(tmp_path / "model.tar"))
    assert len(bundles_of(tmp_path / "model.tar", "https://slsa.dev/provenance/v1")) == 5
    assert all(char.isprintable() or char == "\n" for char in page)
