"""Settings, layouts and trust that change under a running server: used as a whole, or not at all; and what outlives it."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, chdir
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from gitchain.admit.admission import Admission
from gitchain.admit.app import Server
from gitchain.admit.config import read_settings
from gitchain.admit.evidence import SourceReader
from gitchain.admit.layout_evaluator import LayoutEvaluator
from gitchain.admit.memory import FILE, recall
from gitchain.admit.metrics import Metrics
from gitchain.admit.reload import Reload
from gitchain.admit.verdict_caches import VerdictCaches
from gitchain.errors import GitchainError, LayoutError, TrustError
from tests.support.admission import WHO, AdmissionFiles, Clock, codes, oci, pod, review, serving
from tests.support.manual_admission import Heard


@dataclass
class Volume:
    """A directory as Kubernetes mounts it: links to `..data`, which one rename makes lead elsewhere."""

    path: Path
    number: int = 0

    def put(self, **files: str | bytes) -> None:
        """Replace everything in one step."""
        self.number += 1
        fresh = self.path / f"..{self.number}"
        fresh.mkdir()
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            (fresh / name.replace("_", ".")).write_bytes(data)
        link = self.path / "..data_tmp"
        link.symlink_to(fresh.name)
        link.replace(self.path / "..data")
        for name in files:
            entry = self.path / name.replace("_", ".")
            if not entry.is_symlink():
                entry.symlink_to(Path("..data") / entry.name)
        shutil.rmtree(self.path / f"..{self.number - 1}", ignore_errors=True)

    @property
    def settings(self) -> Path:
        return self.path / "serve.yaml"


@dataclass
class Policy:
    """Everything in one volume: the settings, a layout signed by a name, the trust."""

    world: AdmissionFiles
    volume: Volume
    issuer: str

    def text(self, *rules: str, signer: str = WHO, **more: Any) -> str:
        extra = "".join(f"    {key}: {value}\n" for key, value in more.items())
        return (
            "schema: https://gitchain.dev/serve/v1\nlayouts:\n  credit:\n    layout: layout.json\n"
            f'    signers: [{{issuer: "{self.issuer}", subject: {signer}}}]\n'
            f"    trust: trust.json\n    repository: {self.world.repository}\n{extra}"
            "rules:\n" + "".join(f"  - {{{rule}}}\n" for rule in rules)
        )

    def signed(self, version: int, signer: str = WHO) -> bytes:
        """Return the layout of the world, signed by somebody with a version."""
        from gitchain.cli.main import run

        path = self.world.repository / ".gitchain/layout.yaml"
        text = path.read_text().splitlines()
        text[2] = f"version: {version}"
        path.write_text("\n".join(text) + "\n")
        with chdir(self.world.repository):
            assert run(["-q", "layout", "sign", "--no-lint", "--as", signer]) == 0
        return (self.world.repository / ".gitchain/layout.sigstore.json").read_bytes()

    def put(self, settings: str, layout: bytes, trust: bytes | None = None) -> None:
        own = (self.world.top / "trust.json").read_bytes()
        self.volume.put(serve_yaml=settings, layout_json=layout, trust_json=trust or own)


PROD = "namespaces: [prod], layout: credit"
WARN = "namespaces: [prod], layout: credit, mode: warn"
OTHER = "namespaces: [other], layout: credit"


@pytest.fixture
def policy(models: AdmissionFiles, tmp_path: Path, isolated: Path) -> Policy:
    """A copy of the world, and a volume with settings for it."""
    shutil.copytree(models.top, tmp_path / "copy", symlinks=True)
    shutil.copytree(models.top / "home", isolated)
    world = AdmissionFiles(tmp_path / "copy")
    (tmp_path / "volume").mkdir()
    found = Policy(world, Volume(tmp_path / "volume"), models.settings.sources["credit"].signers[0].issuer)
    found.put(found.text(PROD), world.settings.sources["credit"].layout.read_bytes())
    return found


@dataclass
class Running:
    """A server without its sockets: what answers, and what reloads."""

    server: Server
    reload: Reload
    clock: Clock
    tasks: list[asyncio.Task[None]]

    async def reason(self, model: str = "good", namespace: str = "prod") -> str:
        body = json.dumps(review(pod(oci(model)), namespace=namespace)).encode()
        found = await self.server.admission.decide(body)
        return found.reason if found.reason != "denied" else ",".join(sorted(codes(found)))

    async def refresh(self) -> None:
        for cache in self.server.admission.caches.values():
            await cache.refresh()


@asynccontextmanager
async def running(policy: Policy) -> AsyncIterator[Running]:
    clock = Clock()
    caches = VerdictCaches(clock)
    settings = read_settings(policy.volume.settings)
    metrics = Metrics(dict, clock)
    server = Server(Admission(settings, caches.make(settings)), metrics, clock)
    tasks: list[asyncio.Task[None]] = []

    def start(chore: Any) -> asyncio.Task[None]:
        tasks.append(asyncio.create_task(chore))
        return tasks[-1]

    reload = Reload(server, caches, start=start, admission=Admission, clock=clock)
    reload._use(server.admission)
    found = Running(server, reload, clock, tasks)
    await found.refresh()
    try:
        yield found
    finally:
        for task in tasks:
            task.cancel()
        caches.close()


def during(policy: Policy, test: Callable[[Running], Awaitable[None]]) -> None:
    async def main() -> None:
        async with running(policy) as one:
            await test(one)

    asyncio.run(main())


def test_reload_uses_new_rules_and_keeps_the_evidence(policy: Policy, heard: Heard) -> None:
    """What is not read again is not read again; one line says what is in use."""
    layout = (policy.volume.path / "layout.json").read_bytes()

    async def test(one: Running) -> None:
        assert await one.reason("nosuch") == "GC-E0201"
        assert await one.reason(namespace="other") == "GC-A0104"
        cache = one.server.admission.caches["credit"]
        policy.put(policy.text(WARN, OTHER), layout)
        heard.records.clear()
        for _ in range(3):
            await one.reload.look()
        assert await one.reason("nosuch") == "warned"
        assert await one.reason(namespace="other") == "verified"
        assert one.server.admission.caches["credit"] is cache
        (line,) = [record for record in heard.records if "settings" in record.msg]
        assert line.__dict__["facts"]["read"] == []
        assert line.__dict__["facts"]["rules"] == 2

    during(policy, test)


BROKEN: dict[str, Callable[[str], str]] = {
    "no YAML": lambda text: text + "x: [",
    "half of it": lambda text: text[: len(text) // 2],
    "empty": lambda text: "",
    "NUL in a path": lambda text: text.replace("layout: layout.json", 'layout: "a\\0b"'),
    "unknown field": lambda text: text + "more: 1\n",
    "another schema": lambda text: text.replace("serve/v1", "serve/v2"),
    "a rule for an unknown layout": lambda text: text.replace("layout: credit,", "layout: other,"),
    "a layout that is not there": lambda text: text.replace("layout.json", "none.json"),
    "a trust that is not there": lambda text: text.replace("trust.json", "none.json"),
    "a repository that is not there": lambda text: text.replace("repository: ", "repository: /none"),
    "another signer": lambda text: text.replace(WHO, "eve@example.com"),
    "a version that is not there": lambda text: text.replace("rules:", "    minimumVersion: 4\nrules:"),
    "a second layout that is not there": lambda text: text.replace(
        "rules:", text[text.index("  credit:") : text.index("rules:")].replace("credit", "new") + "rules:"
    ).replace("layout: layout.json", "layout: none.json", 1),
    "connections": lambda text: text + "connections: 100\n",
}


@pytest.mark.parametrize("change", BROKEN)
def test_reload_refuses_a_whole_file(policy: Policy, heard: Heard, change: str) -> None:
    """The old rules go on, one line says why, and the right file is used as soon as it is there."""
    layout = (policy.volume.path / "layout.json").read_bytes()

    async def test(one: Running) -> None:
        before = one.server.admission
        policy.put(BROKEN[change](policy.text(WARN, OTHER).replace("credit, mode", "credit, mode")), layout)
        heard.records.clear()
        for _ in range(5):
            await one.reload.look()
        assert one.server.admission is before
        assert await one.reason("nosuch") == "GC-E0201"
        assert await one.reason() == "verified"
        lines = [record for record in heard.records if "not used" in record.msg]
        assert len(lines) == 1
        assert one.server.unused
        assert one.server.unready() == []
        assert "gitchain_settings_refused 1.0" in one.server.metrics.render().decode()
        policy.put(policy.text(PROD), layout)
        await one.reload.look()
        assert (one.server.unused, one.server.admission) == ("", before)
        policy.put(policy.text(WARN, OTHER), layout)
        await one.reload.look()
        assert await one.reason("nosuch") == "warned"
        assert "gitchain_settings_refused 0.0" in one.server.metrics.render().decode()

    during(policy, test)


def test_reload_of_a_file_that_is_gone(policy: Policy) -> None:
    """Nothing opens and nothing closes; it is said, and the same file again is the end of it."""
    layout = (policy.volume.path / "layout.json").read_bytes()

    async def test(one: Running) -> None:
        policy.volume.settings.unlink()
        await one.reload.look()
        assert "cannot read the settings" in one.server.unused
        assert await one.reason() == "verified"
        policy.put(policy.text(PROD), layout)
        await one.reload.look()
        assert one.server.unused == ""

    during(policy, test)


def test_reload_tries_again_what_was_not_there(policy: Policy) -> None:
    """New settings whose layout comes later are used when it is there, after `times.refresh` seconds, without a change."""
    layout = (policy.volume.path / "layout.json").read_bytes()

    async def test(one: Running) -> None:
        missing = policy.volume.path.parent / "later.json"
        policy.put(policy.text(WARN).replace("layout.json", str(missing)), layout)
        await one.reload.look()
        assert await one.reason("nosuch") == "GC-E0201"
        missing.write_bytes(layout)
        await one.reload.look()
        assert await one.reason("nosuch") == "GC-E0201"
        one.clock.move(seconds=10)
        await one.reload.look()
        assert await one.reason("nosuch") == "warned"

    during(policy, test)


def test_reload_of_settings_and_layout_in_one_step(policy: Policy) -> None:
    """New signers and a layout that only they signed: old settings that meet the new layout first are not an end."""
    signed = policy.signed(4, "mallory@example.com")

    async def test(one: Running) -> None:
        policy.put(policy.text(PROD, signer="mallory@example.com"), signed)
        await one.refresh()  # before the settings are looked at
        assert await one.reason() == "verified"
        await one.reload.look()
        assert await one.reason() == "verified"
        layout = one.server.admission.caches["credit"].evaluator.layout
        assert layout is not None
        assert layout.version == 4
        assert [task.cancelled() or task.cancelling() > 0 for task in one.tasks] == [True, False]

    during(policy, test)


def test_reload_does_not_excuse_a_foreign_layout(policy: Policy) -> None:
    """Under settings that are in use or were refused, a layout by somebody else ends everything at once, as ever."""
    foreign = policy.signed(4, "mallory@example.com")

    async def test(one: Running) -> None:
        policy.put(policy.text(PROD), foreign)
        await one.reload.look()
        await one.refresh()
        assert await one.reason() == "GC-A0301"
        policy.put(policy.text(PROD, signer="eve@example.com"), foreign)
        await one.reload.look()
        await one.refresh()
        assert await one.reason() == "GC-A0301"
        assert one.server.unready() == []

    during(policy, test)


def test_reload_under_load(policy: Policy, tmp_path: Path) -> None:
    """A real server, whose volume changes 12 times: no good pod is denied, and no bad one admitted by a mixed state."""
    layouts = {number: policy.signed(number) for number in (5, 6)}
    policy.put(policy.text(PROD) + "times: {refresh: 1}\n", layouts[5])
    (tmp_path / "tls").mkdir()
    with serving(read_settings(policy.volume.settings), tmp_path / "tls") as (service, client):
        for number in range(12):
            rules = (PROD, OTHER) if number % 2 else (PROD,)
            settings = policy.text(*rules, minimumVersion=5) + "times: {refresh: 1}\n"
            policy.put(settings, layouts[5 if number < 6 else 6])
            digest = read_settings(policy.volume.settings).digest
            asked = 0
            while service.server.admission.settings.digest != digest or asked < 5:
                asked += 1
                assert asked < 3000
                for model, allowed in (("good", True), ("nosuch", False)):
                    answer = client.post("/validate", review(pod(oci(model))))[1]["response"]
                    assert answer["allowed"] is allowed, answer
        found = client.call("GET", "/readyz")[1]["settings"]
        assert found == {"inUse": f"sha256:{digest}"}
        assert 'gitchain_settings_reloads_total{result="used"}' in client.call("GET", "/metrics")[1]


def test_memory_outlives_the_process(policy: Policy, isolated: Path) -> None:
    """A new process accepts no older layout, and no other one of the same version; a newer one, and the same."""
    reader = SourceReader(read_settings(policy.volume.settings).sources["credit"])
    now = Clock()()
    first = reader.open(now).accepted.signed
    assert recall("credit/credit") == (3, first.digest)
    older, newer = policy.signed(6), policy.signed(7)
    (isolated / "pins.json").unlink()  # a pin would say the same
    policy.put(policy.text(PROD), newer)
    for _ in range(2):
        assert SourceReader(reader.source).open(now).accepted.signed.layout.version == 7
    with pytest.raises(LayoutError, match="another one of the same version"):
        SourceReader(reader.source).check_version(
            replace(first, layout=replace(first.layout, version=7), digest="f" * 64)
        )
    policy.put(policy.text(PROD), older)
    with pytest.raises(LayoutError, match="older than the one accepted before"):
        SourceReader(reader.source).open(now)
    assert SourceReader(reader.source, is_remembering=False).open(now)


DAMAGED = [b"", b"{", b"[]", b'{"schema": "x"}', b'{"schema": "https://gitchain.dev/accepted/v1"}']
ENTRY = '{"schema": "https://gitchain.dev/accepted/v1", "layouts": {"credit/credit": %s}}'
DAMAGED += [
    (ENTRY % one).encode()
    for one in ("1", '{"version": "3"}', '{"version": true, "digest": ""}', '{"version": 3}')
]


@pytest.mark.parametrize("data", DAMAGED, ids=range(len(DAMAGED)))
def test_memory_that_is_damaged_decides_nothing(policy: Policy, isolated: Path, data: bytes) -> None:
    """What was accepted before is not known: that is an error of trust, and no new beginning."""
    (isolated / FILE).write_bytes(data)
    evaluator = LayoutEvaluator(
        "credit",
        SourceReader(read_settings(policy.volume.settings).sources["credit"]),
        read_settings(policy.volume.settings).times,
    )
    evaluator.refresh(Clock()())
    assert isinstance(evaluator.error, TrustError)
    assert evaluator.opened is None


def test_memory_that_takes_nothing_is_an_answer(policy: Policy, isolated: Path) -> None:
    """The reader goes on, and its verifier says why the next process would not know."""
    (isolated / "pins.lock").unlink(missing_ok=True)
    (isolated / "pins.lock").mkdir()
    found = SourceReader(read_settings(policy.volume.settings).sources["credit"]).open(Clock()())
    assert isinstance(found.forgotten, GitchainError)
