"""The embedded Sigstore instance: issuer, authorities and log in one directory.

    <dir>/instance.json   <dir>/keys/   <dir>/log/   <dir>/trust.json        all 0700 and 0600

For work without a network and without accounts. It proves only that the holder of this directory signed:
every name in it ends in `.gitchain.invalid`, and the log's first entry states this.
It is NOT a substitute for the public Sigstore instance.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509

from gitchain.errors import StoreError, TrustError
from gitchain.evidence.canonical import Json, canonical_json
from gitchain.evidence.fields import encode_base64
from gitchain.instance import info, keys, trust
from gitchain.instance.directory import check_private, read_private, storing, sync_directory, write_durable
from gitchain.instance.log import LoggedEntry, TransparencyLog
from gitchain.platform.files import make_private

if TYPE_CHECKING:
    from sigstore.sign import SigningContext

    from gitchain.instance import tsa
    from gitchain.instance.client import LocalRecorder
    from gitchain.instance.oidc import Issuer

EXPORTED = "trust.json"
"""The trust configuration, for those who verify: they do not open the keys."""
MAX_EXPORT_BYTES = 1 << 16  # three certificates and two keys take 6 kB
GENESIS_KIND = "gitchain-local-genesis"
GENESIS_NOTICE = "log of a local gitchain instance: it proves only that the holder of its directory signed"


@dataclass(frozen=True, slots=True)
class Instance:
    """An open instance. Threads and processes may use one directory at the same time."""

    directory: Path
    info: info.InstanceInfo
    keys: keys.InstanceKeys = field(repr=False)
    log: TransparencyLog = field(repr=False)

    @classmethod
    def create(cls, directory: Path) -> Instance:
        """Make an instance in `directory`, or open the one that is there; of several creators one wins.

        StoreError if the disk refuses: then nothing is left behind. TrustError if what is there is not ours
        or broken.
        """
        if (directory / info.FILE_NAME).exists():
            return cls.open(directory)
        make_private(directory.parent)
        with storing(directory):
            fresh = Path(tempfile.mkdtemp(dir=directory.parent, prefix=f".{directory.name}."))
        try:
            _build(fresh)
            return _publish(fresh, directory)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    @classmethod
    def open(cls, directory: Path) -> Instance:
        """Open an instance. Raises TrustError if it is missing, foreign, open to other users or broken."""
        check_private(directory, if_missing=info.HELP_CREATE)
        description = read_private(
            directory / info.FILE_NAME, info.MAX_INFO_BYTES, if_missing=info.HELP_CREATE
        )
        facts = info.InstanceInfo.parse(description, str(directory / info.FILE_NAME))
        own = keys.load(directory / "keys")
        if info.instance_id(own.log_public) != facts.id:
            raise TrustError(
                "the local instance's description names another instance's keys",
                where=str(directory),
                expected=info.instance_id(own.log_public),
                got=facts.id,
                help=info.HELP_BROKEN,
            )
        check_private(directory / "log")
        log = TransparencyLog(directory / "log", facts.origin, own.log)
        log.checkpoint()
        found = cls(directory, facts, own, log)
        found.check_export()
        return found

    @property
    def id(self) -> str:
        """The start of the SHA-256 of the log's public key, in hex."""
        return self.info.id

    @property
    def issuer(self) -> str:
        """The OIDC issuer in this instance's tokens and certificates."""
        return self.info.issuer

    @property
    def origin(self) -> str:
        """The log's origin."""
        return self.info.origin

    @property
    def port(self) -> int:
        """The port on which a server of this instance listens."""
        return self.info.port

    @property
    def url(self) -> str:
        """Where a server of this instance listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def chain(self) -> tuple[x509.Certificate, x509.Certificate]:
        """The issuing certificate, then the root."""
        return self.keys.ca_certificate, self.keys.root_certificate

    def trust_config(self, base_url: str | None = None) -> str:
        """Return the ClientTrustConfig JSON; `base_url` if the server listens elsewhere than at `url`."""
        return trust.trust_config(self.info, self.keys, self.log.key_id, base_url or self.url)

    def check_export(self) -> None:
        """Raise TrustError if the exported trust configuration is another one; write it if it is missing."""
        place = self.directory / EXPORTED
        if place.exists():
            if read_private(place, MAX_EXPORT_BYTES).decode("utf-8", "replace") != self.trust_config():
                raise TrustError(
                    "the local instance's exported trust configuration is not that of its keys",
                    where=str(place),
                    help=f"if you know why: rm {place}, which is then written again",
                )
            return
        fresh = place.with_name(
            f".{EXPORTED}.{secrets.token_hex(8)}"
        )  # others may do the same at this moment
        with suppress(StoreError):  # on a read-only disk: verification opens the instance then
            try:
                write_durable(fresh, self.trust_config().encode("utf-8"))
                with storing(place):
                    fresh.replace(place)
            finally:
                fresh.unlink(missing_ok=True)

    def token(self, identity: str) -> str:
        """Return a five-minute identity token.

        UsageError unless `identity` is an email address or URI. Raises TrustError if the clock is before the
        instance's start.
        """
        return self.oidc.token(identity, self._now())

    def signing_context(self) -> SigningContext:
        """Return a sigstore-python signing context that calls this instance with no HTTP."""
        from gitchain.instance.client import signing_context

        return signing_context(self)

    def recorder(self) -> LocalRecorder:
        """Return a recorder that timestamps and logs a key's signatures without HTTP."""
        from gitchain.instance.client import LocalRecorder

        return LocalRecorder(self)

    @property
    def oidc(self) -> Issuer:
        """The identity-token issuer."""
        from gitchain.instance.oidc import Issuer

        return Issuer(self.info, self.keys.oidc)

    def issue(self, token: str, request: x509.CertificateSigningRequest) -> x509.Certificate:
        """Return a certificate for a token and a signing request.

        AuthenticationError for a bad token. Raises MalformedError or SignatureError for a bad request.
        """
        from gitchain.instance import ca

        identity = self.oidc.identity_of(token)
        return ca.CertificateAuthority(self.info, self.keys).issue(
            identity, ca.key_of_request(request), self._now()
        )

    def issue_with_proof(self, token: str, public_key: bytes, proof: bytes) -> x509.Certificate:
        """Return a certificate for a token and a PEM key that signed its identity; errors as `issue`."""
        from gitchain.instance import ca

        identity = self.oidc.identity_of(token)
        key = ca.key_with_proof(public_key, proof, identity)
        return ca.CertificateAuthority(self.info, self.keys).issue(identity, key, self._now())

    def stamp(self, imprint: bytes) -> bytes:
        """Return an RFC 3161 response over a SHA-256 imprint."""
        from gitchain.instance import tsa

        return self.answer(tsa.TimestampRequest(imprint, None, certificates=True))

    def answer(self, request: tsa.TimestampRequest) -> bytes:
        """Return an RFC 3161 response to a parsed request."""
        from gitchain.instance import tsa

        return tsa.EmbeddedTimestampAuthority(self.keys.tsa, self.keys.tsa_certificate).stamp(
            request, self._now()
        )

    def log_entry(self, request: object, *, keys: bool = False) -> Mapping[str, object]:
        """Log a CreateEntryRequest; return its TransparencyLogEntry once a durable checkpoint covers it.

        `keys` is whether a bare key may have signed: never over HTTP.

        MalformedError or SignatureError if the entry is refused; otherwise as `TransparencyLog.append`.
        """
        from gitchain.instance import entry

        body = entry.entry_body(request, self.keys.ca_certificate, self._now(), keys=keys)
        return _entry_json(self.log.append([body])[0], self.log.key_id)

    def _now(self) -> datetime:
        now = datetime.now(UTC)
        if not self.info.valid_from <= now < self.info.valid_until:
            raise TrustError(
                "the clock is outside of the local instance's lifetime",
                expected=f"{self.info.valid_from:%FT%TZ} to {self.info.valid_until:%FT%TZ}",
                got=f"{now:%FT%TZ}",
                help="set the clock: gitchain doctor",
            )
        return now


def _build(directory: Path) -> None:
    own, facts = keys.generate(datetime.now(UTC))
    keys.save(own, directory / "keys")
    spec: Json = {"notice": GENESIS_NOTICE, "origin": facts.origin}
    genesis: Json = {"apiVersion": "0.0.1", "kind": GENESIS_KIND, "spec": spec}
    log = TransparencyLog.create(directory / "log", facts.origin, own.log, canonical_json(genesis))
    write_durable(directory / info.FILE_NAME, facts.render())
    Instance(directory, facts, own, log).check_export()
    sync_directory(directory)


def _publish(fresh: Path, directory: Path) -> Instance:
    """Give a finished instance its name, unless another creator was faster: then theirs stands."""
    try:
        os.rename(fresh, directory)  # noqa: PTH104 - replaces an empty directory, refuses any other
    except OSError as error:
        if (directory / info.FILE_NAME).exists():
            return Instance.open(directory)
        raise StoreError(
            "cannot make the local instance",
            where=str(directory),
            got=str(error.strerror),
            help="choose an empty directory",
        ) from error
    sync_directory(directory.parent)
    return Instance.open(directory)


def _entry_json(logged: LoggedEntry, key_id: bytes) -> Mapping[str, object]:
    from gitchain.instance import entry

    return {
        "logIndex": str(logged.index),
        "logId": {"keyId": encode_base64(key_id)},
        "kindVersion": {"kind": entry.KIND, "version": entry.VERSION},
        "inclusionProof": {
            "logIndex": str(logged.index),
            "rootHash": encode_base64(logged.root),
            "treeSize": str(logged.size),
            "hashes": [encode_base64(item) for item in logged.hashes],
            "checkpoint": {"envelope": logged.checkpoint},
        },
        "canonicalizedBody": encode_base64(logged.body),
    }
