"""Read a large file while the part before is hashed: for one that would leave processors without work."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence


def ahead(
    handle: int, updates: Sequence[Callable[[memoryview], None]], size: int
) -> Generator[int, None, None]:
    """Read a file to its end and update the digests; yield how many bytes each reading had, at most `size`.

    One thread reads ahead, and each digest but the first has a thread.
    """
    from concurrent.futures import ThreadPoolExecutor

    buffers = [memoryview(bytearray(size)), memoryview(bytearray(size))]
    with ThreadPoolExecutor(len(updates)) as executor:
        reading = executor.submit(os.readv, handle, [buffers[0]])
        while length := reading.result():
            data = buffers[0][:length]
            buffers.reverse()
            reading = executor.submit(os.readv, handle, [buffers[0]])
            others = [executor.submit(update, data) for update in updates[1:]]
            updates[0](data)
            for one in others:
                one.result()
            yield length
