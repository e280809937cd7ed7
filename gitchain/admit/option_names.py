"""Names of options, variables and keys: whether one refers to a model, or to how a model is served."""

from __future__ import annotations

import re
from functools import lru_cache


def words(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(text.split())


_SPEAKS = re.compile(r"model|tokenizer|lora|adapter|checkpoint|ckpt|weight|gguf|pretrained|draft|repo(?!rt)")

_SPEAKS_ALONE = frozenset({"-m", "-hf", "-hfr", "-hff", "-mu", "-md", "--llm", "LLM", "llm"})

_ABOUT = words(
    "impl implementation class type mode format dtype len length size rank ranks timeout ms seconds version revision"
    " count num policy level port host workers threads parser backend protocol ratio util utilization scale"
)
"""Last words of names that describe how a model is served, not which model."""

_SETTINGS = _ABOUT | words(
    "name names path paths dir directory file uri url id or model models tokenizer lora adapter adapters config"
    " settings quantization concurrency enabled enable method max min num total default extra trust remote code use"
    " draft tensor pipeline parallel block batch cache memory limit gpu cpu device framework"
)
"""Words of keys that name a setting, not a model: `{"model": {"path": ..., "max_len": ...}}`."""

HOLDS_SETTINGS = words("config settings options args kwargs params parameters overrides")
"""Last words of names whose keys are settings: --model-loader-extra-config."""

_NAMES = frozenset({"servedmodelname", "modelname", "modelnames"})
"""Options with the name that clients use for a model."""

MAX_CACHED = 200
"""Longest word whose shape is cached, in characters."""

MAX_NAME = 2048
"""Longest name with a digest, and longest program of KServe, in characters."""

_EXPANDS = re.compile(r"[$`\\{}*?\[\]\"'!~^]")
"""Marks of which a shell, Kubernetes or KServe may make another option."""

_KEY = re.compile(r"[A-Za-z][A-Za-z_-]*")


def is_setting(key: str) -> bool:
    """Return True if a key below a name that refers to models is about how one is served: each of its words is."""
    return len(key) <= MAX_CACHED and _KEY.fullmatch(key) is not None and _SETTINGS.issuperset(_parts(key))


def refers_to_models(name: str) -> bool:
    """Return True if the name of an option, variable or key refers to a model, not only to how it is served."""
    return _known_speaking(name) if len(name) <= MAX_CACHED else _refers_to_models(name)


def _refers_to_models(name: str) -> bool:
    if name in _SPEAKS_ALONE or len(name) > MAX_NAME or (name.startswith("-") and _EXPANDS.search(name)):
        return True
    plain = plain_name(name)
    if _SPEAKS.search(plain) is None or (name.startswith("-") and plain in _NAMES):
        return False
    return last_word(name) not in _ABOUT


def last_word(name: str) -> str:
    """Return the last word of the name of an option, variable or key; empty for a long name."""
    if len(name) > MAX_NAME:
        return ""
    last = _parts(name)
    return last[-1] if last else ""


def _parts(name: str) -> list[str]:
    return re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())


_known_speaking = lru_cache(4096)(_refers_to_models)


def plain_name(name: str) -> str:
    """Return the letters and digits of a name, in lower case."""
    return re.sub(r"[^a-z0-9]", "", name.lower())
