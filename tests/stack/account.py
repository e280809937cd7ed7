"""`gitchain` as in a pod: `python account.py FOLDER ARGUMENT…`, with FOLDER where Kubernetes mounts the account."""

from __future__ import annotations

import sys
from pathlib import Path

from gitchain.admit import cluster
from gitchain.cli.main import run

if __name__ == "__main__":
    cluster.ACCOUNT = Path(sys.argv[1])
    sys.exit(run(sys.argv[2:]))
