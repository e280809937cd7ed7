"""Writes the lists of names in gitchain/collect/inspect/frameworks from the frameworks that are installed.

    python -m venv env && env/bin/pip install scikit-learn torch xgboost lightgbm keras tensorflow-cpu
    env/bin/python tests/collect/frameworks/generate.py scikit-learn pytorch xgboost lightgbm
    env/bin/python tests/collect/frameworks/generate.py keras tensorflow  # in an environment without PyTorch

A framework that is not installed keeps its list. Names of earlier versions stay: a list only grows. What may get in:
compiled classes whose constructor stores its arguments, functions that rebuild arrays and tensors; as objects that are
made without their constructor, classes written in Python, and functions that models keep. Never: anything that imports,
evaluates, opens, downloads, or calls what it is given by name.
"""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

LISTS = Path(__file__).parents[3] / "gitchain/collect/inspect/frameworks"

PYTHON = {
    "builtins": ["bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "int", "list", "object", "range",
                 "set", "slice", "str", "tuple"],
    "__builtin__": ["bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "int", "list", "object", "set", "slice",
                    "str", "tuple", "unicode", "xrange"],
    "collections": ["Counter", "OrderedDict", "defaultdict", "deque"],
    "copy_reg": ["_reconstructor"],
    "copyreg": ["_reconstructor"],
    "_codecs": ["encode"],  # how protocol 2 writes bytes
    "datetime": ["date", "datetime", "time", "timedelta", "timezone"],
    "decimal": ["Decimal"],
    "fractions": ["Fraction"],
}  # fmt: skip

_SCALARS = ["bool_", "bool", "float16", "float32", "float64", "longdouble", "complex64", "complex128", "int8", "int16",
            "int32", "int64", "uint8", "uint16", "uint32", "uint64", "str_", "bytes_", "datetime64", "timedelta64",
            "void"]  # fmt: skip
NUMPY = {
    "numpy": ["dtype", "ndarray", "recarray", *_SCALARS],
    "numpy.ma": ["MaskedArray"],
    "numpy.ma.core": ["MaskedArray", "_mareconstruct"],
    "numpy.random._pickle": ["__bit_generator_ctor", "__generator_ctor", "__randomstate_ctor"],
    "numpy.random.bit_generator": ["SeedSequence", "__pyx_unpickle_SeedSequence"],
    "numpy.random._mt19937": ["MT19937"],
    "numpy.random._pcg64": ["PCG64", "PCG64DXSM"],
    "numpy.random._philox": ["Philox"],
    "numpy.random._sfc64": ["SFC64"],
    "numpy.random.mtrand": ["RandomState"],
}  # fmt: skip
for _core in ("core", "_core"):
    NUMPY[f"numpy.{_core}.multiarray"] = ["_reconstruct", "scalar"]
    NUMPY[f"numpy.{_core}.numeric"] = ["_frombuffer"]

SCIPY = {
    "scipy.interpolate._bsplines": ["BSpline"],
    "scipy.interpolate._interpolate": ["interp1d"],
    **{f"scipy.sparse.{place}": [f"{kind}_{form}" for form in ("matrix", "array")]
       for kind in ("bsr", "coo", "csc", "csr", "dia", "dok", "lil") for place in (kind, f"_{kind}")},
}  # fmt: skip
SKLEARN = {  # helpers that estimators keep, and functions that they have by default
    "numpy": ["mean"],
    "scipy._lib.array_api_compat.numpy._aliases": ["asarray"],
    "sklearn.calibration": ["_CalibratedClassifier", "_SigmoidCalibration"],
    "sklearn.cluster._birch": ["_CFNode", "_CFSubcluster"],
    "sklearn.cluster._bisect_k_means": ["_BisectingTree"],
    "sklearn.cluster._kmeans": ["_kmeans_single_elkan", "_kmeans_single_lloyd"],
    "sklearn.feature_selection._univariate_selection": ["chi2", "f_classif", "f_oneway", "f_regression", "r_regression"],
}  # fmt: skip
JOBLIB = {"joblib.numpy_pickle": ["NumpyArrayWrapper"]}

Names = dict[str, list[str]]


def modules(package: str, without: Iterable[str]) -> Iterator[ModuleType]:
    """Import every module of a package but those with one of these words in their path."""
    root = importlib.import_module(package)
    yield root
    for found in pkgutil.walk_packages(root.__path__, f"{package}."):
        if not any(part in without for part in found.name.split(".")):
            try:
                yield importlib.import_module(found.name)
            except Exception as error:  # noqa: BLE001 - an optional dependency is missing
                print("left out", found.name, type(error).__name__, file=sys.stderr)


def classes(package: str, without: Iterable[str]) -> Iterator[type]:
    for module in modules(package, without):
        for value in vars(module).values():
            if inspect.isclass(value) and value.__module__ == module.__name__:
                yield value


def listed(values: Iterable[object]) -> Names:
    names: defaultdict[str, set[str]] = defaultdict(set)
    for value in values:
        names[value.__module__].add(value.__qualname__)
    return {module: sorted(found) for module, found in names.items()}


def merged(*lists: Names) -> Names:
    names: defaultdict[str, set[str]] = defaultdict(set)
    for one in lists:
        for module, found in one.items():
            names[module].update(found)
    return {module: sorted(names[module]) for module in sorted(names)}


def scikit_learn() -> tuple[str, Names]:
    import sklearn
    from sklearn.base import BaseEstimator
    from sklearn.metrics import get_scorer, get_scorer_names

    without = {
        "tests",
        "conftest",
        "externals",
        "datasets",
        "_testing",
        "estimator_checks",
        "callback",
        "_test_common",
    }
    found: list[object] = []
    helpers: Names = defaultdict(list)
    for one in classes("sklearn", without):
        path = getattr(sys.modules[one.__module__], "__file__", "") or ""
        is_extension = path.endswith(".so") and not one.__name__.startswith(
            ("ArgKmin", "RadiusNeighbors", "BaseDistancesR")
        )
        places = ("sklearn._loss.", "sklearn.gaussian_process.kernels", "sklearn.ensemble._hist_gradient_boosting.",
                  "sklearn.model_selection._split", "sklearn.metrics._scorer", "sklearn.neural_network._stochastic_optimizers",
                  "sklearn.utils._bunch", "sklearn.linear_model._glm.", "sklearn.linear_model._linear_loss")  # fmt: skip
        if issubclass(one, BaseEstimator) or is_extension or one.__module__.startswith(places):
            found.append(one)
    for module in modules("sklearn", without):
        helpers[module.__name__] += [
            name
            for name in vars(module)
            if name == "newObj" or (name.startswith("__pyx_unpickle_") and "__" not in name[2:])
        ]
    scores = [get_scorer(name)._score_func for name in get_scorer_names()]
    helpers = {module: names for module, names in helpers.items() if names}
    return sklearn.__version__, merged(SCIPY, SKLEARN, JOBLIB, listed(found), listed(scores), helpers)


def pytorch() -> tuple[str, Names]:
    import torch
    from torch._weights_only_unpickler import _get_allowed_globals

    names: Names = defaultdict(list)
    for name in _get_allowed_globals():
        module, _, attribute = name.rpartition(".")
        names[module].append(attribute)
    layers = [one for one in classes("torch.nn.modules", ()) if issubclass(one, torch.nn.Module)]
    activations = [torch.nn.functional.relu, torch.nn.functional.gelu]
    return torch.__version__, merged(names, listed(layers), listed(activations))


def xgboost() -> tuple[str, Names]:
    import xgboost as library

    found = [library.core.Booster, library.sklearn.XGBModel, *library.sklearn.XGBModel.__subclasses__()]
    for one in list(found):
        found += one.__subclasses__()
    return library.__version__, listed(
        one for one in found if one.__module__.startswith(("xgboost.sklearn", "xgboost.core"))
    )


def lightgbm() -> tuple[str, Names]:
    import lightgbm as library

    found = [library.basic.Booster, library.sklearn.LGBMModel, *library.sklearn.LGBMModel.__subclasses__()]
    return library.__version__, listed(
        one for one in found if one.__module__ in {"lightgbm.sklearn", "lightgbm.basic"}
    )


KERAS_REFUSED = {
    "Lambda",
    "TorchModuleWrapper",
    "TFSMLayer",
    "JaxLayer",
    "FlaxLayer",
}  # they run or load other code
OP_REFUSED = re.compile(
    "Abort|Barrier|Checkpoint|Client|Collective|^Copy|DataService|Dataset|Debug|Distributed|Dump|Event|File|ImmutableConst|"
    "Infeed|Iterator|Lookup|Nccl|Outfeed|Print|PyFunc|Queue|Reader|RecordInput|Recv|Remap|Remote|Restore|Rpc|Save|Send|"
    "Server|Session|Snapshot|Stage|Summary|TPU|TRT|Table|Tpu|UnigramCandidate|Vocab|Worker|Xla"
)
OP_NEEDED = [
    "MergeV2Checkpoints",
    "RestoreV2",
    "SaveV2",
    "ShardedFilename",
]  # every SavedModel saves and restores with these
OP_NEEDED += [
    "HashTableV2",
    "LookupTableFindV2",
    "LookupTableImportV2",
    "LookupTableSizeV2",
    "MutableHashTableV2",
]


def keras() -> tuple[str, Names]:
    import keras as library
    from keras.src.saving.keras_saveable import KerasSaveable

    roots = (KerasSaveable, library.Initializer, library.Regularizer, library.constraints.Constraint, library.DTypePolicy,
             library.optimizers.schedules.LearningRateSchedule)  # fmt: skip
    kept = [one for one in classes("keras.src", {"utils", "trainers", "testing", "export", "wrappers", "datasets", "applications", "backend", "legacy"})
            if issubclass(one, roots) and one.__name__ not in KERAS_REFUSED]  # fmt: skip
    public: Names = defaultdict(list)
    places = ("", "layers", "initializers", "regularizers", "constraints", "losses", "metrics", "optimizers", "quantizers",
              "optimizers.schedules", "dtype_policies", "random")  # fmt: skip
    for place in places:
        module = "keras" + (f".{place}" if place else "")
        for name, value in vars(importlib.import_module(module)).items():
            if inspect.isclass(value) and value in kept:
                public[module].append(name)
    return library.__version__, merged(listed(kept), public)


def tensorflow() -> tuple[str, Names]:
    import tensorflow as library  # noqa: ICN001

    names = [name for name in dir(library.raw_ops) if name[0] != "_" and not OP_REFUSED.search(name)]
    return library.__version__, {"": sorted({*names, *OP_NEEDED})}


def write(
    framework: str, version: str, names: Names, includes: list[str], objects: Names | None = None
) -> None:
    """Write a list; of `objects` a pickle may make instances without their constructor, and call nothing."""
    path = LISTS / f"{framework}.json"
    old = json.loads(path.read_text()) if path.exists() else {"versions": [], "names": {}, "objects": {}}
    data = {
        "framework": framework,
        "versions": sorted({*old["versions"], version}),
        "includes": includes,
        "names": merged(old["names"], names),
        "objects": merged(old["objects"], objects or {}),
    }
    path.write_text(json.dumps(data, indent=1) + "\n")
    print(framework, version, len(names), len(objects or {}), "modules")


def is_called(framework: str, module: str) -> bool:
    """Tell whether models call the names of a module when they are loaded: compiled code, and what rebuilds tensors."""
    if framework == "pytorch":
        return not module.startswith(("torch.nn.modules", "torch.nn.functional", "torch._C._nn"))
    path = getattr(importlib.import_module(module), "__file__", "") or ""
    return framework == "scikit-learn" and module.startswith("sklearn.") and path.endswith(".so")


if __name__ == "__main__":
    write("python", "3", PYTHON, [])
    write("numpy", "1 and 2", NUMPY, ["python"])
    frameworks = {"scikit-learn": scikit_learn, "pytorch": pytorch, "xgboost": xgboost, "lightgbm": lightgbm}
    others = {"keras": keras, "tensorflow": tensorflow}
    for framework, collect in {**frameworks, **others}.items():
        if framework not in sys.argv[1:]:
            continue
        try:
            opens_files = framework in {"xgboost", "lightgbm"}
            includes = [] if framework in others else ["scikit-learn" if opens_files else "numpy"]
            version, names = collect()
            called = {
                module: found
                for module, found in names.items()
                if framework in others or is_called(framework, module)
            }
            objects = {module: found for module, found in names.items() if module not in called}
            write(framework, version, called, includes, objects)
        except ImportError as error:
            print("kept", framework, error, file=sys.stderr)
