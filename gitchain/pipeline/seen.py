"""What this user has seen of an attestation store: a store that holds less than it did was rewound or replaced.

After each verification, attestation and exchange with a remote the user's own directory remembers the store's commit,
the number of its bundles and the digest of their tree, in `seen/` (docs/formats/history.md, schemas/seen.schema.json):

- by the repository's common directory, or the mirrored remote's URL: what this clone held;
- by the first commits of the store's history, after an exchange: what a remote held. A new clone begins with it.

`refs/gitchain-seen/attestations` keeps the commit at hand, so that what is lost can be named.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from gitchain.errors import GitchainError, LimitError, MalformedError, RollbackError, StoreError, TrustError
from gitchain.evidence.bundle import Bundle
from gitchain.evidence.canonical import Json, canonical_json, strict_json
from gitchain.evidence.digest import sha256_hex
from gitchain.evidence.predicates import claim_of
from gitchain.pipeline.home import home_lock, make_directory, user_directory, write_atomically
from gitchain.store.history import bundle_at, held, keep, listed_more, lost, roots, tree_of
from gitchain.store.shape import ATTESTATIONS, MANIFESTS

if TYPE_CHECKING:
    from gitchain.store.git_ref import AttestationStore

SEEN_SCHEMA = "https://gitchain.dev/seen/v1"
MAX_SEEN_BYTES = 1 << 20
MAX_UNREADABLE = 1000  # broken leaves to remember; a store with more of them is not remembered
NAMED = 5  # lost attestations that a message names
UNKNOWN = ""
FORGET = "gitchain sync   brings back what a remote has; if the loss is meant: gitchain trust forget-history"


class Watched(Protocol):
    """A repository whose store must not shrink: the user's own (`Project`) or a mirrored one."""

    @property
    def store(self) -> AttestationStore:
        """Its attestations."""

    @property
    def seen_key(self) -> str:
        """What it is remembered by."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A store as it was seen last. `key` says which: a repository's directory, or a first commit."""

    key: str
    commit: str
    tree: str | None
    size: int
    time: str
    unreadable: tuple[str, ...] = ()
    """Paths of bundles that could not be read then: not to be missed later."""
    manifests: str | None = None
    """The tree of manifest nodes; None where there were none, UNKNOWN in what an older version wrote."""

    def to_json(self) -> dict[str, Json]:
        """Return the file's content."""
        found: dict[str, Json] = {
            "schema": SEEN_SCHEMA,
            "of": self.key,
            "commit": self.commit,
            "tree": self.tree,
            "size": self.size,
            "time": self.time,
            "unreadable": self.unreadable,
        }
        return found if self.manifests == UNKNOWN else {**found, "manifests": self.manifests}


def check_seen(project: Watched, tip: str | None, unreadable: Collection[str] = ()) -> None:
    """Check that the store at `tip` holds every bundle that was seen in it before.

    Raises RollbackError that says what is missing, TrustError where the memory is damaged.
    """
    for seen in _recalled(project, tip):
        if seen.commit != tip or unreadable:
            _check(project, seen, tip, unreadable)


def remember(
    project: Watched, tip: str | None, now: datetime, unreadable: Collection[str] | None = None
) -> None:
    """Remember the store as it was at `tip`, unless it lacks what was seen before: then that is kept.

    `unreadable` are the paths of bundles that could not be read, None if nobody looked.
    StoreError where the user's directory or the repository cannot be written.
    """
    if tip is not None and len(unreadable or ()) <= MAX_UNREADABLE:
        broken = None if unreadable is None else tuple(sorted(unreadable))
        _advance(project, _clone_key(project), tip, now, broken)


def remember_exchange(project: Watched, theirs: str, now: datetime) -> None:
    """Remember what a remote holds, after an exchange with it: the commit `theirs`.

    Raises RollbackError where another clone has seen more of this store at a remote: this clone is shown another
    history. It is remembered as missing here, too. StoreError as in `remember`.
    """
    for root in roots(project.store, theirs):
        seen = _read(_root_key(root))
        if seen is not None and seen.commit != theirs:
            try:
                _check(project, seen, project.store.tip(), ())
            except RollbackError:
                with home_lock():
                    _write(replace(seen, key=_clone_key(project)))
                raise
        _advance(project, _root_key(root), theirs, now, None)
    remember(project, project.store.tip(), now)


def forget(project: Watched) -> tuple[Seen, ...]:
    """Forget everything that was seen of this repository's store, and return it."""
    tip = project.store.tip()
    keys = [_clone_key(project)]
    own = _read(keys[0])
    for commit in filter(None, (tip, own.commit if own else None)):
        keys += map(_root_key, _roots(project, commit))
    found = {key: seen for key in keys if (seen := _read(key)) is not None}
    with home_lock():
        for key in found:
            _place(key).unlink(missing_ok=True)
    return tuple(found.values())


def recalled(project: Watched) -> tuple[Seen, ...]:
    """Return what verification would compare this repository's store with."""
    return tuple(_recalled(project, project.store.tip()))


def _recalled(project: Watched, tip: str | None) -> Iterator[Seen]:
    own = _read(_clone_key(project))
    if own is not None:
        yield own
    elif tip is not None:
        yield from filter(None, (_read(_root_key(root)) for root in _roots(project, tip)))


def _check(project: Watched, seen: Seen, tip: str | None, unreadable: Collection[str]) -> None:
    same = (seen.tree, seen.manifests) == _trees(project, tip)
    try:
        missing = [] if same else list(lost(project.store, seen.commit, tip))
        nodes = [] if same else list(lost(project.store, seen.commit, tip, MANIFESTS))
    except GitchainError as error:
        raise RollbackError(
            "the attestation store is not the one that was seen here before",
            where=project.store.ref,
            expected=f"{seen.size} attestations or more, as at {seen.time} (commit {seen.commit})",
            got=f"another history, which does not have that commit: {error.what}",
            help=FORGET,
        ) from error
    broken = _gone(project, seen, unreadable)
    if missing or broken or nodes:
        told = [_named(project, seen.commit, missing, broken)] if missing or broken else []
        told += [f"manifest {name[:12]}" for name in nodes[:NAMED]]
        told += [f"and {len(nodes) - NAMED} more manifests"] if len(nodes) > NAMED else []
        raise RollbackError(
            "the attestation store has lost what it held before",
            where=project.store.ref,
            expected=f"all of the {seen.size} attestations seen at {seen.time}, and their manifests",
            got=f"{len(missing) + len(broken) + len(nodes)} missing: {', '.join(told)}",
            help=FORGET,
        )


def _gone(project: Watched, seen: Seen, unreadable: Collection[str]) -> list[str]:
    """Return the bundles that are listed, cannot be read now, and were seen whole before."""
    suspects = sorted(set(unreadable).difference(seen.unreadable))
    try:
        return [path for path in suspects if held(project.store, seen.commit, path)]
    except GitchainError:
        return suspects


def _named(project: Watched, commit: str, missing: Sequence[str], broken: Sequence[str]) -> str:
    told = [_name(bundle_at(project.store, commit, name), name) for name in missing[:NAMED]]
    told += [f"{path} cannot be read" for path in broken[: NAMED - len(told)]]
    more = len(missing) + len(broken) - len(told)
    return ", ".join(told) + (f" and {more} more" if more > 0 else "")


def _name(raw: bytes | None, name: str) -> str:
    """Return how people know a bundle: its attestation id and step, else the name that the store has for it."""
    try:
        statement = Bundle.parse(raw or b"").statement()
        what = claim_of(statement).step or statement.predicate_type.rstrip("/").rsplit("/", 2)[-2]
    except (GitchainError, IndexError):
        return f"bundle {name[:12]}"
    return f"{statement.attestation_id[:12]} ({what[:80]})"


def _advance(project: Watched, key: str, tip: str, now: datetime, unreadable: tuple[str, ...] | None) -> None:
    with home_lock():
        old = _read(key)
        broken = (old.unreadable if old else ()) if unreadable is None else unreadable
        if old is not None and (old.commit, old.unreadable) == (tip, broken):
            return
        tree, manifests = _trees(project, tip)
        size = _grown(project, old, tip, (tree, manifests))
        if size is None:
            return
        time = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        _write(Seen(key, tip, tree, size, time, broken, manifests))
    keep(project.store, tip)


def _trees(project: Watched, commit: str | None) -> tuple[str | None, str | None]:
    """Return the trees of the bundles and of the manifest nodes at a commit, None where there are none."""
    found = (tree_of(project.store, commit, room) for room in (ATTESTATIONS, MANIFESTS))
    bundles, manifests = (entry.oid if entry else None for entry in found)
    return bundles, manifests


def _grown(project: Watched, old: Seen | None, tip: str, trees: tuple[str | None, str | None]) -> int | None:
    """Return how many bundles the store holds at `tip`; None if it lacks a bundle or a manifest that was seen."""
    if old is not None and (old.tree, old.manifests) == trees:
        return old.size
    before = old.commit if old else None
    try:
        for room in (ATTESTATIONS, MANIFESTS):
            if next(lost(project.store, before, tip, room), None) is not None:
                return None
        return (old.size if old else 0) + listed_more(project.store, before, tip)
    except GitchainError:
        return None  # the old commit is not at hand: check_seen says so


def _roots(project: Watched, commit: str) -> tuple[str, ...]:
    try:
        return roots(project.store, commit)
    except GitchainError:
        return ()  # whoever reads the store says what is wrong with it


def _clone_key(project: Watched) -> str:
    return project.seen_key


def _root_key(root: str) -> str:
    return f"store {root}"


def _place(key: str) -> Path:
    return user_directory() / "seen" / f"{sha256_hex(key.encode('utf-8', 'surrogateescape'))}.json"


def _read(key: str) -> Seen | None:
    path = _place(key)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise TrustError("cannot read what was seen of the store", where=str(path), got=str(error)) from error
    try:
        return _parse(data, key)
    except (MalformedError, LimitError, KeyError, TypeError) as error:
        raise TrustError(
            "the memory of the store is damaged",
            where=str(path),
            got=str(error),
            help="if you know why, move the file away: what is there now is trusted then",
        ) from error


def _parse(data: bytes, key: str) -> Seen:
    value = strict_json(data, "seen", max_bytes=MAX_SEEN_BYTES)
    if not isinstance(value, dict) or value.get("schema") != SEEN_SCHEMA or value.get("of") != key:
        raise MalformedError("not what gitchain remembers of this store", expected=SEEN_SCHEMA)
    size, tree, unreadable = value["size"], value["tree"], value["unreadable"]
    manifests = value.get("manifests", UNKNOWN)
    trees = [one for one in (tree, manifests) if one is not None]
    texts = [value["commit"], value["time"], *unreadable, *trees]
    if not isinstance(size, int) or not all(isinstance(text, str) for text in texts):
        raise MalformedError("a field has the wrong type", where="seen")
    return Seen(key, value["commit"], tree, size, value["time"], tuple(unreadable), manifests)


def _write(seen: Seen) -> None:
    place = _place(seen.key)
    make_directory(place.parent)
    try:
        data = canonical_json(seen.to_json())
    except MalformedError as error:
        raise StoreError("cannot remember the store", where=str(place), got=str(error)) from error
    write_atomically(place, data, mode=0o600)
