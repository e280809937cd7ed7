"""Deployment log: signs statements about models in a cluster without blocking the reporter.

admitted ─► queue, bounded ─► outbox, durable ─► signed, logged, stored
a thread              a second thread

Statements in the outbox survive the process and are signed by the next one or by `gitchain sync`. If the queue is
full, the reporting thread writes to the outbox itself. StoreError is raised only if the disk takes nothing: the
caller may then refuse the deployment. Do not report denied requests and dry runs.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from gitchain.errors import GitchainError, StoreError
from gitchain.produce.deployment_statements import DeploymentEvent
from gitchain.produce.sign_and_store import SigningIdentity, drain_outbox
from gitchain.produce.signing_identities import outbox_meta, signing_identity
from gitchain.trust.profiles import Profile
from gitchain.workspace.project import Project

MAX_QUEUED = 1000
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 300.0  # seconds between two attempts while a service is down
KEEP_PAUSE = 1.0  # seconds before the next attempt while the disk takes nothing


@dataclass(slots=True)
class EventCounters:
    """Counters of events for metrics, readable at any time."""

    reported: int = 0
    kept: int = 0
    """Events that are durable in the outbox."""
    signed: int = 0
    pressed: int = 0
    """Reports that found the queue full and waited for the disk."""
    lost: int = 0
    """Events that were lost because the disk took nothing until the end."""
    failures: int = 0
    """Failed attempts to write, sign or store. Each is repeated."""
    problem: str = ""
    """The error of the last attempt; empty after a success."""


@dataclass(frozen=True, slots=True)
class PendingProfile:
    """A trust profile whose service was unreachable: its name, and `load`, called again before each signing."""

    name: str
    load: Callable[[], Profile]


@dataclass
class DeploymentLog:
    """Thread-safe log of deployment events. No other code may use its project object."""

    project: Project
    profile: Profile | PendingProfile
    """With a `PendingProfile` events wait in the outbox until the trust profile can be loaded."""
    identity: SigningIdentity
    limit: int = MAX_QUEUED
    on_error: Callable[[str], None] = lambda _text: None
    """Callback for error messages of one line."""
    counts: EventCounters = field(default_factory=EventCounters)

    def __post_init__(self) -> None:
        """Start the two threads, which first sign statements of earlier processes.

        Raises UsageError or TrustError for an identity that can never sign. With a `PendingProfile` the identity is
        not checked: failures to sign are reported to `on_error`, and signing is retried.
        """
        identity = self.identity
        if isinstance(self.profile, Profile):
            identity = signing_identity(self.project, self.profile, identity)
            self.profile.check(identity.name, identity.key)
        self._meta = outbox_meta(self.profile.name, identity)
        self._queue: queue.Queue[DeploymentEvent | None] = queue.Queue(self.limit)
        self._turn = threading.Lock()
        self._work, self._end, self._last = threading.Event(), threading.Event(), threading.Event()
        self._keeper = threading.Thread(target=self._keep_all, name="gitchain-deployments", daemon=True)
        self._signer = threading.Thread(target=self._sign_all, name="gitchain-deployments-sign", daemon=True)
        self._work.set()
        self._keeper.start()
        self._signer.start()

    @property
    def queued(self) -> int:
        """Return the number of events that are not durable yet."""
        return self._queue.qsize()

    @property
    def waiting(self) -> int:
        """Return the number of unsigned statements in the outbox."""
        return len(self.project.outbox)

    def admitted(self, event: DeploymentEvent) -> None:
        """Report an event. Returns at once, or after it is durable if the queue is full.

        Raises MalformedError for an invalid event; StoreError after `close`, or if the queue is full and the disk
        takes nothing.
        """
        self._check_event(event)
        try:
            self._queue.put_nowait(event)
        except queue.Full:
            with self._turn:
                self.counts.pressed += 1
            self._keep(event)
        with self._turn:
            self.counts.reported += 1

    def keep(self, event: DeploymentEvent) -> None:
        """Report an event, and return when it is durable. Raises MalformedError, or StoreError if the disk is full."""
        self._check_event(event)
        self._keep(event)
        with self._turn:
            self.counts.reported += 1

    def _check_event(self, event: DeploymentEvent) -> None:
        if self._end.is_set():
            raise StoreError("the deployment log is closed")
        event.statement()

    def close(self, seconds: float = 5.0) -> bool:
        """Write the queue to the outbox, try to sign, and stop; return True if all events are durable.

        No event is accepted afterwards.
        """
        self._end.set()
        with suppress(queue.Full):
            self._queue.put(None, timeout=seconds)
        self._keeper.join(seconds)
        self._last.set()
        self._work.set()
        self._signer.join(seconds)
        return not self._keeper.is_alive() and not self.counts.lost

    def _keep(self, event: DeploymentEvent) -> None:
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

    def _kept(self, event: DeploymentEvent) -> bool:
        try:
            self._keep(event)
        except (GitchainError, OSError) as error:
            self._failed(f"cannot keep a deployment: {error}")
            return False
        return True

    def _sign_all(self) -> None:
        pause = FIRST_PAUSE
        while True:
            self._work.wait(LONGEST_PAUSE)  # statements of other processes are not counted
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
        """Sign the outbox. Return True if nothing must be retried."""
        if not len(self.project.outbox):
            return True
        try:
            done = drain_outbox(self.project, self._loaded(), self.identity)
        except (GitchainError, OSError) as error:
            self._failed(f"cannot sign deployments: {error}")
            return False
        with self._turn:
            self.counts.signed += len(done.stored)
        if done.reason is not None:
            self._failed(f"{len(done.queued)} deployment(s) wait: {done.reason}")
            return False
        self.counts.problem = ""
        # Another process signs the rest, and may not have seen later statements.
        return not len(self.project.outbox)

    def _loaded(self) -> Profile:
        if isinstance(self.profile, PendingProfile):
            self.profile = self.profile.load()
        return self.profile

    def _failed(self, problem: str) -> None:
        with self._turn:
            self.counts.failures += 1
            self.counts.problem = problem
        self.on_error(problem)
