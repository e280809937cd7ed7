"""What a verb does not need, it does not import: imports are most of the time that a command takes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

HEAVY = {"sigstore", "dvc", "in_toto", "pygit2", "yaml", "cryptography"}
PROBE = """
import json, sys
from gitchain.cli.main import run
code = int(run(sys.argv[2:]))
print(json.dumps([code, sorted(sys.modules)]), file=open(sys.argv[1], "w"))
"""
UNUSED = {
    "sigstore",
    "dvc",
    "yaml",
    "in_toto",
    "securesystemslib",
    "pkcs11",
    "attr",
    "pathspec",
    "pydantic",
    "tuf",
    "logging",
}
"""Libraries that verifying a chain of one step, whose layout has no MATCH rule, does not load."""
VERIFY = 90
"""Most modules of gitchain that verifying a chain of one step may load. The number only shrinks."""
OPTIONAL = {
    "inspections": {"collect.inspect", "consume.inspections"},
    "signed commits": {
        "consume.git_evidence",
        "verify.gitsigned",
        "verify.cms",
        "verify.sshsig",
        "verify.openpgp",
    },
    "keys in a layout, archived trust": {
        "layout.keys",
        "layout.openpgp",
        "evidence.openpgp",
        "trust.archive",
    },
    "revocations": {"verify.revocations", "evidence.revocation"},
    "links into caches, revisions": {"collect.links", "collect.git_objects"},
    "constraints": {
        "verify.cross_step_constraints",
        "layout.constraint",
        "layout.cel_cost",
        "layout.cel_tree",
    },
    "data sets": {"verify.datasets"},
    "other layouts, other verifiers": {"verify.sublayout_candidates", "verify.vsa_check"},
    "checkpoints": {
        "verify.checkpoints",
        "verify.freshness",
        "consume.store_checkpoints",
        "evidence.store_checkpoint",
    },
    "witnesses": {"verify.witnesses", "evidence.cosignature"},
    "--explain, failures": {
        "verify.trace",
        "verify.explain",
        "verify.manifest_diff",
        "verify.other_statements",
    },
    "making evidence": {
        "produce.sign_and_store",
        "layout.draft",
        "layout.lint",
    },
    "the embedded instance": {"instance"},
    "manifests of directories, subjects of other tools": {"evidence.manifest", "evidence.subjects"},
    "the git binary's store, writing to a store": {"store.backend", "store.git_binary", "store.loose"},
    "comparing": {"cli.diff", "consume.diff", "consume.diff_sides", "consume.diff_values"},
    "DVC": {"collect.dvc_cache", "collect.dvc_files", "collect.dvc_api", "collect.strict_yaml"},
    "TUF": {"trust.tuf"},
    "admission": {"admit"},
    "signing": {"sign"},
}


def modules(repo: Path, report: Path, *args: str) -> set[str]:
    """Run a verb in a new process and return the names of what it imported."""
    command = [sys.executable, "-c", PROBE, str(report), "-C", str(repo), *args]
    subprocess.run(command, check=True, capture_output=True)
    code, names = json.loads(report.read_text(encoding="utf-8"))
    assert code in {0, 3}  # 3: nothing attested yet
    return set(names)


def own(names: set[str]) -> set[str]:
    return {name for name in names if name.startswith("gitchain")}


@pytest.mark.parametrize(
    "args", [("--version",), ("hooks", "status"), ("trust", "status"), ("completion", "bash")], ids=" ".join
)
def test_verb_imports_what_it_needs_alone(git_repo: Path, tmp_path: Path, args: tuple[str, ...]) -> None:
    """A verb that neither signs nor verifies loads neither sigstore nor the other large libraries."""
    assert modules(git_repo, tmp_path / "report.json", *args).isdisjoint(HEAVY)


def test_status_of_pinned_trust_needs_no_sigstore(git_repo: Path, tmp_path: Path) -> None:
    """A trusted root with the digest that was pinned is not built again to say that it is the same."""
    report = tmp_path / "report.json"
    modules(git_repo, report, "init", "--local")
    assert "sigstore" not in modules(git_repo, report, "trust", "status")
    assert modules(git_repo, report, "log").isdisjoint(
        {"sigstore", "in_toto"}
    )  # reading verifies, and signs not


def test_verify_of_one_step_loads_what_it_needs_alone(git_repo: Path, tmp_path: Path) -> None:
    """A chain of one step, without any optional part of a layout, loads none of the parts, and few modules in all."""
    report = tmp_path / "report.json"
    (git_repo / "data.csv").write_text("1,2\n")
    for args in (
        ("init", "--local"),
        (
            "run",
            "train",
            "-m",
            "data.csv",
            "-p",
            "model.pkl",
            "--",
            shutil.which("cp") or "cp",
            "data.csv",
            "model.pkl",
        ),
        ("layout", "draft", "--write"),
        ("layout", "sign"),
    ):
        modules(git_repo, report, *args)
    everything = modules(git_repo, report, "verify", "model.pkl")
    assert everything.isdisjoint(UNUSED)
    loaded = own(everything)
    for part, names in OPTIONAL.items():
        assert all(find_spec(f"gitchain.{name}") for name in names), part
        assert not {f"gitchain.{name}" for name in names} & loaded, part
    assert len(loaded) <= VERIFY, sorted(loaded)
    explained = own(modules(git_repo, report, "verify", "--explain", "model.pkl"))
    assert explained - loaded >= {
        "gitchain.verify.trace"
    }  # what the list names is what the modules are called
