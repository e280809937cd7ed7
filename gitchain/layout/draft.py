"""Draft a layout from the stages of a pipeline: one step per stage, one MATCH per edge.

The text is YAML with comments, for a person to review before it is signed. Every list ends with `DISALLOW *`; inputs and
outputs are required by name, so evidence without artifacts does not pass. Inputs that no stage makes are allowed with
any content: review these lines.

Does NOT read dvc.yaml: the caller passes the stages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from gitchain.errors import LayoutError
from gitchain.evidence.vocabulary import time_text
from gitchain.layout.load import parse_layout
from gitchain.layout.model import MAX_STEPS, SCHEMA, Identity
from gitchain.layout.patterns import meets
from gitchain.layout.rule import literal_pattern
from gitchain.layout.scope import all_needed_steps
from gitchain.layout.stage_paths import DraftStage, PathIndex, StagePaths

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./@-]*")
_RESERVED = frozenset(
    {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
)  # of YAML 1.2, and of 1.1
_SOURCE_RULES = (("ALLOW", "git+*"), ("ALLOW", "git:*"))
_SOURCE_SCHEMES = ("git+", "git:")


def draft(
    name: str,
    stages: Sequence[DraftStage],
    functionary: Identity,
    expires: datetime,
    version: int = 1,
    *,
    serve: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> str:
    """Return the text of a layout for these stages; `serve` are the paths that may be served, if known.

    Each of `notes` becomes a comment for the reader.

    Unrelated models are served each with its own steps. Stages that are unrelated to every served model are left out,
    and named in a comment. Raises LayoutError if the stages make no valid layout, e.g. because none of their products
    can be served, or because a layout cannot hold one of the names.
    """
    pipeline = StagePaths(tuple(stages))
    for path in serve:
        if not pipeline.makers(path):
            raise LayoutError("no stage makes the product to serve", where="serve", got=path)
    served = _served(pipeline, serve)
    parts = (part for part in pipeline.parts() if any(stage.name in served for stage in part))
    kept = frozenset(stage.name for part in parts for stage in part)
    _check_number(len(kept))
    drafted = _LayoutDraft(name, functionary, expires, version, pipeline, kept, served, tuple(notes))
    layout = parse_layout(drafted.text().encode())
    needs = all_needed_steps(layout, (one.step for one in layout.serve))
    if all(len(names) == len(layout.steps) for names in needs.values()):
        return drafted.text()
    text = drafted.text(needs)
    parse_layout(text.encode())
    return text


def _check_number(steps: int) -> None:
    """Raise LayoutError for more stages than a layout can have."""
    if steps > MAX_STEPS:
        raise LayoutError(
            "the pipeline has too many stages for one layout",
            where="dvc.yaml",
            expected=f"at most {MAX_STEPS} that a served product depends on",
            got=str(steps),
            help="name what you serve under artifacts: in dvc.yaml, or split the pipeline",
        )


def _served(pipeline: StagePaths, serve: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """Return the products of each step that may be served: those in `serve`, else the final ones of the pipeline.

    Without `serve`, a part that only holds data, or only reports, serves something only where every part is such a one.
    """
    if serve:
        wanted = list(serve)
    else:
        parts = pipeline.parts()
        observed = [part for part in parts if any(stage.observed for stage in part)] or parts
        making = [part for part in observed if any(set(stage.outs) - set(stage.reports) for stage in part)]
        ends = [(*_terminal(part), *_terminal(_only_reporting(part))) for part in making or observed]
        wanted = list(dict.fromkeys(path for paths in ends for path in paths))
    if not wanted:
        raise LayoutError(
            "no stage makes anything that could be served", help="name it under artifacts: in dvc.yaml"
        )
    made: dict[str, list[str]] = {}
    for path in wanted:
        for stage in pipeline.makers(path):
            made.setdefault(stage.name, []).append(path)
    return {stage.name: made[stage.name] for stage in pipeline.stages if stage.name in made}


@dataclass(frozen=True, slots=True)
class _LayoutDraft:
    """The content of a draft."""

    name: str
    functionary: Identity
    expires: datetime
    version: int
    pipeline: StagePaths
    kept: frozenset[str]
    served: Mapping[str, Sequence[str]]
    notes: tuple[str, ...]

    def text(self, needs: Mapping[str, Sequence[str]] | None = None) -> str:
        """Return the layout's text; `needs` are the steps that what a step makes needs, where it is not all of them."""
        return "\n".join(self._lines(needs)) + "\n"

    def _lines(self, needs: Mapping[str, Sequence[str]] | None) -> Iterator[str]:
        every = self.pipeline.stages
        stages = [stage for stage in every if stage.name in self.kept]
        paths = StagePaths(stages)
        label = _label(self.functionary)
        yield "# Who may do which step of this model's life, and how the steps fit together."
        yield "# Read it, change it, then: gitchain layout sign. After a change, raise version and sign again."
        others = [stage.name for stage in every if stage.name not in self.kept]
        if others:
            yield f"# Not in here, since nothing that is served depends on them: {', '.join(map(_quoted, others))}"
        yield from (f"# Attested, and not in here: {_quoted(note)}" for note in self.notes)
        yield f"schema: {SCHEMA}"
        yield f"name: {_word(self.name)}"
        yield f"version: {self.version}"
        yield f'expires: "{time_text(self.expires)}"'
        yield ""
        yield "# A functionary is one person or workload; both issuer and subject must be exactly right."
        yield "functionaries:"
        yield f"  {_word(label)}:"
        yield "    identities:"
        yield f"      - {{issuer: {_word(self.functionary.issuer)}, subject: {_word(self.functionary.subject)}}}"
        yield ""
        yield "steps:"
        for stage in stages:
            yield from _step(stage, paths, label)
        if needs is None:
            yield "# What may be served: only these products, and only if every step above is in order."
        else:
            yield "# What may be served: only these products, each only if all of its own steps are in order."
            yield "# A step that you add, such as an approval, has to be named there too: lint finds one that is not."
        yield "serve:"
        for step, products in self.served.items():
            yield f"  - step: {_word(step)}"
            yield f"    products: [{', '.join(_word(literal_pattern(path)) for path in products)}]"
            if needs is not None:
                yield f"    steps: [{', '.join(map(_word, needs[step]))}]"


def _label(who: Identity) -> str:
    local = re.sub(r"[^a-z0-9.-]+", "-", who.subject.partition("@")[0].lower()).strip("-.")
    return local if local and "/" not in who.subject else "builder"


def _step(stage: DraftStage, paths: StagePaths, label: str) -> Iterator[str]:
    yield f"  - name: {_word(stage.name)}"
    yield f"    functionaries: [{_word(label)}]"
    yield "    threshold: 1"
    if stage.observed:
        yield "    evidence: observed    # gitchain ran the command itself: gitchain run"
    else:
        yield "    evidence: declared    # tracked data, or a frozen stage: nothing runs, attest it with gitchain attest"
    yield "    expectedMaterials:"
    for rule, comment in _materials(stage, paths):
        yield _rule(rule, comment)
    yield "    expectedProducts:"
    for rule, comment in _products(stage):
        yield _rule(rule, comment)
    yield ""


def _materials(stage: DraftStage, paths: StagePaths) -> Iterator[tuple[Sequence[str], str]]:
    edges = {dep: tuple(_edges(dep, stage, paths)) for dep in stage.deps}
    for dep, found in edges.items():
        if found and _requirable(dep, stage.deps) and not paths.is_above_outs(dep):
            yield ("REQUIRE", dep), ""
    for dep, found in edges.items():
        for pattern, source in found:
            yield ("MATCH", pattern, "WITH", "PRODUCTS", "FROM", source), ""
        for pattern, _ in found:
            if paths.is_above_outs(dep) or _like_source(pattern):
                yield ("DISALLOW", pattern), "never from anywhere else"
        for pattern in _own(dep, stage, found, paths):
            yield ("ALLOW", pattern), "no stage makes this: any content is accepted"
    yield from _allowed_sources(stage)
    yield ("DISALLOW", "*"), ""


def _allowed_sources(stage: DraftStage) -> Iterator[tuple[Sequence[str], str]]:
    for uri in stage.sources:
        if not uri.startswith(_SOURCE_SCHEMES):
            yield ("ALLOW", literal_pattern(uri)), "outside the repository: any content is accepted"
    for rule in _SOURCE_RULES:
        yield rule, "the commit" if rule == _SOURCE_RULES[0] else ""


def _like_source(pattern: str) -> bool:
    """Return whether the rules that allow the commit also allow this path, which may look like a URI of Git."""
    return any(meets(pattern, allowed) for _, allowed in _SOURCE_RULES)


def _edges(dep: str, stage: DraftStage, paths: StagePaths) -> Iterator[tuple[str, str]]:
    """Yield a pattern and the name of the step that makes it, for every other stage that makes some of `dep`."""
    for other in paths.related(dep):
        if other is stage:
            continue
        if any(out == dep or dep.startswith(f"{out}/") for out in other.outs):
            inner = any(one.startswith(f"{dep}/") for one in stage.deps)
            yield literal_pattern(dep) + ("/*" if inner else ""), other.name
        for out in other.outs:
            if out.startswith(f"{dep}/"):
                yield from (
                    (pattern, other.name) for pattern in (literal_pattern(out), f"{literal_pattern(out)}/*")
                )


def _own(dep: str, stage: DraftStage, found: Sequence[tuple[str, str]], paths: StagePaths) -> Iterator[str]:
    """Yield the pattern of the content of `dep` that no stage makes."""
    if not found:
        opened = any(one.startswith(f"{dep}/") for one in stage.deps)
        yield literal_pattern(dep) + ("/*" if opened else "")
    elif paths.is_above_outs(dep):
        yield f"{literal_pattern(dep)}/*"


def _products(stage: DraftStage) -> Iterator[tuple[Sequence[str], str]]:
    for out in stage.outs:
        if _requirable(out, stage.outs):
            yield ("REQUIRE", out), ""
    for out in stage.outs:
        own = any(out == dep or out.startswith(f"{dep}/") or dep.startswith(f"{out}/") for dep in stage.deps)
        yield ("ALLOW" if own else "CREATE", literal_pattern(out)), ""
    yield ("DISALLOW", "*"), ""


def _requirable(path: str, others: Sequence[str]) -> bool:
    """REQUIRE takes a literal name, and cannot name a directory that another rule of the list opens."""
    return not set("*?") & set(path) and not any(other.startswith(f"{path}/") for other in others)


def _only_reporting(stages: Sequence[DraftStage]) -> list[DraftStage]:
    """Return the stages, with each directory that contains reports treated as one that contains only reports."""
    return [replace(stage, reports=(*stage.reports, *stage.mixed)) for stage in stages]


def _terminal(stages: Sequence[DraftStage]) -> list[str]:
    """Return the outs that no later stage builds on; a stage that only reports does not build on anything."""
    observed = [stage for stage in stages if stage.observed] or list(stages)
    builders = [stage for stage in observed if set(stage.outs) - set(stage.reports)] or observed
    taken = PathIndex((dep, 0) for stage in builders for dep in stage.deps)
    return [
        out
        for stage in builders
        for out in stage.outs
        if (out not in stage.reports or builders is observed) and not taken.meets(out)
    ]


def _rule(tokens: Sequence[str], comment: str) -> str:
    line = f"      - [{', '.join(_word(token) for token in tokens)}]"
    return f"{line}    # {comment}" if comment else line


def _word(text: str) -> str:
    """Return the text as a YAML scalar that reads back as the same string, in YAML 1.1 and 1.2."""
    plain = _PLAIN.fullmatch(text) and text.casefold() not in _RESERVED
    return text if plain else _quoted(text)


def _quoted(text: str) -> str:
    """Return the text in double quotes on one line, with unprintable characters and all line breaks escaped."""
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    if char.isprintable():
        return char
    return f"\\U{ord(char):08x}"
