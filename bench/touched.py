"""Which files and functions of gitchain `run`, `verify` and `serve` go through, at one commit or at two.

    python bench/touched.py [COMMIT ...] [--names]

A scratch repository gets one step and a layout; `serve` decides about its model once, over TLS on loopback. Each verb
runs once in a process of its own, where every call of a function of gitchain is counted, in all threads. Programs that
the verb starts are not counted. Without a commit, the work tree is measured. `modules` are those that were imported,
`files` and `functions` those in which something ran, `lines` the length of these functions. `--names` lists the functions.

A commit is checked out beside the repository, and runs with the packages of this environment.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
TRACER = """
import atexit, json, os, sys, threading
root, report = sys.argv.pop(1), sys.argv.pop(1)
seen = {}
def call(frame, event, _):
    if event == "call" and frame.f_code.co_filename.startswith(root + "/gitchain/"):
        seen[frame.f_code] = seen.get(frame.f_code, 0) + 1
def write():
    sys.setprofile(None)
    found = [
        [code.co_filename[len(root):], code.co_qualname, len({n for *_, n in code.co_lines() if n}), calls]
        for code, calls in list(seen.items()) if code.co_name != "<module>"
    ]
    names = [name for name, module in sys.modules.items()
             if name.startswith("gitchain.") and getattr(module, "__file__", None)]
    with open(report, "w") as file:
        json.dump({"functions": found, "modules": len(names)}, file)
atexit.register(write)
from gitchain.cli.main import run
threading.setprofile(call)
sys.setprofile(call)
sys.exit(run(sys.argv[1:]))
"""
TIMEOUT = 120


def main() -> None:
    """Print one table for each commit."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("commits", nargs="*")
    options.add_argument("--names", action="store_true")
    given = options.parse_args()
    for commit in given.commits or [""]:
        with checkout(commit) as source, tempfile.TemporaryDirectory(prefix="gitchain-touched-") as top:
            print(f"{commit or 'work tree'}: modules, files, functions and their lines")
            for verb, found in Scratch(Path(top), source).reports():
                show(verb, found, names=given.names)


def show(verb: str, found: dict[str, list[list[str]] | int], *, names: bool) -> None:
    """Print what one verb went through."""
    functions = found["functions"]
    assert isinstance(functions, list)
    files = {file for file, *_ in functions}
    lines = sum(int(lines) for _, _, lines, _ in functions)
    print(f"  {verb:7} {found['modules']:>4} {len(files):>4} {len(functions):>5} {lines:>6}")
    if names:
        for file, function, *_ in sorted(functions):
            print(f"          {file.removeprefix('/gitchain/')}: {function}")


@contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """Yield a directory with the sources at a commit; the repository's own without one."""
    if not commit:
        yield ROOT
        return
    with tempfile.TemporaryDirectory(prefix="gitchain-touched-") as directory:
        place = Path(directory) / "source"
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "-q", "--detach", str(place), commit], check=True)
        try:
            yield place
        finally:
            subprocess.run([*git, "remove", "--force", str(place)], check=True)


class Scratch:
    """A repository with one attested step and a signed layout, and what each verb touched in it."""

    def __init__(self, top: Path, source: Path) -> None:
        self.top, self.source, self.repo = top, source, top / "repo"
        self.env = {
            name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "GITCHAIN_"))
        }
        self.env |= {
            "GITCHAIN_HOME": str(top / "home"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "PYTHONPATH": str(source),
        }

    def reports(self) -> Iterator[tuple[str, dict[str, list[list[str]] | int]]]:
        """Yield each verb with its report."""
        git = ("git", "-C", str(self.repo))
        subprocess.run(["git", "init", "-q", str(self.repo)], env=self.env, check=True)
        subprocess.run([*git, "config", "user.name", "Ada"], env=self.env, check=True)
        subprocess.run([*git, "config", "user.email", "ada@example.com"], env=self.env, check=True)
        (self.repo / "data.csv").write_text("1,2\n")
        self.call("init", "--local", "--no-hooks")
        words = ("run", "train", "-m", "data.csv", "-p", "model.pkl", "--", "cp", "data.csv", "model.pkl")
        yield "run", self.call(*words)
        self.call("layout", "draft", "--write")
        self.call("layout", "sign")
        yield "verify", self.call("verify", "model.pkl")
        yield "serve", self.serve()

    def command(self, *words: str) -> list[str]:
        """Return the command that runs a verb under the tracer."""
        report = str(self.top / "report.json")
        return [sys.executable, "-c", TRACER, str(self.source), report, *words]

    def call(self, *words: str) -> dict[str, list[list[str]] | int]:
        """Run a verb to its end, and return its report."""
        done = subprocess.run(
            self.command(*words), check=False, env=self.env, cwd=self.repo,
            capture_output=True, text=True, timeout=TIMEOUT,
        )  # fmt: skip
        if done.returncode != 0:
            sys.exit(f"gitchain {' '.join(words)} ended with {done.returncode}: {done.stderr}")
        return self.report()

    def report(self) -> dict[str, list[list[str]] | int]:
        """Return the report of the last process."""
        found: dict[str, list[list[str]] | int] = json.loads((self.top / "report.json").read_text())
        return found

    def serve(self) -> dict[str, list[list[str]] | int]:
        """Serve one review, which asks for the model, and return the report."""
        status = subprocess.run(
            [sys.executable, "-m", "gitchain", "trust", "status", "--json"],
            env=self.env, cwd=self.repo, check=True, capture_output=True, text=True,
        )  # fmt: skip
        signer = json.loads(status.stdout)["pins"][0]["signers"][0]
        issuer = signer.partition("(")[2].removesuffix(")")
        settings = self.top / "serve.yaml"
        settings.write_text(
            "schema: https://gitchain.dev/serve/v1\n"
            f"layouts:\n  model:\n    layout: {self.repo}/.gitchain/layout.sigstore.json\n"
            f"    repository: {self.repo}\n    trust: local\n"
            f"    signers:\n      - {{issuer: '{issuer}', subject: ada@example.com}}\n"
            "rules:\n  - {namespaces: ['*'], layout: model}\n"
        )
        key, certificate = self.top / "tls.key", self.top / "tls.crt"
        made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        made += ["-keyout", str(key), "-out", str(certificate), "-subj", "/CN=localhost", "-days", "2"]
        subprocess.run(made, check=True, capture_output=True)
        words = ("serve", "--settings", str(settings), "--certificate", str(certificate), "--key", str(key))
        child = subprocess.Popen(
            self.command(*words, "--listen", "127.0.0.1:0"),
            env=self.env, cwd=self.top, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert child.stdout is not None
        heard: list[str] = []
        try:
            for line in child.stdout:
                heard.append(line)
                if found := re.search(r"127\.0\.0\.1:(\d+)", line):
                    self.review(int(found[1]))
                    break
            else:
                sys.exit("gitchain serve ended: " + "".join(heard))
        finally:
            child.send_signal(signal.SIGINT)
            child.communicate(timeout=TIMEOUT)
        return self.report()

    def review(self, port: int) -> None:
        """Ask about a pod with the model, until the layout's evidence is read."""
        digest = subprocess.run(
            ["sha256sum", str(self.repo / "model.pkl")], check=True, capture_output=True, text=True
        ).stdout[:64]
        body = json.dumps({"layout": "model", "references": [f"sha256:{digest}"]})
        context = ssl.create_default_context(cafile=str(self.top / "tls.crt"))
        context.check_hostname = False
        for _ in range(100):
            server = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=10)
            server.request("POST", "/v1/decide", body, {"Content-Type": "application/json"})
            answer = server.getresponse()
            text = answer.read()
            server.close()
            if answer.status == 200 and json.loads(text)["verified"]:
                return
        sys.exit(f"gitchain serve answered {answer.status}: {text.decode()}")


if __name__ == "__main__":
    main()
