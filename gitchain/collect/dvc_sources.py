"""Return the materials of a DVC stage outside the repository, as resource descriptors with a URI.

| in DVC's file | URI | what fixes the content |
|---|---|---|
| `dvc import`, a `ds://` dataset of type dvc | `git+https://host/path`, `git:local` without an address | the commit |
| `import-url`, a file outside, a dataset of type url | the URL, `file:///path` | etag and version, as annotations |
| a dataset of type dc (DataChain) | its URL | the version, as an annotation |
| `dvc import-db` | `db:CONNECTION` | nothing; the query is an annotation |

Does NOT fetch anything and does not read credentials: user information in a URL is left out.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from urllib.parse import quote

from gitchain.collect.dvc_records import DatabaseSource, DatasetLock, DirEntry, ImportSource, LockEntry
from gitchain.collect.remotes import public_url
from gitchain.errors import GitchainError, ProjectError
from gitchain.evidence.canonical import Json, canonical_json
from gitchain.evidence.digest import DigestSet, sha256_hex
from gitchain.evidence.names import check_uri
from gitchain.evidence.provenance import LOCAL_REPOSITORY
from gitchain.evidence.statement import ResourceDescriptor


def outside_sources(
    source: ImportSource | DatabaseSource | None, entries: Iterable[LockEntry]
) -> tuple[ResourceDescriptor, ...]:
    """Return a descriptor for each source outside the repository: a .dvc file's own, and a stage's deps.

    Two sources with one URI (two paths of one repository) get the path as the URI's fragment. Raises ProjectError for
    an address that is no URI.
    """
    found: dict[str, ResourceDescriptor] = {}
    described = [_describe(entry) for entry in entries]
    for one in ([_import(source)] if source else []) + described:
        uri = one.uri or ""
        if uri in found and found[uri] != one:
            uri = _checked(f"{uri}#{quote(str(one.annotations.get('path', len(found))), safe='/')}")
        found[uri] = ResourceDescriptor(None, one.digest, uri=uri, annotations=one.annotations)
    return tuple(found.values())


def repository_uri(url: str) -> str:
    """Return the URI of another Git repository: `git+https://host/path`, `git:local` for a path on this machine."""
    address = public_url(url)
    return _checked(f"git+{address}") if address else LOCAL_REPOSITORY


def file_uri(path: str) -> str:
    """Return the URI of a file outside the repository or on a remote, without credentials.

    Raises ProjectError for an invalid one.
    """
    if "://" not in path:
        return f"file://{quote(posixpath.normpath(path))}"
    return _checked(public_url(path) or quote(path, safe=":/?#[]@!$&'()*+,;=%~"))


def database_uri(connection: str) -> str:
    """Return the URI of a database by the name of its connection in .dvc/config."""
    return _checked(f"db:{quote(connection) or 'unnamed'}")


def dataset_uri(kind: str, url: str) -> str:
    """Return the URI of a dataset in dvc.yaml, from its type (dvc, dc, url) and url."""
    return repository_uri(url) if kind == "dvc" else file_uri(url)


def _import(source: ImportSource | DatabaseSource) -> ResourceDescriptor:
    if isinstance(source, DatabaseSource):
        notes = {"query": source.query, "table": source.table}
        return _descriptor(database_uri(source.connection), notes)
    return _repository(source.url, source.path, source.rev, source.rev_lock)


def _describe(entry: LockEntry) -> ResourceDescriptor:
    if entry.dataset is not None:
        return _dataset(entry.dataset)
    facts: dict[str, Json] = {
        "etag": entry.checksum,
        "versionId": entry.cloud.version_id if entry.cloud else None,
        "dvc.md5": entry.md5,
        "filesSha256": _files_digest(entry.files),
    }
    return _descriptor(file_uri(entry.path), facts)


def _dataset(lock: DatasetLock) -> ResourceDescriptor:
    if lock.kind == "dvc":
        return _repository(lock.url, lock.path, lock.rev, lock.rev_lock, dataset=lock.name)
    facts: dict[str, Json] = {
        "dataset": lock.name,
        "version": lock.version,
        "createdAt": lock.created_at,
        "etag": lock.etag,
        "versionId": lock.version_id,
        "filesSha256": _files_digest(lock.files),
    }
    return _descriptor(dataset_uri(lock.kind, lock.url), facts)


def _files_digest(files: Iterable[DirEntry]) -> str | None:
    """Return a SHA-256 over path, md5, etag and version of each file of a directory, or None without files."""
    facts: list[Json] = [
        [
            file.path,
            file.md5,
            file.cloud.etag if file.cloud else None,
            file.cloud.version_id if file.cloud else None,
        ]
        for file in sorted(files, key=lambda file: file.path)
    ]
    return sha256_hex(canonical_json(facts)) if facts else None


def _repository(
    url: str, path: str | None, rev: str | None, rev_lock: str | None, dataset: str | None = None
) -> ResourceDescriptor:
    notes = {"path": path or None, "dataset": dataset, "rev": None if rev_lock else rev}
    return _descriptor(repository_uri(url), notes, DigestSet({"gitCommit": rev_lock} if rev_lock else {}))


def _descriptor(uri: str, notes: Mapping[str, Json], digest: DigestSet | None = None) -> ResourceDescriptor:
    facts = {key: value for key, value in notes.items() if value is not None}
    return ResourceDescriptor(None, digest or DigestSet(), uri=uri, annotations=facts)


def _checked(uri: str) -> str:
    try:
        return check_uri(uri)
    except GitchainError as error:
        raise ProjectError(error.what, where="DVC file", got=ascii(uri[:200])) from error
