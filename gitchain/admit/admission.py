"""The answer to a review: the operator's rule for the namespace, the models that the object names, their verdicts.

An object is admitted for one of these reasons, and no other:

    verified      it names models, all of them by their content, and the verdict about each is PASSED
    no model      it provably names none, and the rule does not demand one (`strict: false`)
    nothing new   nothing can start by it: a deletion, an update that changes nothing that runs, a scale that does not grow
    warn, audit   the rule's mode says that what is wrong is told and not enforced

What cannot be read is denied whatever the mode: there is no object to say anything about.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from gitchain.admit.config import Rule, Settings
from gitchain.admit.engine import Engine
from gitchain.admit.gate import Verdict
from gitchain.admit.kinds import KNOWN, WHOLE, starts_nothing
from gitchain.admit.models import Found, models_of
from gitchain.admit.mutate import guard_pod, unguarded
from gitchain.admit.problems import Code, Problem, summary
from gitchain.admit.review import Answer, Kind, Review, read_envelope, read_request
from gitchain.admit.scale import Workloads
from gitchain.errors import GitchainError

POD = Kind("", "v1", "Pod")
INLINE_BYTES = 128 << 10
"""Larger requests are read and searched in a thread: 128 KiB take a few milliseconds."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """An answer, for which reason it was given, and what it rests on."""

    uid: str
    answer: Answer
    reason: str
    review: Review | None = None
    rule: Rule | None = None
    verdicts: tuple[Verdict, ...] = field(default=(), repr=False)


class Admission:
    """The settings, an engine for each layout, and where workloads are looked up when they are scaled."""

    def __init__(
        self, settings: Settings, engines: Mapping[str, Engine], workloads: Workloads | None = None
    ) -> None:
        self.settings = settings
        self.engines = engines
        self._workloads = workloads

    async def judge(self, body: bytes) -> Judgement:
        """Answer one AdmissionReview. Raises MalformedError or LimitError only where there is no id to answer to."""
        large = len(body) > INLINE_BYTES
        review = await _read(body, large=large)
        return review if isinstance(review, Judgement) else await self.review(review, large=large)

    async def mutate(self, body: bytes) -> Judgement:
        """Answer one AdmissionReview of a mutating webhook: what has to be changed in a new pod, or why it cannot be.

        That a pod is let through here admits nothing: it is judged afterwards, as it then is. Raises as `judge` does.
        """
        review = await _read(body, large=len(body) > INLINE_BYTES)
        if isinstance(review, Judgement):
            return review
        rule = self.settings.rule_for(review.namespace)
        if rule is None:
            return _denied(review, _no_rule(review))
        new = (review.kind, review.operation, review.subresource) == (POD, "CREATE", "")
        if not new or rule.guarding is None or review.object is None:
            return Judgement(
                review.uid,
                Answer(allowed=True, audit={"outcome": "not guarded"}),
                "not guarded",
                review,
                rule,
            )
        found = guard_pod(review.object, rule.guarding)
        if found.problems:
            return _faulty(review, rule, found.problems, ())
        if rule.mode != "enforce":  # the guard on the node would stop what this mode lets run
            return Judgement(
                review.uid,
                Answer(allowed=True, audit={"outcome": "not guarded"}),
                "not guarded",
                review,
                rule,
            )
        answer = Answer(allowed=True, audit={"outcome": "guarded"}, patch=found.patch)
        return Judgement(review.uid, answer, "guarded", review, rule)

    async def review(self, review: Review, *, large: bool = False) -> Judgement:
        """Answer a review that was read; a large one is searched beside the event loop."""
        if (why := starts_nothing(review)) is not None:
            return Judgement(review.uid, Answer(allowed=True, audit={"outcome": why}), "nothing new", review)
        rule = self.settings.rule_for(review.namespace)
        if rule is None:
            return _denied(review, _no_rule(review))
        if review.subresource == "scale" and self._workloads is not None:
            return await self._scale(review, rule, self._workloads)
        return await self._judge(review, rule, review, large=large)

    async def _scale(self, review: Review, rule: Rule, workloads: Workloads) -> Judgement:
        """Answer about more of a workload as about an update of it, in as much time as for any other answer."""
        try:
            async with asyncio.timeout(self.settings.times.answer):
                seen = await workloads.scaled(review)
                return await self._judge(review, rule, seen, large=True)
        except TimeoutError:
            problem = Problem(Code.TIMEOUT, f"no decision within {self.settings.times.answer} s")
        except GitchainError as error:
            problem = Problem(
                Code.UNKNOWN_OPERATION,
                f"what is scaled cannot be looked at: {error}",
                "request",
                error.help or "do it on the object itself",
            )
        return _faulty(review, rule, (problem,), ())

    async def _judge(self, review: Review, rule: Rule, seen: Review, *, large: bool) -> Judgement:
        """Answer a review by the object in `seen`."""
        problem = _unreadable(seen)
        if problem is not None:
            return _faulty(review, rule, (problem,), ())
        found = (
            await asyncio.to_thread(models_of, seen, rule.looking) if large else models_of(seen, rule.looking)
        )
        engine = self.engines[rule.layout]
        asked = () if found.problems else tuple(found.models)
        if len(asked) == 1:
            verdicts = [await engine.verdict(asked[0])]
        else:
            verdicts = await asyncio.gather(*(engine.verdict(digest) for digest in asked))
        problems = (
            *found.problems,
            *_unguarded(seen, rule),
            *(one for verdict in verdicts for one in verdict.problems),
        )
        if problems:
            return _faulty(review, rule, problems, tuple(verdicts))
        return _admitted(review, rule, found, tuple(verdicts), engine)


async def _read(body: bytes, *, large: bool) -> Review | Judgement:
    uid, request = await asyncio.to_thread(read_envelope, body) if large else read_envelope(body)
    try:
        return read_request(uid, request)
    except GitchainError as error:
        problem = Problem(Code.MALFORMED, str(error), "", "gitchain reads admission.k8s.io/v1")
        return Judgement(uid, Answer(allowed=False, problems=(problem,)), "malformed")


def _unguarded(review: Review, rule: Rule) -> tuple[Problem, ...]:
    """Return why a pod that runs has volumes that nobody verifies, where the rule wants them verified."""
    if rule.guarding is None or review.kind != POD or review.object is None:
        return ()
    return unguarded(review.object, rule.guarding, review.old if review.operation == "UPDATE" else None)


def _unreadable(review: Review) -> Problem | None:
    """Return why the object cannot be looked at; None if it can."""
    if review.operation == "CONNECT" or review.subresource not in WHOLE:
        what = review.subresource or review.operation.lower()
        return Problem(
            Code.UNKNOWN_OPERATION,
            f"{what} of {review.resource} carries no object to look at",
            "request",
            "do it on the object itself, or leave this subresource out of the webhook's rules",
        )
    if review.kind not in KNOWN:
        return Problem(
            Code.UNKNOWN_KIND,
            f"{review.kind} is not known",
            "request.kind",
            "leave it out of the webhook's rules, or use a newer gitchain",
        )
    return None


def _no_rule(review: Review) -> Problem:
    return Problem(
        Code.NO_RULE,
        f"no rule is for namespace {review.namespace or '(none)'}",
        "",
        "add one to the settings of gitchain serve, or exclude the namespace in the webhook",
    )


def _denied(review: Review, problem: Problem) -> Judgement:
    answer = Answer(allowed=False, problems=(problem,), audit={"outcome": "denied", "problems": problem.code})
    return Judgement(review.uid, answer, "denied", review)


def _faulty(
    review: Review, rule: Rule, problems: tuple[Problem, ...], verdicts: tuple[Verdict, ...]
) -> Judgement:
    """Return what the rule's mode makes of problems."""
    audit = {
        "outcome": {"enforce": "denied", "warn": "warned", "audit": "audited"}[rule.mode],
        "layout": rule.layout,
        "problems": summary(problems, 1500),
    }
    if rule.mode == "enforce":
        answer = Answer(allowed=False, problems=problems, audit=audit)
    elif rule.mode == "warn":
        answer = Answer(allowed=True, warnings=tuple(f"gitchain: {one}" for one in problems), audit=audit)
    else:
        answer = Answer(allowed=True, audit=audit)
    return Judgement(review.uid, answer, audit["outcome"], review, rule, verdicts)


def _admitted(
    review: Review, rule: Rule, found: Found, verdicts: tuple[Verdict, ...], engine: Engine
) -> Judgement:
    """Return an allow, after looking once more that it has a reason."""
    if {one.sha256 for one in verdicts if one.passed} != set(found.models):
        raise ValueError("an admission without a verdict about each model")
    if not verdicts:
        if rule.looking.strict:
            raise ValueError("an admission without a model where one is demanded")
        return Judgement(
            review.uid, Answer(allowed=True, audit={"outcome": "no model"}), "no model", review, rule
        )
    layout = engine.gate.layout
    audit = {
        "outcome": "verified",
        "layout": f"{layout.name}@{layout.version}" if layout else rule.layout,
        "models": " ".join(f"sha256:{one.sha256}" for one in verdicts[:16]),
    }
    warnings = tuple(dict.fromkeys(text for one in verdicts for text in one.warnings))
    if stale := engine.stale:
        warnings = (stale, *warnings)
    return Judgement(
        review.uid,
        Answer(allowed=True, warnings=warnings, audit=audit),
        "verified",
        review,
        rule,
        verdicts,
    )
