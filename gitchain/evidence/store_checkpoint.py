"""Checkpoints of the attestation set: the signed statement that a store held these bundles.

    {"size":3,"root":"<64 hex>","previous":["<attestation id>"],"added":["<sha256 of a bundle>", …]}

It covers the bundles in `added` and all that the checkpoints in `previous` cover: each names the statement of one by
its hash, so the signer of the last vouches for all of them. `size` and `root` (RFC 6962, over the sorted names) are of
all bundles that it covers; the root is the digest of the subject `attestations`.

Format: docs/formats/history.md, schemas/checkpoint.schema.json. Pure: a set of names in, statements out.
Does NOT know whose checkpoints count, nor what a store holds now: `gitchain.verify.checkpoints` compares.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from gitchain.errors import MalformedError
from gitchain.evidence.canonical import Json
from gitchain.evidence.digest import DigestSet, check_hex, sha256_hex
from gitchain.evidence.dsse import AttestationId
from gitchain.evidence.fields import as_string, get_array, get_integer, get_string
from gitchain.evidence.merkle import leaf_hash, root_hash
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.evidence.vocabulary import CHECKPOINT

SUBJECT = "attestations"

MAX_ADDED = 4096
"""Most names in one checkpoint: 280 kB, what any log takes. More than that are several checkpoints in a row."""

MAX_PREVIOUS = 256
"""Most checkpoints that one follows: as many clones may have signed one at the same time."""

FILED = ResourceDescriptor("checkpoint", DigestSet({"sha256": sha256_hex(CHECKPOINT.encode())}))
"""A subject that every checkpoint has, so that a store's index finds them: the digest is that of the predicate type."""


@dataclass(frozen=True, slots=True)
class StoreCheckpoint:
    """The content of one checkpoint. The constructor raises MalformedError."""

    size: int
    root: str
    previous: tuple[AttestationId, ...]
    added: tuple[str, ...]

    def __post_init__(self) -> None:
        for where, names in (("previous", self.previous), ("added", self.added)):
            for name in names:
                check_hex(name, (64,), where)
            if list(names) != sorted(set(names)):
                raise MalformedError("names are not sorted, or one appears twice", where=where)
        check_hex(self.root, (64,), "root")
        if not self.added or self.size < len(self.added):
            raise MalformedError("a checkpoint covers what it adds", where="size", got=str(self.size))


def names_root(names: Iterable[str]) -> str:
    """Return the root of the Merkle tree over the names, sorted; each leaf is the 32 bytes that a name spells."""
    return root_hash(leaf_hash(bytes.fromhex(name)) for name in sorted(set(names))).hex()


def checkpoint_statement(inventory: StoreCheckpoint) -> Statement:
    """Return the statement to sign."""
    predicate: dict[str, Json] = {
        "size": inventory.size,
        "root": inventory.root,
        "previous": inventory.previous,
        "added": inventory.added,
    }
    subject = ResourceDescriptor(SUBJECT, DigestSet({"sha256": inventory.root}))
    return Statement.build([subject, FILED], CHECKPOINT, predicate)


def checkpoint_statements(
    covered: Collection[str], previous: Sequence[AttestationId], added: Iterable[str]
) -> tuple[Statement, ...]:
    """Return a sequence of checkpoints that add names to what the `previous` ones cover.

    Empty where there is nothing to add. Raises MalformedError for a name that is no SHA-256.
    """
    names, made = set(covered), []
    new = sorted(set(added) - names)
    before = tuple(sorted(set(previous)))
    for start in range(0, len(new), MAX_ADDED):
        part = new[start : start + MAX_ADDED]
        names.update(part)
        statement = checkpoint_statement(StoreCheckpoint(len(names), names_root(names), before, tuple(part)))
        before = (statement.attestation_id,)
        made.append(statement)
    return tuple(made)


def read_checkpoint(statement: Statement) -> StoreCheckpoint:
    """Return the checkpoint in the statement.

    Raises MalformedError for anything that `checkpoint_statement` would not write, LimitError beyond the limits.
    Strict: a field that this version does not know may cover more than it can see.
    """
    source = statement.predicate
    if statement.predicate_type != CHECKPOINT:
        raise MalformedError("not a checkpoint", expected=CHECKPOINT, got=statement.predicate_type)
    if set(source) != {"size", "root", "previous", "added"}:
        raise MalformedError(
            "a checkpoint has other fields", expected="size, root, previous, added", where="predicate"
        )
    found = StoreCheckpoint(
        get_integer(source, "size", "predicate"),
        get_string(source, "root", "predicate"),
        tuple(
            AttestationId(as_string(one, "previous"))
            for one in get_array(source, "previous", "predicate", limit=MAX_PREVIOUS)
        ),
        tuple(as_string(one, "added") for one in get_array(source, "added", "predicate", limit=MAX_ADDED)),
    )
    roots = [one.digest.get("sha256") for one in statement.subject if one.name == SUBJECT]
    if roots != [found.root]:
        raise MalformedError("the checkpoint's subject is not its root", where=SUBJECT, expected=found.root)
    return found
