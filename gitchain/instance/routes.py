"""Answer requests to the instance's server: take a parsed request and return an `HttpReply`, or raise an error.

    POST /api/v2/signingCert       Fulcio      POST /api/v1/timestamp    RFC 3161
    GET  /api/v2/trustBundle       Fulcio      GET  /healthz
    POST /api/v2/log/entries       Rekor v2    GET  /checkpoint, /tile/…, also below /api/v2 (https://c2sp.org/tlog-tiles)
    GET  /.well-known/openid-configuration, /oauth2/jwks

No path issues tokens: a user who may have one can read the instance's directory.
It does NOT implement HTTP: `server.py` does.
"""

from __future__ import annotations

import binascii
import json
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gitchain.errors import (
    AuthenticationError,
    GitchainError,
    LimitError,
    MalformedError,
    StoreError,
    TransportError,
    UsageError,
    VerificationError,
)
from gitchain.evidence.canonical import Json, strict_json
from gitchain.evidence.tile import WIDTH, TileId, parse_path
from gitchain.instance import ca, tsa, tsq
from gitchain.instance.local import Instance
from gitchain.instance.trust import TSA_PATH

MAX_BODY_BYTES = 1 << 20
MAX_BODY_DEPTH = 16
JSON_TYPE = "application/json"
BYTES_TYPE = "application/octet-stream"
TEXT_TYPE = "text/plain; charset=utf-8"
DER_TYPE = "application/timestamp-reply"
FOREVER = "max-age=31536000, immutable"
PROOF = "proofOfPossession"


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One HTTP request, its body read and within bounds."""

    path: str
    body: bytes
    content_type: str
    bearer: str
    base_url: str


@dataclass(frozen=True, slots=True)
class HttpReply:
    """One HTTP response."""

    body: bytes
    content_type: str = JSON_TYPE
    status: HTTPStatus = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)


Answer = Callable[[Instance, HttpRequest], HttpReply]


def answer_get(instance: Instance, request: HttpRequest) -> HttpReply | None:
    """Answer a GET; None for a path that is not there. Raises GitchainError as the instance does."""
    path = request.path.removeprefix("/api/v2") if request.path.startswith("/api/v2/tile/") else request.path
    if path.startswith("/tile/"):
        return _tile(instance, path[1:])
    found = _GET.get(request.path)
    return None if found is None else found(instance, request)


def answer_post(instance: Instance, request: HttpRequest) -> HttpReply | None:
    """Answer a POST; None for a path that is not there. Raises GitchainError as the instance does."""
    found = _POST.get(request.path)
    return None if found is None else found(instance, request)


def refusal(error: GitchainError) -> HttpReply:
    """Return the reply for an error: the fault, and a status that shows whether a retry can help."""
    match error:
        case AuthenticationError():
            status = HTTPStatus.UNAUTHORIZED
        case LimitError():
            status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        case MalformedError() | VerificationError() | UsageError():
            status = HTTPStatus.BAD_REQUEST
        case TransportError() | StoreError():
            status = HTTPStatus.SERVICE_UNAVAILABLE
        case _:
            status = HTTPStatus.INTERNAL_SERVER_ERROR
    return failure(status, str(error))


def failure(status: HTTPStatus, message: str) -> HttpReply:
    """Return an error answer in the form that Fulcio and Rekor clients read."""
    return _json({"code": int(status), "message": message}, status)


def _signing_certificate(instance: Instance, request: HttpRequest) -> HttpReply:
    body = _object(strict_json(request.body, "signing request", max_depth=MAX_BODY_DEPTH))
    if "certificateSigningRequest" in body:
        signing_request = ca.parse_request(_bytes(body, "certificateSigningRequest"))
        leaf = instance.issue(request.bearer, signing_request)
    else:
        leaf = _issue_with_proof(instance, request.bearer, body)
    chain = [_pem(item) for item in (leaf, *instance.chain)]
    answer: Json = {"signedCertificateEmbeddedSct": {"chain": {"certificates": chain}}}
    return _json(answer, HTTPStatus.CREATED)


def _issue_with_proof(instance: Instance, bearer: str, body: Mapping[str, Json]) -> x509.Certificate:
    wanted = _object(body.get("publicKeyRequest"))
    credentials = _object(body.get("credentials", {}))
    token = credentials.get("oidcIdentityToken", bearer)
    pem = _object(wanted.get("publicKey")).get("content")
    if not isinstance(token, str) or not isinstance(pem, str):
        raise MalformedError("the signing request has no token or public key")
    return instance.issue_with_proof(token, pem.encode(), _bytes(wanted, PROOF))


def _trust_bundle(instance: Instance, _request: HttpRequest) -> HttpReply:
    return _json({"chains": [{"certificates": [_pem(item) for item in instance.chain]}]})


def _log_entry(instance: Instance, request: HttpRequest) -> HttpReply:
    entry = strict_json(request.body, "log entry", max_depth=MAX_BODY_DEPTH)
    return _json(instance.log_entry(entry), HTTPStatus.CREATED)


def _timestamp(instance: Instance, request: HttpRequest) -> HttpReply:
    if request.content_type == JSON_TYPE:
        body = _object(strict_json(request.body, "timestamp request", max_depth=MAX_BODY_DEPTH))
        wanted = tsa.checked(
            str(body.get("hashAlgorithm")),
            _bytes(body, "artifactHash"),
            body.get("nonce"),
            certificates=body.get("certificates") is True,
        )
    else:
        wanted = tsq.parse_request(request.body)
    return HttpReply(instance.answer(wanted), DER_TYPE, HTTPStatus.CREATED)


def _tile(instance: Instance, path: str) -> HttpReply | None:
    try:
        tile: TileId = parse_path(path)
    except MalformedError:
        return None
    data = instance.log.tile(tile)
    if data is None:
        return None
    return HttpReply(
        data, BYTES_TYPE, headers={"Cache-Control": FOREVER if tile.width == WIDTH else "no-cache"}
    )


def _checkpoint(instance: Instance, _request: HttpRequest) -> HttpReply:
    return HttpReply(instance.log.checkpoint().encode(), TEXT_TYPE, headers={"Cache-Control": "no-cache"})


def _discovery(instance: Instance, request: HttpRequest) -> HttpReply:
    return _json(instance.oidc.discovery(request.base_url))


def _jwks(instance: Instance, _request: HttpRequest) -> HttpReply:
    return _json(instance.oidc.jwks())


def _no_token(_instance: Instance, _request: HttpRequest) -> HttpReply:
    return failure(
        HTTPStatus.FORBIDDEN, "tokens are not given out over http: type gitchain local token IDENTITY"
    )


def _health(instance: Instance, _request: HttpRequest) -> HttpReply:
    return _json({"status": "ok", "origin": instance.origin, "logSize": instance.log.size()})


_GET: Mapping[str, Answer] = {
    "/.well-known/openid-configuration": _discovery,
    "/oauth2/jwks": _jwks,
    "/oauth2/authorize": _no_token,
    "/api/v2/trustBundle": _trust_bundle,
    "/checkpoint": _checkpoint,
    "/api/v2/checkpoint": _checkpoint,
    "/healthz": _health,
}
_POST: Mapping[str, Answer] = {
    "/api/v2/signingCert": _signing_certificate,
    "/api/v2/log/entries": _log_entry,
    TSA_PATH: _timestamp,
    "/oauth2/token": _no_token,
}


def _json(value: object, status: HTTPStatus = HTTPStatus.OK) -> HttpReply:
    return HttpReply(json.dumps(value).encode(), JSON_TYPE, status)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def _object(value: Json) -> Mapping[str, Json]:
    if isinstance(value, dict):
        return value
    raise MalformedError("the request has not the form of this service", expected="a JSON object")


def _bytes(source: Mapping[str, Json], name: str) -> bytes:
    value = source.get(name)
    try:
        return b64decode(value if isinstance(value, str) else "!", validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedError("a field is missing or not base64", where=name) from error
