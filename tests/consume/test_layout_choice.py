"""Which pinned layout applies: by name, by a file of the verifier's own, by the repository's pin; else none."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from gitchain.consume.layout_choice import chosen_pin
from gitchain.errors import LayoutError
from gitchain.workspace.user_directory import LayoutPin, read_pins, write_pin

SIGNER = (("https://issuer.example", "ada@example.com"),)


def git(cwd: Path, *args: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    done = subprocess.run(["git", *identity, *args], cwd=cwd, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def repository(path: Path, name: str) -> Path:
    """A repository with one commit, and the path of its signed layout."""
    path.mkdir()
    git(path, "init", "-q")
    git(path, "commit", "-q", "--allow-empty", "-m", name)
    return path / ".gitchain/layout.sigstore.json"


def pinned(name: str, *repositories: Path) -> LayoutPin:
    pin = LayoutPin(
        name, SIGNER, "local", "0" * 64, repositories=tuple(str(one / ".git") for one in repositories)
    )
    write_pin(pin)
    return pin


def choose(
    path: Path, name: str, wanted: str | None = None, *, named: bool = False, root: Path | None = None
) -> str | None:
    pin = chosen_pin(read_pins(), wanted, path, name, is_signer_named=named, root=root)
    return pin.layout if pin else None


@pytest.fixture
def credit(tmp_path: Path) -> Path:
    """A repository that is pinned to the layout credit, beside one that is pinned to toy."""
    layout = repository(tmp_path / "credit", "credit")
    repository(tmp_path / "toy", "toy")
    pinned("credit", tmp_path / "credit")
    pinned("toy", tmp_path / "toy")
    return layout


def test_chosen_pin_without_pins_is_none(tmp_path: Path) -> None:
    """Who may sign is then for the options to say."""
    assert choose(repository(tmp_path / "x", "x"), "credit") is None


def test_chosen_pin_is_the_only_one(tmp_path: Path) -> None:
    """One pin, a repository that no pin names: it applies, and no other name has a pin."""
    layout = repository(tmp_path / "x", "x")
    pinned("credit")
    assert choose(layout, "credit") == "credit"
    assert choose(layout, "toy") is None


def test_chosen_pin_of_a_pinned_repository(credit: Path) -> None:
    """The repository's own layout, and no other that is pinned too."""
    assert choose(credit, "credit") == "credit"
    with pytest.raises(LayoutError, match="another layout than the one it is pinned to") as told:
        choose(credit, "toy")
    assert (told.value.expected, told.value.got) == ("credit", "toy")
    assert "--layout-name toy" in told.value.help


def test_chosen_pin_of_a_clone(credit: Path, tmp_path: Path) -> None:
    """A clone of a pinned repository is bound to the same layout by its remote; without, it may have no other one."""
    root = credit.parent.parent
    git(tmp_path, "clone", "-q", str(root), "clone")
    layout = tmp_path / "clone/.gitchain/layout.sigstore.json"
    assert choose(layout, "credit") == "credit"
    with pytest.raises(LayoutError, match="pinned to"):
        choose(layout, "toy")
    git(tmp_path / "clone", "remote", "remove", "origin")
    with pytest.raises(LayoutError, match="more than one pinned layout could apply"):
        choose(layout, "credit")
    with pytest.raises(LayoutError, match="pinned to"):
        choose(layout, "toy")


def test_chosen_pin_is_not_for_pushed_history_to_say(credit: Path, tmp_path: Path) -> None:
    """Whoever may push can give a clone the first commits of another pinned repository: they choose no layout."""
    root = credit.parent.parent
    git(root, "fetch", "-q", str(tmp_path / "toy"), "HEAD")
    git(root, "branch", "evil", "FETCH_HEAD")
    git(tmp_path, "clone", "-q", "-b", "evil", str(root), "clone")
    git(tmp_path / "clone", "remote", "set-url", "origin", "https://git.example.com/another-address-of-it")
    with pytest.raises(LayoutError, match="more than one pinned layout could apply"):
        choose(tmp_path / "clone/.gitchain/layout.sigstore.json", "toy")


def test_chosen_pin_takes_every_file_of_the_repository_for_its_own(
    credit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--layout` may name the repository's file in whatever way: what it holds is still the repository's choice."""
    root = credit.parent.parent
    credit.parent.mkdir()
    credit.write_text("{}")
    (root / "policy").symlink_to(".gitchain")
    (tmp_path / "link.json").symlink_to(credit)
    (root / "out").symlink_to(tmp_path)
    for path in (root / "prod/layout.json", root / "policy/layout.sigstore.json", tmp_path / "link.json"):
        with pytest.raises(LayoutError, match="pinned to"):
            choose(path, "toy", root=root)
    monkeypatch.chdir(credit.parent)
    for given in ("layout.sigstore.json", "./layout.sigstore.json", "../.gitchain/layout.sigstore.json"):
        with pytest.raises(LayoutError, match="pinned to"):
            choose(Path(given), "toy", root=root)
    assert choose(tmp_path / "toy.json", "toy", root=root) == "toy"


@pytest.mark.parametrize("url", ["file://{}", "{}/.git", "{}"])
def test_chosen_pin_by_the_remote_alone(credit: Path, tmp_path: Path, url: str) -> None:
    """An empty clone has no commits yet; where it came from is known."""
    (tmp_path / "empty").mkdir()
    git(tmp_path / "empty", "init", "-q")
    git(tmp_path / "empty", "remote", "add", "origin", url.format(credit.parent.parent))
    with pytest.raises(LayoutError, match="pinned to"):
        choose(tmp_path / "empty/.gitchain/layout.sigstore.json", "toy")


def test_chosen_pin_by_a_common_remote(credit: Path, tmp_path: Path) -> None:
    """The pinned repository is a clone itself: what has the same remote is the same."""
    git(credit.parent.parent, "remote", "add", "origin", "https://git.example.com/credit.git")
    other = repository(tmp_path / "other", "other")
    git(tmp_path / "other", "remote", "add", "upstream", "https://git.example.com/credit/")
    with pytest.raises(LayoutError, match="pinned to"):
        choose(other, "toy")


def test_chosen_pin_where_several_could_apply(credit: Path, tmp_path: Path) -> None:
    """A repository of neither, and one that has marks of both: exit code 5, and what to type."""
    other = repository(tmp_path / "other", "other")
    for layout in (other, credit):
        with pytest.raises(LayoutError, match="more than one pinned layout could apply") as told:
            choose(layout, "toy")
        assert told.value.expected == "one of credit, toy"
        assert "--layout-name toy" in told.value.help
        assert "gitchain trust pin --layout toy" in told.value.help
        git(tmp_path, "clone", "-q", str(tmp_path / "credit"), "both")
        git(tmp_path / "both", "remote", "add", "toy", str(tmp_path / "toy"))
        credit = tmp_path / "both/.gitchain/layout.sigstore.json"
        with pytest.raises(LayoutError, match="more than one"):
            choose(credit, "credit")
        break
    assert choose(other, "unknown") is None
    assert choose(other, "toy", named=True) == "toy"
    assert choose(other, "toy", "toy") == "toy"


def test_chosen_pin_by_name(credit: Path) -> None:
    """The verifier's word for it: it needs no pin, and another layout is refused."""
    assert choose(credit, "toy", "toy") == "toy"
    assert choose(credit, "other", "other") is None
    with pytest.raises(LayoutError, match="another layout than the one to verify by") as told:
        choose(credit, "toy", "credit", named=True)
    assert (told.value.expected, told.value.got, told.value.where) == ("credit", "toy", str(credit))


def test_chosen_pin_by_the_verifiers_own_file(credit: Path, tmp_path: Path) -> None:
    """A file that is no repository's own was chosen by whoever named it; so was one outside of any repository."""
    assert choose(tmp_path / "toy.json", "toy") == "toy"
    pinned("toy", tmp_path / "gone")
    (tmp_path / "plain/.gitchain").mkdir(parents=True)
    with pytest.raises(LayoutError, match="more than one"):
        choose(tmp_path / "plain/.gitchain/layout.sigstore.json", "toy")


def test_write_pin_takes_a_repository_from_other_pins(credit: Path) -> None:
    """A repository that is pinned again is bound to the new layout alone."""
    write_pin(replace(read_pins()["toy"], repositories=(str(credit.parent.parent / ".git"),)))
    assert read_pins()["credit"].repositories == ()
    assert choose(credit, "toy") == "toy"
