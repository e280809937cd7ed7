"""A Git repository with gitchain's configuration, attestation store and outbox.

`.gitchain/config.toml` is used for signing only (docs/design.md, section 6). Verification reads nothing from it.

```toml
schema = "https://gitchain.dev/config/v1"
layout = "credit-model"        # name that goes into every statement

[sign]
trust = "local"                # local | public | a trust configuration file, relative to the repository
identity = "ada@example.com"   # embedded instance only: the signer unless --as is given
key = "hsm:2?label=release"    # signing key, for environments without OIDC (docs/signing.md)
```
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from gitchain.collect.git import GitState, git_state
from gitchain.errors import MalformedError, ProjectError
from gitchain.evidence.names import check_step_name
from gitchain.platform.files import open_regular

if TYPE_CHECKING:
    from gitchain.collect.file_digests import Progress
    from gitchain.collect.hash_cache import StateCache
    from gitchain.store.git_ref import AttestationStore
    from gitchain.store.outbox import Outbox

CONFIG_SCHEMA = "https://gitchain.dev/config/v1"
CONFIG = Path(".gitchain") / "config.toml"
LAYOUT = Path(".gitchain") / "layout.yaml"
SIGNED_LAYOUT = Path(".gitchain") / "layout.sigstore.json"
MAX_CONFIG_BYTES = 1 << 16  # a page of settings


@dataclass(frozen=True, slots=True)
class Config:
    """Settings for producing evidence, from the repository's configuration file."""

    layout: str | None
    trust: str
    identity: str | None
    key: str | None = None


@dataclass(frozen=True)
class Project:
    """A Git repository; store, outbox and cache are opened on first use."""

    git: GitState
    config: Config | None
    progress: Progress | None = None
    fetches: bool = True
    """Whether missing objects of a partial clone may be fetched. Git then runs programs from the repository's settings."""

    @property
    def root(self) -> Path:
        """Return the root of the work tree, or the Git directory of a bare repository."""
        return self.git.root

    @property
    def state_dir(self) -> Path:
        """Return gitchain's directory inside the Git directory. All worktrees share it."""
        return self.git.common_dir / "gitchain"

    @property
    def seen_key(self) -> str:
        """Return the key of this clone in `gitchain.sources.rollback_protection`."""
        return f"repository {self.git.common_dir}"

    @cached_property
    def store(self) -> AttestationStore:
        """Return the attestation store of this repository."""
        from gitchain.store.git_ref import AttestationStore

        # the root, because a remote's relative url is relative to it
        return AttestationStore.open(self.root, offline=not self.fetches)

    @cached_property
    def outbox(self) -> Outbox:
        """Return the queue of statements that are not signed yet."""
        from gitchain.store.outbox import Outbox

        return Outbox(self.state_dir / "outbox")

    @cached_property
    def state(self) -> StateCache:
        """Return the cache of file digests, keyed by unchanged file metadata. Used for producing only."""
        from gitchain.collect.hash_cache import StateCache

        return StateCache(self.state_dir / "state.db")

    def configured(self) -> Config:
        """Return the configuration. Raises ProjectError with the command that creates one."""
        if self.config is None:
            if not self.git.has_work_tree:
                raise ProjectError(
                    "a bare repository has no configuration",
                    where=str(self.root),
                    expected="--trust, or a clone with files",
                    help="gitchain --trust local …   (or public, or FILE)",
                )
            from gitchain.collect.committed import restoring

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
    """Open the repository that contains `path`.

    Raises ProjectError if there is no repository or its configuration is invalid. A bare repository, or a Git
    directory, is accepted only without `changes` (read-only). `progress` receives the numbers of files and bytes
    during hashing. The configuration is read only if `configured`. Without `changes`, no program from the
    repository's settings is run, and missing objects of a partial clone are not fetched.
    """
    git = git_state(path, changes=changes)
    config = _read_config(git.root) if configured and git.has_work_tree else None
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
        from gitchain.collect.committed import left_out

        kept = left_out(root, CONFIG)
        if kept is None:
            return None
        data = kept
    except OSError as error:
        raise ProjectError(
            "cannot read the configuration",
            where=str(path),
            got=str(error.strerror),
            help="give this user access to the file and try again",
        ) from error
    if len(data) > MAX_CONFIG_BYTES:
        raise ProjectError(
            "the configuration is too large", where=str(path), expected=f"≤ {MAX_CONFIG_BYTES} bytes"
        )
    try:
        return _parse_config(tomllib.loads(data.decode("utf-8")), str(path))
    except (ValueError, RecursionError) as error:  # ValueError: also a number of 5,000 digits
        raise ProjectError(
            "the configuration is not TOML",
            where=str(path),
            got=str(error)[:200],
            help="correct the line; or set the repository up again: gitchain init --local --force",
        ) from error


def _parse_config(document: dict[str, object], where: str) -> Config:
    sign = document.get("sign", {})
    if document.get("schema") != CONFIG_SCHEMA or not isinstance(sign, dict):
        raise ProjectError(
            "unknown configuration",
            where=where,
            expected=f'schema = "{CONFIG_SCHEMA}"',
            got=str(document.get("schema")),
            help="use a newer gitchain, or set the repository up again: gitchain init --local --force",
        )
    unknown = sorted(
        (document.keys() - {"schema", "layout", "sign"}) | (sign.keys() - {"trust", "identity", "key"})
    )
    if unknown:
        raise ProjectError(
            "unknown setting", where=where, got=", ".join(unknown), help="remove it, or use a newer gitchain"
        )
    values = (document.get("layout"), sign.get("trust"), sign.get("identity"), sign.get("key"))
    if not isinstance(values[1], str) or any(
        value is not None and not isinstance(value, str) for value in values
    ):
        raise ProjectError(
            "a setting is not a string",
            where=where,
            expected="layout, sign.trust, sign.identity, sign.key as strings",
            help="put the value in quotes",
        )
    if isinstance(values[0], str):
        try:
            check_step_name(values[0])  # the name goes into every statement
        except MalformedError as error:
            raise ProjectError(
                "the layout's name cannot be used",
                where=f"{where}: layout",
                got=str(error),
                help="correct layout in the configuration",
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
