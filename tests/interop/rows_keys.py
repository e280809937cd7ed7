"""Rows about keys: a real Rekor v2 takes what each kind of key signs, and shows an entry that it has already."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from gitchain.errors import GitchainError
from gitchain.evidence.digest import DigestSet
from gitchain.evidence.dsse import IN_TOTO_PAYLOAD_TYPE, Envelope, pae
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.sign import entries
from gitchain.sign.context import signing_services
from gitchain.sign.keyed import KeySigner
from gitchain.sign.keys import PemKey
from gitchain.verify.bundle import verify_bundle
from gitchain.verify.keys import Key
from gitchain.verify.rekor_entry import SignatureRecord
from gitchain.verify.trust import Trust
from tests.interop.interop_run import Answer, InteropRun, pinned
from tests.interop.table import Cases, Row

KINDS: dict[str, Callable[[], rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey]] = {
    "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "RSA": lambda: rsa.generate_private_key(65537, 2048),
}


def keys(world: InteropRun, cases: Cases) -> None:
    """Sign with each kind of key, and send one entry twice: it is proved by the log's tiles and not logged again."""
    text = world.stack.trust_config.read_text(encoding="utf-8")
    services, trust = signing_services(text), Trust.parse(text)
    for number, (kind, make) in enumerate(KINDS.items()):
        private = make()
        holder = PemKey(Key.of(private.public_key()), private)
        signer = KeySigner(holder, services)
        (raw,) = signer.sign([_statement(number)])
        cases.accepts(kind, _verified(raw, trust, signer.keys))
        cases.refuses(f"{kind}, by who does not know the key", _verified(raw, trust, ()))
        payload = _statement(100 + number).payload
        envelope = Envelope(IN_TOTO_PAYLOAD_TYPE, payload, holder.sign(pae(IN_TOTO_PAYLOAD_TYPE, payload)))
        one = entries.signed(envelope, holder.key)
        first, second = (services.log_client.log(one) for _ in range(2))
        same = first["logIndex"] == second["logIndex"] and first["logId"] == second["logId"]
        cases.accepts(f"{kind}, sent twice", (same, f"{first['logIndex']} {second['logIndex']}"))
        other = replace(one, digest=bytes(len(one.digest)))
        cases.refuses(f"{kind}, another digest", _logged(services.log_client, other))


def _statement(number: int) -> Statement:
    subject = ResourceDescriptor(f"file-{number}", DigestSet({"sha256": f"{number:064x}"}))
    return Statement.build((subject,), "https://example.com/predicate", {"number": number})


def _verified(raw: bytes, trust: Trust, known: tuple[bytes, ...]) -> Answer:
    try:
        return True, str(verify_bundle(raw, trust, known).log.index)
    except GitchainError as error:
        return False, str(error)


def _logged(client: entries.LogClient, one: SignatureRecord) -> Answer:
    try:
        return True, str(client.log(one)["logIndex"])
    except GitchainError as error:
        return False, str(error)


ROWS = (Row("Rekor v2", lambda: pinned("rekor-server"), "takes keys, and an entry once", keys),)
