"""Check that a Keras configuration names no class that runs the file's code, and that all weights are in the file.

1. A `.keras` file is a zip file of `config.json`, `metadata.json`, `model.weights.h5` and assets.
2. Every object of the configuration has a class that `frameworks/keras.json` lists or that `allow` names. Lambda layers,
   layers that wrap other frameworks, functions of other modules and vocabularies in files are refused.
3. HDF5 files hold no links to other files, no data in other files, and no filters that a plug-in would have to load.
   A model in HDF5 has its configuration in the attribute `model_config`.

Format: https://keras.io/guides/serialization_and_saving/. HDF5 is read by h5py (the extra `gitchain[inspect]`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from typing import IO

from gitchain.collect.inspect.archive import ArchiveMember, foreign, zip_members
from gitchain.collect.inspect.frameworks import names_of
from gitchain.collect.inspect.problem import ModelProblem, shown
from gitchain.collect.inspect.source import ModelFile
from gitchain.errors import GitchainError, LimitError, MalformedError
from gitchain.evidence.canonical import Json, strict_json

HDF5 = b"\x89HDF\r\n\x1a\n"
MAX_CONFIG = 64 << 20
"""Largest configuration in bytes."""

MAX_WEIGHTS = 16 << 30
"""Largest weights in a `.keras` file in bytes: they are copied to a temporary file."""

MAX_OBJECTS = 1_000_000
"""Most groups and data sets of one HDF5 file."""

MAX_FILTER = 6
"""The last filter that is part of HDF5 itself (H5Z_FILTER_SCALEOFFSET)."""

LZF = 32_000
CHUNK = 1 << 20
_VALUES = {
    "__keras_tensor__",
    "__tensor__",
    "__numpy__",
    "__bytes__",
    "__ellipsis__",
    "__slice__",
    "__complex__",
}
_FILES = {"vocabulary", "idf_weights", "filepath", "file_pattern"}
"""Fields that are a list, or the name of a file that is read when the model is loaded."""

_FUNCTIONS = {"builtins", "keras.activations"}
"""Modules by which Keras writes its own functions."""


def check_keras(source: ModelFile, allow: Sequence[str]) -> tuple[ModelProblem, ...]:
    """Return the problems of a `.keras` or HDF5 file; `allow` has registered names such as `package>Layer`."""
    check = _KerasCheck(source.name, frozenset(allow))
    head = source.read_at(0, len(HDF5))
    if head == HDF5:
        check.hdf5(source.buffered(), source.name)
    elif head.startswith(b"PK\x03\x04"):
        check.archive(zip_members(source.buffered(), source.size))
    else:
        raise MalformedError("not a Keras model", expected="a zip or HDF5 file", got=shown(head))
    return tuple(check.problems)


class _KerasCheck:
    """Gathers the problems of one file."""

    def __init__(self, name: str, allow: frozenset[str]) -> None:
        self.problems: list[ModelProblem] = []
        self._name = name
        self._allow = allow
        self._listed = names_of("keras")
        self._classes = frozenset(name for _, name in self._listed)

    def archive(self, members: Iterator[ArchiveMember]) -> None:
        """Check the members of a `.keras` file."""
        has_config = False
        for member in members:
            where = f"{self._name}: {shown(member.name)}"
            if member.name == "config.json":
                has_config = True
                self.config(_read(member), where)
            elif member.name == "metadata.json":
                strict_json(_read(member), where)
            elif member.name.endswith(".weights.h5"):
                with tempfile.TemporaryFile() as copy:
                    _copy(member, copy)
                    self.hdf5(copy, where)
            elif not member.name.startswith("assets/"):
                self.problems.append(ModelProblem("Keras file has an unknown member", where))
        if not has_config:
            self.problems.append(ModelProblem("Keras file has no config.json", self._name))

    def config(self, data: bytes, where: str) -> None:
        """Check a configuration: every object in it."""
        value = strict_json(data, where, max_bytes=MAX_CONFIG, max_depth=200, max_values=MAX_CONFIG // 8)
        left: list[Json] = [value]
        while left:
            one = left.pop()
            if isinstance(one, list):
                left.extend(one)
            elif isinstance(one, dict):
                left.extend(one.values())
                self._object(one, where)

    def _object(self, one: dict[str, Json], where: str) -> None:
        for field in sorted(_FILES & set(one)):
            if isinstance(one[field], str):
                self.problems.append(
                    ModelProblem(
                        "Keras model reads a file when it is loaded",
                        where,
                        got=f"{field}: {shown(one[field])}",
                    )
                )
        if "class_name" in one and not self._is_allowed(one):
            got = ".".join(str(one[key]) for key in ("module", "class_name") if one.get(key) is not None)
            if one["class_name"] == "function":
                got = f"{got} {shown(one.get('config'))}"
            self.problems.append(
                ModelProblem(
                    "Keras model has an object that the layout does not allow",
                    where,
                    expected="a layer of Keras that runs no code of the model, or a name under allow",
                    got=shown(got),
                )
            )

    def _is_allowed(self, one: dict[str, Json]) -> bool:
        name, module, registered = one["class_name"], one.get("module"), one.get("registered_name")
        if (
            not isinstance(name, str)
            or not isinstance(module, str | None)
            or not isinstance(registered, str | None)
        ):
            return False
        if registered in self._allow or (registered is None and name in self._allow):
            return True
        if name == "function":
            config = one.get("config")
            return (
                module in _FUNCTIONS
                and isinstance(config, str)
                and (config.isidentifier() or config in self._allow)
            )
        if module is None:
            return name in _VALUES or name in self._classes
        return (module, name) in self._listed and registered in {None, name}

    def hdf5(self, file: IO[bytes], where: str) -> None:
        """Check an HDF5 file: its links, where its data is, and the configuration of a model in it."""
        try:
            import h5py
        except ImportError:
            self.problems.append(
                ModelProblem(
                    "HDF5 file cannot be inspected: h5py is not installed",
                    where,
                    expected="h5py",
                    help="pip install 'gitchain[inspect]'",
                )
            )
            return
        try:
            with foreign("HDF5 file"), h5py.File(file, "r") as opened:
                self._links(opened, where, h5py)
                config = opened.attrs.get("model_config")
                if config is not None:
                    self.config(
                        config.encode() if isinstance(config, str) else bytes(config),
                        f"{where}: model_config",
                    )
        except GitchainError as error:
            self.problems.append(ModelProblem.of(error, where))

    def _links(self, root: object, where: str, h5py: object) -> None:
        left: list[object] = [root]
        seen: set[int] = set()
        while left:
            group = left.pop()
            for name in group:  # type: ignore[attr-defined]
                if len(seen) >= MAX_OBJECTS:
                    raise LimitError("HDF5 file has too many objects", expected=f"at most {MAX_OBJECTS}")
                link = group.get(name, getlink=True)  # type: ignore[attr-defined]
                if not isinstance(link, h5py.HardLink):  # type: ignore[attr-defined]
                    got = f"{type(link).__name__} {shown(name)}"
                    self.problems.append(
                        ModelProblem("HDF5 file has a link", where, expected="none", got=got)
                    )
                    continue
                one = group[name]  # type: ignore[index]
                address = h5py.h5o.get_info(one.id).addr  # type: ignore[attr-defined]
                if address in seen:
                    continue
                seen.add(address)
                if isinstance(one, h5py.Group):  # type: ignore[attr-defined]
                    left.append(one)
                elif isinstance(one, h5py.Dataset):  # type: ignore[attr-defined]
                    self._data(one, f"{where}: {shown(one.name)}")

    def _data(self, one: object, where: str) -> None:
        if one.external or one.is_virtual:  # type: ignore[attr-defined]
            self.problems.append(ModelProblem("HDF5 data set has its data in another file", where))
        properties = one.id.get_create_plist()  # type: ignore[attr-defined]
        filters = [properties.get_filter(at)[0] for at in range(properties.get_nfilters())]
        if unknown := [number for number in filters if number > MAX_FILTER and number != LZF]:
            self.problems.append(
                ModelProblem("HDF5 data set needs a plug-in to be read", where, got=f"filter {unknown[0]}")
            )


def _read(member: ArchiveMember) -> bytes:
    with foreign("archive member"):
        data = member.stream.read(MAX_CONFIG + 1)
    if len(data) > MAX_CONFIG:
        raise LimitError(
            "configuration is too large", where=shown(member.name), expected=f"at most {MAX_CONFIG} bytes"
        )
    return data


def _copy(member: ArchiveMember, target: IO[bytes]) -> None:
    copied = 0
    while True:
        with foreign("archive member"):
            data = member.stream.read(CHUNK)
        if not data:
            return
        copied += len(data)
        if copied > MAX_WEIGHTS:
            raise LimitError(
                "weights are too large", where=shown(member.name), expected=f"at most {MAX_WEIGHTS} bytes"
            )
        target.write(data)
