"""Twenty things that people write into the chart's values and do not mean, and what `helm` has to say of each."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from tests.stack import chart

Change = Callable[[dict[str, Any], dict[str, Any]], object]
"""Makes the mistake: of the values, and of the settings in them."""

MISTAKES: dict[str, tuple[Change, str]] = {
    "no settings at all": (lambda v, _: v.update(settings={}), "at '/settings': missing properties 'layouts', 'rules'"),
    "no rule": (lambda _, s: s.pop("rules"), "at '/settings': missing property 'rules'"),
    "an empty list of rules": (lambda _, s: s.update(rules=[]), "at '/settings/rules': minItems: got 0, want 1"),
    "a misspelt field": (lambda _, s: s.update(decision=100), "at '/settings': additional properties 'decision' not allowed"),
    "a misspelt field of a layout": (
        lambda _, s: s["layouts"]["credit"].update(minimumversion=3),
        "at '/settings/layouts/credit': additional properties 'minimumversion' not allowed",
    ),
    "nobody signs": (
        lambda _, s: s["layouts"]["credit"].update(signers=[]),
        "at '/settings/layouts/credit/signers': minItems: got 0, want 1",
    ),
    "a signer without an issuer": (
        lambda _, s: s["layouts"]["credit"]["signers"][0].pop("issuer"),
        "at '/settings/layouts/credit/signers/0': missing property 'issuer'",
    ),
    "a signer as text": (
        lambda _, s: s["layouts"]["credit"].update(signers=["risk@example.com"]),
        "at '/settings/layouts/credit/signers/0': got string, want object",
    ),
    "no trust": (
        lambda _, s: s["layouts"]["credit"].pop("trust"),
        "at '/settings/layouts/credit': missing property 'trust'",
    ),
    "no evidence": (
        lambda _, s: s["layouts"]["credit"].pop("repository"),
        "at '/settings/layouts/credit': missing property 'repository'",
    ),
    "no source in the list": (
        lambda _, s: s["layouts"]["credit"].update(evidence=[]),
        "at '/settings/layouts/credit/evidence': minItems: got 0, want 1",
    ),
    "evidence by plain https": (
        lambda _, s: s["layouts"]["credit"].update(evidence=["https://git.example.com/x.git"]),
        "at '/settings/layouts/credit/evidence/0': 'https://git.example.com/x.git' does not match pattern",
    ),
    "an issuer that is no URL": (
        lambda _, s: s["layouts"]["credit"]["signers"][0].update(issuer="issuer.example.com"),
        "at '/settings/layouts/credit/signers/0/issuer': 'issuer.example.com' does not match pattern",
    ),
    "namespaces as text": (
        lambda _, s: s["rules"][0].update(namespaces="ml-*"),
        "at '/settings/rules/0/namespaces': got string, want array",
    ),
    "an unknown mode": (
        lambda _, s: s["rules"][0].update(mode="dryrun"),
        "at '/settings/rules/0/mode': value must be one of 'enforce', 'warn', 'audit'",
    ),
    "true as text": (
        lambda _, s: s["rules"][0].update(strict="false"),
        "at '/settings/rules/0/strict': got string, want boolean",
    ),
    "a guard that is not pinned": (
        lambda _, s: s["rules"][0].update(guard={"image": "gitchain:1"}),
        "at '/settings/rules/0/guard/image': 'gitchain:1' does not match pattern",
    ),
    "seconds with a unit": (
        lambda _, s: s.update(times={"refresh": "10s"}),
        "at '/settings/times/refresh': got string, want integer",
    ),
    "more seconds than there may be": (
        lambda _, s: s.update(times={"answer": 60}),
        "at '/settings/times/answer': maximum: got 60, want 29",
    ),
    "another version of the format": (
        lambda _, s: s.update(schema="https://gitchain.dev/serve/v2"),
        "at '/settings/schema': value must be 'https://gitchain.dev/serve/v1'",
    ),
    "a rule for a layout that is not there": (
        lambda _, s: s["rules"][0].update(layout="kredit"),
        'settings.rules[0].layout: "kredit" is not in settings.layouts',
    ),
    "evidence that goes stale before it is read": (
        lambda _, s: s.update(times={"refresh": 120}),
        "settings.times.fresh: at least 120, as settings.times.refresh says",
    ),
    "a webhook that ends before the answer": (
        lambda v, _: v["webhook"].update(timeoutSeconds=8),
        "webhook.timeoutSeconds: above 8, as settings.times.answer says",
    ),
    "files that nobody hands over": (
        lambda v, _: v.pop("policy"),
        'policy.configMaps: one that holds "credit.sigstore.json", which settings.layouts.credit.layout names',
    ),
    "a file in a folder": (
        lambda _, s: s["layouts"]["credit"].update(trust="policy/trust.json"),
        'settings.layouts.credit.trust: a name without a folder, as policy\'s files lie in one: "policy/trust.json"',
    ),
    "a volume that is not there": (
        lambda v, _: v.pop("evidence"),
        'evidence.volume: the volume for "/evidence", which settings.layouts.credit names',
    ),
    "a repository beside the settings": (
        lambda _, s: s["layouts"]["credit"].update(repository="evidence"),
        'settings.layouts.credit: a whole path for "evidence", such as /evidence: there is nothing to write beside the settings',
    ),
    "a team that was forgotten": (
        lambda _, s: s["layouts"]["credit"].update(layout="/etc/gitchain-teams/risk/credit.sigstore.json"),
        'policy.teams: "risk", for "/etc/gitchain-teams/risk/credit.sigstore.json", which settings.layouts.credit.layout names',
    ),
    "an instance that no pod has": (
        lambda _, s: s["layouts"]["credit"].update(trust="local"),
        "settings.layouts.credit.trust: a file of policy, or public: a pod has no instance of its own",
    ),
}  # fmt: skip


def made(change: Change) -> dict[str, Any]:
    """Return the chart's values with one mistake."""
    values = copy.deepcopy(chart.values())
    change(values, values["settings"])
    return values
