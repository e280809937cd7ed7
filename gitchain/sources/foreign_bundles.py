r"""Read the Sigstore bundles in the files that other tools write.

    one bundle                                cosign, sigstore, model_signing, gitchain
    lines with a bundle each                  gh attestation download
    {"attestations":[{"bundle":{…}}]}         npm's registry, GitHub's API
    {"attestation_bundles":[{"attestations":[…]}]}    PyPI's integrity API; one of its attestations alone (PEP 740)

A bundle that is a file or a line keeps its bytes, without the white space around it. One inside of another document is
written again, in canonical JSON, and one of PyPI in the fields of a bundle: the signed bytes are the same.

Formats: https://docs.sigstore.dev/about/bundle/ and https://peps.python.org/pep-0740/
Does NOT verify anything. Documents are read with the limits of `gitchain.evidence.canonical`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gitchain.errors import GitchainError, LimitError, MalformedError, UsageError, os_errors_as
from gitchain.evidence.bundle import (
    BUNDLE_MEDIA_TYPE,
    MAX_BUNDLE_BYTES,
    MAX_TIMESTAMPS,
    Bundle,
)
from gitchain.evidence.bundle import (
    MAX_ENTRIES as MAX_LOG_ENTRIES,
)
from gitchain.evidence.canonical import Json, canonical_json, strict_json
from gitchain.evidence.dsse import IN_TOTO_PAYLOAD_TYPE
from gitchain.evidence.fields import (
    Object,
    as_object,
    as_string,
    find_array,
    get_array,
    get_object,
    get_string,
)
from gitchain.evidence.statement import Statement
from gitchain.platform.files import open_regular

MAX_BUNDLES = 10_000  # of one import: verified in about a minute, and added in one commit
MAX_BYTES = 64 << 20  # of one import, in memory
MAX_ENTRIES = 100_000  # of one directory
SUFFIXES = (".json", ".jsonl", ".sigstore", ".bundle", ".sig", ".attestation", ".provenance")
"""Names of the files that are read in a directory."""
NODES = ".manifest.json"
"""Names of the manifest nodes that `gitchain bundle push` writes: no bundles."""

_HELP = "gitchain import FILE   reads one file; docs/import.md has the formats"


@dataclass(frozen=True, slots=True)
class ForeignBundle:
    """The bytes of one bundle, its statement, which is not verified, and the place that it was read from."""

    where: str
    raw: bytes
    statement: Statement


class ForeignBundles:
    """Reads sources, up to MAX_BUNDLES and MAX_BYTES. `skipped` counts the entries of directories that were not read."""

    def __init__(self) -> None:
        self.skipped = 0
        self._count = self._bytes = 0

    def read(self, source: str) -> Iterator[ForeignBundle]:
        """Yield the bundles of a file or directory.

        Raises UsageError if it cannot be read, MalformedError for content of another kind, LimitError for too much.
        """
        if "://" in source:
            raise UsageError(
                "no such source of bundles", got=source, expected="a file or a directory", help=_HELP
            )
        path = Path(source)
        if not os.path.isdir(source):  # noqa: PTH112 - Path raises for names with NUL
            yield from self._file(path)
            return
        for entry in self._entries(path):
            yield from self._file(entry)

    def _entries(self, folder: Path) -> list[Path]:
        """Return the files of a directory that may hold bundles, sorted. Raises MalformedError for a link among them."""
        found: list[Path] = []
        with os_errors_as(UsageError, "cannot read a directory", folder), os.scandir(folder) as entries:
            for count, entry in enumerate(entries, 1):
                if count > MAX_ENTRIES or len(found) > MAX_BUNDLES:
                    expected = f"at most {MAX_BUNDLES} bundles, and {MAX_ENTRIES} entries"
                    raise LimitError("the directory holds too much", where=str(folder), expected=expected)
                named = entry.name.endswith(SUFFIXES) and not entry.name.endswith(NODES)
                if named and entry.is_symlink():
                    help_text = "name the file itself: gitchain import FILE"
                    raise MalformedError("a link in the directory", where=entry.path, help=help_text)
                if named and not entry.is_dir(follow_symlinks=False):
                    found.append(Path(entry.path))
                else:
                    self.skipped += 1
        if not found:
            expected = "files named *" + ", *".join(SUFFIXES)
            raise UsageError("no bundles in the directory", where=str(folder), expected=expected, help=_HELP)
        return sorted(found)

    def _file(self, path: Path) -> Iterator[ForeignBundle]:
        data = self._content(path)
        if not data:
            raise MalformedError(
                "the file is empty", where=str(path), expected="a Sigstore bundle", help=_HELP
            )
        lines = []
        if _has_lines(path, data):
            if data.count(b"\n") >= MAX_BUNDLES:
                raise _too_many(str(path))
            lines = data.split(b"\n")
        if not lines:
            yield from self._document(data, str(path))
        for number, line in enumerate(lines, 1):
            yield from self._document(line.strip(), f"{path}:{number}")

    def _content(self, path: Path) -> bytes:
        """Return the content of a file without white space around it. Raises UsageError if it changes meanwhile."""
        what, left = "cannot read a file", MAX_BYTES - self._bytes
        with os_errors_as(UsageError, what, path, help="check the path"), open_regular(path) as file:
            before = os.fstat(file.fileno())
            data = file.read(left + 1)
            after = os.fstat(file.fileno())
        if len(data) > left:
            raise LimitError(
                "too much to import at once",
                where=str(path),
                expected=f"at most {MAX_BYTES} bytes",
                help="import it in parts",
            )
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise UsageError("the file changed while it was read", where=str(path), help="try again")
        self._bytes += len(data)
        return data.strip()

    def _document(self, data: bytes, where: str) -> Iterator[ForeignBundle]:
        with _placed(where):
            value = as_object(
                strict_json(data, "document", max_bytes=max(MAX_BUNDLE_BYTES, MAX_BYTES)), "document"
            )
        if "attestations" in value or "attestation_bundles" in value:
            inner = _of_pypi(value) if "attestation_bundles" in value else _of_registry(value)
            for number, raw in enumerate(_each(inner, where)):
                yield self._bundle(raw, f"{where}, attestation {number}")
        elif "verification_material" in value and "envelope" in value:
            with _placed(where):
                raw = canonical_json(_bundle_of_attestation(value, "attestation"))
            yield self._bundle(raw, where)
        else:
            yield self._bundle(data, where, value)

    def _bundle(self, raw: bytes, where: str, value: Object | None = None) -> ForeignBundle:
        """Return the bundle with its statement, parsed strictly."""
        self._count += 1
        if self._count > MAX_BUNDLES:
            raise _too_many(where)
        if value is not None and "payloadType" in value and "signatures" in value:
            raise MalformedError(
                "a bare DSSE envelope: it has no certificate, log entry or time that can be verified",
                where=where,
                expected="a Sigstore bundle",
                help="let the tool write a bundle: cosign attest --new-bundle-format; gh attestation download",
            )
        if value is not None and not {"mediaType", "media_type"}.intersection(value):
            raise MalformedError(
                "not a Sigstore bundle: it has no media type",
                where=where,
                expected="a bundle of cosign, sigstore, gh, npm, PyPI or gitchain",
                help="in a directory, move other JSON files away; docs/import.md has the formats",
            )
        with _placed(where):
            return ForeignBundle(where, raw, Bundle.parse(raw).statement())


class _placed:  # noqa: N801 - a context manager
    """Puts a place before that of an error in the block."""

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, GitchainError):
            error.where = f"{self._where}, {error.where}" if error.where else self._where
            error.help = error.help or _HELP


def _too_many(where: str) -> LimitError:
    expected = f"at most {MAX_BUNDLES} bundles"
    return LimitError("too much to import at once", where=where, expected=expected, help="import it in parts")


def _has_lines(path: Path, data: bytes) -> bool:
    """Return whether each line of the file is a document of its own."""
    first, _, more = data.partition(b"\n")
    return bool(more) and (path.suffix == ".jsonl" or first.rstrip().endswith(b"}"))


def _each(items: Iterator[Json], where: str) -> Iterator[bytes]:
    while True:
        with _placed(where):
            try:
                raw = canonical_json(next(items))
            except StopIteration:
                return
        yield raw


def _of_registry(source: Object) -> Iterator[Json]:
    items = get_array(source, "attestations", "document", limit=MAX_BUNDLES)
    if not items:
        raise MalformedError("the document has no attestation", where="attestations")
    for index, item in enumerate(items):
        where = f"attestations[{index}]"
        yield get_object(as_object(item, where), "bundle", where)


def _of_pypi(source: Object) -> Iterator[Json]:
    groups = get_array(source, "attestation_bundles", "document", limit=MAX_BUNDLES)
    if not groups:
        raise MalformedError("the document has no attestation", where="attestation_bundles")
    for number, group in enumerate(groups):
        where = f"attestation_bundles[{number}]"
        items = get_array(as_object(group, where), "attestations", where, limit=MAX_BUNDLES)
        for index, item in enumerate(items):
            place = f"{where}.attestations[{index}]"
            yield _bundle_of_attestation(as_object(item, place), place)


def _bundle_of_attestation(source: Object, where: str) -> Json:
    """Return the bundle with the content of an attestation object of PEP 740, version 1."""
    if source.get("version") != 1 or isinstance(source.get("version"), bool):
        raise MalformedError("attestation of an unknown version", where=f"{where}.version", expected="1")
    material = get_object(source, "verification_material", where)
    envelope = get_object(source, "envelope", where)
    inner = f"{where}.verification_material"
    certificate = {"rawBytes": get_string(material, "certificate", inner)}
    entries = get_array(material, "transparency_entries", inner, limit=MAX_LOG_ENTRIES)
    signature = {"sig": get_string(envelope, "signature", f"{where}.envelope")}
    tokens = find_array(material, "timestamps", inner, limit=MAX_TIMESTAMPS)
    stamps = [{"signedTimestamp": as_string(one, f"{inner}.timestamps")} for one in tokens]
    stamped = {"timestampVerificationData": {"rfc3161Timestamps": stamps}} if stamps else {}
    return {
        "mediaType": BUNDLE_MEDIA_TYPE,
        "verificationMaterial": {"certificate": certificate, "tlogEntries": entries, **stamped},
        "dsseEnvelope": {
            "payload": get_string(envelope, "statement", f"{where}.envelope"),
            "payloadType": IN_TOTO_PAYLOAD_TYPE,
            "signatures": [signature],
        },
    }
