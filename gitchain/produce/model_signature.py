"""Sign a model as an OpenSSF model signature, which `model_signing` also verifies."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from gitchain.collect.model_files import model_files, single_file
from gitchain.consume.model_signature import GIT_PATHS, bundle_inside, ignored_names
from gitchain.errors import VerificationError
from gitchain.evidence.oms import SINGLE, model_statement
from gitchain.platform.files import write_durably

if TYPE_CHECKING:
    from gitchain.trust.profiles import Profile, SigningIdentity
    from gitchain.verify.oms import VerifiedModel


def sign_model(
    target: Path,
    output: Path,
    profile: Profile,
    identity: SigningIdentity,
    ignored: Iterable[str] = (),
) -> VerifiedModel:
    """Sign the current files of a model, and write the bundle; return its verified content.

    Excluded are Git's own files, the paths in `ignored`, and the bundle itself. The bundle is written only if it
    verifies. Raises UsageError for an invalid target or output, and the errors of signing.
    """
    from gitchain.verify import oms
    from gitchain.verify.bundle import verify_bundle

    single = target.is_file()
    left_out = () if single else (*ignored_names(ignored), *GIT_PATHS, *bundle_inside(output, target))
    files = {SINGLE: single_file(target)} if single else model_files(target, left_out)
    statement = model_statement(target.resolve().name or "model", files, left_out)
    with profile.signer(identity, "gitchain bundle sign MODEL") as signer:
        (raw,) = signer.sign((statement,))
        if signer.keys:
            verified = oms.verify_model_by_key(raw, lambda: profile.trust, signer.keys[0])
        else:
            verified_bundle = verify_bundle(raw, profile.trust)
            verified = oms.verify_model_by_identity(raw, profile.trust, verified_bundle.identity)
    if verified.signature.files != files:
        raise VerificationError("the signer returned a bundle for another model", where=str(target))
    write_durably(output, raw, mode=0o644)
    return verified
