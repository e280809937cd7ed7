"""Traces of reviews: what a collector gets, what it never gets, and that a review never waits for one."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sized
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from gitchain.admit.otel import OpenTelemetry, open_traces
from gitchain.errors import UsageError
from tests.support.admission import AdmissionFiles, Client, certificate, digest, oci, pod, review, serving
from tests.support.manual_admission import Heard
from tests.support.trace_collector import Collector, collecting, values

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SERVER = 2
QUICK = 3.0
"""Seconds for reviews whose collector is down: less than any wait of the exporter."""


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    monkeypatch.setenv("GITCHAIN_HOME", str(tmp_path / "home"))


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collecting() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
        yield found


@pytest.fixture
def client(models: AdmissionFiles, tmp_path: Path, collector: Collector) -> Iterator[Client]:
    traces = open_traces()
    with serving(models.settings, tmp_path, traces=traces) as (_, found):
        yield found
    traces.close()


def of_trace(trace: str) -> Any:
    return lambda span: span.trace_id.hex() == trace and span.kind == SERVER


def test_review_is_a_span(client: Client, collector: Collector) -> None:
    """Of kind server, under the API server's span, with what was decided; the verification is its child."""
    header = f"00-{TRACE}-{PARENT}-01"
    assert client.post("/validate", review(pod(oci("second"))), traceparent=header)[1]["response"]["allowed"]
    (span,) = collector.wait(of_trace(TRACE))
    assert (span.name, span.parent_span_id.hex(), span.status.code) == ("POST /validate", PARENT, 0)
    assert values(span.attributes) == {
        "http.request.method": "POST",
        "http.route": "/validate",
        "url.path": "/validate",
        "url.scheme": "https",
        "http.response.status_code": 200,
        "gitchain.allowed": True,
        "gitchain.outcome": "verified",
        "k8s.namespace.name": "prod",
        "gitchain.kind": "core/v1 Pod",
        "gitchain.operation": "CREATE",
        "gitchain.dry_run": False,
        "gitchain.layout": "credit",
        "gitchain.mode": "enforce",
        "gitchain.rule": "prod",
    }
    (child,) = collector.wait(lambda one: one.parent_span_id == span.span_id)
    assert (child.name, child.trace_id) == ("verify model", span.trace_id)
    expected = {"gitchain.layout": "credit", "gitchain.model": f"sha256:{digest('second')}"}
    assert values(child.attributes) == expected | {"gitchain.passed": True, "gitchain.findings": []}
    assert collector.resources[0]["service.name"] == "gitchain"
    assert set(collector.paths) == {"/v1/traces"}


def test_denial_is_a_span_with_codes(client: Client, collector: Collector) -> None:
    """The codes of the findings, not their texts, for the review and for the verification."""
    header = f"00-{TRACE}-{PARENT}-01"
    body = review(pod(oci("revoked")), namespace="prod-eu")
    assert not client.post("/validate", body, traceparent=header)[1]["response"]["allowed"]
    (span,) = collector.wait(of_trace(TRACE))
    found = values(span.attributes)
    assert (found["gitchain.allowed"], found["gitchain.outcome"]) == (False, "denied")
    assert (found["k8s.namespace.name"], found["gitchain.rule"]) == ("prod-eu", "prod-*")
    (child,) = collector.wait(lambda one: one.parent_span_id == span.span_id)
    assert found["gitchain.findings"] == values(child.attributes)["gitchain.findings"]
    assert all(code.startswith("GC-E") for code in found["gitchain.findings"])


def test_spans_have_no_user_and_no_content(client: Client, collector: Collector) -> None:
    """No name of a user or an object, no text of the object, whatever becomes of the review."""
    secret = "s3://internal-bucket/secret-model"
    bodies = [review(pod(oci("good"))), review(pod(secret), namespace="none"), review(pod(secret))]
    for body in (*bodies, b'{"request": "dev@example.com"}', {"request": {"uid": "x", "kind": secret}}):
        client.post("/validate", body)
    client.post("/mutate", bodies[1])
    client.post("/v1/decide", {"layout": "credit", "references": [secret]})
    collector.wait(lambda span: span.kind == SERVER, 7)
    for text in (
        b"dev@example.com",
        b"internal-bucket",
        b"secret-model",
        b"serving",
        b"system:authenticated",
    ):
        assert not [body for body in collector.bodies if text in body], text


def test_refused_request_is_a_span(client: Client, collector: Collector) -> None:
    """With the status of the response; a request that is wrong is no failure of the server."""
    assert client.post("/validate", b"{", traceparent=f"00-{TRACE}-{PARENT}-01")[0] == 400
    (span,) = collector.wait(of_trace(TRACE))
    assert values(span.attributes)["http.response.status_code"] == 400
    assert span.status.code == 0


def test_texts_of_callers_are_bounded(client: Client, collector: Collector) -> None:
    """A namespace of a megabyte does not fill the queue."""
    client.post(
        "/validate",
        review(None, operation="DELETE", namespace="n" * (1 << 20)),
        traceparent=f"00-{TRACE}-{PARENT}-01",
    )
    (span,) = collector.wait(of_trace(TRACE))
    assert len(values(span.attributes)["k8s.namespace.name"]) < 300


def test_evidence_is_read_in_a_trace_of_its_own(client: Client, collector: Collector) -> None:
    """The background reading is a root; what it read is its child."""
    (root,) = [span for span in collector.named("refresh evidence") if span.start_time_unix_nano][:1]
    (child,) = collector.named("read evidence")
    assert (root.parent_span_id, child.parent_span_id) == (b"", root.span_id)
    assert values(root.attributes) == {"gitchain.layout": "credit", "gitchain.evidence.changed": True}


@pytest.mark.parametrize(
    "header",
    [
        "",
        "x",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{PARENT}",
        f"ff-{TRACE}-{PARENT}-01",
        "00-" * 10000,
    ],
)
def test_malformed_traceparent_is_ignored(client: Client, collector: Collector, header: str) -> None:
    """The review is answered, and its span is a root."""
    assert client.post("/validate", review(pod(oci("good"))), traceparent=header)[1]["response"]["allowed"]
    (span,) = collector.wait(lambda one: one.kind == SERVER)
    assert (span.parent_span_id, span.trace_id.hex() == TRACE) == (b"", False)


def test_caller_cannot_switch_a_span_off(client: Client, collector: Collector) -> None:
    """Of `traceparent` only the ids are used, not the flag that says not to record; `tracestate` is not used."""
    client.post(
        "/validate", review(pod(oci("good"))), traceparent=f"00-{TRACE}-{PARENT}-00", tracestate="a=dev"
    )
    (span,) = collector.wait(of_trace(TRACE))
    assert span.trace_state == ""


def answers(client: Client) -> list[Any]:
    return [client.post("/validate", review(pod(oci(model)))) for model in ("good", "nosuch", "revoked") * 10]


@pytest.mark.parametrize("collector_is", ["down", "hanging", "failing", "redirecting"])
def test_collector_that_fails_changes_no_review(
    models: AdmissionFiles,
    tmp_path: Path,
    collector: Collector,
    heard: Heard,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    collector_is: str,
) -> None:
    """The same answers, none of them late, a queue that stays bounded, one line in the log, and a quick end."""
    with serving(models.settings, tmp_path) as (_, client):
        expected = answers(client)
    collector.status = {"hanging": None, "failing": 400, "redirecting": 307}.get(collector_is)
    if collector_is == "down":
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free.getsockname()[1]}")
    for name, text in (("QUEUE_SIZE", "16"), ("EXPORT_BATCH_SIZE", "4")):
        monkeypatch.setenv(f"OTEL_BSP_MAX_{name}", text)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    traces = open_traces()
    with serving(models.settings, tmp_path, traces=traces) as (_, client):
        began = time.monotonic()
        assert answers(client) == expected
        assert time.monotonic() - began < QUICK
        warned = lines_of(heard, 1)
        answers(client)
        time.sleep(1.5)  # another batch fails
    assert waiting(traces) <= 16
    began = time.monotonic()
    traces.close()
    assert time.monotonic() - began < QUICK
    assert warned == lines_of(heard, 1)
    assert len(warned) == 1
    assert not [one for one in caplog.records if one.name.startswith("opentelemetry")]


def waiting(traces: OpenTelemetry) -> int:
    processor: Any
    (processor,) = traces._provider._active_span_processor._span_processors
    queue: Sized = processor._batch_processor._queue
    return len(queue)


def lines_of(heard: Heard, count: int) -> list[str]:
    """Return the log's lines about traces, once there are so many."""
    for _ in range(200):
        found = [one.getMessage() for one in heard.records if "traces" in one.getMessage()]
        if len(found) >= count:
            break
        time.sleep(0.025)
    return found


def test_collector_that_comes_back_is_logged(client: Client, collector: Collector, heard: Heard) -> None:
    """One line for the failure with its reason and no login, one when spans are sent again."""
    collector.status = 400
    client.post("/validate", review(pod(oci("good"))))
    lines_of(heard, 1)
    collector.status = 200
    client.post("/validate", review(pod(oci("good"))))
    assert [line.split(",")[0] for line in lines_of(heard, 2)] == [
        "traces cannot be sent",
        "traces are sent again",
    ]
    (facts,) = [vars(one)["facts"] for one in heard.records if one.getMessage().startswith("traces cannot")]
    assert facts == {"endpoint": f"{collector.url}", "why": "HTTP status 400"}


def test_request_without_an_end_is_logged(
    monkeypatch: pytest.MonkeyPatch, collector: Collector, heard: Heard
) -> None:
    """A collector that never ends an answer is logged at the next span, before any timeout."""
    monkeypatch.setattr("gitchain.admit.otlp.STUCK_SECONDS", 0.2)
    collector.status = None
    traces = open_traces()
    for _ in range(3):
        with traces.step("a", {}):
            time.sleep(0.3)
    assert len(lines_of(heard, 1)) == 1
    traces.close()


def test_long_answer_is_not_kept(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a collector answers is read up to a bound; the next batch arrives all the same."""
    monkeypatch.setattr("gitchain.admit.otlp.MAX_ANSWER_BYTES", 100)
    collector.answer = b"x" * 5_000_000
    traces = open_traces()
    processor: Any
    (processor,) = traces._provider._active_span_processor._span_processors
    seen: list[Any] = []
    session = processor.span_exporter._session

    def send(*args: Any, **more: Any) -> Any:
        seen.append(type(session).send(session, *args, **more))
        return seen[-1]

    monkeypatch.setattr(session, "send", send)
    for name in ("first", "second"):
        with traces.step(name, {}):
            pass
        collector.named(name)
    traces.close()
    assert [len(one.content) for one in seen] == [100, 100]


def test_connection_of_an_answer_that_was_cut_off_is_closed(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest of the answer, which may come at any time, is in front of no other answer."""
    monkeypatch.setattr("gitchain.admit.otlp.MAX_ANSWER_BYTES", 100)
    collector.answer, collector.sent = b"x" * 1000, 100
    traces = open_traces()
    with traces.step("first", {}):
        pass
    collector.named("first")
    assert collector.hung_up.wait(3)
    traces.close()


def test_headers_of_the_environment_are_sent(
    monkeypatch: pytest.MonkeyPatch, collector: Collector, tmp_path: Path
) -> None:
    """OTEL_EXPORTER_OTLP_HEADERS and the service's name; a login in ~/.netrc does not replace them."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20token")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "admission")
    traces = open_traces()
    with traces.step("a", {}):
        pass
    traces.close()
    assert collector.headers[0]["authorization"] == "Bearer token"
    assert collector.resources[0]["service.name"] == "admission"


@pytest.mark.parametrize(
    ("name", "given", "shown"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "grpc"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318", "collector:4318"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://[", "http://["),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://me:pass@collector:4318", "collector:4318"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "-1", "max_queue_size"),
    ],
)
def test_open_traces_refuses_wrong_variables(
    monkeypatch: pytest.MonkeyPatch, name: str, given: str, shown: str
) -> None:
    """One error names the variable, before the server starts."""
    monkeypatch.setenv(name, given)
    with pytest.raises(UsageError) as caught:
        open_traces()
    assert caught.value.where in {name, "OTEL_*"}
    assert shown in str(caught.value)
    assert "pass" not in str(caught.value)


def serve_command(world: AdmissionFiles, place: Path) -> list[str]:
    settings = ["--settings", str(world.top / "serve.yaml")]
    files = dict(zip(("--certificate", "--key"), map(str, certificate(place)), strict=True))
    return ["serve", *settings, *(word for item in files.items() for word in item), "--listen", "127.0.0.1:0"]


def test_serve_names_the_extra_that_is_missing(
    models: AdmissionFiles,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One error with what to type, before anything listens."""
    from gitchain.cli.main import run

    before = logging.getLogger("gitchain.serve").handlers[:]
    for name in [name for name in sys.modules if name.partition(".")[0] == "opentelemetry"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    assert run([*serve_command(models, tmp_path), "--traces"]) == 2
    logging.getLogger("gitchain.serve").handlers[:] = before
    assert 'pip install "gitchain[serve,otel]"' in capsys.readouterr().err


def test_serve_refuses_a_variable_that_the_library_reads_at_its_import(
    models: AdmissionFiles, tmp_path: Path
) -> None:
    """One error and exit code 2, in a process that has not imported the library yet."""
    done = subprocess.run(
        [sys.executable, "-m", "gitchain", *serve_command(models, tmp_path), "--traces"],
        env=os.environ | {"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "many"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT" in done.stderr


def test_serve_sends_what_waits_at_the_end(
    models: AdmissionFiles, tmp_path: Path, collector: Collector
) -> None:
    """The real process with --traces; without, it imports nothing of OpenTelemetry."""
    code = "import sys; from gitchain.cli.main import run; c = run(sys.argv[1:]); print(any('opentelemetry' in m for m in sys.modules)); sys.exit(c)"
    environment = os.environ | {"OTEL_BSP_SCHEDULE_DELAY": "60000"}
    for options, is_imported in (([], False), (["--traces"], True)):
        command = [sys.executable, "-c", code, *serve_command(models, tmp_path), *options]
        with (
            subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
            ) as child,
            ExitStack() as stack,
        ):
            stack.callback(child.kill)
            assert child.stderr is not None
            client = Client(int(child.stderr.readline().rsplit(":", 1)[1]))
            for _ in range(600):
                if client.call("GET", "/readyz")[0] == 200:
                    break
                time.sleep(0.05)
            client.post("/validate", review(pod(oci("good"))))
            client.close()
            child.send_signal(signal.SIGINT)
            said = child.communicate(timeout=60)[0]
        assert (child.returncode, said.split()[-1]) == (0, str(is_imported))
        assert len([span for span in collector.spans if span.kind == SERVER]) == is_imported
