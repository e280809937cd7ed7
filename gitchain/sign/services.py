"""The services of one Sigstore instance over HTTP: certificate authority, timestamp authorities, log.

The clients have just the methods that sigstore-python 4.5 calls on its own, so that it signs with them
(`Services.context`); a key signs with `SigningServices` itself. Each answer is read with care: what cannot be used is a
TransportError, and a token that is refused an AuthenticationError.

Wire formats: https://github.com/sigstore/fulcio (v2 API), RFC 3161, `gitchain.sign.entries` for the logs.
It does NOT verify certificates or entries: sigstore-python checks the SCT, `gitchain.verify` the rest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urljoin, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gitchain.errors import AuthenticationError, GitchainError, TransportError
from gitchain.evidence.canonical import Json, strict_json
from gitchain.evidence.dsse import Envelope
from gitchain.evidence.fields import encode_base64
from gitchain.platform.http import HttpResponse
from gitchain.sign.entries import LogClient, check_loggable, signed_by_certificate
from gitchain.sign.http import TRY_AGAIN, Http, SigningRequest, reason_of, unusable
from gitchain.verify.keys import Key
from gitchain.verify.rekor_entry import SignatureRecord

if TYPE_CHECKING:
    from rfc3161_client import TimeStampResponse
    from sigstore.dsse import Envelope as SigstoreEnvelope
    from sigstore.hashes import Hashed
    from sigstore.models import SigningConfig, TransparencyLogEntry, TrustedRoot
    from sigstore.oidc import IdentityToken
    from sigstore.sign import SigningContext

CERTIFICATE_PATH = "/api/v2/signingCert"
REFUSED_IDENTITY = (400, 401, 403)
NEW_TOKEN = "get a fresh identity token"  # noqa: S105 - a sentence
MAX_CERTIFICATE_BYTES = 1 << 20
MAX_TIMESTAMP_BYTES = 64 * 1024
MAX_CLOCK_DIFFERENCE = timedelta(hours=1)
"""Largest difference of a timestamp in seconds: beyond it, the bundle would not verify."""

PUBLIC_DOMAINS = ("sigstore.dev", "sigstage.dev")
CA, LOG, TSA = "the certificate authority", "the transparency log", "the timestamp authority"


@dataclass(frozen=True, slots=True)
class Certificates:
    """sigstore-python's interface of Fulcio's response."""

    cert: x509.Certificate
    chain: list[x509.Certificate]


@dataclass(frozen=True, slots=True)
class SigningCert:
    """Fulcio's signing-certificate endpoint."""

    http: Http
    url: str

    def post(self, req: x509.CertificateSigningRequest, identity: IdentityToken) -> Certificates:
        """Return a certificate for the token's identity and the request's key."""
        csr = encode_base64(req.public_bytes(Encoding.PEM))
        headers = {
            "Authorization": f"Bearer {identity}",
            "Content-Type": "application/json",
            "Accept": "application/pem-certificate-chain",
        }
        body = json.dumps({"certificateSigningRequest": csr}).encode()
        answer = self.http.send(SigningRequest(CA, self.url, "POST", body, headers, MAX_CERTIFICATE_BYTES))
        if answer.status in REFUSED_IDENTITY:
            raise AuthenticationError(
                "the certificate authority refused the identity token", got=reason_of(answer), help=NEW_TOKEN
            )
        if answer.status not in {200, 201}:
            raise TransportError(
                "the certificate authority gave no certificate", got=reason_of(answer), help=TRY_AGAIN
            )
        return _certificates(answer)


def _certificates(answer: HttpResponse) -> Certificates:
    try:
        found: Any = strict_json(answer.body, "certificate answer", max_bytes=MAX_CERTIFICATE_BYTES)
        chain = found["signedCertificateEmbeddedSct"]["chain"]["certificates"]
        leaf, *others = (x509.load_pem_x509_certificate(one.encode()) for one in chain)
    except (GitchainError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise unusable(CA, error) from error
    if not others:
        raise unusable(CA, "a certificate without its issuer's")
    return Certificates(leaf, others)


@dataclass(frozen=True, slots=True)
class Fulcio:
    """Fulcio client for sigstore-python."""

    signing_cert: SigningCert


@dataclass(frozen=True, slots=True)
class TimestampAuthority:
    """An RFC 3161 client."""

    http: Http
    url: str

    def request_timestamp(self, signature: bytes) -> TimeStampResponse:
        """Return a timestamp over `signature`, checked as far as possible before anything is logged."""
        from rfc3161_client import TimestampRequestBuilder, decode_timestamp_response
        from rfc3161_client.base import HashAlgorithm

        builder = TimestampRequestBuilder().hash_algorithm(HashAlgorithm.SHA256).data(signature)
        request = builder.nonce(nonce=True).build()
        answer = self.http.send(
            SigningRequest(
                TSA,
                self.url,
                "POST",
                request.as_bytes(),
                {"Content-Type": "application/timestamp-query"},
                MAX_TIMESTAMP_BYTES,
            )
        )
        if answer.status not in {200, 201}:
            raise TransportError(
                "the timestamp authority gave no timestamp", got=reason_of(answer), help=TRY_AGAIN
            )
        try:
            response = decode_timestamp_response(answer.body)
            info = response.tst_info
            fits = (response.status, info.message_imprint.message) == (0, sha256(signature).digest())
            fits = fits and info.nonce == request.nonce
        except ValueError as error:
            raise unusable(TSA, error) from error
        if not fits:
            raise unusable(TSA, "a timestamp of something else")
        _check_clock(info.gen_time, datetime.now(UTC))
        return response


def _check_clock(stamped: datetime, now: datetime) -> None:
    if abs(stamped.astimezone(UTC) - now) > MAX_CLOCK_DIFFERENCE:
        raise TransportError(
            "the timestamp authority's clock and this machine's differ",
            expected=f"about {now:%FT%TZ}",
            got=f"{stamped.astimezone(UTC):%FT%TZ}",
            help="set this machine's clock; if it is right, tell who runs the timestamp authority",
        )


@dataclass(frozen=True, slots=True)
class Rekor:
    """Log client for sigstore-python: version 1 or 2."""

    client: LogClient

    def create_entry(self, request: SignatureRecord) -> TransparencyLogEntry:
        """Log the entry and return it with its proof."""
        from sigstore.models import TransparencyLogEntry
        from sigstore_models.rekor.v1 import TransparencyLogEntry as EntryModel

        return TransparencyLogEntry(EntryModel.from_dict(dict(self.client.log(request))))

    def _build_dsse_request(
        self, envelope: SigstoreEnvelope, certificate: x509.Certificate
    ) -> SignatureRecord:
        """Return the signature record, which sigstore-python passes to `create_entry`."""
        der = certificate.public_bytes(Encoding.DER)
        inner = Envelope.parse(json.loads(envelope.to_json()))
        return signed_by_certificate(inner, der)

    def _build_hashed_rekord_request(
        self, hashed_input: Hashed, signature: bytes, certificate: x509.Certificate
    ) -> SignatureRecord:
        """Return the signature record of a file that sigstore-python signed."""
        key = Key.of(certificate.public_key())
        return SignatureRecord(
            signature, hashed_input.digest, key, certificate.public_bytes(Encoding.DER), None
        )


@dataclass(frozen=True)
class SigningServices:
    """All services of a signer, over HTTP. One per process: it keeps connections and failures."""

    http: Http
    signing: SigningConfig
    root: TrustedRoot
    log_ids: Sequence[bytes]

    @cached_property
    def log_client(self) -> LogClient:
        """Return the log to write to: the first one of the signing config."""
        url = str(cast("Any", self.signing.get_tlogs()[0]).url)
        return LogClient(self.http, url, tuple(self.log_ids))

    @cached_property
    def authorities(self) -> tuple[TimestampAuthority, ...]:
        """Return all timestamp authorities of the signing config."""
        return tuple(TimestampAuthority(self.http, one.url) for one in self.signing.get_tsas())

    @property
    def is_public(self) -> bool:
        """Return True if the log is a public instance: readable by everyone, without deletion."""
        host = urlsplit(self.log_client.url).hostname or ""
        return any(host == domain or host.endswith("." + domain) for domain in PUBLIC_DOMAINS)

    @property
    def keeps_statements(self) -> bool:
        """Return True if the log keeps whole statements (Rekor v1), not only their digests."""
        return self.log_client.version == 1

    @property
    def oidc_url(self) -> str:
        """Return the issuer of identity tokens for people. Raises TransportError if the signing config has none."""
        from sigstore.errors import Error

        try:
            return self.signing.get_oidc_url()
        except Error as error:
            raise TransportError("the trust configuration names no issuer of identity tokens") from error

    def context(self) -> SigningContext:
        """Return sigstore-python's signing context."""
        from sigstore.sign import SigningContext

        ca = SigningCert(self.http, urljoin(self.signing.get_fulcio().url, CERTIFICATE_PATH))
        return SigningContext(
            fulcio=cast("Any", Fulcio(ca)),
            rekor=cast("Any", Rekor(self.log_client)),
            trusted_root=self.root,
            tsa_clients=[cast("Any", one) for one in self.authorities],
        )

    def stamps(self, signature: bytes) -> tuple[bytes, ...]:
        """Return a timestamp of each authority over `signature`, DER."""
        return tuple(one.request_timestamp(signature).as_bytes() for one in self.authorities)

    def log(self, signed: SignatureRecord) -> Mapping[str, Json]:
        """Log a signature made with a key and return the TransparencyLogEntry as JSON."""
        return self.log_client.log(signed)

    def check_key(self, key: Key) -> None:
        """Raise UsageError for a key that the log does not support."""
        check_loggable(key, self.log_client.version)
