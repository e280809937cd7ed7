"""Under cron: silent while nothing changes, one alert an event, posted as chat systems take it, by real HTTP servers."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from gitchain.errors import ExitCode, TransportError, UsageError
from gitchain.monitor import standing
from gitchain.monitor.alerts import AlertCode, about_entries, alert
from gitchain.monitor.notify import MAX_TEXT, PAUSES, Webhook, text_of, webhook_url
from gitchain.workspace.user_directory import user_directory
from tests.monitor.test_cli import ADA, SCHEMA, Done, gitchain, instance, log_entry  # noqa: F401 - the fixture
from tests.support.adversarial_log import served

Gitchain = Callable[..., Done]
PAGE = Path(__file__).parents[2] / "docs/monitor.md"


def document(*alerts: Any) -> dict[str, Any]:
    return {"schema": "x", "alerts": [one.to_json() | {"new": True} for one in alerts]}


def answering(*statuses: int) -> tuple[list[bytes], Callable[[str, bytes], tuple[int, bytes]]]:
    """Return what is posted, and a server's answers: these statuses, the last one for ever."""
    posted: list[bytes] = []

    def answer(_path: str, body: bytes) -> tuple[int, bytes]:
        posted.append(body)
        return statuses[min(len(posted), len(statuses)) - 1], b"ok"

    return posted, answer


def test_the_documented_cron_line_run_twice(gitchain: Gitchain, git_repo: Path, tmp_path: Path) -> None:  # noqa: F811
    """The page's line, run as cron runs it: nothing on stdout or stderr, code 0; an event is told by one run alone."""
    (line,) = re.findall(r"^\*/10 .*$", PAGE.read_text(), re.MULTILINE)
    command = shlex.split(line.split(None, 6)[6])
    assert command[0] == "gitchain"
    command = [sys.executable, "-m", *command]
    command[command.index("/srv/models")] = str(git_repo)
    secret = tmp_path / "webhook"
    command[command.index("/etc/gitchain/webhook")] = str(secret)
    posted, answer = answering(200)

    def cron() -> tuple[int, str, str]:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
        return done.returncode, done.stdout, done.stderr

    with served(answer) as url:
        secret.write_text(f"{url}/services/T0/B0/secret\n")
        assert [cron(), cron()] == [(0, "", "")] * 2
        assert posted == []
        log_entry(ADA)
        log_entry(ADA)
        code, out, err = cron()
        assert (code, err, out.count("error[GC-M04]")) == (ExitCode.FAILED, "", 1)
        assert "entries " in out
        assert cron() == (0, "", "")
    assert len(posted) == 1
    assert list(json.loads(posted[0])) == ["text"]
    assert "GC-M04" in json.loads(posted[0])["text"]


def test_what_lasts_is_told_once(gitchain: Gitchain) -> None:  # noqa: F811
    """A log that cannot be read: one alert and one post; the code says that it lasts; back and gone again: told again."""
    where = f"{instance().origin}=http://127.0.0.1:1"
    posted, answer = answering(204)
    with served(answer) as url:
        command = ("-q", "monitor", "--webhook", url)
        first = gitchain(*command, "--url", where)
        assert (first.code, first.out.count("GC-M08"), len(posted)) == (ExitCode.UNAVAILABLE, 1, 1)
        again = gitchain(*command, "--url", where)
        assert (again.code, again.out, again.err, len(posted)) == (ExitCode.UNAVAILABLE, "", "", 1)
        lasting = gitchain("monitor", "--webhook", url, "--url", where)
        assert "still     [GC-M08]" in lasting.out
        shown = gitchain("monitor", "--webhook", url, "--url", where, "--json").json["alerts"]
        assert [one["new"] for one in shown] == [False]
        assert gitchain(*command).code == 0
        assert gitchain(*command, "--url", where).out.count("GC-M08") == 1
        assert len(posted) == 2
    Draft202012Validator(SCHEMA).validate(json.loads(posted[0]))


def test_another_monitor_tells_for_itself(gitchain: Gitchain) -> None:  # noqa: F811
    """What a person saw on the terminal is not lost to the webhook."""
    where = f"{instance().origin}=http://127.0.0.1:1"
    posted, answer = answering(200)
    assert "GC-M08" in gitchain("-q", "monitor", "--url", where).out
    with served(answer) as url:
        assert "GC-M08" in gitchain("-q", "monitor", "--url", where, "--webhook", url).out
    assert len(posted) == 1


def test_a_webhook_that_fails_forgets_nothing(gitchain: Gitchain, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """Exit code 7 and one line without the secret; the next look tells it, by output and by webhook."""
    monkeypatch.setattr("gitchain.monitor.notify.PAUSES", (0.0, 0.0))
    gitchain("monitor")
    log_entry(ADA)
    posted, answer = answering(403, 200)
    with served(answer) as url:
        monkeypatch.setenv("GITCHAIN_WEBHOOK", f"{url}/services/s3cret")
        done = gitchain("-q", "monitor")
        assert (done.code, done.err.count("error:"), "s3cret" in done.out + done.err) == (7, 1, False)
        assert gitchain("-q", "monitor").code == ExitCode.FAILED
        assert gitchain("-q", "monitor").code == ExitCode.OK
    assert len(posted) == 2
    assert not [one for one in user_directory().rglob("*") if one.is_file() and b"s3cret" in one.read_bytes()]


@pytest.mark.parametrize(
    ("statuses", "calls", "taken"),
    [
        ((200,), 1, True),
        ((204,), 1, True),
        ((500, 200), 2, True),
        ((429, 503, 200), 3, True),
        ((500, 500, 500, 200), 3, False),
        ((400,), 1, False),
        ((302,), 1, False),
        ((404,), 1, False),
    ],
)
def test_what_a_server_answers(statuses: tuple[int, ...], calls: int, taken: bool) -> None:
    """2xx is taken; 429 and 5xx are tried again, with pauses; anything else is final, redirects too."""
    pauses: list[float] = []
    posted, answer = answering(*statuses)
    with served(answer) as url:
        hook = Webhook(f"{url}/token", "slack", pause=pauses.append)
        if taken:
            hook.post(document(alert(AlertCode.SPLIT, "log.example.com")))
        else:
            with pytest.raises(TransportError) as error:
                hook.post(document(alert(AlertCode.SPLIT, "log.example.com")))
            assert "token" not in str(error.value)
    assert len(posted) == calls
    assert pauses == list(PAUSES[: calls - 1])


def test_a_server_that_is_not_there_or_hangs() -> None:
    """All attempts together take a bounded time."""
    with pytest.raises(TransportError):
        Webhook("http://127.0.0.1:1/x", pause=lambda _seconds: None).post(document())
    with pytest.raises(TransportError):
        Webhook("http://127.0.0.1:1/x", pause=lambda _seconds: None, seconds=0).post(document())


def test_the_text_is_bounded_and_no_markup() -> None:
    """What a log or a certificate says reaches a channel as text: no links, no mentions, no control characters."""
    evil = "<!channel> <https://evil.example|ok> & \x1b[31m\u202e"
    text = text_of(
        document(
            *(about_entries(AlertCode.UNKNOWN_ENTRY, "error", evil, evil * 100, [1, 2]) for _ in range(50))
        )
    )
    assert "<" not in text
    assert ">" not in text
    assert "&lt;!channel&gt;" in text
    assert all(char.isprintable() or char == "\n" for char in text)
    assert len(text) < MAX_TEXT * 5
    assert text.startswith("gitchain: 50 new alerts\n")
    assert text_of(document(alert(AlertCode.SPLIT, "x"))).startswith("gitchain: 1 new alert\n")


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/x",
        "ftp://127.0.0.1/",
        "https://user:secret@example.com/",
        "x",
        "https://",
        "https://a b",
    ],
)
def test_where_alerts_may_go(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """https, or http to this machine; the error names where the URL came from and not the URL."""
    file = tmp_path / "webhook"
    file.write_text(url)
    monkeypatch.setenv("GITCHAIN_WEBHOOK", url)
    for given in ((url, None), (None, file), (None, None)):
        with pytest.raises(UsageError) as error:
            webhook_url(*given)
        assert "secret" not in str(error.value)
    monkeypatch.delenv("GITCHAIN_WEBHOOK")
    assert webhook_url(None, None) is None
    with pytest.raises(UsageError, match="twice"):
        webhook_url(url, file)
    with pytest.raises(UsageError, match="cannot read"):
        webhook_url(None, tmp_path / "nowhere")


@pytest.mark.parametrize(
    "text",
    ["", " \n", "\ufeffhttps://example.com/x", "https://example.com/\0", f"https://e.com/{' ' * 20_000}x"],
)
def test_webhook_file_without_a_url_is_no_wish_for_silence(text: str, tmp_path: Path) -> None:
    """An empty file once meant that alerts go nowhere, and what followed after 16 kB was cut off unread."""
    file = tmp_path / "webhook"
    file.write_text(text)
    with pytest.raises(UsageError):
        webhook_url(None, file)


def test_lost_or_damaged_memory_of_what_was_told(isolated: Path) -> None:
    """It tells again, and never less."""
    isolated.mkdir(exist_ok=True)
    found = [alert(AlertCode.SPLIT, "log", about="a"), alert(AlertCode.SPLIT, "log", got="x", about="b")]
    name = standing.scope("a", "b")
    standing.remember(name, found)
    assert standing.reported_before(name) == {standing.event_of(one) for one in found}
    assert standing.reported_before(standing.scope("ab")) == frozenset()
    (file,) = (user_directory() / "monitor").glob("standing-*.json")
    assert file.stat().st_mode & 0o777 == 0o600
    for data in (
        b"",
        b"{}",
        b'{"schema":"x","events":[]}',
        b'{"schema":"https://gitchain.dev/monitor-standing/v1"}',
        b"\xff",
    ):
        file.write_bytes(data)
        assert standing.reported_before(name) == frozenset()
    standing.remember(name, [])
    assert standing.reported_before(name) == frozenset()


def test_the_same_event_with_other_details_is_the_same() -> None:
    assert standing.event_of(alert(AlertCode.REWOUND, "log", got="5")) == standing.event_of(
        alert(AlertCode.REWOUND, "log", got="6")
    )
    assert standing.event_of(alert(AlertCode.REWOUND, "log")) != standing.event_of(
        alert(AlertCode.SPLIT, "log")
    )


def test_other_repositories_of_mine_are_no_strangers(
    gitchain: Gitchain,  # noqa: F811
    tmp_path: Path,
    git: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Several repositories on one instance: what I signed in another is explained by it; what nothing explains is one alert."""
    assert gitchain("monitor").code == 0
    here = Path.cwd()
    other = tmp_path / "other"
    git(tmp_path, "init", "-q", str(other))
    monkeypatch.chdir(other)
    (other / "a.txt").write_text("a")
    assert gitchain("init", "--local", "--name", "other", "--no-hooks").code == 0
    for text in ("1", "2", "3"):
        (other / "a.txt").write_text(text)
        assert gitchain("attest", "x", "-p", "a.txt").code == 0
    monkeypatch.chdir(here)
    done = gitchain("monitor", "--json")
    assert (done.code, done.codes) == (0, [])
    for _ in range(3):
        log_entry(ADA)
    other.rename(tmp_path / "gone")
    (alert_,) = gitchain("monitor", "--json").json["alerts"]
    assert (alert_["code"], alert_["count"], len(alert_["entries"])) == ("GC-M04", 3, 3)
    assert alert_["index"] == alert_["entries"][0]
