"""Trust profiles: `local` (the embedded instance), `public` (the public-good Sigstore), a TUF repository, or a file.

One code path for all: a Sigstore `ClientTrustConfig`, which holds the trusted root to verify with and the
signing configuration to sign with.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from gitchain.errors import AuthenticationError, TransportError, TrustError, UsageError
from gitchain.pipeline.archive import NAME, archive, archived
from gitchain.pipeline.home import local_directory
from gitchain.pipeline.tuf import PUBLIC, Fetched, Repository
from gitchain.platform.files import open_regular

if TYPE_CHECKING:
    from sigstore.sign import SigningContext

    from gitchain.instance import Instance
    from gitchain.sign import Signer
    from gitchain.sign.keys import KeyHolder
    from gitchain.sign.services import Services
    from gitchain.verify.trust import Trust

MAX_TRUST_BYTES = 16 << 20  # the public trusted root has about 10 kB


@dataclass(frozen=True, slots=True)
class Identity:
    """Who signs: an identity of the embedded instance, an OIDC token, a key, or whatever the environment offers.

    `interactive` says that a person may be asked to log in, `agreed` that what becomes public may.
    """

    name: str | None = None
    token: str | None = None
    key: str | None = None
    interactive: bool = False
    agreed: bool = False

    def __post_init__(self) -> None:
        if self.key is not None and (self.name is not None or self.token is not None):
            raise UsageError(
                "say in one way who signs", expected="--key, or --as, or --identity-token", got="several"
            )

    def check_token(self) -> None:
        """Raise AuthenticationError if a token was given that cannot be used."""
        if self.token is not None:
            from gitchain.sign.token import check_token

            check_token(self.token.strip())


@dataclass(frozen=True)
class Profile:
    """A named trust configuration."""

    name: str
    text: str
    instance: Instance | None = None
    rotates: bool = False
    """Whether its trusted root changes by itself: then a pin names it and holds no digest."""
    fetched: Fetched | None = None
    offline: bool = False
    witnesses: bytes | None = None
    """A witness policy (https://c2sp.org/tlog-policy) that every checkpoint has to satisfy: the verifier's own."""

    @cached_property
    def trust(self) -> Trust:
        """The trusted root, for verifying."""
        from gitchain.verify.trust import Trust

        root = Trust.parse(self.text)
        if self.witnesses is None:
            return root
        from gitchain.verify.witnesses import WitnessPolicy

        return replace(root, witnesses=WitnessPolicy.parse(self.witnesses))

    @cached_property
    def services(self) -> Services:
        """The services to sign with, for as long as this profile lives: connections, and what failed a moment ago.

        TransportError under --offline: nothing is sent anywhere.
        """
        from gitchain.sign.context import signing_services

        if self.offline:
            raise TransportError("--offline: nothing was sent", where=self.name, help="gitchain sync, later")
        return signing_services(self.text)

    def check(self, identity: str | None, key: str | None = None) -> None:
        """Raise what no waiting can mend: TrustError for a trust that is none, UsageError for a key that is none."""
        self.check_identity(identity)
        _ = self.trust
        if key is not None:
            with suppress(
                AuthenticationError, TransportError
            ):  # a token may be put in later, a PIN remembered
                self._key_signer(key)

    def check_identity(self, identity: str | None) -> None:
        """Raise UsageError for an identity that this profile can never sign as; None is for the environment to say."""
        if identity is None:
            return
        if self.instance is None:
            raise UsageError(
                "--as works with the embedded instance only",
                got=self.name,
                help="leave --as out: the OIDC token says who signs",
            )
        from gitchain.instance.info import check_identity

        check_identity(identity)

    @property
    def trust_digest(self) -> str:
        """Which trusted root this is, without saying that it can be verified with; see `trust_digest`."""
        from gitchain.verify.trust import trust_digest

        return trust_digest(self.text)

    def context(self) -> SigningContext:
        """Return where to sign: the embedded instance, or the services that the configuration names."""
        return self.services.context() if self.instance is None else self.instance.signing_context()

    def signer(self, who: Identity) -> Signer:
        """Return a signer: with a key, as a name on the embedded instance, else by the token given or what there is.

        Before a certificate of a public instance is asked for, the person agrees to what becomes public for ever.
        Raises AuthenticationError without an identity, UsageError for --as elsewhere than on the embedded instance, for
        a key that cannot sign here and where nobody agreed, and TransportError for what is not there.
        """
        from gitchain.sign.keyless import Signer

        if who.key is not None:
            return self._key_signer(who.key)
        if self.instance is not None:
            instance, name = self.instance, who.name or ""
            if who.token is None and who.name is None:
                raise AuthenticationError(
                    "no identity to sign as",
                    help="git config user.email you@example.com, then: gitchain sync   (or gitchain sync --as IDENTITY)",
                )
            return Signer(instance.signing_context(), who.token or (lambda: instance.token(name)))
        self.check_identity(who.name)
        return Signer(self.context(), self.token(who))

    def token(self, who: Identity) -> str:
        """Return the token to sign with, once its owner agreed to what becomes public; errors as `signer`."""
        from gitchain.pipeline.privacy import agree
        from gitchain.sign.token import find_token, parse_token

        services = self.services
        token = find_token(who.token, log_in=self._log_in(interactive=who.interactive))
        if services.is_public:
            agree(self.name, parse_token(token).identity, services.keeps_statements, agreed=who.agreed)
        return token

    def _log_in(self, *, interactive: bool) -> Callable[[], str] | None:
        """Return how a person gets a token, where there is a person."""
        from gitchain.sign.login import is_terminal, log_in

        if not (interactive or is_terminal()):
            return None
        return lambda: log_in(self.services.oidc_url, self.services.http)

    def _key_signer(self, uri: str) -> Signer:
        from gitchain.sign.keyed import KeySigner

        recorder = self.services if self.instance is None else self.instance.recorder()
        return KeySigner(self._holder(uri), recorder)

    def _holder(self, uri: str) -> KeyHolder:
        """Return the key, opened once: a passphrase is asked for once."""
        from gitchain.sign.keys import open_key

        if uri not in self._holders:
            self._holders[uri] = open_key(uri)
        return self._holders[uri]

    @cached_property
    def _holders(self) -> dict[str, KeyHolder]:
        return {}


def load_profile(
    name: str, *, base: Path | None = None, offline: bool = False, now: datetime | None = None
) -> Profile:
    """Return the profile called `name`, or read it as a file (relative to `base`); TrustError when it cannot be had.

    A TUF repository is asked only where what is here is due, and never `offline`; TransportError if it has to be and
    cannot.
    """
    return replace(_load(name, base or Path(), now or datetime.now(UTC), offline=offline), offline=offline)


def _load(name: str, base: Path, now: datetime, *, offline: bool) -> Profile:
    if name == "local":
        from gitchain.instance import Instance

        instance = Instance.open(local_directory())
        return Profile(name="local", text=instance.trust_config(), instance=instance)
    repository, kept = Repository.of(name), archived(name)
    if repository is not None:
        return _from_tuf(repository, offline=offline, now=now)
    if kept is not None:
        return Profile(name=name, text=kept)
    return _from_file(base / name, _left_out(base, name))


def _left_out(base: Path, name: str) -> bytes | None:
    """Return a trust configuration of the repository at `base` that a sparse checkout leaves out."""
    inside = not Path(name).is_absolute() and ".." not in Path(name).parts
    if not inside or (base / name).exists() or not (base / ".git").exists():
        return None
    from gitchain.collect.committed import left_out

    return left_out(base, Path(name))


def is_path(name: str) -> bool:
    """Tell whether a --trust value names a file, rather than an instance, a repository or a kept root."""
    return name != "local" and Repository.of(name) is None and NAME.fullmatch(name) is None


def pin_root(name: str, root: bytes | None) -> None:
    """Believe this root of the TUF repository that `name` is; UsageError if it is none, TrustError as `Repository.pin`."""
    if root is None:
        return
    repository = Repository.of(name)
    if repository is None:
        raise UsageError("--tuf-root belongs to a TUF repository", got=name, expected="--trust https://…")
    repository.pin(root)


def update_profile(name: str) -> Profile:
    """Ask the TUF repository now; UsageError for a trust that has none, else as `Repository.refresh`."""
    from gitchain.sign.http import Http

    repository = Repository.of(name)
    if repository is None:
        raise UsageError(
            "this trust is not updated", got=name, expected="public, public-v2 or the URL of a TUF repository"
        )
    return _profile(repository, repository.refresh(Http(), datetime.now(UTC)))


def _from_tuf(repository: Repository, *, offline: bool, now: datetime) -> Profile:
    cached = repository.cached()
    if cached is not None and (offline or not cached.is_due(now)):
        return _profile(repository, cached)
    if offline:
        return _never_fetched(repository)
    from gitchain.sign.http import Http

    try:
        return _profile(repository, repository.refresh(Http(), now))
    except TransportError:
        if cached is None or now > cached.expires:
            raise
        return _profile(repository, cached)  # a day old, and still good


def _never_fetched(repository: Repository) -> Profile:
    if repository.name == PUBLIC:
        from gitchain.verify.trust import public_trust_config

        return Profile(name=PUBLIC, text=public_trust_config(offline=True), rotates=True)
    raise TrustError(
        "this trust was never fetched, and --offline fetches nothing",
        where=repository.url,
        help=f"gitchain --trust {repository.name} trust update",
    )


def _profile(repository: Repository, fetched: Fetched) -> Profile:
    archive(fetched.text)
    return Profile(name=repository.name, text=fetched.text, rotates=True, fetched=fetched)


def _from_file(path: Path, kept: bytes | None = None) -> Profile:
    from gitchain.verify.trust import trust_digest

    try:
        data = kept
        if data is None:
            with open_regular(path) as file:
                data = file.read(MAX_TRUST_BYTES + 1)
        if len(data) > MAX_TRUST_BYTES:
            raise TrustError(
                "the trust configuration is too large", where=str(path), expected=f"≤ {MAX_TRUST_BYTES} bytes"
            )
        text = data.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TrustError(
            "cannot read the trust configuration",
            where=str(path),
            got=str(error),
            help="--trust takes local, public, public-v2, the https:// URL of a TUF repository, sha256:… of a kept root, "
            "or a file that holds a Sigstore trust configuration or trusted root",
        ) from error
    trust_digest(text)  # a file that is no trust is refused before anything is stated under it
    return Profile(name=str(path), text=text)
