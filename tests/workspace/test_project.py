"""A repository's configuration: read for producing, strictly, with one clear error for each fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitchain.errors import ProjectError
from gitchain.workspace.project import CONFIG, Config, open_project, render_config

HEAD = 'schema = "https://gitchain.dev/config/v1"\n'


def write(repo: Path, data: bytes) -> None:
    (repo / CONFIG).parent.mkdir(exist_ok=True)
    (repo / CONFIG).write_bytes(data)


@pytest.mark.parametrize("name", ["credit", 'we"ird', "back\\slash", "ümlaut"])
def test_what_is_rendered_is_read_back(git_repo: Path, name: str) -> None:
    """open_project(render_config(x)) == x, quotes and backslashes too."""
    config = Config(layout=name, trust="local", identity="ada@example.com")
    write(git_repo, render_config(config).encode())
    assert open_project(git_repo).config == config


def test_a_subdirectory_finds_the_root(git_repo: Path) -> None:
    """Work can start anywhere in the tree."""
    (git_repo / "a/b").mkdir(parents=True)
    assert open_project(git_repo / "a/b").root == git_repo


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"schema = ", "not TOML"),
        (b"\xff", "not TOML"),
        (b"schema = " + b"9" * 5_000, "not TOML"),
        (b"", "unknown configuration"),
        (HEAD.encode() + b'typo = "x"\n[sign]\ntrust = "local"\n', "unknown setting"),
        (HEAD.encode() + b'[sign]\ntrust = "local"\nkeys = "x"\n', "unknown setting"),
        (HEAD.encode() + b"[sign]\ntrust = 1\n", "not a string"),
        (HEAD.encode() + b"sign = 1\n", "unknown configuration"),
        (HEAD.encode(), "not a string"),
        (b"#" * (1 << 17), "too large"),
    ],
)
def test_a_broken_configuration_is_one_clear_error(git_repo: Path, data: bytes, message: str) -> None:
    """Each fault is a ProjectError that names the file."""
    write(git_repo, data)
    with pytest.raises(ProjectError, match=message) as caught:
        open_project(git_repo)
    assert caught.value.where.endswith("config.toml")


def test_without_configuration_the_error_says_init(git_repo: Path) -> None:
    """Producing needs a configuration; reading does not."""
    project = open_project(git_repo)
    with pytest.raises(ProjectError) as caught:
        project.configured()
    assert "gitchain init" in caught.value.help


def test_outside_a_repository(tmp_path: Path) -> None:
    """No repository is a usage error."""
    with pytest.raises(ProjectError):
        open_project(tmp_path)
