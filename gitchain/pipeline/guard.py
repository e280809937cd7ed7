"""Verify a model's bytes where they will be loaded from, and say who could change them before they are.

In place, or as a private copy in a directory that is named by what it holds: `DIR/sha256-<digest>/<name>`. A copy that
is there already is hashed again like any other bytes. Nothing that did not pass stays in that directory.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from pathlib import Path

from gitchain.collect.paths import real_path
from gitchain.errors import StoreError, VerificationError
from gitchain.pipeline.consume import Verifier
from gitchain.pipeline.copies import copy_private, make_private, remove
from gitchain.pipeline.inspections import inspected
from gitchain.pipeline.project import Project
from gitchain.pipeline.targets import target_at
from gitchain.pipeline.window import State, Window, window
from gitchain.verify.decide import Decision, Target

PREFIX = "sha256-"


@dataclass(frozen=True, slots=True)
class Guarded:
    """What was decided about the bytes at a path, and who could change them."""

    path: Path
    decision: Decision
    window: Window


@dataclass(frozen=True, slots=True)
class Model:
    """A file or directory, and what the layout calls it; without a name any model that the layout serves will do."""

    path: Path
    name: str | None = None

    def target(self, project: Project | None, actual: Path) -> Target:
        """Return the artifact whose bytes are at `actual`, hashed now, under this model's name."""
        found = target_at(project, self.path, actual)
        return found if self.name is None else replace(found, name=self.name)


def guard(verifier: Verifier, model: Model, *, copies: Path | None = None, wanted: State = "open") -> Guarded:
    """Verify what lies at the model's path, or a private copy of it below `copies`.

    VerificationError if others could change the bytes and less was `wanted`: before anything is hashed where that can
    be seen. Raises ProjectError and LimitError for a model that cannot be read, StoreError for a copy that cannot be made.
    """
    model = replace(model, path=real_path(model.path))  # once: every look and the command open the same path
    if copies is None:
        return _in_place(verifier, model, wanted)
    copies = real_path(copies)
    make_private(copies)
    _demand(window(copies, fresh=True), wanted, copies)
    return _known(verifier, model, copies) or _copied(verifier, model, copies)


def _in_place(verifier: Verifier, model: Model, wanted: State) -> Guarded:
    before = window(model.path)
    _demand(before, wanted, model.path)
    return Guarded(model.path, _decided(verifier, model, model.path), before)


def _known(verifier: Verifier, model: Model, copies: Path) -> Guarded | None:
    """Return the copy that an earlier call made of the same content, hashed again; None if there is none."""
    if not any(copies.glob(f"{PREFIX}*")):
        return None
    digest = model.target(verifier.project, model.path).sha256
    return _kept(verifier, model, copies / f"{PREFIX}{digest}")


def _kept(verifier: Verifier, model: Model, place: Path) -> Guarded | None:
    """Return what lies at a copy's place, hashed now; None if it is not there or not what its name says."""
    if not (place / model.path.name).exists():
        return None
    decision = _decided(verifier, model, place / model.path.name)
    if decision.target.sha256 != place.name.removeprefix(PREFIX):
        return None
    return Guarded(place / model.path.name, decision, window(place, fresh=True))


def _copied(verifier: Verifier, model: Model, copies: Path) -> Guarded:
    partial = copies / f".partial-{secrets.token_hex(8)}"
    make_private(partial)
    try:
        copy_private(model.path, partial / model.path.name)
        decision = _decided(verifier, model, partial / model.path.name)
        if not decision.passed:
            return Guarded(model.path, decision, window(partial, fresh=True))
        place = copies / f"{PREFIX}{decision.target.sha256}"
        if place.exists() and (made := _kept(verifier, model, place)):
            return made  # another process was faster
        remove(place)
        _rename(partial, place)
        return Guarded(place / model.path.name, decision, window(place, fresh=True))
    finally:
        remove(partial)


def _rename(partial: Path, place: Path) -> None:
    try:
        partial.rename(place)
    except OSError as error:
        raise StoreError("cannot keep the copy", where=str(place), got=str(error.strerror)) from error


def _decided(verifier: Verifier, model: Model, actual: Path) -> Decision:
    decision = verifier.decide(model.target(verifier.project, actual))
    return inspected(decision, verifier.project, str(actual))


def _demand(found: Window, wanted: State, path: Path) -> None:
    if not found.satisfies(wanted):
        raise VerificationError(
            "others could change the model after it was verified",
            where=str(path),
            expected=wanted,
            got=f"{found.state}: {found.reason}",
            help="--copy DIR   makes a private copy of it and verifies that",
        )
