"""Texts for volumes whose content is not visible at admission, as the operator ignores them.

persistentVolumeClaim:CLAIM
hostPath:PATH
nfs:SERVER/PATH
csi:DRIVER?volumeAttributes.NAME=VALUE&...

All that chooses the content is in the text: a driver alone does not tell which of its volumes is mounted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import quote

from gitchain.evidence.canonical import Json, canonical_json

_NAMES = ("claimName", "path", "driver", "volumeID", "server")
_HOW = frozenset({"readOnly", "fsType"})
"""Fields for how a volume is mounted, not for which one."""


def volume_text(kind: str, source: Json) -> str:
    """Return `KIND:NAME`, and behind `?` every other field that chooses the content."""
    fields = dict(source) if isinstance(source, Mapping) else {}
    name = _name(fields)
    left_out = _HOW | {"type"} if kind == "hostPath" else _HOW
    rest = sorted(_leaves({key: value for key, value in fields.items() if key not in left_out}))
    more = "&".join(f"{_quoted(key)}={_quoted(value)}" for key, value in rest)
    return f"{kind}:{name}{'?' if more else ''}{more}"


def _name(fields: dict[str, Json]) -> str:
    """Take the name of a source: the claim, the path behind its server, or the driver."""
    server, path = fields.get("server"), fields.get("path")
    if isinstance(server, str) and isinstance(path, str):
        del fields["server"], fields["path"]
        return server + path
    for key in _NAMES:
        if isinstance(found := fields.get(key), str):
            del fields[key]
            return found
    return ""


def _leaves(fields: Mapping[str, Json], before: str = "") -> Iterator[tuple[str, str]]:
    """Yield the path and the text of each value. The parser bounds the depth."""
    for key, value in fields.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{before}{key}.")
        elif isinstance(value, str):
            yield before + key, value
        elif value is not None:
            yield before + key, canonical_json(value).decode()


def _quoted(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"), safe="/:,@")


_ROOT_CA = "kube-root-ca.crt"
"""The ConfigMap that the API server mounts into every pod. The cluster's controller puts back only this key of it."""


def is_root_ca(kind: str, source: Mapping[str, Json]) -> bool:
    """Return True if a volume shows just the certificate of `_ROOT_CA`, as the API server mounts it."""
    items = source.get("items")
    return (
        kind == "configMap"
        and source.get("name") == _ROOT_CA
        and items == [{"key": "ca.crt", "path": "ca.crt"}]
    )
