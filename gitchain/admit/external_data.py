"""Verify digests for other policy engines: plain JSON for Kyverno and others, external data for Gatekeeper.

    POST /v1/decide    {"layout": "credit", "references": ["oci://registry.example.com/m@sha256:…", "sha256:…"]}
    POST /gatekeeper   {"apiVersion": "externaldata.gatekeeper.sh/v1beta1", "kind": "ProviderRequest",
                        "request": {"keys": ["credit|registry.example.com/m@sha256:…"]}}

Format for Gatekeeper: https://github.com/open-policy-agent/frameworks/blob/master/constraint/pkg/externaldata . A reference
has to name its content by digest. The author of the cluster's policy chooses the layout. Every key that does not verify
gets an error: an answer without an error means PASSED. schemas/decide.schema.json defines the plain format.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gitchain.admit import references
from gitchain.admit.denial_reasons import DenialCode, DenialReason, printable, summary
from gitchain.admit.layout_evaluator import LayoutVerdict
from gitchain.admit.model_problems import MAX_MODELS
from gitchain.admit.verdict_cache import VerdictCache
from gitchain.errors import MalformedError
from gitchain.evidence.canonical import Json, strict_json
from gitchain.evidence.digest import Sha256
from gitchain.evidence.fields import Object, as_array, as_object, as_string, get_object, get_string

MAX_ASKED_BYTES = 1 << 20
EXTERNAL_DATA = "externaldata.gatekeeper.sh/v1beta1"
DECISION = "https://gitchain.dev/decision/v1"


@dataclass(frozen=True, slots=True)
class ReferenceResult:
    """Result for one reference, in the form that was given."""

    reference: str
    problems: tuple[DenialReason, ...]
    verdict: LayoutVerdict | None = None

    @property
    def verified(self) -> bool:
        """Return True if the reference has a digest and its verdict is PASSED."""
        return not self.problems and self.verdict is not None and self.verdict.passed

    def to_json(self) -> dict[str, Json]:
        """Return the result in the format of `/v1/decide`."""
        problems: list[Json] = [
            {"code": str(one.code), "message": printable(one.message), "help": printable(one.help) or None}
            for one in self.problems
        ]
        digest = f"sha256:{self.verdict.sha256}" if self.verdict else None
        return {
            "reference": self.reference,
            "verified": self.verified,
            "digest": digest,
            "problems": problems,
        }


async def decide_plain(body: bytes, caches: Mapping[str, VerdictCache]) -> dict[str, Json]:
    """Answer `/v1/decide`. Raises MalformedError or LimitError for an invalid request."""
    question = _question(body)
    unknown = question.keys() - {"layout", "references"}
    if unknown:
        raise MalformedError("unknown field", where="question", got=ascii(min(unknown))[:100])
    layout = get_string(question, "layout", "question")
    texts = _texts(question.get("references"), "references")
    results = await asyncio.gather(*(_result(layout, text, caches) for text in texts))
    problems = tuple(one for result in results for one in result.problems)
    verified = bool(results) and all(result.verified for result in results)
    message = "verified" if verified else summary(problems) or "the request has no references"
    return {
        "schema": DECISION,
        "verified": verified,
        "message": message,
        "results": [result.to_json() for result in results],
    }


async def decide_external(body: bytes, caches: Mapping[str, VerdictCache]) -> dict[str, Json]:
    """Answer a Gatekeeper ProviderRequest. Raises MalformedError or LimitError for an invalid request."""
    question = _question(body)
    for key, expected in (("apiVersion", EXTERNAL_DATA), ("kind", "ProviderRequest")):
        if question.get(key) != expected:
            raise MalformedError("not a ProviderRequest", where=key, expected=expected)
    keys = _texts(get_object(question, "request", "question").get("keys"), "request.keys")
    items = await asyncio.gather(*(_item(key, caches) for key in keys))
    return {
        "apiVersion": EXTERNAL_DATA,
        "kind": "ProviderResponse",
        "response": {"idempotent": True, "items": list(items), "systemError": ""},
    }


def _question(body: bytes) -> Object:
    return as_object(strict_json(body, "question", max_bytes=MAX_ASKED_BYTES), "question")


def _texts(value: Json, where: str) -> Sequence[str]:
    return [as_string(item, where) for item in as_array(value, where, limit=MAX_MODELS)]


async def _item(key: str, caches: Mapping[str, VerdictCache]) -> dict[str, Json]:
    layout, _, text = key.partition("|")
    result = await _result(layout, text, caches)
    if not result.verified or result.verdict is None:
        return {"key": key, "value": "", "error": summary(result.problems, 1000) or "not verified"}
    return {"key": key, "value": f"sha256:{result.verdict.sha256}", "error": ""}


async def _result(layout: str, text: str, caches: Mapping[str, VerdictCache]) -> ReferenceResult:
    cache = caches.get(layout)
    if cache is None:
        known = ", ".join(sorted(caches))
        problem = DenialReason(
            DenialCode.NO_RULE, f"no layout is called {ascii(layout)[:100]}", "", f"one of: {known}"
        )
        return ReferenceResult(text, (problem,))
    digest = references.digest(text) or _content(text)
    if digest is None:
        problem = DenialReason(
            DenialCode.NO_DIGEST,
            f"{ascii(text)[:200]} names no content",
            "",
            "ask about sha256:DIGEST or NAME@sha256:DIGEST",
        )
        return ReferenceResult(text, (problem,))
    verdict = await cache.verdict(digest)
    return ReferenceResult(text, verdict.problems, verdict)


def _content(text: str) -> Sha256 | None:
    """Return the digest that the protocol enforces for a reference, with or without a scheme."""
    found = references.uri(text, "", "") if "://" in text else references.image(text, "", "")
    return found.sha256 if found.basis == "content" else None
