"""Checkpoints: what parses renders back to the same text, and nothing else parses."""

from __future__ import annotations

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from gitchain.errors import GitchainError, LimitError, MalformedError
from gitchain.evidence.checkpoint import (
    MAX_CHECKPOINT_CHARS,
    MAX_EXTENSIONS,
    MAX_SIGNATURES,
    Checkpoint,
    NoteSignature,
    SignedCheckpoint,
    ed25519_key_id,
    render,
)
from gitchain.evidence.merkle import EMPTY_ROOT

ROOT = bytes(range(32))
CHECKPOINT = Checkpoint("log.example.com", 42, ROOT)
SIGNATURE = NoteSignature("log.example.com", b"\x01\x02\x03\x04", b"s" * 64)
TEXT = render(CHECKPOINT, [SIGNATURE])
LINES = st.text(st.characters(min_codepoint=0x20, exclude_categories=["Cs"]), min_size=1, max_size=20)
NAMES = LINES.filter(lambda text: "+" not in text and not any(char.isspace() for char in text))


def test_text_is_what_c2sp_says() -> None:
    """The rendered note is the one that the specification describes, byte for byte."""
    root = base64.b64encode(ROOT).decode()
    signature = base64.b64encode(b"\x01\x02\x03\x04" + b"s" * 64).decode()
    assert f"log.example.com\n42\n{root}\n\n— log.example.com {signature}\n" == TEXT
    assert CHECKPOINT.body() == f"log.example.com\n42\n{root}\n".encode()


@given(
    st.builds(
        Checkpoint,
        LINES,
        st.integers(1, 2**63 - 1),
        st.binary(min_size=32, max_size=32),
        st.lists(LINES, max_size=3).map(tuple),
    ),
    st.lists(
        st.builds(
            NoteSignature, NAMES, st.binary(min_size=4, max_size=4), st.binary(min_size=1, max_size=80)
        ),
        min_size=1,
        max_size=4,
    ),
)
def test_parse_undoes_render(checkpoint: Checkpoint, signatures: list[NoteSignature]) -> None:
    """parse(render(x)) is x, and its body is the signed part of the text."""
    text = render(checkpoint, signatures)
    signed = SignedCheckpoint.parse(text)
    assert (signed.checkpoint, signed.signatures, signed.text) == (checkpoint, tuple(signatures), text)
    assert text.encode().startswith(signed.body() + b"\n")


@given(st.text(max_size=200))
def test_any_text_is_refused_cleanly(text: str) -> None:
    """Arbitrary text raises errors of the project and nothing else."""
    with pytest.raises(GitchainError):
        SignedCheckpoint.parse(text)


def test_mangled_text_never_reads_as_the_same() -> None:
    """Each character changed, dropped or doubled gives an error or another signed body or signature, never the same."""
    for cut in range(len(TEXT)):
        for changed in ("", "A", " ", "\n", "0", TEXT[cut] * 2, "\x00", "\u00a0"):
            bad = TEXT[:cut] + changed + TEXT[cut + 1 :]
            if bad == TEXT:
                continue
            try:
                found = SignedCheckpoint.parse(bad)
            except (MalformedError, LimitError):
                continue
            assert (found.body(), found.signatures) != (CHECKPOINT.body(), (SIGNATURE,))
            assert render(found.checkpoint, found.signatures) == bad


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("\n42\n", "\n+42\n"),
        ("\n42\n", "\n 42\n"),
        ("\n42\n", "\n042\n"),
        ("\n42\n", "\n-42\n"),
        ("\n42\n", "\n4_2\n"),
        ("\n42\n", "\n٤٢\n"),
        ("\n42\n", f"\n{2**63}\n"),
        ("\n42\n", "\n" + "9" * 5000 + "\n"),
        ("\n42\n", "\n0\n"),
        ("AAECAwQF", "AAECAwQ"),
        ("AAECAwQF", "AAEC*AwQF"),
        ("AAECAwQF", ""),
        ("log.example.com\n42", "\n42"),
        ("log.example.com\n42", "log\x01\n42"),
        ("\n\n", "\n\n\n"),
        ("\n\n", "\n"),
        ("— ", "- "),
        ("— log", "—  log"),
        ("— log.example.com ", "— "),
        ("— log.example.com ", "— log example "),
        ("— log.example.com ", "— log+example "),
        ("\n\n", "\n\r\n"),
    ],
)
def test_near_misses_are_refused(old: str, new: str) -> None:
    """Other spellings of a number, of base64, of a line: there is one form."""
    assert old in TEXT
    with pytest.raises((MalformedError, LimitError)):
        SignedCheckpoint.parse(TEXT.replace(old, new))


def test_no_trailing_newline_or_trailing_data() -> None:
    """The last signature line ends the text."""
    for bad in (TEXT[:-1], TEXT + "\n", TEXT + "x", TEXT + "\n— a b\n", ""):
        with pytest.raises(MalformedError):
            SignedCheckpoint.parse(bad)


def test_rendering_back_is_a_check_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if a field were read leniently, text that renders otherwise is refused."""
    monkeypatch.setattr("gitchain.evidence.checkpoint.decimal", lambda text, _: int(text))
    with pytest.raises(MalformedError, match="canonical form"):
        SignedCheckpoint.parse(TEXT.replace("\n42\n", "\n042\n"))


def test_extension_lines_are_signed() -> None:
    """Rekor v1's spaces and timestamp line parse, and are in the body."""
    checkpoint = Checkpoint("rekor.sigstore.dev - 2605736670972794746", 7, ROOT, ("Timestamp: 1",))
    signed = SignedCheckpoint.parse(render(checkpoint, [NoteSignature("rekor.sigstore.dev", b"abcd", b"s")]))
    assert signed.checkpoint == checkpoint
    assert signed.body().endswith(b"\nTimestamp: 1\n")


def test_limits() -> None:
    """Length, signatures and extensions are bounded."""
    many = render(CHECKPOINT, [SIGNATURE] * (MAX_SIGNATURES + 1))
    extended = TEXT.replace("\n\n", "\n" + "e\n" * (MAX_EXTENSIONS + 1) + "\n")
    line = TEXT.split("\n")[0]
    longest = TEXT.replace(line, line + "l" * (MAX_CHECKPOINT_CHARS - len(TEXT)), 1)
    assert len(SignedCheckpoint.parse(longest).text) == MAX_CHECKPOINT_CHARS
    for bad in (many, extended, TEXT.replace("log", "l" * MAX_CHECKPOINT_CHARS, 1)):
        with pytest.raises(LimitError):
            SignedCheckpoint.parse(bad)
    with pytest.raises(LimitError):
        Checkpoint("x", 1, ROOT, ("e",) * (MAX_EXTENSIONS + 1))


def test_values_are_always_valid() -> None:
    """No checkpoint or signature can be made that would not parse."""
    for make in (
        lambda: Checkpoint("", 1, ROOT),
        lambda: Checkpoint("a\nb", 1, ROOT),
        lambda: Checkpoint("a\ud800", 1, ROOT),
        lambda: Checkpoint("a", -1, ROOT),
        lambda: Checkpoint("a", 1, ROOT[:3]),
        lambda: Checkpoint("a", 0, ROOT),
        lambda: Checkpoint("a", 1, ROOT, ("",)),
        lambda: NoteSignature("", b"abcd", b"s"),
        lambda: NoteSignature("a b", b"abcd", b"s"),
        lambda: NoteSignature("a", b"abc", b"s"),
        lambda: NoteSignature("a", b"abcd", b""),
        lambda: render(CHECKPOINT, []),
    ):
        with pytest.raises(MalformedError):
            make()
    assert Checkpoint("a", 0, EMPTY_ROOT).size == 0


def test_key_ids() -> None:
    """Ed25519 ids bind the origin (C2SP signed-note)."""
    raw = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32).public_key().public_bytes_raw()
    assert ed25519_key_id("a", raw) == hashlib.sha256(b"a\n\x01" + raw).digest() != ed25519_key_id("b", raw)


def test_public_good_key_id() -> None:
    """The id that the public log log2025-1.rekor.sigstore.dev has in Sigstore's trusted root is the one we compute."""
    from sigstore.models import ClientTrustConfig

    root = ClientTrustConfig.production(offline=True).trusted_root
    logs = [log for log in root._inner.tlogs if "log2025-1" in log.base_url]
    assert logs, "sigstore no longer embeds the log's key"
    raw = logs[0].public_key.raw_bytes
    assert raw
    key = raw[-32:]
    assert ed25519_key_id("log2025-1.rekor.sigstore.dev", key) == logs[0].log_id.key_id
