"""Uncompressed POSIX tar with exactly one form for each content (IEEE Std 1003.1-2017, pax: ustar).

Only regular files: mode 0644, owner 0, time 0, names of at most 100 ASCII bytes. A writer makes these headers, and a
reader accepts no others, so links, devices, directories, sparse files and extensions cannot occur. The end is two
blocks of zeros and nothing after them.

Does NOT check names or contents: `gitchain.sources.archive_file` does.
"""

from __future__ import annotations

from gitchain.errors import LimitError, MalformedError

BLOCK = 512
END = bytes(2 * BLOCK)
MAX_NAME = 100
MAX_SIZE = 8**11 - 1
"""Largest member: the field for the size has 11 octal digits."""

_KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"5": "a directory",
    b"6": "a named pipe",
    b"S": "a sparse file",
    b"L": "a long name (GNU)",
    b"K": "a long link (GNU)",
    b"g": "an extended header (pax)",
    b"x": "an extended header (pax)",
}


def header(name: str, size: int) -> bytes:
    """Return the header of a member. Raises LimitError for a name or size that does not fit."""
    raw = name.encode("ascii")
    if not 0 < len(raw) <= MAX_NAME or not 0 <= size <= MAX_SIZE:
        raise LimitError(
            "a member does not fit into a tar header",
            where=ascii(name[:200]),
            expected=f"a name of at most {MAX_NAME} bytes, and at most {MAX_SIZE} bytes of content",
        )
    block = b"".join(
        (
            raw.ljust(MAX_NAME, b"\0"),
            b"0000644\0" + b"0000000\0" * 2,
            b"%011o\0" % size + b"00000000000\0",
            b" " * 8,  # counted as spaces in the checksum
            b"0" + bytes(100),
            b"ustar\0" + b"00" + bytes(64) + b"0000000\0" * 2,
        )
    ).ljust(BLOCK, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def padding(size: int) -> bytes:
    """Return the zeros after a content of this size."""
    return bytes(-size % BLOCK)


def span(size: int) -> int:
    """Return the bytes that a member takes, with its header and padding."""
    return BLOCK + size + -size % BLOCK


def first_member(block: bytes, name: str, limit: int) -> int:
    """Return the size of the first member, which must have this name. Raises MalformedError, LimitError beyond `limit`."""
    digits = block[124:135]
    if (
        len(block) < BLOCK
        or block[257:263] != b"ustar\0"
        or not digits.isdigit()
        or b"8" in digits
        or b"9" in digits
    ):
        raise MalformedError(
            "not an archive of gitchain",
            expected=f"a tar file that starts with {name}",
            help="name the file that `gitchain archive TARGET -o FILE` wrote",
        )
    size = int(digits, 8)
    check_header(block, name, size)
    if size > limit:
        raise LimitError(
            "a member is too large", where=name, expected=f"at most {limit} bytes", got=str(size)
        )
    return size


def check_header(block: bytes, name: str, size: int) -> None:
    """Raise MalformedError unless the block is the header of a member with this name and size."""
    if block == header(name, size):
        return
    if len(block) < BLOCK:
        raise truncated(name)
    got = block[:MAX_NAME].split(b"\0", 1)[0]
    if block[156:157] in _KINDS:
        raise MalformedError(
            "the archive has a member that is no regular file",
            where=ascii(got),
            expected=name,
            got=_KINDS[block[156:157]],
        )
    if got != name.encode("ascii"):
        raise MalformedError(
            "the archive has a member that its manifest does not list here", expected=name, got=ascii(got)
        )
    raise MalformedError(
        "the header of a member is not the one that its name and size have",
        where=name,
        expected=f"a regular file of {size} bytes, mode 0644, owner 0, time 0",
    )


def truncated(name: str) -> MalformedError:
    """Return the error for a file that ends within a member."""
    return MalformedError("the archive is truncated", where=name, help="copy it again from where it came")
