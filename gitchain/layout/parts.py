"""Parts of a layout besides steps: constraints, selectors, served products, data sets, inspections.

Every value is valid by construction: the constructors raise LayoutError with the field's name in `where`.
Does NOT compile constraints (`gitchain.layout.constraint`) or run inspections.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from gitchain.errors import LayoutError, MalformedError
from gitchain.evidence.canonical import Json
from gitchain.evidence.names import check_name
from gitchain.layout.fields import check_distinct, check_label
from gitchain.layout.rule import check_pattern

MAX_EXPRESSION = 4096  # characters: a page; what is longer belongs in two constraints
MAX_SIZE = 2**53 - 1

InspectionKind: TypeAlias = Literal[
    "pickle", "safetensors", "gguf", "onnx", "keras", "savedmodel", "transformers", "size", "types"
]
INSPECTION_KINDS: tuple[InspectionKind, ...] = get_args(InspectionKind)
Framework: TypeAlias = Literal["numpy", "scikit-learn", "pytorch", "xgboost", "lightgbm"]
FRAMEWORKS: tuple[Framework, ...] = get_args(Framework)
"""The frameworks whose names a `pickle` inspection can allow: `gitchain.collect.inspect.frameworks` has the lists."""

_EXTENSION = re.compile(r"\.[A-Za-z0-9][A-Za-z0-9._+-]{0,31}")
_IMPORTS = re.compile(r"[A-Za-z_*?][A-Za-z0-9_.*?]{0,255}")
_REGISTERED = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,127}(>[A-Za-z_][A-Za-z0-9_]{0,127})?")
_OPERATION = re.compile(r"[A-Za-z][A-Za-z0-9_>]{0,127}")
_ALLOWED = {
    "types": (_EXTENSION, "an extension such as .json"),
    "pickle": (_IMPORTS, "names such as credit.features.Scaler"),
    "keras": (_REGISTERED, "registered names such as credit>Scale"),
    "savedmodel": (_OPERATION, "operations such as ReadFile"),
}
_EXPRESSION_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Constraint:
    """A named condition in CEL, not compiled yet (`gitchain.layout.constraint` does that)."""

    name: str
    expression: str

    def __post_init__(self) -> None:
        check_label(self.name)
        if not self.expression.strip() or len(self.expression) > MAX_EXPRESSION:
            expected = f"1 to {MAX_EXPRESSION} characters"
            raise LayoutError("expression has the wrong length", where="expression", expected=expected)
        if _EXPRESSION_CONTROL.search(self.expression):
            got = ascii(self.expression[:80])
            raise LayoutError("expression holds a control character", where="expression", got=got)

    def to_json(self) -> dict[str, Json]:
        """Return the constraint as in the layout."""
        return {"name": self.name, "expression": self.expression}


@dataclass(frozen=True, slots=True)
class Selector:
    """The statements of other tools that are evidence for a step: those for which the condition `where` is true.

    `name` is the name that rules see in place of the tool's; with it, a statement must be about one artifact.
    """

    where: Constraint
    name: str | None = None

    def __post_init__(self) -> None:
        if self.name is not None:
            try:
                check_name(self.name)
            except MalformedError as error:
                raise LayoutError(error.what, where="as", expected=error.expected, got=error.where) from error

    @classmethod
    def of(cls, where: str, name: str | None = None) -> Selector:
        """Return the selector with this condition in CEL."""
        try:
            condition = Constraint("where", where)
        except LayoutError as error:
            raise LayoutError(error.what, where="where", expected=error.expected, got=error.got) from error
        return cls(condition, name)

    def to_json(self) -> dict[str, Json]:
        """Return the selector as in the layout."""
        found: dict[str, Json] = {"where": self.where.expression}
        return found if self.name is None else {**found, "as": self.name}


@dataclass(frozen=True, slots=True)
class ServedProducts:
    """Products of one step with matching names: products that may be served, or data sets.

    A served product needs evidence for each step in `steps`; without `steps`, for every step of the layout.
    """

    step: str
    products: tuple[str, ...]
    steps: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_patterns("products", self.products)
        check_distinct("step", "steps", self.steps)

    def to_json(self) -> dict[str, Json]:
        """Return the entry as in the layout, `steps` only where it names some."""
        found: dict[str, Json] = {"step": self.step, "products": self.products}
        return found | {"steps": self.steps} if self.steps else found


@dataclass(frozen=True, slots=True)
class Datasets:
    """Which artifacts are data sets, the functionaries that may state their facts, and the constraints on them."""

    functionaries: tuple[str, ...]
    artifacts: tuple[ServedProducts, ...]
    constraints: tuple[Constraint, ...] = ()

    def __post_init__(self) -> None:
        for field, values in (("functionaries", self.functionaries), ("artifacts", self.artifacts)):
            if not values:
                raise LayoutError(f"{field} is empty", where=field, expected="at least one", got="none")
        check_distinct("functionary", "functionaries", self.functionaries)
        check_distinct("constraint", "constraints", (one.name for one in self.constraints))

    def to_json(self) -> dict[str, Json]:
        """Return the section as in the layout, without fields that have their default."""
        found: dict[str, Json] = {"functionaries": self.functionaries}
        found["artifacts"] = [one.to_json() for one in self.artifacts]
        if self.constraints:
            found["constraints"] = [one.to_json() for one in self.constraints]
        return found


@dataclass(frozen=True, slots=True)
class Inspection:
    """A built-in inspection of the target's files.

    `max_bytes` belongs to `size`. `allow` lists extensions for `types`, imported names for `pickle`, registered
    names for `keras` and operations for `savedmodel`. `pickle` also has `frameworks`: whose lists of names are allowed.
    """

    name: str
    kind: InspectionKind
    artifacts: tuple[str, ...]
    max_bytes: int | None = None
    allow: tuple[str, ...] = ()
    frameworks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_label(self.name)
        if self.kind not in INSPECTION_KINDS:
            raise LayoutError(
                "unknown inspection",
                where="kind",
                expected=", ".join(INSPECTION_KINDS),
                got=ascii(self.kind[:80]),
            )
        _check_patterns("artifacts", self.artifacts)
        if (self.kind == "size") != (self.max_bytes is not None):
            raise LayoutError("maxBytes belongs to size, which needs it", where="maxBytes", got=self.kind)
        if self.max_bytes is not None and not 0 < self.max_bytes <= MAX_SIZE:
            raise LayoutError("not a size in bytes", where="maxBytes", got=str(self.max_bytes))
        self._check_allow()
        self._check_frameworks()

    def _check_frameworks(self) -> None:
        if self.frameworks and self.kind != "pickle":
            raise LayoutError("frameworks belong to pickle", where="frameworks", got=self.kind)
        check_distinct("framework", "frameworks", self.frameworks)
        for framework in self.frameworks:
            if framework not in FRAMEWORKS:
                expected = ", ".join(FRAMEWORKS)
                raise LayoutError(
                    "unknown framework", where="frameworks", expected=expected, got=ascii(framework[:40])
                )

    def _check_allow(self) -> None:
        if (self.kind == "types" and not self.allow) or (self.allow and self.kind not in _ALLOWED):
            raise LayoutError(
                "allow belongs to types, which needs it, pickle, keras and savedmodel",
                where="allow",
                got=self.kind,
            )
        check_distinct("entry", "allow", self.allow)
        for entry in self.allow:
            form, example = _ALLOWED[self.kind]
            if form.fullmatch(entry) is None:
                raise LayoutError(
                    "not what may be allowed", where="allow", expected=example, got=ascii(entry[:40])
                )

    def to_json(self) -> dict[str, Json]:
        """Return the inspection as in the layout, without fields that have their default."""
        found: dict[str, Json] = {"name": self.name, "kind": self.kind, "artifacts": self.artifacts}
        if self.max_bytes is not None:
            found["maxBytes"] = self.max_bytes
        if self.allow:
            found["allow"] = self.allow
        if self.frameworks:
            found["frameworks"] = self.frameworks
        return found


def _check_patterns(field: str, patterns: tuple[str, ...]) -> None:
    if not patterns:
        raise LayoutError("nothing is named", where=field, expected="at least one pattern", got="none")
    for pattern in patterns:
        try:
            check_pattern(pattern)
        except LayoutError as error:
            raise LayoutError(error.what, where=field, expected=error.expected, got=error.got) from error
