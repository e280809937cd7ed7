"""A directory that is refused: the findings name the files in it that changed, were added or were removed."""

from __future__ import annotations

import pytest

from gitchain.evidence.digest import sha256_hex
from gitchain.evidence.manifest import FileEntry, Manifest, build_manifest
from gitchain.verify.decide import Target
from gitchain.verify.step_diagnostics import MAX_FILES
from tests.support.decision_input import DecisionInput, codes, statement

FILES = {"card.txt": "card", "weights/a": "1", "weights/deep/b": "2", "tokens/c": "3"}


def tree(files: dict[str, str]) -> Manifest:
    return build_manifest(
        FileEntry(path, False, len(text), sha256_hex(text.encode())) for path, text in files.items()
    )


def world(attested: Manifest) -> DecisionInput:
    made = DecisionInput.honest().change(
        lambda text: text.replace("models/model.pkl", "models/m").replace('"models/*"', "models/m", 1)
    )
    made.nodes |= attested.nodes
    made.evidence["train"] = statement("train", {"data/prepared/train.csv": "train"}, {"models/m": attested})
    return made


def named(
    attested: dict[str, str], here: dict[str, str], *, nodes: bool = True
) -> list[tuple[str, str, str]]:
    now = tree(here)
    target = Target(now.digest, "models/m", directory=True, nodes=now.nodes if nodes else {})
    return codes(world(tree(attested)).verdict(target))


@pytest.mark.parametrize(
    ("change", "file"),
    [
        ({"weights/deep/b": "two"}, "weights/deep/b"),
        ({"card.txt": "kard"}, "card.txt"),
        ({"weights/evil": "x"}, "weights/evil"),
        ({"tokens/c": None}, "tokens"),
        ({"weights/a": None}, "weights/a"),
    ],
)
def test_changed_file_is_named(change: dict[str, str | None], file: str) -> None:
    """After the directory itself comes each file that differs: changed, added or removed, at any depth."""
    here = {path: text for path, text in (FILES | change).items() if text is not None}
    assert named(FILES, here) == [
        ("OTHER_CONTENT", "train", "models/m"),
        ("OTHER_CONTENT", "train", f"models/m/{file}"),
    ]


@pytest.mark.parametrize(
    ("change", "how"),
    [
        ({"card.txt": "kard"}, "was changed"),
        ({"more": "x"}, "was added"),
        ({"card.txt": None}, "was removed"),
    ],
)
def test_it_is_said_how_a_file_differs(change: dict[str, str | None], how: str) -> None:
    """Since the step made the directory."""
    now = tree({path: text for path, text in (FILES | change).items() if text is not None})
    target = Target(now.digest, "models/m", directory=True, nodes=now.nodes)
    message = world(tree(FILES)).verdict(target).findings[1].message
    assert message == f"models/m/{next(iter(change))} {how} since step train made models/m"


def test_a_file_in_the_place_of_a_directory_is_named() -> None:
    """And a directory in the place of a file: it is one difference, not one for each file."""
    one, other = (
        {"card.txt": "card", "weights/a": "1", "weights/b": "2"},
        {"card.txt": "card", "weights": "x"},
    )
    for before, here in ((one, other), (other, one)):
        assert named(before, here)[1:] == [("OTHER_CONTENT", "train", "models/m/weights")]


def test_files_are_named_in_order() -> None:
    """By name, the files of a directory together: two reports of one difference are the same."""
    changed = {f"{place}{name}": "new" for name in "zkcxbaq" for place in ("", "m/")}
    before = dict.fromkeys(changed, "old")
    assert [artifact for _, _, artifact in named(before, changed)[1:]] == [
        f"models/m/{name}" for name in [*"abck", *(f"m/{one}" for one in "abckqx")]
    ]


def test_without_a_manifest_the_directory_is_named() -> None:
    """Where only the digest of the target is known, the finding is about the whole."""
    assert named(FILES, FILES | {"card.txt": "x"}, nodes=False) == [("OTHER_CONTENT", "train", "models/m")]


def test_named_files_are_bounded() -> None:
    """A directory that has nothing in common with what was attested does not flood the report."""
    assert len(named(FILES, {f"f{n}": "x" for n in range(1000)})) == 1 + MAX_FILES
