"""What is taken from another store is checked in the same way by this process and by copies of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from gitchain.platform import forked
from gitchain.store import leaf_checks, several
from gitchain.store.git_ref import AttestationStore
from gitchain.store.leaf_checks import checked_leaves, count_attestations, within
from gitchain.store.object_sizes import ObjectSizes
from gitchain.store.tree_paths import BLOB_MODE, Oid, StoredTreeEntry, content_path, subject_keys
from gitchain.store.trees import StoreProblem
from tests.support.store_samples import bundle, manifest, name_of

GOOD = [bundle(f"model-{number}", "data.csv", note=str(number)) for number in range(25)]
BAD = [b"{}", b"not JSON", GOOD[0].replace(b"application/vnd.in-toto+json", b"text/plain"), b"[" * 5000]


@pytest.fixture
def store(git_repo: Path) -> AttestationStore:
    """Return a store with good and malformed attestations, one under a wrong name, and manifest nodes, one malformed."""
    store = AttestationStore.open(git_repo)
    store.add(GOOD, manifest("x", "y/z").nodes)

    def spoil(tip: Oid | None) -> Oid:
        assert tip is not None
        write = store.backend.write
        leaves = {content_path("att", name_of(data)): write("blob", data) for data in BAD}
        leaves[content_path("att", name_of(b"other"))] = write("blob", GOOD[1] + b" ")
        leaves[content_path("manifest", name_of(b"junk"))] = write("blob", b"junk")
        return store.commit(store.trees.insert(store.root(tip), leaves), (tip,), "spoil")

    store.advance(spoil)
    return store


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let copies of this process check, a few attestations each; return a list that grows with each copy."""
    started: list[int] = []
    fork = os.fork

    def counted() -> int:
        pid = fork()
        if pid:
            started.append(pid)
        return pid

    monkeypatch.setattr(os, "fork", counted)
    monkeypatch.setattr(leaf_checks, "FORK_FROM", 1)
    monkeypatch.setattr(leaf_checks, "SLICE", 4)
    monkeypatch.setattr(leaf_checks, "can_fork", lambda: True)
    return started


def found(store: AttestationStore) -> tuple[dict[tuple[str, ...], Oid], set[StoreProblem]]:
    problems: list[StoreProblem] = []
    listed = store.trees.added(None, store.root(Oid(str(store.tip()))), problems.append)
    return checked_leaves(store.trees, listed, problems.append), set(problems)


def test_copies_find_the_same(
    store: AttestationStore, beside: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leaves and problems are equal, however the work is divided."""
    leaves, problems = found(store)
    assert len(beside) == 8
    monkeypatch.setattr(leaf_checks, "can_fork", lambda: False)
    assert found(store) == (leaves, problems)
    assert len(beside) == 8
    assert count_attestations(leaves) == len(GOOD)
    assert len(problems) == len(BAD) + 2


def test_slices_are_bounded_by_bytes(
    store: AttestationStore, beside: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large bundles are not all held in memory until their number is reached."""
    leaves, problems = found(store)
    count = len(beside)
    monkeypatch.setattr(leaf_checks, "SLICE_BYTES", 1000)
    assert found(store) == (leaves, problems)
    assert len(beside) - count > count


def test_killed_copies_hide_nothing(
    store: AttestationStore, beside: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a copy did not answer is checked here."""
    leaves, problems = found(store)
    here, keys = os.getpid(), subject_keys

    def killed(data: bytes) -> list[tuple[str, str]]:
        if os.getpid() != here:
            os.kill(os.getpid(), signal.SIGKILL)
        return keys(data)

    monkeypatch.setattr(leaf_checks, "subject_keys", killed)
    assert found(store) == (leaves, problems)


def test_error_of_the_caller_ends_the_copies(store: AttestationStore, beside: list[int]) -> None:
    """No process stays behind."""

    def refuse(_problem: StoreProblem) -> None:
        raise KeyboardInterrupt

    listed = store.trees.added(None, store.root(Oid(str(store.tip()))), lambda _: None)
    with pytest.raises(KeyboardInterrupt):
        checked_leaves(store.trees, listed, refuse)
    for pid in beside:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_few_are_checked_here(store: AttestationStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy costs more than it saves."""
    monkeypatch.setattr(forked, "ForkedCall", None)
    monkeypatch.setattr(leaf_checks, "ForkedCall", None)
    assert count_attestations(found(store)[0]) == len(GOOD)


def test_smallest_are_within() -> None:
    """Entries are chosen by size until the room is used, and the others are counted."""
    sizes = {Oid(name): size for name, size in (("a", 30), ("b", 10), ("c", 20), ("d", 50))}
    listed = [(("att", str(oid)), StoredTreeEntry(str(oid), BLOB_MODE, oid)) for oid in sizes]
    expected: list[list[Oid]] = []
    some, beyond = within(listed, sizes.get, expected.append, 60)
    assert ([path[1] for path, _ in some], beyond) == (["b", "c", "a"], 1)
    assert expected == [list(sizes)]
    assert within(listed, sizes.get, expected.append, 110)[1] == 0


def test_several_are_read_as_one_by_one(
    store: AttestationStore, git: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that exist and have their name, in an empty store none, in packs and loose, whatever the batches are."""
    names = [*map(name_of, [*GOOD, *BAD]), name_of(b"other"), name_of(b"missing"), name_of(b"junk")]
    expected = {name_of(data): data for data in [*GOOD, *BAD]}
    for together in (2000, 3):
        monkeypatch.setattr(several, "TOGETHER", together)
        assert dict(store.several(names)) == expected
        git(store.path, "gc", "-q")
    git(store.path, "init", "-q", "empty")
    assert list(AttestationStore.open(store.path / "empty").several(names)) == []


def test_several_are_read_with_few_requests(
    store: AttestationStore, git: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request for the header of each tree and bundle costs more than to read them."""
    git(store.path, "gc", "-q")
    requests: list[int] = []
    request = ObjectSizes._request_all

    def counted(self: ObjectSizes, oids: Sequence[Oid]) -> None:
        requests.append(len(oids))
        request(self, oids)

    monkeypatch.setattr(ObjectSizes, "_request_all", counted)
    assert len(dict(AttestationStore.open(store.path).several(map(name_of, GOOD)))) == len(GOOD)
    assert len(requests) < 20
    assert sum(requests) > 2 * len(GOOD)
