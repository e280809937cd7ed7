"""Inspections of what other loaders run: Keras configurations, TensorFlow graphs, code and templates of Hugging Face."""

from __future__ import annotations

import builtins
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from gitchain.collect.inspect import Kind
from gitchain.collect.inspect.frameworks import names_of
from tests.support.model_files import GGUF_PAIRS, gguf, look, message, number, pair, text, whats

MODELS = Path(__file__).parents[1] / "fixtures/models"
NOT_ALLOWED = "Keras model has an object that the layout does not allow"
OPERATION = "SavedModel has an operation that the layout does not allow"
TEMPLATE = "chat template uses a construct that is not allowed"


def found(data: bytes, kind: Kind, name: str, allow: tuple[str, ...] = ()) -> list[str]:
    return whats(look(data, kind, name, allow=allow))


def read(name: str) -> bytes:
    return (MODELS / name).read_bytes()


def keras(config: object, **members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("metadata.json", "{}")
        if config is not None:
            archive.writestr("config.json", config if isinstance(config, str) else json.dumps(config))
        for name, data in members.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), data)
    return file.getvalue()


def layer(
    name: str = "Dense", module: str | None = "keras.layers", registered: str | None = None, **config: Any
) -> Any:
    return {"module": module, "class_name": name, "config": config, "registered_name": registered}


@pytest.mark.parametrize(
    "name", ["keras_functional.keras", "keras_sequential.keras", "keras_legacy.h5", "keras.weights.h5"]
)
def test_keras_real_models_pass(name: str) -> None:
    """Models that Keras itself saved."""
    assert look(read(name), "keras", name) == ()


@pytest.mark.parametrize("name", ["keras_lambda.keras", "keras_lambda.h5"])
def test_keras_lambda_is_refused(name: str) -> None:
    """A lambda is bytecode in the file."""
    problems = look(read(name), "keras", name)
    assert set(whats(problems)) == {NOT_ALLOWED}
    assert any("Lambda" in one.got for one in problems)


REFUSED = {
    "lambda": layer("__lambda__", None), "torch": layer("TorchModuleWrapper"), "SavedModel": layer("TFSMLayer"),
    "download": layer("get_file", "keras.utils"), "system": layer("function", "os") | {"config": "system"},
    "other function": layer("function", "builtins") | {"config": "os.system"}, "other module": layer("Dense", "os"),
    "custom": layer("Scale", "credit", "credit>Scale"), "renamed": layer("Dense", "keras.layers", "credit>Dense"),
    "no name": {"class_name": 3}, "no module": {"class_name": "Dense", "module": ["keras"]},
    "nested": {"config": [{"a": layer("Lambda")}]}, "spec": layer("__typespec__", None),
}  # fmt: skip


@pytest.mark.parametrize("config", REFUSED.values(), ids=REFUSED)
def test_keras_objects_that_no_list_has_are_refused(config: Any) -> None:
    """Wherever they are in the configuration."""
    assert NOT_ALLOWED in found(keras(config), "keras", "m.keras")


def test_keras_objects_are_allowed_by_name() -> None:
    """Registered names under allow; built-in layers, functions and values without one."""
    custom = layer("Scale", "credit", "credit>Scale")
    assert found(keras(custom), "keras", "m.keras", ("credit>Scale",)) == []
    assert found(keras({"class_name": "Scale"}), "keras", "m.keras", ("Scale",)) == []
    for one in (
        layer(),
        layer("relu", "keras.activations"),
        {"class_name": "Dense"},
        layer("__keras_tensor__", None),
    ):
        assert found(keras(one), "keras", "m.keras") == ([NOT_ALLOWED] if one["class_name"] == "relu" else [])
    assert found(keras(layer("function", "builtins") | {"config": "relu"}), "keras", "m.keras") == []


def test_keras_vocabulary_in_a_file_is_refused() -> None:
    """A path is opened where the model is loaded; a list is data."""
    lookup = layer("StringLookup", vocabulary="/etc/passwd")
    assert found(keras(lookup), "keras", "m.keras") == ["Keras model reads a file when it is loaded"]
    assert found(keras(layer("StringLookup", vocabulary=["a"])), "keras", "m.keras") == []


def test_keras_file_is_whole() -> None:
    """Members, configuration, size and form."""
    assert found(keras(None), "keras", "m.keras") == ["Keras file has no config.json"]
    assert found(keras({}, run_py=b"x"), "keras", "m.keras") == ["Keras file has an unknown member"]
    assert found(keras({}, assets__a_txt=b"x"), "keras", "m.keras") == []
    assert found(keras("{"), "keras", "m.keras")
    assert found(b"x" * 20, "keras", "m.keras") == ["not a Keras model"]
    assert found(keras({"a": 1}) + b"x", "keras", "m.keras") == ["zip file does not end with its directory"]


def test_keras_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Configuration, weights and objects end at their limits."""
    data = read("keras_sequential.keras")
    for name, what in (("MAX_CONFIG", "configuration is too large"), ("MAX_WEIGHTS", "weights are too large"),
                       ("MAX_OBJECTS", "HDF5 file has too many objects")):  # fmt: skip
        with monkeypatch.context() as patch:
            patch.setattr(f"gitchain.collect.inspect.keras.{name}", 2)
            assert what in found(data, "keras", "m.keras")


def hdf5(build: Any) -> bytes:
    file = io.BytesIO()
    with h5py.File(file, "w") as opened:
        build(opened)
    return file.getvalue()


def _virtual(file: Any) -> None:
    layout = h5py.VirtualLayout(shape=(3,), dtype="i4")
    layout[:] = h5py.VirtualSource("other.h5", "data", shape=(3,))
    file.create_virtual_dataset("v", layout)


def _external(file: Any) -> None:
    file.create_dataset("e", (3,), "i4", external=[("/etc/passwd", 0, 12)])


def _linked(file: Any) -> None:
    file["a"] = np.zeros(3)
    file["out"] = h5py.ExternalLink("/etc/other.h5", "/")


def _soft(file: Any) -> None:
    file["out"] = h5py.SoftLink("/a")


def _filtered(file: Any) -> None:
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((3,))
    plist.set_filter(32_015, h5py.h5z.FLAG_OPTIONAL, ())
    h5py.h5d.create(file.id, b"f", h5py.h5t.NATIVE_INT32, h5py.h5s.create_simple((3,)), plist)


def _plain(file: Any) -> None:
    group = file.create_group("g")
    group.create_dataset("a", data=np.zeros((4, 4)), compression="gzip")
    group.create_dataset("b", data=np.zeros((4, 4)), compression="lzf")
    file["same"] = group
    group["up"] = file["g"]


@pytest.mark.parametrize(
    ("build", "what"),
    [(_virtual, "HDF5 data set has its data in another file"), (_external, "HDF5 data set has its data in another file"),
     (_linked, "HDF5 file has a link"), (_soft, "HDF5 file has a link"), (_filtered, "HDF5 data set needs a plug-in to be read"),
     (_plain, None)],
)  # fmt: skip
def test_keras_hdf5_stays_in_its_file(build: Any, what: str | None) -> None:
    """Links, data in other files and foreign filters, alone and as weights of a `.keras` file."""
    data = hdf5(build)
    expected = [what] if what else []
    assert found(data, "keras", "m.h5") == expected
    assert found(keras({}, model_weights_h5=data), "keras", "m.keras") == expected


def test_keras_hdf5_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    """A damaged file is a problem; so is one that cannot be looked at."""
    data = read("keras_legacy.h5")
    for cut in (9, 100, 2000, len(data) // 2):
        assert found(data[:cut], "keras", "m.h5"), cut
    real = builtins.__import__

    def without(name: str, *args: Any) -> Any:
        if name.startswith(("h5py", "jinja2")):
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", without)
    assert found(data, "keras", "m.h5") == ["HDF5 file cannot be inspected: h5py is not installed"]
    assert found(b"hello", "transformers", "a.jinja") == [
        "chat template cannot be inspected: Jinja is not installed"
    ]


def test_savedmodel_real_models() -> None:
    """Models that TensorFlow itself saved: one computes, one reads a file."""
    for path in sorted((MODELS / "saved_model").rglob("*")):
        if path.is_file():
            assert look(path.read_bytes(), "savedmodel", f"m/{path.name}") == (), path
    (problem,) = look(read("saved_model_reads/saved_model.pb"), "savedmodel", "m/saved_model.pb")
    assert (problem.what, problem.got) == (OPERATION, "'ReadFile'")
    assert (
        found(read("saved_model_reads/saved_model.pb"), "savedmodel", "m/saved_model.pb", ("ReadFile",)) == []
    )


def node(operation: bytes) -> bytes:
    return message(1, b"name") + message(2, operation)


def saved(*nodes: bytes, functions: bytes = b"", after: bytes = b"") -> bytes:
    graph = b"".join(message(1, one) for one in nodes) + message(2, functions)
    return number(1, 1) + message(2, message(2, graph)) + after


@pytest.mark.parametrize("operation", [b"PyFunc", b"EagerPyFunc", b"WriteFile", b"ReadFile", b"TRTEngineOp", b"TextLineDataset",
                                       b"DebugIdentityV3", b"MyCustomOp", b"PrintV2", b"\xff"])  # fmt: skip
def test_savedmodel_operations_that_no_list_has_are_refused(operation: bytes) -> None:
    """In a graph, and in a function of its library."""
    assert found(saved(node(operation)), "savedmodel", "saved_model.pb") == [OPERATION]
    function = message(1, message(1, message(1, b"f")) + message(3, node(operation)))
    assert found(saved(node(b"f"), functions=function), "savedmodel", "saved_model.pb") == [OPERATION]


def test_savedmodel_list_has_no_operation_that_reaches_out() -> None:
    """Of the operations that read, write, send, print or call Python it has those that every SavedModel has."""
    listed = {name for _, name in names_of("tensorflow")}
    assert {"SaveV2", "RestoreV2", "MergeV2Checkpoints", "ShardedFilename"} <= listed
    reach_out = {
        *("Save", "SaveSlices", "Restore", "RestoreSlice", "ReadFile", "WriteFile", "MatchingFiles"),
        *("TextLineReaderV2", "TFRecordReaderV2", "FixedLengthRecordReaderV2", "WholeFileReaderV2"),
        *(
            "TextLineDataset",
            "TFRecordDataset",
            "SaveDataset",
            "LoadDataset",
            "InitializeTableFromTextFileV2",
        ),
        *("Print", "PrintV2", "PyFunc", "PyFuncStateless", "EagerPyFunc", "Send", "Recv", "LoadLibrary"),
        *("_Send", "_Recv", "RpcClient", "DebugIdentityV2", "WriteSummary", "CreateSummaryFileWriter"),
    }
    assert reach_out & listed == set()


def test_savedmodel_functions_of_the_model_are_operations() -> None:
    """A call of the model's own function is none of another."""
    function = message(1, message(1, message(1, b"mine")) + message(3, node(b"Add")))
    assert found(saved(node(b"mine"), functions=function), "savedmodel", "saved_model.pb") == []
    assert found(saved(node(b"mine")), "savedmodel", "saved_model.pb") == [OPERATION]


def test_savedmodel_damaged() -> None:
    """Cut off, of other types, too long: a problem each; other files are passed over."""
    whole = saved(node(b"Add"))
    for cut in range(1, len(whole)):
        assert found(whole[:cut], "savedmodel", "saved_model.pb"), cut
    assert found(b"", "savedmodel", "saved_model.pb") == ["not a SavedModel"]
    assert found(whole + b"\x1b", "savedmodel", "saved_model.pb") == [
        "SavedModel has a field of an unknown type"
    ]
    assert found(whole + b"\x09" + bytes(8) + b"\x0d" + bytes(4), "savedmodel", "saved_model.pb") == []
    assert found(b"\xff" * 20, "savedmodel", "saved_model.pb") == ["number is too long"]
    assert found(message(2, b"\x08" + b"\x80") + b"\x01", "savedmodel", "saved_model.pb")
    assert found(b"anything", "savedmodel", "variables.index") == []


def test_savedmodel_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gitchain.collect.inspect.savedmodel.MAX_FIELDS", 3)
    assert found(saved(node(b"Add")), "savedmodel", "saved_model.pb") == ["SavedModel has too many fields"]


def hf(value: object, name: str = "config.json") -> list[str]:
    return found(json.dumps(value).encode(), "transformers", name)


def test_transformers_code_is_refused() -> None:
    """Files of code, and the fields that import them."""
    for name in ("modeling_x.py", "a/b.so", "X.PY"):
        assert found(b"x", "transformers", name) == ["file of code beside the model"]
    runs = ["model runs code of its repository when it is loaded"]
    assert hf({"auto_map": {"AutoModel": "other/repo--modeling_x.X"}}) == runs
    assert hf({"a": [{"auto_map": {"AutoModel": "modeling_x.X"}}]}, "tokenizer_config.json") == runs
    assert hf({"trust_remote_code": True}) == hf({"custom_pipelines": {"p": {}}}) == runs
    assert hf({"trust_remote_code": False, "auto_map": {}, "architectures": ["LlamaForCausalLM"]}) == []
    assert found(b"{", "transformers", "config.json")
    assert found(b"weights", "transformers", "model.safetensors") == []


def test_transformers_modules_are_of_sentence_transformers() -> None:
    """modules.json names classes by their full path, and their loader imports any: joblib's would load a pickle."""
    dense = {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}
    assert hf([dense, {**dense, "type": "sentence_transformers.models.Pooling"}], "modules.json") == []
    other = ["model has a module of another library"]
    for kind in (
        "joblib.numpy_pickle",
        "sentence_transformers.util.torch",
        "sentence_transformersx.Y",
        "",
        None,
        1,
    ):
        assert hf([dense, {**dense, "type": kind}], "modules.json") == other
    assert hf({"type": "torch.serialization"}, "a/modules.json") == hf([[dense]], "modules.json") == other
    assert hf([{"type": "joblib.numpy_pickle"}], "config.json") == []


def test_transformers_adapter_has_a_known_base() -> None:
    """adapter_config.json of PEFT: the module of the base model's class is imported."""
    base = {"base_model_class": "BertModel", "parent_library": "transformers.models.bert.modeling_bert"}
    assert hf({"peft_type": "LORA", "auto_mapping": base}, "adapter_config.json") == []
    assert hf({"peft_type": "LORA", "auto_mapping": None}, "adapter_config.json") == []
    for parent in ("my_module", "", 1, ["transformers"]):
        found = hf({"auto_mapping": {**base, "parent_library": parent}}, "adapter_config.json")
        assert found == ["adapter has a base model of another library"]


def test_transformers_pipeline_names_known_libraries() -> None:
    """model_index.json of diffusers."""
    index = {
        "_class_name": "StableDiffusionPipeline",
        "_version": 1,
        "unet": ["diffusers", "UNet"],
        "safety_checker": [None, None],
    }
    assert hf(index, "model_index.json") == []
    other = ["pipeline has a part of another library"]
    assert hf({**index, "unet": ["my_module", "UNet"]}, "model_index.json") == other
    assert hf({**index, "_class_name": ["pipeline_x", "X"]}, "model_index.json") == other


CHAT = """{%- set ns = namespace(found=false) -%}{% macro show(m) %}{{ m['content'] | trim }}{% endmacro %}
{% for message in messages if message.role != 'system' %}{% if loop.first and not ns.found %}{{ bos_token }}{% endif %}
{% generation %}{{ show(message) + eos_token }}{% endgeneration %}{% if message.tool_calls is defined %}{{ message.tool_calls | tojson(indent=2) }}
{% endif %}{% if loop.last %}{% break %}{% endif %}{% endfor %}{{ messages | selectattr('role', 'equalto', 'user') | list | length }}
{{ raise_exception('no') if add_generation_prompt else strftime_now('%Y') }}{{ messages[0]['content'].split('x')[-1].strip() }}
{{ messages | map(attribute='content') }}"""
GOOD_CHAT = CHAT.replace(
    "{{ messages | map(attribute='content') }}", "{{ ['a'] | map('upper') | join(', ') }}"
)


@pytest.mark.parametrize(
    "template",
    ["{{ ''.__class__.__mro__ }}", "{{ cycler.__init__.__globals__.os.popen('id').read() }}", "{{ x['__class__'] }}",
     "{% include 'a' %}", "{% import 'a' as b %}", "{% extends 'a' %}", "{{ x | attr('__class__') }}", "{{ lipsum() }}",
     "{{ self._TemplateReference__context }}", "{{ x.system('id') }}", "{{ x()() }}", "{{ __x }}", "{{ '%s'.format(x) }}",
     "{{ x | map(attribute='y') }}", "{{ x | map('attr', 'y') }}", "{% block a %}{% endblock %}", CHAT],
)  # fmt: skip
def test_transformers_templates_that_reach_out_are_refused(template: str) -> None:
    """In every place that a template can be."""
    expected = {TEMPLATE}
    assert set(hf({"chat_template": template}, "tokenizer_config.json")) == expected
    assert (
        set(hf({"chat_template": [{"name": "default", "template": template}]}, "tokenizer_config.json"))
        == expected
    )
    assert set(found(template.encode(), "transformers", "chat_template.jinja")) == expected
    data = gguf((*GGUF_PAIRS, pair("tokenizer.chat_template.tool_use", 8, text(template))))
    assert set(found(data, "transformers", "m.gguf")) == expected


def test_transformers_templates_pass() -> None:
    """What chat templates do: loops, macros, filters, methods, the tags of transformers."""
    assert found(GOOD_CHAT.encode(), "transformers", "chat_template.jinja") == []
    assert hf({"chat_template": {"default": GOOD_CHAT}}, "chat_template.json") == []
    assert (
        found(
            gguf((*GGUF_PAIRS, pair("tokenizer.chat_template", 8, text(GOOD_CHAT)))), "transformers", "m.gguf"
        )
        == []
    )
    assert found(gguf(), "transformers", "m.gguf") == []


def test_transformers_templates_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Templates that cannot be parsed or are too long."""
    assert found(b"{% for %}", "transformers", "a.jinja") == ["chat template cannot be parsed"]
    assert found(b"{{ " + b"(" * 5000 + b" }}", "transformers", "a.jinja") == [
        "chat template cannot be parsed"
    ]
    monkeypatch.setattr("gitchain.collect.inspect.transformers.MAX_TEMPLATE", 3)
    assert hf({"chat_template": "abcd"}) == ["chat template is too long"]
    assert found(b"abcd", "transformers", "a.jinja") == ["file is too large to inspect"]
    long = gguf((*GGUF_PAIRS, pair("tokenizer.chat_template", 8, text("abcd"))))
    assert len(found(long, "transformers", "m.gguf")) == 1
