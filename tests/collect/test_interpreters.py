"""The interpreters that ran under a command are recorded with their packages, and gitchain's own is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gitchain.collect import interpreter_facts
from gitchain.collect.interpreter_facts import SeenInterpreter, describe_interpreters
from gitchain.collect.run import observe
from gitchain.evidence.canonical import canonical_json

MakeVenv = Callable[..., Path]


@pytest.fixture
def venv(tmp_path: Path) -> MakeVenv:
    """Return a function that makes a virtual environment with packages and returns its interpreter."""

    def make(name: str, *packages: str, options: tuple[str, ...] = ()) -> Path:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", *options, tmp_path / name], check=True)
        (site,) = (tmp_path / name / "lib").glob("python3*/site-packages")
        for package in packages:
            (site / f"{package}.dist-info").mkdir()
        return tmp_path / name / "bin" / "python"

    return make


def described(root: Path, *command: str | Path) -> list[dict[str, Any]]:
    seen = observe(root, [str(word) for word in command])
    assert seen.exit_code == 0
    assert seen.interpreters is not None
    found = describe_interpreters(seen.interpreters)
    text = canonical_json(found).decode()
    assert str(root) not in text  # no path of this machine
    return json.loads(text)  # type: ignore[no-any-return]


def packages(found: list[dict[str, Any]]) -> list[list[str]]:
    return [one["packages"]["list"] for one in found if one.get("virtual")]


def test_interpreter_of_a_virtual_environment_is_recorded(tmp_path: Path, venv: MakeVenv) -> None:
    """Its packages, by normalised names, and its version; nothing of the interpreter that runs gitchain."""
    python = venv("env", "kiwi_scales-4.5.6", "Deep.Thing-1.0+cu121", "not a package-x")
    (found,) = described(tmp_path, python, "-c", "pass")
    assert found["packages"]["list"] == ["deep-thing==1.0+cu121", "kiwi-scales==4.5.6"]
    assert found["implementation"] == "CPython"
    assert found["version"].startswith("{}.{}".format(*sys.version_info))
    assert len(found["sha256"]) == 64
    assert found["virtual"] is True


@pytest.mark.parametrize(
    "script",
    [
        "{0} -c pass; true",
        "cd env && bin/python -c pass && true",
        "PATH={1}:$PATH python -c pass; true",
        "for i in 1 2 3; do (sleep 0.05; {0} -c pass); done",
        '{0} -c \'import subprocess, sys; subprocess.run([sys.executable, "-c", "pass"])\'',
        "./tool",
    ],
)
def test_interpreter_is_found_however_it_is_started(tmp_path: Path, venv: MakeVenv, script: str) -> None:
    """From a shell, by a relative path, over PATH, in subshells, from itself, by a script's first line."""
    python = venv("env", "kiwi_scales-4.5.6")
    (tmp_path / "tool").write_text(f"#!{python}\npass\n")
    (tmp_path / "tool").chmod(0o755)
    found = described(tmp_path, "sh", "-c", script.format(python, python.parent))
    assert packages(found) == [["kiwi-scales==4.5.6"]]


def test_interpreters_of_several_environments_are_recorded(tmp_path: Path, venv: MakeVenv) -> None:
    """Two environments are two entries, the same two packages lists are one, and the order does not matter."""
    one, two, same = venv("one", "a-1"), venv("two", "b-2"), venv("same", "a-1")
    forwards = described(tmp_path, "sh", "-c", f"{one} -c pass; {two} -c pass; {same} -c pass; true")
    backwards = described(tmp_path, "sh", "-c", f"{same} -c pass; {two} -c pass; true")
    assert sorted(packages(forwards)) == [["a==1"], ["b==2"]]
    assert forwards == backwards


def test_interpreter_with_more_directories_has_their_packages(
    tmp_path: Path, venv: MakeVenv, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PYTHONPATH and the base interpreter's packages count where the interpreter imports from them."""
    (tmp_path / "more" / "extra-9.dist-info").mkdir(parents=True)
    (tmp_path / "more" / "old_style-1.2-py3.11.egg-info").touch()
    monkeypatch.setenv("PYTHONPATH", "more")
    monkeypatch.setenv("API_TOKEN", "hunter2")
    python = venv("env", "kiwi_scales-4.5.6")
    (found,) = described(tmp_path, python, "-c", "pass")
    assert found["packages"]["list"] == ["extra==9", "kiwi-scales==4.5.6", "old-style==1.2"]
    assert "hunter2" not in json.dumps(found)
    monkeypatch.delenv("PYTHONPATH")
    (alone,) = described(tmp_path, venv("alone", "c-3"), "-c", "pass")
    (whole,) = described(tmp_path, venv("whole", "c-3", options=("--system-site-packages",)), "-c", "pass")
    assert alone["packages"]["list"] == ["c==3"]
    assert "c==3" in whole["packages"]["list"]
    base = Path(os.path.realpath(sys.executable)).parent.parent
    installed = [
        name for folder in base.glob("lib/python3*/site-packages") for name in folder.glob("*.dist-info")
    ]
    assert (len(whole["packages"]["list"]) > 1) is bool(installed)


def test_no_interpreter_is_recorded_where_none_ran(tmp_path: Path) -> None:
    """A command without Python has an empty list: gitchain's own interpreter did not make the product."""
    assert described(tmp_path, "sh", "-c", "sleep 0.1; true") == []


def test_conda_packages_are_recorded(tmp_path: Path) -> None:
    """What conda installed, not of Python alone, and the version from conda's own record."""
    prefix = tmp_path / "conda"
    for folder in ("bin", "conda-meta", "lib/python3.10/site-packages/numpy-1.24.2.dist-info"):
        (prefix / folder).mkdir(parents=True)
    (prefix / "bin/python3.10").write_text("#!")
    for name in ("cudatoolkit-11.8.0-h6a678d5_0", "python-3.10.4-h12debd9_0", "history"):
        (prefix / "conda-meta" / f"{name}.json").touch()
    path = str(prefix / "bin/python3.10")
    (found,) = json.loads(canonical_json(describe_interpreters([SeenInterpreter(path, path)])))
    assert found["version"] == "3.10.4"
    assert found["packages"]["list"] == ["numpy==1.24.2"]
    assert found["conda"]["list"] == ["cudatoolkit==11.8.0=h6a678d5_0", "python==3.10.4=h12debd9_0"]


def test_interpreter_without_a_version_in_its_name_is_described(tmp_path: Path) -> None:
    """PyPy, a bare `python`, and one that is gone: what is known is said, and no more."""
    prefix = tmp_path / "plain"
    (prefix / "bin").mkdir(parents=True)
    (prefix / "lib/python3.9/site-packages/a-1.dist-info").mkdir(parents=True)
    (prefix / "bin/python").write_text("#!")
    path = str(prefix / "bin/python")
    (plain,) = json.loads(canonical_json(describe_interpreters([SeenInterpreter(path, path)])))
    assert (plain["version"], plain["packages"]["list"]) == ("3.9", ["a==1"])
    (prefix / "lib/python3.8").mkdir()
    (unsure,) = json.loads(canonical_json(describe_interpreters([SeenInterpreter(path, path)])))
    assert "version" not in unsure
    gone = SeenInterpreter("/nowhere/bin/pypy3.10", "/nowhere/bin/pypy3.10", user_site=False)
    (found,) = json.loads(canonical_json(describe_interpreters([gone])))
    assert (found["implementation"], found["version"], found["packages"]["list"]) == ("PyPy", "3.10", [])
    assert "sha256" not in found


def test_interpreter_in_a_container_has_no_packages(tmp_path: Path, venv: MakeVenv) -> None:
    """Its paths mean something else here: what they lead to here did not run."""
    python = str(venv("env", "a-1"))
    (found,) = describe_interpreters([SeenInterpreter(python, python, elsewhere=True)])
    assert found == {"implementation": "CPython", "name": "python", "container": True}


def test_interpreters_and_packages_are_bounded(
    tmp_path: Path, venv: MakeVenv, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lists end at the bound; the digest is over all, so that what is not listed still counts."""
    monkeypatch.setattr(interpreter_facts, "MAX_PACKAGES", 3)
    pythons = [venv(f"env{index}", f"a-{index}", "b-1") for index in range(3)]
    seen = [SeenInterpreter(str(python), str(python)) for python in pythons]
    found = json.loads(canonical_json(describe_interpreters(seen)))
    assert sum(len(one["packages"]["list"]) for one in found) == 3
    assert len({one["packages"]["sha256"] for one in found}) == 3


@pytest.mark.parametrize("hook", [True, False])
def test_watch_without_proc_says_what_could_be_watched(
    tmp_path: Path, venv: MakeVenv, monkeypatch: pytest.MonkeyPatch, hook: bool
) -> None:
    """Without /proc the hook alone tells; without both nothing is known, which is not the same as that none ran."""
    python = venv("env", "a-1")
    exists = os.path.exists
    monkeypatch.setattr(os.path, "exists", lambda path: path != "/proc/self/exe" and exists(path))
    if not hook:
        monkeypatch.setattr(tempfile, "mkdtemp", lambda **_: (_ for _ in ()).throw(OSError()))
        assert observe(tmp_path, [str(python), "-c", "pass"]).interpreters is None
    else:
        assert packages(described(tmp_path, "sh", "-c", f"{python} -c pass; true")) == [["a==1"]]


def test_startup_hook_changes_nothing_for_the_program(tmp_path: Path, venv: MakeVenv) -> None:
    """The program sees its own path and its own sitecustomize, with its errors; the hook's directory is gone afterwards."""
    python = venv("env", "a-1")
    show = "import sys, json; print(json.dumps([sys.path, 'sitecustomize' in sys.modules]))"
    plain = subprocess.run([python, "-c", show], capture_output=True, text=True, check=True).stdout
    (tmp_path / "show.py").write_text(f"{show}; import os; print(os.environ['PYTHONPATH'])")
    seen = observe(tmp_path, ["sh", "-c", f'{python} -c "$(cat show.py)" > out'], products=["out"])
    assert seen.exit_code == 0
    watched, hook = (tmp_path / "out").read_text().splitlines()
    assert json.loads(watched)[0] == json.loads(plain)[0]
    assert not Path(hook).exists()
    (site,) = (tmp_path / "env/lib").glob("python3*/site-packages")
    (site / "sitecustomize.py").write_text("import sys; sys.mine = __file__")
    command = f"{python} -c 'import sys, sitecustomize; assert sys.mine == sitecustomize.__file__'"
    assert observe(tmp_path, ["sh", "-c", command]).exit_code == 0
    (site / "sitecustomize.py").write_text("raise ValueError('mine')")
    assert observe(tmp_path, ["sh", "-c", f"{python} -c pass 2> err"]).exit_code == 0
    assert "mine" in (tmp_path / "err").read_text()


def test_startup_hook_that_cannot_write_stops_nothing(tmp_path: Path, venv: MakeVenv) -> None:
    """A full disk, or a program that removes the directory: the command goes on without a word."""
    python = venv("env", "a-1")
    command = (
        f'rm -r "$PYTHONPATH"/*; {python} -c pass 2> err; rm -rf "$PYTHONPATH"; {python} -c pass 2>> err'
    )
    assert observe(tmp_path, ["sh", "-c", command]).exit_code == 0
    assert (tmp_path / "err").read_text() == ""


def test_watch_follows_many_processes(tmp_path: Path, venv: MakeVenv) -> None:
    """A tree of many short processes costs the command nothing, and the interpreter at its end is seen."""
    python = venv("env", "kiwi_scales-4.5.6")
    script = f"i=0; while [ $i -lt 200 ]; do (true); i=$((i+1)); done; sh -c 'sh -c \"{python} -c pass; true\"; true'"
    assert packages(described(tmp_path, "sh", "-c", script)) == [["kiwi-scales==4.5.6"]]
