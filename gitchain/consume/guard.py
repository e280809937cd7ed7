"""Verify a model's bytes at the place where they are loaded, and determine who could still change them.

In place, or as a private copy in `DIR/sha256-<digest>/<name>`. An existing copy is hashed again. A copy that does not
pass is removed.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from pathlib import Path

from gitchain.collect.paths import real_path
from gitchain.consume.inspections import inspected
from gitchain.consume.mutability import Exposure, State, window
from gitchain.consume.private_copy import copy_private, remove
from gitchain.consume.targets import GivenTarget, target_at
from gitchain.consume.verifier import Verifier
from gitchain.errors import StoreError, VerificationError, os_errors_as
from gitchain.platform.files import make_private
from gitchain.verify.decide import Decision, Target
from gitchain.workspace.project import Project

PREFIX = "sha256-"


@dataclass(frozen=True, slots=True)
class GuardedModel:
    """Decision about the bytes at a path, and whether others could change them."""

    path: Path
    decision: Decision
    window: Exposure


@dataclass(frozen=True, slots=True)
class NamedModel:
    """A file or directory and its name in the layout. Without a name it may be any model that the layout serves."""

    path: Path
    name: str | None = None

    def target(self, project: Project | None, actual: Path) -> Target:
        """Return the artifact at `actual`, hashed now, under this model's name."""
        artifact = target_at(project, self.path, actual)
        return artifact if self.name is None else replace(artifact, name=self.name)


def guard(
    verifier: Verifier, model: NamedModel, *, copies: Path | None = None, wanted: State = "open"
) -> GuardedModel:
    """Verify the model in place, or as a private copy below `copies`.

    Raises VerificationError if the bytes are more mutable than `wanted`, before hashing if possible; ProjectError or
    LimitError for an unreadable model. Raises StoreError if the copy cannot be made.
    """
    model = replace(
        model, path=real_path(model.path)
    )  # resolved once: every check and the command open the same path
    if copies is None:
        return _in_place(verifier, model, wanted)
    copies = real_path(copies)
    make_private(copies)
    _demand(window(copies, fresh=True), wanted, copies)
    return _known(verifier, model, copies) or _copied(verifier, model, copies)


def _in_place(verifier: Verifier, model: NamedModel, wanted: State) -> GuardedModel:
    before = window(model.path)
    _demand(before, wanted, model.path)
    return GuardedModel(model.path, _decided(verifier, model, model.path), before)


def _known(verifier: Verifier, model: NamedModel, copies: Path) -> GuardedModel | None:
    """Return the copy of the same content from an earlier call, hashed again, or None."""
    if not any(copies.glob(f"{PREFIX}*")):
        return None
    digest = model.target(verifier.project, model.path).sha256
    return _kept(verifier, model, copies / f"{PREFIX}{digest}")


def _kept(verifier: Verifier, model: NamedModel, place: Path) -> GuardedModel | None:
    """Return the artifact at a copy's path, hashed now; None if it is missing or does not match its name."""
    if not (place / model.path.name).exists():
        return None
    decision = _decided(verifier, model, place / model.path.name)
    if decision.target.sha256 != place.name.removeprefix(PREFIX):
        return None
    return GuardedModel(place / model.path.name, decision, window(place, fresh=True))


def _copied(verifier: Verifier, model: NamedModel, copies: Path) -> GuardedModel:
    partial = copies / f".partial-{secrets.token_hex(8)}"
    make_private(partial)
    try:
        copy_private(model.path, partial / model.path.name)
        decision = _decided(verifier, model, partial / model.path.name)
        if not decision.passed:
            return GuardedModel(model.path, decision, window(partial, fresh=True))
        place = copies / f"{PREFIX}{decision.target.sha256}"
        if place.exists() and (made := _kept(verifier, model, place)):
            return made  # another process created the copy first
        remove(place)
        _rename(partial, place)
        return GuardedModel(place / model.path.name, decision, window(place, fresh=True))
    finally:
        remove(partial)


def _rename(partial: Path, place: Path) -> None:
    with os_errors_as(StoreError, "cannot keep the copy", place):
        partial.rename(place)


def _decided(verifier: Verifier, model: NamedModel, actual: Path) -> Decision:
    decision = verifier.decide(model.target(verifier.project, actual))
    return inspected(decision, verifier.project, GivenTarget(str(actual), path=actual))


def _demand(exposure: Exposure, wanted: State, path: Path) -> None:
    if not exposure.satisfies(wanted):
        raise VerificationError(
            "others could change the model after it was verified",
            where=str(path),
            expected=wanted,
            got=f"{exposure.state}: {exposure.reason}",
            help="--copy DIR   makes a private copy of it and verifies that",
        )
