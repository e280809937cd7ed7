"""L13: check that enough witnesses cosigned the log's checkpoint, so that a log cannot show two histories alone.

    # two of three operators, whatever number of witnesses each runs
    witness a1 <verifier key>
    witness a2 <verifier key>
    group   a  any a1 a2
    witness b  <verifier key>
    witness c  <verifier key>
    group   operators 2 a b c
    quorum  operators

A witness or group is a member of at most one group, and two witnesses cannot share a key, so none counts twice. If the
policy names logs, the checkpoint must be of one of them.

Spec: https://c2sp.org/tlog-policy. The verifier supplies the file; it is never read from the evidence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from gitchain.errors import GitchainError, InclusionError, MalformedError, SignatureError, TrustError
from gitchain.evidence.checkpoint import NoteSignature, SignedCheckpoint
from gitchain.evidence.cosignature import (
    ED25519_COSIGNATURE,
    ED25519_NOTE,
    VerifierKey,
    cosigned_bytes,
    time_and_signature,
)
from gitchain.verify.keys import Key
from gitchain.verify.verified import NEVER

MAX_POLICY_BYTES = 1 << 16
MAX_NAMES = 256
"""Most logs, witnesses and groups together: implementations should take 32 of each."""

MAX_TIME = 253_402_300_799
"""The last second of the year 9999, the last that a datetime can hold."""

NONE = "none"
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_NUMBER = re.compile(r"[1-9]\d{0,3}", re.ASCII)


@dataclass(frozen=True, slots=True)
class WitnessGroup:
    """A group: at least `threshold` of its members must cosign a checkpoint."""

    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WitnessPolicy:
    """The required cosignatures. Made by parse()."""

    logs: tuple[VerifierKey, ...]
    witnesses: Mapping[str, VerifierKey]
    groups: Mapping[str, WitnessGroup]
    quorum: str

    @classmethod
    def parse(cls, data: bytes) -> WitnessPolicy:
        """Return the policy in this file. Raises TrustError, with the line, for a malformed file."""
        if len(data) > MAX_POLICY_BYTES:
            raise TrustError("the witness policy is too large", expected=f"at most {MAX_POLICY_BYTES} bytes")
        text = data.decode("utf-8", "surrogateescape")  # names are bytes in any encoding
        reader = _PolicyReader()
        for number, line in enumerate(text.split("\n"), 1):
            try:
                reader.line(line)
            except GitchainError as error:
                where, got = f"witness policy, line {number}", error.got or ascii(line[:100])
                raise TrustError(error.what, where=where, expected=error.expected, got=got) from error
        if reader.quorum is None:
            raise TrustError("the witness policy has no quorum", expected="quorum NAME, or: quorum none")
        return cls(tuple(reader.logs), reader.witnesses, reader.groups, reader.quorum)

    def check(self, note: SignedCheckpoint) -> datetime | None:
        """Return when the quorum had cosigned the checkpoint, None if the policy has no quorum.

        Raises InclusionError, with the witnesses that did cosign, if they are too few. The times are the witnesses'
        own; the caller compares the result with its clock.
        """
        origin = note.checkpoint.origin
        if self.logs and not any(self._is_of(note, log) for log in self.logs):
            known = ", ".join(log.name for log in self.logs)
            raise InclusionError("the witness policy does not name this log", expected=known, got=origin)
        if self.quorum == NONE:
            return None
        given = {name: min(times) for name, key in self.witnesses.items() if (times := _times(note, key))}
        reached = dict(given)
        for name, group in self.groups.items():  # in the order of the file: members come first
            times = sorted(reached[member] for member in group.members if member in reached)
            if len(times) >= group.threshold:
                reached[name] = times[group.threshold - 1]
        if self.quorum not in reached:
            raise InclusionError(
                "not enough witnesses cosigned the checkpoint",
                where=origin,
                expected=f"the quorum {self.quorum}",
                got=", ".join(sorted(given)) or "none that the policy knows",
            )
        return cosigned_time(reached[self.quorum])

    def _is_of(self, note: SignedCheckpoint, log: VerifierKey) -> bool:
        """Return whether the log's key signed the checkpoint; a line with its key id alone proves nothing.

        Elsewhere it is checked that a key of the trusted root signed it too: the root may have several of one origin.
        """
        if note.checkpoint.origin != log.name or log.kind != ED25519_NOTE:
            return False
        lines = (line for line in note.signatures if (line.name, line.key_id) == (log.name, log.key_id))
        return any(_is_signed(log.key, line.signature, note.body()) for line in lines)


def cosigned_time(seconds: int) -> datetime:
    """Return a cosignature's POSIX time as a datetime; NEVER if it is out of range."""
    return datetime.fromtimestamp(seconds, UTC) if seconds <= MAX_TIME else NEVER


def _times(note: SignedCheckpoint, key: VerifierKey) -> list[int]:
    """Return the times of the witness's cosignatures that verify."""
    lines = [line for line in note.signatures if (line.name, line.key_id) == (key.name, key.key_id)]
    return [time for line in lines if (time := _verified_time(note, key, line)) is not None]


def _verified_time(note: SignedCheckpoint, key: VerifierKey, line: NoteSignature) -> int | None:
    try:
        time, signature = time_and_signature(line)
        data = cosigned_bytes(note.checkpoint, time)
    except MalformedError:
        return None
    return time if _is_signed(key.key, signature, data) else None


def _is_signed(key: bytes, signature: bytes, data: bytes) -> bool:
    """Return whether the Ed25519 key (32 raw bytes) signed the data."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Key.of(Ed25519PublicKey.from_public_bytes(key)).verify(signature, data)
    except (MalformedError, SignatureError):
        return False
    return True


@dataclass(slots=True)
class _PolicyReader:
    """Reads a policy line by line."""

    logs: list[VerifierKey] = field(default_factory=list)
    witnesses: dict[str, VerifierKey] = field(default_factory=dict)
    groups: dict[str, WitnessGroup] = field(default_factory=dict)
    members: set[str] = field(default_factory=set)
    quorum: str | None = None

    def line(self, line: str) -> None:
        """Parse one line. Raises MalformedError."""
        if _CONTROL.search(line):
            raise MalformedError("control character", expected="tab and newline alone")
        words = re.split(r"[ \t]+", line.strip(" \t"))
        if not words[0] or words[0].startswith("#"):
            return
        if len(self.logs) + len(self.witnesses) + len(self.groups) >= MAX_NAMES:
            raise MalformedError("too many logs, witnesses and groups", expected=f"at most {MAX_NAMES}")
        match words:
            case ["log", key, *url] if len(url) <= 1:
                self._log(key)
            case ["witness", name, key, *url] if len(url) <= 1:
                self._witness(name, key)
            case ["group", name, threshold, *members] if members:
                self._group(name, threshold, members)
            case ["quorum", name]:
                self._quorum(name)
            case _:
                raise MalformedError(
                    "not a line of a witness policy", expected="log, witness, group or quorum"
                )

    def _log(self, text: str) -> None:
        key = VerifierKey.parse(text)
        if any(key.key == other.key for other in self.logs):
            raise MalformedError("the log's key is there already")
        self.logs.append(key)

    def _witness(self, name: str, text: str) -> None:
        self._fresh(name)
        key = VerifierKey.parse(text)
        if key.kind != ED25519_COSIGNATURE:
            raise MalformedError(
                "not a witness' key", expected="the kind 4, Ed25519 cosignatures", got=str(key.kind)
            )
        if any(key.key == other.key for other in self.witnesses.values()):
            raise MalformedError("the witness' key is there already, under another name")
        self.witnesses[name] = key

    def _group(self, name: str, threshold: str, members: list[str]) -> None:
        self._fresh(name)
        for member in members:
            self._known(member)
            if member in self.members:
                raise MalformedError("a member of two groups, or twice of one", got=ascii(member))
            self.members.add(member)
        count = {"any": "1", "all": str(len(members))}.get(threshold, threshold)
        if not _NUMBER.fullmatch(count) or int(count) > len(members):
            raise MalformedError(
                "impossible threshold", expected=f"any, all, or 1 to {len(members)}", got=ascii(threshold)
            )
        self.groups[name] = WitnessGroup(int(count), tuple(members))

    def _quorum(self, name: str) -> None:
        if self.quorum is not None:
            raise MalformedError("a second quorum", expected="one")
        if name != NONE:
            self._known(name)
        self.quorum = name

    def _fresh(self, name: str) -> None:
        if name == NONE or name in self.witnesses or name in self.groups:
            raise MalformedError("the name is taken", got=ascii(name))

    def _known(self, name: str) -> None:
        if name not in self.witnesses and name not in self.groups:
            names = ", ".join(self._names())
            raise MalformedError(
                "no witness or group of that name above", expected=names or "one", got=ascii(name)
            )

    def _names(self) -> Iterator[str]:
        yield from self.witnesses
        yield from self.groups
