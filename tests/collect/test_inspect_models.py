"""Inspections of real models: what each framework writes passes with its list alone, and nothing else does."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import sys
import warnings
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.utils import all_estimators

from gitchain.collect.inspect.frameworks import names_of
from gitchain.collect.inspect.pickle_imports import Imports
from gitchain.collect.inspect.pickle_machine import PickleMachine
from gitchain.collect.inspect.pickle_names import AllowedImports, refused
from gitchain.collect.inspect.pickle_values import HIDDEN as HIDDEN_NAME
from gitchain.layout.parts import FRAMEWORKS
from tests.support.model_files import look, whats

MODELS = Path(__file__).parents[1] / "fixtures/models"
NOT_ALLOWED = "pickle imports a name that the layout does not allow"
DANGEROUS = "pickle imports a name that is known to run code"


class Code:
    """Unpickles to a call of a name that only this test knows."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("x",)


def found(
    data: bytes, name: str = "model.joblib", *frameworks: str, allow: tuple[str, ...] = ()
) -> list[str]:
    return whats(look(data, "pickle", name, frameworks=frameworks, allow=allow))


def dumped(value: object, **how: Any) -> bytes:
    file = io.BytesIO()
    joblib.dump(value, file, **how)
    return file.getvalue()


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_frameworks_lists_hold_nothing_that_is_known_to_run_code(framework: str) -> None:
    """Every listed name is allowed by its own list and refused without it, unless it is Python's own or NumPy's."""
    names = names_of(framework) | names_of(framework, "objects")
    assert len(names) > 40
    assert refused(names, frozenset(), AllowedImports(frameworks=(framework,))) == ()
    own = names - names_of("python")
    assert {one.name for one in refused(own, frozenset(), AllowedImports())} == own


@pytest.mark.parametrize(
    "path", sorted(path.name for path in MODELS.iterdir() if path.name.startswith(("torch", "xg", "light")))
)
def test_frameworks_models_pass_with_their_list_alone(path: str) -> None:
    """Real files of PyTorch, XGBoost and LightGBM; each is refused under another framework's list."""
    data = (MODELS / path).read_bytes()
    framework = {"tor": "pytorch", "xgb": "xgboost", "lig": "lightgbm"}[path[:3]]
    assert found(data, path, framework) == []
    assert set(found(data, path, "numpy")) == {NOT_ALLOWED}


@pytest.mark.parametrize(
    ("framework", "included"),
    [("scikit-learn", "numpy"), ("xgboost", "scikit-learn"), ("lightgbm", "scikit-learn")],
)
def test_frameworks_include_those_that_their_models_hold(framework: str, included: str) -> None:
    """A layout that names one framework allows what the included one allows."""
    assert names_of(included) <= names_of(framework)


def test_frameworks_list_of_scikit_learn_covers_its_estimators() -> None:
    """Every estimator that fits two classes of plain numbers, by pickle and by joblib.

    Except splines of SciPy 1.18, which Python 3.12 and newer install: their state is set by code of SciPy's own.
    """
    rng = np.random.default_rng(0)
    x, y = rng.random((30, 4)), np.arange(30) % 2
    fitted, problems = 0, {}
    quick = {"n_estimators": 3, "max_iter": 20, "n_iter": 2, "max_subpopulation": 10}
    for name, kind in all_estimators():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                few = {key: value for key, value in quick.items() if key in kind().get_params()}
                model = kind(**few).fit(x, y)
            except Exception:  # noqa: BLE001 - meta-estimators and those for texts or other shapes
                continue
        fitted += 1
        for data in (pickle.dumps(model), dumped(model)):
            if wrong := look(data, "pickle", "m.pkl", frameworks=["scikit-learn"]):
                problems[name] = wrong
    refused = {"SplineTransformer"} if sys.version_info >= (3, 12) else set()
    assert set(problems) == refused, problems
    assert fitted > 120


ARRAYS = {
    "floats": np.arange(12.0).reshape(3, 4), "Fortran": np.asfortranarray(np.ones((3, 2))), "scalar": np.array(1.5),
    "empty": np.zeros((0, 3)), "text": np.array(["ab", "c"]), "bytes": np.array([b"ab"]), "bool": np.array([True]),
    "dates": np.array(["2020-01-01"], dtype="M8[D]"), "big endian": np.arange(3, dtype=">i8"),
    "objects": np.array([{1: 2}, "x"], dtype=object), "many": np.zeros(200_000),
    "structured": np.zeros(3, dtype=[("a", "i4"), ("b", [("c", "f8"), ("d", "U3")])]),
}  # fmt: skip


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
@pytest.mark.parametrize("how", [{}, {"compress": 3}, {"compress": ("gzip", 3)}, {"compress": ("bz2", 3)},
                                 {"compress": ("xz", 3)}, {"compress": ("lzma", 3)}, {"protocol": 2}], ids=str)  # fmt: skip
def test_joblib_arrays_are_followed(array: Any, how: dict[str, Any]) -> None:
    """What stands behind an array is inspected: code after it is found, harmless values pass."""
    assert found(dumped({"a": array, "b": [1, "x"]}, **how), "model", "scikit-learn") == []
    assert DANGEROUS not in found(dumped({"a": array, "b": 1}, **how), "model")
    assert found(dumped([array, Code()], **how), "model", "scikit-learn") == [NOT_ALLOWED]
    assert found(dumped([Code(), array], **how), "model", "scikit-learn") == [NOT_ALLOWED]


def test_joblib_array_of_objects_is_inspected() -> None:
    """The pickle inside of the file, which joblib loads where the array is."""
    data = dumped({"a": np.array([Code()], dtype=object)})
    assert found(data, "model", "scikit-learn") == [NOT_ALLOWED]


def test_joblib_array_that_hides_code_is_refused() -> None:
    """A description that says another size than joblib reads would make opcodes out of bytes, or bytes out of opcodes."""
    honest = dumped({"a": np.zeros(64, dtype="i1")})
    assert found(honest, "model", "scikit-learn") == []
    assert honest.count(b"K@\x85") == 1  # the shape (64,)
    for changed in (b"K\x20\x85", b"K\x7f\x85", b"N\x85", b"\x85"):
        assert found(honest.replace(b"K@\x85", changed), "model.joblib", "scikit-learn"), changed
    flags = b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t"
    assert flags in honest
    objects = honest.replace(flags, flags[:-2] + b"\x01t")  # joblib would read a pickle there
    assert found(objects, "model.joblib", "scikit-learn") == [
        "array of joblib has a type that cannot be followed"
    ]


WRAPPER = b"cjoblib.numpy_pickle\nNumpyArrayWrapper\n"
HIDDEN = {
    "made by a function": b"\x80\x02ccopyreg\n_reconstructor\n(" + WRAPPER + b"cbuiltins\nobject\nNtR}b.",
    "made by its constructor": b"\x80\x02" + WRAPPER + b"(tR}b.",
    "an instance": b"(ijoblib.numpy_pickle\nNumpyArrayWrapper\n}b.",
    "an object": b"(" + WRAPPER + b"o}b.",
    "another module": b"\x80\x02cjoblib\nnumpy_pickle.NumpyArrayWrapper\n)\x81}b.",
    "no description": b"\x80\x02" + WRAPPER + b")\x81}b.",
    "another state": b"\x80\x02" + WRAPPER + b")\x81Nb.",
    "an unseen object": b"\x80\x02" + WRAPPER + b"0]}b.",
    "unseen arguments": b"\x80\x02" + WRAPPER + b"0cbuiltins\nset\n]R.",
}


@pytest.mark.parametrize("program", HIDDEN.values(), ids=HIDDEN)
def test_joblib_description_is_made_in_one_way_only(program: bytes) -> None:
    """joblib looks for instances of the class; an instance that the machine could miss is an error."""
    assert any(
        "array of joblib" in one for one in found(program, "m.joblib", "scikit-learn", allow=("joblib.*",))
    )


def test_joblib_description_is_used_once() -> None:
    """A second state for the type of an array would be read with what both of them say."""
    honest = dumped({"a": np.zeros(3)})
    end = honest.index(b"K\x00t\x94b") + len(b"K\x00t\x94b")
    doubled = honest[:end] + b"(K\x03NNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x01tb" + honest[end:]
    assert found(doubled, "m.joblib", "scikit-learn") == ["array of joblib cannot be followed"]


def test_joblib_array_is_aligned() -> None:
    """Files of joblib before 1.2 have no padding: an unpickler would read the array's bytes as opcodes."""
    honest = dumped({"a": np.zeros(3)})
    assert found(honest.replace(b"K\x10", b"N"), "m.joblib", "scikit-learn") == [
        "array of joblib has no padding"
    ]
    assert found(honest.replace(b"K\x10", b"\x88"), "m.joblib", "scikit-learn") == [
        "array of joblib cannot be followed"
    ]
    padding = honest.index(b"\xff" * 3 + bytes(24))
    while honest[padding] == 0xFF:
        padding -= 1
    broken = honest[:padding] + b"(" + honest[padding + 1 :]
    assert found(broken, "m.joblib", "scikit-learn") == ["array of joblib is not aligned"]


def test_pickle_machine_counts_calls_of_called_objects() -> None:
    """The result of a call that is called itself cannot be named."""
    imports = Imports()
    PickleMachine(io.BytesIO(b"cbuiltins\nlist\n)R)R."), imports).run()
    assert imports.names == {("builtins", "list"), HIDDEN_NAME}
    assert imports.called == {("builtins", "list")}


def test_pickle_machine_names_what_a_call_hands_on() -> None:
    """A class among the arguments may be called by the function; one that an object is made of is not."""
    imports = Imports()
    PickleMachine(io.BytesIO(b"\x80\x02ca\nf\ncb\nG\n\x85Rcc\nH\n)\x81."), imports).run()
    assert imports.called == {("a", "f"), ("b", "G")}


def npy(header: str, data: bytes = b"", version: bytes = b"\1\0") -> bytes:
    text = header.encode()
    return b"\x93NUMPY" + version + struct.pack("<H" if version == b"\1\0" else "<I", len(text)) + text + data


HEADER = "{{'descr': {}, 'fortran_order': False, 'shape': {}}}"


@pytest.mark.parametrize(
    ("kind", "shape", "size"),
    [("'<f8'", "(2,)", 16), ("'|b1'", "()", 1), ("'<U3'", "(2, 2)", 48), ("'<M8[ns]'", "(1,)", 8), ("'|S5'", "(0,)", 0),
     ("[('a', '<i4'), ('b', '<f8', (2,)), ('c', [('d', '|u1')], 3)]", "(2,)", 46)],
)  # fmt: skip
def test_numpy_array_has_the_size_that_its_header_says(kind: str, shape: str, size: int) -> None:
    """One byte less or more is a problem: what stands behind an array is another file."""
    header = HEADER.format(kind, shape)
    assert found(npy(header, bytes(size)), "a.npy") == []
    assert found(npy(header, bytes(size + 1)), "a.npy") == ["NumPy array has another size than in its header"]
    if size:
        assert found(npy(header, bytes(size - 1)), "a.npy") == [
            "NumPy array has another size than in its header"
        ]


@pytest.mark.parametrize("kind", ["'|O'", "'O'", r"'|\x4f'", r"'|\117'", r"'\N{LATIN CAPITAL LETTER O}'", "'|' 'O'", "'|O8'",
                                  "[('a', '<i4'), ('b', '|O')]", "[('a', [('b', '|O')])]"])  # fmt: skip
def test_numpy_array_of_objects_is_a_pickle(kind: str) -> None:
    """However its header spells the type."""
    header = HEADER.format(kind, "(1,)")
    assert found(npy(header, pickle.dumps(Code())), "a.npy", "numpy") == [NOT_ALLOWED]
    assert found(npy(header, pickle.dumps([1])), "a.npy") == []


@pytest.mark.parametrize(
    "header",
    ["", "{}", "[]", "os.system('x')", HEADER.format("'<f8'", "2"), HEADER.format("'<f8'", "(-1,)"),
     HEADER.format("'<f8'", "(True,)"), HEADER.format("'<f9x'", "(1,)"), HEADER.format("[]", "(1,)"), HEADER.format("[1]", "(1,)"),
     HEADER.format("[('a', '<f8', 'x')]", "(1,)"), HEADER.format("('<f8', (2,))", "(1,)"), "(" * 9000,
     "{'descr': '<f8', 'fortran_order': False, 'shape': (), 'x': 1}",
     HEADER.format("[('a', " * 12 + "'<f8'" + ")]" * 12, "(1,)")],
)  # fmt: skip
def test_numpy_header_that_is_not_known_is_a_problem(header: str) -> None:
    """NumPy may read it in another way."""
    assert len(found(npy(header, bytes(8)), "a.npy")) == 1


def test_numpy_versions() -> None:
    """Versions 1 to 3; another one, a header that is too long or cut off."""
    header = HEADER.format("'<f8'", "(1,)")
    for version in (b"\2\0", b"\3\0"):
        assert found(npy(header, bytes(8), version), "a.npy") == []
    assert found(npy(header, bytes(8), b"\4\0"), "a.npy") == ["NumPy file has an unknown version"]
    assert found(npy(header + " " * 10_000, bytes(8)), "a.npy") == ["NumPy header is too long"]
    assert found(npy(header, bytes(8))[:40], "a.npy")
    assert found(b"\x93NUMPY", "a.npy") == ["NumPy file has an unknown version"]


def test_compressed_files_end_with_their_stream() -> None:
    """Damaged, cut off, or with something behind the end; unpacked bytes are bounded."""
    for how in ("zlib", "gzip", "bz2", "xz", "lzma"):
        data = dumped([1, 2], compress=(how, 3))
        assert found(data, "model") == [], how
        assert found(data + b"x", "model") == ["compressed file has bytes after its end"], how
        assert found(data[:-5], "model"), how
        assert found(data[:12] + bytes(20), "model.pkl"), how


def test_compressed_bomb_stays_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of zeros is given up at the limit."""
    monkeypatch.setattr("gitchain.collect.inspect.pickles.MAX_UNPACKED", 1 << 20)
    assert found(dumped(bytes(4 << 20), compress=("gzip", 3)), "m.pkl") == ["archive unpacks to too much"]
    nested = dumped([1])
    for _ in range(5):
        nested = gzip.compress(nested)
    assert found(nested, "m.pkl") == ["archives are nested too deeply"]
