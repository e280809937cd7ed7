"""Each use of a private name of sigstore-python, one test each: docs/packaging.md lists them, pyproject.toml pins `~=`."""

from __future__ import annotations

import ast
import inspect
import re
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sigstore.sign
from sigstore._internal.fulcio.client import FulcioClient, FulcioSigningCert
from sigstore._internal.rekor import RekorLogSubmitter
from sigstore._internal.timestamp import TimestampAuthorityClient
from sigstore.models import ClientTrustConfig
from sigstore.sign import Signer as SigstoreSigner
from sigstore.sign import SigningContext
from tuf.api.metadata import Metadata, Root

from gitchain.instance import Instance
from gitchain.instance import client as local
from gitchain.sign import gitcms, services
from gitchain.trust.tuf import PUBLIC, Repository
from gitchain.verify.public_trust import public_trust_config
from gitchain.verify.trust import Trust

ROOT = Path(__file__).parents[2]
USES = {
    "gitchain/instance/client.py": {"_build_dsse_request", "_build_hashed_rekord_request"},
    "gitchain/trust/tuf.py": {"_store"},
    "gitchain/sign/gitcms.py": {"_private_key", "_signing_cert", "_signing_ctx"},
    "gitchain/sign/services.py": {"_build_dsse_request", "_build_hashed_rekord_request"},
    "gitchain/verify/public_trust.py": {"_inner"},
}
"""The files that use private names of sigstore-python, and the names."""


def private_names(tree: ast.Module) -> Iterator[str]:
    """Yield the private names of sigstore-python that a module reads, overrides or names as a path."""
    theirs = {name for kind in (SigstoreSigner, RekorLogSubmitter, FulcioClient) for name in dir(kind)}
    theirs |= set(re.findall(r"self\.(_\w+)", inspect.getsource(sigstore.sign)))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            on_self = isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"}
            if not on_self or node.attr in theirs:
                yield node.attr
        elif isinstance(node, ast.FunctionDef) and node.name in theirs:
            yield node.name
        elif isinstance(node, ast.ImportFrom):
            yield from (f"_{part}" for part in str(node.module).split("._")[1:])
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
            yield node.value


def test_private_names_are_those_of_the_table_and_of_the_page() -> None:
    """Modules that name sigstore-python use no private name but those above; docs/packaging.md lists the same."""
    found = {}
    for path in sorted((ROOT / "gitchain").rglob("*.py")):
        text = path.read_text("utf-8")
        if re.search(r"(?:from|import) sigstore\b|files\(\"sigstore\"\)", text):
            names = {name for name in private_names(ast.parse(text)) if re.match(r"_[a-z]", name)}
            found[path.relative_to(ROOT).as_posix()] = names
    assert {path: names for path, names in found.items() if names} == USES
    page = (ROOT / "docs" / "packaging.md").read_text("utf-8")
    rows = re.findall(r"^\| `(gitchain/[\w/]+\.py)` \| (.+?) \|", page, re.MULTILINE)
    assert {path: set(re.findall(r"`(_\w+)`", names)) for path, names in rows} == USES


def test_sigstore_is_pinned_to_its_patch_releases() -> None:
    """A minor release may rename what is private: `~=` with three numbers keeps it out."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    (pin,) = [one for one in project["dependencies"] if re.match(r"sigstore\b(?!-)", one)]
    assert re.fullmatch(r"sigstore~=\d+\.\d+\.\d+", pin)


def test_inner_of_a_trust_config_is_written_as_it_was_read() -> None:
    """verify/public_trust.py writes the public trust configuration by `_inner`: sigstore-python and gitchain read it back."""
    text = public_trust_config(offline=True)
    assert ClientTrustConfig.from_json(text)._inner == ClientTrustConfig.production(offline=True)._inner
    assert Trust.parse(text).logs


def test_store_holds_the_initial_root_of_the_public_repository() -> None:
    """trust/tuf.py starts from sigstore-python's own copy of the public TUF root: it is there, and self-signed."""
    public = Repository.of(PUBLIC)
    assert public is not None
    root = Metadata[Root].from_bytes(public._initial_root())
    root.signed.verify_delegate(Root.type, root.signed_bytes, root.signatures)


def test_private_key_and_signing_cert_belong_together(instance: Instance) -> None:
    """sign/gitcms.py takes `_private_key` and `_signing_cert()` of a signer: the certificate is the key's."""
    credential = gitcms.new_credential(instance.signing_context(), instance.token("ada@example.com"))
    assert credential.certificate.public_key() == credential.key.public_key()
    assert credential.certificate.not_valid_after_utc > datetime.now(UTC) - timedelta(minutes=1)


def test_signing_ctx_of_a_signer_is_where_it_signs(instance: Instance) -> None:
    """sign/gitcms.py sets `_signing_ctx` and overrides the other two: sigstore-python signs with what it is given."""
    context = instance.signing_context()
    credential = gitcms.new_credential(context, instance.token("ada@example.com"))
    before = instance.log.size()
    bundle = gitcms._GitCmsSigner(context, credential).sign_artifact(b"a file")
    assert bundle.signing_certificate == credential.certificate
    assert instance.log.size() == before + 1


@pytest.mark.parametrize("log", [services.Rekor, local.LocalRekor])
def test_build_requests_are_all_that_a_log_needs(log: type[Any]) -> None:
    """Both logs have each method that sigstore-python demands of one, with the parameters it passes by name."""
    assert RekorLogSubmitter.__abstractmethods__ == {"create_entry", *USES["gitchain/sign/services.py"]}
    for name in RekorLogSubmitter.__abstractmethods__:
        theirs = list(inspect.signature(getattr(RekorLogSubmitter, name)).parameters)
        ours = list(inspect.signature(getattr(log, name)).parameters)
        assert [one for one in ours if one != "self"] == [one for one in theirs if one != "self"]


@pytest.mark.parametrize("module", [services, local])
def test_clients_have_the_methods_that_signers_call(module: Any) -> None:
    """Fulcio and the timestamp authority are called as sigstore-python's own clients are."""
    names = ("Fulcio", "SigningCert", "TimestampAuthority")
    ca, endpoint, authority = (
        getattr(module, name if module is services else f"Local{name}") for name in names
    )
    assert {"signing_cert"} <= set(dir(FulcioClient)) & set(ca.__slots__)
    for ours, theirs in (
        (endpoint.post, FulcioSigningCert.post),
        (authority.request_timestamp, TimestampAuthorityClient.request_timestamp),
    ):
        assert list(inspect.signature(ours).parameters) == list(inspect.signature(theirs).parameters)
    parameters = inspect.signature(SigningContext).parameters
    assert set(parameters) == {"fulcio", "rekor", "trusted_root", "tsa_clients"}
