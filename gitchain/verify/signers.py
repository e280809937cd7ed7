"""Map a signer to the functionaries of a layout that match it, and to the one principal that it counts as.

A signer always counts as one principal, whatever its certificate claims: the first functionary of the layout that could
match it, or that functionary's principal. So no signer counts twice in a threshold or across steps, however the layout's
patterns overlap. Whether the signer is allowed for a step is a separate check: an entry of one of the step's
functionaries must match, including its claims.

Does NOT verify signatures or claims: they come from a VerifiedStatement.
"""

from __future__ import annotations

from collections.abc import Sequence

from gitchain.layout.model import Functionary, Identity, Layout, SigstoreMember
from gitchain.verify.verified import VerifiedStatement


class Signers:
    """The functionaries of one layout, with a cache by signer."""

    __slots__ = ("_layout", "_matching", "_people")

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._matching: dict[tuple[object, ...], frozenset[str]] = {}
        self._people: dict[Identity, str] = {}

    def matching(self, statement: VerifiedStatement) -> frozenset[str]:
        """Return the names of the functionaries that match the statement's signer, including its claims."""
        key = (statement.identity, *sorted(statement.claims.items()))
        if key not in self._matching:
            self._matching[key] = frozenset(
                one.name
                for one in self._layout.functionaries
                if one.matches(statement.identity, statement.claims)
            )
        return self._matching[key]

    def functionary(self, statement: VerifiedStatement, functionaries: Sequence[str]) -> str | None:
        """Return the first of these functionaries that matches the signer, or None."""
        matching = self.matching(statement)
        return next((name for name in functionaries if name in matching), None)

    def person(self, identity: Identity) -> str:
        """Return the one principal that the signer counts as. Raises KeyError if no entry could match it."""
        if identity not in self._people:
            owner = next((one for one in self._layout.functionaries if _could_be(one, identity)), None)
            if owner is None:
                raise KeyError(identity)
            self._people[identity] = self._layout.principal_of(owner.name)
        return self._people[identity]

    def allowed(self, functionaries: Sequence[str]) -> str:
        """Return the entries of these functionaries, for messages."""
        named = {one.name: one for one in self._layout.functionaries}
        return " or ".join(sorted(str(one) for name in functionaries for one in named[name].identities))


def _could_be(functionary: Functionary, identity: Identity) -> bool:
    """Return whether the signer could be the functionary, ignoring the claims of its certificate."""
    return any(
        member.matches(identity, dict(member.claims) if isinstance(member, SigstoreMember) else {})
        for member in functionary.identities
    )
