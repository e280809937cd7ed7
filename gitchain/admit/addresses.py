"""Tell numbers from addresses in numbers, and paths from lists that begin with one."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"[+-]?[0-9][0-9.:_%-]*(?:e[+-]?[0-9]+)?[A-Za-z]{0,2}|:[0-9]{1,5}")
_ADDRESS = re.compile(r"[+-]?[0-9]+\.[0-9]+(?:\.[0-9]+\.[0-9]|(?:\.[0-9]+)?:)")
"""How an address of four numbers begins, and a shorter one with a port: 10.1:8000."""

_OWN_ADDRESS = re.compile(r"(?:0\.0\.0\.0|127(?:\.[0-9]{1,3}){3})(?::[0-9]+)?")
_HOST = re.compile(r"[0-9]{1,20}(?:\.[0-9]{1,20}){0,3}\.?", re.ASCII)
_HEXADECIMAL = re.compile(r"(?:[0-9a-fx]+\.){0,3}0x[0-9a-f]+[.:/].*", re.ASCII | re.IGNORECASE)
_OCTETS = {1: 32, 2: 24, 3: 16, 4: 8}
"""Bits of the last number of an address, by how many numbers it has."""

_PATH = re.compile(r"(?:\.{1,2}|~)?/[\w./@+:~%-]*|\.{1,2}", re.ASCII)
_OTHER_ROOTS = re.compile(r"//|/+dev/+(?:tcp|udp)(?:/|$)|/+proc/")
"""Paths that lead out of the container: to a server, or to the files of another process."""

_BEHIND = re.compile(r"(?:(?:\.{1,2}|~)?/.*|\.{1,2}|[0-9]{0,5})", re.ASCII)

_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}\Z")


def is_number(token: str) -> bool:
    """Return True for a number, a port, and an address of the pod itself. Another address can be that of a model."""
    if _NUMBER.fullmatch(token) is None:
        return False
    return _OWN_ADDRESS.fullmatch(token) is not None or (
        _ADDRESS.match(token) is None and not _is_host(token)
    )


def is_disguised_address(token: str) -> bool:
    """Return True for an address that is written to look like something else: 167772161:8000, 0x0a000001:80."""
    host, mark, _ = _split(token)
    is_single = bool(mark) and "." not in host and _NUMBER.fullmatch(token) is not None
    return (is_single and _is_host(token)) or _HEXADECIMAL.fullmatch(token) is not None


def is_path(token: str) -> bool:
    """Return True for a path, and for paths and ports with colons between: /x:owner/name names something else."""
    return _PATH.fullmatch(token) is not None and only_paths(token) and _OTHER_ROOTS.match(token) is None


def only_paths(path: str) -> bool:
    """Return True if after each colon of a path another path or a port follows; a digest may end it."""
    return all(_BEHIND.fullmatch(part) for part in _DIGEST.sub("", path).split(":")[1:])


def _is_host(token: str) -> bool:
    """Return True if `inet_aton` takes the text before a port for an address outside of 0.0.0.0/8.

    A number that begins with 0 is octal for some tools, decimal for others.
    """
    host = _split(token)[0]
    if _HOST.fullmatch(host) is None:
        return False
    numbers = host.removesuffix(".").split(".")
    return any(_is_routed([int(one, base(one)) for one in numbers]) for base in (_decimal, _octal))


def _is_routed(numbers: list[int]) -> bool:
    *first, last = numbers
    bits = _OCTETS[len(numbers)]
    if last >= 1 << bits or any(number > 255 for number in first):
        return False
    return (first[0] if first else last >> 24) > 0


def _decimal(_: str) -> int:
    return 10


def _octal(number: str) -> int:
    return 8 if number.startswith("0") and set(number) <= set("01234567") else 10


def _split(token: str) -> tuple[str, str, str]:
    """Return the host of an address, the separator after it, and the rest."""
    found = re.search(r"[:/]", token)
    return (token[: found.start()], found[0], token[found.end() :]) if found else (token, "", "")
