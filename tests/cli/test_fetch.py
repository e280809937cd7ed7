"""fetch: what appears at the destination was verified, whole, and is read-only; otherwise nothing appears."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from gitchain.cli.output import NOTICE
from gitchain.errors import ExitCode
from tests.support.oci_registry import SmallRegistry, digest, small_registry

Gitchain = Callable[..., Any]


@pytest.fixture
def server() -> Iterator[SmallRegistry]:
    with small_registry() as found:
        yield found


@pytest.fixture
def fetch(gitchain: Gitchain, tiny: Path, tmp_path: Path) -> Gitchain:
    """Return a function that fetches as a node does: outside of the repository, with a directory of evidence."""
    issuer = gitchain("local", "status", "--json", cwd=tiny).json["issuer"]
    assert gitchain("attest", "train", "-m", "in.txt", "-p", "model.txt", cwd=tiny).code == 0
    assert gitchain("bundle", "push", str(tmp_path / "evidence"), cwd=tiny).code == 0
    policy = ["--layout", str(tiny / ".gitchain/layout.sigstore.json"), "--signer", "ada@example.com"]
    policy += ["--issuer", issuer, "--trust", "local", "--evidence", str(tmp_path / "evidence")]

    def call(*args: str) -> Any:
        return gitchain("fetch", *args, *policy, cwd=tmp_path)

    return call


def layered(server: SmallRegistry, layers: list[dict[str, Any]]) -> bytes:
    return json.dumps({"schemaVersion": 2, "config": {}, "layers": layers}).encode()


def layer(data: bytes, title: str | None, **more: Any) -> dict[str, Any]:
    notes = {} if title is None else {"annotations": {"org.opencontainers.image.title": title}}
    return (
        {"mediaType": "application/x", "digest": f"sha256:{digest(data)}", "size": len(data)} | notes | more
    )


@pytest.mark.parametrize("prefix", ["", "file://", "gitchain+file://"])
def test_a_file_appears_read_only(fetch: Gitchain, tiny: Path, tmp_path: Path, prefix: str) -> None:
    to = tmp_path / "dest"
    assert fetch(f"{prefix}{tiny / 'model.txt'}", str(to)).code == 0
    (found,) = to.iterdir()
    assert (found.name, found.read_text(), found.stat().st_mode & 0o777) == ("model.txt", "model", 0o444)


def test_what_does_not_pass_never_appears(fetch: Gitchain, tiny: Path, tmp_path: Path) -> None:
    """Other bytes, another digest than the one that was asked for: the destination stays empty."""
    to = tmp_path / "dest"
    real = hashlib.sha256(b"model").hexdigest()
    assert fetch(f"{tiny / 'model.txt'}@sha256:{'0' * 64}", str(to)).code == ExitCode.FAILED
    assert list(to.iterdir()) == []
    (tiny / "model.txt").write_text("modem")
    assert fetch(f"file://{tiny / 'model.txt'}", str(to)).code == ExitCode.NOTHING
    assert fetch(f"{tiny / 'model.txt'}@sha256:{real}", str(to)).code == ExitCode.FAILED
    assert list(to.iterdir()) == []
    (tiny / "model.txt").write_text("model")
    assert fetch(f"{tiny / 'model.txt'}@sha256:{real}", str(to)).code == 0


def test_fetch_tells_what_was_not_counted_and_whose_trust_it_is(
    fetch: Gitchain, tiny: Path, tmp_path: Path
) -> None:
    """Junk among the evidence is in the document and on the terminal, beside the notice of an embedded instance."""
    (tmp_path / "evidence" / "junk.sigstore.json").write_text("{}")
    found = fetch(str(tiny / "model.txt"), str(tmp_path / "dest"), "--json")
    assert (found.code, found.json["trust"]["local"]) == (0, True)
    (refused,) = found.json["refused"]
    assert f"not counted: evidence: {refused['reason']}" in found.err
    assert NOTICE in found.err


def test_a_destination_that_is_not_empty_is_refused(fetch: Gitchain, tiny: Path, tmp_path: Path) -> None:
    """Verified and foreign files never lie side by side; what a killed try left is cleared away."""
    to = tmp_path / "dest"
    (to / ".gitchain-partial-0123456789abcdef" / "sub").mkdir(parents=True)
    (to / "foreign").write_text("x")
    assert fetch(str(tiny / "model.txt"), str(to)).code == ExitCode.USAGE
    (to / "foreign").unlink()
    assert fetch(str(tiny / "model.txt"), str(to)).code == 0
    assert [one.name for one in to.iterdir()] == ["model.txt"]


def test_fetch_lets_a_directory_appear_all_at_once(
    gitchain: Gitchain, process: Gitchain, tiny: Path, tmp_path: Path
) -> None:
    """Whoever looks at the destination meanwhile sees nothing or everything; its mode stays."""
    layout = tiny / ".gitchain/layout.yaml"
    layout.write_text(layout.read_text().replace("model.txt", "model").replace("version: 1", "version: 2"))
    (tiny / "model").mkdir()
    for number in range(300):
        (tiny / "model" / f"{number}").write_text(f"{number}")
    assert gitchain("layout", "sign", "--no-lint", cwd=tiny).code == 0
    assert gitchain("attest", "train", "-m", "in.txt", "-p", "model", cwd=tiny).code == 0
    to = tmp_path / "dest"
    to.mkdir(mode=0o750)
    seen: set[int] = set()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            with suppress(OSError):
                seen.add(sum(1 for _ in to.iterdir()))

    looker = threading.Thread(target=look)
    looker.start()
    found = process("fetch", "model", str(to), cwd=tiny)
    done.set()
    looker.join()
    assert found.code == 0, found.err
    assert seen <= {0, 300}
    assert len(list(to.iterdir())) == 300
    assert to.stat().st_mode & 0o777 == 0o750
    assert [one for one in tmp_path.iterdir() if one.name.startswith(".gitchain-partial")] == []


@pytest.mark.parametrize(
    "source", ["s3://bucket/model", "gitchain+hf://org/model", "https://example.com/m", "file://rel", ""]
)
def test_what_cannot_be_fetched_is_said(fetch: Gitchain, tmp_path: Path, source: str) -> None:
    assert fetch(source, str(tmp_path / "dest")).code == ExitCode.USAGE


def test_an_artifact_of_files(
    gitchain: Gitchain, fetch: Gitchain, tiny: Path, tmp_path: Path, server: SmallRegistry
) -> None:
    """The manifest is verified by the layout, the layers by the manifest; a lie about one keeps all away."""
    shards = {"config.json": b"{}", "weights/one.bin": b"1" * 70_000, "weights/two.bin": b"2" * 70_000}
    server.blobs |= {digest(data): data for data in shards.values()}
    raw = layered(server, [layer(data, title) for title, data in shards.items()])
    (tiny / "model.txt").write_bytes(raw)
    assert gitchain("attest", "train", "-m", "in.txt", "-p", "model.txt", cwd=tiny).code == 0
    place = f"oci://{server.host}/team/model@sha256:{server.put(raw, 'v1')}"
    to = tmp_path / "dest"
    assert fetch(f"gitchain+{place}", str(to)).code == ExitCode.NOTHING
    assert gitchain("bundle", "push", place, cwd=tiny).code == 0
    server.blobs[digest(b"2" * 70_000)] = b"2" * 69_999 + b"3"
    assert fetch(place, str(to)).code == ExitCode.FAILED
    assert list(to.iterdir()) == []
    server.blobs[digest(b"2" * 70_000)] = b"2" * 70_000
    assert fetch(place, str(to)).code == 0
    found = {str(path.relative_to(to)): path.read_bytes() for path in to.rglob("*") if path.is_file()}
    assert found == shards
    assert fetch(f"oci://{server.host}/team/model:v1", str(tmp_path / "other")).code == ExitCode.USAGE


@pytest.mark.parametrize(
    "layers",
    [
        [],
        [layer(b"x", None)],
        [layer(b"x", "../x")],
        [layer(b"x", "/etc/x")],
        [layer(b"x", "a"), layer(b"x", "a")],
        [layer(b"x", "a", mediaType="application/vnd.oci.image.layer.v1.tar+gzip")],
    ],
    ids=["none", "no title", "up", "absolute", "twice", "archive"],
)
def test_layers_that_are_no_files_are_refused(
    gitchain: Gitchain, fetch: Gitchain, tiny: Path, tmp_path: Path, server: SmallRegistry, layers: list[Any]
) -> None:
    """Even where the layout passes the manifest: no name leads out of the destination, no archive is unpacked."""
    server.blobs[digest(b"x")] = b"x"
    raw = layered(server, layers)
    (tiny / "model.txt").write_bytes(raw)
    assert gitchain("attest", "train", "-m", "in.txt", "-p", "model.txt", cwd=tiny).code == 0
    place = f"oci://{server.host}/team/model@sha256:{server.put(raw)}"
    assert gitchain("bundle", "push", place, cwd=tiny).code == 0
    done = fetch(place, str(tmp_path / "dest"))
    assert (done.code, done.err.count("error:")) == (ExitCode.FAILED, 1)
    assert list((tmp_path / "dest").iterdir()) == []


def test_the_kserve_manifest_calls_what_is_there() -> None:
    """Its command is a valid call of fetch once KServe has added the URI and the directory, on an image by digest."""
    import yaml

    from gitchain.cli.fetch import command

    path = Path(__file__).parents[2] / "deploy/kserve/clusterstoragecontainer.yaml"
    spec = yaml.safe_load(path.read_text(encoding="utf-8"))["spec"]
    words = spec["container"]["command"]
    assert words[:2] == ["gitchain", "fetch"]
    made = command.make_context("fetch", [*words[2:], "gitchain+oci://h/n@sha256:" + "0" * 64, "/mnt/models"])
    assert (made.params["to"], made.params["subjects"]) == (Path("/mnt/models"), ("owner@example.com",))
    assert "@sha256:" in spec["container"]["image"]
    assert {one["prefix"] for one in spec["supportedUriFormats"]} == {"gitchain+oci://", "gitchain+file://"}
