"""Checkpoints of the attestation set in the evidence, checked against that evidence.

The layout defines whose checkpoints count: functionaries and revokers that are not revoked. docs/formats/history.md
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from gitchain.consume.targets import bundle_file
from gitchain.errors import GitchainError, LimitError, MalformedError, RollbackError, UsageError
from gitchain.evidence.bundle import Bundle
from gitchain.evidence.dsse import AttestationId
from gitchain.evidence.fields import as_string, get_array
from gitchain.evidence.statement import Statement
from gitchain.evidence.store_checkpoint import MAX_PREVIOUS, StoreCheckpoint, read_checkpoint
from gitchain.evidence.vocabulary import CARRIED, CHECKPOINT, RELEASE
from gitchain.layout.model import Identity, Layout
from gitchain.sources.bundles import IndexedBundle
from gitchain.sources.evidence import Evidence
from gitchain.store.tree_paths import is_sha256
from gitchain.verify.checkpoints import MissingEvidence, behind, lacking, trusted
from gitchain.verify.revocations import Revocations, is_signed_by
from gitchain.verify.verified import VerifiedStatement

NAMED = 5  # missing bundles listed in a message


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints in the evidence, under a layout and its revocations."""

    layout: Layout
    evidence: Evidence
    revocations: Revocations

    @cached_property
    def known(self) -> Mapping[AttestationId, StoreCheckpoint]:
        """Every readable checkpoint by attestation id, of any signer."""
        checkpoints = {}
        for candidate in self.evidence.candidates_of(CHECKPOINT):
            try:
                checkpoints[candidate.attestation_id] = read_checkpoint(candidate.statement)
            except (MalformedError, LimitError):
                continue  # `broken` reports it if its signer counts
        return checkpoints

    @cached_property
    def tops(self) -> tuple[AttestationId, ...]:
        """The newest checkpoints that count."""
        return trusted(self.known, self.is_trusted)

    def is_trusted(self, name: str) -> bool:
        """Return True if a signer whose checkpoints count signed this one."""
        return any(
            self._counts(statement) for statement in self.evidence.verified(self._signed.get(name, ()))
        )

    def signers(self, name: str) -> tuple[Identity, ...]:
        """Return the verified signers of a checkpoint."""
        return tuple(statement.identity for statement in self.evidence.verified(self._signed.get(name, ())))

    @cached_property
    def _signed(self) -> Mapping[str, list[IndexedBundle]]:
        groups: dict[str, list[IndexedBundle]] = {}
        for candidate in self.evidence.candidates_of(CHECKPOINT):
            groups.setdefault(candidate.attestation_id, []).append(candidate)
        return groups

    def _counts(self, statement: VerifiedStatement) -> bool:
        return (
            is_signed_by(self.layout.functionaries, statement)
            and self.revocations.attestation(statement.attestation_id) is None
            and self.revocations.signer(statement.identity, statement.time) is None
        )

    def check(self, demanded: Iterable[str] = ()) -> None:
        """Check that the store holds everything that counting checkpoints and `demanded` ones cover.

        Raises RollbackError with the list of missing bundles.
        """
        for name in demanded:
            self._demand(name)
        self._check_broken()
        tops = dict.fromkeys((*self.tops, *map(AttestationId, demanded)))
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
                else "checkpoints of its signer do not count",
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

    def _carried(self, tops: Iterable[AttestationId]) -> Iterator[AttestationId]:
        """Yield the checkpoints in releases beyond those that count already. Raises RollbackError if one is lost."""
        before, _ = behind(self.known, tops)
        for release in self.evidence.candidates_of(RELEASE):
            names = set(carried(release.statement)).difference(before, self.revocations.attestations)
            if not names or not any(
                self._counts(statement) for statement in self.evidence.verified([release])
            ):
                continue
            for name in sorted(names):
                if name not in self.known:
                    raise RollbackError(
                        "the attestation store has lost a checkpoint that a release names",
                        where=str(release.statement.predicate.get("purl")),
                        expected=f"checkpoint {name}",
                        help="gitchain sync   fetches it, if a remote still has it",
                    )
                yield AttestationId(name)


def carried(statement: Statement) -> tuple[str, ...]:
    """Return the checkpoints in a release; empty if it has none."""
    if CARRIED not in statement.predicate or statement.is_old:
        return ()
    try:
        names = get_array(statement.predicate, CARRIED, "predicate", limit=MAX_PREVIOUS)
        return tuple(as_string(name, CARRIED) for name in names)
    except (MalformedError, LimitError):
        return ()


def _why(statement: Statement) -> str:
    try:
        read_checkpoint(statement)
    except GitchainError as error:
        return str(error)
    return ""


def _error(lack: MissingEvidence) -> RollbackError:
    if lack.contradicts:
        return RollbackError(
            "a checkpoint contradicts the attestations that it covers",
            where=lack.checkpoint,
            help=f"its signer erred; a revoker can set it aside: gitchain revoke attestation {lack.checkpoint}",
        )
    missing = [f"bundle or manifest {name[:12]}" for name in lack.bundles]
    missing += [f"checkpoint {name[:12]}" for name in lack.checkpoints]
    more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
    return RollbackError(
        "the attestation store lacks evidence that a checkpoint covers",
        where=f"checkpoint {lack.checkpoint}",
        expected=f"all of the {lack.size} bundles and manifests that it covers",
        got=f"{len(missing)} missing: {', '.join(missing[:NAMED])}{more}",
        help="gitchain sync   fetches them, if a remote still has them",
    )


def required_checkpoint(named: str) -> dict[str, bytes]:
    """Return the required checkpoint by its attestation id, with its bundle if it is a file."""
    if is_sha256(named):
        return {named: b""}
    raw = bundle_file(named)
    if raw is None:
        raise UsageError(
            "no such checkpoint", got=named, expected="an attestation id of 64 digits, or a bundle file"
        )
    return {Bundle.parse(raw).attestation_id: raw}
