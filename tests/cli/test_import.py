"""`gitchain import`: bundles of other tools go into the store byte for byte, all of them or none."""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest

from gitchain.errors import ExitCode
from gitchain.evidence.bundle import Bundle
from gitchain.evidence.canonical import canonical_json
from gitchain.evidence.vocabulary import LAYOUT, LINK, REVOCATION, SOURCE
from gitchain.instance import Instance
from gitchain.workspace.project import open_project
from gitchain.workspace.user_directory import local_directory
from tests.cli.test_documents import validator
from tests.cli.test_key_chain import key_pair
from tests.support.foreign_statements import (
    CYCLONEDX,
    PYPI,
    WorkflowForge,
    cosign_attest,
    cyclonedx,
    github_build,
    model_signature,
    pypi_publish,
    pytest_result,
    said,
    subject,
)
from tests.support.forged_bundles import raw
from tests.support.prepared_repository import PreparedRepository

Gitchain = Callable[..., Any]
MODEL = subject("a model", "model.txt")


def signed(payload: bytes) -> bytes:
    """Return a bundle of a workflow, as its tool writes it: JSON on one line."""
    return raw(WorkflowForge(Instance.open(local_directory())).bundle(payload))


def stored(repo: Path) -> set[bytes]:
    """Return the bundles in the store beside the signed layout."""
    return {
        one
        for one in open_project(repo).store.all()
        if Bundle.parse(one).statement().predicate_type != LAYOUT
    }


@pytest.fixture
def bundles(tiny: Path) -> list[bytes]:
    """Return four bundles that verify under the repository's trust."""
    return [
        signed(one)
        for one in (cyclonedx(MODEL), github_build(MODEL), pytest_result(MODEL), pypi_publish(MODEL))
    ]


def refused(gitchain: Gitchain, repo: Path, *args: str) -> Any:
    """Run an import that must fail with one error and store nothing, and return its result."""
    before = stored(repo)
    done = gitchain("import", *args, cwd=repo)
    assert done.code != 0
    assert done.err.count("error:") == 1, done.err
    assert "Traceback" not in done.text
    assert done.out == ""
    assert stored(repo) == before
    return done


def test_import_stores_a_bundle_byte_for_byte(gitchain: Gitchain, tiny: Path, bundles: list[bytes]) -> None:
    """With indentation as well; `log`, `show` and a second import know it."""
    pretty = json.dumps(json.loads(bundles[0]), indent=2).encode()
    (tiny / "sbom.sigstore.json").write_bytes(pretty + b"\n")
    done = gitchain("import", "sbom.sigstore.json", cwd=tiny)
    assert done.code == 0, done.text
    assert stored(tiny) == {pretty}
    assert "imported  1, already stored 0" in done.out
    for text in (
        CYCLONEDX,
        "about     model.txt",
        "build.yml@refs/heads/main",
        "from      sbom.sigstore.json",
    ):
        assert text in done.out
    again = gitchain("import", "sbom.sigstore.json", "--json", cwd=tiny)
    assert (again.json["imported"], again.json["present"], again.json["bundles"][0]["present"]) == (
        0,
        1,
        True,
    )
    name = again.json["bundles"][0]["id"]
    assert CYCLONEDX in gitchain("log", "--all", "--json", cwd=tiny).out
    assert gitchain("show", name[:12], cwd=tiny).code == 0


def test_import_document_has_a_schema(gitchain: Gitchain, tiny: Path, bundles: list[bytes]) -> None:
    """One document, also without storing."""
    (tiny / "all.jsonl").write_bytes(b"\n".join(bundles))
    for more in ((), ("--dry-run",), ()):
        done = gitchain("import", "--json", "all.jsonl", *more, cwd=tiny)
        validator("cli").validate(done.json)
        assert len(done.json["bundles"]) == 4
        assert done.json["bundles"][1]["from"] == "all.jsonl:2"


def test_import_dry_run_stores_nothing(gitchain: Gitchain, tiny: Path, bundles: list[bytes]) -> None:
    (tiny / "all.jsonl").write_bytes(b"\n".join(bundles))
    done = gitchain("import", "all.jsonl", "--dry-run", cwd=tiny)
    assert (done.code, stored(tiny)) == (0, set())
    assert "would import  4" in done.out


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_import_reads_json_lines(gitchain: Gitchain, tiny: Path, bundles: list[bytes], end: bytes) -> None:
    """One bundle a line, as `gh attestation download` writes them; the line ends are not stored; one commit."""
    (tiny / "sha256:4c54.jsonl").write_bytes(end.join(bundles) + end)
    store = open_project(tiny).store
    before = store.tip()
    assert gitchain("import", "sha256:4c54.jsonl", cwd=tiny).code == 0
    assert stored(tiny) == set(bundles)
    count = gitchain("import", "sha256:4c54.jsonl", "--json", cwd=tiny).json
    assert (count["imported"], count["present"]) == (0, 4)
    commits = store.git().run("rev-list", f"{before}..{store.ref}", accept=(0,))
    assert len(commits.stdout.splitlines()) == 1


def test_import_reads_a_directory(gitchain: Gitchain, tiny: Path, bundles: list[bytes]) -> None:
    """Files by their names; others, directories and manifest nodes are counted."""
    place = tiny / "downloads"
    place.mkdir()
    for number, one in enumerate(bundles):
        (place / f"{number}.sigstore.json").write_bytes(one)
    (place / "README.md").write_text("no bundle")
    (place / ("0" * 64 + ".manifest.json")).write_text("{}")
    (place / "inner.json").mkdir()
    done = gitchain("import", "downloads", "--json", cwd=tiny)
    assert (done.code, done.json["imported"], done.json["skipped"]) == (0, 4, 3)
    assert stored(tiny) == set(bundles)


def test_import_reads_the_attestations_of_npm(gitchain: Gitchain, tiny: Path, bundles: list[bytes]) -> None:
    """And of GitHub's API, which have the same form."""
    items = [{"predicateType": "x", "bundle": json.loads(one)} for one in bundles]
    (tiny / "npm.json").write_text(json.dumps({"attestations": items}))
    done = gitchain("import", "npm.json", cwd=tiny)
    assert done.code == 0, done.text
    assert stored(tiny) == {canonical_json(json.loads(one)) for one in bundles}


def of_pypi(bundle: bytes) -> dict[str, Any]:
    """Return the attestation object of PEP 740 with the content of a bundle."""
    value = json.loads(bundle)
    material, envelope = value["verificationMaterial"], value["dsseEnvelope"]
    return {
        "version": 1,
        "verification_material": {
            "certificate": material["certificate"]["rawBytes"],
            "transparency_entries": material["tlogEntries"],
            "timestamps": [
                one["signedTimestamp"] for one in material["timestampVerificationData"]["rfc3161Timestamps"]
            ],
        },
        "envelope": {"statement": envelope["payload"], "signature": envelope["signatures"][0]["sig"]},
    }


def test_import_reads_model_signatures(gitchain: Gitchain, tiny: Path) -> None:
    """`model.sig`, as model_signing writes it."""
    one = signed(model_signature({"a.bin": "x"}))
    (tiny / "model.sig").write_bytes(one)
    assert gitchain("import", "model.sig", cwd=tiny).code == 0
    assert stored(tiny) == {one}


def test_import_reads_provenance_of_pypi(gitchain: Gitchain, tiny: Path, bundles: list[bytes]) -> None:
    """Each attestation becomes a bundle with the same content, which verifies; one of them alone too."""
    groups = [{"publisher": {"kind": "GitHub"}, "attestations": [of_pypi(one)]} for one in bundles[2:]]
    (tiny / "provenance.json").write_text(json.dumps({"version": 1, "attestation_bundles": groups}))
    (tiny / "x.publish.attestation").write_text(json.dumps(of_pypi(bundles[3])))
    done = gitchain("import", "provenance.json", "x.publish.attestation", cwd=tiny)
    assert done.code == 0, done.text
    assert stored(tiny) == {canonical_json(json.loads(one)) for one in bundles[2:]}
    assert PYPI in done.out


def test_import_of_pypi_without_a_time(gitchain: Gitchain, tiny: Path, bundles: list[bytes]) -> None:
    """Neither a timestamp nor a promise of the log proves when it was signed."""
    value = of_pypi(bundles[3])
    del value["verification_material"]["timestamps"]
    (tiny / "provenance.json").write_text(json.dumps({"attestation_bundles": [{"attestations": [value]}]}))
    assert "provenance.json, attestation 0" in refused(gitchain, tiny, "provenance.json").err


def test_import_refuses_what_does_not_verify(
    gitchain: Gitchain, tiny: Path, bundles: list[bytes], tmp_path: Path
) -> None:
    """One bad bundle among good ones is an error with its place; none of them is stored."""
    changed = json.loads(bundles[1])
    payload = base64.b64decode(changed["dsseEnvelope"]["payload"]).replace(b"credit", b"debit!")
    changed["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    (tiny / "all.jsonl").write_bytes(b"\n".join([bundles[0], raw(changed), bundles[2]]))
    done = refused(gitchain, tiny, "all.jsonl")
    assert (done.code, "all.jsonl:2" in done.err) == (ExitCode.FAILED, True)
    other = Instance.create(tmp_path / "other")
    (tiny / "other.json").write_bytes(raw(WorkflowForge(other).bundle(cyclonedx(MODEL))))
    done = refused(gitchain, tiny, "other.json")
    assert "--trust" in done.err
    (tmp_path / "other-trust.json").write_text(other.trust_config())
    assert gitchain("import", "other.json", "--trust", str(tmp_path / "other-trust.json"), cwd=tiny).code == 0


def test_import_of_a_bundle_that_a_key_signed(gitchain: Gitchain, tiny: Path, tmp_path: Path) -> None:
    """It verifies with the key that --key names, or that the pinned layout has, and with no other."""
    key, public = key_pair(tmp_path, "trainer")
    other = tmp_path / "other"
    shutil.copytree(tiny, other, symlinks=True)
    done = gitchain("attest", "train", "-m", "in.txt", "-p", "model.txt", "--key", str(key), cwd=other)
    assert done.code == 0, done.text
    (one,) = stored(other)
    (tiny / "one.json").write_bytes(one)
    assert "--key FILE" in refused(gitchain, tiny, "one.json").err
    assert gitchain("import", "one.json", "--key", str(public), "--dry-run", cwd=tiny).code == 0
    layout = tiny / ".gitchain/layout.yaml"
    text = layout.read_text(encoding="utf-8").replace("version: 1", "version: 2", 1)
    named = f"functionaries: {{builder: {{identities: [{{key: {json.dumps(public.read_text())}}}]}}, "
    layout.write_text(text.replace("functionaries: {", named, 1), encoding="utf-8")
    done = gitchain("layout", "sign", cwd=tiny)
    assert done.code == 0, done.text
    done = gitchain("import", "one.json", cwd=tiny)
    assert (done.code, stored(tiny)) == (0, {one}), done.text


def test_import_refuses_checkpoints_of_other_stores(gitchain: Gitchain, tiny: Path) -> None:
    """With them, this store would seem to have lost what it never had."""
    payload = json.loads(cyclonedx(MODEL))
    payload["predicateType"] = "https://gitchain.dev/predicate/checkpoint/v0.1"
    (tiny / "one.json").write_bytes(signed(json.dumps(payload).encode()))
    assert "gitchain sync" in refused(gitchain, tiny, "one.json").err
    payload = json.loads(cyclonedx(MODEL))
    payload["predicate"]["gitchain_checkpoints"] = ["0" * 64]
    (tiny / "two.json").write_bytes(signed(json.dumps(payload).encode()))
    assert "gitchain sync" in refused(gitchain, tiny, "two.json").err


HOSTILE: dict[str, tuple[Callable[[list[bytes]], bytes], ExitCode, str]] = {
    "empty": (lambda _: b"", ExitCode.FAILED, "empty"),
    "white space": (lambda _: b" \r\n ", ExitCode.FAILED, "empty"),
    "no JSON": (lambda _: b"\x7fELF\0", ExitCode.FAILED, "not JSON"),
    "deep": (lambda _: b"[" * 100_000, ExitCode.LIMIT, "nested too deeply"),
    "deep object": (lambda _: b'{"a":' * 500 + b"1" + b"}" * 500, ExitCode.LIMIT, "nested too deeply"),
    "array": (lambda _: b"[]", ExitCode.FAILED, "wrong type"),
    "many values": (lambda _: b'{"a":[' + b"0," * 500_000 + b"0]}", ExitCode.LIMIT, "too many values"),
    "many lines": (lambda _: b"{}\n" * 1_000_000 + b"{}", ExitCode.LIMIT, "too much to import"),
    "many bundles": (lambda one: (one[0] + b"\n") * 10_001, ExitCode.LIMIT, "too much to import"),
    "empty line": (lambda one: one[0] + b"\n\n" + one[1], ExitCode.FAILED, "bad.json:2"),
    "truncated last line": (lambda one: one[0] + b"\n" + one[1][:-9], ExitCode.FAILED, "bad.json:2"),
    "key twice": (lambda one: b'{"mediaType":"x",' + one[0][1:], ExitCode.FAILED, "twice"),
    "key twice in a line": (lambda one: one[1] + b'\n{"dsseEnvelope":{},' + one[0][1:], ExitCode.FAILED, "bad.json:2"),
    "byte-order mark": (lambda one: b"\xef\xbb\xbf" + one[0], ExitCode.FAILED, "byte-order mark"),
    "UTF-16": (lambda one: one[0].decode().encode("utf-16"), ExitCode.FAILED, "not JSON"),
    "trailing data": (lambda one: one[0] + b"x", ExitCode.FAILED, "not JSON"),
    "bare envelope": (lambda one: json.dumps(json.loads(one[0])["dsseEnvelope"]).encode(), ExitCode.FAILED, "bare DSSE envelope"),
    "no attestations": (lambda _: b'{"attestations":[]}', ExitCode.FAILED, "no attestation"),
    "attestations of another type": (lambda _: b'{"attestations":{}}', ExitCode.FAILED, "wrong type"),
    "attestation without a bundle": (lambda _: b'{"attestations":[{}]}', ExitCode.FAILED, "attestations[0].bundle"),
    "bundle is a list": (lambda _: b'{"attestations":[{"bundle":[]}]}', ExitCode.FAILED, "wrong type"),
    "PyPI of another version": (lambda one: json.dumps(of_pypi(one[0]) | {"version": True}).encode(), ExitCode.FAILED, "version"),
    "PyPI without material": (lambda _: b'{"attestation_bundles":[{"attestations":[{"version":1}]}]}', ExitCode.FAILED, "verification_material"),
    "both documents": (lambda _: b'{"attestation_bundles":[],"attestations":[]}', ExitCode.FAILED, "no attestation"),
    "terminal codes": (lambda _: b'{"mediaType":"\\u001b[31m"}', ExitCode.FAILED, "media type"),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_import_of_hostile_content_is_one_error(
    gitchain: Gitchain, tiny: Path, bundles: list[bytes], kind: str
) -> None:
    """With file and line, and the good file beside it is not stored either."""
    make, code, text = HOSTILE[kind]
    (tiny / "good.json").write_bytes(bundles[0])
    (tiny / "bad.json").write_bytes(make(bundles))
    done = refused(gitchain, tiny, "good.json", "bad.json")
    assert (done.code, "bad.json" in done.err, text in done.err) == (code, True, True), done.err
    assert "\x1b[31m" not in done.err
    assert "help" in done.err


def test_import_of_large_files_stops_at_the_limit(
    gitchain: Gitchain, tiny: Path, bundles: list[bytes]
) -> None:
    """A sparse file of a terabyte is not read; two files share the limit."""
    with (tiny / "large.json").open("wb") as file:
        file.truncate(1 << 40)
    assert refused(gitchain, tiny, "large.json").code == ExitCode.LIMIT
    (tiny / "half.json").write_bytes(b" " * (40 << 20) + bundles[0])
    (tiny / "rest.json").write_bytes(b" " * (40 << 20) + bundles[1])
    assert refused(gitchain, tiny, "half.json", "rest.json").code == ExitCode.LIMIT


@pytest.mark.parametrize("kind", ["pipe", "device", "link", "socket", "directory", "dangling"])
def test_import_of_a_directory_with_special_files(
    gitchain: Gitchain, tiny: Path, bundles: list[bytes], kind: str
) -> None:
    """Nothing blocks, and no link is followed; a directory is skipped."""
    place = tiny / "downloads"
    place.mkdir()
    (place / "good.json").write_bytes(bundles[0])
    (tiny / "other.json").write_bytes(bundles[1])
    bad = place / "bad.json"
    make: dict[str, Callable[[], object]] = {
        "pipe": lambda: os.mkfifo(bad),
        "device": lambda: bad.symlink_to("/dev/zero"),
        "link": lambda: bad.symlink_to("../other.json"),
        "dangling": lambda: bad.symlink_to("nowhere"),
        "socket": lambda: __import__("socket").socket(__import__("socket").AF_UNIX).bind(str(bad)),
        "directory": bad.mkdir,
    }
    make[kind]()
    if kind == "directory":
        assert gitchain("import", "downloads", cwd=tiny).code == 0
        return
    assert "bad.json" in refused(gitchain, tiny, "downloads").err


@pytest.mark.parametrize(
    "name",
    ["missing.json", "a\0b", "", "x" * 5000, "pipe", "/dev/zero", "/dev/null", "oci://host/name:tag", "."],
)
def test_import_of_what_is_no_source(gitchain: Gitchain, tiny: Path, name: str) -> None:
    """A missing file, a NUL, a name that is too long, a pipe, a device, an unknown scheme, a directory without bundles."""
    os.mkfifo(tiny / "pipe")
    assert refused(gitchain, tiny, name).code == ExitCode.USAGE


def test_import_of_a_directory_is_bounded(
    gitchain: Gitchain, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More entries or more bundles than the limit are not listed to the end."""
    from gitchain.sources import foreign_bundles

    monkeypatch.setattr(foreign_bundles, "MAX_ENTRIES", 20)
    place = tiny / "downloads"
    place.mkdir()
    for number in range(21):
        (place / f"{number}.txt").touch()
    assert refused(gitchain, tiny, "downloads").code == ExitCode.LIMIT
    monkeypatch.setattr(foreign_bundles, "MAX_BUNDLES", 3)
    monkeypatch.setattr(foreign_bundles, "MAX_ENTRIES", 100)
    for number in range(5):
        (place / f"{number}.json").touch()
    assert "at most 3 bundles" in refused(gitchain, tiny, "downloads").err


def test_import_of_a_file_that_changes(
    gitchain: Gitchain, tiny: Path, bundles: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is written while it is read is refused."""
    from gitchain.platform.files import open_regular as really
    from gitchain.sources import foreign_bundles

    path = tiny / "one.json"
    path.write_bytes(bundles[0])

    def opened(name: Path | str) -> Any:
        file = really(name)
        read = file.read

        class Changing:
            def __enter__(self) -> Self:
                return self

            def __exit__(self, *_error: object) -> None:
                file.close()

            def fileno(self) -> int:
                return file.fileno()

            def read(self, limit: int) -> bytes:
                data = read(limit)
                path.write_bytes(bundles[1] + b" ")
                return data

        return Changing()

    monkeypatch.setattr(foreign_bundles, "open_regular", opened)
    assert "changed while it was read" in refused(gitchain, tiny, "one.json").err


def test_import_satisfies_a_step_that_selects(world: PreparedRepository, gitchain: Gitchain) -> None:
    """The SBOM of `cosign attest` and a test result, imported, make the model pass."""
    from tests.cli.test_selectors import FUNCTIONARY, STEPS, model

    layout = world.repo / ".gitchain/layout.yaml"
    text = layout.read_text(encoding="utf-8").replace("version: 1", "version: 2", 1)
    text = text.replace("functionaries:\n", FUNCTIONARY, 1).replace("steps:\n", STEPS, 1)
    layout.write_text(text, encoding="utf-8")
    assert gitchain("layout", "sign", cwd=world.repo).code == 0
    assert gitchain("verify", "model.bin", cwd=world.repo).code == 1
    about = model(world.repo)
    sbom = cosign_attest(CYCLONEDX, {"bomFormat": "CycloneDX"}, about["digest"]["sha256"])
    place = world.repo.parent / "downloads"
    place.mkdir()
    (place / "sbom.sigstore.json").write_bytes(signed(sbom))
    (place / "tests.jsonl").write_bytes(signed(pytest_result(about)) + b"\n")
    assert gitchain("import", str(place), cwd=world.repo).code == 0
    done = gitchain("verify", "model.bin", cwd=world.repo)
    assert done.code == 0, done.text


@pytest.mark.parametrize("target", ["loop.json", ".", "../other"])
def test_import_names_a_link_in_a_directory(
    gitchain: Gitchain, tiny: Path, bundles: list[bytes], target: str
) -> None:
    """Also one that leads nowhere in circles, and one to a directory, whose bundles would be missing."""
    place = tiny / "downloads"
    place.mkdir()
    (tiny / "other").mkdir()
    (place / "good.json").write_bytes(bundles[0])
    (place / "loop.json").symlink_to(target)
    done = refused(gitchain, tiny, "downloads")
    assert "a link in the directory" in done.err
    assert "loop.json" in done.err


@pytest.mark.parametrize("content", [b'{"name": "left-pad"}', b'{"name":1}\n{"name":2}\n', b"{}"])
def test_import_of_other_json(gitchain: Gitchain, tiny: Path, content: bytes) -> None:
    """The error states that the file is no bundle, not which field of one it lacks."""
    (tiny / "package.json").write_bytes(content)
    done = refused(gitchain, tiny, "package.json")
    assert (done.code, "not a Sigstore bundle" in done.err) == (ExitCode.FAILED, True), done.err


def test_import_warns_of_negative_evidence(gitchain: Gitchain, tiny: Path, bundles: list[bytes]) -> None:
    """A revocation, one that cannot be read, and a statement that no step can take: after a sync, nothing removes them."""
    good = {"reason": "compromised", "revokedOn": "2026-11-30T12:00:00Z", "attestations": ["0" * 64]}
    kinds = {
        "a revocation: what it names": said(REVOCATION, good, MODEL),
        "a revocation that cannot be read: nothing passes": said(REVOCATION, {"reason": "?"}, MODEL),
        "no step can take it": said(LINK, {}, MODEL),
    }
    more = [signed(one) for one in kinds.values()]
    (tiny / "all.jsonl").write_bytes(b"\n".join([bundles[0], *more]))
    done = gitchain("import", "all.jsonl", "--dry-run", cwd=tiny)
    assert done.code == 0, done.text
    assert [
        text in line
        for text, line in zip(kinds, [x for x in done.err.splitlines() if "warning" in x], strict=True)
    ] == [True] * 3
    shown = gitchain("import", "all.jsonl", "--json", cwd=tiny).json
    validator("cli").validate(shown)
    assert ["warning" in one for one in shown["bundles"]] == [False, True, True, True]
    assert "warning" not in gitchain("import", "all.jsonl", cwd=tiny).err


def test_import_of_a_source_statement(gitchain: Gitchain, tiny: Path) -> None:
    """No trust and no key makes it verify: the error does not ask for one."""
    (tiny / "one.json").write_bytes(signed(said(SOURCE, {}, MODEL)))
    done = refused(gitchain, tiny, "one.json")
    assert "made of a signed commit or tag" in done.err
    assert "--trust" not in done.err
