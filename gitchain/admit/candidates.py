"""Texts and volumes that can contain a model: `strict` requires a digest for each (docs/admission.md).

Everything that is not known to be harmless is a candidate:

number, path, common word    harmless everywhere: volumes behind paths are checked themselves
--option=word, VARIABLE=word harmless, unless the name refers to models: --model_id=, MODEL_ID=, --lora-modules=
single word                  a candidate: `serve gpt2`; also after an option that is not known to take a value
owner/name                   a candidate everywhere, and so is any text of another shape
text with a scheme           left to `references`, which checks each

Pure. Images are not inspected and programs are not run: a text that composes a name is a candidate by its shape.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping, Sequence

from gitchain.admit.addresses import is_path
from gitchain.admit.option_names import (
    HOLDS_SETTINGS,
    MAX_NAME,
    last_word,
    plain_name,
    refers_to_models,
    words,
)
from gitchain.admit.patterns import matches
from gitchain.admit.references import ModelReference, find, image
from gitchain.admit.shell_words import ShellWord, shell_words
from gitchain.admit.text_pieces import is_json, parsed, pieces
from gitchain.admit.volumes import is_root_ca, volume_text
from gitchain.admit.word_shapes import WORD, harmless
from gitchain.evidence.canonical import Json
from gitchain.evidence.digest import sha256_hex

Object = Mapping[str, Json]

_ONE_VALUE = words(
    "servedmodelname modelname name host port rootpath dtype device quantization loadformat kvcachedtype tokenizermode"
    " modelimpl loglevel uvicornloglevel backend distributedexecutorbackend attentionbackend toolcallparser"
    " reasoningparser chattemplatecontentformat schedulingpolicy task runner apikey"
)
"""Options of common servers that take one value, which is not a model."""

_BLANK = re.compile(r"\s")
_FLAG = re.compile(r"--?[A-Za-z0-9][A-Za-z0-9_.-]*")
_GLUED = re.compile(r"-(?:m|hf)[A-Za-z0-9][A-Za-z0-9_.-]+")
_MODULE = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*", re.ASCII)
_RUNS_MODULES = re.compile(r"(?:.*/)?(?:python[0-9.]*|torchrun)")
"""Programs that take a Python module behind `-m`."""

_PINNED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]*/[A-Za-z0-9._:/-]+@sha256:[0-9a-f]{64}")
_MODELCAR = re.compile(
    r"(?:mkdir -p [/\w.-]+ && )?ln -sf /proc/\$+/root/models [/\w.-]+ && sleep infinity"
    r"|echo 'Pre-fetching modelcar [\w.:/@-]+: ' && \[ -d /models \] && \[ \"\$+\(ls -A /models\)\" \]"
    r" && echo '[\w ./()]+' \|\| \(echo '[\w ./()]+' && exit 1\)",
    re.ASCII,
)
"""The two programs with which KServe mounts a model's image; printed values contain no quotes or variables."""


_SEEN_SOURCES = frozenset({"serviceAccountToken", "clusterTrustBundle", "podCertificate"})
_SEEN_VOLUMES = frozenset({"name", "emptyDir", "image"})
_CONTAINED = ("configMap", "secret")
_AUTHORED = re.compile(r"metadata\.(?:annotations|labels)")


class Candidates:
    """Finds the candidates in parts of an object. `ignore` and `volumes` are the operator's patterns."""

    def __init__(self, ignore: Sequence[str], volumes: Sequence[str] = ()) -> None:
        self._ignore = frozenset(ignore)
        self._patterns = tuple(one for one in ignore if "*" in one or "?" in one or "[" in one)
        self._by_digest = any(one.startswith("sha256:") for one in ignore)
        self._volumes = tuple(volumes)

    def passes(self, text: str) -> bool:
        """Return True if the operator ignores a text: as it is, by its digest, or by a pattern if it has no blanks."""
        if not self._ignore:
            return False
        if text in self._ignore or self.pins(text):
            return True
        return not _BLANK.search(text) and matches(text, self._patterns)

    def pins(self, text: str) -> bool:
        """Return True if the operator ignores exactly this text by its digest."""
        return self._by_digest and text_digest(text) in self._ignore

    def container(self, container: Object, where: str, owner: str) -> Iterator[ModelReference]:
        """Yield the candidates of a command, its arguments and its environment, in any object that has them."""
        command, arguments = (_texts(container.get(key)) for key in ("command", "args"))
        if command or arguments:
            place = f"{where}.{'args' if arguments else 'command'}"
            items, is_given = [*command, *arguments], bool(command)
            for shown in self._line(items, programs={0}, has_program=is_given, is_sure=is_given):
                yield self._reference(shown, place, owner)
        env = container.get("env")
        for index, entry in enumerate(env if isinstance(env, list) else ()):
            if isinstance(entry, dict):
                yield from self._variable(entry, f"{where}.env[{index}]", owner)
        many = container.get("envFrom")
        for index, entry in enumerate(many if isinstance(many, list) else ()):
            yield from self._elsewhere(entry, f"{where}.envFrom[{index}]", owner, end="Ref")

    def volume(self, volume: Object, where: str) -> Iterator[ModelReference]:
        """Yield the volume if its content is not visible at admission."""
        name = str(volume.get("name"))
        for kind, source in volume.items():
            if kind in _SEEN_VOLUMES:
                continue
            if kind in _CONTAINED or kind in {"projected", "downwardAPI"}:
                yield from self._contained(kind, source, f"{where}.{kind}")
                continue
            text = volume_text(kind, source)
            if not self.passes(text) and not matches(text, self._volumes):
                yield ModelReference(text, where, name, candidate="volume")

    def annotation(self, key: str, value: str, where: str) -> Iterator[ModelReference]:
        """Yield the candidates of an annotation whose name refers to models."""
        name = key.rpartition("/")[2]
        if refers_to_models(name):
            for shown in self.value(name, value):
                yield self._reference(shown, where, "")

    def _contained(self, kind: str, source: Json, where: str) -> Iterator[ModelReference]:
        """Yield the parts of a text volume from objects outside of the request."""
        inside = source if isinstance(source, dict) else {}
        if kind == "projected":
            sources = inside.get("sources")
            for entry in sources if isinstance(sources, list) else ():
                for part, one in entry.items() if isinstance(entry, dict) else ():
                    if part not in _SEEN_SOURCES:
                        yield from self._contained(part, one, where)
        elif kind == "downwardAPI":
            items = inside.get("items")
            for entry in items if isinstance(items, list) else ():
                yield from self._field(entry, where, "")
        else:
            name = inside.get("secretName") if "secretName" in inside else inside.get("name")
            text = f"{kind}:{name}"
            if not is_root_ca(kind, inside) and not self.passes(text):
                yield ModelReference(text, where, unseen=True)

    def _variable(self, entry: Object, where: str, owner: str) -> Iterator[ModelReference]:
        name, value = str(entry.get("name")), entry.get("value")
        if isinstance(value, str):
            if self.passes(f"{name}={value}") or self.passes(value):
                return
            is_line = _BLANK.search(value.strip()) and not is_json(value)
            for text in self._shell(value, is_sure=False) if is_line else self.value(name, value):
                yield self._reference(text, f"{where}.value", owner)
        elif entry.get("valueFrom") is not None:
            source = entry["valueFrom"]
            if refers_to_models(name) and not self.passes(name):
                yield ModelReference(name, f"{where}.valueFrom", owner, unseen=True)
            else:
                yield from self._elsewhere(source, f"{where}.valueFrom", owner, end="KeyRef")

    def _elsewhere(self, source: Json, where: str, owner: str, *, end: str) -> Iterator[ModelReference]:
        """Yield the value of a variable from an object outside of the request."""
        for kind, one in source.items() if isinstance(source, dict) else ():
            if kind == "fieldRef":
                yield from self._field({kind: one}, where, owner)
            elif isinstance(one, dict) and kind != "resourceFieldRef":
                text = f"{kind.removesuffix(end)}:{one.get('name')}"
                if not self.passes(text):
                    yield ModelReference(text, where, owner, unseen=True)

    def _field(self, entry: Json, where: str, owner: str) -> Iterator[ModelReference]:
        """Yield a field of the pod that its author writes as free text."""
        field = entry.get("fieldRef") if isinstance(entry, dict) else None
        path = field.get("fieldPath") if isinstance(field, dict) else None
        is_authored = isinstance(path, str) and _AUTHORED.match(path)
        if is_authored and not self.passes(f"fieldRef:{path}") and not self.passes(f"fieldRef:{_bare(path)}"):
            yield ModelReference(f"fieldRef:{path}", where, owner, unseen=True)

    def _reference(self, shown: str, where: str, owner: str) -> ModelReference:
        """Return the candidate. A name followed by a digest becomes a reference to it."""
        name = shown.rpartition("=")[2]
        if len(name) <= MAX_NAME and _PINNED.fullmatch(name):
            return image(name, where, owner)
        return ModelReference(shown, where, owner, candidate="text")

    def _line(
        self,
        items: Sequence[str],
        *,
        programs: Container[int],
        has_program: bool,
        is_sure: bool,
        quoted: Container[int] = (),
    ) -> Iterator[str]:
        """Yield the candidates in a command line. A value is joined with the name of its option.

        Only Python has modules behind `-m`: `programs` are the places where one can run, and unless that
        `is_sure`, a module needs a dot, as no hub's name without an owner has one. `ignore` passes over no word whose
        place is in `quoted`.
        """
        option, is_python = "", False
        for index, item in enumerate(items):
            by = _WITHOUT_IGNORE if index in quoted else self
            was_python, starts = is_python, index in programs and _RUNS_MODULES.fullmatch(item) is not None
            is_python = starts or (is_python and item != "--" and _is_option(item))
            if by.passes(item):
                option = ""
            elif index == 0 and has_program:
                yield from () if is_path(item) or WORD.fullmatch(item) else (item,)
            elif _is_option(item):
                option, equals, value = item.partition("=")
                if equals:
                    yield from by.value(option, value)
                elif (not _FLAG.fullmatch(item) or _GLUED.fullmatch(item)) and not harmless(
                    item, words=False
                ):
                    yield item
                option = option if refers_to_models(option) or not equals else ""
            elif was_python and option == "-m" and _MODULE.fullmatch(item) and (is_sure or "." in item):
                option = ""
            else:
                yield from by.behind(option, item)
                option = option if refers_to_models(option) else ""  # such an option may take several values

    def behind(self, option: str, item: str) -> Iterator[str]:
        """Yield the candidates in a word after an option, or in a separate word."""
        if option and (refers_to_models(option) or plain_name(option) in _ONE_VALUE or is_json(item)):
            yield from self.value(option, item)
        elif _BLANK.search(item.strip()):
            if len(item) > MAX_NAME or not _MODELCAR.fullmatch(item.strip()):
                yield from self._shell(item)
        elif not harmless(item, words=False):
            shown = f"{option}={item}" if option else item
            if not self.passes(shown):
                yield shown

    def _shell(self, text: str, *, is_sure: bool = True) -> Iterator[str]:
        """Yield the whole text if it is a command line with a candidate: only all of it has a meaning."""
        words = shell_words(text)
        programs = {index for index, word in enumerate(words) if word.starts}
        quoted = {index for index, word in enumerate(words) if not word.is_plain}
        found = self._line(
            [word.text for word in words],
            programs=programs,
            has_program=False,
            is_sure=is_sure,
            quoted=quoted,
        )
        if "`" in text or any(map(_is_hidden, words)) or any(True for _ in found):
            yield text

    def value(self, name: str, text: str) -> Iterator[str]:
        """Yield the candidates in the value of an option or variable, each with the name."""
        if self.passes(f"{name}={text}"):
            return
        wary = refers_to_models(name)
        keys = wary and last_word(name) not in HOLDS_SETTINGS
        read = parsed if is_json(text) else pieces
        for token, is_wary in read(text, wary=wary, keys=keys):
            if not harmless(token, words=not is_wary):
                shown = f"{name}={token}"
                if not self.passes(shown) and not self.passes(token):
                    yield shown


def _is_hidden(word: ShellWord) -> bool:
    """Return True if the shell expands a word to other words, or the word is an address that is no known reference."""
    if word.expands:
        return True
    return not word.is_plain and any(one.basis != "content" for one in find(word.text, "", "", strict=True))


def _bare(path: Json) -> str:
    """Return the path of a field without the quotes around a key, which a pattern does not match."""
    return str(path).replace("'", "")


_WITHOUT_IGNORE = Candidates(())


def text_digest(text: str) -> str:
    """Return the digest by which an operator ignores exactly this text."""
    return f"sha256:{sha256_hex(text.encode('utf-8', 'surrogatepass'))}"


def _is_option(item: str) -> bool:
    return item.startswith("-") and len(item) > 1 and not item[1].isdigit()


def _texts(value: Json) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
