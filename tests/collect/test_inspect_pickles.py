"""Pickles: what runs code is found in every wrapping, what cannot be looked into is a problem, and bombs stay small."""

from __future__ import annotations

import builtins
import collections
import io
import logging
import os
import pickle
import pickletools
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from picklescan.scanner import _list_globals, _unsafe_globals
from sklearn.linear_model import LogisticRegression

from gitchain.collect.inspect import ModelProblem
from gitchain.collect.inspect.compressed import SEALED
from gitchain.collect.inspect.pickle_imports import Imports
from gitchain.collect.inspect.pickle_machine import PickleMachine
from gitchain.collect.inspect.pickle_values import HIDDEN, OVERFLOW, UNKNOWN
from gitchain.layout.parts import FRAMEWORKS
from tests.support.model_files import Runs, look, whats

BAD = pickle.dumps(Runs())
GOOD = pickle.dumps({"weights": [1.0, 2.0], "kind": collections.OrderedDict(a=b"x")})
DANGEROUS = ["pickle imports a name that is known to run code"]
UNDETERMINED = ["pickle imports a name that cannot be determined"]
NOT_ALLOWED = ["pickle imports a name that the layout does not allow"]


def found(data: bytes, name: str = "model.pkl", **more: Any) -> list[str]:
    return whats(look(data, "pickle", name, **more))


def imports(data: bytes) -> set[tuple[str, str]]:
    found = Imports()
    PickleMachine(io.BytesIO(data), found).run()
    return found.names


def zipped(members: dict[str, bytes], how: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", how) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def tarred(members: dict[str, bytes], how: int = tarfile.PAX_FORMAT, **more: Any) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=how) as archive:
        for name, data in members.items():
            one = tarfile.TarInfo(name)
            one.size = len(data)
            for key, value in more.items():
                setattr(one, key, value)
            archive.addfile(one, io.BytesIO(data))
    return file.getvalue()


def legacy_torch(payload: bytes) -> bytes:
    """A file in PyTorch's old format: five pickles, then raw tensors."""
    magic = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
    return (
        magic
        + pickle.dumps(1001, 2)
        + pickle.dumps({}, 2)
        + payload
        + pickle.dumps(["0"], 2)
        + bytes(range(256))
    )


def numpy_file(header: str, data: bytes, version: bytes = b"\1\0") -> bytes:
    text = header.encode()
    return b"\x93NUMPY" + version + struct.pack("<H" if version == b"\1\0" else "<I", len(text)) + text + data


WRAPPED: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda data: data,
    "behind another pickle": lambda data: pickle.dumps(1) + data,
    "zip": lambda data: zipped({"archive/data.pkl": data}),
    "deflated": lambda data: zipped({"archive/data.pkl": data}, zipfile.ZIP_DEFLATED),
    "zip without a pickle's name": lambda data: zipped({"archive/data/0": data}),
    "zip in zip": lambda data: zipped({"a.bin": zipped({"b": data})}, zipfile.ZIP_DEFLATED),
    "tar": lambda data: tarred({"pickle": data}),
    "tar, long name": lambda data: tarred({"a" * 200 + ".pkl": data}, tarfile.GNU_FORMAT),
    "tar, extended": lambda data: tarred({"a" * 200 + ".pkl": data}, mtime=1.5),
    "tar in zip": lambda data: zipped({"a.nemo": tarred({"b.pkl": data})}),
    "legacy torch": legacy_torch,
    "NumPy": lambda data: numpy_file("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", data),
}


@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED)
@pytest.mark.parametrize("name", ["model.pkl", "model.safetensors", "model"])
def test_code_is_found_in_every_wrapping(wrap: Callable[[bytes], bytes], name: str) -> None:
    """Wherever a loader would find the pickle, the inspection does, whatever the file is called."""
    assert found(wrap(BAD), name) == DANGEROUS


@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED)
def test_harmless_pickles_pass_in_every_wrapping(wrap: Callable[[bytes], bytes]) -> None:
    """The same wrappings around plain data have no problem."""
    assert found(wrap(GOOD)) == []


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol_is_followed(protocol: int) -> None:
    """Code and data in each protocol of the pickle format."""
    assert found(pickle.dumps(Runs(), protocol)) == DANGEROUS
    assert (
        found(pickle.dumps([{"a": (1, 2.5, None, True, b"x", "y", 1 << 70, {1}, frozenset())}] * 2, protocol))
        == []
    )


def test_real_models_pass(tmp_path: Any) -> None:
    """A model of scikit-learn and arrays of NumPy, as their libraries write them."""
    model = LogisticRegression().fit(np.arange(20).reshape(10, 2), np.arange(10) % 2)
    masked = pickle.dumps([np.ma.array([1, 2], mask=[False, True]), b""], 2)
    assert found(masked, frameworks=["numpy"]) == []
    assert found(pickle.dumps(model), frameworks=["scikit-learn"]) == []
    assert set(found(pickle.dumps(model))) == set(NOT_ALLOWED)
    np.savez(tmp_path / "a.npz", a=np.zeros(3), b=np.ones((2, 2)))
    np.save(tmp_path / "b.npy", np.zeros((4, 4)))
    np.save(tmp_path / "c.npy", np.array([Runs()], dtype=object), allow_pickle=True)
    assert [found((tmp_path / name).read_bytes(), name) for name in ("a.npz", "b.npy")] == [[], []]
    assert found((tmp_path / "c.npy").read_bytes(), "c.npy", frameworks=["numpy"]) == DANGEROUS


def test_what_cannot_be_inspected_is_a_problem() -> None:
    """Compressed files that the standard library cannot unpack, and what has a pickle's name and is none."""
    for start in SEALED:
        assert found(start + bytes(100)), start
    for name in ("model.pkl", "pytorch_model.bin", "a/data.PT"):
        assert found(b"no pickle at all", name) == ["not a pickle"], name


def test_other_files_are_no_pickles() -> None:
    """Texts and weights that no loader takes for a pickle have no problem, with any bytes at their start."""
    for data in (b'{"a": 1}', b"", b"config = 1\nbroken\n", bytes(1000), b"\x80\x02\xff", b"(((((((("):
        assert found(data, "config.json") == [], data
    weights = {
        "archive/data.pkl": GOOD,
        "archive/data/0": b"\x80\x02" + bytes(100),
        "archive/data/1": b"c\x01o\nbar\n\xff",
    }
    assert found(zipped(weights)) == []
    assert found(zipped({**weights, "archive/data/2": b"cfoo\nbar\n\xff"})) == NOT_ALLOWED


def test_a_file_of_two_formats_is_a_problem() -> None:
    """A pickle with a zip file behind it: one loader takes the beginning, another the end."""
    gap = ["zip file holds something between its members"]
    assert found(BAD + zipped({"a.txt": b"x"}), "model") == gap
    assert found(GOOD + zipped({"a.pkl": GOOD}), "model") == gap
    hidden = zipped({"a.pkl": GOOD, "b.pkl": GOOD})
    at = hidden.index(b"PK\x03\x04", 4)
    moved = hidden[:at] + BAD + hidden[at:]
    end = moved.index(b"PK\x05\x06")
    directory = moved.index(b"PK\x01\x02")
    second = moved.index(b"PK\x01\x02", directory + 4)
    fixed = bytearray(moved)
    fixed[second + 42 : second + 46] = struct.pack("<L", at + len(BAD))
    fixed[end + 16 : end + 20] = struct.pack("<L", directory)
    assert zipfile.ZipFile(io.BytesIO(bytes(fixed))).read("b.pkl") == GOOD
    assert found(bytes(fixed)) == gap


def tar_polyglot(code: bytes) -> bytes:
    """A tar file whose first header an unpickler reads as one long string that is dropped."""
    head = bytearray(512)
    head[:7] = b"\x80\x04B" + struct.pack("<I", 512 - 8)
    head[511] = ord("0")
    head[124:136] = b"%011o\0" % len(code)
    head[156:157] = b"0"
    head[148:156] = b"%06o\0 " % (sum(head[:148]) + 256 + sum(head[156:]))
    return bytes(head) + code + bytes(-len(code) % 512) + bytes(1024)


def resummed(header: bytes) -> bytes:
    """Return the tar header with its right checksum."""
    return header[:148] + b"%06o\0 " % (256 + sum(header[:148]) + sum(header[156:512])) + header[156:]


def with_checksum(write: Callable[[int], bytes]) -> bytes:
    data = tarred({"pickle": BAD})
    return data[:148] + write(int(data[148:154], 8)) + data[156:]


def signed_checksum() -> bytes:
    data = tarred({"\xe9" * 20: BAD}, tarfile.GNU_FORMAT)
    return data[:148] + b"%06o\0 " % (int(data[148:154], 8) - 256 * 40) + data[156:]


def with_size(kind: bytes, size: bytes, inner: bytes) -> bytes:
    """Return a tar file with a member of this type and size field, and what follows its header."""
    header = tarred({"a": b""})[:512]
    return resummed(header[:124] + size + header[136:156] + kind + header[157:]) + inner + bytes(1024)


SPELLED_TARS: dict[str, tuple[bytes, str]] = {
    "signed": (signed_checksum(), "broken header"),
    "base 256": (with_checksum(lambda number: b"\x80" + number.to_bytes(7, "big")), "broken header"),
    "behind a NUL": (with_checksum(lambda number: b"%06o\0x" % number), "broken header"),
    "prefix": (with_checksum(lambda number: (b"0o%o" % number).ljust(8, b"\0")), "broken header"),
    "sign": (with_checksum(lambda number: (b"+%o" % number).ljust(8, b"\0")), "broken header"),
    "tab": (with_checksum(lambda number: (b"\t%o" % number).ljust(8, b"\0")), "broken header"),
    "directory": (with_size(b"5", b"%011o\0" % 1024, tarred({"pickle": BAD})[:1024]), "directory has a size"),
    "size in base 256": (with_size(b"0", b"\x80" + (512).to_bytes(11, "big"), bytes(512)), "longer than"),
    "size behind a NUL": (with_size(b"0", b"\0%010o\0" % 512, resummed(bytes(512))), "longer than"),
}  # fmt: skip


@pytest.mark.parametrize("name", ["model", "model.nemo", "model.pt"])
@pytest.mark.parametrize("what", SPELLED_TARS)
def test_a_tar_file_that_readers_read_differently_is_refused(what: str, name: str) -> None:
    """Python's tarfile opens each of them: what it finds there has to be seen, or the file is refused."""
    data, problem = SPELLED_TARS[what]
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        assert archive.getnames()
    assert any(problem in one for one in found(data, name)), found(data, name)


@pytest.mark.parametrize("name", ["model.pkl", "model.tar", "model"])
def test_a_tar_file_is_inspected_as_a_pickle_too(name: str) -> None:
    """`pickle.load` takes it from its first byte: the code of the member runs."""
    data = tar_polyglot(BAD[2:])
    assert data[11:].startswith(bytes(80))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert archive.getmembers()
    assert DANGEROUS[0] in found(data, name, allow=("sklearn.*",))
    assert found(tar_polyglot(GOOD[2:]), name) == ["not a pickle"]
    assert found(tarred({"a.pkl": GOOD}) + BAD) == ["tar file has bytes after its end"]


def test_what_ran_before_a_pickle_breaks_off_counts() -> None:
    """An unpickler has run the beginning by then: a broken pickle with another name is judged by what it imports."""
    assert found(BAD[:-1], "config.json") == DANGEROUS
    assert found(b"cmymodule\nrun\n(tR\xff", "model.weights") == NOT_ALLOWED
    assert found(b"cmymodule\nrun\n(tR\xff", "model.weights", allow=["mymodule.run"]) == []
    assert found(BAD[:-1]) == [*DANGEROUS, "pickle ends too early"]
    assert found(GOOD + b"\xff", "config.json") == ["not a pickle"]


def test_the_scanner_only_adds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without picklescan the lists decide alone: what is allowed passes, everything else is refused."""
    real = builtins.__import__

    def without(name: str, *args: Any) -> Any:
        if name.startswith("picklescan"):
            raise ImportError(name)
        return real(name, *args)

    assert found(b"cpip\nmain\n.", allow=["pip.*"]) == DANGEROUS
    monkeypatch.setattr(builtins, "__import__", without)
    assert found(GOOD) == []
    assert found(b"cpip\nmain\n.") == NOT_ALLOWED
    assert found(b"cpip\nmain\n.", allow=["pip.*"]) == []
    assert found(BAD, allow=["posix.*"]) == DANGEROUS


def test_the_scanner_does_not_speak(capfd: pytest.CaptureFixture[str]) -> None:
    """What a file says reaches the terminal through problems alone."""
    logging.getLogger("picklescan").handlers.clear()
    look(BAD, "pickle", "model.pkl")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "module", sorted(module for module, names in _unsafe_globals.items() if names == "*"), ids=str
)
def test_every_module_that_the_scanner_refuses_is_refused(module: str) -> None:
    """The scanner's whole list holds, for submodules and reached through others too."""
    for name in ((module, "x"), (f"{module}.y", "x"), ("logging", f"{module.rpartition('.')[2]}.x")):
        if name[0] == "logging" and "." in module:
            continue
        assert found(f"c{name[0]}\n{name[1]}\n.".encode()) == DANGEROUS, name


NAMES = {
    "import": "builtins __import__", "setattr": "builtins setattr", "importlib": "importlib import_module",
    "through logging": "logging os.system", "underscore": "collections _sys.modules", "a module": "logging os",
    "Python 2": "urllib urlopen", "renamed": "__builtin__ __import__", "renamed module": "commands getoutput",
    "loads more": "numpy load", "joblib": "joblib.numpy_pickle load", "threads": "threading Thread",
    "magic": "collections OrderedDict.__init__.__globals__", "class": "x a.__class__",
    "space": "os\t system", "unicode": "ｏｓ system", "empty": " ",
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_names_that_lead_to_code_are_refused(name: str) -> None:
    """Beyond the scanner's list: detours, old spellings, loaders of further code, names that no import could have."""
    module, _, attribute = name.partition(" ")
    assert found(f"c{module}\n{attribute}\n.".encode()) in (DANGEROUS, UNDETERMINED)


UNKNOWN_CODE = """mlflow.projects.backend.local _run_entry_point|pandas.io.parsers.readers read_csv|cloudpickle loads|\
yaml unsafe_load|setuptools._distutils.spawn spawn|torch.distributed.run main|pathlib Path.write_text|site addsitedir|\
logging.config dictConfig|logging.config listen|types FunctionType|platform popen|keras.models load_model|\
sqlite3 connect|functools partial|operator attrgetter|builtins getattr|numpy memmap|numpy.f2py compile|\
sklearn.datasets load_files|xgboost.core Booster|lightgbm.basic Booster|torch FloatStorage.from_file"""


@pytest.mark.parametrize("name", UNKNOWN_CODE.split("|"))
def test_names_that_no_list_has_are_refused(name: str) -> None:
    """Whether or not a scanner knows them: with every framework allowed, their call is refused."""
    module, _, attribute = name.partition(" ")
    program = f"c{module}\n{attribute}\n(S'x'\ntR.".encode()
    assert found(program, frameworks=FRAMEWORKS) in (DANGEROUS, NOT_ALLOWED)


def test_allowed_names_are_the_only_ones() -> None:
    """With a list of what is allowed, every other name is a problem, and a dangerous one stays one."""
    allow = ("numpy.*", "sklearn.*", "os.*")
    assert found(b"cnumpy\nndarray\n.", allow=allow) == []
    assert found(b"cpandas\nDataFrame\n.", allow=allow) == NOT_ALLOWED
    assert found(b"ccollections\nOrderedDict\n.", allow=allow) == []
    assert found(b"cos\nsystem\n.", allow=allow) == DANGEROUS


STRINGS = {
    "STACK_GLOBAL": b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
    "memo": b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94h\x00h\x01\x93.",
    "memo, popped": b"\x80\x04\x8c\x02os\x940\x8c\x06system\x940h\x00h\x01\x93.",
    "put": b"\x80\x04\x8c\x02osq\x050\x8c\x06systemr\x01\x00\x00\x000h\x05j\x01\x00\x00\x00\x93.",
    "decimal": b"\x80\x04\x8c\x02osp5\n0\x8c\x06systemp6\n0g5\ng6\n\x93.",
    "overwritten": b"\x80\x04\x8c\x01xq\x000\x8c\x02osq\x000\x8c\x06system\x8c\x01y0h\x000(0h\x00\x8c\x06system\x93.",
    "long": b"\x80\x04X\x02\0\0\0os\x8d\x06\0\0\0\0\0\0\0system\x93.",
    "STRING": b"\x80\x04S'os'\nVsystem\n\x93.",
    "BINSTRING": b"\x80\x04T\x02\0\0\0osU\x06system\x93.",
    "duplicate": b"\x80\x04\x8c\x02os2\x8c\x06system\x93.",
    "INST": b"(ios\nsystem\n.",
    "OBJ": b"(cos\nsystem\no.",
    "unknown": b"\x80\x04N\x8c\x06system\x93.",
    "bytes": b"\x80\x04C\x02osC\x06system\x93.",
    "not in the memo": b"\x80\x04h\x00h\x01\x93.",
    "number in the memo": b"\x80\x04K\x01q\x00\x8c\x06systemh\x00\x93.",
    "extension": b"\x80\x02\x82\x01.",
    "extension 2": b"\x80\x02\x83\x01\x01.",
    "extension 4": b"\x80\x02\x84\x01\x01\x01\x01.",
    "long text": b"\x80\x04X\x88\x13\0\0" + b"o" * 5000 + b"\x8c\x06system\x93.",
    "long line": b"c" + b"o" * 70_000 + b"\nsystem\n.",
}


@pytest.mark.parametrize("program", STRINGS.values(), ids=STRINGS)
def test_every_way_to_name_something_is_followed(program: bytes) -> None:
    """The name is what the unpickler would make of it; what cannot be told is dangerous."""
    names = imports(program)
    assert names in ({("os", "system")}, {UNKNOWN}, {HIDDEN})
    assert found(program) == (DANGEROUS if names == {("os", "system")} else UNDETERMINED)


_CALL = b"S'id'\n\x85R"
_DOTTED = b"path.os." * 600 + b"system"
READ_ON = {
    "escape": b"S'\\x6fs'\nS'system'\n\x93" + _CALL + b"\xff",
    "escape of protocol 0": b"V\\u006fs\nVsystem\n\x93" + _CALL + b"\xff",
    "made text": b"cbuiltins\nstr\n\x8c\x02os\x85R\x8c\x06system\x93" + _CALL + b"\xff",
    "long text": b"N\x80\x040\x8c\x02osX"
    + struct.pack("<I", len(_DOTTED))
    + _DOTTED
    + b"\x93"
    + _CALL
    + b"\xff",
    "long STRING": b"N\x80\x040S'os'\nS'" + _DOTTED + b"'\n\x93" + _CALL + b"\xff",
    "long line": b"N\x80\x040cos\n" + _DOTTED + b"\n" + _CALL + b"\xff",
    "two memos": b"I1\np0\n\x940cos\nsystem\n" + _CALL + b".",
    "index with a sign": b"I1\np+5\n0cos\nsystem\n" + _CALL + b".",
    "index with an underscore": b"I1\np1_0\n0cos\nsystem\n" + _CALL + b".",
    "long index": b"I1\np" + b" " * 5000 + b"5\n0cos\nsystem\n" + _CALL + b".",
    "call of a result": b"cbuiltins\nint\n)RS'id'\n\x85R\xff",
    "call of what an earlier pickle kept": b"h\x00S'id'\n\x85R\xff",
    "array of joblib": b"cjoblib.numpy_pickle\nNumpyArrayWrapper\n)R0cos\nsystem\n" + _CALL + b".",
}


@pytest.mark.parametrize("program", READ_ON.values(), ids=READ_ON)
def test_code_is_found_whatever_the_file_is_called(program: bytes) -> None:
    """Where an unpickler reads on, the inspection does not take the file for something else than a pickle."""
    frameworks = ("scikit-learn",)
    assert found(program, "model.weights", frameworks=frameworks)
    assert found(zipped({"weights": program}), "model.zip", frameworks=frameworks)


def text(value: str) -> bytes:
    return b"\x8c" + bytes([len(value)]) + value.encode()


def name(module: str, attribute: str) -> bytes:
    return text(module) + text(attribute) + b"\x93"


def instance(module: str, attribute: str, **state: bytes) -> bytes:
    """An object made without its constructor, with attributes of the file's choice."""
    items = b"".join(text(key) + value for key, value in state.items())
    return name(module, attribute) + b")\x81}(" + items + b"ub"


SCORER = instance("sklearn.metrics._scorer", "_PassthroughScorer", _estimator=b"N")
COUNTER = instance("collections", "Counter", append=SCORER, keys=SCORER)
STACKING = instance(
    "sklearn.ensemble._stacking", "StackingRegressor", estimators_=b"](" + name("numpy", "ndarray") + b"e",
    stack_method_=b"](" + text("tofile") + b"e",
)  # fmt: skip
REBUILD = name("torch._tensor", "_rebuild_from_type_v2")
BY_METHODS = {
    "calls an object": REBUILD + b"(" + SCORER + name("torch", "Tensor") + b"(" + STACKING + text("path") + b"NtNtR.",
    "calls with an object": REBUILD + b"(" + name("builtins", "str") + name("torch", "Tensor") + b"(" + STACKING + b"tNtR.",
    "calls with a list of objects": REBUILD + b"(" + name("builtins", "str") + name("torch", "Tensor") + b"](" + STACKING + b"eNtR.",
    "rebuilds from an object": REBUILD + SCORER + b"R.",
    "converts an object": name("builtins", "dict") + COUNTER + b"\x85R.",
    "converts an object of the memo": COUNTER + b"q\x000" + name("builtins", "dict") + b"h\x00\x85R.",
    "converts a finished result": name("builtins", "dict") + name("collections", "Counter") + b")R}(" + text("keys") + SCORER + b"ub\x85R.",
    "converts a list of objects": name("builtins", "str") + b"](" + STACKING + b"e\x85R.",
    "calls a constructor by number": name("numpy.random._pickle", "__generator_ctor") + b"K\x01" + SCORER + b"\x86R.",
    "calls a function of a library": name("sklearn.metrics._regression", "r2_score") + b"K\x01K\x01\x86R.",
    "calls a constructor": name("sklearn.pipeline", "Pipeline") + b")R.",
    "makes an object by a class of a library": name("copyreg", "_reconstructor") + name("collections", "OrderedDict") + name("xgboost.core", "Booster") + b"N\x87R.",
    "appends to a finished object": COUNTER + STACKING + b"a.",
    "appends all to a finished object": COUNTER + b"(" + STACKING + b"e.",
    "adds to a finished object": COUNTER + b"(" + STACKING + b"\x90.",
    "sets an item of a finished object": COUNTER + b"K\x01K\x02s.",
    "gives a second state": COUNTER + b"}b.",
    "gives a class a state": name("collections", "Counter") + b"N}(" + text("update") + SCORER + b"u\x86b.",
    "gives an unknown a state": b"]}b.",
    "gives an object for a state": name("sklearn.pipeline", "Pipeline") + b")\x81" + COUNTER + b"b.",
    "gives an object for attributes": name("sklearn.pipeline", "Pipeline") + b")\x81" + COUNTER + b"N\x86b.",
}  # fmt: skip


@pytest.mark.parametrize("program", BY_METHODS.values(), ids=BY_METHODS)
def test_objects_of_allowed_classes_run_no_method_of_the_files_choice(program: bytes) -> None:
    """Attributes can stand for methods: of what has them nothing is called, and nothing is called with it."""
    every = ("scikit-learn", "pytorch", "xgboost", "lightgbm")
    for data in (b"\x80\x04" + program, b"N0" + program):
        assert found(data, frameworks=every), "as model.pkl"
        assert found(data, "model.weights", frameworks=every), "as another file"


def test_objects_and_containers_of_allowed_classes_pass() -> None:
    """What models hold: objects in lists, dictionaries and states, copies of lists, tensors with attributes."""
    every = ("scikit-learn", "pytorch")
    programs = (
        COUNTER + b".", b"](" + STACKING + COUNTER + b"e.", name("builtins", "set") + b"](" + SCORER + b"e\x85R.",
        name("collections", "OrderedDict") + b"](](" + text("a") + SCORER + b"ee\x85R.",
        REBUILD + b"(" + name("torch._utils", "_rebuild_tensor_v2") + name("torch", "Tensor") + b"(K\x01K\x02t}tR.",
        name("collections", "Counter") + b")\x81(K\x01K\x02u}b.", b"C\x01bq\x000" + name("builtins", "bytearray") + b"h\x00\x85R.",
    )  # fmt: skip
    for program in programs:
        assert found(b"\x80\x04" + program, frameworks=every) == []
    assert (
        found(
            b"\x80\x04" + BY_METHODS["calls with an object"],
            frameworks=every,
            allow=("torch._tensor.*", "builtins.str"),
        )
        == []
    )


def test_other_bytes_have_no_hidden_names() -> None:
    """What no unpickler could take for the name of something, or call, does not count against a file that is no pickle."""
    for data in (
        b"NN\x93\xff",
        b"K\x01\x8c\x02os\x93\xff",
        b"N)R\xff",
        b"c\xe9\xe8\n??\n\xff",
        b"c" + b"?" * 5000,
        b"python is a language\n",
    ):
        assert found(data, "model.weights") == []


BROKEN = {
    "empty stack": (b".", "empty stack"), "empty pop": (b"0.", "empty stack"), "empty dup": (b"2.", "empty stack"),
    "empty put": (b"q\x00.", "empty stack"), "no mark": (b"Nt.", "empty stack"), "mark for a value": (b"(.", "a mark for a value"),
    "two memos": (b"Nq\x00\x94.", "memo in two ways"), "memos again": (b"N\x94q\x00.", "memo in two ways"),
    "index": (b"Np-1\n.", "malformed memo index"), "byte": (b"\xff", "not a pickle"), "argument": (b"J\0\0", "ends too early"),
    "line": (b"I1", "ends too early"), "no line": (b"cos\n", "ends too early"),
    "endless": (b"B" + struct.pack("<I", 1 << 31) + b"x", "ends too early"),
    "2^63": (b"\x8e" + struct.pack("<Q", 1 << 63) + b"x", "ends too early"),
}  # fmt: skip


@pytest.mark.parametrize(("program", "what"), BROKEN.values(), ids=BROKEN)
def test_broken_pickles_are_a_problem(program: bytes, what: str) -> None:
    """What no unpickler could read is not taken for harmless."""
    assert what in found(program)[-1] or program == b"I1"


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=200), at=st.integers(0, 200))
def test_no_bytes_raise(data: bytes, at: int) -> None:
    """Any bytes, spliced into a pickle, a zip or a tar file: problems or none, never an exception."""
    for golden in (GOOD, zipped({"a.pkl": GOOD}), tarred({"a.pkl": GOOD})):
        look(golden[:at] + data + golden[at:], "pickle", "model.pkl")


@pytest.mark.parametrize("wrap", ["zip", "deflated", "tar", "plain", "NumPy"])
def test_no_change_of_a_byte_hides_code(wrap: str) -> None:
    """Each byte changed: a problem, or a file that an unpickler does not take for the same code."""
    data = WRAPPED[wrap](BAD)
    hidden = []
    for at in (at for at, byte in enumerate(data) if byte):
        changed = data[:at] + bytes([data[at] ^ 0x20]) + data[at + 1 :]
        if not look(changed, "pickle", "model.pkl") and b"system" in changed and b"posix" in changed:
            hidden.append(at)
    assert all(not _would_run(data, at) for at in hidden), hidden


def _would_run(data: bytes, at: int) -> bool:
    changed = data[:at] + bytes([data[at] ^ 0x20]) + data[at + 1 :]
    try:
        return any(op.name == "REDUCE" for op, _, _ in pickletools.genops(changed))
    except Exception:  # noqa: BLE001 - no pickle any more
        return False


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.none()
        | st.integers()
        | st.text(max_size=5)
        | st.binary(max_size=5)
        | st.sampled_from([os.system, dict, ModelProblem]),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
        max_leaves=12,
    ),
    st.integers(0, 5),
)
def test_the_names_are_those_that_the_scanner_lists(value: object, protocol: int) -> None:
    """On real pickles the machine and the scanner see the same imports."""
    data = pickle.dumps(value, protocol)
    assert imports(data) == _list_globals(io.BytesIO(data))


ARCHIVES = {
    "comment": (zipped({"a": b""}) + b"x", "does not end with its directory"),
    "only the beginning": (b"PK\x03\x04" + bytes(100), "does not end with its directory"),
    "encrypted": (zipped({"a": b"x"}).replace(b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01"), "encrypted"),
    "bzip2": (zipped({"a": b"x" * 99}, zipfile.ZIP_BZIP2), "packed in another way"),
    "lying directory": (zipped({"a": b"x"}).replace(b"PK\x01\x02", b"PK\x01\x03"), "cannot be read"),
    "lying name": (zipped({"aaaa.pkl": b"x"}).replace(b"aaaa", b"bbbb", 1), "cannot be read"),
    "wrong checksum": (zipped({"a.pkl": GOOD}).replace(GOOD, GOOD.replace(b"weights", b"weighty")), "cannot be read"),
    "directory": (struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, 1 << 30, 0, 0), "directory is too large"),
    "tar link": (tarred({"a": b""}, type=tarfile.SYMTYPE, linkname="/etc/passwd"), "no file or directory"),
    "tar hard link": (tarred({"a": b""}, type=tarfile.LNKTYPE, linkname="b"), "no file or directory"),
    "tar device": (tarred({"a": b""}, type=tarfile.CHRTYPE), "no file or directory"),
    "tar long link": (tarred({"a": b""}, tarfile.GNU_FORMAT, type=tarfile.SYMTYPE, linkname="l" * 200), "sparse, a link"),
    "tar of two sizes": (tarred({"a.pkl": GOOD}, pax_headers={"size": "1"}), "of two sizes"),
    "tar header": (tarred({"a": b""}, pax_headers={"x": "y" * 100_000}), "tar header is too large"),
    "tar cut": (tarred({"a.pkl": bytes(5000)})[:2000], "longer than the file"),
    "tar broken": (tarred({"a": b"x"})[:1024] + b"x" * 512, "broken header"),
    "NumPy header": (b"\x93NUMPY\x02\0\xff\xff\xff\xff", "NumPy header"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "what"), ARCHIVES.values(), ids=ARCHIVES)
def test_archives_that_two_readers_could_take_differently_are_refused(data: bytes, what: str) -> None:
    """Strict about archives: nothing that one reader sees and another does not."""
    assert any(what in one for one in found(data)), found(data)


def test_a_member_that_appears_twice_is_refused() -> None:
    """Which of the two a loader takes is its own affair."""
    twice = zipped({"a.pkl": GOOD, "b.pkl": BAD}).replace(b"b.pkl", b"a.pkl")
    assert found(twice) == ["zip member appears twice"]


def test_bounds_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Opcodes, names, members, depth and unpacked bytes end at their limits, as problems."""
    deep = GOOD
    for _ in range(5):
        deep = zipped({"a.pkl": deep})
    assert found(deep) == ["archives are nested too deeply"]
    monkeypatch.setattr("gitchain.collect.inspect.archive.MAX_MEMBERS", 3)
    assert found(zipped(dict.fromkeys("abcd", b""))) == ["zip file has too many members"]
    assert found(tarred(dict.fromkeys("abcd", b""))) == ["tar file has too many members"]
    monkeypatch.setattr("gitchain.collect.inspect.pickle_machine.MAX_OPCODES", 100)
    assert found(b"N0" * 100 + b"N.") == ["pickle is too long to inspect"]
    monkeypatch.setattr("gitchain.collect.inspect.pickle_imports.MAX_GLOBALS", 2)
    assert "pickle imports too many names" in found(b"cx\na\ncx\nb\ncx\nc\n.")
    monkeypatch.setattr("gitchain.collect.inspect.pickle_memo.MAX_REMEMBERED", 1)
    assert imports(STRINGS["memo"]) == {OVERFLOW}
    assert found(STRINGS["memo"][:-1] + b"\xff", "model.weights")[:1] == UNDETERMINED


def test_bombs_stay_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gigabyte of zeros in a megabyte, and arguments as long as the file: neither is held in memory."""
    monkeypatch.setattr("gitchain.collect.inspect.pickles.MAX_UNPACKED", 64 << 20)
    body = b"\x80\x04\x8e" + struct.pack("<Q", 200 << 20) + bytes(200 << 20) + b"."
    bomb = zipped({"a/data.pkl": body}, zipfile.ZIP_DEFLATED)
    nested = zipped({"a": zipped({"b.pkl": body})}, zipfile.ZIP_DEFLATED)
    plain = body[: 50 << 20]
    del body
    tracemalloc.start()
    try:
        assert found(bomb) == found(nested) == ["archive unpacks to too much"]
        assert found(plain) == ["pickle ends too early"]
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()
