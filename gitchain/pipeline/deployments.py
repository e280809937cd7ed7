"""The deployment log: where models went and when they left, stated off the path of who reports it.

    admitted ─► queue, bounded ─► outbox, durable ─► signed, logged, stored
              a thread              a second thread

What is in the outbox survives the process, however it ends, and is signed by the next one or by `gitchain sync`. A
queue that is full is no reason to lose anything: whoever reports writes to the outbox itself, and waits for the disk.
Only a disk that takes nothing is an error, and that is raised: who wants no deployment without its record refuses it.

Denied requests and dry runs are nobody's deployment: they are not to be reported here.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from gitchain.errors import GitchainError, StoreError
from gitchain.evidence.deployment import MAX_FIELD, Verdict, deployment, retirement
from gitchain.evidence.digest import DigestSet
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.evidence.vocabulary import DEPLOYMENT, RETIREMENT
from gitchain.pipeline.profiles import Profile
from gitchain.pipeline.project import Project
from gitchain.pipeline.record import Identity, drain_outbox, outbox_meta, signing_identity

MAX_QUEUED = 1000
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 300.0  # seconds between two tries while a service is down
KEEP_PAUSE = 1.0  # before the next try while the disk takes nothing


@dataclass(frozen=True, slots=True)
class Event:
    """A model that went into a workload or left it, as the cluster said it: texts of others, cut to what a field takes."""

    kind: Literal["deployed", "retired"]
    sha256: str
    by: str
    when: datetime
    environment: str
    cluster: str | None = None
    namespace: str | None = None
    workload: str | None = None
    uid: str | None = None
    image: str | None = None
    model: str | None = None
    """What the workload calls the model, such as a reference."""

    verdict: Verdict | None = None

    def statement(self) -> Statement:
        """Return what is to be signed; MalformedError for a digest that is none."""
        digest = DigestSet({"sha256": self.sha256})
        cluster, namespace = _text(self.cluster), _text(self.namespace)
        workload, uid = _text(self.workload), _text(self.uid)
        model = _text(self.model) or f"sha256:{self.sha256}"
        by, environment = _text(self.by) or "unknown", _text(self.environment, 200) or "unknown"
        when = self.when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        if self.kind == "retired":
            kind = RETIREMENT
            value = retirement(
                model=model,
                environment=environment,
                by=by,
                when=when,
                cluster=cluster,
                namespace=namespace,
                workload=workload,
                uid=uid,
            )
        else:
            kind = DEPLOYMENT
            value = deployment(
                model=model,
                environment=environment,
                by=by,
                when=when,
                cluster=cluster,
                namespace=namespace,
                workload=workload,
                uid=uid,
                image=_text(self.image),
                verdict=self.verdict,
            )
        return Statement.build([ResourceDescriptor(f"sha256:{self.sha256}", digest)], kind, value)


@dataclass(slots=True)
class Counts:
    """What became of the events; for metrics, read at any time."""

    reported: int = 0
    kept: int = 0
    """Durable in the outbox."""
    signed: int = 0
    pressed: int = 0
    """Reports that found the queue full and waited for the disk."""
    lost: int = 0
    """Never durable: the disk took nothing until the end."""
    failures: int = 0
    """Tries to keep, sign or store that failed; each is made again."""
    problem: str = ""
    """Why the last try failed; empty once one succeeds."""


@dataclass
class DeploymentLog:
    """Takes events from any thread. The project is this log's alone: nothing else may use the object meanwhile."""

    project: Project
    profile: Profile
    identity: Identity
    limit: int = MAX_QUEUED
    told: Callable[[str], None] = lambda _text: None
    """Hears what goes wrong, in one line."""
    counts: Counts = field(default_factory=Counts)

    def __post_init__(self) -> None:
        """Start the two threads; what an earlier process left in the outbox is signed at once.

        UsageError or TrustError for an identity that nobody can sign as.
        """
        who = signing_identity(self.project, self.profile, self.identity)
        self.profile.check(who.name, who.key)
        self._meta = outbox_meta(self.profile, who)
        self._queue: queue.Queue[Event | None] = queue.Queue(self.limit)
        self._turn = threading.Lock()
        self._work, self._end, self._last = threading.Event(), threading.Event(), threading.Event()
        self._keeper = threading.Thread(target=self._keep_all, name="gitchain-deployments", daemon=True)
        self._signer = threading.Thread(target=self._sign_all, name="gitchain-deployments-sign", daemon=True)
        self._work.set()
        self._keeper.start()
        self._signer.start()

    @property
    def queued(self) -> int:
        """How many events are not durable yet."""
        return self._queue.qsize()

    @property
    def waiting(self) -> int:
        """How many statements of the outbox are not signed yet."""
        return len(self.project.outbox)

    def admitted(self, event: Event) -> None:
        """Report an event. Returns at once, unless the queue is full: then when the event is durable.

        MalformedError for an event that cannot be stated; StoreError if the queue is full and the disk takes nothing, or
        after `close`.
        """
        if self._end.is_set():
            raise StoreError("the deployment log is closed")
        event.statement()
        try:
            self._queue.put_nowait(event)
        except queue.Full:
            with self._turn:
                self.counts.pressed += 1
            self._keep(event)
        with self._turn:
            self.counts.reported += 1

    def close(self, seconds: float = 5.0) -> bool:
        """Make durable what is queued, try to sign it, and stop; return whether all is durable. No event is taken after."""
        self._end.set()
        with suppress(queue.Full):
            self._queue.put(None, timeout=seconds)
        self._keeper.join(seconds)
        self._last.set()
        self._work.set()
        self._signer.join(seconds)
        return not self._keeper.is_alive() and not self.counts.lost

    def _keep(self, event: Event) -> None:
        statement = event.statement()
        with self._turn:
            self.project.outbox.put(statement.payload, {}, self._meta)
            self.counts.kept += 1
        self._work.set()

    def _keep_all(self) -> None:
        while (event := self._queue.get()) is not None:
            while not self._kept(event):
                if self._end.wait(KEEP_PAUSE) and not self._kept(event):
                    with self._turn:
                        self.counts.lost += 1
                    break

    def _kept(self, event: Event) -> bool:
        try:
            self._keep(event)
        except (GitchainError, OSError) as error:
            self._failed(f"cannot keep a deployment: {error}")
            return False
        return True

    def _sign_all(self) -> None:
        pause = FIRST_PAUSE
        while True:
            self._work.wait(LONGEST_PAUSE)  # what another process left is nobody's report here
            self._work.clear()
            ended = self._last.is_set()
            if self._signed():
                pause = FIRST_PAUSE
            elif not ended:
                self._end.wait(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
                self._work.set()
            if ended:
                return

    def _signed(self) -> bool:
        """Sign what waits; return whether nothing has to be tried again."""
        if not len(self.project.outbox):
            return True
        try:
            done = drain_outbox(self.project, self.profile, self.identity)
        except (GitchainError, OSError) as error:
            self._failed(f"cannot sign deployments: {error}")
            return False
        with self._turn:
            self.counts.signed += len(done.stored)
        if done.reason is not None:
            self._failed(f"{len(done.queued)} deployment(s) wait: {done.reason}")
            return False
        self.counts.problem = ""
        # What is left another process signs, which may not have seen what came meanwhile.
        return not len(self.project.outbox)

    def _failed(self, problem: str) -> None:
        with self._turn:
            self.counts.failures += 1
            self.counts.problem = problem
        self.told(problem)


def _text(text: str | None, limit: int = MAX_FIELD) -> str | None:
    """Return text as a field of a predicate may hold it: what cannot be printed is escaped, what is too long is cut."""
    if not text:
        return None
    shown = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text[:limit])
    return shown[:limit]
