"""`gitchain admit -f` gives the answers of a server that runs, over a corpus of objects; and one clear error for the rest."""

from __future__ import annotations

import copy
import io
import json
import os
import subprocess
import sys
from base64 import b64decode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from gitchain.admit.config import read_settings
from gitchain.admit.denial_reasons import printable
from gitchain.admit.manifests import MAX_DEPTH, MAX_VALUES, read_manifests
from gitchain.cli.main import run
from gitchain.errors import ExitCode, GitchainError, LimitError, UsageError
from tests.support.admission import (
    REGISTRY,
    SETTINGS,
    AdmissionFiles,
    Client,
    digest,
    kserve,
    oci,
    pod,
    pod_spec,
    review,
    serving,
    templated,
)

ROOT = Path(__file__).parents[2]
GUARD = f"""\
  - namespaces: [guarded]
    layout: credit
    strict: false
    guard: {{image: "{REGISTRY}/gitchain@sha256:{"a" * 64}", arguments: ["--layout=/policy/layout.json"]}}
"""
PINNED = {"gitchain.dev/model.data": f"sha256:{digest('good')}"}
CLAIM = {"name": "data", "persistentVolumeClaim": {"claimName": "m"}}


def mounting(**annotations: str) -> dict[str, Any]:
    """Return a pod whose model is on a volume."""
    found = pod(annotations=annotations, volumes=[CLAIM])
    found["spec"]["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    return found


def corpus() -> Iterator[dict[str, Any]]:
    """Yield objects of every kind, in every mode, with models that pass and models that do not."""
    texts = [oci(model) for model in ("good", "nosuch", "revoked", "unapproved")]
    texts += [f"oci://{REGISTRY}/good:v1", "s3://bucket/model", f"s3://b/m@sha256:{digest('good')}"]
    texts += ["--port=80", oci("good").upper(), f"\u043eci://{REGISTRY}/m@sha256:{digest('good')}"]
    makers: list[Callable[[str], dict[str, Any]]] = [
        pod,
        lambda text: pod(initContainers=[{"name": "x", "env": [{"name": "STORAGE_URI", "value": text}]}]),
        lambda text: pod(volumes=[{"name": "m", "image": {"reference": text.removeprefix("oci://")}}]),
        lambda text: pod(oci("good"), text),
        lambda text: templated("apps/v1", "Deployment", pod(text)),
        lambda text: templated("batch/v1", "CronJob", pod(text)),
        lambda text: templated("v1", "PodTemplate", pod(text)),
        lambda text: kserve("InferenceService", {"predictor": {"model": {"storageUri": text}}}),
        lambda text: kserve(
            "LLMInferenceService", {"model": {"uri": text}, "template": pod_spec()}, "v1alpha1"
        ),
        lambda text: kserve("ServingRuntime", pod_spec(text), "v1alpha1"),
    ]
    for namespace in ("prod", "lenient", "claims", "warn", "audit", "unruled"):
        for make in makers:
            for text in texts if namespace == "prod" else [texts[number] for number in (0, 1, 4, 7)]:
                yield within(make(text), namespace)
        for note in (f"sha256:{digest('good')}", f"sha256:{digest('nosuch')}", "latest"):
            yield within(pod("s3://bucket/m", annotations={"gitchain.dev/model": note}), namespace)
    yield kserve("ClusterServingRuntime", pod_spec(oci("good")), "v1alpha1")
    for notes in (PINNED, {}, {"gitchain.dev/model": f"sha256:{digest('nosuch')}"}):
        yield within(mounting(**notes), "guarded")


def within(source: dict[str, Any], namespace: str) -> dict[str, Any]:
    source["metadata"]["namespace"] = namespace
    return source


@pytest.fixture(scope="module")
def settings(models: AdmissionFiles) -> Path:
    """The settings of the world, with a namespace whose pods are guarded."""
    text = (models.top / "serve.yaml").read_text()
    path = models.top / "guarding.yaml"
    path.write_text(text + GUARD)
    assert "layouts:" in SETTINGS
    return path


@pytest.fixture(scope="module")
def client(settings: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A server that runs, under the same settings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GITCHAIN_HOME", str(tmp_path_factory.mktemp("home") / "gitchain"))
        with serving(read_settings(settings), tmp_path_factory.mktemp("tls")) as (_, made):
            yield made


def asked(client: Client, source: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the server's answer about an object as an API server would ask for it, and the object in the end."""
    namespace = source["metadata"].get("namespace", "")
    if namespace == "guarded":
        answer = client.post("/mutate", review(source, namespace=namespace))[1]["response"]
        if not answer["allowed"]:
            return answer, source
        source = copy.deepcopy(source)
        for change in json.loads(b64decode(answer.get("patch", "W10="))):
            *path, last = change["path"].strip("/").split("/")
            holder = source
            for part in path:
                holder = holder[part]
            holder[last] = change["value"]
    return client.post("/validate", review(source, namespace=namespace))[1]["response"], source


def admitted(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any]:
    capfd.readouterr()
    code = run(["admit", "--json", *arguments])
    return code, json.loads(capfd.readouterr().out)


def test_the_answers_are_those_of_the_server(
    client: Client, settings: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Object by object: allowed or not, every reason with its place and help, warnings and outcome."""
    sources = list(corpus())
    third = len(sources) // 3
    files = [tmp_path / name for name in ("list.yaml", "many.yaml", "one.json")]
    files[0].write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": sources[:third]}))
    files[1].write_text(yaml.safe_dump_all(sources[third : 2 * third], allow_unicode=True))
    files[2].write_text(json.dumps({"apiVersion": "v1", "kind": "PodList", "items": sources[2 * third :]}))
    code, document = admitted(
        capfd, "--settings", str(settings), *(text for path in files for text in ("-f", str(path)))
    )
    schema = Draft202012Validator(json.loads((ROOT / "schemas/cli.schema.json").read_text()))
    schema.validate(document)
    assert (code, document["admitted"], len(document["objects"])) == (1, False, len(sources))
    outcomes = set()
    for source, found in zip(sources, document["objects"], strict=True):
        answer, _ = asked(client, source)
        assert found["admitted"] == answer["allowed"], source
        assert [printable(text, 240) for text in found["warnings"][:16]] == answer.get("warnings", [])
        annotations = answer.get("auditAnnotations", {})
        assert annotations.get("outcome") in {found["outcome"], None}
        told = answer.get("status", {}).get("message", "") + annotations.get("problems", "")
        told += " ".join(answer.get("warnings", []))
        for problem in found["problems"]:
            assert problem["code"] in told, source
            assert printable(problem["message"])[:100] in told
        assert bool(found["problems"]) == bool(told) or found["outcome"] == "verified"
        outcomes.add((found["outcome"], found["mode"]))
    assert outcomes >= {
        ("verified", "enforce"), ("verified", "warn"), ("verified", "audit"), ("no model", "enforce"), ("denied", "enforce"),
        ("warned", "warn"), ("audited", "audit"), ("denied", None),
    }  # fmt: skip


POD = yaml.safe_dump(pod(oci("good")))
SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: s}\n"


def test_exit_codes(models: AdmissionFiles, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """0 admitted, 1 denied, 3 nothing of a kind that is reviewed; other kinds are shown and not counted."""
    path, rules = tmp_path / "pod.yaml", ["--settings", str(models.top / "serve.yaml")]
    for text, namespace, expected in (
        (POD, "prod", ExitCode.OK),
        (f"{POD}---\n{SERVICE}---\n", "prod", ExitCode.OK),
        (POD, "unruled", ExitCode.FAILED),
        (f"{POD}---\n{yaml.safe_dump(pod(oci('nosuch')))}", "prod", ExitCode.FAILED),
        (yaml.safe_dump(pod(oci("nosuch"))), "warn", ExitCode.OK),
        (SERVICE, "prod", ExitCode.NOTHING),
        ("", "prod", ExitCode.NOTHING),
        ("---\n---\n", "prod", ExitCode.NOTHING),
    ):
        path.write_text(text)
        assert run(["admit", "-f", str(path), *rules, "-n", namespace]) == expected, text
    told = capfd.readouterr()
    assert "Service prod/s" in told.out
    assert "not reviewed" in told.out
    assert "GC-E0201" in told.out
    assert "warned, layout credit, mode warn" in told.out


def test_stdin_and_the_namespace(
    models: AdmissionFiles, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`-` is stdin; an object's own namespace is kept, `default` is for one without, and two that differ are an error."""
    rules = ["--settings", str(models.top / "serve.yaml"), "-f", "-"]

    def given(source: dict[str, Any], *more: str) -> tuple[int, Any]:
        data = io.BytesIO(yaml.safe_dump(source).encode())
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(data))
        return admitted(capfd, *rules, *more)

    code, document = given(pod(oci("good")))
    assert (code, document["objects"][0]["namespace"]) == (1, "default")
    assert document["objects"][0]["problems"][0]["code"] == "GC-A0104"
    code, document = given(within(pod(oci("good")), "prod"))
    assert (code, document["objects"][0]["namespace"], document["objects"][0]["file"]) == (
        0,
        "prod",
        "(stdin)",
    )
    assert given(within(pod(oci("good")), "prod"), "-n", "prod")[0] == 0
    code, document = given(within(pod(oci("good")), "prod"), "-n", "warn")
    assert (code, document["error"]["code"]) == (2, "UsageError")


def test_a_layout_that_cannot_decide_is_its_own_error(models: AdmissionFiles, tmp_path: Path) -> None:
    """No answer is given on evidence that is not there, in whatever mode: the exit code says what is wrong."""
    path = tmp_path / "pod.yaml"
    path.write_text(POD)
    text = (models.top / "serve.yaml").read_text().replace("trust: ", f"trust: {models.top}/")
    base = text.replace("layout: repo", f"layout: {models.top}/repo")
    base = base.replace("repository: repo", f"repository: {models.top}/repo")
    rules = tmp_path / "serve.yaml"
    for old, new, expected in (
        ("trust.json", "none.json", ExitCode.TRUST),
        ("layout.sigstore.json", "none.json", ExitCode.LAYOUT),
        (f"repository: {models.top}/repo", f"repository: {tmp_path}", ExitCode.UNAVAILABLE),
        (f"repository: {models.top}/repo", f"repository: {'x' * 300}", ExitCode.UNAVAILABLE),
        ("ada@example.com", "eve@example.com", ExitCode.LAYOUT),
        ("trust.json", "trust.json", ExitCode.OK),
    ):
        assert old in base
        rules.write_text(base.replace(old, new))
        for namespace in ("prod", "warn"):
            code = run(["admit", "-f", str(path), "--settings", str(rules), "-n", namespace])
            assert code == expected, (new, namespace)


UNREADABLE: dict[str, tuple[dict[str, Any], ExitCode, str, str]] = {
    "the root directory": ({"repository": "/"}, ExitCode.UNAVAILABLE, "the only git on PATH is inside", "path of the repository"),
    "a partial clone": ({"repository": "PARTIAL"}, ExitCode.UNAVAILABLE, "partial clone lacks", "git -C PARTIAL fetch"),
    "a bare repository as a directory": ({"evidence": ["PARTIAL"]}, ExitCode.UNAVAILABLE, "bare Git repository", "under evidence"),
    "no such directory": ({"evidence": ["nowhere"]}, ExitCode.UNAVAILABLE, "no directory of evidence", "check the path"),
    "no such remote": ({"evidence": ["git+file:///nowhere"]}, ExitCode.UNAVAILABLE, "cannot fetch", ""),
    "a bundle that is too large": ({"evidence": ["LARGE"]}, ExitCode.LIMIT, "too large", ""),
    "a minimum version": ({"minimumVersion": 99}, ExitCode.LAYOUT, "older than pinned", "minimumVersion"),
    "another name": ({"layoutName": "other"}, ExitCode.LAYOUT, "another layout", "correct layoutName"),
    "another signer": (
        {"signers": [{"issuer": "https://h.example.com", "subject": "eve"}]}, ExitCode.LAYOUT, "may not sign", "add it to signers",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def partial(models: AdmissionFiles, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bare repository that lacks the bundles of its store."""
    place, git = tmp_path_factory.mktemp("partial") / "clone.git", ["git", "-c", "protocol.file.allow=always"]
    subprocess.run(
        [*git, "-C", str(models.repository), "config", "uploadpack.allowFilter", "true"], check=True
    )
    remote = f"file://{models.repository}"
    subprocess.run([*git, "clone", "-q", "--bare", "--filter=blob:none", remote, str(place)], check=True)
    refs = "refs/gitchain/*:refs/gitchain/*"
    subprocess.run([*git, "-C", str(place), "fetch", "-q", "--filter=blob:none", "origin", refs], check=True)
    return place


@pytest.mark.parametrize(("change", "code", "what", "help_"), UNREADABLE.values(), ids=UNREADABLE)
def test_a_source_that_cannot_be_read_is_neither_denied_nor_nothing(
    models: AdmissionFiles,
    partial: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    change: dict[str, Any],
    code: ExitCode,
    what: str,
    help_: str,
) -> None:
    """Exit codes 1, 2 and 3 mean something else; the advice names fields of the settings, not options of other verbs."""
    large = tmp_path / "large"
    large.mkdir()
    with (large / "x.sigstore.json").open("wb") as file:
        file.truncate(1 << 30)
    filled = json.loads(json.dumps(change).replace("PARTIAL", str(partial)).replace("LARGE", str(large)))
    settings = yaml.safe_load((models.top / "serve.yaml").read_text())
    layout = settings["layouts"]["credit"]
    layout |= {"trust": str(models.top / "trust.json"), "repository": str(models.repository)}
    layout |= {"layout": str(models.top / layout["layout"])} | filled
    (tmp_path / "serve.yaml").write_text(json.dumps(settings))
    (tmp_path / "pod.yaml").write_text(POD)
    arguments = [
        "admit",
        "-f",
        str(tmp_path / "pod.yaml"),
        "--settings",
        str(tmp_path / "serve.yaml"),
        "-n",
        "prod",
    ]
    assert run([*arguments, "--json"]) == code
    error = json.loads(capfd.readouterr().out)["error"]
    assert what in json.dumps(error)
    assert help_.replace("PARTIAL", str(partial)) in (error.get("help") or "")
    for option in ("--layout-name", "--minimum-version", "--evidence", "--signer", "trust pin"):
        assert option not in json.dumps(error)


def test_offline_without_a_mirror_names_what_to_type(
    models: AdmissionFiles, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    text = (models.top / "serve.yaml").read_text()
    text = text.replace("    repository: repo\n", f"    evidence: ['git+file://{models.repository}']\n")
    (models.top / "mirrored.yaml").write_text(text)
    (tmp_path / "pod.yaml").write_text(POD)
    rules = ["--settings", str(models.top / "mirrored.yaml"), "-f", str(tmp_path / "pod.yaml"), "-n", "prod"]
    assert run(["--offline", "admit", *rules]) == ExitCode.UNAVAILABLE
    told = capfd.readouterr().err
    assert "was never fetched" in told
    assert "once without --offline" in told
    (signer,) = models.settings.sources["credit"].signers
    policy = [
        "--signer",
        signer.subject,
        "--issuer",
        signer.issuer,
        "--trust",
        str(models.top / "trust.json"),
    ]
    layout = ["--layout", str(models.settings.sources["credit"].layout)]
    source = ["--evidence", f"git+file://{models.repository}"]
    verify = ["verify", f"sha256:{digest('good')}", *layout, *policy, *source, "--offline"]
    assert run(["-C", str(tmp_path), *verify]) == ExitCode.UNAVAILABLE
    told = capfd.readouterr().err
    assert "was never fetched" in told
    assert "once without --offline" in told
    assert run(["admit", *rules]) == ExitCode.OK
    assert run(["--offline", "admit", *rules]) == ExitCode.OK
    assert run(["-C", str(tmp_path), *verify]) == ExitCode.OK


def _chain(length: int) -> str:
    """Return maps of which each has the keys of all before it."""
    rest = ",".join(f"&a{n} {{<<: *a{n - 1}, k{n}: 1}}" for n in range(1, length))
    return f"[&a0 {{k0: 1}},{rest}]"


BROKEN: dict[str, tuple[str, type[GitchainError]]] = {
    "no YAML": ("a: [", UsageError),
    "no UTF-8": ("\udcff", UsageError),
    "a list": ("- a", UsageError),
    "a word": ("pod", UsageError),
    "no kind": ("apiVersion: v1", UsageError),
    "a kind that is no string": ("apiVersion: v1\nkind: 1", UsageError),
    "a list that is none": ("apiVersion: v1\nkind: List\nitems: 1", UsageError),
    "a list of words": ("apiVersion: v1\nkind: List\nitems: [a]", UsageError),
    "a key twice": ("apiVersion: v1\nkind: Pod\nkind: Service", UsageError),
    "a key twice further in": ("apiVersion: v1\nkind: Pod\nspec: {a: 1, a: 2}", UsageError),
    "a key twice in two spellings": ("apiVersion: v1\nkind: Pod\n1: a\n'1': b", UsageError),
    "a key that is a map": ("apiVersion: v1\nkind: Pod\n? {a: 1}\n: 2", UsageError),
    "bytes": ("apiVersion: v1\nkind: Pod\nspec: !!binary aGk=", UsageError),
    "a tag": ("apiVersion: v1\nkind: Pod\nspec: !!python/object:os.system {}", UsageError),
    "an unknown anchor": ("apiVersion: v1\nkind: Pod\nspec: *a", UsageError),
    "a merge of a word": ("apiVersion: v1\nkind: Pod\nspec: {<<: [a]}", UsageError),
    "too deep": ("[" * (MAX_DEPTH + 1), LimitError),
    "a map in itself": ("apiVersion: v1\nkind: Pod\nspec: &a {b: *a}", UsageError),
    "a number of a tag": ('apiVersion: v1\nkind: Pod\nspec: !!int ""', UsageError),
    "a boolean of a tag": ("apiVersion: v1\nkind: Pod\nspec: !!bool x", UsageError),
    "a date of a tag": ("apiVersion: v1\nkind: Pod\nspec: !!timestamp x", UsageError),
    "text of a map in itself": ("apiVersion: v1\nkind: Pod\nspec: &a !!str {=: *a}", UsageError),
    "a number without end": ("apiVersion: v1\nkind: Pod\nspec: .inf", UsageError),
    "a number that is too large": ("apiVersion: v1\nkind: Pod\nspec: 1e400", UsageError),
    "maps of maps": (f"apiVersion: v1\nkind: Pod\nspec: {_chain(2000)}", LimitError),
    "maps of maps, the last one first": (
        f"apiVersion: v1\nkind: Pod\nspec: [[[{_chain(500)}]], {{<<: *a499}}]",
        LimitError,
    ),
    "laughs in every document": (
        "---\napiVersion: v1\nkind: Pod\na: &a [{x}]\nb: [{y}]\n".format(
            x=",".join(["1"] * 1000), y=",".join(["*a"] * 400)
        )
        * 6,
        LimitError,
    ),
    "laughs": (
        "apiVersion: v1\nkind: Pod\na0: &a0 [x]\n"
        + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)),
        LimitError,
    ),
}


@pytest.mark.parametrize(("text", "kind"), BROKEN.values(), ids=BROKEN)
def test_what_is_no_object_is_one_clear_error(text: str, kind: type[GitchainError]) -> None:
    """With the file and the document, at once, and never another exception."""
    with pytest.raises(kind) as caught:
        list(read_manifests(text.encode("utf-8", "surrogateescape"), "pod.yaml"))
    assert "pod.yaml" in caught.value.where


def test_yaml_is_read_as_kubectl_reads_it() -> None:
    """Anchors, merges, dates and keys that are no strings; what an alias stands for is looked at."""
    text = "apiVersion: v1\nkind: Pod\na: &a {x: 1, y: 2001-01-01}\nb: {<<: *a, y: no}\n1: on\ntrue: ~\n"
    text += "c: {<<: [*a, {x: 2, z: 3}]}\n"
    (found,) = read_manifests(text.encode(), "pod.yaml")
    assert found.source["a"] == {"x": 1, "y": "2001-01-01"}
    assert found.source["b"] == {"x": 1, "y": False}
    assert found.source["c"] == {"x": 1, "y": "2001-01-01", "z": 3}
    assert (found.source["1"], found.source["true"]) == (True, None)  # Python takes both for one key


def test_numbers_are_read_as_kubectl_reads_them() -> None:
    """Not in base 60, and a long one costs no time: 200 kB of it took minutes, and ended in a traceback."""
    long = "1" + ":1" * 100_000
    text = f"apiVersion: v1\nkind: Pod\na: [1:30, {long}, {'9' * 100_000}, 0x1F, 0777, -1, .5, 1e3, =]\n"
    (found,) = read_manifests(text.encode(), "pod.yaml")
    assert found.source["a"] == ["1:30", long, "9" * 100_000, 31, 511, -1, 0.5, 1000.0, "="]


def test_pipe_in_the_place_of_a_manifest_stalls_nothing(models: AdmissionFiles, tmp_path: Path) -> None:
    """Opening it would wait for a writer."""
    os.mkfifo(tmp_path / "pod.yaml")
    code = run(["admit", "-f", str(tmp_path / "pod.yaml"), "--settings", str(models.top / "serve.yaml")])
    assert code == ExitCode.UNAVAILABLE


def test_a_file_that_is_not_there(
    models: AdmissionFiles, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Usage, with its name; so are no file at all, no settings, a directory, an empty namespace, and --trust."""
    path = tmp_path / "pod.yaml"
    path.write_text(POD)
    rules = ["--settings", str(models.top / "serve.yaml")]
    for arguments in (
        ["-f", str(tmp_path / "none.yaml"), *rules],
        ["-f", str(tmp_path), *rules],
        [*rules],
        ["-f", str(path)],
        ["-f", str(path), *rules, "-n", ""],
        ["-f", str(path), *rules, "--trust", "local"],
    ):
        assert run(["admit", *arguments]) == ExitCode.USAGE
    assert "none.yaml" in capfd.readouterr().err


def test_an_object_has_as_many_values_as_a_review() -> None:
    """More would be no answer of the server either."""
    big = json.dumps({"apiVersion": "v1", "kind": "Pod", "spec": [1] * MAX_VALUES})
    with pytest.raises(LimitError):
        list(read_manifests(big.encode(), "pod.yaml"))
