"""Rows about our own path on the real servers: the demo's chain and its attacks, and tokens that must not do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from tests.interop.interop_run import InteropRun, demo, pinned
from tests.interop.table import Cases, Row
from tests.stack.stack import Stack

OWNER = "ada@example.com"  # the demo's Git identity: who signs where nobody else is named


def _shell(module: Any, stack: Stack) -> Any:
    """Return the demo's shell, which signs with real tokens where the demo says --as."""

    class StackShell(module.Shell):  # type: ignore[misc]
        """The same commands with the stack's trust and tokens."""

        def environment(self) -> dict[str, str]:
            return dict(super().environment()) | {"SIGSTORE_ID_TOKEN": stack.token(OWNER)}

        def run(self, *command: str) -> tuple[int, str]:
            if command[:3] == ("gitchain", "local", "status"):
                return 0, f'{{"issuer": "{stack.issuer.url}"}}'
            code, said = super().run(*(with_tokens(command, stack) if command[0] == "gitchain" else command))
            return code, said

        def copy(self, name: str) -> Any:
            copied = super().copy(name)
            made = StackShell(copied.cwd, copied.home)
            made.must("gitchain", "trust", "agree")  # for this Git directory
            return made

    return StackShell


def with_tokens(command: tuple[str, ...], stack: Stack) -> tuple[str, ...]:
    """Return a command of the demo for the stack: its trust instead of the embedded one, tokens instead of names."""
    if command[1] == "init":
        changed = [part for part in command if part != "--local"]
        return (*changed, "--trust", str(stack.trust_config), "--issuer", stack.issuer.url)
    if "--as" not in command:
        return command
    at = command.index("--as")
    return (*command[:at], "--identity-token", stack.token(command[at + 1]), *command[at + 2 :])


def demo_chain(world: InteropRun, cases: Cases) -> None:
    """The demo, command by command: the honest chain verifies, and with one bit of the model changed it does not."""
    module: Any = demo()
    shell_type = module.Shell = _shell(module, world.stack)
    home = world.folder / "demo/home"
    (world.folder / "demo/project").mkdir(parents=True)
    home.mkdir()
    shell = shell_type(world.folder / "demo/project", home)
    world.unapproved = module.build(shell)
    module.approve(shell)
    module.release(shell, "v1.0")
    world.project = shell
    for target in (module.MODEL, "v1.0"):
        code, said = shell.run("gitchain", "verify", target)
        cases.accepts(f"verify {target}", (code == 0 and "PASSED" in said, said))
    changed = shell.copy("changed")
    module.weights_changed(changed, changed)
    code, said = changed.run("gitchain", "verify", module.MODEL)
    cases.refuses("a bit of the model", (code == 0, said))
    module.deploy(shell)


def demo_attacks(world: InteropRun, cases: Cases) -> None:
    """Every attack of the demo on copies of that chain is refused with the code and the words that the demo demands."""
    module: Any = demo()
    module.Shell = _shell(module, world.stack)
    assert world.project is not None
    code, said = world.project.run("gitchain", "verify", module.MODEL)
    cases.accepts("before the attacks", (code == 0, said))
    for number, (name, *_) in enumerate(module.ATTACKS):
        report = module.Report()
        module.attack(report, world.project, world.unapproved, number)
        cases.refuses(
            name, (report.failed, report.text())
        )  # the report fails unless it is refused as it must be


def _tokens(stack: Stack) -> dict[str, Callable[[], str]]:
    other = rsa.generate_private_key(65537, 2048)
    return {
        "expired": lambda: stack.token(OWNER, starts=-7200, lifetime=3600),
        "of the future": lambda: stack.token(OWNER, starts=3600),
        "for another audience": lambda: stack.token(OWNER, audience="kubernetes"),
        "of an issuer that the authority does not know": lambda: stack.foreign.token(OWNER),
        "in the issuer's name, signed by somebody else": lambda: stack.token(OWNER, key=other),
        "unsigned": lambda: stack.token(OWNER, signed=False),
        "with an address that nobody checked": lambda: stack.token(OWNER, email_verified=False),
        "without an address": lambda: stack.token(OWNER, email=""),
        "no token": lambda: "abc.def.ghi",
    }


def tokens(world: InteropRun, cases: Cases) -> None:
    """A good token signs; a bad one signs nothing, with exit code 6 or 9, and the statement waits for a good one."""
    assert world.project is not None
    shell = world.project.copy("tokens")
    attest: tuple[str, ...] = (
        "gitchain",
        "attest",
        "note",
        "--type",
        "https://example.com/note/v1",
        "--predicate",
        "note.json",
    )
    attest += ("--material", "metrics.json")
    for number, (name, make) in enumerate(_tokens(world.stack).items()):
        shell.write("note.json", f'{{"note": {number}}}')
        before = _stored(shell.cwd, world)
        code, said = shell.run(*attest, "--identity-token", make())
        assert code in {0, 6, 9}, f"a token {name}: exit {code}\n{said}"
        cases.refuses(name, (code == 0 or _stored(shell.cwd, world) != before, said))
    code, said = shell.run("gitchain", "sync", "--identity-token", world.stack.token(OWNER))
    cases.accepts("a good token, for all that waited", (code == 0 and "waiting 0" in said, said))


def _stored(cwd: Path, world: InteropRun) -> str:
    return world.must("git", "rev-parse", "refs/gitchain/attestations", cwd=cwd)


ROWS = (
    Row("rekor-tiles", lambda: pinned("rekor-server"), "the demo's chain on the real services", demo_chain),
    Row("rekor-tiles", lambda: pinned("rekor-server"), "the demo's attacks on that chain", demo_attacks),
    Row("Fulcio", lambda: pinned("fulcio"), "tokens, good and bad", tokens),
)
