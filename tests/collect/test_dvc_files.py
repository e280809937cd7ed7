"""DVC's files are parsed without DVC, strictly, whatever their bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitchain.collect.dvc_files import LEGACY_HASH, parse_dir, parse_dvc, parse_dvc_yaml, parse_lock
from gitchain.errors import LimitError, ProjectError

FIXTURES = Path(__file__).parent.parent / "fixtures" / "dvc"
LOCK = (FIXTURES / "dvc.lock").read_bytes()
MD5 = "5d41402abc4b2a76b9719d911017c592"


def test_a_lock_written_by_dvc_is_read() -> None:
    """Stages, commands, params, sizes, directories and executable bits come out as DVC wrote them."""
    stages = parse_lock(LOCK, "dvc.lock")
    assert list(stages) == ["prepare", "train@us", "evaluate"]
    prepare, train = stages["prepare"], stages["train@us"]
    assert prepare.commands == ("python prepare.py",)
    assert prepare.outs[0].is_dir
    assert prepare.outs[0].md5 == "4f2d2c4e0a8a4d3c1b0e9f8d7c6b5a49.dir"
    assert (prepare.outs[0].size, prepare.outs[0].nfiles) == (10, 2)
    assert train.commands == ("mkdir -p models", "python train.py us")
    assert dict(train.params["params.yaml"]) == {"lr": 1e-05, "seed": 3}
    assert train.outs[0].is_exec
    assert not train.outs[0].is_dir
    assert stages["evaluate"].deps[0].hash_name == LEGACY_HASH


def test_cloud_versions_are_read() -> None:
    """Version ids and etags of a version-aware remote are kept, per entry and per inline file."""
    out = parse_dvc((FIXTURES / "cloud.dvc").read_bytes(), "cloud.dvc").outs[0]
    assert out.is_dir
    assert out.files[0].path == "a.csv"
    assert out.files[0].cloud is not None
    assert out.files[0].cloud.version_id == "v1"
    assert out.files[0].md5 == MD5


def test_an_import_names_the_exact_upstream_commit() -> None:
    """`dvc import` leaves url and rev_lock; `import-url` leaves a checksum."""
    imported = parse_dvc((FIXTURES / "import.dvc").read_bytes(), "import.dvc")
    assert imported.source is not None
    assert imported.source.rev_lock == "a" * 40
    assert imported.source.url == "https://example.com/data.git"
    assert imported.frozen
    assert parse_dvc((FIXTURES / "import-url.dvc").read_bytes(), "x.dvc").deps[0].checksum == '"etag-1"'


def test_dvc_yaml_gives_working_directories_and_model_names() -> None:
    """What needs no template is read without importing DVC."""
    parsed = parse_dvc_yaml((FIXTURES / "dvc.yaml").read_bytes(), "dvc.yaml")
    assert dict(parsed.stages) == {"prepare": ".", "train": "src"}
    assert dict(parsed.artifacts) == {"credit": "models/us.pkl"}


def test_a_dir_object_is_read_and_checked() -> None:
    """Paths that lead out, doubled paths and broken md5s are refused."""
    good = b'[{"md5": "%s", "relpath": "a/b.csv"}]' % MD5.encode()
    assert parse_dir(good, "x")[0].path == "a/b.csv"
    for bad in (
        b"{}",
        b"[1]",
        good.replace(b"a/b", b"../b"),
        good.replace(b"5d4", b"xyz"),
        b"[",
        good[:-1] + b"," + good[1:],
    ):
        with pytest.raises(ProjectError):
            parse_dir(bad, "x")


@pytest.mark.parametrize(
    ("old", "new", "line", "what"),
    [
        (b"schema: '2.0'", b"schema: '3.0'", 1, "another schema"),
        (b"size: 10", b"size: -1", 14, "malformed"),
        (b"size: 10", b"size: ten", 14, "malformed"),
        (b"cmd: python prepare.py", b"cmd: {a: b}", 4, "no command"),
        (b"4f2d2c4e0a8a4d3c1b0e9f8d7c6b5a49.dir", b"'../../etc/passwd'", 13, "md5 is malformed"),
        (b"hash: md5", b"hash: [1]", 7, "malformed"),
    ],
)
def test_a_wrong_field_names_its_line(old: bytes, new: bytes, line: int, what: str) -> None:
    """The message says where to look."""
    with pytest.raises(ProjectError, match=what) as caught:
        parse_lock(LOCK.replace(old, new, 1), "dvc.lock")
    assert caught.value.where == f"dvc.lock line {line}"


@given(st.integers(0, len(LOCK) - 1), st.integers(0, 255))
def test_a_changed_byte_never_gives_another_exception(at: int, byte: int) -> None:
    """Mangled locks parse or raise the two errors that parsers may raise."""
    mangled = LOCK[:at] + bytes([byte]) + LOCK[at + 1 :]
    for parse in (parse_lock, parse_dvc, parse_dvc_yaml, parse_dir):
        try:
            parse(mangled, "x")
        except (ProjectError, LimitError):
            continue
