"""Find the models that an object serves, so that its author cannot hide one (docs/admission.md).

1. All references outside of metadata and status: reference fields, image volumes, and model schemes in any text. The
  container, template, argument or variable makes no difference.
2. Annotations `gitchain.dev/model` and `gitchain.dev/model.NAME`, wherever annotations are allowed. They only add
  models. They give a digest to a reference without one; a contradiction is a problem.
3. A reference without a digest, a disguised one, and one from another object are problems.
4. With `strict`, also every text and volume that can contain a model without a digest (`candidates`). An annotation
  covers one reference: the only one with its name, or the only one at all.

Whether a model may be served is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from itertools import islice

from gitchain.admit import references
from gitchain.admit.candidates import Candidates
from gitchain.admit.denial_reasons import DenialReason
from gitchain.admit.kinds import KSERVE, is_template
from gitchain.admit.known_commands import FoundReferences, KnownCommands, command_key
from gitchain.admit.model_problems import (
    MAX_MODELS,
    AnnotatedDigest,
    ModelSearchSettings,
    annotated_digests,
    completed,
    contradictions,
    is_own,
    no_model,
    problem_of,
    too_many,
)
from gitchain.admit.mutate import PREFIX
from gitchain.admit.patterns import matches
from gitchain.admit.references import ModelReference
from gitchain.admit.review import GroupVersionKind, Review
from gitchain.admit.words import MAX_WORDS, count_words
from gitchain.evidence.canonical import Json
from gitchain.evidence.digest import Sha256

MAX_REFERENCES = 4096


_FIELDS = frozenset({"storageUri", "storageURI", "modelUri", "sourceModelUri"})
_TEXTS = _FIELDS | {"uri", "image"}
_UNSAID = frozenset({"apiVersion", "kind", "status"})
"""Fields that do not affect what runs. All others are checked, also for kinds without a `spec`."""

_HOLDERS = (dict, list)
_VARIABLES = frozenset({"STORAGE_URI", "SRC_URI"})
_RUNS = frozenset({"command", "args", "env", "envFrom"})
_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""kubectl's copy of the object: redundant, and read by nothing that runs."""

_KNOWN = KnownCommands()
_MODEL_CONTAINERS = frozenset({"modelcar", "modelcar-init"})


@lru_cache(256)
def _candidates(ignore: tuple[str, ...], volumes: tuple[str, ...]) -> Candidates:
    return Candidates(ignore, volumes)


@dataclass(frozen=True, slots=True)
class DemandedModels:
    """The digests that an object references, each with its places, and the problems of other references."""

    models: Mapping[Sha256, tuple[str, ...]]
    problems: tuple[DenialReason, ...] = ()


def models_of(review: Review, looking: ModelSearchSettings) -> DemandedModels:
    """Return the models of the reviewed object, and a problem for each reference that cannot be decided."""
    source = review.object or {}
    looker = _ReferenceCollector(looking, review.kind)
    looker.look({key: value for key, value in source.items() if key not in _UNSAID}, "", "")
    references, annotated = [*looker.found, *looker.candidates], looker.told
    if looker.overflows:
        return DemandedModels({}, (too_many(f"more than {MAX_REFERENCES} references, or {MAX_WORDS} words"),))
    problems = [*looker.problems, *contradictions(references, annotated)]
    models: dict[Sha256, list[str]] = {}
    for one in completed(references, annotated):
        problem = problem_of(one, looking)
        if problem is not None:
            problems.append(problem)
        elif one.sha256 is not None:
            models.setdefault(one.sha256, []).append(one.where)
    named = bool(models) or (bool(annotated) and (looking.claims or looking.guarded is not None))
    for note in annotated:
        models.setdefault(note.sha256, []).append(note.where)
    if not named and not problems and looking.demands_model(review.kind):
        problems.append(no_model())
    if len(models) > MAX_MODELS:
        problems.append(too_many(f"more than {MAX_MODELS} different models"))
    return DemandedModels({digest: tuple(places) for digest, places in models.items()}, tuple(problems))


class _ReferenceCollector:
    """Walks one object and collects its references, up to one more than the limit."""

    def __init__(self, looking: ModelSearchSettings, kind: GroupVersionKind) -> None:
        self._looking, self._kind = looking, kind
        self._kserve = kind.group == KSERVE
        wanted = looking.strict and not is_template(kind)
        self._strict = _candidates(looking.ignore, looking.guarded or ()) if wanted else None
        self.found: list[ModelReference] = []
        self.candidates: list[ModelReference] = []
        self._words = 0
        self.told: list[AnnotatedDigest] = []
        self.problems: list[DenialReason] = []

    @property
    def overflows(self) -> bool:
        """Return True if the object exceeds the limit."""
        references = len(self.found) + len(self.candidates)
        return references + len(self.told) + len(self.problems) > MAX_REFERENCES or self._words > MAX_WORDS

    def result(self) -> FoundReferences:
        """Return what was collected."""
        return FoundReferences(
            tuple(self.found),
            tuple(self.candidates),
            tuple(self.told),
            tuple(self.problems),
            self._words,
        )

    def _add(self, part: FoundReferences) -> None:
        self.found += part.found
        self.candidates += part.candidates
        self.told += part.told
        self.problems += part.problems
        self._words += part.words

    def look(self, value: Json, where: str, owner: str) -> None:
        """Search a value recursively. The parser bounds its depth."""
        if isinstance(value, dict):
            self._map(value, where, owner, _name(value))
        elif isinstance(value, list):
            self._list(value, where, owner)
        elif isinstance(value, str) and ("://" in value or not value.isascii()):
            self._text(value, where, owner)

    def _list(self, items: list[Json], where: str, owner: str) -> None:
        """Search each item. An item with a name owns its contents."""
        if self.overflows:
            return
        for index, item in enumerate(items):
            if isinstance(item, dict):
                name = _name(item)
                self._map(item, f"{where}[{index}]", name or owner, name)
            else:
                self.look(item, f"{where}[{index}]", owner)

    def _map(self, value: dict[str, Json], where: str, owner: str, name: str) -> None:
        """Search a map: metadata for annotations, some fields as references, commands and their environment."""
        if name in _VARIABLES:
            self.found += _variable(value, where, owner)
        if not _RUNS.isdisjoint(value):
            self._add(self._run(value, where, owner))
        if self._strict is not None and "volumes" in value:
            self._volumes(self._strict, value["volumes"], where)
        for key, item in value.items():
            # Most texts are short words that cannot contain a reference.
            if isinstance(item, str):
                if key not in _TEXTS and "://" not in item and item.isascii():
                    continue
            elif not isinstance(item, _HOLDERS):
                continue
            if key not in _RUNS:
                self._item(key, item, value, where, owner)

    def _item(self, key: str, item: Json, around: dict[str, Json], where: str, owner: str) -> None:
        place = f"{where}.{key}" if where else key
        if key == "metadata" and isinstance(item, dict):
            self._metadata(item, place)
        elif key == "annotations" and isinstance(item, dict):
            self._metadata(around, where)
        elif (found := self._field(key, item, around)) is not None:
            self.found.append(replace(found, where=place, owner=owner))
        else:
            self.look(item, place, key if self._kserve and where == "spec" else owner)

    def _run(self, value: dict[str, Json], where: str, owner: str) -> FoundReferences:
        """Return what the command, arguments and environment of a container refer to, found now or before."""
        fields = {key: item for key, item in value.items() if key in _RUNS}
        key = command_key(fields, where, owner, (self._looking, self._kserve, self._strict is not None))
        known = _KNOWN.get(key)
        if known is None:
            inner = _ReferenceCollector(self._looking, self._kind)
            inner._search_run(fields, where, owner)
            known = inner.result()
            _KNOWN.put(key, known)
        return known

    def _search_run(self, fields: dict[str, Json], where: str, owner: str) -> None:
        """Search a command, arguments and environment, without the candidates of the guard's own containers."""
        guarded = self._looking.guarded is not None and owner.startswith(PREFIX)
        if self._strict is not None and not guarded:
            self._words += sum(map(count_words, fields.values()))
            if not self.overflows:
                self._collect(self._strict.container(fields, where, owner))
        for key, item in fields.items():
            self._item(key, item, fields, where, owner)

    def _volumes(self, strict: Candidates, volumes: Json, where: str) -> None:
        """Collect the volumes that can contain a model."""
        for index, one in enumerate(volumes if isinstance(volumes, list) else ()):
            if isinstance(one, dict):
                self._collect(strict.volume(one, f"{where}.volumes[{index}]"))

    def _collect(self, candidates: Iterator[ModelReference]) -> None:
        """Collect candidates up to one more than the limit: the rest of a long text is not looked at."""
        self.candidates += islice(candidates, MAX_REFERENCES + 1)

    def _text(self, text: str, where: str, owner: str) -> None:
        """Collect the references in a text, except ignored ones. A disguised one is always collected."""
        if text in self._looking.ignore or (self._strict is not None and self._strict.pins(text)):
            return
        self._words += text.count("://")
        if self._words > MAX_WORDS:
            return
        for one in references.find(text, where, owner, strict=self._strict is not None):
            if one.disguised or not matches(one.text, self._looking.ignore):
                self.found.append(one)
                if self.overflows:
                    return

    def _field(self, key: str, item: Json, around: dict[str, Json]) -> ModelReference | None:
        """Return the reference in a field that always holds one, or None."""
        if isinstance(item, str):
            if key in _FIELDS or (self._kserve and key == "uri"):
                return references.uri(item, "", "")
            if key == "image" and _holds_model(item, around, self._looking):
                return references.image(item, "", "")
        elif isinstance(item, dict):
            if key == "image" and isinstance(name := item.get("reference"), str):
                return references.image(name, "", "")
            if self._kserve and key == "storage":
                return ModelReference("storage", "")
        return None

    def _metadata(self, metadata: Json, where: str) -> None:
        for one in annotated_digests(metadata, where):
            if isinstance(one, DenialReason):
                self.problems.append(one)
            else:
                self.told.append(one)
            if self.overflows:
                return
        if self._strict is not None:
            self._annotations(self._strict, metadata, where)

    def _annotations(self, strict: Candidates, metadata: Json, where: str) -> None:
        """Collect candidates in foreign annotations that refer to models: runtimes and webhooks read some of them."""
        annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
        for key, value in annotations.items() if isinstance(annotations, dict) else ():
            if isinstance(value, str) and key != _APPLIED and not is_own(key):
                place = f"{where}.annotations[{key}]"
                self._words += count_words(value)
                if self.overflows:
                    return
                self._collect(strict.annotation(key, value, place))
                found = references.find(value, place, "")
                wanted = (one for one in found if one.disguised or not strict.passes(one.text))
                self.found += islice(wanted, MAX_REFERENCES + 1)


def _holds_model(image: str, around: dict[str, Json], looking: ModelSearchSettings) -> bool:
    """Return True if a container's image is a model: mounted by KServe's method, or listed by the operator."""
    return _name(around) in _MODEL_CONTAINERS or any(fnmatchcase(image, one) for one in looking.images)


def _variable(entry: Mapping[str, Json], where: str, owner: str) -> Iterator[ModelReference]:
    if entry.get("valueFrom") is not None:
        yield ModelReference(str(entry["name"]), f"{where}.valueFrom", owner, unseen=True)
    elif isinstance(value := entry.get("value"), str):
        yield references.uri(value, f"{where}.value", owner)


def _name(item: Mapping[str, Json]) -> str:
    name = item.get("name")
    return name if isinstance(name, str) else ""
