"""Read and write OpenSSF Model Signing (OMS) v1.0 statements: the files of a model, as its signer claims.

    {"resources":[{"name":"config.json","algorithm":"sha256","digest":"…"}],
     "serialization":{"method":"files","hash_type":"sha256","allow_symlinks":false,"ignore_paths":[".git"]}}

One subject, whose digest is the SHA-256 over the file digests in their order: it leaves the names out, so a
renamed file can keep it. It is recomputed here and never used to tell one model from another: the files are
(`resources`, names and digests). A model that is one file has one resource: the specification names it by its
basename, the reference implementation `.`. Both are read; `.` is written, which that implementation verifies.

Spec: https://github.com/ossf/model-signing-spec
Does NOT read files, or decide which paths may be ignored; does not support shards, or digests but SHA-256.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gitchain.errors import LimitError, MalformedError
from gitchain.evidence.canonical import Json
from gitchain.evidence.digest import DigestSet, check_hex, sha256_hex
from gitchain.evidence.fields import (
    Object,
    as_object,
    as_string,
    find_array,
    get_array,
    get_object,
    get_string,
)
from gitchain.evidence.names import check_name, check_names
from gitchain.evidence.statement import (
    MAX_DESCRIPTORS,
    OLD_STATEMENT_TYPE,
    STATEMENT_TYPE,
    ResourceDescriptor,
    Statement,
)
from gitchain.evidence.vocabulary import OMS

SINGLE = "."
"""The name of the one resource of a model that is one file, where it does not have the file's own."""

MAX_RESOURCES = 100_000
"""Most files of one model: ten times the largest that is known, and all that a statement has room for."""

MAX_IGNORED = 1000
"""Most paths that a signer may leave out: real ones are five or six."""

_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ModelSignature:
    """The content of an OMS statement: the model's name, each file's SHA-256 by its path, and the ignored paths."""

    name: str
    files: Mapping[str, str]
    ignored: tuple[str, ...]

    @property
    def single(self) -> bool:
        """Return whether the model is one file for certain; one that has the file's name may be a directory with it."""
        return list(self.files) == [SINGLE]


def read_model_signature(statement: Statement) -> ModelSignature:
    """Return the model signature in the statement.

    Raises MalformedError for another predicate type, a Statement v0.1, not exactly one subject, resources that are empty,
    not sorted, doubled or of another digest than SHA-256, and for a root digest that is not theirs; LimitError
    beyond the limits above.
    """
    if statement.predicate_type != OMS:
        raise MalformedError("not a model signature", expected=OMS, got=ascii(statement.predicate_type[:200]))
    if statement.is_old:
        raise MalformedError(
            "model signature is in an old statement", expected=STATEMENT_TYPE, got=OLD_STATEMENT_TYPE
        )
    if len(statement.subject) != 1:
        raise MalformedError(
            "model signature must have one subject", expected="1", got=str(len(statement.subject))
        )
    serialization = get_object(statement.predicate, "serialization", "predicate")
    _check_serialization(serialization)
    files = _files(statement.predicate)
    _check_root(statement, files.values())
    items = find_array(serialization, "ignore_paths", "serialization", limit=MAX_IGNORED)
    ignored = tuple(_ignored(as_string(item, "serialization.ignore_paths")) for item in items)
    return ModelSignature(statement.subject[0].name or "", files, ignored)


def model_files(statement: Statement) -> tuple[ResourceDescriptor, ...]:
    """Return a descriptor for each file of the model signature in the statement; a single `.` has the model's name.

    Raises the errors of `read_model_signature`, LimitError beyond MAX_DESCRIPTORS files.
    """
    files = read_model_signature(statement).files
    if len(files) > MAX_DESCRIPTORS:
        raise LimitError(
            "too many files",
            where="predicate.resources",
            expected=f"at most {MAX_DESCRIPTORS}",
            got=str(len(files)),
        )
    names = {SINGLE: statement.subject[0].name}
    return tuple(
        ResourceDescriptor(names.get(path, path), DigestSet({"sha256": digest}))
        for path, digest in files.items()
    )


def listed_files(statement: Statement) -> tuple[ResourceDescriptor, ...]:
    """Return a descriptor without a name for each SHA-256 that the model signature lists, even if it cannot be read.

    Empty for another predicate type. What is listed in another way, such as shards, is left out.
    """
    items = statement.predicate.get("resources")
    if statement.predicate_type != OMS or not isinstance(items, list | tuple):
        return ()
    listed = (item.get("digest") for item in items if isinstance(item, Mapping))
    found = dict.fromkeys(one for one in listed if isinstance(one, str) and _SHA256.fullmatch(one))
    return tuple(ResourceDescriptor(None, DigestSet({"sha256": one})) for one in found)


def model_statement(name: str, files: Mapping[str, str], ignored: Iterable[str] = ()) -> Statement:
    """Return a statement that the model consists of exactly these files (SHA-256 in hex by path).

    Raises MalformedError for what `read_model_signature` refuses, LimitError beyond the limits above.
    """
    ordered = sorted(files.items(), key=lambda item: item[0].split("/"))  # as signers in Python do it
    resources: Json = [{"name": path, "algorithm": "sha256", "digest": digest} for path, digest in ordered]
    paths: Json = list(ignored)
    serialization: Json = {
        "method": "files",
        "hash_type": "sha256",
        "allow_symlinks": False,
        "ignore_paths": paths,
    }
    root = sha256_hex(b"".join(bytes.fromhex(check_hex(digest, (64,), path)) for path, digest in ordered))
    subject = ResourceDescriptor(name, DigestSet({"sha256": root}))
    statement = Statement.build((subject,), OMS, {"serialization": serialization, "resources": resources})
    read_model_signature(statement)
    return statement


def _check_serialization(serialization: Object) -> None:
    known = {"method": "files", "hash_type": "sha256"}
    for key, expected in known.items():
        got = get_string(serialization, key, "serialization")
        if got != expected:
            raise MalformedError(
                "model signature is of a kind that is not supported",
                where=f"serialization.{key}",
                expected=expected,
                got=ascii(got[:100]),
            )
    if serialization.get("allow_symlinks") not in {None, False}:
        raise MalformedError(
            "model signature follows symbolic links", where="serialization.allow_symlinks", expected="false"
        )


def _files(predicate: Object) -> Mapping[str, str]:
    items = get_array(predicate, "resources", "predicate", limit=MAX_RESOURCES)
    found = [_resource(as_object(item, "resources"), len(items)) for item in items]
    names = [name for name, _ in found]
    if not names:
        raise MalformedError("model signature names no file", where="predicate.resources")
    check_names(name for name in names if name != SINGLE)
    parts = [name.split("/") for name in names]
    if sorted(set(names)) != names and sorted(parts) != parts:  # as text, or as signers in Python do it
        raise MalformedError(
            "files of the model are not sorted, or one appears twice", where="predicate.resources"
        )
    return dict(found)


def _resource(item: Object, count: int) -> tuple[str, str]:
    name = get_string(item, "name", "resources")
    if not (name == SINGLE and count == 1):
        check_name(name)
    algorithm = get_string(item, "algorithm", "resources")
    if algorithm != "sha256":
        raise MalformedError(
            "digest is of a kind that is not supported",
            where=f"resources {name[:100]!a}",
            expected="sha256",
            got=ascii(algorithm[:100]),
        )
    return name, check_hex(get_string(item, "digest", "resources"), (64,), f"resources {name[:100]!a}")


def _check_root(statement: Statement, digests: Iterable[str]) -> None:
    whole = b"".join(map(bytes.fromhex, digests))
    expected, got = sha256_hex(whole), statement.subject[0].digest.get("sha256")
    if expected != got:
        raise MalformedError(
            "the model's digest is not that of its files", where="subject", expected=expected, got=str(got)
        )


def _ignored(path: str) -> str:
    """Return the path that was left out; one that is no path below the model is refused."""
    return check_name(path.rstrip("/"), "ignored path")
