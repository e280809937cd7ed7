"""A key in a PKCS#11 token (softhsm2): it signs, it is asked for a PIN, and it may be pulled out in mid-batch."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gitchain.errors import AuthenticationError, TransportError
from gitchain.instance import Instance
from gitchain.sign.keyed import KeySigner
from gitchain.sign.keys import MODULE, PASSPHRASE, open_key
from gitchain.verify.bundle import verify_bundle
from gitchain.verify.trust import Trust
from tests.sign.test_keyless import statement

LIBRARIES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
)
LIBRARY = next((path for path in LIBRARIES if Path(path).exists()), None)
pytestmark = pytest.mark.skipif(
    LIBRARY is None or shutil.which("softhsm2-util") is None,
    reason="NOT RUN: keys in a token need softhsm2 (apt-get install softhsm2)",
)
LABEL, PIN = "gitchain-test", "2468"


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make one token with a P-256 key (id 2) and a P-384 key (id 3); the module is loaded once a process."""
    top = tmp_path_factory.mktemp("softhsm")
    (top / "tokens").mkdir()
    config = top / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {top}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n")
    os.environ["SOFTHSM2_CONF"] = str(config)
    init = ["softhsm2-util", "--init-token", "--free", "--label", LABEL, "--so-pin", "1357", "--pin", PIN]
    subprocess.run(init, check=True, capture_output=True)
    import pkcs11
    from pkcs11.util.ec import encode_named_curve_parameters

    token = pkcs11.lib(str(LIBRARY)).get_token(token_label=LABEL)
    with token.open(rw=True, user_pin=PIN) as session:
        for number, curve in ((b"\x02", "secp256r1"), (b"\x03", "secp384r1")):
            parameters = session.create_domain_parameters(
                pkcs11.KeyType.EC,
                {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters(curve)},
                local=True,
            )
            parameters.generate_keypair(store=True, id=number, label=f"key-{curve}")
    return top / "tokens"


@pytest.fixture
def module(tokens: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Name the module and the PIN as a user does."""
    monkeypatch.setenv(MODULE, str(LIBRARY))
    monkeypatch.setenv(PASSPHRASE, PIN)
    return tokens


@pytest.mark.parametrize(
    "uri", [f"hsm:2?label={LABEL}", f"pkcs11:token={LABEL};id=%02", f"hsm:3?label={LABEL}"]
)
def test_token_signs(module: Path, instance: Instance, uri: str) -> None:
    """A key in a token signs statements that are logged, timestamped and verify."""
    with KeySigner(open_key(uri), instance.recorder()) as signer:
        (raw,) = signer.sign([statement()])
    found = verify_bundle(raw, Trust.parse(instance.trust_config()), signer.keys)
    assert found.statement.payload == statement().payload


def test_wrong_pin(module: Path, instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong PIN is an authentication error that does not repeat the PIN."""
    monkeypatch.setenv(PASSPHRASE, "9999")
    with pytest.raises(AuthenticationError, match="PIN") as caught:
        KeySigner(open_key(f"hsm:2?label={LABEL}"), instance.recorder()).sign([statement()])
    assert "9999" not in str(caught.value)
    assert instance.log.size() == 1


def test_no_such_token_or_key(module: Path) -> None:
    """Another label or id is an error that says what was looked for."""
    for uri in ("hsm:2?label=nobody", f"hsm:77?label={LABEL}"):
        with pytest.raises(TransportError, match="cannot be used") as caught:
            open_key(uri)
        assert caught.value.where == uri


def test_token_pulled_out_in_mid_batch(module: Path, instance: Instance) -> None:
    """What was signed before the token is gone is kept; the rest is one clear error, and signs when it is back."""
    signer = KeySigner(open_key(f"hsm:2?label={LABEL}"), instance.recorder())
    batch = signer.each([statement(number) for number in range(3)])
    first = next(batch)
    away = module.with_name("away")
    module.rename(away)
    try:
        with pytest.raises(TransportError, match="cannot be used") as caught:
            next(batch)
        assert "gitchain sync" in caught.value.help
    finally:
        away.rename(module)
    assert verify_bundle(first, Trust.parse(instance.trust_config()), signer.keys)
    assert instance.log.size() == 2, "only the first is logged"
    again = f"from gitchain.sign.keys import open_key; open_key('hsm:2?label={LABEL}').sign(b'x')"
    subprocess.run(
        [sys.executable, "-c", again], check=True
    )  # as `gitchain sync` does, in a process of its own
