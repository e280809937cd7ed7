"""Which models an object serves, by a rule that its author cannot use to hide one (docs/admission.md).

 1. Every reference outside of metadata and status: fields that hold one, image volumes, and schemes of models in any
    text. So it makes no difference in which container, template, argument or variable it stands.
 2. Annotations `gitchain.dev/model` and `gitchain.dev/model.NAME`, wherever annotations stand. They only add: what they
    name is demanded too. They give the digest of a reference that has none, and one that contradicts is a problem.
 3. What is named without a digest, disguised, or set from elsewhere is a problem.

Does NOT say whether a model may be served.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from gitchain.admit import references
from gitchain.admit.kinds import KSERVE, is_serving
from gitchain.admit.problems import Code, Problem
from gitchain.admit.references import Reference
from gitchain.admit.review import Review
from gitchain.evidence.canonical import Json

ANNOTATION = "gitchain.dev/model"
MAX_REFERENCES = 4096
MAX_MODELS = 64
"""Most different models of one object: each one is a decision."""

_FIELDS = frozenset({"storageUri", "storageURI", "modelUri", "sourceModelUri"})
_TEXTS = _FIELDS | {"uri", "image"}
_UNSAID = frozenset({"apiVersion", "kind", "status"})
"""What of an object says nothing about what it runs. The rest is looked at, also where a kind has no `spec`."""

_HOLDERS = (dict, list)
_VARIABLES = frozenset({"STORAGE_URI", "SRC_URI"})
_MODEL_CONTAINERS = frozenset({"modelcar", "modelcar-init"})
_PIN = "name it by its content: oci://REGISTRY/NAME@sha256:DIGEST"


@dataclass(frozen=True, slots=True)
class Looking:
    """What the operator's rule says about where to look: claims that count, texts to pass over, images to take in."""

    claims: bool = False
    ignore: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    strict: bool = True


@dataclass(frozen=True, slots=True)
class Found:
    """The digests that an object demands, each with the places that name it, and what is wrong with the others."""

    models: Mapping[str, tuple[str, ...]]
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class _Told:
    """One digest of an annotation. `about` is the name that it is bound to."""

    sha256: str
    about: str
    where: str


def models_of(review: Review, looking: Looking) -> Found:
    """Return which models the reviewed object names; a problem for each that cannot be decided about."""
    source = review.object or {}
    looker = _Looker(looking, kserve=review.kind.group == KSERVE)
    looker.look({key: value for key, value in source.items() if key not in _UNSAID}, "", "")
    found, told = looker.found, looker.told
    if looker.overflows:
        return Found({}, (_too_many(f"more than {MAX_REFERENCES} references"),))
    problems = [*looker.problems, *_contradictions(found, told)]
    models: dict[str, list[str]] = {}
    for one in _completed(found, told):
        problem = _problem(one, looking)
        if problem is not None:
            problems.append(problem)
        elif one.sha256 is not None:
            models.setdefault(one.sha256, []).append(one.where)
    for note in told:
        models.setdefault(note.sha256, []).append(note.where)
    if not models and not problems and (looking.strict or is_serving(review.kind)):
        problems.append(_no_model())
    if len(models) > MAX_MODELS:
        problems.append(_too_many(f"more than {MAX_MODELS} different models"))
    return Found({digest: tuple(places) for digest, places in models.items()}, tuple(problems))


class _Looker:
    """Walks one object, and keeps what it sees: at most one thing more than are looked at."""

    def __init__(self, looking: Looking, *, kserve: bool) -> None:
        self._looking = looking
        self._kserve = kserve
        self.found: list[Reference] = []
        self.told: list[_Told] = []
        self.problems: list[Problem] = []

    @property
    def overflows(self) -> bool:
        """Tell whether there is more than is looked at."""
        return len(self.found) + len(self.told) + len(self.problems) > MAX_REFERENCES

    def look(self, value: Json, where: str, owner: str) -> None:
        """Look at everything in a value; its depth is bounded where the request is parsed."""
        if isinstance(value, dict):
            self._map(value, where, owner, _name(value))
        elif isinstance(value, list):
            self._list(value, where, owner)
        elif isinstance(value, str) and ("://" in value or not value.isascii()):
            self._text(value, where, owner)

    def _list(self, items: list[Json], where: str, owner: str) -> None:
        """Look at each item; one with a name owns what is in it."""
        if self.overflows:
            return
        for index, item in enumerate(items):
            if isinstance(item, dict):
                name = _name(item)
                self._map(item, f"{where}[{index}]", name or owner, name)
            else:
                self.look(item, f"{where}[{index}]", owner)

    def _map(self, value: dict[str, Json], where: str, owner: str, name: str) -> None:
        """Metadata has annotations to read; some fields hold a reference by what they are."""
        if name in _VARIABLES:
            self.found += _variable(value, where, owner)
        for key, item in value.items():
            # Most are short words that can hold nothing, and are passed over without any ado.
            if isinstance(item, str):
                if key not in _TEXTS and "://" not in item and item.isascii():
                    continue
            elif not isinstance(item, _HOLDERS):
                continue
            place = f"{where}.{key}" if where else key
            if key == "metadata" and isinstance(item, dict):
                self._metadata(item, place)
            elif key == "annotations" and isinstance(item, dict):
                self._metadata(value, where)
            elif (found := self._field(key, item, value)) is not None:
                self.found.append(replace(found, where=place, owner=owner))
            else:
                self.look(item, place, key if self._kserve and where == "spec" else owner)

    def _text(self, text: str, where: str, owner: str) -> None:
        """Keep the references in a text, but for those that the operator passes over; a disguise is always kept."""
        for one in references.find(text, where, owner):
            if one.disguised or not any(fnmatchcase(one.text, pattern) for pattern in self._looking.ignore):
                self.found.append(one)
                if self.overflows:
                    return

    def _field(self, key: str, item: Json, around: dict[str, Json]) -> Reference | None:
        """Return the reference in a field that holds one by what the field is."""
        if isinstance(item, str):
            if key in _FIELDS or (self._kserve and key == "uri"):
                return references.uri(item, "", "")
            if key == "image" and _holds_model(item, around, self._looking):
                return references.image(item, "", "")
        elif isinstance(item, dict):
            if key == "image" and isinstance(name := item.get("reference"), str):
                return references.image(name, "", "")
            if self._kserve and key == "storage":
                return Reference("storage", "")
        return None

    def _metadata(self, metadata: Json, where: str) -> None:
        for one in _annotations(metadata, where):
            if isinstance(one, Problem):
                self.problems.append(one)
            else:
                self.told.append(one)
            if self.overflows:
                return


def _holds_model(image: str, around: dict[str, Json], looking: Looking) -> bool:
    """Tell whether a container's image is a model: KServe's own way to mount one, or as the operator says."""
    return _name(around) in _MODEL_CONTAINERS or any(
        fnmatchcase(image, pattern) for pattern in looking.images
    )


def _variable(entry: Mapping[str, Json], where: str, owner: str) -> Iterator[Reference]:
    if entry.get("valueFrom") is not None:
        yield Reference(str(entry["name"]), f"{where}.valueFrom", owner, unseen=True)
    elif isinstance(value := entry.get("value"), str):
        yield references.uri(value, f"{where}.value", owner)


def _name(item: Mapping[str, Json]) -> str:
    name = item.get("name")
    return name if isinstance(name, str) else ""


def _annotations(metadata: Json, where: str) -> Iterator[_Told | Problem]:
    """Yield the digests of gitchain's annotations, or a problem for one that cannot be read."""
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    for key, value in annotations.items() if isinstance(annotations, dict) else ():
        if key != ANNOTATION and not key.startswith(f"{ANNOTATION}."):
            continue
        place = f"{where}.annotations[{key}]"
        texts = value.replace(",", " ").split() if isinstance(value, str) else []
        digests = [references.digest(text) for text in texts]
        if not digests or None in digests or len(digests) > MAX_MODELS:
            yield Problem(Code.ANNOTATION, "not a list of digests", place, "write sha256:<64 hex digits>, …")
        about = key[len(ANNOTATION) + 1 :]
        yield from (_Told(digest, about, place) for digest in digests if digest is not None)


def _completed(found: Sequence[Reference], told: Sequence[_Told]) -> Iterator[Reference]:
    """Yield each reference, with the digest that an annotation gives it where it has none itself."""
    free = {note.sha256 for note in told if not note.about}
    bare = {one.text for one in found if one.basis == "none"}
    for one in found:
        if one.basis != "none" or one.disguised or one.unseen:
            yield one
            continue
        bound = {note.sha256 for note in told if note.about and note.about == one.owner}
        given = bound or (free if len(bare) == 1 else set())
        yield replace(one, sha256=next(iter(given)), basis="claimed") if len(given) == 1 else one


def _contradictions(found: Sequence[Reference], told: Sequence[_Told]) -> list[Problem]:
    """Return a problem for each annotation that names another digest than the reference that it is bound to."""
    named: dict[str, set[str]] = {}
    for one in found:
        if one.sha256 is not None and one.owner:
            named.setdefault(one.owner, set()).add(one.sha256)
    return [
        Problem(
            Code.MISMATCH,
            f"{note.about} names sha256:{min(named[note.about])[:12]}..., and not what the annotation says",
            note.where,
            "leave the annotation out: the reference has the digest",
        )
        for note in told
        if note.about in named and note.sha256 not in named[note.about]
    ]


def _problem(one: Reference, looking: Looking) -> Problem | None:
    shown = one.text[:200]
    if one.disguised:
        return Problem(
            Code.LOOKALIKE, f"{shown!a} is not plain ASCII", one.where, "write it in ASCII characters"
        )
    if one.unseen:
        return Problem(
            Code.UNSEEN, f"{shown} is set from elsewhere", one.where, f"write the value, and {_PIN}"
        )
    if one.basis == "none":
        return Problem(Code.NO_DIGEST, f"model {shown!a} has no digest", one.where, _PIN)
    if one.basis == "claimed" and not looking.claims:
        message = f"nothing binds {shown!a} to the digest that is claimed for it"
        return Problem(
            Code.NO_DIGEST, message, one.where, f"{_PIN}; or let the rule take claims and guard the node"
        )
    return None


def _no_model() -> Problem:
    return Problem(
        Code.NO_MODEL,
        "no model is named",
        "",
        f"{_PIN}, or annotate {ANNOTATION}: sha256:DIGEST in the template",
    )


def _too_many(what: str) -> Problem:
    return Problem(Code.TOO_MANY, what, "", "split the object")
