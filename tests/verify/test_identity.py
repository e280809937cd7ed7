"""B4: a certificate names one identity; every way not to name one is the same kind of error; claims have Fulcio's names."""

from __future__ import annotations

import pytest
from cryptography import x509

from gitchain.errors import SignatureError
from gitchain.instance import Instance
from gitchain.verify.bundle import verify_bundle
from gitchain.verify.identity import CLAIMS, ISSUER_V1, ISSUER_V2, identity_of
from gitchain.verify.trust import Trust
from tests.support.forged_bundles import ADA, Edit, Forge, raw
from tests.support.sigstore_oracle import sigstore_accepts


def with_names(*names: x509.GeneralName) -> Edit:
    extension = x509.Extension(x509.SubjectAlternativeName.oid, True, x509.SubjectAlternativeName(names))
    return lambda found: [one for one in found if one.oid != extension.oid] + [extension]


def with_issuers(**issuers: bytes) -> Edit:
    oids = {"v1": ISSUER_V1, "v2": ISSUER_V2}
    fresh = [
        x509.Extension(oids[name], False, x509.UnrecognizedExtension(oids[name], value))
        for name, value in issuers.items()
    ]
    return lambda found: [one for one in found if one.oid not in oids.values()] + fresh


IDENTITIES: dict[str, Edit] = {
    "two subjects": with_names(x509.RFC822Name(ADA), x509.RFC822Name("eve@example.com")),
    "a host name": with_names(x509.DNSName("example.com")),
    "foreign other name": with_names(x509.OtherName(x509.ObjectIdentifier("1.2.3.4"), b"\x0c\x01a")),
    "no issuer": with_issuers(),
    "two issuers": with_issuers(v1=b"https://one.example", v2=b"\x0c\x13https://two.example"),
    "issuer is no text": with_issuers(v2=b"\x04\x03abc"),
    "issuer is no URL": with_issuers(v1=b"issuer"),
    "the issuer of keys": with_issuers(v1=b"gitchain:key"),
    "the issuer of ssh keys": with_issuers(v2=b"\x0c\x0cgitchain:ssh"),
}


@pytest.mark.parametrize("edit", IDENTITIES.values(), ids=IDENTITIES)
def test_b4_a_certificate_names_one_identity(instance: Instance, trust: Trust, edit: Edit) -> None:
    """An ambiguous certificate gives no identity, although its authority issued it."""
    bundle = raw(Forge(instance, extensions=edit).bundle())
    assert sigstore_accepts(bundle, trust)
    with pytest.raises(SignatureError):
        verify_bundle(bundle, trust)


def test_b4_other_name_and_single_issuer_extension(instance: Instance, trust: Trust) -> None:
    """Fulcio's user names are subjects, and either issuer extension alone will do."""
    fulcio = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.7")
    edit = with_names(x509.OtherName(fulcio, b"\x0c\x03ada"))
    assert verify_bundle(raw(Forge(instance, extensions=edit).bundle()), trust).identity.subject == "ada"
    for issuers in ({"v1": b"https://one.example"}, {"v2": b"\x0c\x13https://one.example"}):
        bundle = raw(Forge(instance, extensions=with_issuers(**issuers)).bundle())
        assert verify_bundle(bundle, trust).identity.issuer == "https://one.example"


def with_claims(**claims: bytes) -> Edit:
    oids = {name: oid for oid, name in CLAIMS.items()}
    fresh = [
        x509.Extension(oids[name], False, x509.UnrecognizedExtension(oids[name], value))
        for name, value in claims.items()
    ]
    return lambda found: list(found) + fresh


def test_claims_are_read_by_fulcios_names(instance: Instance, trust: Trust) -> None:
    """What the authority wrote about the build is at hand, by the name of its extension; a person has the issuer only."""
    verified = verify_bundle(raw(Forge(instance).bundle()), trust)
    assert verified.claims == {"issuer": instance.issuer}
    edit = with_claims(buildTrigger=b"\x0c\x04push", sourceRepositoryVisibilityAtSigning=b"\x0c\x06public")
    claims = verify_bundle(raw(Forge(instance, extensions=edit).bundle()), trust).claims
    assert claims["buildTrigger"] == "push"
    assert claims["sourceRepositoryVisibilityAtSigning"] == "public"


def test_b4_a_claim_is_text(instance: Instance, trust: Trust) -> None:
    """A claim that cannot be read is not left out: a rule about it could not be kept."""
    bundle = raw(Forge(instance, extensions=with_claims(buildTrigger=b"push")).bundle())
    assert sigstore_accepts(bundle, trust)
    with pytest.raises(SignatureError):
        verify_bundle(bundle, trust)


ODD: dict[str, Edit] = {
    **IDENTITIES,
    "no subject": lambda found: [one for one in found if one.oid != x509.SubjectAlternativeName.oid],
    "a subject that does not print": with_names(x509.UniformResourceIdentifier("https://example.com/\t")),
    "an issuer that is no UTF-8": with_issuers(v1=b"https://\xff.example"),
}


@pytest.mark.parametrize("edit", ODD.values(), ids=ODD)
def test_identity_of_a_certificate_that_names_none_is_an_error_of_the_certificate(
    instance: Instance, edit: Edit
) -> None:
    """The reader learns that the certificate is wrong, not the layout, in which identities are checked too."""
    certificate = Forge(instance, extensions=edit).certificate()
    with pytest.raises(SignatureError) as caught:
        identity_of(certificate)
    assert caught.value.where == "certificate"


def test_identity_of_a_certificate(instance: Instance) -> None:
    """The subject is the one alternative name, the issuer is the URL in Fulcio's extension."""
    found = identity_of(Forge(instance).certificate())
    assert (found.subject, found.issuer) == (ADA, instance.issuer)
    for issuer in ("https://one.example", "http://one.example"):
        edit = with_issuers(v1=issuer.encode())
        assert identity_of(Forge(instance, extensions=edit).certificate()).issuer == issuer


def test_claims_are_the_table_of_fulcio() -> None:
    """Extensions .8 to .22 of oid-info.md, in the order of that page."""
    assert {oid.dotted_string.removeprefix("1.3.6.1.4.1.57264.1."): name for oid, name in CLAIMS.items()} == {
        "8": "issuer",
        "9": "buildSignerURI",
        "10": "buildSignerDigest",
        "11": "runnerEnvironment",
        "12": "sourceRepositoryURI",
        "13": "sourceRepositoryDigest",
        "14": "sourceRepositoryRef",
        "15": "sourceRepositoryIdentifier",
        "16": "sourceRepositoryOwnerURI",
        "17": "sourceRepositoryOwnerIdentifier",
        "18": "buildConfigURI",
        "19": "buildConfigDigest",
        "20": "buildTrigger",
        "21": "runInvocationURI",
        "22": "sourceRepositoryVisibilityAtSigning",
    }
