"""What a target is, is decided once, from its text and from what is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitchain.consume.targets import GivenTarget
from gitchain.errors import UsageError

DIGEST = "a" * 64


def test_parse_finds_the_kind_of_a_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory is a path, whatever its name; what is nothing else can only be a revision."""
    monkeypatch.chdir(tmp_path)
    Path("m.sigstore.json").write_bytes(b"{}")
    Path("d.sigstore").mkdir()
    Path("link").symlink_to("nowhere")
    for text, shape in ((f"sha256:{DIGEST}", None), (f"oci://example.com/m@sha256:{DIGEST}", False)):
        given = GivenTarget.parse(text)
        assert given.artifact is not None
        assert (given.artifact.sha256, given.artifact.directory, given.is_revision) == (DIGEST, shape, False)
    bundle = GivenTarget.parse("m.sigstore.json")
    assert (bundle.bundle, bundle.path, bundle.is_revision) == (b"{}", None, False)
    for name in ("d.sigstore", "link", "."):
        assert GivenTarget.parse(name).path == Path(name)
    for name in ("HEAD", "none.sigstore.json", f"sha256:{DIGEST[1:]}"):
        assert GivenTarget.parse(name).is_revision


def test_parse_refuses_an_image_without_a_digest() -> None:
    with pytest.raises(UsageError, match="a tag names no artifact"):
        GivenTarget.parse("oci://example.com/m:v1")
