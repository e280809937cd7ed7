"""Entry point: `gitchain` and `python -m gitchain`. Answers `--version` before anything else is imported."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit with its code."""
    if sys.argv[1:] == ["--version"]:
        from gitchain import __version__

        sys.stdout.write(f"gitchain {__version__}\n")
        sys.stdout.flush()
        raise SystemExit(0)
    from gitchain.cli.main import run

    raise SystemExit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
