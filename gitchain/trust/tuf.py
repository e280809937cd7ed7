"""Trusted roots from TUF repositories: the public instance's, or any https URL.

The user pins the initial root of a repository with `--tuf-root FILE`; for the public instance, sigstore-python's copy
is used. Metadata is updated by `gitchain trust update`, or when the cached copy is a day old or expired, and never
under --offline. The cache is in the user's directory:

trust/tuf/<start of sha256(url)>/initial.json    metadata/…    targets/…    state.json

Spec: https://theupdateframework.github.io/specification/latest/ (implemented by python-tuf's client). A repository
without a pinned root is rejected. What a trusted root proves is decided elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from gitchain.errors import GitchainError, StoreError, TransportError, TrustError, reason
from gitchain.evidence.canonical import canonical_json, strict_json
from gitchain.evidence.digest import sha256_hex
from gitchain.platform.files import make_directory, read_regular, write_durably
from gitchain.workspace.user_directory import home_lock, user_directory

if TYPE_CHECKING:
    from tuf.ngclient import Updater

    from gitchain.sign.http import Http

PUBLIC, PUBLIC_V2 = "public", "public-v2"
PUBLIC_URL = "https://tuf-repo-cdn.sigstore.dev"
ROOT_TARGET, SIGNING_TARGET = "trusted_root.json", "signing_config.v0.2.json"
SIGNING_TARGET_V2 = "signing_config_rekor_v2.v0.2.json"
DUE = timedelta(days=1)
"""Maximum age of the cached copy. The public repository signs a new timestamp every few days."""
MAX_TUF_BYTES = 8 << 20
CONFIG_TYPE = "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json"
ROLES = ("root", "timestamp", "snapshot", "targets")


@dataclass(frozen=True, slots=True)
class FetchedTrust:
    """A trust configuration from a repository: its source, its download time, and its expiry."""

    url: str
    text: str
    time: datetime
    expires: datetime

    def is_due(self, now: datetime) -> bool:
        """Return True if the repository must be contacted again."""
        return now > self.time + DUE or now > self.expires


@dataclass(frozen=True, slots=True)
class Repository:
    """A TUF repository and the name of the wanted signing configuration."""

    name: str
    url: str
    signing: str = SIGNING_TARGET

    @classmethod
    def of(cls, name: str) -> Repository | None:
        """Return the repository for a --trust value, or None if the value is not one. Raises TrustError for plain http."""
        if name in {PUBLIC, PUBLIC_V2}:
            return cls(name, PUBLIC_URL, SIGNING_TARGET if name == PUBLIC else SIGNING_TARGET_V2)
        if not name.startswith(("https://", "http://")):
            return None
        from gitchain.sign.context import is_protected

        if not is_protected(name):
            raise TrustError(
                "the TUF repository URL must use https",
                got=ascii(name)[1:-1][:200],
                expected="https://, or http:// on loopback",
            )
        return cls(name, name.rstrip("/"))

    @property
    def directory(self) -> Path:
        """Return the cache directory of the repository, created if missing."""
        path = user_directory()
        for part in ("trust", "tuf", sha256_hex(self.url.encode())[:32]):
            path /= part
            make_directory(path)
        return path

    def pin(self, root: bytes) -> None:
        """Pin the initial root of the repository.

        Raises TrustError if `root` is no valid TUF root, or if a different root is pinned already.
        """
        _check_root(root)
        path = self.directory / "initial.json"
        if path.exists() and (before := self._kept(path)) != root:
            raise TrustError(
                "another root is pinned for this repository",
                where=str(path),
                expected=f"sha256:{sha256_hex(before)}",
                got=f"sha256:{sha256_hex(root)}",
                help=f"if you mean it, remove {path.parent} and pin again",
            )
        write_durably(path, root)

    def cached(self) -> FetchedTrust | None:
        """Return the cached configuration, or None if there is no cache. Raises TrustError if the cache is damaged."""
        try:
            state = strict_json(read_regular(self.directory / "state.json", MAX_TUF_BYTES), "TUF state")
            text = self._text()
        except FileNotFoundError:
            return None
        except (OSError, GitchainError, ValueError) as error:
            raise self._damaged(error) from error
        times = state if isinstance(state, dict) else {}
        try:
            fetched, expires = (
                datetime.fromisoformat(str(times[key])).astimezone(UTC) for key in ("fetched", "expires")
            )
        except (KeyError, ValueError) as error:
            raise self._damaged(error) from error
        return FetchedTrust(self.url, text, fetched, expires)

    def refresh(self, http: Http, now: datetime) -> FetchedTrust:
        """Update the metadata and return the current trust configuration.

        Raises TransportError if the repository is unreachable, TrustError if its metadata does not verify or no root
        is pinned.
        """
        from tuf.api.exceptions import DownloadError, DownloadLengthMismatchError, RepositoryError

        with home_lock():
            try:
                updater = self._updater(http)
                updater.refresh()
                self._download(updater, ROOT_TARGET, needed=True)
                self._download(updater, SIGNING_TARGET, needed=False)
                self._download(updater, SIGNING_TARGET_V2, needed=self.name == PUBLIC_V2)
            except (RepositoryError, DownloadLengthMismatchError, ValueError) as error:
                raise TrustError(
                    "the trust repository does not verify",
                    where=self.url,
                    got=f"{type(error).__name__}: {error}"[:300],
                    help="report it to the operator of the repository; nothing of it was accepted",
                ) from error
            except DownloadError as error:
                raise TransportError(
                    "the trust repository cannot be reached",
                    where=self.url,
                    got=str(error.__cause__ or error)[:300],
                    help="try again, or: --offline",
                ) from error
            except OSError as error:
                raise StoreError(
                    "cannot keep the trust repository", where=str(self.directory), got=reason(error)
                ) from error
            fetched = FetchedTrust(self.url, self._text(), now, self._expires())
            times = {"fetched": now.isoformat(), "expires": fetched.expires.isoformat()}
            write_durably(self.directory / "state.json", canonical_json(dict(times)))
        return fetched

    def _updater(self, http: Http) -> Updater:
        from tuf.ngclient import Updater, UpdaterConfig

        metadata, targets = self.directory / "metadata", self.directory / "targets"
        make_directory(metadata)
        make_directory(targets)
        return Updater(
            metadata_dir=str(metadata),
            metadata_base_url=self.url,
            target_dir=str(targets),
            target_base_url=f"{self.url}/targets/",
            fetcher=_fetcher(http),
            config=UpdaterConfig(),
            bootstrap=self._initial_root(),
        )

    def _initial_root(self) -> bytes:
        path = self.directory / "initial.json"
        if path.exists():
            return self._kept(path)
        if self.url == PUBLIC_URL:  # sigstore-python exports its copy only under this private name
            return (
                resources.files("sigstore")
                .joinpath("_store", quote(self.url, safe=""), "root.json")
                .read_bytes()
            )
        raise TrustError(
            "no root is pinned for this TUF repository",
            where=self.url,
            help=f"gitchain --trust {self.url} trust update --tuf-root root.json",
        )

    def _download(self, updater: Updater, target: str, *, needed: bool) -> None:
        info = updater.get_targetinfo(target)
        if info is None:
            if needed:
                raise TrustError("the trust repository lacks a file", where=self.url, expected=target)
            (self.directory / "targets" / target).unlink(missing_ok=True)
        elif updater.find_cached_target(info) is None:
            updater.download_target(info)

    def _text(self) -> str:
        """Return the trust configuration, or the trusted root alone if the repository has no signing configuration."""
        root = read_regular(self.directory / "targets" / ROOT_TARGET, MAX_TUF_BYTES).decode("utf-8")
        path = self.directory / "targets" / self.signing
        if not path.exists():
            if self.name == PUBLIC_V2:
                raise FileNotFoundError(path)
            return root
        config = {
            "mediaType": CONFIG_TYPE,
            "trustedRoot": json.loads(root),
            "signingConfig": json.loads(read_regular(path, MAX_TUF_BYTES)),
        }
        return json.dumps(config, indent=2) + "\n"

    def _expires(self) -> datetime:
        from tuf.api.metadata import Metadata

        files = (self.directory / "metadata" / f"{role}.json" for role in ROLES)
        return min(Metadata.from_file(str(file)).signed.expires for file in files).astimezone(UTC)

    def _kept(self, path: Path) -> bytes:
        try:
            return read_regular(path, MAX_TUF_BYTES)
        except OSError as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> TrustError:
        return TrustError(
            "the files fetched from the trust repository are damaged",
            where=str(self.directory),
            got=str(error)[:200],
            help=f"gitchain --trust {self.name} trust update",
        )


def _check_root(data: bytes) -> None:
    """Raise TrustError unless `data` is a TUF root that its own keys signed."""
    from tuf.api.exceptions import RepositoryError
    from tuf.api.metadata import Metadata, Root

    try:
        root: Metadata[Root] = Metadata[Root].from_bytes(data)
        if not isinstance(root.signed, Root):
            raise TrustError("not a TUF root", got=root.signed.type, expected="root")
        root.signed.verify_delegate(Root.type, root.signed_bytes, root.signatures)
    except (RepositoryError, ValueError, KeyError, TypeError) as error:
        raise TrustError(
            "not a TUF root", got=str(error)[:200], expected="root.json of the repository"
        ) from error


def _fetcher(http: Http) -> _Fetcher:
    from tuf.api.exceptions import DownloadHTTPError
    from tuf.ngclient import FetcherInterface

    from gitchain.sign.http import SigningRequest

    class Fetcher(FetcherInterface):
        """python-tuf fetcher over the bounded HTTP client: no redirects, limits on time and size."""

        def _fetch(self, url: str) -> Iterator[bytes]:
            answer = http.send(SigningRequest("the trust repository", url, max_bytes=MAX_TUF_BYTES))
            if answer.status != 200:
                raise DownloadHTTPError(f"HTTP {answer.status}", answer.status)
            yield answer.body

    return Fetcher()


if TYPE_CHECKING:
    from tuf.ngclient import FetcherInterface as _Fetcher
