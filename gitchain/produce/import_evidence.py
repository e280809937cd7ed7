"""Import: verify the bundles of other tools, and store them. Nothing is stored unless every one verifies.

A checkpoint of another store, and a release that names one, are refused: with them, this store would seem to have lost
attestations that it never had.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime

from gitchain.consume.history import layout_keys, reading_profile
from gitchain.errors import GitchainError, MalformedError, StoreError, TrustError
from gitchain.evidence.digest import sha256_hex
from gitchain.evidence.revocation import read_revocation
from gitchain.evidence.vocabulary import CARRIED, CHECKPOINT, REVOCATION, SOURCE
from gitchain.sources.bundle_facts import claim_or_problem
from gitchain.sources.foreign_bundles import ForeignBundle, ForeignBundles
from gitchain.sources.rollback_protection import remember
from gitchain.store.tree_paths import ATTESTATIONS, content_path
from gitchain.trust.profiles import Profile
from gitchain.verify.verified import VerifiedStatement, check_time
from gitchain.workspace.project import Project

MAX_SUBJECTS = 10  # subjects of one bundle in the document


Progress = Callable[[int], AbstractContextManager[Callable[[int], None]]]
"""Returns, for a number of bundles, the context with the function to call for each that was verified."""


def _silent(_total: int) -> AbstractContextManager[Callable[[int], None]]:
    return nullcontext(lambda _count: None)


@dataclass(frozen=True, slots=True)
class ImportedBundle:
    """One bundle: where it was read, its verified statement, and whether the store had it already."""

    where: str
    verified: VerifiedStatement
    is_present: bool

    @property
    def warning(self) -> str:
        """Return what the bundle may do to verdicts besides being evidence for a step, or an empty text."""
        statement = self.verified.statement
        if statement.predicate_type == REVOCATION:
            try:
                read_revocation(statement)
            except GitchainError as error:
                return f"a revocation that cannot be read: nothing passes where its signer is a revoker ({error})"
            return "a revocation: what it names does not pass where its signer is a revoker"
        problem = claim_or_problem(statement)[1]
        return f"no step can take it, but it may reject what it is about: {problem}" if problem else ""

    def to_json(self) -> dict[str, object]:
        """Return the bundle as in `import --json`."""
        statement, found = self.verified.statement, self.verified
        shown = [
            {"name": one.rule_name, "digest": dict(one.digest)} for one in statement.subject[:MAX_SUBJECTS]
        ]
        return {
            "from": self.where,
            "id": found.attestation_id,
            "present": self.is_present,
            "predicateType": statement.predicate_type,
            "subjects": len(statement.subject),
            "subject": shown,
            "signer": found.identity.to_json(),
            "time": found.time.isoformat(),
        } | ({"warning": self.warning} if self.warning else {})


@dataclass(frozen=True, slots=True)
class ImportResult:
    """The bundles in the order of the sources, the trust that they verify under, and what directories held besides."""

    bundles: tuple[ImportedBundle, ...]
    profile: Profile
    skipped: int

    @property
    def added(self) -> int:
        """Return the number of bundles that were not in the store."""
        return sum(not one.is_present for one in self.bundles)


def import_bundles(
    project: Project,
    sources: Iterable[str],
    trust: str | None,
    now: datetime,
    *,
    keys: Sequence[bytes] = (),
    offline: bool = False,
    store: bool = True,
    progress: Progress = _silent,
) -> ImportResult:
    """Verify every bundle of the sources, and add those that the store lacks in one commit.

    Without `trust`, the repository's own trust verifies. `keys` (DER) count besides those of the pinned layout. With
    `store` False nothing is stored. Raises the errors of `ForeignBundles.read` and `verify_bundle`, with the place of
    the bundle, before anything is stored.
    """
    profile = reading_profile(project, trust, offline=offline)
    keys = (*layout_keys(project, trust, offline=offline), *keys)
    reader = ForeignBundles()
    found = {sha256_hex(one.raw): one for source in sources for one in reader.read(source)}
    tip = project.store.tip()
    root = None if tip is None else project.store.root(tip)
    checked: list[ImportedBundle] = []
    with progress(len(found)) as advance:
        for name, one in found.items():
            path = content_path(ATTESTATIONS, name)
            held = root is not None and project.store.trees.find(root, path) is not None
            checked.append(ImportedBundle(one.where, _verified(one, profile, keys, now), held))
            advance(1)
    fresh = [one.verified.raw for one in checked if not one.is_present]
    if store and fresh:
        project.store.add(fresh)
        with suppress(StoreError, TrustError):  # the attestations are stored; the last seen state is kept
            remember(project, project.store.tip(), now)
    return ImportResult(tuple(checked), profile, reader.skipped)


def _verified(
    one: ForeignBundle, profile: Profile, keys: Sequence[bytes], now: datetime
) -> VerifiedStatement:
    """Return the verified statement of a bundle. Raises the errors of `verify_bundle`, with the place of the bundle."""
    from gitchain.verify.bundle import verify_bundle

    kind, predicate = one.statement.predicate_type, one.statement.predicate
    if kind == CHECKPOINT or CARRIED in predicate:
        raise MalformedError(
            "a checkpoint of another store, or a release that names one",
            where=one.where,
            got=kind,
            help="gitchain sync REMOTE   brings whole stores together",
        )
    if kind == SOURCE:
        raise MalformedError(
            "a source statement, which is made of a signed commit or tag",
            where=one.where,
            got=kind,
            help="gitchain verify   reads the signed commits and tags of the repository itself",
        )
    try:
        found = verify_bundle(one.raw, profile.trust, keys)
        check_time(found.time, found.log, now)
    except GitchainError as error:
        error.where = f"{one.where}, {error.where}" if error.where else one.where
        error.help = error.help or (
            f"it does not verify under the trust {profile.name}; name its own: gitchain import --trust FILE; "
            "for a signature of a key: --key FILE"
        )
        raise
    return found
