"""Record facts about a Python interpreter when it starts under `gitchain run`. Runs as `sitecustomize.py` on its PYTHONPATH.

It runs inside the command's own interpreters, of any version, before their programs: it must not fail, print, or leave
anything behind. It takes itself off the path and gives way to the `sitecustomize` that would have been imported without it.
"""

# mypy: ignore-errors
# ruff: noqa: ANN001, ANN202, SIM105 - older interpreters read this too

import sys


def _write_down(place):
    import os
    import zlib

    called = sys.executable
    if not called:
        return
    given = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path != place]
    try:
        namespace = os.readlink("/proc/self/ns/mnt")
    except OSError:
        namespace = ""
    facts = [
        namespace,
        os.environ.get("PYTHONNOUSERSITE", ""),
        os.path.realpath(called),
        os.path.normpath(called),
    ]
    data = "\0".join(facts + [os.path.join(os.getcwd(), path) for path in given[:16]])
    data = data if isinstance(data, bytes) else data.encode("utf-8", "surrogateescape")
    name = os.path.join(place, "%08x.seen" % (zlib.crc32(data) & 0xFFFFFFFF))
    if not os.path.exists(name):
        handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(handle, data)
        os.close(handle)


def _give_way():
    import os

    place = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [path for path in sys.path if path != place]
    try:
        _write_down(place)
    except Exception:  # noqa: BLE001, S110 - whatever it is, the command goes on
        pass
    own = sys.modules.pop("sitecustomize", None)
    try:
        import sitecustomize  # noqa: F401
    except ImportError:
        if own is not None:
            sys.modules["sitecustomize"] = own


if __name__ == "sitecustomize":
    _give_way()
