"""The strict reader of archives, against files that were made to mislead it."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gitchain.errors import GitchainError, LimitError, MalformedError, UsageError, VerificationError
from gitchain.evidence.digest import sha256_hex
from gitchain.platform import tar
from gitchain.sources import archive_manifest as limits
from gitchain.sources.archive_file import Archive
from tests.support.archives import parts_of, rewrite, write_parts

SCHEMAS = "schemas"
BUNDLE = b'{"a": "bundle"}'
NODE = b'{"a": "node"}'
PARTS = {
    "README.txt": b"read me\n",
    f"evidence/{sha256_hex(BUNDLE)}.sigstore.json": BUNDLE,
    f"evidence/{sha256_hex(NODE)}.manifest.json": NODE,
    "layout.sigstore.json": b"{}",
    f"{SCHEMAS}/x.schema.json": b"x" * 513,
    "trust/trusted-root.json": b"r" * 512,
    "verdict.json": b"",
}


def manifest_of(parts: dict[str, bytes], **fields: Any) -> dict[str, Any]:
    members = [
        {"name": name, "sha256": sha256_hex(parts[name]), "size": len(parts[name])} for name in sorted(parts)
    ]
    whole: dict[str, Any] = {
        "schema": "https://gitchain.dev/archive/v1",
        "created": "2026-12-01T00:00:00Z",
        "target": "model",
        "artifacts": [{"name": "model", "digest": {"sha256": "0" * 64}, "kind": "file"}],
        "layout": {
            "name": "l",
            "signer": {"issuer": "https://issuer.example.com", "subject": "ada@example.com"},
        },
        "trust": {"digest": {"sha256": "1" * 64}},
        "members": members,
    }
    return whole | fields


def encoded(manifest: Any) -> bytes:
    return json.dumps(manifest, indent=1, sort_keys=True).encode() + b"\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a well-formed archive of small parts."""
    parts = dict(sorted(PARTS.items()))
    return write_parts(tmp_path / "x.tar", {"archive.json": encoded(manifest_of(PARTS))} | parts)


def refusal(path: Path) -> GitchainError:
    with pytest.raises(GitchainError) as caught, Archive.open(path):
        pass
    assert isinstance(caught.value, MalformedError | VerificationError | LimitError | UsageError)
    return caught.value


def test_archive_reads_what_was_written(path: Path) -> None:
    """All parts, and tar's own reader agrees."""
    with Archive.open(path) as archive:
        assert dict(archive.bundles()) == {sha256_hex(BUNDLE): BUNDLE}
        assert dict(archive.nodes()) == {sha256_hex(NODE): NODE}
        assert archive.node(sha256_hex(NODE)) == NODE
        assert archive.node("0" * 64) is None
        assert archive.digest == sha256_hex(path.read_bytes())
        assert all(archive.read(name) == data for name, data in PARTS.items())
    assert list(parts_of(path)) == ["archive.json", *sorted(PARTS)]


def test_archive_refuses_every_truncation(path: Path) -> None:
    """At each block, before and after it, and at each content's end; also one byte more."""
    data = path.read_bytes()
    cuts = {cut for block in range(0, len(data), 512) for cut in (block - 1, block, block + 1, block + 100)}
    for cut in sorted(cut for cut in cuts if 0 <= cut < len(data)):
        path.write_bytes(data[:cut])
        assert isinstance(refusal(path), MalformedError), cut
    path.write_bytes(data + b"\0")
    assert "more than its manifest lists" in str(refusal(path))


def test_archive_notices_every_changed_byte(path: Path) -> None:
    """A flipped bit in a header, content, padding or the end is refused; only the manifest vouches for itself."""
    data = path.read_bytes()
    after = tar.span(len(encoded(manifest_of(PARTS))))
    for at in (*range(512), *range(after, len(data))):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        refusal(path)


NAMES = [
    "../evil",
    "/etc/passwd",
    "evidence/../../evil.sigstore.json",
    "evidence/x.sigstore.json",
    "evidence/" + "A" * 64 + ".sigstore.json",
    "EVIDENCE/" + "0" * 64 + ".sigstore.json",
    "evidence\\" + "0" * 64 + ".sigstore.json",
    f"{SCHEMAS}/x.schema.json\0",
    f"{SCHEMAS}/x.schema.json\n",
    f"{SCHEMAS}/é.schema.json",
    f"{SCHEMAS}/../x.schema.json",
    "./README.txt",
    "archive.json",
    "surprise.txt",
    "",
    "x" * 5000,
]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_archive_refuses_names_that_it_does_not_have(tmp_path: Path, name: str) -> None:
    """Traversal, absolute, other case, control characters, not ASCII, unknown: the manifest is refused."""
    manifest = manifest_of(PARTS)
    manifest["members"].append({"name": name, "sha256": sha256_hex(b""), "size": 0})
    manifest["members"].sort(key=lambda one: one["name"])
    error = refusal(write_parts(tmp_path / "x.tar", {"archive.json": encoded(manifest)} | PARTS))
    assert "no archive has a member of this name" in error.what
    assert str(error).isprintable()


def test_archive_refuses_a_header_that_is_not_utf8(path: Path) -> None:
    data = path.read_bytes()
    error = refusal_of(path, data.replace(b"README.txt\0", b"README\xff\xfe..\0", 1))
    assert "does not list here" in error.what


def refusal_of(path: Path, data: bytes) -> GitchainError:
    path.write_bytes(data)
    return refusal(path)


KINDS = {
    "symbolic link": tarfile.SYMTYPE,
    "hard link": tarfile.LNKTYPE,
    "character device": tarfile.CHRTYPE,
    "block device": tarfile.BLKTYPE,
    "directory": tarfile.DIRTYPE,
    "named pipe": tarfile.FIFOTYPE,
    "sparse": tarfile.GNUTYPE_SPARSE,
    "long name": tarfile.GNUTYPE_LONGNAME,
    "pax": tarfile.XHDTYPE,
}


@pytest.mark.parametrize("kind", KINDS)
def test_archive_refuses_members_that_are_no_files(path: Path, kind: str) -> None:
    """In place of a listed member: links, devices, directories and extensions."""
    info = tarfile.TarInfo("README.txt")
    info.type, info.linkname, info.size = KINDS[kind], "/etc/passwd", 0
    data = path.read_bytes()
    at = data.index(b"README.txt\0")
    error = refusal_of(path, data[:at] + info.tobuf(tarfile.USTAR_FORMAT) + data[at + 512 :])
    assert "no regular file" in error.what
    assert kind in error.got


@pytest.mark.parametrize("field", ["mode", "uid", "gid", "mtime", "uname", "size"])
def test_archive_refuses_a_header_of_another_form(path: Path, field: str) -> None:
    """A mode, an owner or a time is information that a writer could hide there."""
    info = tarfile.TarInfo("README.txt")
    info.mode, info.size = 0o644, len(PARTS["README.txt"])
    setattr(info, field, "root" if field == "uname" else 7)
    data = path.read_bytes()
    at = data.index(b"README.txt\0")
    error = refusal_of(path, data[:at] + info.tobuf(tarfile.USTAR_FORMAT) + data[at + 512 :])
    assert "header of a member" in error.what


def test_archive_refuses_duplicates(tmp_path: Path) -> None:
    """Twice in the manifest, or twice in the file."""
    manifest = manifest_of(PARTS)
    manifest["members"].insert(1, manifest["members"][0])
    parts = {"archive.json": encoded(manifest)} | PARTS
    assert "each once" in str(refusal(write_parts(tmp_path / "x.tar", parts)))
    blocks = write_parts(
        tmp_path / "x.tar", {"archive.json": encoded(manifest_of(PARTS))} | PARTS
    ).read_bytes()
    again = tar.header("README.txt", 8) + b"read me\n" + tar.padding(8)
    assert "more than its manifest lists" in str(
        refusal_of(tmp_path / "x.tar", blocks[: -len(tar.END)] + again + tar.END)
    )


def test_archive_refuses_a_million_members(tmp_path: Path) -> None:
    """The number is bounded before anything of it is looked at."""
    one = '{"name":"x","sha256":"","size":0}'
    manifest = manifest_of(PARTS) | {"members": []}
    whole = encoded(manifest).replace(b'"members": []', f'"members": [{",".join([one] * 10**6)}]'.encode())
    error = refusal(write_parts(tmp_path / "x.tar", {"archive.json": whole}))
    assert isinstance(error, LimitError)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("verdict.json", (16 << 20) + 1),
        (f"evidence/{'0' * 64}.sigstore.json", 25 << 20),
        (f"evidence/{'0' * 64}.manifest.json", (256 << 20) + 1),
        ("README.txt", -1),
        ("README.txt", 8**11),
    ],
)
def test_archive_bounds_each_size(tmp_path: Path, name: str, size: int) -> None:
    """A manifest cannot announce more than a member may have, whatever the file holds."""
    manifest = manifest_of(PARTS)
    members = {one["name"]: one for one in manifest["members"]}
    members[name] = {"name": name, "sha256": "0" * 64, "size": size}
    manifest["members"] = [members[one] for one in sorted(members)]
    error = refusal(write_parts(tmp_path / "x.tar", {"archive.json": encoded(manifest)} | PARTS))
    assert isinstance(error, LimitError)


def test_archive_bounds_the_total(tmp_path: Path) -> None:
    """Many members that are each allowed."""
    manifest = manifest_of(PARTS)
    nodes = (
        {"name": f"evidence/{n:064x}.manifest.json", "sha256": f"{n:064x}", "size": 256 << 20}
        for n in range(5)
    )
    manifest["members"] = sorted([*manifest["members"], *nodes], key=lambda one: one["name"])
    error = refusal(write_parts(tmp_path / "x.tar", {"archive.json": encoded(manifest)} | PARTS))
    assert (isinstance(error, LimitError), error.what) == (True, "the archive is too large")


def test_archive_does_not_read_a_sparse_bomb(tmp_path: Path) -> None:
    """A file of a tebibyte of zeros costs nothing: the first block is no manifest, or the size is not the listed one."""
    hole = tmp_path / "hole"
    with hole.open("wb") as file:
        file.truncate(1 << 40)
    assert "not an archive" in str(refusal(hole))
    with write_parts(tmp_path / "x.tar", {"archive.json": encoded(manifest_of(PARTS))} | PARTS).open(
        "ab"
    ) as file:
        file.truncate(1 << 40)
    assert "more than its manifest lists" in str(refusal(tmp_path / "x.tar"))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04" + b"x" * 1000, b"\x1f\x8b" + b"x" * 1000, b"x" * 512])
def test_archive_refuses_other_files(tmp_path: Path, content: bytes) -> None:
    """Nothing, a zip file, a compressed file, anything: one error."""
    assert "not an archive of gitchain" in str(refusal_of(tmp_path / "x.tar", content))


def test_archive_refuses_other_tar_files(tmp_path: Path) -> None:
    """A tar of another program, and one whose first member has the name of the manifest and is too large."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as file:
        file.addfile(tarfile.TarInfo("model.pkl"))
    assert "manifest does not list" in str(refusal_of(tmp_path / "x.tar", whole.getvalue()))
    large = tar.header("archive.json", limits.MAX_MANIFEST_BYTES + 1)
    assert isinstance(refusal_of(tmp_path / "x.tar", large), LimitError)


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "a newer format": lambda one: one.update(schema="https://gitchain.dev/archive/v2"),
    "no format": lambda one: one.pop("schema"),
    "a field more": lambda one: one.update(surprise=1),
    "a field less": lambda one: one.pop("target"),
    "another type": lambda one: one.update(target=1),
    "no artifact": lambda one: one.update(artifacts=[]),
    "a wrong kind": lambda one: one["artifacts"][0].update(kind="device"),
    "a wrong digest": lambda one: one["artifacts"][0].update(digest={"sha256": "A" * 64}),
    "a wrong time": lambda one: one.update(created="yesterday"),
    "a wrong issuer": lambda one: one["layout"]["signer"].update(issuer="\n"),
    "a wrong root": lambda one: one["trust"].update(digest={"sha256": ""}),
    "a wrong size": lambda one: one["members"][0].update(size="8"),
    "a boolean size": lambda one: one["members"][-1].update(size=False),
    "members that are no list": lambda one: one.update(members=5),
    "no members": lambda one: one.update(members=[]),
    "another order": lambda one: one["members"].reverse(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_archive_refuses_another_manifest(tmp_path: Path, change: str) -> None:
    """One error that names the manifest; a newer format has its own."""
    manifest = manifest_of(PARTS)
    CHANGES[change](manifest)
    error = refusal(write_parts(tmp_path / "x.tar", {"archive.json": encoded(manifest)} | PARTS))
    assert isinstance(error, MalformedError)
    assert "archive.json" in error.where
    assert (error.help == "use a newer gitchain") == (change == "a newer format")


@pytest.mark.parametrize(
    "spelled", [lambda data: data.replace(b"\n", b"\r\n"), lambda data: data + b" ", bytes.upper]
)
def test_archive_refuses_another_spelling_of_the_manifest(
    tmp_path: Path, spelled: Callable[[bytes], bytes]
) -> None:
    whole = spelled(encoded(manifest_of(PARTS)))
    assert isinstance(
        refusal(write_parts(tmp_path / "x.tar", {"archive.json": whole} | PARTS)), MalformedError
    )


def test_archive_refuses_evidence_under_another_name(path: Path) -> None:
    """The name of evidence is the digest of its bytes."""

    def rename(parts: dict[str, bytes]) -> None:
        parts[f"evidence/{'0' * 64}.sigstore.json"] = BUNDLE

    assert "name of a member is not its digest" in str(refusal(rewrite(path, rename)))


def test_archive_reads_no_pipe_and_no_directory(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", tmp_path, tmp_path / "missing"):
        assert isinstance(refusal(place), UsageError)


def test_archive_notices_a_change_after_opening(path: Path) -> None:
    """A member is hashed again when it is read."""
    with Archive.open(path) as archive:
        data = path.read_bytes()
        with path.open("r+b") as file:
            file.write(data.replace(b"read me", b"READ ME"))
        with pytest.raises(VerificationError, match="digest in the manifest"):
            archive.read("README.txt")
