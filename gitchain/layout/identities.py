"""Signer identities of verified signatures, and the entries of a layout that match them.

    {issuer: "https://token.example", subject: "https://example.com/m/ci.yml@refs/tags/v*", claims: {buildTrigger: push}}
    {key: "-----BEGIN PUBLIC KEY-----…"}                PEM of a SubjectPublicKeyInfo (RFC 5280)
    {ssh: "ssh-ed25519 AAAA… comment"}                  a line of OpenSSH (RFC 4253 section 6.6)
    {openpgp: "-----BEGIN PGP PUBLIC KEY BLOCK-----…", fingerprint: 0AD9F9…}      a key of OpenPGP (RFC 9580 section 10.1)

Issuer, subject and claims are compared exactly. The one pattern is `*` in the ref of a subject, after its first
`@refs/`: it matches any characters but `/`. Everything before it is literal, so no pattern leaves its repository.
A key is an identity too: its issuer is one of KEY_ISSUERS, which are not URLs, so no certificate can contain them.

Does NOT verify signatures (`gitchain.verify.bundle`), nor map signers to principals (`gitchain.layout.model`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from gitchain.errors import LayoutError
from gitchain.evidence.canonical import Json
from gitchain.layout.fields import check_distinct, check_label, check_text

KEY_ISSUER = "gitchain:key"
SSH_ISSUER = "gitchain:ssh"
OPENPGP_ISSUER = "gitchain:openpgp"
KEY_ISSUERS = frozenset({KEY_ISSUER, SSH_ISSUER, OPENPGP_ISSUER})
REF_MARK = "@refs/"
CLAIM_NAMES = frozenset(
    {
        *("issuer", "buildSignerURI", "buildSignerDigest", "runnerEnvironment", "sourceRepositoryURI"),
        *("sourceRepositoryDigest", "sourceRepositoryRef", "sourceRepositoryIdentifier"),
        *("sourceRepositoryOwnerURI", "sourceRepositoryOwnerIdentifier", "buildConfigURI"),
        *("buildConfigDigest", "buildTrigger", "runInvocationURI", "sourceRepositoryVisibilityAtSigning"),
    }
)
"""Fulcio's extensions .8 to .22 (https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md), in camel case."""


@dataclass(frozen=True, slots=True, order=True)
class Identity:
    """A signer: the OIDC issuer and the certificate's subject, or one of KEY_ISSUERS and a key's digest."""

    issuer: str
    subject: str

    def __post_init__(self) -> None:
        check_text(self.issuer, "issuer")
        check_text(self.subject, "subject")
        if self.issuer not in KEY_ISSUERS:
            _check_issuer(self.issuer)

    def __str__(self) -> str:
        """Return subject and issuer, for messages."""
        return f"{self.subject} ({self.issuer})"

    def to_json(self) -> dict[str, Json]:
        """Return the identity as in reports and pins."""
        return {"issuer": self.issuer, "subject": self.subject}


@dataclass(frozen=True, slots=True)
class SigstoreMember:
    """Certificates of one issuer: this subject, or any ref that its pattern covers, with at least these claims."""

    issuer: str
    subject_pattern: str
    claims: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        check_text(self.issuer, "issuer")
        _check_issuer(self.issuer)
        check_text(self.subject_pattern, "subject")
        _check_subject(self.subject_pattern)
        check_distinct("claim", "claims", (name for name, _ in self.claims))
        for name, value in self.claims:
            if name not in CLAIM_NAMES:
                known = ", ".join(sorted(CLAIM_NAMES))
                raise LayoutError("unknown claim", where="claims", expected=known, got=ascii(name[:80]))
            check_text(value, f"claims.{name}")
        object.__setattr__(self, "claims", tuple(sorted(self.claims)))

    @property
    def exact(self) -> bool:
        """Return whether the subject is one subject, and no pattern."""
        return "*" not in self.subject_pattern

    def matches(self, identity: Identity, claims: Mapping[str, str]) -> bool:
        """Return whether this is the signer: issuer, subject and every listed claim."""
        return (
            identity.issuer == self.issuer
            and covers(self.subject_pattern, identity.subject)
            and all(claims.get(name) == value for name, value in self.claims)
        )

    def __str__(self) -> str:
        """Return subject, issuer and claims, for messages."""
        extra = ", ".join(f"{name} {value}" for name, value in self.claims)
        return f"{self.subject_pattern} ({self.issuer}{f'; {extra}' if extra else ''})"

    def to_json(self) -> dict[str, Json]:
        """Return the entry as in the layout."""
        found: dict[str, Json] = {"issuer": self.issuer, "subject": self.subject_pattern}
        return {**found, "claims": dict(self.claims)} if self.claims else found


@dataclass(frozen=True, slots=True)
class KeyMember:
    """One public key, as the DER of its SubjectPublicKeyInfo."""

    public_key: bytes

    def __post_init__(self) -> None:
        from gitchain.layout.keys import spki_digest

        spki_digest(self.public_key)

    @property
    def identity(self) -> Identity:
        """Return the identity under which this key's signatures count."""
        from gitchain.layout.keys import spki_digest

        return Identity(KEY_ISSUER, f"sha256:{spki_digest(self.public_key)}")

    @property
    def spkis(self) -> frozenset[bytes]:
        """Return the DER of the key."""
        return frozenset({self.public_key})

    def matches(self, identity: Identity, claims: Mapping[str, str]) -> bool:  # noqa: ARG002 - a key has no claims
        """Return whether this key signed."""
        return identity == self.identity

    def __str__(self) -> str:
        """Return the key's digest, for messages."""
        return str(self.identity)

    def to_json(self) -> dict[str, Json]:
        """Return the entry as in the layout."""
        from gitchain.layout.keys import pem_of

        return {"key": pem_of(self.public_key)}


@dataclass(frozen=True, slots=True)
class SshMember:
    """One SSH key for signing commits: its type and base64, without a comment."""

    public_key: str

    def __post_init__(self) -> None:
        from gitchain.layout.keys import spki_of_ssh

        spki_of_ssh(self.public_key)

    @property
    def identity(self) -> Identity:
        """Return the identity of this key's signatures, with the fingerprint that `ssh-keygen -l` prints."""
        from gitchain.layout.keys import fingerprint

        return Identity(SSH_ISSUER, fingerprint(self.public_key))

    @property
    def spkis(self) -> frozenset[bytes]:
        """Return the DER of the key."""
        from gitchain.layout.keys import spki_of_ssh

        return frozenset({spki_of_ssh(self.public_key)})

    def matches(self, identity: Identity, claims: Mapping[str, str]) -> bool:  # noqa: ARG002 - a key has no claims
        """Return whether this key signed."""
        return identity == self.identity

    def __str__(self) -> str:
        """Return the key's fingerprint, for messages."""
        return str(self.identity)

    def to_json(self) -> dict[str, Json]:
        """Return the entry as in the layout."""
        return {"ssh": self.public_key}


@dataclass(frozen=True, slots=True)
class OpenPgpMember:
    """One OpenPGP key for signing commits: its packets, and the fingerprint of its primary key.

    The fingerprint is for people; verification uses the packets.
    """

    public_key: bytes
    fingerprint: str

    def __post_init__(self) -> None:
        from gitchain.layout.openpgp import check_fingerprint

        check_fingerprint(self.public_key, self.fingerprint)

    @property
    def identity(self) -> Identity:
        """Return the identity under which the signatures of this key and its subkeys count."""
        return Identity(OPENPGP_ISSUER, self.fingerprint)

    @property
    def signers(self) -> frozenset[str]:
        """Return the fingerprints of the primary key and of the subkeys that could sign."""
        from gitchain.layout.openpgp import signing_keys

        return frozenset(one for one, _ in signing_keys(self.public_key))

    @property
    def spkis(self) -> frozenset[bytes]:
        """Return the DER of the primary key and of the subkeys that could sign."""
        from gitchain.layout.openpgp import signing_keys

        return frozenset(spki for _, spki in signing_keys(self.public_key))

    def matches(self, identity: Identity, claims: Mapping[str, str]) -> bool:  # noqa: ARG002 - a key has no claims
        """Return whether this key signed."""
        return identity == self.identity

    def __str__(self) -> str:
        """Return the key's fingerprint, for messages."""
        return str(self.identity)

    def to_json(self) -> dict[str, Json]:
        """Return the entry as in the layout."""
        from gitchain.evidence.openpgp import PUBLIC_KEY, armored

        return {"openpgp": armored(self.public_key, PUBLIC_KEY), "fingerprint": self.fingerprint}


Member: TypeAlias = SigstoreMember | KeyMember | SshMember | OpenPgpMember


@dataclass(frozen=True, slots=True)
class Functionary:
    """A person or a workload, with its identities."""

    name: str
    identities: tuple[Member, ...]

    def __post_init__(self) -> None:
        check_label(self.name)
        if not self.identities:
            raise LayoutError("a functionary needs an identity", where="identities", got="none")
        check_distinct("identity", "identities", map(str, self.identities))

    def matches(self, identity: Identity, claims: Mapping[str, str]) -> bool:
        """Return whether one of the identities is the signer."""
        return any(member.matches(identity, claims) for member in self.identities)

    def to_json(self) -> dict[str, Json]:
        """Return the functionary as in the layout, without its name."""
        return {"identities": [member.to_json() for member in self.identities]}


def covers(pattern: str, subject: str) -> bool:
    """Return whether the pattern, in which `*` matches any characters but `/`, covers the whole subject."""
    parts, names = pattern.split("/"), subject.split("/")
    return len(parts) == len(names) and all(map(_covers_part, parts, names))


def _covers_part(pattern: str, name: str) -> bool:
    """Match from both ends, then each piece at its first place: in time linear in the name."""
    first, *pieces = pattern.split("*")
    if not pieces:
        return name == first
    *pieces, last = pieces
    if len(name) < len(first) + len(last) or not name.startswith(first) or not name.endswith(last):
        return False
    at, end = len(first), len(name) - len(last)
    for piece in pieces:
        found = name.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return True


def _check_issuer(issuer: str) -> None:
    if not issuer.startswith(("https://", "http://")):
        raise LayoutError("issuer is not a URL", where="issuer", expected="https://…", got=issuer)


def _check_subject(pattern: str) -> None:
    fixed, _, ref = pattern.partition(REF_MARK)
    if "*" in fixed:
        raise LayoutError(
            f"* is allowed only in the ref of a subject, after {REF_MARK}",
            where="subject",
            expected="https://github.com/owner/repository/.github/workflows/train.yml@refs/tags/v*",
            got=pattern,
        )
    if "**" in ref or ("*" in ref and set("?[\\") & set(ref)):
        raise LayoutError(
            "a ref's pattern has one wildcard, *, for any characters but /", where="subject", got=pattern
        )
