"""Files that a user wrote and that cannot be read: the error names the file and what to do, for every kind of them."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gitchain.errors import LayoutError
from gitchain.produce import sign_layout
from tests.support.prepared_repository import PreparedRepository

Gitchain = Callable[..., Any]
DATASET = "https://gitchain.dev/predicate/dataset/v0.1"
LAYOUTS = {
    "conflict": "<<<<<<< HEAD\nname: a\n=======\nname: b\n>>>>>>> other\n",
    "not YAML": "schema: [\n",
    "empty": "",
    "field": "schema: https://gitchain.dev/layout/v1\nnmae: x\n",
    "not UTF-8": "\udcff",
    "JSON": "{",
}


@pytest.mark.parametrize("words", [("layout", "lint"), ("layout", "sign")], ids=" ".join)
@pytest.mark.parametrize("kind", LAYOUTS)
def test_a_layout_that_cannot_be_read(
    gitchain: Gitchain, world: PreparedRepository, kind: str, words: tuple[str, ...]
) -> None:
    path = world.write(".gitchain/layout.yaml", LAYOUTS[kind].encode("utf-8", "surrogateescape"))
    done = gitchain(*words, cwd=world.repo)
    assert done.code == 5
    assert str(path) in done.err
    assert f"gitchain layout lint {path}" in done.err
    assert ("merge conflict markers" in done.err) == (kind == "conflict")


@pytest.mark.parametrize("text", ["", "x", "[]", "{}", '{"mediaType": "x"}'])
def test_a_trust_file_that_is_none(
    gitchain: Gitchain, world: PreparedRepository, tmp_path: Path, text: str
) -> None:
    path = tmp_path / "trust.json"
    path.write_text(text)
    done = gitchain("--trust", str(path), "trust", "pin", "--signer", "x", cwd=world.repo)
    assert done.code == 4
    assert str(path) in done.err
    assert "get the trust configuration again" in done.err


@pytest.mark.parametrize(
    ("kind", "text", "page"),
    [
        (DATASET, "{", "predicate.json"),
        (DATASET, '{"licences": 1}', "docs/formats/predicates.md"),
        ("https://org.example/x", "[]", "JSON object"),
    ],
)
def test_a_predicate_that_cannot_be_used(
    gitchain: Gitchain, world: PreparedRepository, kind: str, text: str, page: str
) -> None:
    world.write("predicate.json", text)
    words = ("attest", "s", "-m", "model.bin", "--type", kind, "--predicate", "predicate.json")
    done = gitchain(*words, cwd=world.repo)
    assert done.code == 2
    (help_,) = [line for line in done.err.splitlines() if line.startswith("  help")]
    assert page in help_


@pytest.mark.parametrize("name", [" x", "a\nb", "", "x" * 2000])
def test_a_step_that_cannot_be_named_so(gitchain: Gitchain, world: PreparedRepository, name: str) -> None:
    for verb, more in (("attest", ()), ("run", ("--", "true"))):
        done = gitchain(verb, name, "-m", "data/raw.csv", "-p", "model.bin", *more, cwd=world.repo)
        assert done.code in {2, 125}
        assert "another name" in done.err, done.text


@pytest.mark.parametrize(("number", "advice"), [(errno.ENOSPC, "disk space"), (errno.EACCES, "access")])
def test_what_the_system_refuses_has_advice(
    gitchain: Gitchain, world: PreparedRepository, monkeypatch: pytest.MonkeyPatch, number: int, advice: str
) -> None:
    """Where the port that failed gives none: a full disk is a full disk, whatever was to be written."""

    def refuse(*_: object, **__: object) -> None:
        raise LayoutError("cannot write", where="x") from OSError(number, "refused")

    monkeypatch.setattr(sign_layout, "write_durably", refuse)
    done = gitchain("layout", "sign", cwd=world.repo)
    assert done.code == 5
    assert advice in done.err
