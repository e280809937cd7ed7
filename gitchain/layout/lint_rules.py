"""Lint of artifact rules: open lists, rules that never apply, steps without links to the others.

Based on patterns alone, and conservative: each finding holds for all possible evidence.
Does NOT check functionaries (`gitchain.layout.lint_functionaries`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gitchain.layout.lint_code import Lint, LintCode
from gitchain.layout.model import Layout
from gitchain.layout.parts import FRAMEWORKS, Inspection, ServedProducts
from gitchain.layout.patterns import above, includes, meets
from gitchain.layout.rule import ArtifactList, ArtifactRule, Keyword, literal_pattern
from gitchain.layout.scope import all_needed_steps, step_names
from gitchain.layout.step import Step

ANY = "*"
FILE_SUFFIXES = (
    ".safetensors", ".pkl", ".pickle", ".joblib", ".pt", ".pth", ".bin", ".onnx", ".gguf", ".keras", ".h5", ".hdf5", ".npy",
    ".npz", ".json", ".yaml", ".yml", ".txt", ".csv", ".parquet", ".jinja", ".md", ".py",
)  # fmt: skip
"""Extensions of single files: a served product with such a name is not a directory."""


def lint_rules(layout: Layout) -> Iterator[Lint]:
    """Yield findings about artifact rules, served products and inspections."""
    steps = {step.name: step for step in layout.steps}
    for index, step in enumerate(layout.steps):
        for side in _sides(step):
            where = f"steps[{index}].expected{side.value.capitalize()}"
            rules = _rules(step, side)
            yield from _open(rules, where)
            for at, rule in enumerate(rules):
                place = f"{where}[{at}]"
                yield from _reach(step, side, at, place)
                yield from _unbound(step, side, at, place)
                match = rule.match
                if match and not _could(steps[match.step], match.side, _looked_for(rule, match.prefix)):
                    message = f"step {match.step} can have no such {match.side}: {rule}"
                    yield Lint(LintCode.DEAD_MATCH, "error", place, message)
    yield from _untied(layout)
    yield from _needed(layout)
    yield from _served(layout, steps)


def _sides(step: Step) -> Iterator[ArtifactList]:
    if step.has_materials:
        yield ArtifactList.MATERIALS
    if step.has_products:
        yield ArtifactList.PRODUCTS


def _rules(step: Step, side: ArtifactList) -> Sequence[ArtifactRule]:
    return step.expected_materials if side is ArtifactList.MATERIALS else step.expected_products


def _takes_all(rule: ArtifactRule, step: Step) -> bool:
    """Return whether the rule consumes every match of its pattern: CREATE and DELETE only without the other list."""
    keyword = rule.keyword
    if keyword is Keyword.CREATE:
        return not step.has_materials
    if keyword is Keyword.DELETE:
        return not step.has_products
    return keyword is Keyword.ALLOW


def _takes_some(rule: ArtifactRule, step: Step, side: ArtifactList) -> bool:
    """Return whether the rule can consume anything in this list."""
    keyword = rule.keyword
    if keyword is Keyword.MODIFY:
        return step.has_materials and step.has_products
    if keyword is Keyword.CREATE:
        return side is ArtifactList.PRODUCTS
    if keyword is Keyword.DELETE:
        return side is ArtifactList.MATERIALS
    return keyword is Keyword.ALLOW or keyword is Keyword.MATCH


def _open(rules: Sequence[ArtifactRule], where: str) -> Iterator[Lint]:
    closed = any(rule.keyword is Keyword.DISALLOW and rule.pattern == ANY for rule in rules)
    if any(rule.keyword is Keyword.ALLOW and rule.pattern == ANY for rule in rules):
        message = "the list allows everything: nothing that the step takes or makes is refused"
        yield Lint(LintCode.OPEN, "warning", where, message, "list the allowed names, then [DISALLOW, '*']")
    elif not closed:
        message = "the list does not end with DISALLOW *: artifacts that no rule names are allowed"
        yield Lint(LintCode.OPEN, "error", where, message, "add [DISALLOW, '*']")


def _reach(step: Step, side: ArtifactList, at: int, place: str) -> Iterator[Lint]:
    """Yield why a rule has no effect at its place in the list."""
    rules = _rules(step, side)
    rule, earlier = rules[at], rules[:at]
    if rule.keyword is Keyword.REQUIRE:
        yield from _required(step, side, at, place)
        return
    if rule.keyword is not Keyword.DISALLOW and not _takes_some(rule, step, side):
        message = f"{rule.keyword} can take nothing from the {side} of this step: {rule}"
        yield Lint(LintCode.UNREACHABLE, "warning", place, message)
        return
    for one in earlier:
        taken = _takes_all(one, step)
        if (taken or one.keyword is Keyword.DISALLOW) and includes(one.full_pattern, rule.full_pattern):
            if taken and rule.keyword is Keyword.DISALLOW and rule.pattern == ANY and rule is rules[-1]:
                return  # the list is open, which is said of the list
            strict = taken and rule.keyword in {Keyword.MATCH, Keyword.DISALLOW}
            message = f"never applies: {one} before it leaves nothing to {rule}"
            yield Lint(LintCode.UNREACHABLE, "error" if strict else "warning", place, message)
            return


def _required(step: Step, side: ArtifactList, at: int, place: str) -> Iterator[Lint]:
    """Yield why a REQUIRE can never pass."""
    rules = _rules(step, side)
    name = literal_pattern(rules[at].pattern)
    for index, one in enumerate(rules):
        refuses = one.keyword is Keyword.DISALLOW
        if not (refuses or _takes_some(one, step, side)) or not includes(one.full_pattern, name):
            continue
        if index < at:
            message = f"nothing satisfies {rules[at]} after {one}, which takes or refuses it"
            yield Lint(LintCode.UNSATISFIABLE, "error", place, message, "put REQUIRE first")
        elif refuses:
            message = f"nothing satisfies {rules[at]}: {one} refuses it, and no rule between takes it"
            yield Lint(LintCode.UNSATISFIABLE, "error", place, message, f"add [ALLOW, '{name}'] between")
        return


def _unbound(step: Step, side: ArtifactList, at: int, place: str) -> Iterator[Lint]:
    """Yield the later rule that consumes artifacts that a MATCH rule did not match, which makes the MATCH useless."""
    rules = _rules(step, side)
    rule = rules[at]
    for one in rules[at + 1 :] if rule.match else ():
        if one.keyword is Keyword.DISALLOW and includes(one.pattern, rule.full_pattern):
            return
        if _takes_all(one, step) and meets(one.pattern, rule.full_pattern):
            whole = includes(one.pattern, rule.full_pattern)
            message = f"{one} allows artifacts that {rule} does not match: other content passes"
            fix = f"add [DISALLOW, '{rule.full_pattern}'] between, or name less in {one.keyword}"
            yield Lint(LintCode.UNBOUND, "error" if whole else "warning", place, message, fix)
            return


def _looked_for(rule: ArtifactRule, prefix: str) -> str:
    """Return the pattern of the names under which a MATCH rule with this prefix looks in the other step."""
    return f"{prefix}/{rule.pattern}" if prefix else rule.pattern


def _could(step: Step, side: ArtifactList, pattern: str) -> bool:
    """Return whether evidence that passes the step's rules can have such a name, or a directory above or below it."""
    names = (pattern, *above(pattern), f"{pattern}/*")
    return side in _sides(step) and any(_left(step, side, one) for one in names)


def _left(step: Step, side: ArtifactList, pattern: str) -> bool:
    for rule in _rules(step, side):
        refuses = rule.keyword is Keyword.DISALLOW and includes(rule.pattern, pattern)
        if refuses or (_takes_some(rule, step, side) and meets(rule.full_pattern, pattern)):
            return not refuses
    return True


def _untied(layout: Layout) -> Iterator[Lint]:
    """Yield findings about steps that no chain of MATCH rules connects with a product that needs them."""
    places = {step.name: f"steps[{index}]" for index, step in enumerate(layout.steps)}
    told: set[str] = set()
    for entry in layout.serve:
        tied = _tied(layout, entry)
        for name in step_names(layout, entry):
            if name not in tied and name not in told:
                told.add(name)
                message = f"no MATCH rule ties step {name} to step {entry.step}: no evidence passes"
                fix = f"add a MATCH rule from or to step {name}, or name under serve the steps that a product needs"
                yield Lint(LintCode.UNTIED, "error", places[name], message, fix)


def _tied(layout: Layout, entry: ServedProducts) -> set[str]:
    """Return the steps that an entry needs and that are connected with its own by MATCH rules."""
    edges = {(step.name, other) for step in layout.steps for other in step.sources}
    needed = step_names(layout, entry)
    reached, size = {entry.step}, 0
    while size < len(reached):
        size = len(reached)
        reached |= {a for pair in edges if reached & set(pair) for a in pair if a in needed}
    return reached


def _needed(layout: Layout) -> Iterator[Lint]:
    """Yield findings for products that need fewer steps than are related to them, or more."""
    needed = {name for entry in layout.serve for name in step_names(layout, entry)}
    for index, step in enumerate(layout.steps):
        if step.name not in needed:
            message = f"no entry of serve needs step {step.name}: its evidence decides nothing"
            yield Lint(LintCode.NEVER_NEEDED, "error", f"steps[{index}]", message, "add it to serve[…].steps")
    wanted_by = all_needed_steps(layout, (entry.step for entry in layout.serve))
    for index, entry in enumerate(layout.serve):
        where, wanted = f"serve[{index}].steps", wanted_by[entry.step]
        fix = f"steps: [{', '.join(wanted)}]"
        if left := [name for name in wanted if entry.steps and name not in entry.steps]:
            message = f"products of step {entry.step} pass without step {', '.join(left)}"
            yield Lint(LintCode.LEFT_OUT, "warning", where, message, fix)
        others = sorted(_tied(layout, entry).difference(wanted))
        if others and not entry.steps:
            message = (
                f"a model passes only with evidence for all models: products of step {entry.step} need evidence of "
                f"the unrelated step {', '.join(others)}"
            )
            yield Lint(LintCode.TOGETHER, "warning", where, message, fix)


def _served(layout: Layout, steps: dict[str, Step]) -> Iterator[Lint]:
    data = layout.datasets.artifacts if layout.datasets else ()
    for field, entries in (("serve", layout.serve), ("datasets.artifacts", data)):
        for index, one in enumerate(entries):
            for at, pattern in enumerate(one.products):
                place = f"{field}[{index}].products[{at}]"
                if not _could(steps[one.step], ArtifactList.PRODUCTS, pattern):
                    message = f"the rules of step {one.step} allow no product like {pattern}"
                    yield Lint(LintCode.NEVER_SERVED, "error", place, message)
                elif field == "serve" and set(pattern) <= {"*", "?"}:
                    message = f"every product of step {one.step} may be served"
                    yield Lint(LintCode.SERVES_ALL, "warning", place, message, "name the model's files")
    wanted = [pattern for one in layout.serve for pattern in one.products]
    for index, inspection in enumerate(layout.inspections):
        around = [near for one in wanted for near in _around(one)]
        if not any(meets(pattern, one) for pattern in inspection.artifacts for one in around):
            message = f"no served product has such a name: {', '.join(inspection.artifacts)}"
            fix = f"correct the patterns: the layout serves {', '.join(wanted[:5])}"
            yield Lint(LintCode.DEAD_INSPECTION, "warning", f"inspections[{index}]", message, fix)
        if inspection.kind == "pickle":
            yield from _pickle(inspection, f"inspections[{index}]")


def _around(served: str) -> Sequence[str]:
    """Return patterns of the names that inspections see: the product, and its files if it can be a directory."""
    return (served,) if served.lower().endswith(FILE_SUFFIXES) else (served, f"{served}/*")


def _pickle(inspection: Inspection, place: str) -> Iterator[Lint]:
    if not inspection.allow and not inspection.frameworks:
        message = (
            f"inspection {inspection.name} allows no imports: only plain Python containers and numbers pass"
        )
        fix = f"add `frameworks: [...]` ({', '.join(FRAMEWORKS)}) or `allow: [module.name, ...]`"
        yield Lint(LintCode.UNLISTED_PICKLE, "error", place, message, fix)
    for at, pattern in enumerate(inspection.allow):
        if any(char in pattern for char in "*?"):
            message = f"{pattern} allows every function of its modules; some run code or open files"
            fix = "use `frameworks`, or list the classes by their full names"
            yield Lint(LintCode.WIDE_PICKLE, "warning", f"{place}.allow[{at}]", message, fix)
