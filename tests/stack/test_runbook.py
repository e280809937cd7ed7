"""docs/runbook.md, followed word for word: on a real API server where it is about one, and with real repositories.

There are no nodes: what a kubelet would start is started here, with the files that it would mount, and the Service leads
to it by name. What is not run: `podman`, as there is no engine here, and waiting for a rollout.
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.stack import chart, ground, page, pods
from tests.stack.kube import Cluster, until
from tests.support.admission import WHO, digest
from tests.support.prepared_repository import GIT_IDENTITY

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/runbook.md").read_text(encoding="utf-8")
TRIAL = "From nothing to a namespace that admits only verified models"
SKIPPED = ("podman ", "kubectl -n gitchain-system rollout status ")
HOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"


@dataclass
class Reader:
    """Somebody with the page, a shell, and the tools in its PATH."""

    base: ground.Ground
    folder: Path
    environ: dict[str, str]
    ran: list[str] = field(default_factory=list)

    @property
    def change(self) -> dict[str, str]:
        """What the page tells to put one's own in place of."""
        return {
            "https://git.example.com/team/model.git": f"file://{self.base.top}/repo",
            "https://git.example.com/team/restored.git": f"file://{self.base.top}/restored.git",
            "https://issuer.example.com": self.base.issuer,
            "risk@example.com": WHO,
            "1" * 64: digest("good"),
        }

    def follow(self, section: str) -> Iterator[page.Step]:
        """Do each step and yield it; what cannot be done here is yielded too, undone."""
        for step in page.steps(PAGE, section, self.change):
            if step.text.startswith("helm "):
                yield step  # before it is done as well: something may have to be put back
            if not step.text.startswith(SKIPPED):
                assert page.follow(step, self.folder, self.environ) == ""
                self.ran.append(step.text)
            yield step


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    top = tmp_path_factory.mktemp("runbook")
    own = {**GIT_IDENTITY, "HOME": str(top), "GITCHAIN_HOME": str(top / "home"), "GIT_CONFIG_NOSYSTEM": "1"}
    with pytest.MonkeyPatch.context() as patch:
        for key, value in own.items():
            patch.setenv(key, value)
        (top / "work").mkdir()
        base = ground.make(top / "work")
    (top / "work/model").symlink_to("repo")
    (top / "work/deploy").symlink_to(ROOT / "deploy")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return Reader(base, top / "work", {**os.environ, **own, "PATH": path, "TOKEN": "a-token"})


@dataclass
class Nodes:
    """What runs the chart's pods in a cluster without nodes, and leads its Service there."""

    cluster: Cluster
    folder: Path
    stack: ExitStack
    number: int = 0
    service: dict[str, Any] = field(default_factory=dict)
    pod: pods.Pod | None = None

    def get(self, kind: str, name: str) -> dict[str, Any]:
        done = self.cluster.kubectl("get", kind, name, "-n", chart.NAMESPACE, "-o", "json")
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    def before(self) -> None:
        """Put the Service back that helm knows."""
        if self.service:
            self._replace(self.service)

    def after(self) -> None:
        """Start what the Deployment says now, and let the API server ask it."""
        self.stack.close()
        self.number += 1
        spec = self.get("deployment", chart.NAME)["spec"]["template"]["spec"]
        account = self.folder / "account"
        account.mkdir(exist_ok=True)
        token = self.cluster.kubectl("create", "token", spec["serviceAccountName"], "-n", chart.NAMESPACE)
        (account / "token").write_text(token.stdout)
        (account / "ca.crt").write_bytes(self.cluster.authority.pem)
        files = pods.mounted(spec, self.get)
        started = pods.running(
            spec, files, self.folder / f"pod-{self.number}", account=account, api=self.cluster.port
        )
        self.pod = self.stack.enter_context(started)
        assert until(lambda: str(self.probe()[0]), "200") == "200", (self.probe(), self.pod.log.read_text())
        self.service = self.get("service", chart.NAME)
        outside = {"type": "ExternalName", "externalName": "localhost"}
        self._replace({**self.service, "spec": outside})
        self._aim(self.pod.webhook)

    def probe(self) -> tuple[int, str]:
        assert self.pod is not None
        return self.pod.probe("/readyz")

    def _replace(self, service: dict[str, Any]) -> None:
        client, where = self.cluster.client(), f"/api/v1/namespaces/{chart.NAMESPACE}/services"
        client.call("DELETE", f"{where}/{chart.NAME}")
        fresh = copy.deepcopy(service)
        for key in ("resourceVersion", "uid", "creationTimestamp"):
            fresh["metadata"].pop(key, None)
        fresh.pop("status", None)
        reply = client.call("POST", where, fresh)
        assert reply.status == 201, reply.message

    def _aim(self, port: int) -> None:
        """Change the port of the webhook alone: the name of the Service is what its certificate is for."""
        client = self.cluster.client()
        hook = client.call("GET", f"{HOOKS}/{chart.NAME}").document
        for one in hook["webhooks"]:
            one["clientConfig"]["service"]["port"] = port
        assert client.call("PUT", f"{HOOKS}/{chart.NAME}", hook).status == 200
        labels = {"gitchain.dev/admission": "enabled"}
        probe = {"kind": "Namespace", "metadata": {"name": "ml-probe", "labels": labels}}
        client.call("POST", "/api/v1/namespaces", probe)
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe"}}
        pod["spec"] = {"containers": [{"name": "c", "image": "i"}]}

        def asked() -> str:
            reply = client.call("POST", "/api/v1/namespaces/ml-probe/pods?dryRun=All", pod)
            return str(
                "gitchain: GC-" in reply.message or any("gitchain: GC-" in one for one in reply.warnings)
            )

        assert until(asked, "True") == "True"


@pytest.fixture(scope="module")
def nodes(
    own_cluster: Cluster, helm: Path, reader: Reader, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Nodes]:
    """The trial, followed to its end."""
    cluster = own_cluster
    tools = tmp_path_factory.mktemp("tools")
    (tools / "helm").symlink_to(helm)
    (tools / "kubectl").symlink_to(cluster.binary["kubectl"])
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [
            {
                "name": "test",
                "cluster": {
                    "server": f"https://127.0.0.1:{cluster.port}",
                    "certificate-authority": str(cluster.folder / "ca.crt"),
                },
            }
        ],
        "users": [{"name": "admin", "user": {"token": cluster.tokens["admin"]}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
    }
    (tools / "config").write_text(json.dumps(config))
    reader.environ["KUBECONFIG"] = str(tools / "config")
    reader.environ["PATH"] = f"{tools}:{reader.environ['PATH']}"
    with ExitStack() as stack:
        found = Nodes(cluster, tmp_path_factory.mktemp("nodes"), stack)
        seen: set[str] = set()
        for step in reader.follow(TRIAL):
            if step.text.startswith("helm "):
                (found.after if step.text in seen else found.before)()
                seen.add(step.text)
        yield found


def test_the_trial_ends_with_a_namespace_that_admits_only_verified_models(
    reader: Reader, nodes: Nodes
) -> None:
    """Every command came to what the page shows; and all but those that need nodes or an engine were run."""
    assert len([one for one in reader.ran if one.startswith("kubectl")]) >= 10
    assert sum(one.startswith("helm") for one in reader.ran) == 2
    found = nodes.cluster.kubectl("-n", "ml-trial", "get", "pods", "-o", "name").stdout.split()
    assert found == ["pod/scoring"]


@pytest.mark.parametrize("section", ["New keys, certificates and log shards of Sigstore", "Several teams"])
def test_the_other_sections_about_the_cluster(reader: Reader, nodes: Nodes, section: str) -> None:
    del nodes
    before = len(reader.ran)
    for _ in reader.follow(section):
        pass
    assert len(reader.ran) > before


def test_a_backup_is_restored_and_an_old_one_is_noticed(reader: Reader, tmp_path: Path) -> None:
    """The mirror has the attestations; whoever saw more than an old one holds is told so."""
    top = reader.base.top
    subprocess.run(["git", "init", "-q", "--bare", top / "restored.git"], check=True)
    for _ in reader.follow("Backup and restore"):
        pass
    ref = "refs/gitchain/attestations"
    tips = [
        subprocess.run(
            ["git", "ls-remote", place, ref], check=True, capture_output=True, text=True
        ).stdout.split()[0]
        for place in (str(top / "repo"), str(top / "backup.git"), str(top / "restored.git"))
    ]
    assert len(set(tips)) == 1
    source = f"git+file://{top}/restored.git"
    environ = {**reader.environ, "GITCHAIN_HOME": str(tmp_path / "home")}
    command = [
        "gitchain",
        "--trust",
        f"{top}/trust.json",
        "verify",
        f"sha256:{digest('good')}",
        "--evidence",
        source,
    ]
    command += [
        "--layout",
        str(top / "credit.sigstore.json"),
        "--signer",
        WHO,
        "--issuer",
        reader.base.issuer,
    ]

    def verified() -> int:
        return subprocess.run(command, cwd=tmp_path, env=environ, check=False, capture_output=True).returncode

    assert verified() == 0
    subprocess.run(["git", "-C", top / "restored.git", "update-ref", ref, f"{ref}~1"], check=True)
    assert verified() == 4


def test_what_is_carried_in_verifies_without_a_network(reader: Reader) -> None:
    for _ in reader.follow("Clusters without a network"):
        pass
    assert any("--offline" in one for one in reader.ran)


def test_every_command_of_the_page_is_in_a_section_that_is_followed() -> None:
    """Except in `What to do`: those open the gate, or are for a fault that is there."""
    followed = {TRIAL, "New keys, certificates and log shards of Sigstore", "Several teams"}
    followed |= {"Backup and restore", "Clusters without a network"}
    for section in PAGE.split("\n## ")[1:]:
        name, _, text = section.partition("\n")
        assert "```console" not in text or name in followed | {"What to do"}, name
