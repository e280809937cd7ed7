"""What can be verified: a path, a digest, a revision or a bundle file, and clear words for everything else."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from gitchain.errors import ExitCode
from gitchain.evidence.bundle import Bundle
from gitchain.evidence.statement import Statement
from gitchain.instance import Instance
from gitchain.store.git_ref import AttestationStore
from tests.support.forged_bundles import ADA, Forge, raw
from tests.support.prepared_repository import refused

Gitchain = Callable[..., Any]
ATTEST = ["attest", "train", "-m", "in.txt", "-p", "model.txt"]
DIGEST = sha256(b"model").hexdigest()


@pytest.fixture
def attested(gitchain: Gitchain, tiny: Path) -> Path:
    assert gitchain(*ATTEST, cwd=tiny).code == 0
    return tiny


@pytest.fixture
def bundle(attested: Path, git: Callable[..., str], tmp_path: Path) -> Path:
    """Return the training evidence as a file outside the repository."""
    ref = "refs/gitchain/attestations"
    names = git(
        attested,
        "ls-tree",
        "-r",
        "--name-only",
        f"{ref}:by-subject/sha256/{DIGEST[:2]}/{DIGEST[2:4]}/{DIGEST[4:]}",
    )
    raw = git(
        attested,
        "cat-file",
        "blob",
        f"{ref}:by-subject/sha256/{DIGEST[:2]}/{DIGEST[2:4]}/{DIGEST[4:]}/{names.splitlines()[0]}",
    )
    path = tmp_path / "train.sigstore.json"
    path.write_text(raw, encoding="utf-8")
    return path


def test_a_path_and_its_digest_verify(gitchain: Gitchain, attested: Path) -> None:
    """The same model by name and by content."""
    for target in ("model.txt", f"sha256:{DIGEST}"):
        assert gitchain("verify", target, cwd=attested).code == ExitCode.OK


def test_a_copy_elsewhere_verifies_by_content(gitchain: Gitchain, attested: Path, tmp_path: Path) -> None:
    """A model that was carried to another directory is judged by its bytes."""
    (tmp_path / "served.bin").write_bytes(b"model")
    assert gitchain("verify", str(tmp_path / "served.bin"), cwd=attested).code == ExitCode.OK
    (tmp_path / "served.bin").write_bytes(b"mode1")
    assert gitchain("verify", str(tmp_path / "served.bin"), cwd=attested).code == ExitCode.NOTHING


def test_a_bundle_brings_its_own_evidence(
    gitchain: Gitchain, attested: Path, bundle: Path, git: Callable[..., str]
) -> None:
    """A bundle that the repository does not hold is a source like any other: it counts by its signature."""
    git(attested, "update-ref", "-d", "refs/gitchain/attestations")
    assert gitchain("verify", str(bundle), cwd=attested).code == ExitCode.TRUST  # what was there is missed
    assert gitchain("trust", "forget-history", "--yes", cwd=attested).code == ExitCode.OK
    assert gitchain("verify", "model.txt", cwd=attested).code == ExitCode.NOTHING
    assert gitchain("verify", str(bundle), cwd=attested).code == ExitCode.OK


def test_an_altered_bundle_does_not_count(
    gitchain: Gitchain, attested: Path, bundle: Path, git: Callable[..., str]
) -> None:
    """A source is only a place to look."""
    git(attested, "update-ref", "-d", "refs/gitchain/attestations")
    assert gitchain("verify", str(bundle), cwd=attested).code == ExitCode.TRUST  # what was there is missed
    assert gitchain("trust", "forget-history", "--yes", cwd=attested).code == ExitCode.OK
    text = bundle.read_text(encoding="utf-8")
    at = text.index('"sig":"') + 20
    bundle.write_text(text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :], encoding="utf-8")
    done = gitchain("verify", str(bundle), cwd=attested)
    assert done.code == ExitCode.FAILED
    assert "does not verify" in done.err


Sign = Callable[..., Path]


@pytest.fixture
def sign(isolated: Path, tmp_path: Path) -> Sign:
    """Return a function that signs a statement about subjects on the embedded instance, and writes its bundle."""

    def signed(
        name: str, *subjects: dict[str, Any], edit: Callable[[dict[str, Any]], object] = bool, **more: Any
    ) -> Path:
        forge = Forge(Instance.open(isolated / "local"))
        statement = {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": list(subjects),
            "predicateType": "https://docs.pypi.org/attestations/publish/v1",
        } | more
        bundle = forge.bundle(json.dumps(statement).encode())
        edit(bundle)
        path = tmp_path / name
        path.write_bytes(raw(bundle))
        return path

    return signed


def forged(bundle: dict[str, Any]) -> None:
    """Put other bytes under the signature: the subjects are those that the attacker likes."""
    envelope = bundle["dsseEnvelope"]
    envelope["payload"] = b64encode(b64decode(envelope["payload"]) + b" ").decode()


def stranger(bundle: dict[str, Any]) -> None:
    """Name another log: one that this trust does not know."""
    bundle["verificationMaterial"]["tlogEntries"][0]["logId"]["keyId"] = b64encode(bytes(32)).decode()


def test_a_bundle_file_as_target_has_to_verify(gitchain: Gitchain, attested: Path, sign: Sign) -> None:
    """A forged bundle about a model that is known and good is no way to PASSED: neither alone, nor in a batch."""
    subject = {"name": "model.txt", "digest": {"sha256": DIGEST}}
    good = sign("good.sigstore.json", subject)
    done = gitchain("verify", str(good), cwd=attested)
    assert done.code == ExitCode.OK, done.text
    assert "the verdict is about its subject, not about a file beside it" in done.err
    assert ADA in done.err
    for name, edit, why in (
        ("forged.sigstore.json", forged, "signature does not verify"),
        ("stranger.sigstore", stranger, "log is not in the trusted root"),
    ):
        bad = sign(name, subject, edit=edit)
        done = gitchain("verify", str(bad), cwd=attested)
        assert done.code == ExitCode.FAILED, done.text
        assert "PASSED" not in done.out
        assert why in done.err
        assert str(bad) in done.err
        (attested / "batch").write_text(f"{bad}\n{good}\nmodel.txt\n")
        batch = gitchain("verify", "--batch", "batch", "--json", cwd=attested)
        assert batch.code == ExitCode.FAILED
        assert [one.get("verificationResult") for one in batch.json["results"]] == [None, "PASSED", "PASSED"]
        assert gitchain("log", str(bad), cwd=attested).code == ExitCode.FAILED
    assert gitchain("log", str(good), cwd=attested).code == ExitCode.OK


def test_a_bundle_file_of_another_tool_is_a_target(gitchain: Gitchain, attested: Path, sign: Sign) -> None:
    """A subject without a name, or with a URL, is known by its digest; several subjects are several verdicts."""
    nameless = {"digest": {"sha256": DIGEST, "gitCommit": "0" * 40}}
    url = {"name": "https://x.example/y", "digest": {"sha256": DIGEST}}
    done = gitchain("verify", str(sign("two.sigstore.json", nameless, url)), cwd=attested)
    assert done.code == ExitCode.OK, done.text
    assert "its 2 subjects" in done.err
    other = {"name": "other.txt", "digest": {"sha256": DIGEST}}
    done = gitchain("verify", str(sign("other.sigstore.json", other)), cwd=attested)
    assert done.code == ExitCode.FAILED
    unknown = {"digest": {"sha256": "0" * 64}}
    assert (
        gitchain("verify", str(sign("x.sigstore.json", nameless, unknown)), cwd=attested).code != ExitCode.OK
    )


@pytest.mark.parametrize(
    ("digest", "code", "why"),
    [
        ({"sha512": "0" * 128}, ExitCode.NOTHING, "no sha256"),
        ({}, ExitCode.NOTHING, "no sha256"),
        ({"sha256": "ZZ"}, ExitCode.FAILED, "digest is malformed"),
    ],
)
def test_a_bundle_file_whose_subject_has_no_sha256_is_no_target(
    gitchain: Gitchain, attested: Path, sign: Sign, digest: dict[str, str], code: ExitCode, why: str
) -> None:
    """One error that names the bundle, never a pass."""
    done = gitchain(
        "verify", str(sign("x.sigstore.json", {"name": "model.txt", "digest": digest})), cwd=attested
    )
    assert (done.code, why in done.err, "x.sigstore.json" in done.err) == (code, True, True), done.text


def test_what_is_not_there_is_said_plainly(gitchain: Gitchain, attested: Path) -> None:
    """Neither a file nor a revision: a usage error that lists what a target may be."""
    done = gitchain("verify", "nosuch.json", cwd=attested)
    assert done.code == ExitCode.USAGE
    assert "no such file or revision" in done.err
    assert "^{" not in done.err


@pytest.mark.parametrize("target", ["data/big.bin", "data/model", "data/model/weights.bin", "out.bin"])
def test_verify_says_how_to_fetch_what_dvc_tracks(gitchain: Gitchain, attested: Path, target: str) -> None:
    """A file that a .dvc file or a dvc.lock names, or one in a directory that they name, is pulled with DVC."""
    (attested / "data").mkdir()
    for name in ("big.bin", "model"):
        (attested / f"data/{name}.dvc").write_text(
            f"outs:\n- md5: {'a' * 32}\n  size: 1\n  hash: md5\n  path: {name}\n"
        )
    (attested / "dvc.lock").write_text(
        "schema: '2.0'\nstages:\n  train:\n    cmd: x\n    outs:\n"
        f"    - {{path: out.bin, hash: md5, md5: {'a' * 32}, size: 1}}\n"
    )
    done = gitchain("verify", target, cwd=attested)
    refused(done, ExitCode.USAGE, "tracked by DVC and not in the work tree", f"dvc pull {target}")
    refused(gitchain("verify", "data/other", cwd=attested), ExitCode.USAGE, "no such file or revision")
    refused(gitchain("verify", "../out.bin", cwd=attested), ExitCode.USAGE, "no such file or revision")
    (attested / "dvc.lock").write_text("]")
    refused(gitchain("verify", target, cwd=attested), ExitCode.USAGE, "no such file or revision")


@pytest.mark.parametrize("content", ["", "{}", "[]", "\x00", '{"mediaType":"x"}'])
def test_a_bundle_that_is_none(gitchain: Gitchain, attested: Path, tmp_path: Path, content: str) -> None:
    """One clear error, and never a pass."""
    path = tmp_path / "x.sigstore.json"
    path.write_text(content, encoding="utf-8")
    done = gitchain("verify", str(path), cwd=attested)
    assert done.code == ExitCode.FAILED
    assert "error" in done.err
    assert "bug" not in done.err


def test_a_target_outside_of_the_repository_is_named(
    gitchain: Gitchain, attested: Path, tmp_path: Path
) -> None:
    """The path that was given stands in the text and in the JSON, for a verdict of either kind."""
    outside = tmp_path / "elsewhere.bin"
    outside.write_bytes((attested / "model.txt").read_bytes())
    assert str(outside) in gitchain("verify", str(outside), cwd=attested).out
    assert gitchain("verify", str(outside), "--json", cwd=attested).json["resource"]["name"] == str(outside)
    outside.write_text("something else")
    unknown = gitchain("verify", str(outside), "--explain", cwd=attested)
    assert unknown.code == 3
    assert f"no attestation found for {outside}" in unknown.text
    relative = gitchain("verify", "../elsewhere.bin", "--json", cwd=attested)
    assert relative.json["resource"]["name"].endswith("elsewhere.bin")


def test_evidence_for_a_step_that_the_layout_lacks_is_named(gitchain: Gitchain, attested: Path) -> None:
    """An attestation that is there is never told as none: the step, the layout and the help are named; exit code 1."""
    (attested / "second.txt").write_text("second")
    assert gitchain("attest", "second", "-p", "second.txt", cwd=attested).code == 0
    done = gitchain("verify", "second.txt", "--explain", cwd=attested)
    assert done.code == 1
    assert "step second, which layout tiny does not have" in done.text
    assert "no attestation" not in done.text
    assert "0 that do not count" not in done.text


def test_evidence_that_does_not_verify_is_named(
    gitchain: Gitchain, attested: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attestation by another instance is named with the reason why it does not verify."""
    (attested / "third.txt").write_text("third")
    with monkeypatch.context() as patch:
        patch.setenv("GITCHAIN_HOME", str(tmp_path / "other"))
        assert gitchain("init", "--local", "--force", "--no-hooks", cwd=attested).code == 0
        assert gitchain("attest", "train", "-m", "in.txt", "-p", "third.txt", cwd=attested).code == 0
    done = gitchain("verify", "third.txt", cwd=attested)
    assert done.code == 3
    assert "of step train names third.txt, but does not verify:" in done.text
    assert "no attestation" not in done.text


@pytest.fixture
def confused(attested: Path, tmp_path: Path) -> str:
    """Return a path that opens another file than the one that it names once `..` is taken away as text."""
    (tmp_path / "other" / "sub").mkdir(parents=True)
    (tmp_path / "other" / "model.txt").write_text("EVIL")
    (attested / "current").symlink_to(tmp_path / "other" / "sub")
    assert (attested / "current/../model.txt").read_text() == "EVIL"
    return "current/../model.txt"


@pytest.mark.parametrize("command", ["verify", "fetch", "attest", "run"])
def test_path_through_a_link_is_the_file_that_it_opens(
    gitchain: Gitchain, attested: Path, confused: str, tmp_path: Path, command: str
) -> None:
    """`link/../model` is what the kernel opens, not the attested model beside the link."""
    arguments = {
        "verify": ["verify", confused],
        "fetch": ["fetch", confused, str(tmp_path / "out")],
        "attest": ["attest", "train", "-m", "in.txt", "-p", confused],
        "run": ["run", "train", "-p", confused, "--", "true"],
    }[command]
    done = gitchain(*arguments, cwd=attested)
    assert done.code != ExitCode.OK, done.text
    assert not (tmp_path / "out").exists() or not any((tmp_path / "out").iterdir())
    if command in {"attest", "run"}:
        assert "outside the repository" in done.err


@pytest.mark.parametrize("require", ["open", "narrowed", "closed"])
def test_guard_opens_what_it_verified(
    process: Gitchain, attested: Path, confused: str, tmp_path: Path, require: str
) -> None:
    """No command starts on the other file, and a command gets the path that was hashed, without links and `..`."""
    done = process("guard", confused, "--require", require, "--", "cat", "{}", cwd=attested)
    assert (done.code, "EVIL" in done.out) == (ExitCode.RUN, False)
    inside = attested / "a" / "b"
    inside.mkdir(parents=True)
    (attested / "back").symlink_to("a/b")
    done = process("guard", "back/../../model.txt", "--", "echo", "{}", cwd=attested)
    assert (done.code, done.out) == (0, f"{attested}/model.txt\n"), done.err


def test_a_link_back_into_the_repository_is_followed(
    gitchain: Gitchain, attested: Path, tmp_path: Path
) -> None:
    """The name is that of the file which is opened, so it is served as such."""
    (tmp_path / "link").symlink_to(attested)
    done = gitchain("verify", f"{tmp_path}/link/model.txt", cwd=attested)
    assert (done.code, "PASSED  model.txt " in done.out) == (ExitCode.OK, True), done.text


def test_evidence_without_names_is_named_with_the_reason(
    gitchain: Gitchain, attested: Path, sign: Sign, tmp_path: Path
) -> None:
    """A container tool's signature verifies and cannot be evidence in a chain: it is not said to be a bad signature."""
    (tmp_path / "evidence").mkdir()
    (attested / "other.txt").write_text("other")
    digest = sha256(b"other").hexdigest()
    cosign = sign(
        "evidence/c.sigstore.json", {"digest": {"sha256": digest}}, predicateType="https://x.example/sign/v1"
    )
    done = gitchain("verify", "--evidence", str(tmp_path / "evidence"), "other.txt", "--json", cwd=attested)
    assert done.code == ExitCode.NOTHING
    (refused,) = done.json["refused"]
    assert refused["id"] == Bundle.parse(cosign.read_bytes()).attestation_id
    assert f"not counted: attestation {refused['id'][:12]}: artifact has neither name nor uri" in done.err
    assert "does not verify" not in done.err


@pytest.mark.parametrize("count", [4, 40])
def test_bundle_of_many_subjects_is_parsed_a_few_times(
    gitchain: Gitchain, tiny: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """Each subject is a target, and fails: a stranger's statement of thousands must not cost thousands of readings."""
    names = [f"{number}.bin" for number in range(count)]
    for name in names:
        (tiny / name).write_text(name)
    products = [word for name in names for word in ("-p", name)]
    made = gitchain("attest", "big", *products, "--as", "eve@example.com", "--json", cwd=tiny)
    (row,) = made.json["attested"]
    bundles = {Bundle.parse(raw).attestation_id: raw for raw in AttestationStore.open(tiny).all()}
    (tiny / "big.sigstore.json").write_bytes(bundles[row["id"]])
    parsed = 0
    statement = Bundle.statement

    def counted(bundle: Bundle) -> Statement:
        nonlocal parsed
        parsed += 1
        return statement(bundle)

    monkeypatch.setattr(Bundle, "statement", counted)
    assert gitchain("verify", "big.sigstore.json", cwd=tiny).code == ExitCode.FAILED
    assert parsed < 15
