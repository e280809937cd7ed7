"""Read from one signed statement what `gitchain diff` compares: parameters, metrics, code, command, environment.

All of it is claimed: the signer states it. Fields of another shape than docs/formats/predicates.md defines are left out,
since any JSON can be signed.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from gitchain.consume.diff_values import Facts, Name, collected, flattened, quoted
from gitchain.evidence.canonical import Json
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.evidence.vocabulary import (
    DATASET,
    LIFECYCLE_PREFIX,
    LINK,
    PROVENANCE,
    SVR,
    VSA,
    build_type,
)
from gitchain.sources.bundle_facts import claim_in

COMMIT = "commit"
"""The name of the fact that has the commit that a step ran from."""

_PLAIN_FILE = re.compile(r'[^:"]+', re.DOTALL)

GIT_SUBJECTS = ("git:commit:", "git:tag:")

_Object = Mapping[str, Json]


def _object(source: Json, *keys: str) -> _Object:
    """Return the object below these keys; an empty one if there is none."""
    for key in keys:
        source = source.get(key) if isinstance(source, Mapping) else None
    return source if isinstance(source, Mapping) else {}


def _objects(source: _Object, key: str) -> Iterator[_Object]:
    items = source.get(key)
    if isinstance(items, list):
        yield from (item for item in items if isinstance(item, Mapping))


def _external(statement: Statement) -> _Object:
    return _object(statement.predicate, "buildDefinition", "externalParameters")


def _internal(statement: Statement) -> _Object:
    return _object(statement.predicate, "buildDefinition", "internalParameters")


def _is_ours(statement: Statement) -> bool:
    kind = _object(statement.predicate, "buildDefinition").get("buildType")
    return isinstance(kind, str) and kind.startswith(LIFECYCLE_PREFIX)


def is_approval(statement: Statement) -> bool:
    """Return whether the statement approves: a verification result (SVR), or provenance of the kind approval."""
    kind = _object(statement.predicate, "buildDefinition").get("buildType")
    return statement.predicate_type == SVR or kind == build_type("approval")


def parameters(statement: Statement) -> Facts:
    """Return the parameters by file and dotted name; of another tool's provenance all external parameters."""
    if statement.predicate_type != PROVENANCE:
        return {}
    if not _is_ours(statement):
        return collected(flattened(_external(statement))) if _external(statement) else {}
    return _by_file(_object(_external(statement), "parameters").items())


def metrics(statement: Statement) -> Facts:
    """Return the metrics by file and dotted name."""
    made = _objects(_object(statement.predicate, "runDetails"), "byproducts")
    found = ((one.get("name"), _object(one, "annotations").get("metrics")) for one in made)
    return _by_file((name, values) for name, values in found if isinstance(name, str) and values is not None)


def _by_file(files: Iterable[tuple[str, Json]]) -> Facts:
    return collected(
        pair for file, values in files for pair in flattened(values, Name() + quoted(file, _PLAIN_FILE), ":")
    )


def command(statement: Statement) -> Facts:
    """Return the command as one text."""
    source = statement.predicate if statement.predicate_type == LINK else _external(statement)
    words = source.get("command")
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        return {}
    # DVC's command is one word: the shell's text
    return {"": str(words[0]) if len(words) == 1 else shlex.join(map(str, words))}


def code(statement: Statement) -> Facts:
    """Return commit and repository that the step ran from, changes that were not committed, and a release's tag."""
    found: list[tuple[str, Json]] = []
    for item in claim_in(statement).materials:
        if is_own_code(item):
            found += [(COMMIT, item.digest["gitCommit"]), ("repository", item.uri)]
        for start, name in zip(GIT_SUBJECTS, (COMMIT, "tag"), strict=True):
            if (item.name or "").startswith(start):
                found.append((name, str(item.name).removeprefix(start)))
    git = _object(_internal(statement), "git")
    if git.get("dirty") is True:
        changes = git.get("diffSha256")
        found.append(("uncommitted changes", f"sha256:{changes}" if isinstance(changes, str) else True))
    return collected(found)


def is_own_code(item: ResourceDescriptor) -> bool:
    """Return whether a material is the commit of the step's own repository, not an import from another one."""
    return "gitCommit" in item.digest and "gitTree" in item.annotations


def environment(statement: Statement) -> Facts:
    """Return the environment by name: interpreters and packages by their names, the rest dotted.

    The address of a CI run is left out: it always differs.
    """
    source = dict(
        _object(statement.predicate, "environment")
        if statement.predicate_type == LINK
        else _object(_internal(statement), "environment")
    )
    interpreters = list(_objects(source, "interpreters"))
    source.pop("interpreters", None)
    packages = source.pop("packages", None)
    provider = _object(source, "ci").get("provider")
    source.pop("ci", None)
    source |= {} if provider is None else {"ci": provider}
    found = list(flattened(source)) if source else []
    found += _packages([packages] if isinstance(packages, Mapping) else [{"list": packages}], "package")
    for one in interpreters:
        found += _interpreter(one)
    for kind, name in (("packages", "package"), ("conda", "conda package")):
        found += _packages([_object(one, kind) for one in interpreters], name)
    return collected(found)


def _interpreter(one: _Object) -> Iterator[tuple[str, Json]]:
    name = one.get("name")
    label = name if isinstance(name, str) else "interpreter"
    version = " ".join(
        str(one[key]) for key in ("implementation", "version") if isinstance(one.get(key), str)
    )
    if version:
        yield label, version
    if isinstance(digest := one.get("sha256"), str):
        yield f"{label} executable", f"sha256:{digest}"


def _packages(lists: Sequence[_Object], label: str) -> Iterator[tuple[str, Json]]:
    """Yield the packages with their versions, each once."""
    listed = (one.get("list") for one in lists)
    names = {item for found in listed if isinstance(found, list) for item in found if isinstance(item, str)}
    for item in sorted(names):
        name, _, version = item.partition("==")
        yield f"{label} {name}", version


def terms(statement: Statement) -> Facts:
    """Return the facts about a data set: source, licence, consent, personal data."""
    if statement.predicate_type != DATASET:
        return {}
    names = ("source", "licence", "consent", "personalData")
    return {
        name: statement.predicate[name] for name in names if isinstance(statement.predicate.get(name), str)
    }


def approved(statement: Statement) -> Facts:
    """Return what an approval states: its properties, and the verifier."""
    if statement.predicate_type != SVR:
        return {}
    properties = statement.predicate.get("properties")
    found: dict[str, Json] = {}
    if isinstance(properties, list):
        found["properties"] = ", ".join(str(one) for one in properties if isinstance(one, str))
    verifier = _object(statement.predicate, "verifier").get("id")
    return found | ({"verifier": verifier} if isinstance(verifier, str) else {})


def policy(statement: Statement) -> Facts:
    """Return the policy that a verification summary names, since it replaces a chain."""
    if statement.predicate_type != VSA:
        return {}
    named = _object(statement.predicate, "policy")
    digest = _object(named, "digest").get("sha256")
    found = {"policy": named.get("uri"), "policy digest": f"sha256:{digest}" if digest else None}
    return {name: value for name, value in found.items() if isinstance(value, str)}


CLAIMED: Mapping[str, Callable[[Statement], Facts]] = {
    "parameters": parameters,
    "metrics": metrics,
    "code": code,
    "command": command,
    "environment": environment,
}
"""The reader of each group of claimed facts."""
