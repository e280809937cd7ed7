"""Entry point: `gitchain` and `python -m gitchain`."""

from __future__ import annotations

from gitchain.cli.main import main

if __name__ == "__main__":
    main()
