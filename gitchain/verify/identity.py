"""Read the identity in a Fulcio certificate: the signer that the certificate authority authenticated.

Subject: the one subject alternative name, an email address, a URI, or Fulcio's own other-name for user names.
Issuer: extension 1.3.6.1.4.1.57264.1.8 (DER UTF8String), else .1.1 (raw bytes); if both are present, they must be equal.
Claims: extensions .8 to .22 (DER UTF8String), by the names of oid-info.md in camel case.

Spec: https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md
Does NOT verify the certificate: `gitchain.verify.certificate` does.
"""

from __future__ import annotations

from collections.abc import Mapping

from cryptography import x509
from cryptography.hazmat import asn1

from gitchain.errors import GitchainError, SignatureError
from gitchain.layout.model import Identity

_FULCIO = "1.3.6.1.4.1.57264.1"
ISSUER_V1 = x509.ObjectIdentifier(f"{_FULCIO}.1")
OTHER_NAME = x509.ObjectIdentifier(f"{_FULCIO}.7")
ISSUER_V2 = x509.ObjectIdentifier(f"{_FULCIO}.8")
CLAIMS = {
    x509.ObjectIdentifier(f"{_FULCIO}.{number}"): name
    for number, name in enumerate(
        (
            "issuer",
            "buildSignerURI",
            "buildSignerDigest",
            "runnerEnvironment",
            "sourceRepositoryURI",
            "sourceRepositoryDigest",
            "sourceRepositoryRef",
            "sourceRepositoryIdentifier",
            "sourceRepositoryOwnerURI",
            "sourceRepositoryOwnerIdentifier",
            "buildConfigURI",
            "buildConfigDigest",
            "buildTrigger",
            "runInvocationURI",
            "sourceRepositoryVisibilityAtSigning",
        ),
        start=8,
    )
}


def identity_of(certificate: x509.Certificate) -> Identity:
    """Return the identity in the certificate. Raises SignatureError unless there is exactly one."""
    try:
        return Identity(_issuer(certificate), _subject(certificate))
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension) as error:
        raise SignatureError("certificate names no identity", where="certificate", got=str(error)) from error
    except GitchainError as error:
        raise SignatureError(
            error.what, where="certificate", expected=error.expected, got=error.got
        ) from error


def claims_of(certificate: x509.Certificate) -> Mapping[str, str]:
    """Return Fulcio's claims in the certificate by name. Raises SignatureError if one is not UTF-8 text."""
    try:
        return {
            CLAIMS[oid]: asn1.decode_der(str, value)
            for oid, value in _unrecognized(certificate).items()
            if oid in CLAIMS
        }
    except ValueError as error:
        raise SignatureError(
            "certificate holds a claim that is no text", where="certificate", got=str(error)
        ) from error


def _unrecognized(certificate: x509.Certificate) -> Mapping[x509.ObjectIdentifier, bytes]:
    return {
        extension.oid: extension.value.value
        for extension in certificate.extensions
        if isinstance(extension.value, x509.UnrecognizedExtension)
    }


def _subject(certificate: x509.Certificate) -> str:
    names = list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    if len(names) != 1:
        raise SignatureError("certificate must name one subject", expected="1", got=str(len(names)))
    name = names[0]
    if isinstance(name, (x509.RFC822Name, x509.UniformResourceIdentifier)):
        return name.value
    if isinstance(name, x509.OtherName) and name.type_id == OTHER_NAME:
        return asn1.decode_der(str, name.value)
    raise SignatureError("subject is of an unknown kind", got=type(name).__name__)


def _issuer(certificate: x509.Certificate) -> str:
    raw = _unrecognized(certificate)
    found = [asn1.decode_der(str, raw[ISSUER_V2])] if ISSUER_V2 in raw else []
    found += [raw[ISSUER_V1].decode("utf-8")] if ISSUER_V1 in raw else []
    if not found or found[0] != found[-1]:
        raise SignatureError("certificate must name one issuer", got=" and ".join(found) or "none")
    if not found[0].startswith(("https://", "http://")):  # `gitchain:key` is reserved for keys
        raise SignatureError("issuer is not a URL", expected="https://…", got=ascii(found[0][:200]))
    return found[0]
