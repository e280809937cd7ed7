"""Make an archive: verify a target, and write what the verdict needs into one file (docs/formats/archive.md).

An archive holds all evidence of the repository and of the sources that were named, as `bundle push` does: a checkpoint
covers every attestation, and a part would look like a store that lost some. Before the file gets its name, the archive
alone must lead to the same verdicts.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, BinaryIO

from gitchain.consume.archive_verdict import ArchiveVerdict, Coverage, verify_archive
from gitchain.consume.load_layout import LayoutOptions
from gitchain.consume.targets import GivenTarget
from gitchain.consume.verifier import Verification, Verifier
from gitchain.errors import (
    ExitCode,
    NoEvidenceError,
    StoreError,
    UsageError,
    VerificationError,
    os_errors_as,
    reason,
)
from gitchain.evidence.digest import sha256_hex
from gitchain.platform import tar
from gitchain.platform.files import TEMPORARY, open_regular, sync_directory
from gitchain.produce.archive_readme import readme
from gitchain.sources.archive_file import Archive, ArchiveSource
from gitchain.sources.archive_manifest import (
    LAYOUT,
    MANIFEST,
    README,
    SIGNER_KEY,
    TRUST,
    VERDICT,
    ArchivedArtifact,
    ArchiveManifest,
    ArchiveMember,
)
from gitchain.sources.git import Mirror
from gitchain.store.tree_paths import MANIFESTS
from gitchain.store.trees import StoreProblem
from gitchain.trust.archive import kept_keys
from gitchain.verify.findings import FindingCode
from gitchain.workspace.project import Project

if TYPE_CHECKING:
    from gitchain.sources.interface import EvidenceSource
    from gitchain.store.git_ref import AttestationStore
    from gitchain.trust.profiles import Profile
    from gitchain.verify.decide import Decision
    from gitchain.verify.target import Target

Document = Callable[["Decision", "Profile"], dict[str, Any]]
"""Returns the document of a decision, as `gitchain verify --json --explain` prints it."""


@dataclass(frozen=True)
class WrittenArchive:
    """A new archive: its path, the verdict that it recorded, and that of the archive alone."""

    path: Path
    verification: Verification
    alone: ArchiveVerdict

    @property
    def exit_code(self) -> ExitCode:
        """Return OK if every artifact passed, else the lowest code."""
        codes = [one.exit_code for one in self.verification.decisions]
        return min((code for code in codes if code is not ExitCode.OK), default=ExitCode.OK)


@dataclass
class _Contents:
    """The members of an archive, in a temporary file: memory holds one at a time."""

    spool: BinaryIO
    places: dict[str, tuple[int, ArchiveMember]] = field(default_factory=dict)

    def add(self, name: str, data: bytes) -> None:
        """Add a member; one that is there already stays."""
        if name not in self.places:
            place = self.spool.seek(0, os.SEEK_END)
            self.spool.write(data)
            self.places[name] = place, ArchiveMember(name, len(data), sha256_hex(data))

    def add_evidence(self, bundles: Iterable[bytes], nodes: Iterable[bytes]) -> None:
        """Add bundles and manifest nodes, named by their digests."""
        for data in bundles:
            self.add(f"evidence/{sha256_hex(data)}.sigstore.json", data)
        for data in nodes:
            self.add(f"evidence/{sha256_hex(data)}.manifest.json", data)

    def members(self) -> tuple[ArchiveMember, ...]:
        """Return the members, sorted by name."""
        return tuple(self.places[name][1] for name in sorted(self.places))

    def blocks(self, manifest: ArchiveManifest) -> Iterator[bytes]:
        """Yield the archive: the manifest, the members in its order, and the end."""
        data = manifest.encode()
        yield tar.header(MANIFEST, len(data)) + data + tar.padding(len(data))
        for member in manifest.members:
            self.spool.seek(self.places[member.name][0])
            content = self.spool.read(member.size)
            yield tar.header(member.name, member.size) + content + tar.padding(member.size)
        yield tar.END


def write_archive(
    project: Project | None,
    target: str,
    policy: LayoutOptions,
    now: datetime,
    out: Path,
    document: Document,
    sources: Sequence[EvidenceSource] = (),
) -> WrittenArchive:
    """Verify the target and write its archive to `out`, also of a target that fails.

    Raises the errors of `gitchain.consume.verifier.verify`; NoEvidenceError if nothing is attested; VerificationError if
    the archive alone leads to another verdict; UsageError if `out` is a file that is no archive; StoreError if it cannot
    be written.
    """
    _check_place(out)
    given = GivenTarget.parse(target)
    verifier = Verifier.open(project, policy, now, [given], sources)
    verification = verifier.verify(given, explain=True)
    if all(one.exit_code is ExitCode.NOTHING for one in verification.decisions):
        raise NoEvidenceError("nothing is attested about the target", where=target, help="gitchain verify")
    with TemporaryFile(prefix="gitchain-") as spool:
        contents = _Contents(spool)
        _add_evidence(contents, verifier, given, sources)
        _add_policy(contents, verifier)
        documents = [document(one, verifier.accepted.profile) for one in verification.decisions]
        contents.add(VERDICT, _verdict(documents))
        for schema in sorted(files("gitchain").joinpath("schemas").iterdir(), key=lambda one: one.name):
            contents.add(f"schemas/{schema.name}", schema.read_bytes())
        coverage = Coverage.of(
            verifier, frozenset(one.sha256 for one in contents.members() if one.is_evidence)
        )
        about = readme(verifier, target, now, documents, contents.members(), coverage)
        contents.add(README, about.encode("ascii"))
        manifest = _manifest(verifier, target, now, verification, contents.members())
        with os_errors_as(
            StoreError, "cannot write the archive", out, help="check free space and permissions"
        ):
            alone = _write(
                out, contents.blocks(manifest), lambda path: _check(path, verifier, verification, now)
            )
    return WrittenArchive(out, verification, alone)


def _check_place(out: Path) -> None:
    """Raise UsageError if there is something else than an archive at `out`, such as the model."""
    start = f"{MANIFEST}\0".encode()
    try:
        with open_regular(out) as file:
            found = file.read(len(start))
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(
            "cannot replace this by an archive",
            where=str(out),
            got=reason(error),
            help="another name after -o",
        ) from error
    if found not in {b"", start}:
        raise UsageError(
            "the file is no archive, and would be replaced by one",
            where=str(out),
            help="another name after -o, or remove the file",
        )


def _add_evidence(
    contents: _Contents, verifier: Verifier, given: GivenTarget, sources: Sequence[EvidenceSource]
) -> None:
    """Add the evidence of the store at the commit that was verified, of every source, and a target that is a bundle."""
    if verifier.project is not None:
        _add_store(contents, verifier.project.store, verifier.evidence.tip)
    for source in sources:
        if isinstance(source, Mirror):
            _add_store(contents, source.store, source.store.tip())
    contents.add_evidence((one.raw for one in verifier.evidence.candidates), ())
    for source in sources:
        if isinstance(source, ArchiveSource):
            nodes = (data for _, data in source.archive.nodes())
            contents.add_evidence((data for _, data in source.archive.bundles()), nodes)
        elif not isinstance(source, Mirror):
            snapshot = source.read()
            found = (snapshot.manifest(name) for name in snapshot.nodes)
            contents.add_evidence(snapshot.bundles.values(), filter(None, found))
    contents.add_evidence(() if given.bundle is None else [given.bundle], ())


def _add_store(contents: _Contents, store: AttestationStore, tip: str | None) -> None:
    problems: list[StoreProblem] = []
    bundles = (data for _, data in store.items(tip, problems.append))
    nodes = (data for _, data in store.items(tip, problems.append, MANIFESTS))
    contents.add_evidence(bundles, nodes)
    if problems:
        raise StoreError(
            "the store does not hold all that it lists", where=problems[0].path, got=problems[0].message
        )


def _add_policy(contents: _Contents, verifier: Verifier) -> None:
    """Add the signed layout, the trusted root, and the key of a layout's signer that is a key."""
    accepted = verifier.accepted
    contents.add(LAYOUT, accepted.raw)
    contents.add(TRUST, accepted.profile.text.encode())
    for key in kept_keys([accepted.signed.signer]):
        contents.add(SIGNER_KEY, key)


def _verdict(documents: Sequence[dict[str, Any]]) -> bytes:
    passed = all(one["verificationResult"] == "PASSED" for one in documents)
    whole = {
        "schema": "https://gitchain.dev/verify-several/v1",
        "verificationResult": "PASSED" if passed else "FAILED",
        "results": documents,
    }
    return json.dumps(whole, indent=1, sort_keys=True).encode() + b"\n"


def _manifest(
    verifier: Verifier,
    target: str,
    now: datetime,
    verification: Verification,
    members: tuple[ArchiveMember, ...],
) -> ArchiveManifest:
    signed = verifier.accepted.signed
    artifacts = (
        ArchivedArtifact(one.target.sha256, one.target.name, one.target.directory)
        for one in verification.decisions
    )
    return ArchiveManifest(
        now.replace(microsecond=0),
        target,
        tuple(dict.fromkeys(artifacts)),
        signed.layout.name,
        signed.signer,
        verifier.accepted.profile.trust_digest,
        members,
    )


def _write(out: Path, blocks: Iterable[bytes], check: Callable[[Path], ArchiveVerdict]) -> ArchiveVerdict:
    """Write the file under another name, check it, and give it its name."""
    aside = out.with_name(f"{TEMPORARY}{os.getpid()}-{secrets.token_hex(8)}")
    try:
        with aside.open("xb") as file:
            for block in blocks:
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        found = check(aside)
        aside.rename(out)
    finally:
        aside.unlink(missing_ok=True)
    sync_directory(out.parent)
    return found


def _check(path: Path, verifier: Verifier, verification: Verification, now: datetime) -> ArchiveVerdict:
    """Return the verdict of the archive alone. Raises VerificationError if it differs, but for inspections of bytes."""
    signed = verification.accepted.signed
    with Archive.open(path) as archive:
        trust = f"sha256:{archive.manifest.trust_digest}"
        alone = verify_archive(archive, LayoutOptions(trust=trust, signers=(signed.signer,)), now)
    for before, after in zip(verification.decisions, alone.verification.decisions, strict=False):
        findings = [one for one in after.findings if one.code is not FindingCode.NO_BYTES]
        if before.passed and not after.passed and findings:
            raise VerificationError(
                "the archive alone would not lead to the same verdict",
                where=str(before.target),
                expected=before.result,
                got=f"{after.result}: {findings[0].code} {findings[0].message}",
                help=_other_way(verifier, before.target),
            )
    return alone


def _other_way(verifier: Verifier, target: Target) -> str:
    if target.older is not None and verifier.evidence.has_version_1:
        older = target.older().sha256
        return f"the evidence names the directory by a manifest of version 1: gitchain archive sha256:{older}"
    return "an archive holds attestations, and no Git objects: signed commits and tags are not in it"
