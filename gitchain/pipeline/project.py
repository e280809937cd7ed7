"""One Git repository as gitchain sees it: where it is, what `.gitchain/config.toml` says, its store and outbox.

The configuration is read for producing only (docs/design.md, section 6): verification takes nothing from it.

```toml
schema = "https://gitchain.dev/config/v1"
layout = "credit-model"        # name that goes into every statement
[sign]
trust = "local"                # local | public | a trust configuration file, relative to the repository
identity = "ada@example.com"   # embedded instance only: who signs when --as is not given
key = "hsm:2?label=release"    # what signs instead, where there is no OIDC (docs/signing.md)
```
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from gitchain.collect.committed import left_out, restoring
from gitchain.collect.git import GitState, git_state
from gitchain.errors import MalformedError, ProjectError
from gitchain.evidence.names import check_step_name
from gitchain.platform.files import open_regular

if TYPE_CHECKING:
    from gitchain.collect.files import Progress
    from gitchain.collect.state import StateCache
    from gitchain.store.git_ref import AttestationStore
    from gitchain.store.outbox import Outbox

CONFIG_SCHEMA = "https://gitchain.dev/config/v1"
CONFIG = Path(".gitchain") / "config.toml"
LAYOUT = Path(".gitchain") / "layout.yaml"
SIGNED_LAYOUT = Path(".gitchain") / "layout.sigstore.json"
MAX_CONFIG_BYTES = 1 << 16  # a page of settings


@dataclass(frozen=True, slots=True)
class Config:
    """What the repository says about producing evidence."""

    layout: str | None
    trust: str
    identity: str | None
    key: str | None = None


@dataclass(frozen=True)
class Project:
    """A repository with gitchain's rooms opened lazily."""

    git: GitState
    config: Config | None
    progress: Progress | None = None
    fetches: bool = True
    """Whether objects that a partial clone lacks are fetched: by programs that the repository's settings name."""

    @property
    def root(self) -> Path:
        """The work tree's root."""
        return self.git.root

    @property
    def state_dir(self) -> Path:
        """Gitchain's own files inside the Git directory, shared by all worktrees."""
        return self.git.common_dir / "gitchain"

    @property
    def seen_key(self) -> str:
        """What this clone is remembered by; see `gitchain.pipeline.seen`."""
        return f"repository {self.git.common_dir}"

    @cached_property
    def store(self) -> AttestationStore:
        """The attestations of this repository."""
        from gitchain.store.git_ref import AttestationStore

        # at the root: where the relative url of a remote counts from
        return AttestationStore.open(self.root, offline=not self.fetches)

    @cached_property
    def outbox(self) -> Outbox:
        """Statements that wait for a signature."""
        from gitchain.store.outbox import Outbox

        return Outbox(self.state_dir / "outbox")

    @cached_property
    def state(self) -> StateCache:
        """Digests of files that have not changed since they were hashed: for producing only."""
        from gitchain.collect.state import StateCache

        return StateCache(self.state_dir / "state.db")

    def configured(self) -> Config:
        """Return the configuration, or ProjectError saying how to make one."""
        if self.config is None:
            if lost := restoring(self.root, CONFIG):
                raise ProjectError(
                    "the gitchain configuration is not in the work tree",
                    where=str(self.root / CONFIG),
                    help=lost,
                )
            raise ProjectError(
                "this repository has no gitchain configuration",
                where=str(self.root / CONFIG),
                help="gitchain init --local   (or --public, or --trust FILE)",
            )
        return self.config


def open_project(
    path: Path, progress: Progress | None = None, *, configured: bool = True, changes: bool = True
) -> Project:
    """Open the repository around `path`; ProjectError when there is none or its configuration is broken.

    `progress` hears how far the hashing of its files is. The configuration is not read unless `configured`,
    and nothing that the repository's own settings name is run unless `changes` are asked for: to record them. Without,
    the store of a partial clone is not completed either.
    """
    git = git_state(path, changes=changes)
    config = _read_config(git.root) if configured else None
    return Project(git=git, config=config, progress=progress, fetches=changes)


def _read_config(root: Path) -> Config | None:
    try:
        return _load_config(root)
    except ProjectError as error:
        error.help = (
            error.help or "git restore .gitchain/config.toml   or set up again: gitchain init … --force"
        )
        raise


def _load_config(root: Path) -> Config | None:
    path = root / CONFIG
    try:
        with open_regular(path) as file:
            data = file.read(MAX_CONFIG_BYTES + 1)
    except FileNotFoundError:
        kept = left_out(root, CONFIG)
        if kept is None:
            return None
        data = kept
    except OSError as error:
        raise ProjectError(
            "cannot read the configuration", where=str(path), got=str(error.strerror)
        ) from error
    if len(data) > MAX_CONFIG_BYTES:
        raise ProjectError(
            "the configuration is too large", where=str(path), expected=f"≤ {MAX_CONFIG_BYTES} bytes"
        )
    try:
        return _parse_config(tomllib.loads(data.decode("utf-8")), str(path))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProjectError("the configuration is not TOML", where=str(path), got=str(error)) from error


def _parse_config(document: dict[str, object], where: str) -> Config:
    sign = document.get("sign", {})
    if document.get("schema") != CONFIG_SCHEMA or not isinstance(sign, dict):
        raise ProjectError(
            "unknown configuration",
            where=where,
            expected=f'schema = "{CONFIG_SCHEMA}"',
            got=str(document.get("schema")),
        )
    unknown = sorted(
        (document.keys() - {"schema", "layout", "sign"}) | (sign.keys() - {"trust", "identity", "key"})
    )
    if unknown:
        raise ProjectError("unknown setting", where=where, got=", ".join(unknown))
    values = (document.get("layout"), sign.get("trust"), sign.get("identity"), sign.get("key"))
    if not isinstance(values[1], str) or any(
        value is not None and not isinstance(value, str) for value in values
    ):
        raise ProjectError(
            "a setting is not a string",
            where=where,
            expected="layout, sign.trust, sign.identity, sign.key as strings",
        )
    if isinstance(values[0], str):
        try:
            check_step_name(values[0])  # it goes into every statement
        except MalformedError as error:
            raise ProjectError(
                "the layout's name cannot be used", where=f"{where}: layout", got=str(error)
            ) from error
    return Config(layout=values[0], trust=values[1], identity=values[2], key=values[3])  # type: ignore[arg-type]


def render_config(config: Config) -> str:
    """Return the text of a configuration file."""
    lines = [f'schema = "{CONFIG_SCHEMA}"']
    if config.layout:
        lines.append(f"layout = {_toml_string(config.layout)}")
    lines += ["", "[sign]", f"trust = {_toml_string(config.trust)}"]
    if config.identity:
        lines.append(f"identity = {_toml_string(config.identity)}")
    if config.key:
        lines.append(f"key = {_toml_string(config.key)}")
    return "\n".join(lines) + "\n"


def _toml_string(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
