"""Trust by TUF: a repository on loopback, made and spoiled with python-tuf itself; asked when due or told to, never offline."""

from __future__ import annotations

import copy
import json
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Root, Snapshot, TargetFile, Targets, Timestamp

from gitchain.instance import Instance
from gitchain.sign import http
from gitchain.sign.http import Limits
from gitchain.trust import tuf
from gitchain.trust.load_profile import load_profile

Gitchain = Callable[..., Any]
NOW = datetime.now(UTC).replace(microsecond=0)


class Publisher:
    """A TUF repository in a directory: four roles, one key each."""

    def __init__(self, directory: Path, targets: dict[str, bytes]) -> None:
        self.directory = directory
        self.asked: list[str] = []
        self.signers = {
            role: CryptoSigner.generate_ecdsa() for role in ("root", "timestamp", "snapshot", "targets")
        }
        expires = NOW + timedelta(days=30)
        self.root: Metadata[Root] = Metadata(Root(expires=expires, consistent_snapshot=True))
        for role, signer in self.signers.items():
            self.root.signed.add_key(signer.public_key, role)
        self.targets: Metadata[Targets] = Metadata(Targets(expires=expires))
        self.snapshot: Metadata[Snapshot] = Metadata(Snapshot(expires=expires))
        self.timestamp: Metadata[Timestamp] = Metadata(Timestamp(expires=expires))
        self.write("root", self.root, "1.root")
        self.publish(targets)

    def publish(self, targets: dict[str, bytes]) -> None:
        """Sign a new version of everything below the root."""
        (self.directory / "targets").mkdir(exist_ok=True)
        self.targets.signed.targets = {}
        for name, data in targets.items():
            info = TargetFile.from_data(name, data)
            self.targets.signed.targets[name] = info
            (self.directory / "targets" / f"{info.hashes['sha256']}.{name}").write_bytes(data)
        version = self.targets.signed.version
        self.write("targets", self.targets, f"{version}.targets")
        self.snapshot.signed.meta["targets.json"].version = version
        self.write("snapshot", self.snapshot, f"{version}.snapshot")
        self.timestamp.signed.snapshot_meta.version = version
        self.write("timestamp", self.timestamp, "timestamp")
        for metadata in (self.targets, self.snapshot, self.timestamp):
            metadata.signed.version += 1

    def write(self, role: str, metadata: Metadata[Any], name: str) -> None:
        signed = copy.deepcopy(metadata)
        signed.sign(self.signers[role])
        signed.to_file(str(self.directory / f"{name}.json"))

    @property
    def initial(self) -> Path:
        return self.directory / "1.root.json"


@pytest.fixture
def private(tmp_path: Path) -> Instance:
    return Instance.create(tmp_path / "private")


def files(instance: Instance) -> dict[str, bytes]:
    config = json.loads(instance.trust_config())
    return {
        "trusted_root.json": json.dumps(config["trustedRoot"]).encode(),
        "signing_config.v0.2.json": json.dumps(config["signingConfig"]).encode(),
    }


@pytest.fixture
def published(
    tmp_path: Path, private: Instance, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Publisher, str]]:
    """Serve a repository of the private instance's trust on loopback; return it and its URL."""
    monkeypatch.setattr(http, "USUAL", Limits(call=1, budget=1, attempts=2, first_wait=0.01))
    top = tmp_path / "tuf"
    top.mkdir()
    publisher = Publisher(top, files(private))

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            publisher.asked.append(self.path)

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(top)))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield publisher, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_repository_is_believed_from_the_pinned_root_on(
    gitchain: Gitchain, git_repo: Path, published: tuple[Publisher, str], private: Instance
) -> None:
    """init --trust URL --tuf-root FILE sets up; then the trust is what the repository holds, by its URL."""
    publisher, url = published
    done = gitchain("--trust", url, "init", "--no-hooks", "--tuf-root", str(publisher.initial), cwd=git_repo)
    assert done.code == 0, done.text
    exported = json.loads(gitchain("trust", "export", cwd=git_repo).out)
    assert exported["trustedRoot"] == json.loads(private.trust_config())["trustedRoot"]
    assert exported["signingConfig"]["caUrls"]


def test_nobody_pinned_a_root(gitchain: Gitchain, git_repo: Path, published: tuple[Publisher, str]) -> None:
    """A repository is not believed on first sight: 4, and what to type."""
    _, url = published
    done = gitchain("--trust", url, "init", "--no-hooks", cwd=git_repo)
    assert done.code == 4, done.text
    assert "--tuf-root" in done.err
    assert not (git_repo / ".gitchain").exists()


def test_another_root_under_the_same_url(
    gitchain: Gitchain, published: tuple[Publisher, str], tmp_path: Path
) -> None:
    """Once pinned, another root is refused, and so is what is no root, or not signed by itself."""
    publisher, url = published
    assert gitchain("--trust", url, "trust", "update", "--tuf-root", str(publisher.initial)).code == 0
    (tmp_path / "other").mkdir()
    other = Publisher(tmp_path / "other", {})
    for data in (other.initial.read_bytes(), b"{}", (publisher.directory / "timestamp.json").read_bytes()):
        (tmp_path / "root.json").write_bytes(data)
        done = gitchain("--trust", url, "trust", "update", "--tuf-root", str(tmp_path / "root.json"))
        assert done.code == 4, done.text
    changed = json.loads(publisher.initial.read_text())
    changed["signed"]["version"] = 7
    (tmp_path / "root.json").write_text(json.dumps(changed))
    assert gitchain("--trust", url, "trust", "update", "--tuf-root", str(tmp_path / "root.json")).code == 4


def test_asked_only_when_due(gitchain: Gitchain, published: tuple[Publisher, str]) -> None:
    """Within a day nothing is fetched; after it, the repository is asked; under --offline never."""
    publisher, url = published
    assert gitchain("--trust", url, "trust", "update", "--tuf-root", str(publisher.initial)).code == 0
    publisher.asked.clear()
    load_profile(url)
    assert publisher.asked == []
    load_profile(url, offline=True, now=NOW + timedelta(days=99))
    assert publisher.asked == []
    load_profile(url, now=NOW + timedelta(days=2))
    assert publisher.asked


def test_offline_opens_no_socket(
    gitchain: Gitchain, git_repo: Path, published: tuple[Publisher, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every connection forbidden, --offline shows the trust, exports it, verifies, and keeps what cannot be signed."""
    publisher, url = published
    assert (
        gitchain(
            "--trust", url, "init", "--no-hooks", "--tuf-root", str(publisher.initial), cwd=git_repo
        ).code
        == 0
    )

    def forbidden(*_: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", forbidden)
    monkeypatch.setattr(socket, "create_connection", forbidden)
    monkeypatch.setattr(socket, "getaddrinfo", forbidden)
    assert gitchain("--offline", "trust", "export", cwd=git_repo).code == 0
    assert gitchain("--offline", "--trust", url, "trust", "status", cwd=git_repo).code == 0
    assert gitchain("--offline", "--trust", "public", "trust", "status", cwd=git_repo).code == 0
    (git_repo / "m").write_text("m")
    done = gitchain("--offline", "attest", "train", "-p", "m", cwd=git_repo)
    assert done.code == 9, done.text
    assert "--offline" in done.err
    done = gitchain("--offline", "trust", "update", cwd=git_repo)
    assert done.code == 2


def test_never_fetched_and_offline(gitchain: Gitchain, published: tuple[Publisher, str]) -> None:
    """What is not here cannot be had offline: 4, and what to type. The public root comes with sigstore-python."""
    _, url = published
    for name in (url, "public-v2"):
        done = gitchain("--offline", "--trust", name, "trust", "export")
        assert done.code == 4, done.text
        assert "trust update" in done.err
    assert gitchain("--offline", "--trust", "public", "trust", "export").code == 0


def test_status_shows_age_keys_and_origin(gitchain: Gitchain, published: tuple[Publisher, str]) -> None:
    """trust status says where a trust came from, since when, until when, and names its keys."""
    publisher, url = published
    assert gitchain("--trust", url, "trust", "update", "--tuf-root", str(publisher.initial)).code == 0
    done = gitchain("--trust", url, "trust", "status", "--json")
    (source,) = done.json["sources"]
    assert (source["name"], source["from"]) == (url, url)
    assert datetime.fromisoformat(source["expires"]) == NOW + timedelta(days=30)
    assert datetime.fromisoformat(source["fetched"]) >= NOW
    assert {key["kind"] for key in source["keys"]} == {
        "log", "certificate log", "certificate authority", "timestamp authority",
    }  # fmt: skip
    assert source["digest"] in done.json["kept"]
    text = gitchain("--trust", url, "trust", "status").out
    assert "good until" in text
    assert "timestamp authority" in text


def test_rotation_keeps_the_old_root(
    gitchain: Gitchain, published: tuple[Publisher, str], tmp_path: Path
) -> None:
    """After a rotation the repository's root is trusted, and the former one is kept under its digest."""
    publisher, url = published
    assert gitchain("--trust", url, "trust", "update", "--tuf-root", str(publisher.initial)).code == 0
    before = load_profile(url).trust.digest
    publisher.publish(files(Instance.create(tmp_path / "next")))
    done = gitchain("--trust", url, "trust", "update", "--json")
    assert done.code == 0, done.text
    assert done.json["digest"] != before
    assert load_profile(f"sha256:{before}").trust.digest == before
    done = gitchain("--trust", "sha256:" + "0" * 64, "trust", "export")
    assert done.code == 4


def test_kept_root_that_was_changed(
    gitchain: Gitchain, published: tuple[Publisher, str], isolated: Path
) -> None:
    """A file under another digest than its name is not believed."""
    publisher, url = published
    assert gitchain("--trust", url, "trust", "update", "--tuf-root", str(publisher.initial)).code == 0
    (kept,) = (isolated / "trust/archive").glob("*.json")
    text = json.loads(kept.read_text())
    text["trustedRoot"]["tlogs"] = []
    kept.write_text(json.dumps(text))
    done = gitchain("--trust", f"sha256:{kept.stem}", "trust", "export")
    assert done.code == 4
    assert "changed" in done.err


def spoil_target(publisher: Publisher) -> None:
    for path in (publisher.directory / "targets").glob("*.trusted_root.json"):
        path.write_bytes(path.read_bytes() + b" ")


def roll_back(publisher: Publisher) -> None:
    publisher.timestamp.signed.version = 1
    publisher.snapshot.signed.version = publisher.targets.signed.version = 1
    publisher.write("timestamp", publisher.timestamp, "timestamp")


def expire(publisher: Publisher) -> None:
    publisher.timestamp.signed.expires = NOW - timedelta(days=1)
    publisher.publish(files_of(publisher))


def stranger(publisher: Publisher) -> None:
    publisher.signers["timestamp"] = CryptoSigner.generate_ecdsa()
    publisher.publish(files_of(publisher))


def garbage(publisher: Publisher) -> None:
    (publisher.directory / "timestamp.json").write_bytes(b"\0\1")


def no_root(publisher: Publisher) -> None:
    publisher.publish({"other.json": b"{}"})


def huge(publisher: Publisher) -> None:
    (publisher.directory / "timestamp.json").write_bytes(b" " * (9 << 20))


def files_of(publisher: Publisher) -> dict[str, bytes]:
    return {
        name: (publisher.directory / "targets" / f"{info.hashes['sha256']}.{name}").read_bytes()
        for name, info in publisher.targets.signed.targets.items()
    }


@pytest.mark.parametrize(
    "spoil", [roll_back, expire, stranger, garbage, no_root, huge], ids=lambda one: one.__name__
)
def test_a_repository_that_lies_changes_nothing(
    gitchain: Gitchain, published: tuple[Publisher, str], spoil: Callable[[Publisher], None]
) -> None:
    """Rolled back, expired, signed by a stranger, garbage, without a root, endless: an error, and the old trust stands."""
    publisher, url = published
    assert gitchain("--trust", url, "trust", "update", "--tuf-root", str(publisher.initial)).code == 0
    before = load_profile(url, offline=True).text
    publisher.publish(files_of(publisher))
    assert gitchain("--trust", url, "trust", "update").code == 0
    spoil(publisher)
    done = gitchain("--trust", url, "trust", "update")
    assert done.code in ({7} if spoil is huge else {4}), done.text
    assert "a bug" not in done.text
    assert load_profile(url, offline=True).text == before


def test_a_changed_target_is_refused(gitchain: Gitchain, published: tuple[Publisher, str]) -> None:
    """The bytes of the trusted root are those that the repository signed."""
    publisher, url = published
    spoil_target(publisher)
    done = gitchain("--trust", url, "trust", "update", "--tuf-root", str(publisher.initial))
    assert done.code == 4, done.text


def test_unreachable_while_still_good(published: tuple[Publisher, str], gitchain: Gitchain) -> None:
    """A day old and not expired: it is used where the repository cannot be asked; expired, it is not."""
    publisher, url = published
    assert gitchain("--trust", url, "trust", "update", "--tuf-root", str(publisher.initial)).code == 0
    garbled = publisher.directory / "timestamp.json"
    garbled.rename(garbled.with_name("away"))
    assert load_profile(url, now=NOW + timedelta(days=2)).text
    from gitchain.errors import TransportError

    with pytest.raises(TransportError):
        load_profile(url, now=NOW + timedelta(days=31))


@pytest.mark.parametrize("url", ["http://example.com", "http://127.0.0.1.example.com/x", "http://[::1"])
def test_trust_in_the_clear_is_refused(gitchain: Gitchain, url: str) -> None:
    """Plain http off this machine is no way to get trust."""
    done = gitchain("--trust", url, "trust", "export")
    assert done.code == 4
    assert "must use https" in done.err


def test_public_writes_to_the_log_that_its_signing_config_names(
    private: Instance, published: tuple[Publisher, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`public` takes the usual signing config and `public-v2` the one of Rekor v2: two targets of one repository."""
    publisher, url = published
    v1 = json.loads(files(private)["signing_config.v0.2.json"])
    v1["rekorTlogUrls"][0]["majorApiVersion"] = 1
    targets = files(private)
    targets[tuf.SIGNING_TARGET_V2] = targets[tuf.SIGNING_TARGET]
    targets[tuf.SIGNING_TARGET] = json.dumps(v1).encode()
    publisher.publish(targets)
    monkeypatch.setattr(tuf, "PUBLIC_URL", url)
    tuf.Repository.of("public").pin(publisher.initial.read_bytes())  # type: ignore[union-attr]
    assert load_profile("public").services.log_client.version == 1
    assert load_profile("public-v2").services.log_client.version == 2
