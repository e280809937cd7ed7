"""Sign the statements of a layout case, on a temporary instance with a generated identity for each functionary.

A functionary's own identities cannot sign here, because their keys are not available. So each functionary gets one
identity of a new embedded instance. The case is verified under a copy of the layout that names these identities and
expires later. An identity in a case is matched against the real layout first: this tests its patterns, claims and keys,
but not certificates.

Does NOT decide: `gitchain.layout_test.cases` does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gitchain.errors import GitchainError, LayoutError
from gitchain.evidence.canonical import Json
from gitchain.evidence.digest import DigestSet, Sha256, sha256_hex
from gitchain.evidence.manifest import FileEntry, build_manifest
from gitchain.evidence.oms import model_statement
from gitchain.evidence.predicates import PROVENANCE, StepFacts, claim_of, provenance
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.evidence.vocabulary import (
    LINK,
    MANIFEST_MEDIA_TYPE,
    OMS,
    PROVENANCE_V02,
    STEP_FIELD,
    VSA,
    time_text,
)
from gitchain.instance import Instance
from gitchain.layout.casefile import DIGEST, Artifacts, CaseStatement, Content, UnlistedSigner
from gitchain.layout.model import Functionary, Identity, Layout, SigstoreMember, Step
from gitchain.produce.sign_layout import layout_statement
from gitchain.sign.keyless import KeylessSigner
from gitchain.sources.bundle_facts import NEGATIVE
from gitchain.verify.bundle import verify_bundle
from gitchain.verify.layout import verify_layout
from gitchain.verify.trust import Trust
from gitchain.verify.verified import SignedLayout, VerifiedStatement

FAR = timedelta(days=3650)  # the copy of a layout decides whenever the case does: expiry is no part of a case
OWNER = "owner@layout.example"


@dataclass(slots=True)
class CaseSigner:
    """A temporary instance with the layouts of a folder, and the statements signed on it."""

    instance: Instance
    layouts: Mapping[str, Layout]
    manifests: dict[str, bytes] = field(default_factory=dict)
    _trust: Trust = field(init=False)
    _copies: dict[str, Layout] = field(default_factory=dict)
    _names: dict[tuple[str, str], str] = field(default_factory=dict)
    _signers: dict[str, KeylessSigner] = field(default_factory=dict)
    _signed: dict[tuple[str, bytes], VerifiedStatement] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._trust = Trust.parse(self.instance.trust_config())

    @classmethod
    def set_up(cls, directory: Path, layouts: Sequence[Layout]) -> CaseSigner:
        """Make an instance in the directory, for these layouts."""
        return cls(Instance.create(directory), {layout.name: layout for layout in layouts})

    def signed_layout(self, name: str) -> SignedLayout:
        """Return the copy of a layout that decides, signed by its owner."""
        raw = self._sign(layout_statement(self._copy(self.layouts[name])), OWNER)
        owner = Identity(self.instance.issuer, OWNER)
        return verify_layout(raw, self._trust, (owner,), datetime.now(UTC), 0)

    def attest(self, one: CaseStatement, under: str) -> VerifiedStatement:
        """Return the statement as verification gives it; `under` is the layout that decides.

        Raises LayoutError for a signer, a step or a layout that there is not.
        """
        layout = self._layout(one.layout or under)
        who = self._who(one.signer, layout)
        statement = self._statement(one, layout)
        if (who, statement.payload) not in self._signed:
            self._signed[who, statement.payload] = verify_bundle(self._sign(statement, who), self._trust)
        found = self._signed[who, statement.payload]
        if not _is_selected(one, layout):
            return found
        return replace(found, claims={**found.claims, **_claims(one.signer, layout)})

    def sha256(self, content: Content) -> Sha256:
        """Return the digest of a content; of a directory, its manifest's, which is kept."""
        if isinstance(content, str):
            given = DIGEST.fullmatch(content) is not None
            return Sha256(content.removeprefix("sha256:")) if given else sha256_hex(content.encode())
        manifest = build_manifest(
            FileEntry(name, False, len(text), self.sha256(text)) for name, text in content.items()
        )
        self.manifests.update(manifest.nodes)
        return manifest.digest

    def _layout(self, name: str) -> Layout:
        if name not in self.layouts:
            known = ", ".join(sorted(self.layouts))
            raise LayoutError("no such layout beside the cases", where="layout", expected=known, got=name)
        return self.layouts[name]

    def _copy(self, layout: Layout) -> Layout:
        if layout.name not in self._copies:
            self._copies[layout.name] = self._with_stand_ins(layout)
        return self._copies[layout.name]

    def _with_stand_ins(self, layout: Layout) -> Layout:
        stand_ins = tuple(
            Functionary(
                one.name,
                (SigstoreMember(self.instance.issuer, self._name(layout.name, one.name)),),
            )
            for one in layout.functionaries
        )
        expires = (datetime.now(UTC) + FAR).replace(microsecond=0)
        return replace(layout, functionaries=stand_ins, expires=max(layout.expires, expires))

    def _name(self, layout: str, who: str) -> str:
        """Return the instance's identity that replaces a functionary or signer of a layout, the same each time."""
        readable = "-".join(re.findall("[a-z0-9]+", who.lower()))[:40] or "somebody"
        return self._names.setdefault((layout, who), f"{readable}.{len(self._names)}@stand-in.example")

    def _who(self, signer: str | UnlistedSigner, layout: Layout) -> str:
        names = [one.name for one in layout.functionaries]
        if isinstance(signer, UnlistedSigner):
            matching = (
                one.name for one in layout.functionaries if one.matches(signer.identity, signer.claims)
            )
            name = next(matching, None)
            return self._name(layout.name, name) if name else self._name("", str(signer.identity))
        if signer not in names:
            raise LayoutError(
                "signer is no functionary of the layout",
                where="signer",
                expected=", ".join(names),
                got=signer,
                help="write a stranger as {issuer: …, subject: …}",
            )
        return self._name(layout.name, signer)

    def _sign(self, statement: Statement, who: str) -> bytes:
        if who not in self._signers:
            context = self.instance.signing_context()
            self._signers[who] = KeylessSigner(context, lambda: self.instance.token(who))
        return self._signers[who].sign((statement,))[0]

    def _statement(self, one: CaseStatement, layout: Layout) -> Statement:
        if one.sublayout is not None:
            return layout_statement(self._copy(self._layout(one.sublayout)))
        try:
            return self._built(one, layout)
        except GitchainError as error:
            if isinstance(error, LayoutError):
                raise
            raise LayoutError(
                error.what, where=error.where, expected=error.expected, got=error.got
            ) from error

    def _built(self, one: CaseStatement, layout: Layout) -> Statement:
        kind = one.predicate_type or self._kind(one.step, layout)
        foreign = _is_selected(one, layout)
        facts = StepFacts(one.step, one.run, one.evidence, layout.name) if one.step and not foreign else None
        if kind == OMS:  # its predicate is made of the files
            files = {name: self.sha256(content) for name, content in one.subject.items()}
            return model_statement(one.step or "model", files)
        given = self._descriptors(one.materials)
        if kind == PROVENANCE and facts:
            predicate = provenance(step=facts, materials=given)
            made = self._descriptors(one.products)
        elif kind == PROVENANCE and foreign:
            predicate = {"buildDefinition": {"resolvedDependencies": [item.to_json() for item in given]}}
            made = self._descriptors({**one.subject, **one.products})
        elif kind in {LINK, PROVENANCE_V02}:
            named = _link_name(one) if kind == LINK else _step_field(facts)
            predicate = {**named, "materials": [item.to_json() for item in given]}
            made = self._descriptors({**one.subject, **one.products})
        elif one.materials or one.products:
            raise LayoutError("of this predicate type, name the subject", where="subject", got=kind)
        else:
            made = self._descriptors(one.subject)
            step = next((step for step in layout.steps if step.name == one.step), None)
            summary = _summary(step, made) if kind == VSA and step and made else {}
            predicate = {**summary, **_step_field(facts)}
        statement = Statement.build(made, kind, merged(predicate, one.predicate))
        if kind not in NEGATIVE:
            claim_of(statement)  # one that cannot be read would be evidence for no step, in silence
        return statement

    def _kind(self, step: str | None, layout: Layout) -> str:
        for known in layout.steps:
            if known.name == step:
                return known.predicate_type
        known_steps = ", ".join(known.name for known in layout.steps)
        raise LayoutError(
            "no such step in the layout",
            where="step",
            expected=known_steps,
            got=step or "none",
            help="give a predicateType to a statement of no step",
        )

    def _descriptors(self, artifacts: Artifacts) -> list[ResourceDescriptor]:
        return [
            ResourceDescriptor(
                name,
                DigestSet({"sha256": self.sha256(content)}),
                media_type=None if isinstance(content, str) else MANIFEST_MEDIA_TYPE,
            )
            for name, content in artifacts.items()
        ]


def _is_selected(one: CaseStatement, layout: Layout) -> bool:
    """Return whether the statement is of a step that selects statements of other tools: it has no step facts."""
    return any(step.name == one.step and step.select is not None for step in layout.steps)


def _claims(signer: str | UnlistedSigner, layout: Layout) -> Mapping[str, str]:
    """Return the claims that a selector reads: those of the case's signer, or of the functionary's certificate."""
    if isinstance(signer, UnlistedSigner):
        return signer.claims
    members = layout.functionary(signer).identities
    return next((dict(member.claims) for member in members if isinstance(member, SigstoreMember)), {})


def _step_field(facts: StepFacts | None) -> dict[str, Json]:
    return {STEP_FIELD: facts.to_json()} if facts else {}


def _link_name(one: CaseStatement) -> dict[str, Json]:
    """Return the field in which a link names its step: a link has no fields for run, layout and strength."""
    if one.step is None and "name" not in one.predicate:
        raise LayoutError(
            "a link names its step", where="step", expected="a step, or predicate.name", got="none"
        )
    return {"name": one.step or ""}


def _summary(step: Step, made: Sequence[ResourceDescriptor]) -> dict[str, Json]:
    """Return a verification summary that satisfies the step; a case overrides its fields in `predicate`."""
    return {
        "verifier": {"id": step.verifier},
        "timeVerified": time_text(datetime.now(UTC)),
        "resourceUri": step.resource or f"pkg:generic/artifact?checksum=sha256:{made[0].digest['sha256']}",
        "policy": {"uri": "gitchain:layout-case"},
        "verificationResult": "PASSED",
        "verifiedLevels": [],
    }


def merged(base: Mapping[str, Json], more: Mapping[str, Json]) -> dict[str, Json]:
    """Return the base with the fragment put over it: maps are merged, everything else is replaced."""
    found = dict(base)
    for name, value in more.items():
        old = found.get(name)
        both = isinstance(old, dict) and isinstance(value, dict)
        found[name] = merged(old, value) if both else value  # type: ignore[arg-type]
    return found
