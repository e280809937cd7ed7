"""What one mutation is: every small change of a module that its tests have to notice.

A mutant replaces one node of the syntax tree. Left alone, because no behaviour hangs on them or the tests
that would notice pin words instead of facts: annotations, decorators, docstrings, imports, f-strings, the
words and numbers inside an error's constructor, and the labels that functions put into their errors. docs/decisions/0008-mutation-testing.md says why this is ours.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from copy import copy
from dataclasses import dataclass
from typing import Any

COMPARE = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
BINARY = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
    ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd, ast.Pow: ast.Mult,
}  # fmt: skip
NAMES = {"any": "all", "all": "any", "min": "max", "max": "min", "sorted": "list"}
METHODS = {"startswith": "endswith", "endswith": "startswith"}
NAMING = ("Error", "cast", "NewType", "TypeVar")  # what these are called with is for people and type checkers
WORDS = {"expected", "got", "help", "where", "what", "repr"}  # keywords that only word a message
LEAVING = (ast.Raise, ast.Return, ast.Continue, ast.Break)
SILENT = ("annotation", "returns", "decorator_list", "type_comment")  # fields without behaviour to test


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change: `parent.field` (at `index`, if it is a list) becomes `new`."""

    parent: ast.AST
    field: str
    index: int | None
    new: ast.AST
    statement: ast.AST
    function: str

    @property
    def lines(self) -> range:
        """Return the lines whose tests may notice: those of the node that is replaced."""
        old = self.old
        return range(old.lineno, (old.end_lineno or old.lineno) + 1)  # type: ignore[attr-defined]

    @property
    def old(self) -> ast.AST:
        value: Any = getattr(self.parent, self.field)
        found: ast.AST = value if self.index is None else value[self.index]
        return found

    @property
    def first_line(self) -> int:
        line: int = self.statement.lineno  # type: ignore[attr-defined]
        return line

    def apply(self) -> None:
        """Change the tree; there is no way back."""
        ast.copy_location(self.new, self.old)
        ast.fix_missing_locations(self.new)
        self._put(self.new)

    def texts(self) -> tuple[str, str]:
        """Return the statement before and after, without the bodies below it."""
        old = self.old
        was = _header(self.statement)
        self._put(self.new)
        now = _header(self.statement if old is not self.statement else self.new)
        self._put(old)
        return was, now

    def _put(self, node: ast.AST) -> None:
        if self.index is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.index] = node


def _header(statement: ast.AST) -> str:
    if not hasattr(statement, "body") or isinstance(statement, ast.Lambda | ast.IfExp):
        return ast.unparse(statement)
    bare = copy(statement)
    bare.body = [ast.Pass()]
    for field in ("orelse", "finalbody", "handlers"):
        if hasattr(bare, field):
            setattr(bare, field, [])
    if isinstance(bare, ast.Try):
        return "try:"
    return ast.unparse(ast.fix_missing_locations(bare)).removesuffix("pass").strip()


def labels(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield the functions of a module that take the words for their errors as an argument, and which one it is."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            names = [arg.arg for arg in node.args.args if arg.arg not in {"self", "cls"}]
            yield from ((node.name, index) for index, name in enumerate(names) if name in WORDS)


def mutants(tree: ast.Module, labelled: Collection[tuple[str, int]] = ()) -> Iterator[Mutant]:
    """Yield every mutant of the module, in the order of its lines; `labelled` is what `labels` found anywhere."""
    for one in _below(tree, tree, ""):
        if not _is_label(one, labelled):
            yield one


def _is_label(one: Mutant, labelled: Collection[tuple[str, int]]) -> bool:
    if not isinstance(one.old, ast.Constant):
        return False
    if isinstance(one.parent, ast.Assign):
        return ast.unparse(one.parent.targets[0]) in WORDS
    return one.field == "args" and (_called(one.parent), one.index) in labelled


def _below(node: ast.AST, statement: ast.AST, function: str) -> Iterator[Mutant]:
    for field, value in ast.iter_fields(node):
        if field in SILENT:
            continue
        for index, child in enumerate(value) if isinstance(value, list) else ((None, value),):
            if not isinstance(child, ast.AST) or _left_alone(child):
                continue
            inner = child if isinstance(child, ast.stmt | ast.ExceptHandler) else statement
            for new in _changes(child, field, node):
                yield Mutant(node, field, index, new, inner, function)
            own = (
                f"{function}.{child.name}" if isinstance(child, ast.FunctionDef | ast.ClassDef) else function
            )
            yield from _below(child, inner, own.lstrip("."))


def _left_alone(node: ast.AST) -> bool:  # noqa: PLR0911 - one line for each kind
    if isinstance(node, ast.Expr):  # docstrings and the `...` of protocols
        return isinstance(node.value, ast.Constant) or _called(node.value) == "assert_never"
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    if isinstance(node, ast.AnnAssign):
        return ast.unparse(node.annotation) == "TypeAlias"
    if isinstance(node, ast.Assign):
        return ast.unparse(node.targets[0]) in {"__slots__", "__all__", "__hash__"}
    if isinstance(node, ast.Subscript):
        return isinstance(node.value, ast.Name) and node.value.id == "Literal"
    if isinstance(node, ast.keyword):
        return node.arg in WORDS
    return isinstance(node, ast.JoinedStr | ast.Import | ast.ImportFrom)


def _called(node: ast.AST | None) -> str:
    func = node.func if isinstance(node, ast.Call) else None
    return func.attr if isinstance(func, ast.Attribute) else func.id if isinstance(func, ast.Name) else ""


def _changes(node: ast.AST, field: str, parent: ast.AST) -> Iterator[ast.AST]:
    yield from _statement(node)
    yield from _logic(node)
    yield from _value(node, parent)
    if field == "test" or (field == "ifs" and isinstance(parent, ast.comprehension)):
        if not isinstance(node, ast.Compare | ast.BoolOp | ast.UnaryOp):
            yield ast.UnaryOp(ast.Not(), node)  # type: ignore[arg-type]
        if field == "ifs":
            yield ast.Constant(value=True)
        elif isinstance(parent, ast.If) and isinstance(parent.body[-1], LEAVING):
            yield ast.Constant(value=False)  # the check is gone


def _statement(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Raise | ast.AugAssign | ast.Delete | ast.Expr):
        yield ast.Pass()
    elif isinstance(node, ast.Continue):
        yield ast.Break()
    elif isinstance(node, ast.Break):
        yield ast.Continue()
    elif isinstance(node, ast.Return) and node.value and not _is_none(node.value):
        yield ast.Return(ast.Constant(value=None))
    elif isinstance(node, ast.ExceptHandler) and node.type:
        yield ast.ExceptHandler(ast.Tuple([], ast.Load()), node.name, node.body)
    if isinstance(node, ast.AugAssign) and type(node.op) in BINARY:
        yield ast.AugAssign(node.target, BINARY[type(node.op)](), node.value)


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _logic(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Compare):
        for index, op in enumerate(node.ops):
            ops = [*node.ops[:index], COMPARE[type(op)](), *node.ops[index + 1 :]]
            yield ast.Compare(node.left, ops, node.comparators)
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
        for index in range(len(node.values)):
            left = node.values[:index] + node.values[index + 1 :]
            yield left[0] if len(left) == 1 else ast.BoolOp(node.op, left)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node.operand
    elif isinstance(node, ast.BinOp) and type(node.op) in BINARY:
        yield ast.BinOp(node.left, BINARY[type(node.op)](), node.right)


def _value(node: ast.AST, parent: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Constant) and not _called(parent).endswith(NAMING):
        value = node.value
        if isinstance(value, bool):
            yield ast.Constant(value=not value)
        elif isinstance(value, int):
            yield ast.Constant(value=value + 1)
        elif isinstance(value, str | bytes):
            yield ast.Constant(value=f"XX{value}" if isinstance(value, str) else b"XX" + value)
    elif isinstance(node, ast.Slice):
        if node.lower:
            yield ast.Slice(None, node.upper, node.step)
        if node.upper:
            yield ast.Slice(node.lower, None, node.step)
    elif isinstance(node, ast.Name) and node.id in NAMES:
        yield ast.Name(NAMES[node.id], ast.Load())
    elif isinstance(node, ast.Attribute) and node.attr in METHODS:
        yield ast.Attribute(node.value, METHODS[node.attr], ast.Load())
