"""The checkpoints of the attestation set that some evidence holds, checked against what it holds.

Whose checkpoints count is the layout's to say: functionaries and revokers, not revoked. docs/formats/history.md
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from gitchain.errors import GitchainError, LimitError, MalformedError, RollbackError
from gitchain.evidence.fields import as_string, get_array
from gitchain.evidence.inventory import MAX_PREVIOUS, Inventory, read_checkpoint
from gitchain.evidence.statement import Statement
from gitchain.evidence.vocabulary import CARRIED, CHECKPOINT, RELEASE
from gitchain.layout.model import Identity, Layout
from gitchain.pipeline.sources import Evidence, Unverified
from gitchain.verify.checkpoints import Lack, behind, lacking, trusted
from gitchain.verify.revocations import Revocations, is_signed_by
from gitchain.verify.verified import VerifiedStatement

NAMED = 5  # of what is missing, in a message


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints among some evidence, under a layout and its revocations."""

    layout: Layout
    evidence: Evidence
    revocations: Revocations

    @cached_property
    def known(self) -> Mapping[str, Inventory]:
        """Every checkpoint that can be read, whoever signed it, by its attestation id."""
        found = {}
        for one in self.evidence.candidates_of(CHECKPOINT):
            try:
                found[one.attestation_id] = read_checkpoint(one.statement)
            except (MalformedError, LimitError):
                continue  # `broken` says so, if somebody signed it who counts
        return found

    @cached_property
    def tops(self) -> tuple[str, ...]:
        """The newest checkpoints that count."""
        return trusted(self.known, self.is_trusted)

    def is_trusted(self, name: str) -> bool:
        """Tell whether somebody whose checkpoints count signed this one."""
        return any(self._counts(one) for one in self.evidence.verified(self._signed.get(name, ())))

    def signers(self, name: str) -> tuple[Identity, ...]:
        """Return who signed a checkpoint, verified."""
        return tuple(one.identity for one in self.evidence.verified(self._signed.get(name, ())))

    @cached_property
    def _signed(self) -> Mapping[str, list[Unverified]]:
        found: dict[str, list[Unverified]] = {}
        for one in self.evidence.candidates_of(CHECKPOINT):
            found.setdefault(one.attestation_id, []).append(one)
        return found

    def _counts(self, one: VerifiedStatement) -> bool:
        return (
            is_signed_by(self.layout.functionaries, one)
            and self.revocations.attestation(one.attestation_id) is None
            and self.revocations.signer(one.identity, one.time) is None
        )

    def check(self, demanded: Iterable[str] = ()) -> None:
        """Check that the store holds all that the checkpoints which count cover, and those that are demanded.

        Raises RollbackError that says what is missing.
        """
        for name in demanded:
            self._demand(name)
        self._check_broken()
        tops = dict.fromkeys((*self.tops, *demanded))
        tops |= dict.fromkeys(self._carried(tops))
        for lack in lacking(self.known, tops, self.evidence.present, self.revocations.attestations):
            raise _error(lack)

    def _demand(self, name: str) -> None:
        if name not in self.known or not self.is_trusted(name):
            raise RollbackError(
                "the store does not have the checkpoint that it must have",
                expected=f"checkpoint {name}, signed by a functionary of the layout",
                got="no such checkpoint"
                if name not in self.known
                else "nobody whose checkpoints count signed it",
                help="gitchain sync",
            )

    def _check_broken(self) -> None:
        for name, candidates in self._signed.items():
            if name not in self.known and self.is_trusted(name):
                raise RollbackError(
                    "a checkpoint cannot be read",
                    where=name,
                    got=_why(candidates[0].statement),
                    help=f"use a newer gitchain, or set it aside: gitchain revoke attestation {name}",
                )

    def _carried(self, tops: Iterable[str]) -> Iterator[str]:
        """Yield the checkpoints that releases carry beyond those that count anyway; RollbackError if one is lost."""
        before, _ = behind(self.known, tops)
        for one in self.evidence.candidates_of(RELEASE):
            names = set(carried(one.statement)).difference(before, self.revocations.attestations)
            if not names or not any(self._counts(found) for found in self.evidence.verified([one])):
                continue
            for name in sorted(names):
                if name not in self.known:
                    raise RollbackError(
                        "the attestation store has lost a checkpoint that a release names",
                        where=str(one.statement.predicate.get("purl")),
                        expected=f"checkpoint {name}",
                        help="gitchain sync   fetches it, if a remote still has it",
                    )
                yield name


def carried(statement: Statement) -> tuple[str, ...]:
    """Return the checkpoints that a release names, none where it carries none."""
    if CARRIED not in statement.predicate:
        return ()
    try:
        found = get_array(statement.predicate, CARRIED, "predicate", limit=MAX_PREVIOUS)
        return tuple(as_string(name, CARRIED) for name in found)
    except (MalformedError, LimitError):
        return ()


def _why(statement: Statement) -> str:
    try:
        read_checkpoint(statement)
    except GitchainError as error:
        return str(error)
    return ""


def _error(lack: Lack) -> RollbackError:
    if lack.contradicts:
        return RollbackError(
            "a checkpoint contradicts what it covers",
            where=lack.checkpoint,
            help=f"its signer erred; a revoker can set it aside: gitchain revoke attestation {lack.checkpoint}",
        )
    missing = [f"bundle or manifest {name[:12]}" for name in lack.bundles]
    missing += [f"checkpoint {name[:12]}" for name in lack.checkpoints]
    more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
    return RollbackError(
        "the attestation store lacks what a checkpoint covers",
        where=f"checkpoint {lack.checkpoint}",
        expected=f"all of the {lack.size} bundles and manifests that it covers",
        got=f"{len(missing)} missing: {', '.join(missing[:NAMED])}{more}",
        help="gitchain sync   fetches them, if a remote still has them",
    )
