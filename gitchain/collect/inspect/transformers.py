"""Check whether loading a Hugging Face model directory would run code in it.

1. Files of code (`.py`, shared libraries) beside the model are refused.
2. `auto_map`, `custom_pipelines` and `trust_remote_code: true` in a JSON file make transformers import such files, from
   the directory or from another repository.
3. A `model_index.json` of diffusers names classes of `diffusers` and `transformers` only, a `modules.json` those of
   `sentence_transformers`, the adapter of PEFT a base model of `transformers` or `diffusers`: the loader imports them.
4. Chat templates are programs in Jinja. Templates in JSON files, in `.jinja` files and in GGUF metadata use the tags,
   filters and methods that templates need, and no names with a leading underscore.

Templates are parsed by Jinja itself, and not run (the extra `gitchain[inspect]`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from gitchain.collect.inspect.gguf import chat_templates
from gitchain.collect.inspect.problem import ModelProblem, shown
from gitchain.collect.inspect.source import ModelFile
from gitchain.errors import MalformedError
from gitchain.evidence.canonical import Json, strict_json

MAX_JSON = 256 << 20
"""Largest JSON file in bytes: tokenizers of large vocabularies have some 40 MB."""

MAX_TEMPLATE = 1 << 20
CODE = (".py", ".pyc", ".pyd", ".so", ".dll", ".dylib", ".sh", ".ipynb")
_INDEX = "model_index.json"
_LIBRARIES = {None, "diffusers", "transformers"}
_MODULES = "modules.json"
_MODULE_CLASS = re.compile(
    r"sentence_transformers(\.[a-z_]\w*)*\.[A-Z]\w*", re.ASCII
)  # a class, not what it imports

TAGS = {
    "Add", "And", "Assign", "AssignBlock", "Break", "Call", "CallBlock", "Compare", "Concat", "CondExpr", "Const",
    "Continue", "Dict", "Div", "Filter", "FilterBlock", "FloorDiv", "For", "Getattr", "Getitem", "If", "Keyword", "List",
    "Macro", "Mod", "Mul", "NSRef", "Name", "Neg", "Not", "Operand", "Or", "Output", "Pair", "Pos", "Pow", "Scope", "Slice",
    "Sub", "Template", "TemplateData", "Test", "Tuple", "With",
}  # fmt: skip
"""Nodes of Jinja's syntax tree that a chat template may have: no import, include, extends, block or extension."""

FILTERS = {
    "abs", "batch", "capitalize", "count", "default", "d", "dictsort", "e", "escape", "first", "float", "indent", "int",
    "items", "join", "last", "length", "list", "lower", "max", "min", "reject", "rejectattr", "replace", "reverse", "round",
    "safe", "select", "selectattr", "slice", "sort", "string", "sum", "title", "tojson", "trim", "unique", "upper",
    "wordcount",
}  # fmt: skip
"""Filters; `attr`, `format`, `map` and others that reach attributes by name are not among them."""

METHODS = {
    "append", "capitalize", "count", "endswith", "find", "get", "index", "isdigit", "items", "join", "keys", "lower",
    "lstrip",
    "replace", "rfind", "rsplit", "rstrip", "split", "splitlines", "startswith", "strip", "title", "upper", "values",
}  # fmt: skip
FUNCTIONS = {"dict", "namespace", "raise_exception", "range", "strftime_now"}


def check_transformers(source: ModelFile) -> tuple[ModelProblem, ...]:
    """Return the problems of one file of a model directory."""
    name = source.name.rpartition("/")[2].lower()
    if name.endswith(CODE):
        return (
            ModelProblem(
                "file of code beside the model",
                source.name,
                help="leave it out, or review it and narrow artifacts",
            ),
        )
    if name.endswith(".json"):
        return tuple(_json(source, name))
    if name.endswith(".jinja"):
        return tuple(_template(_read(source, MAX_TEMPLATE).decode("utf-8", errors="replace"), source.name))
    if source.read_at(0, 4) == b"GGUF":
        found: list[ModelProblem] = []
        for text in chat_templates(source, MAX_TEMPLATE):
            found.extend(_template(text, source.name))
        return tuple(found)
    return ()


def _read(source: ModelFile, limit: int) -> bytes:
    if source.size > limit:
        raise MalformedError(
            "file is too large to inspect", expected=f"at most {limit} bytes", got=str(source.size)
        )
    return source.read_at(0, source.size)


def _json(source: ModelFile, name: str) -> Iterator[ModelProblem]:
    data = _read(source, MAX_JSON)
    value = strict_json(data, source.name, max_bytes=MAX_JSON, max_depth=100, max_values=MAX_JSON // 8)
    if name == _INDEX and isinstance(value, dict):
        yield from _index(value, source.name)
    if name == _MODULES:
        yield from _modules(value, source.name)
    left: list[Json] = [value]
    while left:
        one = left.pop()
        if isinstance(one, list):
            left.extend(one)
        elif isinstance(one, dict):
            left.extend(one.values())
            for key in ("auto_map", "custom_pipelines", "trust_remote_code"):
                if one.get(key):
                    yield ModelProblem(
                        "model runs code of its repository when it is loaded",
                        source.name,
                        got=f"{key}: {shown(one[key])}",
                    )
            parent = one.get("parent_library")
            if parent is not None and str(parent).partition(".")[0] not in _LIBRARIES:
                yield ModelProblem(
                    "adapter has a base model of another library",
                    source.name,
                    "diffusers or transformers",
                    shown(parent),
                )
            for text in _templates(one.get("chat_template")):
                yield from _template(text, source.name)


def _templates(value: Json) -> Iterator[str]:
    """Yield the templates of the field: a text, a list of `{name, template}`, or texts by name."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (one for one in value.values() if isinstance(one, str))
    elif isinstance(value, list):
        for one in value:
            yield from _templates(one)


def _index(value: dict[str, Json], where: str) -> Iterator[ModelProblem]:
    for key, part in value.items():
        library = part[0] if isinstance(part, list) and part else None
        if (key[:1] != "_" or key == "_class_name") and library not in _LIBRARIES:
            yield ModelProblem(
                "pipeline has a part of another library",
                where,
                "diffusers or transformers",
                f"{shown(key)}: {shown(library)}",
            )


def _modules(value: Json, where: str) -> Iterator[ModelProblem]:
    """Yield the modules of a sentence-transformers model that are of another library, or no module."""
    for one in value if isinstance(value, list) else [value]:
        kind = one.get("type") if isinstance(one, dict) else None
        if not isinstance(kind, str) or _MODULE_CLASS.fullmatch(kind) is None:
            yield ModelProblem(
                "model has a module of another library", where, "sentence_transformers", shown(kind)
            )


def _template(text: str, where: str) -> Iterator[ModelProblem]:
    """Yield a problem for each construct in a chat template that is not allowed."""
    try:
        import jinja2
        from jinja2.ext import Extension, loopcontrols
    except ImportError:
        yield ModelProblem(
            "chat template cannot be inspected: Jinja is not installed",
            where,
            expected="jinja2",
            help="pip install 'gitchain[inspect]'",
        )
        return

    class Generation(Extension):
        """The tag with which transformers marks the assistant's output."""

        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            return jinja2.nodes.Scope(
                parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line
            )

    if len(text) > MAX_TEMPLATE:
        yield ModelProblem("chat template is too long", where, expected=f"at most {MAX_TEMPLATE} characters")
        return
    try:
        tree = jinja2.Environment(extensions=[loopcontrols, Generation], autoescape=True).parse(text)
    except (jinja2.TemplateError, RecursionError, ValueError) as error:
        yield ModelProblem("chat template cannot be parsed", where, got=shown(str(error)))
        return
    macros = {node.name for node in tree.find_all(jinja2.nodes.Macro)}
    for node in (tree, *tree.find_all(jinja2.nodes.Node)):
        refused = _refused(node, jinja2.nodes, macros)
        if refused:
            yield ModelProblem(
                "chat template uses a construct that is not allowed",
                where,
                got=f"line {node.lineno}: {shown(refused)}",
            )


def _refused(node: Any, nodes: Any, macros: set[str]) -> str:  # noqa: PLR0911 - a table
    """Return the problem of one node of the syntax tree, or an empty text."""
    match node:
        case _ if type(node).__name__ not in TAGS:
            return type(node).__name__
        case nodes.Getattr(attr=name) if name.startswith("_"):
            return f".{name}"
        case nodes.Const(value=str(value)) if value.startswith("__"):
            return value
        case nodes.Name(name=name) if name.startswith("__"):
            return str(name)
        case nodes.Filter(name=name) if name not in FILTERS and (name != "map" or _names_attribute(node)):
            return f"|{name}"
        case nodes.Call(node=called) if not _is_allowed_call(called, nodes, macros):
            return f"call of {getattr(called, 'name', getattr(called, 'attr', 'a result'))}"
    return ""


def _is_allowed_call(called: Any, nodes: Any, macros: set[str]) -> bool:
    if isinstance(called, nodes.Name):
        return called.name in FUNCTIONS or called.name in macros or called.name == "caller"
    return isinstance(called, nodes.Getattr) and called.attr in METHODS


def _names_attribute(node: Any) -> bool:
    """Return whether `map` is given an attribute, or a filter that is not listed."""
    first = node.args[0] if node.args else None
    return bool(node.kwargs) or node.dyn_args is not None or getattr(first, "value", None) not in FILTERS
