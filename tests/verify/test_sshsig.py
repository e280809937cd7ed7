"""SSH signatures of commits: OpenSSH's own verify, and what it would not make for Git is refused."""

from __future__ import annotations

import base64
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from gitchain.errors import GitchainError, MalformedError, SignatureError
from gitchain.evidence.gitobject import GitObject
from gitchain.layout.identities import SSH_ISSUER, SshMember
from gitchain.layout.keys import fingerprint
from gitchain.verify.gitsigned import verify_object
from gitchain.verify.trust import Trust
from tests.support.git_signatures import PAYLOAD, armor, mpint, signed_commit, ssh_blob, sshsig, string

ED = ed25519.Ed25519PrivateKey.from_private_bytes(b"k" * 32)
RSA = rsa.generate_private_key(65537, 2048)
BLOB = ssh_blob(ED.public_key())
HASHES = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}


def ed(data: bytes) -> bytes:
    return string(b"ssh-ed25519") + string(ED.sign(data))


def ecdsa(key: ec.EllipticCurvePrivateKey) -> Callable[[bytes], bytes]:
    def sign(data: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(data, ec.ECDSA(HASHES[key.key_size])))
        return string(f"ecdsa-sha2-nistp{key.key_size}".encode()) + string(mpint(r) + mpint(s))

    return sign


def rsa_with(name: bytes, algorithm: hashes.HashAlgorithm) -> Callable[[bytes], bytes]:
    return lambda data: string(name) + string(RSA.sign(data, padding.PKCS1v15(), algorithm))


def commit(signature: bytes) -> GitObject:
    return signed_commit(armor("SSH SIGNATURE", signature))


CURVES = [ec.derive_private_key(9, curve) for curve in (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1())]
GOOD = [
    (BLOB, ed),
    *((ssh_blob(key.public_key()), ecdsa(key)) for key in CURVES),
    (ssh_blob(RSA.public_key()), rsa_with(b"rsa-sha2-256", hashes.SHA256())),
    (ssh_blob(RSA.public_key()), rsa_with(b"rsa-sha2-512", hashes.SHA512())),
]


@pytest.mark.parametrize("hashed", [b"sha256", b"sha512"])
@pytest.mark.parametrize(("blob", "sign"), GOOD, ids=["ed25519", "p256", "p384", "p521", "rsa256", "rsa512"])
def test_a_signature_says_whose_key_made_it(
    blob: bytes, sign: Callable[[bytes], bytes], hashed: bytes, trust: Trust
) -> None:
    """Its fingerprint, and nothing about the time: nobody else vouches for that."""
    found = verify_object(commit(sshsig(blob, sign, hashed=hashed)), trust)
    assert found.identity.issuer == SSH_ISSUER
    kind = blob[4 : 4 + blob[3]].decode()
    assert found.identity.subject == fingerprint(f"{kind} {base64.b64encode(blob).decode()}")
    assert (found.time, found.log, dict(found.claims)) == (None, None, {})


@pytest.mark.parametrize(("blob", "sign"), GOOD, ids=["ed25519", "p256", "p384", "p521", "rsa256", "rsa512"])
def test_a_signature_over_something_else_is_refused(
    blob: bytes, sign: Callable[[bytes], bytes], trust: Trust
) -> None:
    """One byte of the payload changes the digest that was signed."""
    signature = sshsig(blob, sign, payload=PAYLOAD.replace(b"message", b"massage"))
    with pytest.raises(SignatureError, match="signature does not verify"):
        verify_object(commit(signature), trust)


def with_text(text: bytes, algorithm: bytes = b"ecdsa-sha2-nistp256") -> bytes:
    return sshsig(ssh_blob(CURVES[0].public_key()), lambda _: string(algorithm) + string(text))


SMALL = rsa.generate_private_key(65537, 1024).public_key()
SK = string(b"sk-ssh-ed25519@openssh.com") + string(ED.public_key().public_bytes_raw()) + string(b"ssh:")
CERT = string(b"ssh-ed25519-cert-v01@openssh.com") + string(b"x" * 32)


@pytest.mark.parametrize(
    ("signature", "says"),
    [
        (sshsig(BLOB, ed, namespace=b"file"), "another namespace than Git"),
        (sshsig(BLOB, ed, namespace=b""), "another namespace than Git"),
        (sshsig(BLOB, ed, namespace=b"git\0"), "another namespace than Git"),
        (sshsig(BLOB, ed, reserved=b"x"), "hashes in an unknown way"),
        (sshsig(BLOB, ed, hashed=b"sha1"), "hashes in an unknown way"),
        (sshsig(BLOB, ed, magic=b"SSHSIX"), "not an SSH signature"),
        (sshsig(BLOB, ed, version=2), "not an SSH signature"),
        (sshsig(BLOB, ed) + b"x", "more than it should"),
        (sshsig(BLOB, ed)[:-1], "ends early"),
        (sshsig(BLOB, ed)[:8], "ends early"),
        (b"", "not one block|unknown form|not an SSH|ends early"),
        (sshsig(BLOB, lambda data: ed(data) + b"x"), "more than it should"),
        (
            sshsig(BLOB, lambda data: string(b"ssh-rsa") + string(ED.sign(data))),
            "unknown algorithm for its key",
        ),
        (sshsig(BLOB, lambda data: string(b"ssh-ed25519") + string(ED.sign(data)[:-1])), "does not verify"),
        (
            sshsig(ssh_blob(RSA.public_key()), rsa_with(b"ssh-rsa", hashes.SHA1())),
            "unknown algorithm for its key",
        ),
        (sshsig(ssh_blob(RSA.public_key()), ed), "unknown algorithm for its key"),
        (sshsig(ssh_blob(CURVES[0].public_key()), ecdsa(CURVES[1])), "unknown algorithm for its key"),
        (with_text(mpint(1)), "ends early"),
        (with_text(mpint(1) + mpint(1) + b"x"), "more than it should"),
        (with_text(string(b"") + mpint(1)), "number of a signature"),
        (with_text(string(b"\x80") + mpint(1)), "number of a signature"),
        (with_text(string(b"\0\x01") + mpint(1)), "number of a signature"),
        (with_text(mpint(1) + string(b"\0")), "number of a signature"),
        (with_text(mpint(128) + mpint(1)), "does not verify"),
        (sshsig(ssh_blob(SMALL), rsa_with(b"rsa-sha2-256", hashes.SHA256())), "kind or size"),
        (sshsig(SK, ed), "kind or size"),
        (sshsig(CERT, ed), "kind or size"),
        (sshsig(BLOB + b"x", ed), "kind or size"),
        (sshsig(string(b"junk"), ed), "kind or size"),
        (sshsig(string(b"\xff"), ed), "kind or size"),
        (sshsig(struct.pack(">I", 99), ed), "ends early"),
    ],
)
def test_what_openssh_would_not_make_for_git_is_refused(signature: bytes, says: str, trust: Trust) -> None:
    """Other namespaces, hashes, algorithms and keys; strings that end early or late; numbers spelled otherwise."""
    with pytest.raises(GitchainError, match=says) as error:
        verify_object(commit(signature), trust)
    assert isinstance(error.value, (SignatureError, MalformedError))
    assert error.value.where.startswith("commit ")


@pytest.mark.filterwarnings("ignore:SSH DSA keys")
def test_dsa_keys_are_refused(trust: Trust) -> None:
    """Old, and of 1024 bits."""
    numbers = dsa.generate_private_key(1024).public_key().public_numbers()
    parts = (numbers.parameter_numbers.p, numbers.parameter_numbers.q, numbers.parameter_numbers.g, numbers.y)
    blob = string(b"ssh-dss") + b"".join(map(mpint, parts))
    with pytest.raises(SignatureError, match="kind or size"):
        verify_object(commit(sshsig(blob, ed)), trust)


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_openssh_agrees(kind: str, tmp_path: Path, trust: Trust) -> None:
    """`ssh-keygen -Y sign` is read here, and `ssh-keygen -Y check-novalidate` takes what these tests make."""
    if shutil.which("ssh-keygen") is None:
        pytest.skip("no ssh-keygen")

    def run(*command: str, given: bytes = b"") -> None:
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, input=given)

    run("ssh-keygen", "-q", "-t", kind, "-N", "", "-f", "key")
    (tmp_path / "m").write_bytes(PAYLOAD)
    run("ssh-keygen", "-Y", "sign", "-n", "git", "-f", "key", "m")
    armored = (tmp_path / "m.sig").read_bytes().rstrip(b"\n")
    member = SshMember(" ".join((tmp_path / "key.pub").read_text().split()[:2]))
    assert verify_object(signed_commit(armored), trust).identity == member.identity
    blob, sign = GOOD[0]
    (tmp_path / "ours").write_bytes(armor("SSH SIGNATURE", sshsig(blob, sign)) + b"\n")
    run("ssh-keygen", "-Y", "check-novalidate", "-n", "git", "-s", "ours", given=PAYLOAD)
