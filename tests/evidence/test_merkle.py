"""The Merkle tree: against a second, naive reading of RFC 6962, its reference vectors, and every small tree."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Sequence

import pytest

from gitchain.errors import InclusionError
from gitchain.evidence import merkle
from gitchain.evidence.merkle import EMPTY_ROOT, completed_by, leaf_hash, node_hash

SIZES = range(1, 65)
CT_LEAVES = tuple(
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
)
CT_ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)


def naive_root(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962 section 2.1, word for word, over leaf hashes."""
    if len(leaves) < 2:
        return leaves[0] if leaves else hashlib.sha256(b"").digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def naive_path(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """RFC 6962 section 2.1.1, word for word."""
    if len(leaves) == 1:
        return []
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if index < k:
        return [*naive_path(index, leaves[:k]), naive_root(leaves[k:])]
    return [*naive_path(index - k, leaves[k:]), naive_root(leaves[:k])]


def naive_consistency(old: int, leaves: Sequence[bytes], whole: bool = True) -> list[bytes]:
    """RFC 6962 section 2.1.2, word for word."""
    if old == len(leaves):
        return [] if whole else [naive_root(leaves)]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if old <= k:
        return [*naive_consistency(old, leaves[:k], whole), naive_root(leaves[k:])]
    return [*naive_consistency(old - k, leaves[k:], False), naive_root(leaves[:k])]


def make_leaves(count: int) -> tuple[bytes, ...]:
    return tuple(leaf_hash(b"%d" % number) for number in range(count))


LEAVES = make_leaves(65)


def reader(leaves: Sequence[bytes]) -> Callable[[int, int], bytes]:
    """A reader over hashes stored exactly as completed_by() yields them."""
    stored: dict[tuple[int, int], bytes] = {}

    def read(level: int, index: int) -> bytes:
        return stored[level, index]

    for index, leaf in enumerate(leaves):
        for level, position, value in completed_by(index, leaf, read):
            stored[level, position] = value
    return read


READ = reader(LEAVES)


@pytest.mark.parametrize("size", range(1, 9))
def test_certificate_transparency_roots(size: int) -> None:
    """The roots are those of the Certificate Transparency reference tree."""
    assert merkle.root_hash(map(leaf_hash, CT_LEAVES[:size])).hex() == CT_ROOTS[size - 1]


def test_certificate_transparency_proofs() -> None:
    """Two proofs published with the reference tree: leaf 5 of 8, and 6 to 8."""
    read = reader(tuple(map(leaf_hash, CT_LEAVES)))
    assert [item.hex() for item in merkle.inclusion_proof(5, 8, read)] == [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]
    assert [item.hex() for item in merkle.consistency_proof(6, 8, read)] == [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]


def test_empty_tree() -> None:
    """The root of no leaves is the hash of nothing."""
    assert merkle.root_hash([]) == EMPTY_ROOT == hashlib.sha256(b"").digest()
    assert merkle.tree_root(0, READ) == EMPTY_ROOT


@pytest.mark.parametrize("size", SIZES)
def test_every_small_tree(size: int) -> None:
    """Root and every inclusion proof equal the naive ones, and verify, for each tree up to 64 leaves."""
    root = naive_root(LEAVES[:size])
    assert merkle.root_hash(LEAVES[:size]) == merkle.tree_root(size, READ) == root
    for index in range(size):
        proof = merkle.inclusion_proof(index, size, READ)
        assert list(proof) == naive_path(index, LEAVES[:size])
        merkle.verify_inclusion(index=index, size=size, leaf=LEAVES[index], proof=proof, root=root)


@pytest.mark.parametrize("new", SIZES)
def test_every_small_history(new: int) -> None:
    """Every consistency proof equals the naive one, and verifies, for each pair of sizes up to 64."""
    for old in range(new + 1):
        proof = merkle.consistency_proof(old, new, READ)
        assert list(proof) == (naive_consistency(old, LEAVES[:new]) if old else [])
        merkle.verify_consistency(
            old_size=old,
            new_size=new,
            old_root=naive_root(LEAVES[:old]),
            new_root=naive_root(LEAVES[:new]),
            proof=proof,
        )


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 11])
def test_inclusion_proof_binds_everything(size: int) -> None:
    """A proof fails for another index, size, leaf or root, and with any hash changed, dropped or added."""
    root = naive_root(LEAVES[:size])
    for index in range(size):
        proof = merkle.inclusion_proof(index, size, READ)
        right = {"index": index, "size": size, "leaf": LEAVES[index], "proof": proof, "root": root}
        wrong: list[dict[str, object]] = [{"index": other} for other in range(-1, size + 1) if other != index]
        wrong += [
            {"leaf": LEAVES[64]},
            {"root": LEAVES[64]},
            {"proof": (*proof, LEAVES[64])},
            {"size": size + size},
        ]
        wrong += [{"proof": proof[:cut] + proof[cut + 1 :]} for cut in range(len(proof))]
        wrong += [{"proof": (*proof[:cut], LEAVES[64], *proof[cut + 1 :])} for cut in range(len(proof))]
        for change in wrong:
            with pytest.raises(InclusionError):
                merkle.verify_inclusion(**{**right, **change})  # type: ignore[arg-type]


@pytest.mark.parametrize(("old", "new"), [*itertools.combinations([1, 2, 3, 4, 6, 7, 8, 13], 2)])
def test_consistency_proof_binds_everything(old: int, new: int) -> None:
    """A proof fails for other roots, and with any hash changed, dropped or added."""
    proof = merkle.consistency_proof(old, new, READ)
    right = {
        "old_size": old,
        "new_size": new,
        "old_root": naive_root(LEAVES[:old]),
        "new_root": naive_root(LEAVES[:new]),
        "proof": proof,
    }
    wrong: list[dict[str, object]] = [{"old_root": LEAVES[64]}, {"new_root": LEAVES[64]}, {"proof": ()}]
    wrong += [{"proof": (*proof, LEAVES[64])}, {"old_size": 0}, {"old_size": new + 1}, {"old_size": -1}]
    wrong += [{"proof": proof[:cut] + proof[cut + 1 :]} for cut in range(len(proof))]
    wrong += [{"proof": (*proof[:cut], LEAVES[64], *proof[cut + 1 :])} for cut in range(len(proof))]
    for change in wrong:
        with pytest.raises(InclusionError):
            merkle.verify_consistency(**{**right, **change})  # type: ignore[arg-type]


def test_equal_trees_need_equal_roots_and_no_proof() -> None:
    """A log of the same size with another root is a fork, and an empty log has one root only."""
    merkle.verify_consistency(old_size=5, new_size=5, old_root=LEAVES[0], new_root=LEAVES[0], proof=())
    merkle.verify_consistency(old_size=0, new_size=0, old_root=EMPTY_ROOT, new_root=EMPTY_ROOT, proof=())
    for old, new, first, second, proof in (
        (5, 5, LEAVES[0], LEAVES[1], ()),
        (5, 5, LEAVES[0], LEAVES[0], (LEAVES[0],)),
        (0, 5, LEAVES[0], LEAVES[0], ()),
        (0, 0, EMPTY_ROOT, LEAVES[0], ()),
    ):
        with pytest.raises(InclusionError):
            merkle.verify_consistency(
                old_size=old, new_size=new, old_root=first, new_root=second, proof=proof
            )


def test_forked_histories_are_not_consistent() -> None:
    """No proof made from either side of a fork links the two."""
    fork = (*LEAVES[:5], LEAVES[64], *LEAVES[6:20])
    read = reader(fork)
    for new, source in itertools.product(range(8, 20), (READ, read)):
        with pytest.raises(InclusionError):
            merkle.verify_consistency(
                old_size=7,
                new_size=new,
                old_root=naive_root(LEAVES[:7]),
                new_root=naive_root(fork[:new]),
                proof=merkle.consistency_proof(7, new, source),
            )


def test_short_hashes_are_refused() -> None:
    """A hash of another length never takes part, not even where it would be concatenated alike."""
    with pytest.raises(InclusionError, match="length"):
        merkle.verify_inclusion(index=0, size=2, leaf=LEAVES[0], proof=[b"\x00" * 31], root=LEAVES[1])


@pytest.mark.parametrize("size", [-1, 2**63])
def test_impossible_sizes_are_refused(size: int) -> None:
    """Sizes beyond a signed 64-bit integer are refused before any arithmetic."""
    calls: tuple[Callable[[], object], ...] = (
        lambda: merkle.tree_root(size, READ),
        lambda: merkle.inclusion_proof(0, size, READ),
        lambda: merkle.consistency_proof(0, size, READ),
        lambda: merkle.verify_inclusion(index=0, size=size, leaf=EMPTY_ROOT, proof=(), root=EMPTY_ROOT),
    )
    for call in calls:
        with pytest.raises(InclusionError):
            call()


def test_proofs_out_of_range_are_refused() -> None:
    """There is no proof for a leaf that is not there, nor from a later tree to an earlier one."""
    calls: tuple[Callable[[], object], ...] = (
        lambda: merkle.inclusion_proof(5, 5, READ),
        lambda: merkle.inclusion_proof(-1, 5, READ),
        lambda: merkle.consistency_proof(6, 5, READ),
    )
    for call in calls:
        with pytest.raises(InclusionError):
            call()


@pytest.mark.parametrize("size", [2**20, 2**20 + 1, 2**40 - 1, 2**63 - 1])
def test_proofs_read_little(size: int) -> None:
    """Making a proof reads at most two hashes a level, however large the log."""
    reads: list[tuple[int, int]] = []

    def read(level: int, index: int) -> bytes:
        reads.append((level, index))
        assert (index + 1) << level <= size
        return node_hash(b"%d" % level, b"%d" % index)

    for call in (
        lambda: merkle.inclusion_proof(size // 3, size, read),
        lambda: merkle.inclusion_proof(0, size, read),
        lambda: merkle.consistency_proof(size // 3, size, read),
        lambda: merkle.tree_root(size, read),
    ):
        reads.clear()
        call()
        assert len(reads) <= 2 * size.bit_length()
