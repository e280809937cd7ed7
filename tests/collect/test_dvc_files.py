"""DVC's files are parsed without DVC, strictly, whatever their bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitchain.collect.dvc_files import LEGACY_HASH, parse_dir, parse_dvc, parse_dvc_yaml, parse_lock
from gitchain.collect.dvc_records import DatabaseSource, DatasetLock, ImportSource
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
    assert isinstance(imported.source, ImportSource)
    assert imported.source.rev_lock == "a" * 40
    assert imported.source.url == "https://example.com/data.git"
    assert imported.frozen
    assert parse_dvc((FIXTURES / "import-url.dvc").read_bytes(), "x.dvc").deps[0].checksum == '"etag-1"'


def test_dvc_yaml_gives_working_directories_and_model_names() -> None:
    """What needs no template is read without importing DVC."""
    parsed = parse_dvc_yaml((FIXTURES / "dvc.yaml").read_bytes(), "dvc.yaml")
    assert dict(parsed.stages) == {"prepare": ".", "train": "src"}
    assert dict(parsed.artifacts) == {"credit": "models/us.pkl"}


def test_anchors_in_a_lock_are_read() -> None:
    """DVC itself writes `&id001` into dvc.lock where two parameters are one list."""
    lock = b"""schema: '2.0'
stages:
  train:
    cmd: x
    params:
      params.yaml:
        classes: &id001
        - a
        - b
        labels: *id001
"""
    params = parse_lock(lock, "dvc.lock")["train"].params["params.yaml"]
    assert params == {"classes": ["a", "b"], "labels": ["a", "b"]}


def test_a_database_import_has_a_query_and_no_path() -> None:
    """`dvc import-db` writes a dep without a path: a query, or the name of a table."""
    out = b"outs:\n- {md5: %s, hash: md5, path: people.csv}\n" % MD5.encode()
    parsed = parse_dvc(
        b"frozen: true\ndeps:\n- db: {query: select 1, connection: shop, file_format: csv}\n" + out, "x"
    )
    assert parsed.source == DatabaseSource("shop", "select 1")
    assert parsed.deps == ()
    table = parse_dvc(b"deps:\n- db: {table: people}\n" + out, "x").source
    assert table == DatabaseSource("", None, "people")


def test_a_dataset_dep_keeps_what_dvc_locked() -> None:
    """The commit of a dataset in a repository, the version of a DataChain one, the object versions of one at a URL."""
    lock = b"""schema: '2.0'
stages:
  a:
    cmd: x
    deps:
    - path: ds://dogs
      dataset: {name: dogs, url: https://example.com/d.git, type: dvc, path: dogs, rev: main, rev_lock: %s}
    - path: ds://cats
      dataset: {name: cats, url: 'dc://cats', type: dc, version: 3, created_at: '2024-05-01T00:00:00+00:00'}
    - path: ds://birds
      dataset:
        name: birds
        url: s3://bucket/birds
        type: url
        meta: {isdir: true, size: 3, version_id: v7, etag: e7}
        files: [{relpath: a, meta: {size: 1, version_id: v1, etag: e1}}]
datasets: anything
""" % (b"a" * 40)
    dogs, cats, birds = (dep.dataset for dep in parse_lock(lock, "dvc.lock")["a"].deps)
    assert dogs == DatasetLock("dogs", "dvc", "https://example.com/d.git", "dogs", "main", "a" * 40)
    assert cats is not None
    assert (cats.version, cats.created_at) == (3, "2024-05-01T00:00:00+00:00")
    assert birds is not None
    assert (birds.etag, birds.version_id) == ("e7", "v7")
    assert birds.files[0].cloud is not None
    assert birds.files[0].cloud.version_id == "v1"


def test_checksums_are_read_as_dvc_reads_them() -> None:
    """An empty one is none, capital letters are small ones, and digits without quotes are a number to YAML."""
    text = "outs:\n- {path: a, md5: ''}\n- {path: b, md5: %s}\n- {path: c, md5: %s}\n- {path: d, etag: 12345, md5: null}\n"
    digits = "1" * 32
    outs = parse_dvc((text % (MD5.upper(), digits)).encode(), "x").outs
    assert [out.md5 for out in outs] == [None, MD5, digits, None]
    assert outs[3].checksum == "12345"


def test_a_dvc_file_without_outs_is_read_if_dvc_reads_it() -> None:
    """DVC takes an empty one; one with other keys is no *.dvc file."""
    assert parse_dvc(b"", "x").outs == ()
    assert parse_dvc(b"meta: {a: 1}\nouts:\ndeps:\nwdir:\n", "x").outs == ()
    with pytest.raises(ProjectError, match="tracks nothing"):
        parse_dvc(b"stages: {}\n", "x")


def test_an_import_that_is_not_locked_has_no_commit() -> None:
    """rev_lock may be absent; what is no commit is refused."""
    text = "deps:\n- {path: a, repo: {url: u%s}}\nouts:\n- path: a\n"
    source = parse_dvc((text % "").encode(), "x").source
    assert source == ImportSource("a", "u", None, None)
    with pytest.raises(ProjectError, match="no commit") as caught:
        parse_dvc((text % ", rev_lock: main").encode(), "x")
    assert caught.value.where == "x line 2"


def test_stages_that_foreach_or_matrix_makes_are_groups() -> None:
    """Which of their keys are left, only DVC can say."""
    parsed = parse_dvc_yaml(
        b"stages:\n  a: {cmd: x}\n  b: {foreach: [1], do: {cmd: x, wdir: w}}\n  c: {matrix: {k: [1]}, cmd: x}\n",
        "dvc.yaml",
    )
    assert dict(parsed.stages) == {"a": ".", "b": "w", "c": "."}
    assert parsed.groups == {"b", "c"}
    assert parse_dvc_yaml(b"", "dvc.yaml").stages == {}
    assert parse_dvc_yaml(b"artifacts: {m: {path: p}}\n", "dvc.yaml").artifacts == {"m": "p"}


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
