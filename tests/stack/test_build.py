"""The builder of the tests' servers: what is pinned decides what is built, and what a machine lacks is no failure."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.stack import build

HERE = Path(__file__).parent
needs_go = pytest.mark.skipif(shutil.which("go") is None, reason="SKIPPED: there is no Go here")


TOOL = build.Tool("hello", "example.test/hello")


@pytest.fixture(scope="module")
def go_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("go")


@pytest.fixture
def environ(tmp_path: Path, go_cache: Path) -> dict[str, str]:
    own = {"GITCHAIN_STACK_CACHE": str(tmp_path / "cache"), "GOPROXY": "off"}
    return dict(os.environ) | own | {"GOCACHE": str(go_cache / "build"), "GOMODCACHE": str(go_cache / "mod")}


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    """A module with one program, all of it here."""
    folder = tmp_path / "tools/hello"
    folder.mkdir(parents=True)
    (folder / "go.mod").write_text("module example.test/hello\n\ngo 1.22\n")
    (folder / "go.sum").write_text("")
    (folder / "main.go").write_text('package main\n\nfunc main() { println("hello") }\n')
    return tmp_path / "tools"


def _build(modules: Path, environ: dict[str, str], seconds: float = 300) -> build.Outcome:
    return build.Builder(seconds, modules=modules, environ=environ).build(TOOL)


@needs_go
def test_a_tool_is_built_once_and_again_when_its_pin_changes(modules: Path, environ: dict[str, str]) -> None:
    first, second = _build(modules, environ), _build(modules, environ)
    assert (first.state, second.state) == (build.State.BUILT, build.State.CACHED)
    assert first.path == second.path
    assert first.path
    assert subprocess.run([first.path], check=True, capture_output=True, text=True).stderr == "hello\n"
    assert not list((modules.parent / "cache").glob(".building-*"))

    (modules / "hello/go.sum").write_text("\n")
    third = _build(modules, environ)
    assert third.state is build.State.BUILT
    assert third.path != first.path


@needs_go
def test_a_source_that_does_not_compile_is_a_failure(modules: Path, environ: dict[str, str]) -> None:
    (modules / "hello/main.go").write_text("package main\n\nfunc main() { nothing() }\n")
    outcome = _build(modules, environ)
    assert outcome.state is build.State.BROKEN
    assert "undefined: nothing" in outcome.why
    assert not list((modules.parent / "cache").glob("*/hello"))


@needs_go
def test_a_module_that_cannot_be_fetched_is_not_a_failure(modules: Path, environ: dict[str, str]) -> None:
    (modules / "hello/go.mod").write_text(
        "module example.test/hello\n\ngo 1.22\n\nrequire example.test/far v1.0.0\n"
    )
    (modules / "hello/go.sum").write_text(
        "".join(f"example.test/far v1.0.0{end} h1:{'A' * 43}=\n" for end in ("", "/go.mod"))
    )
    (modules / "hello/main.go").write_text('package main\n\nimport _ "example.test/far"\n\nfunc main() {}\n')
    assert _build(modules, environ).state is build.State.ABSENT


@needs_go
def test_a_module_that_go_sum_does_not_know_is_a_failure(modules: Path, environ: dict[str, str]) -> None:
    (modules / "hello/go.mod").write_text(
        "module example.test/hello\n\ngo 1.22\n\nrequire example.test/far v1.0.0\n"
    )
    (modules / "hello/main.go").write_text('package main\n\nimport _ "example.test/far"\n\nfunc main() {}\n')
    assert _build(modules, environ).state is build.State.BROKEN


@needs_go
def test_when_the_time_is_over_nothing_is_built(modules: Path, environ: dict[str, str]) -> None:
    assert _build(modules, environ, seconds=0).state is build.State.LATE


def test_without_go_nothing_can_be_had(
    modules: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert _build(modules, environ | {"PATH": str(tmp_path)}).state is build.State.ABSENT


def test_every_tool_has_its_pins_and_no_source() -> None:
    for tool in build.CATALOGUE:
        folder = build.MODULES / (tool.module or tool.name)
        own = {"main.go"} if tool.package.startswith("gitchain.test/") else set()
        assert {file.name for file in folder.iterdir()} == {"go.mod", "go.sum"} | own
        text = (folder / "go.mod").read_text()
        named = (
            f"\t{tool.package}\n",
            f"tool {tool.package}\n",
            f"module {tool.package}\n" if own else "tool",
        )
        assert any(line in text for line in named)
    assert f"k8s.io/kubernetes {build.KUBERNETES}\n" in (build.MODULES / "kubernetes/go.mod").read_text()


def test_a_name_that_is_no_tool_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        build.main(["etdc"])
    assert "no tool etdc" in capsys.readouterr().err
