"""A sigstore-python `SigningContext` that calls the embedded instance in this process, without HTTP.

The three clients have the methods that sigstore-python 4.5 calls on its own. They apply all checks of the server to
tokens, requests and log entries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Protocol, cast

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from rfc3161_client import decode_timestamp_response
from sigstore.models import ClientTrustConfig, TransparencyLogEntry
from sigstore.sign import SigningContext
from sigstore_models.rekor.v1 import TransparencyLogEntry as EntryModel

from gitchain.errors import UsageError
from gitchain.evidence.canonical import Json
from gitchain.instance.entry import request_of, request_of_key
from gitchain.verify.keys import Key
from gitchain.verify.rekor_entry import SignatureRecord

if TYPE_CHECKING:
    from rfc3161_client import TimeStampResponse
    from sigstore.dsse import Envelope
    from sigstore.hashes import Hashed
    from sigstore.oidc import IdentityToken


class InstanceServices(Protocol):
    """The services of an instance that a signer uses. `Instance` implements and documents the methods."""

    @property
    def chain(self) -> Sequence[x509.Certificate]:
        """The issuing certificate, then the root."""

    def trust_config(self) -> str:
        """Return the ClientTrustConfig JSON."""

    def issue(self, token: str, request: x509.CertificateSigningRequest) -> x509.Certificate:
        """Return a certificate."""

    def stamp(self, imprint: bytes) -> bytes:
        """Return an RFC 3161 response."""

    def log_entry(self, request: object, *, keys: bool = False) -> Mapping[str, object]:
        """Log a CreateEntryRequest and return its TransparencyLogEntry."""


def signing_context(instance: InstanceServices) -> SigningContext:
    """Return a context whose Fulcio, Rekor and timestamp authority are `instance`."""
    return SigningContext(
        fulcio=cast("Any", LocalFulcio(LocalSigningCert(instance))),
        rekor=cast("Any", LocalRekor(instance)),
        trusted_root=ClientTrustConfig.from_json(instance.trust_config()).trusted_root,
        tsa_clients=[cast("Any", LocalTimestampAuthority(instance))],
    )


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """A certificate in the form that sigstore-python expects from Fulcio."""

    cert: x509.Certificate
    chain: list[x509.Certificate]


@dataclass(frozen=True, slots=True)
class LocalSigningCert:
    """Fulcio's signing-certificate endpoint."""

    instance: InstanceServices

    def post(self, req: x509.CertificateSigningRequest, identity: IdentityToken) -> IssuedCertificate:
        """Issue a certificate for the token's identity and the request's key."""
        certificate = self.instance.issue(str(identity), req)
        return IssuedCertificate(certificate, list(self.instance.chain))


@dataclass(frozen=True, slots=True)
class LocalFulcio:
    """Fulcio, as far as a signer needs it."""

    signing_cert: LocalSigningCert


@dataclass(frozen=True, slots=True)
class LocalTimestampAuthority:
    """An RFC 3161 client."""

    instance: InstanceServices
    url: str = "local instance"

    def request_timestamp(self, signature: bytes) -> TimeStampResponse:
        """Return a timestamp over `signature`."""
        return decode_timestamp_response(self.instance.stamp(sha256(signature).digest()))


@dataclass(frozen=True, slots=True)
class LocalRekor:
    """A Rekor v2 client."""

    instance: InstanceServices

    def create_entry(self, request: object) -> TransparencyLogEntry:
        """Log the entry and return it with its proof."""
        return TransparencyLogEntry(EntryModel.from_dict(dict(self.instance.log_entry(request))))

    def _build_dsse_request(self, envelope: Envelope, certificate: x509.Certificate) -> object:
        return request_of(
            sha256(envelope.pae()).digest(), envelope.signature, certificate.public_bytes(Encoding.DER)
        )

    def _build_hashed_rekord_request(
        self, hashed_input: Hashed, signature: bytes, certificate: x509.Certificate
    ) -> object:
        return request_of(hashed_input.digest, signature, certificate.public_bytes(Encoding.DER))


@dataclass(frozen=True, slots=True)
class LocalRecorder:
    """Timestamps and logs the signatures of a bare key."""

    instance: InstanceServices

    def check_key(self, key: Key) -> None:
        """Raise UsageError for a key whose signatures the log takes none of: it keeps digests."""
        if not key.algorithm:
            raise UsageError(
                "this key's signatures cannot be logged: the log keeps digests, and Ed25519 signs none",
                expected="an ECDSA (P-256, P-384, P-521) or RSA key",
                got=key.details,
                help="openssl ecparam -genkey -name prime256v1 -noout -out key.pem",
            )

    def stamps(self, signature: bytes) -> tuple[bytes, ...]:
        """Return a timestamp over the signature, DER."""
        return (self.instance.stamp(sha256(signature).digest()),)

    def log(self, one: SignatureRecord) -> Mapping[str, Json]:
        """Log the signature and return its TransparencyLogEntry as JSON."""
        request = request_of_key(one.digest, one.signature, one.key)
        return cast("Mapping[str, Json]", self.instance.log_entry(request, keys=True))
