"""The main job on real input: from a data set to a verified model, then attacks on copies of it.

Runs the installed command line on a real Git + DVC project in a fresh temporary directory, with no network. Prints one
table and exits non-zero unless the honest chain verifies and every attack is refused with the right exit code and a
message that names what was attacked. It leaves the report and the archive of the model in build/demo of the checkout,
where the next run replaces them. `python examples/demo.py --keep` leaves the directory behind to look around in.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

SOURCE = Path(__file__).parent / "breast_cancer"
MODEL = "models/model.json"
OUTPUT = Path(__file__).parents[1] / "build" / "demo"
PAGE, ARCHIVE = OUTPUT / "report.html", OUTPUT / "model.tar"
SVR = "https://in-toto.io/attestation/svr/v0.2"
DATASET = "https://gitchain.dev/predicate/dataset/v0.1"
DEPLOYMENT = "https://gitchain.dev/predicate/deployment/v0.1"


class DemoError(Exception):
    """A command of the honest chain failed."""


@dataclass
class Shell:
    """Runs commands in one directory with the demo's own user directory and Git identity."""

    cwd: Path
    home: Path

    def environment(self) -> dict[str, str]:
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("GIT_", "GITCHAIN_", "DVC_"))
        }
        return kept | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.home),
            "GITCHAIN_HOME": str(self.home / "gitchain"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": str(self.home / "dvc"),
            "NO_COLOR": "1",
        }

    def run(self, *command: str) -> tuple[int, str]:
        done = subprocess.run(
            command,
            cwd=self.cwd,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def must(self, *command: str) -> str:
        code, text = self.run(*command)
        if code != 0:
            raise DemoError(f"$ {' '.join(command)}\nexit {code}\n{text}")
        return text

    def gitchain(self, *arguments: str) -> str:
        return self.must("gitchain", *arguments)

    def write(self, name: str, text: str) -> None:
        path = self.cwd / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def copy(self, name: str) -> Shell:
        target = self.cwd.parent / name
        shutil.copytree(self.cwd, target, symlinks=True)
        return Shell(target, self.home)


@dataclass
class Report:
    """The table and its verdict."""

    rows: list[tuple[str, str, str, str]] = field(default_factory=list)
    failed: bool = False

    def add(self, what: str, expected: str, got: str, detail: str, *, ok: bool) -> None:
        self.failed |= not ok
        self.rows.append(
            ("ok" if ok else "BAD", what, f"{got} (expected {expected})" if not ok else got, detail)
        )
        say(f"  {'ok ' if ok else 'BAD'} {what}")

    def text(self) -> str:
        widths = [max((len(row[column]) for row in self.rows), default=0) for column in range(3)]
        return "\n".join(
            "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]])
            for row in self.rows
        )


def say(text: str) -> None:
    print(text, flush=True)


def build(shell: Shell) -> Shell:
    """Take the project from raw data to an evaluated model; return a copy from just before the approval."""
    shutil.copytree(SOURCE, shell.cwd, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    shell.must("git", "init", "-q", "-b", "main")
    shell.must("git", "config", "user.name", "Ada")
    shell.must("git", "config", "user.email", "ada@example.com")
    shell.must("dvc", "init", "-q")
    shell.must("python", "src/export.py", "data/raw.csv")
    shell.must("dvc", "add", "-q", "data/raw.csv")
    shell.must("git", "add", "-A")
    shell.must("git", "commit", "-q", "-m", "project and raw data")

    shell.gitchain("init", "--local", "--name", "breast-cancer", "--as", "owner@example.com")
    issuer = json.loads(shell.gitchain("local", "status", "--json"))["issuer"]
    shell.write(
        ".gitchain/layout.yaml",
        (SOURCE / "layout.yaml").read_text(encoding="utf-8").replace("ISSUER", issuer),
    )
    shell.gitchain("layout", "sign", "--as", "owner@example.com")

    shell.gitchain("attest", "data/raw.csv.dvc", "--as", "data@example.com")
    facts = {
        "source": "https://archive.ics.uci.edu/dataset/17",
        "licence": "CC-BY-4.0",
        "consent": "not-required",
        "personalData": "anonymised",
    }
    shell.write("facts.json", json.dumps(facts))
    state_facts(shell)
    shell.gitchain("run", "--as", "train-ci@example.com", "--", "dvc", "repro", "train")
    shell.gitchain("run", "--as", "eval-ci@example.com", "--", "dvc", "repro")
    shell.must("git", "add", "-A")
    shell.must("git", "commit", "-q", "-m", "first model")
    return shell.copy("unapproved")


def state_facts(shell: Shell) -> None:
    facts = ("--type", DATASET, "--predicate", "facts.json", "--material", "data/raw.csv")
    shell.gitchain("attest", "data-facts", *facts, "--as", "data@example.com")


def approve(shell: Shell, identity: str = "risk@example.com") -> None:
    verdict = {
        "verifier": {"id": "https://example.com/model-risk/board", "policies": []},
        "timeCreated": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "properties": ["MODEL_APPROVED"],
    }
    shell.write("verdict.json", json.dumps(verdict))
    shell.gitchain(
        "attest",
        "approve",
        "--type",
        SVR,
        "--predicate",
        "verdict.json",
        "--material",
        MODEL,
        "--material",
        "metrics.json",
        "--as",
        identity,
    )


def release(shell: Shell, tag: str) -> None:
    shell.must("git", "tag", "-a", tag, "-m", tag)
    shell.gitchain("sync")


def deploy(shell: Shell) -> None:
    facts = {
        "model": MODEL,
        "environment": "production",
        "cluster": "eu-1",
        "namespace": "scoring",
        "workload": "deployment/scorer",
        "deployedBy": "ada@example.com",
        "deployedOn": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    shell.write("deploy.json", json.dumps(facts))
    shell.gitchain(
        "attest",
        "deploy",
        "--type",
        DEPLOYMENT,
        "--predicate",
        "deploy.json",
        "--material",
        MODEL,
        "--as",
        "ada@example.com",
    )


def flip_bit(path: Path, position: int = -20) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.chmod(0o644)
    path.write_bytes(bytes(data))


def remake(shell: Shell, params: tuple[str, str] | None = None) -> None:
    """Train, evaluate, approve and release once more, honestly, in this copy."""
    if params:
        path = shell.cwd / "params.yaml"
        path.write_text(path.read_text(encoding="utf-8").replace(*params), encoding="utf-8")


def weights_changed(shell: Shell, _: Shell) -> str:
    flip_bit(shell.cwd / MODEL)
    return MODEL


def data_swapped(_: Shell, unapproved: Shell) -> str:
    """An insider swaps the prepared data and lets the trusted training job run on it."""
    path = unapproved.cwd / "data/prepared/train.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    path.chmod(0o644)
    path.write_text("\n".join([lines[0], *lines[1:200]]) + "\n", encoding="utf-8")
    train_again(unapproved)
    return MODEL


def train_again(shell: Shell) -> None:
    shell.gitchain(
        "run",
        "train",
        "--as",
        "train-ci@example.com",
        "--",
        "python",
        "src/train.py",
        "data/prepared/train.csv",
        MODEL,
    )
    shell.gitchain(
        "run",
        "evaluate",
        "--as",
        "eval-ci@example.com",
        "--",
        "python",
        "src/evaluate.py",
        MODEL,
        "data/prepared/test.csv",
        "metrics.json",
    )
    approve(shell)


def metrics_edited(_: Shell, unapproved: Shell) -> str:
    path = unapproved.cwd / "metrics.json"
    path.write_text(path.read_text(encoding="utf-8").replace("0.9", "0.99", 1), encoding="utf-8")
    approve(unapproved)
    return MODEL


def trained_outside(shell: Shell, _: Shell) -> str:
    remake(shell, ("C: 0.5", "C: 50"))
    shell.must("python", "src/train.py", "data/prepared/train.csv", MODEL)
    return MODEL


def stranger_signs(_: Shell, unapproved: Shell) -> str:
    approve(unapproved, identity="mallory@example.net")
    return MODEL


def step_deleted(shell: Shell, _: Shell) -> str:
    """Rewrite the attestation ref without the evaluation."""
    rewrite_store(shell, lambda step, data: None if step == "evaluate" else data)
    return MODEL


def evidence_altered(shell: Shell, _: Shell) -> str:
    """Change one byte of the stored training evidence."""

    def change(step: str, data: bytes) -> bytes:
        return data.replace(b'"sig":"M', b'"sig":"N') if step == "train" else data

    rewrite_store(shell, change)
    return MODEL


def rewrite_store(shell: Shell, change: Callable[[str, bytes], bytes | None]) -> None:
    """Rebuild refs/gitchain/attestations with plain Git, each attestation passed through `change(step, bytes)`."""
    import base64
    import hashlib

    ref = "refs/gitchain/attestations"
    listing = shell.must("git", "ls-tree", "-r", ref).splitlines()
    index = shell.environment() | {"GIT_INDEX_FILE": str(shell.cwd / ".git/rewrite-index")}

    def git(*arguments: str, data: bytes | None = None) -> str:
        return (
            subprocess.run(
                ["git", *arguments], cwd=shell.cwd, env=index, input=data, capture_output=True, check=True
            )
            .stdout.decode()
            .strip()
        )

    for line in listing:
        (mode, _, oid), path = line.split("\t")[0].split(), line.split("\t")[1]
        data = subprocess.run(
            ["git", "cat-file", "blob", oid], cwd=shell.cwd, env=index, capture_output=True, check=True
        ).stdout
        if path.startswith(("att/", "by-subject/")):
            statement = json.loads(base64.b64decode(json.loads(data)["dsseEnvelope"]["payload"]))
            changed = change(step_of(statement), data)
            if changed is None:
                continue
            name = hashlib.sha256(changed).hexdigest()
            path = (
                f"att/{name[:2]}/{name[2:4]}/{name[4:]}"
                if path.startswith("att/")
                else f"{path.rsplit('/', 1)[0]}/{name}"
            )
            oid = git("hash-object", "-w", "--stdin", data=changed)
        git("update-index", "--add", "--cacheinfo", f"{mode},{oid},{path}")
    commit = git("commit-tree", git("write-tree"), "-m", "attestations")
    git("update-ref", ref, commit)


def step_of(statement: dict[str, object]) -> str:
    predicate = statement["predicate"]
    assert isinstance(predicate, dict)
    if "buildDefinition" in predicate:
        return str(predicate["buildDefinition"]["externalParameters"].get("step", ""))
    return str(predicate.get("gitchain_step", {}).get("name", ""))


def evaluation_replayed(_: Shell, unapproved: Shell) -> str:
    """A worse model is approved and released under the good model's metrics."""
    remake(unapproved, ("C: 0.5", "C: 0.00001"))
    good = (unapproved.cwd / "metrics.json").read_bytes()
    unapproved.gitchain("run", "--as", "train-ci@example.com", "--", "dvc", "repro", "train")
    (unapproved.cwd / "metrics.json").write_bytes(good)
    approve(unapproved)
    return MODEL


def layout_rolled_back(shell: Shell, _: Shell) -> str:
    """Version 2 of the layout was accepted on this machine; the attacker brings back version 1."""
    old = (shell.cwd / ".gitchain/layout.sigstore.json").read_bytes()
    text = (shell.cwd / ".gitchain/layout.yaml").read_text(encoding="utf-8")
    shell.write(".gitchain/layout.yaml", text.replace("version: 1", "version: 2"))
    shell.gitchain("layout", "sign", "--as", "owner@example.com")
    shell.gitchain("verify", MODEL)
    (shell.cwd / ".gitchain/layout.sigstore.json").write_bytes(old)
    return MODEL


def layout_of_a_stranger(shell: Shell, _: Shell) -> str:
    text = (shell.cwd / ".gitchain/layout.yaml").read_text(encoding="utf-8")
    shell.write(
        ".gitchain/layout.yaml", text.replace("version: 1", "version: 9").replace("risk@", "mallory@")
    )
    shell.run("gitchain", "layout", "sign", "--as", "mallory@example.net")
    return MODEL


def licence_refused(shell: Shell, _: Shell) -> str:
    """The data steward states other facts about the data: one statement that a constraint refuses is enough."""
    facts = json.loads((shell.cwd / "facts.json").read_text(encoding="utf-8")) | {"licence": "proprietary"}
    shell.write("facts.json", json.dumps(facts))
    state_facts(shell)
    return MODEL


def data_revoked(shell: Shell, _: Shell) -> str:
    """The data turn out to be poisoned: every model that was made of them fails, and the log names it."""
    revoke = ("revoke", "artifact", "data/raw.csv", "--reason", "compromised", "--as", "data@example.com")
    shell.gitchain(*revoke)
    told = [line for line in shell.gitchain("log", "data/raw.csv").splitlines() if "was made of it" in line]
    if not any(MODEL in line for line in told):
        raise DemoError(f"gitchain log does not name {MODEL} as made of revoked data")
    return MODEL


def history_rewound(shell: Shell, _: Shell) -> str:
    """The same deletion where the store was seen before: what is missing is noticed, whatever it said."""
    shell.gitchain("verify", MODEL)
    return step_deleted(shell, shell)


def lock_edited(shell: Shell, _: Shell) -> str:
    """Not a verification: attesting a stage whose dvc.lock was edited by hand is refused."""
    path = shell.cwd / "dvc.lock"
    lines = path.read_text(encoding="utf-8").splitlines()
    at = next(number for number, line in enumerate(lines) if "path: models/model.json" in line)
    lines[at + 2] = "      md5: d41d8cd98f00b204e9800998ecf8427e"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return "attest:train"


CHECKS = 8
"""What is checked beside the attacks: the model, its tag, its log, its report, its archive and that this verifies, and the
two of the layout language."""

Attack = Callable[[Shell, Shell], str]
ATTACKS: tuple[tuple[str, Attack, int, tuple[str, ...]], ...] = (
    ("weights changed by one bit", weights_changed, 1, ("train", MODEL)),
    ("training data swapped", data_swapped, 1, ("train", "data/prepared/train.csv")),
    ("metrics file edited", metrics_edited, 1, ("approve", "metrics.json")),
    ("model trained outside of gitchain", trained_outside, 1, ("train", MODEL)),
    ("a stranger's signature", stranger_signs, 1, ("approve", "mallory@example.net")),
    ("a step's attestation deleted", step_deleted, 1, ("evaluate",)),
    ("stored evidence altered", evidence_altered, 1, ("train", "does not verify")),
    ("evaluation replayed from another run", evaluation_replayed, 1, ("evaluate", MODEL)),
    ("data under a licence that is not allowed", licence_refused, 1, ("licence", "data/raw.csv")),
    ("data set revoked", data_revoked, 1, ("revoked", "data/raw.csv")),
    ("history rewound", history_rewound, 4, ("missing",)),
    ("lock file edited by hand", lock_edited, 1, ("train", MODEL)),
    ("layout signed by a stranger", layout_of_a_stranger, 5, ("mallory@example.net",)),
    ("layout rolled back", layout_rolled_back, 5, ("version",)),
)


def attack(report: Report, released: Shell, unapproved: Shell, number: int) -> None:
    """Run one attack on fresh copies and judge the answer."""
    name, make, expected, words = ATTACKS[number]
    copies = released.copy(f"attack-{number}-released"), unapproved.copy(f"attack-{number}-unapproved")
    target = make(*copies)
    # an attack works in one of its two copies: the one that differs from where it came from
    shell = (
        copies[1]
        if make in {data_swapped, metrics_edited, stranger_signs, evaluation_replayed}
        else copies[0]
    )
    verb = ("attest", target.removeprefix("attest:")) if target.startswith("attest:") else ("verify", target)
    code, text = shell.run(
        "gitchain", *verb, *(("--as", "train-ci@example.com") if verb[0] == "attest" else ())
    )
    missing = [word for word in words if word not in text]
    detail = f"says nothing of {', '.join(missing)}: {text}" if missing else finding_about(text, words)
    report.add(name, str(expected), str(code), detail, ok=code == expected and not missing)
    for copy in copies:
        shutil.rmtree(copy.cwd)


def finding_about(text: str, words: tuple[str, ...]) -> str:
    """Return the headline of the finding that says most of what was attacked."""
    blocks: list[str] = []
    for line in text.splitlines():
        if line.startswith(("error", "warning")):
            blocks.append(line)
        elif blocks:
            blocks[-1] += "\n" + line
    best = max(blocks, key=lambda block: sum(word in block for word in words), default=text)
    return best.split("\n")[0][:110]


def hand_over(report: Report, shell: Shell) -> None:
    """Write report and archive of the model to OUTPUT, over those of the last run, and verify the archive."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    for path in (PAGE, ARCHIVE):
        path.unlink(missing_ok=True)
    for what, arguments in (
        ("report on the model", ("report", MODEL, "-o", str(PAGE))),
        ("archive of the model", ("archive", MODEL, "-o", str(ARCHIVE))),
        ("verify the archive", ("archive", "verify", str(ARCHIVE), MODEL)),
    ):
        code, text = shell.run("gitchain", *arguments)
        line = next(iter(text.splitlines()), "")
        report.add(what, "0", str(code), line if code == 0 else text, ok=code == 0)


def layouts(report: Report, shell: Shell) -> None:
    """Lint the example of the layout language, and try it on its good and bad chains."""
    example = str(SOURCE.parent / "layouts" / "credit-model")
    for arguments in (("lint", f"{example}/layout.yaml"), ("test", example)):
        code, text = shell.run("gitchain", "layout", *arguments)
        report.add(f"layout {arguments[0]}", "0", str(code), summary(text), ok=code == 0)


def summary(text: str) -> str:
    """Return the line that says how many there were."""
    return next((line for line in text.splitlines() if line.startswith("credit-model")), text)


def main(keep: bool) -> int:
    """Build, verify, attack; return 0 only if everything came out as it must."""
    started = time.monotonic()
    directory = Path(tempfile.mkdtemp(prefix="gitchain-demo-"))
    home = directory / "home"
    home.mkdir()
    shell = Shell(directory / "project", home)
    shell.cwd.mkdir()
    report = Report()
    try:
        say("building: data, preparation, training, evaluation (real Git, DVC and scikit-learn)")
        unapproved = build(shell)
        approve(shell)
        release(shell, "v1.0")
        for target in (MODEL, "v1.0"):
            code, text = shell.run("gitchain", "verify", target)
            say(text.rstrip())
            report.add(
                f"honest chain: verify {target}",
                "0",
                str(code),
                "PASSED" if code == 0 else text,
                ok=code == 0 and "PASSED" in text,
            )
        deploy(shell)
        history = shell.gitchain("log", MODEL)
        say(history.rstrip())
        report.add(
            "deployment log",
            "deploy",
            "deploy" if "deploy" in history else "-",
            "gitchain log",
            ok="deploy" in history,
        )
        hand_over(report, shell)  # before the attacks: one of them pins a newer layout
        for number in range(len(ATTACKS)):
            attack(report, shell, unapproved, number)
        layouts(report, shell)
    except DemoError as error:
        say(str(error))
        report.failed = True
    finally:
        if keep:
            say(f"kept in {directory}")
        else:
            shutil.rmtree(directory, ignore_errors=True)
    say("\n" + report.text())
    refused = sum(row[0] == "ok" for row in report.rows)
    say(
        f"\n{refused} of {len(ATTACKS) + CHECKS} as they must be, in {time.monotonic() - started:.0f} s, with no network"
    )
    for what, path in (("report on", PAGE), ("archive of", ARCHIVE)):
        if path.is_file():
            say(f"the {what} the model: {path}")
    return 1 if report.failed or refused != len(ATTACKS) + CHECKS else 0


if __name__ == "__main__":
    sys.exit(main(keep="--keep" in sys.argv[1:]))
