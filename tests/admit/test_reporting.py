"""What the cluster is told about denials and by the audit: what it holds, how much of it, and what it never changes."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gitchain.admit import reporting as module
from gitchain.admit.admission import Admission, AdmissionResult
from gitchain.admit.audit import audit
from gitchain.admit.notices import (
    MAX_RESULTS,
    NOTE_BYTES,
    ViolationNotice,
    event,
    notice,
    report,
    result,
)
from gitchain.admit.reporting import AUDIT, DENIALS, NoticeWriter, Reporting
from gitchain.admit.reports import Reports, ReportSettings
from gitchain.admit.run import serve
from gitchain.admit.tls import TlsFiles
from gitchain.errors import UsageError
from tests.support.admission import (
    AdmissionFiles,
    Clock,
    certificate,
    digest,
    judged,
    kserve,
    oci,
    pod,
    review,
    serving,
)
from tests.support.kubernetes_api import Api

EVENTS = "/apis/events.k8s.io/v1/namespaces/{}/events"
OPEN = "/apis/openreports.io/v1alpha1/namespaces/{}/reports"
BOTH = ReportSettings(events=True, reports=Reports.OPEN)


class Told:
    """A reporting over the tests' API server, with a clock that stands still, and what it counted."""

    def __init__(self, api: Api, wanted: ReportSettings = BOTH) -> None:
        self.clock = Clock()
        self.counted: Counter[tuple[str, str]] = Counter()
        self.executor = ThreadPoolExecutor(1)
        self.reporting = Reporting(
            NoticeWriter(api.cluster, wanted, "pod-1"),
            clock=self.clock,
            executor=self.executor,
            counted=lambda what, outcome, number: self.counted.update({(what, outcome): number}),
        )

    def tell(self, *admission_results: AdmissionResult, turns: int = 1) -> None:
        for one in admission_results:
            self.reporting.offer(one)
        for _ in range(turns):
            asyncio.run(self.reporting.turn())


@pytest.fixture
def told(api: Api) -> Any:
    made = Told(api)
    yield made
    made.executor.shutdown()


def named(name: str, model: str = "nosuch", **more: Any) -> dict[str, Any]:
    found = pod(oci(model))
    found["metadata"] |= {"name": name, **more}
    return found


def denied(ready: Admission, name: str = "p", namespace: str = "prod", **more: Any) -> AdmissionResult:
    return judged(ready, review(named(name, **more), namespace=namespace))


def written(api: Api, part: str) -> list[dict[str, Any]]:
    return [given for _, path, given in api.sent if part in path]


def test_a_denial_leaves_an_event_and_a_report(ready: Admission, api: Api, told: Told) -> None:
    """Both name the object and say what its user was told, and neither says who that was."""
    one = denied(ready)
    told.tell(one)
    (method, path, made) = api.sent[0]
    assert (method, path) == ("POST", EVENTS.format("prod"))
    assert (made["reason"], made["type"], made["reportingInstance"]) == ("ModelDenied", "Warning", "pod-1")
    assert made["regarding"] == {"apiVersion": "v1", "kind": "Pod", "name": "p", "namespace": "prod"}
    assert made["note"].startswith("GC-E0201 ")
    found = api.objects[f"{OPEN.format('prod')}/{DENIALS}"]
    assert found["summary"] == {"pass": 0, "fail": 1, "warn": 0, "error": 0, "skip": 0}
    (only,) = found["results"]
    assert (only["policy"], only["rule"], only["result"]) == ("credit", "GC-E0201", "fail")
    assert only["resources"] == [made["regarding"]]
    assert only["properties"] == {
        "operation": "CREATE", "mode": "enforce", "models": f"sha256:{digest('nosuch')}",
    }  # fmt: skip
    assert "dev@example.com" not in str(api.sent)
    assert told.counted == {("event", "written"): 1, ("report", "written"): 1}


@pytest.mark.parametrize(
    ("namespace", "outcome", "reason"),
    [("prod", "fail", "ModelDenied"), ("warn", "warn", "ModelNotVerified"), ("audit", "warn", "ModelNotVerified")],
)  # fmt: skip
def test_the_outcome_says_what_the_mode_made_of_it(
    ready: Admission, told: Told, namespace: str, outcome: str, reason: str
) -> None:
    """What was let in is a warning, and does not count as scored."""
    found = notice(denied(ready, namespace=namespace), told.clock())
    assert found is not None
    assert (found.outcome, event(found, "x")["reason"], result(found)["scored"]) == (
        outcome, reason, outcome == "fail",
    )  # fmt: skip


def test_what_could_not_be_decided_is_an_error(models: AdmissionFiles, told: Told) -> None:
    """Without evidence nothing is said about the model."""
    from tests.support.admission import admission

    with admission(models.settings) as unread:
        found = notice(denied(unread), told.clock())
    assert found is not None
    assert (found.outcome, found.code, event(found, "x")["reason"]) == (
        "error",
        "GC-A0301",
        "ModelNotDecided",
    )


@pytest.mark.parametrize(
    "sent",
    [
        review(named("p", "good")),
        review(named("p"), dryRun=True),
        review(named("p"), operation="DELETE", old=named("p")),
        review(named("No_Name")),
        review(named("p"), namespace="Not A Namespace"),
        review(named("p"), request_kind={}) | {"request": {"uid": "x"}},
    ],
    ids=["admitted", "dry run", "deleted", "no name", "no namespace", "unreadable"],
)
def test_nothing_is_told_of(ready: Admission, told: Told, sent: dict[str, Any]) -> None:
    """What is as it should be, what changes nothing, and what cannot be named in the API."""
    assert notice(judged(ready, sent), told.clock()) is None


def test_a_pod_that_was_not_made_is_told_of_what_makes_it(ready: Admission, told: Told) -> None:
    """So a controller's hundred tries are one notice, on an object that is there."""
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-1", "uid": "u-1", "controller": True}
    found = notice(denied(ready, "web-1-abc", ownerReferences=[owner]), told.clock())
    assert found is not None
    expected = {key: owner[key] for key in ("apiVersion", "kind", "name", "uid")}
    assert found.subject == {**expected, "namespace": "prod"}
    for wrong in (owner | {"name": "../x"}, owner | {"kind": "a b"}, owner | {"apiVersion": "v1\n"}):
        assert notice(denied(ready, "x", ownerReferences=[wrong]), told.clock()) is None
    runs = notice(denied(ready, "web-1-abc", ownerReferences=[owner]), told.clock(), runs=True)
    assert runs is not None
    assert (runs.subject["kind"], runs.subject["name"]) == ("Pod", "web-1-abc")


def test_a_generated_name_is_told_by_its_stem(ready: Admission, told: Told) -> None:
    source = pod(oci("nosuch"))
    source["metadata"] = {"generateName": "web-"}
    found = notice(judged(ready, review(source, name="")), told.clock())
    assert found is not None
    assert found.subject["name"] == "web"


def test_a_cluster_wide_object_is_an_event_in_default_alone(ready: Admission, api: Api, told: Told) -> None:
    runtime = kserve("ClusterServingRuntime", {"containers": []}, "v1alpha1")
    told.tell(judged(ready, review(runtime, namespace="")))
    ((_, path, made),) = api.sent
    assert path == EVENTS.format("default")
    assert (made["metadata"]["namespace"], "namespace" in made["regarding"]) == ("default", False)


def test_the_same_is_told_once_in_a_while(ready: Admission, api: Api, told: Told) -> None:
    """Again only later, or for another reason."""
    one, other = denied(ready), denied(ready, model="revoked")
    told.tell(one, one, other, one)
    assert len(written(api, "/events")) == 2
    told.clock.move(minutes=9)
    told.tell(one)
    assert len(written(api, "/events")) == 2
    told.clock.move(minutes=2)
    told.tell(one)
    assert len(written(api, "/events")) == 3


def test_a_report_has_the_last_word_about_an_object(ready: Admission, api: Api, told: Told) -> None:
    """And nothing that is a day old, or that somebody else put there."""
    told.tell(denied(ready, "a"), denied(ready, "b"))
    place = f"{OPEN.format('prod')}/{DENIALS}"
    api.objects[place]["results"] += [{"source": "other"}, "text", {"source": "gitchain", "timestamp": 1}]
    told.clock.move(hours=1)
    told.tell(denied(ready, "a", model="revoked"))
    found = {one["resources"][0]["name"]: one["rule"] for one in api.objects[place]["results"]}
    assert found == {"a": "GC-E0342", "b": "GC-E0201"}
    told.clock.move(hours=23, minutes=30)
    told.tell(denied(ready, "c"))
    assert [one["resources"][0]["name"] for one in api.objects[place]["results"]] == ["c", "a"]


def test_a_report_and_an_event_are_bounded(ready: Admission, told: Told) -> None:
    one = notice(denied(ready), told.clock())
    assert one is not None
    many = [
        result(replace(one, when=one.when + timedelta(seconds=number))) for number in range(MAX_RESULTS + 5)
    ]
    found: Any = report(Reports.OPEN, DENIALS, "prod", many)
    assert len(found["results"]) == MAX_RESULTS
    assert found["results"][0]["timestamp"]["seconds"] == int(one.when.timestamp()) + MAX_RESULTS + 4
    long = replace(one, message="\x1b[31m" + "é" * 5000)
    note = event(long, "i" * 500)
    assert len(str(note["note"]).encode()) <= NOTE_BYTES
    assert str(note["note"]).isascii()
    assert "\x1b" not in str(note["note"])
    assert len(str(note["reportingInstance"])) == 128


def test_the_older_kind_of_report_has_no_source_of_its_own(ready: Admission, api: Api) -> None:
    told = Told(api, ReportSettings(events=False, reports=Reports.WORKING_GROUP))
    told.tell(denied(ready))
    ((_, path, made),) = api.sent
    assert path == "/apis/wgpolicyk8s.io/v1alpha2/namespaces/prod/policyreports"
    assert (made["apiVersion"], made["kind"]) == ("wgpolicyk8s.io/v1alpha2", "PolicyReport")
    assert "source" not in made
    assert made["results"][0]["source"] == "gitchain"


def test_two_who_write_a_report_lose_nothing(ready: Admission, api: Api, told: Told) -> None:
    """Another replica was faster, twice: what it wrote is kept."""
    told.tell(denied(ready, "a"))
    place = f"{OPEN.format('prod')}/{DENIALS}"
    theirs = dict(api.objects[place], metadata=dict(api.objects[place]["metadata"], resourceVersion="77"))
    noticed = notice(denied(ready, "b"), told.clock())
    assert noticed
    other = result(replace(noticed, when=told.clock()))
    theirs["results"] = [*theirs["results"], other]
    api.meanwhile = [theirs, dict(theirs, metadata=dict(theirs["metadata"], resourceVersion="78"))]
    told.tell(denied(ready, "c"))
    names = {one["resources"][0]["name"] for one in api.objects[place]["results"]}
    assert names == {"a", "b", "c"}


def test_a_report_that_always_changes_is_left(
    ready: Admission, api: Api, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    told.tell(denied(ready, "a"))
    place = f"{OPEN.format('prod')}/{DENIALS}"
    versions = [
        dict(api.objects[place], metadata={"resourceVersion": str(number)}) for number in range(100, 110)
    ]
    api.meanwhile = versions
    with caplog.at_level(logging.INFO, logger="gitchain.serve"):
        logging.getLogger("gitchain.serve").propagate = True
        told.tell(denied(ready, "c"))
    assert len(api.meanwhile) == 10 - module.TRIES
    assert told.counted["report", "failed"] == 1
    assert any("409" in str(record.__dict__["facts"]["why"]) for record in caplog.records)


def test_what_the_api_refuses_is_told_once_and_when_it_ends(
    ready: Admission, api: Api, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    """No right, no such kind: each object is counted, and each change of state is one line."""
    api.answers[EVENTS.format("prod")] = (403, b"")
    api.answers[OPEN.format("prod")] = (404, b"")
    with caplog.at_level(logging.INFO, logger="gitchain.serve"):
        logging.getLogger("gitchain.serve").propagate = True
        told.tell(denied(ready, "a"), denied(ready, "b"))
        told.tell(denied(ready, "c"))
        api.answers.clear()
        told.tell(denied(ready, "d"))
    lines = [(record.levelname, record.message, record.__dict__["facts"]["why"]) for record in caplog.records]
    assert [(level, message) for level, message, _ in lines] == [
        ("ERROR", "the cluster's events are not written"), ("ERROR", "the cluster's reports are not written"),
        ("INFO", "the cluster's events are written again"), ("INFO", "the cluster's reports are written again"),
    ]  # fmt: skip
    assert "403" in lines[0][2]
    assert "404" in lines[1][2]
    assert told.counted[("event", "failed")] == 3


def test_without_an_answer_the_rest_of_a_turn_is_not_tried(ready: Admission, api: Api) -> None:
    """So a stopping server does not wait for twenty time-outs."""
    told = Told(api)
    gone = replace(api.cluster, server="https://localhost:1")
    told.reporting = Reporting(
        NoticeWriter(gone, BOTH, "x"), clock=told.clock, executor=told.executor,
        counted=lambda what, outcome, number: told.counted.update({(what, outcome): number}),
    )  # fmt: skip
    told.tell(*(denied(ready, f"p{number}") for number in range(5)))
    assert told.counted == {("event", "failed"): 5, ("report", "failed"): 1}
    assert api.sent == []


def test_a_flood_is_bounded_and_counted(
    ready: Admission, api: Api, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits has an end, and a turn writes only so much; what is remembered is bounded as well."""
    monkeypatch.setattr(module, "MAX_WAITING", 30)
    monkeypatch.setattr(module, "MAX_REMEMBERED", 10)
    told.tell(*(denied(ready, f"p{number}") for number in range(40)))
    assert told.counted["notice", "dropped"] == 10
    assert len(written(api, "/events")) == module.BATCH
    assert len(written(api, "/reports")) == 1
    told.tell(turns=2)
    assert len(written(api, "/events")) == 30
    told.tell(denied(ready, "p0"))  # no longer remembered
    assert len(written(api, "/events")) == 31


def test_an_audit_is_a_report_of_each_namespace_and_ends_the_last_one(
    ready: Admission, api: Api, told: Told
) -> None:
    """Passes are counted, failures named; where nothing fails any more the report says so; no rule is no failure."""

    def runs(name: str, model: str, namespace: str) -> dict[str, Any]:
        return {
            "metadata": {"name": name, "namespace": namespace, "uid": "u"},
            "spec": pod(oci(model))["spec"],
        }

    def audited() -> None:
        with ThreadPoolExecutor(1) as executor:
            found = asyncio.run(audit(ready, api.cluster, executor))
        notices = [one for _, one in found.notices]
        told.reporting.changed(notices)
        asyncio.run(told.reporting.audited(notices, found.places))
        asyncio.run(told.reporting.turn())

    pods = "/api/v1/pods"
    api.lists[pods] = [
        runs("a", "good", "prod"), runs("b", "revoked", "prod"), runs("c", "nosuch", "warn"), runs("d", "good", "unruled"),
    ]  # fmt: skip
    audited()
    prod = api.objects[f"{OPEN.format('prod')}/{AUDIT}"]
    assert prod["summary"] == {"pass": 1, "fail": 1, "warn": 0, "error": 0, "skip": 0}
    assert prod["results"][0]["resources"][0] == {
        "apiVersion": "v1", "kind": "Pod", "name": "b", "namespace": "prod", "uid": "u",
    }  # fmt: skip
    assert api.objects[f"{OPEN.format('warn')}/{AUDIT}"]["summary"]["warn"] == 1
    assert f"{OPEN.format('unruled')}/{AUDIT}" not in api.objects
    assert {one["regarding"]["name"] for one in written(api, "/events")} == {"b", "c"}
    api.lists[pods] = [runs("a", "good", "prod")]
    api.lists["/apis/openreports.io/v1alpha1/reports"] = [
        api.objects[f"{OPEN.format(one)}/{AUDIT}"] for one in ("prod", "warn")
    ]
    audited()
    for namespace, passed in (("prod", 1), ("warn", 0)):
        found = api.objects[f"{OPEN.format(namespace)}/{AUDIT}"]
        assert (found["summary"]["pass"], found["results"]) == (passed, [])
    assert any("labelSelector=app.kubernetes.io%2Fmanaged-by%3Dgitchain" in path for path in api.asked)


def test_an_audit_that_cannot_list_its_reports_is_counted(api: Api, told: Told) -> None:
    api.answers["/apis/openreports.io/v1alpha1/reports"] = (403, b"{}")
    asyncio.run(told.reporting.audited([], {"prod": {"pass": 1}}))
    assert told.counted == {("report", "failed"): 1}


def test_without_reports_an_audit_leaves_events_alone(ready: Admission, api: Api) -> None:
    told = Told(api, ReportSettings(events=True, reports=None))
    found = notice(denied(ready), told.clock())
    assert found is not None
    told.reporting.changed([found])
    asyncio.run(told.reporting.audited([found], {"prod": {"fail": 1}}))
    told.tell()
    assert [path for _, path, _ in api.sent] == [EVENTS.format("prod")]


def test_audited_writes_no_report_that_stayed_the_same(ready: Admission, api: Api, told: Told) -> None:
    found = notice(denied(ready), told.clock(), runs=True)
    assert found is not None
    assert event(found, "x")["reason"] == "ModelNotAcceptable"
    for counts in ({"fail": 1}, {"fail": 1}, {"fail": 1, "pass": 1}):
        asyncio.run(told.reporting.audited([found], {"prod": counts}))
    assert [method for method, _, _ in api.sent] == ["POST", "PUT"]
    assert told.counted == {("report", "written"): 3}


def test_the_server_tells_of_a_denial(
    models: AdmissionFiles, tmp_path: Path, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of both endpoints, after the answer; what is written is a metric."""
    monkeypatch.setattr(module, "TURN_SECONDS", 0.05)
    settings = replace(models.settings, reporting=BOTH)
    with serving(settings, tmp_path, cluster=api.cluster) as (_, client):
        assert client.post("/validate", review(named("p")))[1]["response"]["allowed"] is False
        assert (
            client.post("/mutate", review(named("q"), namespace="unruled"))[1]["response"]["allowed"] is False
        )
        for _ in range(200):
            text = client.call("GET", "/metrics")[1]
            if 'gitchain_cluster_objects_total{object="event",outcome="written"} 2.0' in text:
                break
            asyncio.run(asyncio.sleep(0.05))
        else:
            raise AssertionError(text)
    assert {one["regarding"]["name"] for one in written(api, "/events")} == {"p", "q"}


def test_an_api_that_hangs_delays_no_answer(
    models: AdmissionFiles, tmp_path: Path, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reviews go on while the writer still waits for its first answer from the cluster's API."""
    monkeypatch.setattr(module, "TURN_SECONDS", 0.01)
    monkeypatch.setattr(module, "SECONDS", 60.0)
    place = f"{OPEN.format('prod')}/{DENIALS}"
    api.hangs.add(place)
    settings = replace(models.settings, reporting=ReportSettings(events=False, reports=Reports.OPEN))
    with serving(settings, tmp_path, cluster=api.cluster) as (_, client):
        assert client.post("/validate", review(named("first")))[0] == 200
        for _ in range(200):
            if place in api.asked:
                break
            asyncio.run(asyncio.sleep(0.05))
        for number in range(30):
            assert client.post("/validate", review(named(f"p{number}")))[0] == 200
        assert api.asked.count(place) == 1


def test_reporting_without_a_cluster_does_not_start(models: AdmissionFiles, tmp_path: Path) -> None:
    settings = replace(models.settings, reporting=BOTH)
    with pytest.raises(UsageError, match="reporting needs a cluster"):
        serve(settings, TlsFiles(*certificate(tmp_path)), ("127.0.0.1", 0), None, told=print)


def test_notices_of_one_kind_have_one_key(ready: Admission, told: Told) -> None:
    """Time and details are no part of it."""
    one = notice(denied(ready), told.clock())
    assert isinstance(one, ViolationNotice)
    assert replace(one, when=one.when + timedelta(1), details={}).key == one.key
    assert replace(one, outcome="warn").key != one.key
