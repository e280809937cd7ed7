"""What `gitchain verify` of a model of 2 GiB costs against `model_signing verify`, and what hashing it costs against limits.

    python bench/verify_model.py [--gib 2] [--rounds 5]

Fixture: a repository without DVC in which a command wrote a directory of four files; gitchain recorded the run under the
embedded instance. model_signing signed the same directory with a key, whose verification needs no certificate and no log.
Both verify warm files, as whole processes, interleaved. Time is wall time, as both use threads. The limits:

- L: what two threads (one on one core) reach that hash a buffer in memory with OpenSSL's SHA-256
- one core: one thread of these
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gitchain.collect.files import hash_path

SKIPPED = 3
FILES = 4
BUFFER = 1 << 20
CORES = min(os.cpu_count() or 1, 2)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--gib", type=float, default=2)
    options.add_argument("--rounds", type=int, default=5)
    given = options.parse_args()
    peer = Path(sys.executable).with_name("model_signing")
    if not peer.exists():
        print("NOT RUN: verify_model: model_signing is not installed", file=sys.stderr)
        sys.exit(SKIPPED)
    size = int(given.gib * (1 << 30)) // FILES
    with tempfile.TemporaryDirectory(prefix="gitchain-bench-") as directory:
        top = Path(directory)
        if shutil.disk_usage(top).free < 2 * size * FILES:
            print("NOT RUN: verify_model: too little space for temporary files", file=sys.stderr)
            sys.exit(SKIPPED)
        make_project(top, size)
        sign_with_peer(top, peer)
        report(top, peer, size, given.rounds)


def make_project(top: Path, size: int) -> None:
    """Make a repository whose layout a run of one step satisfies."""
    repository = top / "repository"
    repository.mkdir()
    os.environ |= {"GITCHAIN_HOME": str(top / "home"), "GIT_CONFIG_GLOBAL": str(top / "gitconfig")}
    (top / "gitconfig").write_text("[user]\n\tname = Ada\n\temail = ada@example.com\n")
    write = f"""
import os
os.mkdir("model")
for number in range({FILES}):
    with open(f"model/{{number}}.safetensors", "wb") as file:
        for _ in range({size // BUFFER}):
            file.write(os.urandom({BUFFER}))
"""
    (repository / "train.py").write_text(write)
    (repository / ".gitignore").write_text("model\n")
    run("git", "init", "-q", cwd=repository)
    run("git", "add", ".", cwd=repository)
    run("git", "commit", "-qm", "add the training script", cwd=repository)
    ours(repository, "init", "--local")
    ours(repository, "run", "train", "-m", "train.py", "-p", "model", "--", sys.executable, "train.py")
    ours(repository, "layout", "draft", "--write")
    ours(repository, "layout", "sign")


def sign_with_peer(top: Path, peer: Path) -> None:
    run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "key.pem", cwd=top)
    run("openssl", "ec", "-in", "key.pem", "-pubout", "-out", "key.pub", cwd=top)
    sign = ["sign", "key", "--private_key", "key.pem", "--signature", "model.sig"]
    run(str(peer), *sign, "repository/model", cwd=top)


def report(top: Path, peer: Path, size: int, rounds: int) -> None:
    verify = ["verify", "key", "--public_key", "key.pub", "--signature", "model.sig", "repository/model"]
    whole, one = size * FILES, "model/0.safetensors"
    repository = str(top / "repository")
    compare(
        f"verify {FILES} files of {whole >> 20} MiB / model_signing verify",
        lambda: ours(top / "repository", "verify", "model"),
        lambda: run(str(peer), *verify, cwd=top),
        0.6,
        rounds,
    )
    compare(
        f"SHA-256 of {FILES} files / L",
        lambda: hash_path(repository, "model", md5=False, threads=CORES),
        lambda: in_memory(CORES, whole),
        1.33,
        rounds,
    )
    compare(
        "SHA-256 of one file / one core",
        lambda: hash_path(repository, one, md5=False),
        lambda: in_memory(1, size),
        1.07,
        rounds,
    )


def in_memory(threads: int, size: int) -> None:
    """Hash as many bytes of a buffer that is in the processor's cache."""
    with ThreadPoolExecutor(threads) as executor:
        list(executor.map(_hash_buffer, [size // threads] * threads))


def _hash_buffer(size: int) -> None:
    digest, buffer = hashlib.sha256(), bytes(BUFFER)
    for _ in range(size // BUFFER):
        digest.update(buffer)


def compare(
    name: str, left: Callable[[], object], right: Callable[[], object], goal: float, rounds: int
) -> None:
    left()
    right()
    pairs = [(seconds(left), seconds(right)) for _ in range(rounds)]
    mine, other = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratio = statistics.median(one / two for one, two in pairs)
    line = {"name": name, "ours": mine, "peer": other, "unit": "s", "ratio": ratio, "goal": goal}
    print(json.dumps(line), flush=True)


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def ours(repository: Path, *command: str) -> None:
    run(sys.executable, "-m", "gitchain", *command, cwd=repository)


def run(*command: str, cwd: Path) -> None:
    done = subprocess.run(command, cwd=cwd, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}: {done.stdout}{done.stderr}")


if __name__ == "__main__":
    main()
