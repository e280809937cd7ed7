"""Values of parameters and metrics: read from the repository's own files alone, bounded, and without secrets."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from gitchain.collect.values import (
    MAX_VALUE_BYTES,
    MAX_VALUES,
    is_outside,
    parse_values,
    read_params,
    read_value_file,
    select_values,
)
from gitchain.errors import LimitError, ProjectError


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.yaml", "train: {lr: 0.1, layers: [1, 2]}\nwhen: 2026-01-01\nbig: 12345678901234567890\nbad: .nan\n"),
        ("p.json", '{"train": {"lr": 0.1, "layers": [1, 2]}, "when": "2026-01-01", "big": "12345678901234567890", "bad": ".nan"}'),
        ("p.toml", "when = 2026-01-01\nbig = 12345678901234567890\nbad = nan\n[train]\nlr = 0.1\nlayers = [1, 2]\n"),
    ],
)  # fmt: skip
def test_parse_values_reads_yaml_json_and_toml_alike(name: str, text: str) -> None:
    """One set of values in three formats is one set of values; what JSON cannot hold is text."""
    values = parse_values(text.encode(), name)
    assert values == {
        "train": {"lr": 0.1, "layers": [1, 2]},
        "when": "2026-01-01",
        "big": "12345678901234567890",
        "bad": ".nan",
    }
    assert select_values(values, ["train.lr", "train.layers.1", "train"], name) == {
        "train.lr": 0.1,
        "train.layers.1": 2,
        "train": values["train"],
    }
    assert select_values(values, [], name) == values
    for key in ("nope", "train.lr.x", "train.layers.2", "train.layers.x"):
        with pytest.raises(ProjectError, match="no such value") as caught:
            select_values(values, [key], name)
        assert key in caught.value.got


def test_numbers_without_end_are_no_traceback() -> None:
    """Python refuses to convert more than 4,300 digits: in TOML's hexadecimals, and in the index of a key."""
    values = parse_values(b"a = 0x" + b"f" * 5_000 + b"\nb = [1]\n", "p.toml")
    assert values["a"] == "0x" + "f" * 5_000
    assert select_values(values, ["b.0"], "p.toml") == {"b.0": 1}
    with pytest.raises(ProjectError, match="no such value"):
        select_values(values, ["b." + "9" * 5_000], "p.toml")


def test_parse_values_hides_what_looks_like_a_secret() -> None:
    """By the key's name or by its shape, at any depth; numbers and switches stay."""
    text = "db: {password: hunter2, auth: true}\napi_key: abc\nmax_tokens: 5\nurl: https://u:p@h/x\ninf: [.inf, -.inf, null]\n"
    assert parse_values(text.encode(), "p.yaml") == {
        "db": {"password": "***", "auth": True},
        "api_key": "***",
        "max_tokens": 5,
        "url": "https://***@h/x",
        "inf": [".inf", "-.inf", None],
    }
    assert select_values({"a": {"token": "x"}}, ["a.token"], "p.yaml") == {"a.token": "***"}


@pytest.mark.parametrize(
    ("name", "data", "error"),
    [
        ("p.yaml", b"- 1\n", ProjectError),
        ("p.yaml", b"a: [\n", ProjectError),
        ("p.json", b"{", ProjectError),
        ("p.json", b"5", ProjectError),
        ("p.toml", b"a = ", ProjectError),
        ("p.toml", b"\xff", ProjectError),
        ("p.toml", b"a = " + b"9" * 5_000, ProjectError),
        ("p.json", b"[" * 100_000, (ProjectError, LimitError)),
        ("p.json", b'{"a": %s}' % (b"[" * 40 + b"]" * 40), LimitError),
        ("p.yaml", b"".join(b"k%d: 1\n" % index for index in range(MAX_VALUES + 1)), LimitError),
    ],
)
def test_parse_values_refuses_what_holds_none(
    name: str, data: bytes, error: type[Exception] | tuple[type[Exception], ...]
) -> None:
    """One clear error that names the file, and no more values than a statement should hold."""
    with pytest.raises(error):
        parse_values(data, name)


def test_read_value_file_stays_in_the_repository(tmp_path: Path) -> None:
    """Not by a path, not by a link of a file or directory, not into .git; links inside the repository are fine."""
    root = tmp_path / "repo"
    (root / ".git").mkdir(parents=True)
    (root / "conf").mkdir()
    (root / "conf/p.yaml").write_text("lr: 1\n")
    (root / ".git/p.yaml").write_text("lr: 1\n")
    (tmp_path / "secret.yaml").write_text("lr: 1\n")
    (root / "link.yaml").symlink_to(tmp_path / "secret.yaml")
    (root / "up").symlink_to(tmp_path)
    (root / "fine.yaml").symlink_to("conf/p.yaml")
    for name in ("../secret.yaml", str(tmp_path / "secret.yaml"), "link.yaml", "up/secret.yaml", ".git/p.yaml", "s3://b/p.yaml"):  # fmt: skip
        assert is_outside(root, name)
        with pytest.raises(ProjectError, match="outside the repository"):
            read_value_file(root, name)
    for name in ("conf/p.yaml", "fine.yaml"):
        assert read_params(root, [(name, ["lr"])]) == {name: {"lr": 1}}
    os.mkfifo(root / "pipe.yaml")
    (root / "large.yaml").write_bytes(b"#" * (MAX_VALUE_BYTES + 1))
    for name, error in (("pipe.yaml", ProjectError), ("conf", ProjectError), ("gone", ProjectError), ("large.yaml", LimitError)):  # fmt: skip
        with pytest.raises(error):
            read_value_file(root, name)


@pytest.mark.parametrize("text", ["a", "a-", "authorization:" + " " * 500, "A.", "--ab", "x=y "])
def test_long_text_is_scrubbed_at_once(text: str) -> None:
    """The patterns for secrets were quadratic: 100 kB of one word, which a cloned file may hold, took minutes."""
    started = time.monotonic()
    parse_values(json.dumps({"a": (text * 100_000)[:100_000]}).encode(), "p.json")
    assert time.monotonic() - started < 10
