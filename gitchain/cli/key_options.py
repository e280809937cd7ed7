"""Option --key of the verbs that read evidence without a layout."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from gitchain.layout.model import Identity

keys_option = click.option(
    "--key",
    "key_files",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Public key (PEM) whose attestations count, besides the layout's keys.",
)


def public_keys(files: Sequence[Path]) -> dict[Identity, bytes]:
    """Return the keys (DER) of --key by the identities that they sign as. Raises UsageError for a file that holds none."""
    from gitchain.consume.single_bundle import wanted_signer

    wanted = [wanted_signer(None, None, file) for file in files]
    return {one.identity: one.keys[0] for one in wanted}
