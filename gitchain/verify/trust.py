"""The trusted root of one Sigstore instance, with the validity period of every key.

Read from a `ClientTrustConfig` (`application/vnd.dev.sigstore.clienttrustconfig.v0.1+json`) or a trusted root
alone (`…trustedroot+json;version=0.1`). Unknown fields, keys without a start of
validity and unreadable certificates are refused. A log's key is parsed when it is used, as some old logs have odd ones.

Format: https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_trustroot.proto
Does NOT download trusted roots (`gitchain.verify.public_trust` does), and never takes keys from a bundle or a log.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar, cast
from urllib.parse import SplitResult, urlsplit

from gitchain.errors import GitchainError, MalformedError, TrustError
from gitchain.evidence.canonical import canonical_json, strict_json
from gitchain.evidence.digest import sha256_hex
from gitchain.evidence.fields import (
    Object,
    as_object,
    find_array,
    find_object,
    find_string,
    get_bytes,
    get_object,
    get_string,
)

if TYPE_CHECKING:
    from gitchain.verify.witnesses import WitnessPolicy

CONFIG_TYPE = "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json"
ROOT_TYPE = "application/vnd.dev.sigstore.trustedroot+json;version=0.1"
LOCAL_SUFFIX = ".gitchain.invalid"  # RFC 2606: no public log can ever have such a name
MAX_TRUST_BYTES = 1024 * 1024  # the public-good trusted root has 7 kB
MAX_KEYS = 1000
MAX_REMEMBERED = 4096
"""Most cached results of a trusted root. A certificate with its chain takes about 10 kB, so at most 40 MB."""

T = TypeVar("T")
_HELP = "get the trust configuration again from the operator of the instance"
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True)
class ValidityPeriod:
    """The validity period of a key. Both ends are inclusive; without an end the key is still in use."""

    start: datetime
    end: datetime | None

    def contains(self, time: datetime) -> bool:
        """Return whether the time is in the period."""
        return self.start <= time and (self.end is None or time <= self.end)

    def __str__(self) -> str:
        """Return the period, for messages."""
        return f"{self.start.isoformat()} to {self.end.isoformat() if self.end else 'now'}"


@dataclass(frozen=True, slots=True)
class LogKey:
    """One log of the trusted root: host, log id, public key and its type, validity period."""

    host: str
    log_id: bytes
    public_key: bytes = field(repr=False)
    window: ValidityPeriod
    details: str


@dataclass(frozen=True, slots=True)
class TrustedAuthority:
    """A certificate or timestamp authority: certificates (DER, leaf or intermediate first), validity period."""

    certificates: tuple[bytes, ...] = field(repr=False)
    window: ValidityPeriod


class VerificationCache:
    """Bounded LRU cache of verification results that depend on neither time nor other parts of a bundle.

    For example: that a key signed these bytes, or that one certificate issued another. Failures are not cached. A key's
    first item names the kind of value.
    """

    __slots__ = ("_found",)

    def __init__(self) -> None:
        self._found: dict[tuple[str, Hashable], object] = {}

    def once(self, kind: str, key: Hashable, make: Callable[[], T]) -> T:
        """Return the cached value of this kind and key, or call `make` for it. Passes on the errors of `make`."""
        place = (kind, key)
        if place in self._found:
            found = self._found.pop(place)
        else:
            found = make()
            while len(self._found) >= MAX_REMEMBERED:
                self._found.pop(next(iter(self._found)))
        self._found[place] = found
        return cast("T", found)

    def __len__(self) -> int:
        """Return the number of cached values."""
        return len(self._found)


@dataclass(frozen=True, slots=True)
class Trust:
    """A trusted root. Made by parse().

    `witnesses` is the verifier's own witness policy for checkpoints, which is not part of the root.
    `memory` caches verification results; a copy with other values starts with an empty cache.
    """

    name: str
    digest: str
    logs: tuple[LogKey, ...]
    ct_logs: tuple[LogKey, ...]
    authorities: tuple[TrustedAuthority, ...]
    timestamp_authorities: tuple[TrustedAuthority, ...]
    witnesses: WitnessPolicy | None = None
    memory: VerificationCache = field(
        default_factory=VerificationCache, init=False, repr=False, compare=False
    )

    @classmethod
    def parse(cls, text: str) -> Trust:
        """Return the trusted root in this JSON. Raises TrustError if it is malformed or incomplete."""
        try:
            root = _read(text)
            _check_fields(root, "trustedRoot")
            logs = tuple(_logs(root, "tlogs"))
            ct_logs = tuple(_logs(root, "ctlogs"))
            authorities = tuple(_authorities(root, "certificateAuthorities"))
            timestampers = tuple(_authorities(root, "timestampAuthorities"))
            digest = sha256_hex(canonical_json(root))
        except GitchainError as error:
            raise _broken(error.what, error.where, error.expected, error.got) from error
        if not logs or not authorities:
            raise _broken("trusted root names no log or no certificate authority")
        return cls(logs[0].host, digest, logs, ct_logs, authorities, timestampers)

    @property
    def is_local(self) -> bool:
        """Return True for an embedded instance, which proves only that the holder of this machine's keys signed."""
        return any(log.host.endswith(LOCAL_SUFFIX) for log in self.logs)

    def log(self, log_id: bytes) -> LogKey | None:
        """Return the log with this id, or None."""
        return next((log for log in self.logs if log.log_id == log_id), None)


def trust_digest(text: str) -> str:
    """Return the digest of the trusted root in this JSON. Raises TrustError if it is unreadable.

    This identifies the trusted root without validating it: `Trust.parse` does that.
    """
    try:
        return sha256_hex(canonical_json(_read(text)))
    except GitchainError as error:
        raise _broken(error.what, error.where, error.expected, error.got) from error


def _read(text: str) -> Object:
    """Return the trusted root as JSON."""
    data = text.encode("utf-8", "surrogatepass")
    source = as_object(
        strict_json(data, "trust configuration", max_bytes=MAX_TRUST_BYTES), "trust configuration"
    )
    kind = get_string(source, "mediaType", "trust configuration")
    if kind == CONFIG_TYPE:
        _check_urls(source)
        source = get_object(source, "trustedRoot", "trust configuration")
        kind = get_string(source, "mediaType", "trustedRoot")
    if kind != ROOT_TYPE:
        raise MalformedError(
            "not a trust configuration", expected=f"{CONFIG_TYPE} or {ROOT_TYPE}", got=ascii(kind[:100])
        )
    return source


_FIELDS = {
    "trustedRoot": {"mediaType", "tlogs", "certificateAuthorities", "ctlogs", "timestampAuthorities"},
    "tlogs": {"baseUrl", "hashAlgorithm", "publicKey", "logId", "checkpointKeyId", "operator"},
    "publicKey": {"rawBytes", "keyDetails", "validFor"},
    "logId": {"keyId"},
    "certificateAuthorities": {"subject", "uri", "certChain", "validFor", "operator"},
    "certChain": {"certificates"},
    "certificates": {"rawBytes"},
    "validFor": {"start", "end"},
    "subject": {"organization", "commonName"},
}
_FIELDS |= {"ctlogs": _FIELDS["tlogs"], "timestampAuthorities": _FIELDS["certificateAuthorities"]}


def _check_fields(source: Object, where: str) -> None:
    """Raise MalformedError for unknown fields, because one could restrict the meaning of others."""
    unknown = source.keys() - _FIELDS.get(where, set())
    if unknown:
        raise MalformedError("unknown field", where=where, got=ascii(min(unknown)[:100]))
    for key, value in source.items():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict):
                _check_fields(item, key)


def _check_urls(config: Object) -> None:
    """Raise MalformedError for a service URL without https, except on this machine."""
    signing = get_object(config, "signingConfig", "trust configuration")
    for kind in ("caUrls", "oidcUrls", "rekorTlogUrls", "tsaUrls"):
        for item in find_array(signing, kind, "signingConfig", limit=MAX_KEYS):
            url = get_string(as_object(item, kind), "url", kind)
            parts = _split(url)
            if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
                raise MalformedError(
                    "service without https", where=kind, expected="https://…", got=ascii(url[:200])
                )


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError as error:
        raise MalformedError("not a URL", got=ascii(url[:200])) from error


def _logs(root: Object, key: str) -> Iterator[LogKey]:
    for item in find_array(root, key, "trustedRoot", limit=MAX_KEYS):
        source = as_object(item, key)
        public = get_object(source, "publicKey", key)
        url = _split(get_string(source, "baseUrl", key))
        if find_string(source, "hashAlgorithm", key) not in {None, "SHA2_256"}:
            raise MalformedError("log hashes with another algorithm", where=key, expected="SHA2_256")
        yield LogKey(
            (url.netloc + url.path).rstrip("/"),
            get_bytes(get_object(source, "logId", key), "keyId", "logId"),
            get_bytes(public, "rawBytes", "publicKey"),
            _window(public, key),
            get_string(public, "keyDetails", "publicKey"),
        )


def _authorities(root: Object, key: str) -> Iterator[TrustedAuthority]:
    for item in find_array(root, key, "trustedRoot", limit=MAX_KEYS):
        source = as_object(item, key)
        chain = find_array(get_object(source, "certChain", key), "certificates", key, limit=MAX_KEYS)
        if not chain:
            raise MalformedError("authority without a certificate", where=key)
        certificates = tuple(_certificate(as_object(one, key), key) for one in chain)
        yield TrustedAuthority(certificates, _window(source, key))


def _certificate(source: Object, where: str) -> bytes:
    from cryptography import x509  # here, so that `trust_digest` does without

    data = get_bytes(source, "rawBytes", where)
    try:
        x509.load_der_x509_certificate(data)
    except (ValueError, x509.InvalidVersion) as error:
        raise MalformedError("certificate cannot be read", where=where, got=str(error)[:200]) from error
    return data


def _window(source: Object, where: str) -> ValidityPeriod:
    """Return the validity period. Raises MalformedError for one without a start, which must not mean "always"."""
    valid = find_object(source, "validFor", where) or {}
    end = find_string(valid, "end", where)
    return ValidityPeriod(
        _time(get_string(valid, "start", where), where), None if end is None else _time(end, where)
    )


def _time(text: str, where: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise MalformedError("not a time", where=where, got=ascii(text[:40])) from error
    if time.tzinfo is None:
        raise MalformedError("time without a zone", where=where, got=ascii(text[:40]))
    return time


def _broken(what: str, where: str = "", expected: str = "", got: str = "") -> TrustError:
    return TrustError(
        what, where=where or "trust configuration", expected=expected, got=got[:300], help=_HELP
    )
