"""Read the layout in a statement's predicate, and check that it is the one that the statement's subject names.

A signed layout is an attestation of predicate type `https://gitchain.dev/predicate/layout/v1`, with the layout as
predicate and one subject that has the layout's name and the SHA-256 of its canonical JSON.

Does NOT check the signer: `gitchain.verify.layout` does that for the policy layout, `gitchain.verify.sublayout` for
sublayouts.
"""

from __future__ import annotations

from gitchain.errors import LayoutError
from gitchain.evidence.statement import Statement
from gitchain.evidence.vocabulary import LAYOUT
from gitchain.layout.load import layout_from_json
from gitchain.layout.model import Layout


def bound_layout(statement: Statement) -> Layout:
    """Return the layout in the statement. Raises LayoutError if it is no layout, or not the one in the subject."""
    if statement.predicate_type != LAYOUT:
        raise LayoutError("not a signed layout", expected=LAYOUT, got=statement.predicate_type)
    layout = layout_from_json(dict(statement.predicate))
    subject = [(one.name, one.digest.get("sha256")) for one in statement.subject]
    if subject != [(layout.name, layout.digest)]:
        raise LayoutError(
            "signed layout does not match its subject",
            expected=f"{layout.name} sha256:{layout.digest}",
            got=", ".join(f"{name} sha256:{digest}" for name, digest in subject),
        )
    return layout
