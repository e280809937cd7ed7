"""Identity of an embedded instance: `instance.json`, the names derived from it, and the identities it accepts.

    {"created":"2026-11-22T08:00:00Z","id":"9f…32 hex…","port":24017,"schema":"https://gitchain.dev/instance/v1"}

The id is the start of the SHA-256 of the log's public key, so the file cannot name another instance's keys.
The origin ends in `.invalid` (RFC 2606 section 2): no public log, issuer or CA can ever have that name.
It does NOT authenticate a person: a local instance proves only that this directory's keys signed.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from gitchain.errors import TrustError, UsageError

SCHEMA = "https://gitchain.dev/instance/v1"
FILE_NAME = "instance.json"
HELP_CREATE = (
    "to verify what another machine's instance signed, type there: gitchain local trust > trust.json, copy the file here "
    "and type: gitchain --trust trust.json trust pin --signer IDENTITY (docs/signing.md); "
    "to sign here with an instance of this machine: gitchain init --local --force"
)
HELP_BROKEN = (
    "move the directory away and type: gitchain init --local --force; what it signed stays verifiable "
    "with its exported trust configuration"
)
AUDIENCE = "sigstore"
ID_LENGTH = 32
FIRST_PORT, PORTS = 20000, 12000  # below the range that systems hand to outgoing connections
BACKDATE = timedelta(minutes=5)  # a clock that is slightly behind must not drop the keys
LIFETIME = timedelta(days=3653)
MAX_EMAIL = 254  # RFC 5321 section 4.5.3.1.3
MAX_URI = 2048
MAX_INFO_BYTES = 4096

_EMAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*")
_URI = re.compile(r"[a-z][a-z0-9+.-]*:(?!/*$)[!-~]+")
_TIME = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, slots=True)
class InstanceInfo:
    """The public facts of one instance."""

    id: str
    port: int
    created: datetime

    @classmethod
    def new(cls, log_public_key: bytes, created: datetime) -> InstanceInfo:
        """Return the instance that owns this raw Ed25519 log key."""
        name = instance_id(log_public_key)
        return cls(
            name, FIRST_PORT + int(name[:8], 16) % PORTS, created.astimezone(UTC).replace(microsecond=0)
        )

    @classmethod
    def parse(cls, data: bytes, where: str) -> InstanceInfo:
        """Read instance.json. Raises TrustError unless every field has exactly its form."""
        try:
            value = json.loads(data)
            created = datetime.strptime(value["created"], _TIME).replace(tzinfo=UTC)
            found = cls(value["id"], value["port"], created)
            valid = re.fullmatch("[0-9a-f]{32}", found.id) and 1024 <= found.port <= 65535
            valid = valid and value["schema"] == SCHEMA and found.render() == data
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise _broken(where) from error
        if not valid:
            raise _broken(where)
        return found

    def render(self) -> bytes:
        """Return the bytes of instance.json."""
        fields = {"schema": SCHEMA, "id": self.id, "port": self.port, "created": self.created.strftime(_TIME)}
        return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode() + b"\n"

    @property
    def origin(self) -> str:
        """The log's origin and the host of every name in the trusted root."""
        return f"local-{self.id[:8]}.gitchain.invalid"

    @property
    def issuer(self) -> str:
        """The OIDC issuer that ends up in certificates; independent of the port."""
        return f"https://{self.origin}"

    @property
    def valid_from(self) -> datetime:
        """The moment from which keys and certificates count."""
        return self.created - BACKDATE

    @property
    def valid_until(self) -> datetime:
        """The moment at which the CA's certificates end."""
        return self.created + LIFETIME


def _broken(where: str) -> TrustError:
    return TrustError(
        "the instance's description is broken", where=where, expected=f"schema {SCHEMA}", help=HELP_BROKEN
    )


def instance_id(log_public_key: bytes) -> str:
    """Return the id of the instance whose log has this raw Ed25519 public key."""
    return sha256(log_public_key).hexdigest()[:ID_LENGTH]


def is_email(identity: str) -> bool:
    """Say whether a valid identity is an email address; otherwise it is a URI."""
    return _EMAIL.fullmatch(identity) is not None and len(identity) <= MAX_EMAIL


def check_identity(identity: str) -> str:
    """Return `identity` if a certificate can carry it as email address or URI; UsageError otherwise."""
    if is_email(identity) or (_URI.fullmatch(identity) and len(identity) <= MAX_URI):
        return identity
    raise UsageError(
        "an identity is an email address or a URI",
        got=ascii(identity[:100]),
        expected="for example ada@example.com",
        help="gitchain local token ada@example.com",
    )
