"""Decide about a review: find the namespace's rule, the models in the object, and their verdicts.

An object is admitted for one of these reasons only:

verified      it contains models, all with digests, and the verdict about each is PASSED
no model      it provably contains none, and the rule does not require one (`strict: false`)
nothing new   the request starts nothing: a deletion, an update without effect on what runs, a scale-down
warn, audit   the rule's mode reports problems without enforcing them

A request that cannot be parsed is denied in every mode.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from gitchain.admit.denial_reasons import DenialCode, DenialReason, summary
from gitchain.admit.kinds import KNOWN, WHOLE, starts_nothing
from gitchain.admit.layout_evaluator import LayoutVerdict
from gitchain.admit.models import DemandedModels, models_of
from gitchain.admit.mutate import guard_pod, unguarded
from gitchain.admit.review import GroupVersionKind, Review, ReviewResponse, read_envelope, read_request
from gitchain.admit.scale import Workloads
from gitchain.admit.settings import AdmissionRule, AdmissionSettings
from gitchain.admit.verdict_cache import VerdictCache
from gitchain.errors import GitchainError
from gitchain.layout.model import Layout

POD = GroupVersionKind("", "v1", "Pod")
INLINE_BYTES = 128 << 10
"""Requests above this size are parsed and searched in a thread: 128 KiB take a few milliseconds."""


@dataclass(frozen=True, slots=True)
class AdmissionResult:
    """A response, its reason, and the verdicts that it is based on."""

    uid: str
    answer: ReviewResponse
    reason: str
    review: Review | None = None
    rule: AdmissionRule | None = None
    verdicts: tuple[LayoutVerdict, ...] = field(default=(), repr=False)
    problems: tuple[DenialReason, ...] = ()
    """The problems, whether the rule's mode enforces them or not."""
    layout: Layout | None = field(default=None, repr=False)
    """The layout that was in force for the object's namespace."""


class Admission:
    """The settings, a verdict cache for each layout, and the client that looks up scaled workloads."""

    def __init__(
        self,
        settings: AdmissionSettings,
        caches: Mapping[str, VerdictCache],
        workloads: Workloads | None = None,
    ) -> None:
        self.settings = settings
        self.caches = caches
        self._workloads = workloads

    async def decide(self, body: bytes) -> AdmissionResult:
        """Answer one AdmissionReview. Raises MalformedError or LimitError only if the request has no readable id."""
        large = len(body) > INLINE_BYTES
        review = await _read(body, large=large)
        return review if isinstance(review, AdmissionResult) else await self.review(review, large=large)

    async def mutate(self, body: bytes) -> AdmissionResult:
        """Answer one AdmissionReview of a mutating webhook: a patch for a new pod, or the reason why it cannot be guarded.

        An allowed pod is not admitted yet: the validating webhook decides about the patched pod. Raises the errors of
        `decide`.
        """
        review = await _read(body, large=len(body) > INLINE_BYTES)
        if isinstance(review, AdmissionResult):
            return review
        rule = self.settings.rule_for(review.namespace)
        if rule is None:
            return _denied(review, _no_rule(review))
        new = (review.kind, review.operation, review.subresource) == (POD, "CREATE", "")
        if not new or rule.guarding is None or review.object is None:
            return AdmissionResult(
                review.uid,
                ReviewResponse(allowed=True, audit={"outcome": "not guarded"}),
                "not guarded",
                review,
                rule,
            )
        found = guard_pod(review.object, rule.guarding)
        if found.problems:
            return _faulty(review, rule, found.problems, ())
        if rule.mode != "enforce":  # this mode admits pods that the guard on the node would stop
            return AdmissionResult(
                review.uid,
                ReviewResponse(allowed=True, audit={"outcome": "not guarded"}),
                "not guarded",
                review,
                rule,
            )
        answer = ReviewResponse(allowed=True, audit={"outcome": "guarded"}, patch=found.patch)
        return AdmissionResult(review.uid, answer, "guarded", review, rule)

    async def review(self, review: Review, *, large: bool = False) -> AdmissionResult:
        """Answer a parsed review. A large one is searched in a thread."""
        rule = self.settings.rule_for(review.namespace)
        found = await self._review(review, rule, large=large)
        return replace(found, layout=self.caches[rule.layout].evaluator.layout) if rule else found

    async def _review(self, review: Review, rule: AdmissionRule | None, *, large: bool) -> AdmissionResult:
        if (why := starts_nothing(review)) is not None:
            answer = ReviewResponse(allowed=True, audit={"outcome": why})
            return AdmissionResult(review.uid, answer, "nothing new", review, rule)
        if rule is None:
            return _denied(review, _no_rule(review))
        if review.subresource == "scale" and self._workloads is not None:
            return await self._scale(review, rule, self._workloads)
        return await self._judge(review, rule, review, large=large)

    async def _scale(self, review: Review, rule: AdmissionRule, workloads: Workloads) -> AdmissionResult:
        """Answer a scale-up like an update of the workload, within the same time limit."""
        try:
            async with asyncio.timeout(self.settings.times.answer):
                seen = await workloads.scaled(review)
                return await self._judge(review, rule, seen, large=True)
        except TimeoutError:
            problem = DenialReason(DenialCode.TIMEOUT, f"no decision within {self.settings.times.answer} s")
        except GitchainError as error:
            problem = DenialReason(
                DenialCode.UNKNOWN_OPERATION,
                f"what is scaled cannot be looked at: {error}",
                "request",
                error.help or "do it on the object itself",
            )
        return _faulty(review, rule, (problem,), ())

    async def _judge(
        self, review: Review, rule: AdmissionRule, seen: Review, *, large: bool
    ) -> AdmissionResult:
        """Answer a review, using the object in `seen`."""
        problem = _unreadable(seen)
        if problem is not None:
            return _faulty(review, rule, (problem,), ())
        found = (
            await asyncio.to_thread(models_of, seen, rule.looking) if large else models_of(seen, rule.looking)
        )
        cache = self.caches[rule.layout]
        digests = () if found.problems else tuple(found.models)
        if len(digests) == 1:
            verdicts = [await cache.verdict(digests[0])]
        else:
            verdicts = await asyncio.gather(*(cache.verdict(digest) for digest in digests))
        problems = (
            *found.problems,
            *_unguarded(seen, rule),
            *(one for verdict in verdicts for one in verdict.problems),
        )
        if problems:
            return _faulty(review, rule, problems, tuple(verdicts))
        return _admitted(review, rule, found, tuple(verdicts), cache)


async def _read(body: bytes, *, large: bool) -> Review | AdmissionResult:
    uid, request = await asyncio.to_thread(read_envelope, body) if large else read_envelope(body)
    try:
        return read_request(uid, request)
    except GitchainError as error:
        problem = DenialReason(DenialCode.MALFORMED, str(error), "", "gitchain reads admission.k8s.io/v1")
        return AdmissionResult(
            uid, ReviewResponse(allowed=False, problems=(problem,)), "malformed", problems=(problem,)
        )


def _unguarded(review: Review, rule: AdmissionRule) -> tuple[DenialReason, ...]:
    """Return problems of a running pod's unverified volumes, if the rule requires verified ones."""
    if rule.guarding is None or review.kind != POD or review.object is None:
        return ()
    return unguarded(review.object, rule.guarding, review.old if review.operation == "UPDATE" else None)


def _unreadable(review: Review) -> DenialReason | None:
    """Return the problem of an object that cannot be parsed, or None."""
    if review.operation == "CONNECT" or review.subresource not in WHOLE:
        what = review.subresource or review.operation.lower()
        return DenialReason(
            DenialCode.UNKNOWN_OPERATION,
            f"{what} of {review.resource} carries no object to look at",
            "request",
            "do it on the object itself, or leave this subresource out of the webhook's rules",
        )
    if review.kind not in KNOWN:
        return DenialReason(
            DenialCode.UNKNOWN_KIND,
            f"{review.kind} is not known",
            "request.kind",
            "leave it out of the webhook's rules, or use a newer gitchain",
        )
    return None


def _no_rule(review: Review) -> DenialReason:
    return DenialReason(
        DenialCode.NO_RULE,
        f"no rule is for namespace {review.namespace or '(none)'}",
        "",
        "add one to the settings of gitchain serve, or exclude the namespace in the webhook",
    )


def _denied(review: Review, problem: DenialReason) -> AdmissionResult:
    answer = ReviewResponse(
        allowed=False, problems=(problem,), audit={"outcome": "denied", "problems": problem.code}
    )
    return AdmissionResult(review.uid, answer, "denied", review, problems=(problem,))


def _faulty(
    review: Review,
    rule: AdmissionRule,
    problems: tuple[DenialReason, ...],
    verdicts: tuple[LayoutVerdict, ...],
) -> AdmissionResult:
    """Return the response to problems under the rule's mode."""
    audit = {
        "outcome": {"enforce": "denied", "warn": "warned", "audit": "audited"}[rule.mode],
        "layout": rule.layout,
        "problems": summary(problems, 1500),
    }
    if rule.mode == "enforce":
        answer = ReviewResponse(allowed=False, problems=problems, audit=audit)
    elif rule.mode == "warn":
        answer = ReviewResponse(
            allowed=True, warnings=tuple(f"gitchain: {one}" for one in problems), audit=audit
        )
    else:
        answer = ReviewResponse(allowed=True, audit=audit)
    return AdmissionResult(review.uid, answer, audit["outcome"], review, rule, verdicts, problems)


def _admitted(
    review: Review,
    rule: AdmissionRule,
    demanded: DemandedModels,
    verdicts: tuple[LayoutVerdict, ...],
    cache: VerdictCache,
) -> AdmissionResult:
    """Return an allowing response, after a final check that it has a reason."""
    if {one.sha256 for one in verdicts if one.passed} != set(demanded.models):
        raise ValueError("an admission without a verdict about each model")
    if not verdicts:
        if rule.looking.demands_model(review.kind):
            raise ValueError("an admission without a model where one is demanded")
        return AdmissionResult(
            review.uid, ReviewResponse(allowed=True, audit={"outcome": "no model"}), "no model", review, rule
        )
    layout = cache.evaluator.layout
    audit = {
        "outcome": "verified",
        "layout": f"{layout.name}@{layout.version}" if layout else rule.layout,
        "models": " ".join(f"sha256:{one.sha256}" for one in verdicts[:16]),
    }
    warnings = tuple(dict.fromkeys(text for one in verdicts for text in one.warnings))
    if stale := cache.stale:
        warnings = (stale, *warnings)
    return AdmissionResult(
        review.uid,
        ReviewResponse(allowed=True, warnings=warnings, audit=audit),
        "verified",
        review,
        rule,
        verdicts,
    )
