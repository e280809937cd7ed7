"""The Merkle tree of a transparency log (RFC 6962 section 2): roots, proofs, and their verification.

A leaf hashes as SHA-256(0x00 || entry), a node as SHA-256(0x01 || left || right). A tree of n leaves splits
at the largest power of two below n. Proofs are made from `read(level, index)`, the hash of the complete
subtree over leaves [index * 2**level, (index + 1) * 2**level): two reads a level, so no log is ever loaded.

Spec: https://www.rfc-editor.org/rfc/rfc6962#section-2.1; verification: RFC 9162 sections 2.1.3.2, 2.1.4.2.
Does NOT know where hashes are kept (`tile` does) nor who signed a root (`checkpoint` does).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence

from gitchain.errors import InclusionError

HASH_SIZE = 32
EMPTY_ROOT = hashlib.sha256().digest()

MAX_TREE_SIZE = 2**63 - 1
"""Largest tree: sizes are signed 64-bit integers on the wire. So no proof is longer than 2 * 63 hashes."""

Read = Callable[[int, int], bytes]
"""Returns the hash of a complete subtree by its level and its position on that level."""


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of a log entry as a leaf."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of the node over two subtrees."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_hash(leaf_hashes: Iterable[bytes]) -> bytes:
    """Return the root of the tree with these leaf hashes, EMPTY_ROOT if there are none."""
    peaks: list[bytes] = []
    for index, leaf in enumerate(leaf_hashes):
        carry, position = leaf, index
        while position & 1:
            carry, position = node_hash(peaks.pop(), carry), position >> 1
        peaks.append(carry)
    return _bag(peaks)


def _bag(peaks: Sequence[bytes]) -> bytes:
    """Return the root over the complete subtrees from left to right."""
    if not peaks:
        return EMPTY_ROOT
    root = peaks[-1]
    for peak in reversed(peaks[:-1]):
        root = node_hash(peak, root)
    return root


def tree_root(size: int, read: Read) -> bytes:
    """Return the root of the tree of this size from stored hashes. Raises InclusionError beyond the limit."""
    _check_size(size)
    return _range(0, size, read) if size else EMPTY_ROOT


def completed_by(index: int, leaf: bytes, read: Read) -> Iterator[tuple[int, int, bytes]]:
    """Yield (level, index, hash) of each subtree that this leaf hash at `index` completes, lowest first.

    Storing them as they come is all that a log has to do for `read` to answer.
    """
    carry, level, position = leaf, 0, index
    yield level, position, carry
    while position & 1:
        carry = node_hash(read(level, position - 1), carry)
        level, position = level + 1, position >> 1
        yield level, position, carry


def inclusion_proof(index: int, size: int, read: Read) -> tuple[bytes, ...]:
    """Return the proof that leaf `index` is in the tree of `size`, lowest sibling first (RFC 6962, 2.1.1).

    Raises InclusionError if there is no such leaf.
    """
    _check_size(size)
    if not 0 <= index < size:
        raise InclusionError("leaf is not in the tree", expected=f"an index below {size}", got=str(index))
    proof: list[bytes] = []
    low, high = 0, size
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            proof.append(_range(middle, high, read))
            high = middle
        else:
            proof.append(_range(low, middle, read))
            low = middle
    return tuple(reversed(proof))


def consistency_proof(old: int, new: int, read: Read) -> tuple[bytes, ...]:
    """Return the proof that the tree of size `new` only adds to that of size `old` (RFC 6962 section 2.1.2).

    The proof is empty if `old` is 0 or equals `new`. Raises InclusionError if `old` is larger than `new`.
    """
    _check_size(new)
    if not 0 <= old <= new:
        raise InclusionError("old tree is larger than the new one", expected=f"at most {new}", got=str(old))
    if old in {0, new}:
        return ()
    proof: list[bytes] = []
    low, high, whole = 0, new, True
    while old != high:
        middle = low + _split(high - low)
        if old <= middle:
            proof.append(_range(middle, high, read))
            high = middle
        else:
            proof.append(_range(low, middle, read))
            low, whole = middle, False
    if not whole:
        proof.append(_range(low, high, read))
    return tuple(reversed(proof))


def verify_inclusion(*, index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """Check that the leaf hash is at `index` in the tree of this size and root, or raise InclusionError."""
    _check_hashes((leaf, root, *proof))
    _check_size(size)
    if not 0 <= index < size:
        raise InclusionError("leaf is not in the tree", expected=f"an index below {size}", got=str(index))
    fn, sn, current = index, size - 1, leaf
    for sibling in proof:
        if sn == 0:
            raise InclusionError("inclusion proof is too long", got=f"{len(proof)} hashes")
        if fn & 1 or fn == sn:
            current = node_hash(sibling, current)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            current = node_hash(current, sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn:
        raise InclusionError("inclusion proof is too short", got=f"{len(proof)} hashes")
    if current != root:
        raise InclusionError("inclusion proof leads to another root", expected=root.hex(), got=current.hex())


def verify_consistency(
    *, old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Check that the new tree only adds to the old one. Raises InclusionError if not.

    A tree of size 0 is a prefix of every tree: its root must be EMPTY_ROOT and the proof empty.
    """
    _check_hashes((old_root, new_root, *proof))
    _check_size(new_size)
    if not 0 <= old_size <= new_size:
        raise InclusionError("log has shrunk", expected=f"at least {old_size} entries", got=str(new_size))
    if old_size in {0, new_size}:
        expected = EMPTY_ROOT if old_size == 0 else new_root
        if proof or old_root != expected or (new_size == 0 and new_root != EMPTY_ROOT):
            raise InclusionError(
                "logs of one size differ, or an empty proof was due", got=f"{len(proof)} hashes"
            )
        return
    # A complete old tree is itself the first node of the proof, and left out of it (RFC 9162, 2.1.4.2).
    path = (old_root, *proof) if old_size & (old_size - 1) == 0 else tuple(proof)
    if not path:
        raise InclusionError("consistency proof is empty")
    old, new = _fold(path, old_size - 1, new_size - 1)
    if old != old_root:
        raise InclusionError(
            "consistency proof leads to another old root", expected=old_root.hex(), got=old.hex()
        )
    if new != new_root:
        raise InclusionError(
            "consistency proof leads to another new root", expected=new_root.hex(), got=new.hex()
        )


def _fold(path: Sequence[bytes], fn: int, sn: int) -> tuple[bytes, bytes]:
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if sn == 0:
            raise InclusionError("consistency proof is too long")
        if fn & 1 or fn == sn:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            new = node_hash(new, sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn:
        raise InclusionError("consistency proof is too short")
    return old, new


def _split(size: int) -> int:
    """Return the largest power of two below `size`."""
    return int(1 << (size - 1).bit_length() - 1)


def _range(low: int, high: int, read: Read) -> bytes:
    """Return the hash over leaves [low, high), from complete subtrees; `low` is aligned as trees split."""
    peaks: list[bytes] = []
    while low < high:
        level = (high - low).bit_length() - 1
        peaks.append(read(level, low >> level))
        low += 1 << level
    return _bag(peaks)


def _check_size(size: int) -> None:
    if not 0 <= size <= MAX_TREE_SIZE:
        raise InclusionError("tree size is impossible", expected="0 to 2^63-1", got=str(size))


def _check_hashes(hashes: Iterable[bytes]) -> None:
    if any(len(item) != HASH_SIZE for item in hashes):
        raise InclusionError("hash has the wrong length", expected=f"{HASH_SIZE} bytes")
