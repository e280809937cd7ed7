"""Rows about gitsign: commits and tags, in both directions.

gitsign 0.17.1 writes entries of Rekor v2 and timestamps, and cannot read either back: it makes the body of an entry anew
as Rekor v1 has it, and takes a timestamp's token for a whole response. So with Rekor v2 it signs and we verify; the other
direction is asked with a log of Rekor v1 (`rekor_v1.py`), whose promise is the time.
"""

from __future__ import annotations

from pathlib import Path

from tests.interop.interop_run import IDENTITY, STRANGER, Answer, InteropRun, pinned
from tests.interop.rekor_v1 import RekorV1, rekor_v1
from tests.interop.table import Cases, Row

AUTHOR = {
    f"GIT_{role}_{key}": value
    for role in ("AUTHOR", "COMMITTER")
    for key, value in (("NAME", "Interop"), ("EMAIL", IDENTITY))
}
OBJECTS = (("commit", "HEAD", "verify-commit"), ("tag", "v1", "verify-tag"))


class Repository:
    """A Git repository that one program signs in, and another checks."""

    def __init__(self, world: InteropRun, name: str, trust: Path) -> None:
        self.world, self.path, self.trust = world, world.folder / "git" / name, trust
        self.path.mkdir(parents=True)
        self.git("init", "-q")

    def git(self, *arguments: str, **environ: str) -> Answer:
        return self.world.call("git", *arguments, cwd=self.path, **(AUTHOR | environ))

    def sign(self, program: str, **environ: str) -> None:
        """Make a signed commit and a signed tag."""
        sign = (
            "-c",
            "gpg.format=x509",
            "-c",
            f"gpg.x509.program={program}",
            "-c",
            f"gitchain.trust={self.trust}",
        )
        for command in (
            ("commit", "-q", "-S", "--allow-empty", "-m", "signed"),
            ("tag", "-s", "v1", "-m", "one"),
        ):
            done, said = self.git(*sign, *command, **environ)
            assert done, said

    def ours(self, verb: str, revision: str, trust: Path | None = None) -> Answer:
        """Ask our program, as git does."""
        config = f"gitchain.trust={trust or self.trust}"
        program = "gpg.x509.program=gitchain-git-sign"
        done, said = self.git("-c", program, "-c", config, verb, revision)
        return done and f"signed by {IDENTITY}" in said, said

    def changed(self, kind: str, revision: str) -> str:
        """Return a copy of the signed object with one word changed."""
        done, raw = self.git("cat-file", kind, revision)
        assert done
        old, new = ("signed", "sigmed") if kind == "commit" else ("one", "two")
        (self.path / "raw").write_text(raw.replace(old, new, 1))
        done, oid = self.git("hash-object", "-t", kind, "-w", "raw")
        assert done, oid
        return oid.strip()


def signs_v2(world: InteropRun, cases: Cases) -> None:
    """gitsign signs with Rekor v2 and a timestamp, and we verify."""
    text = world.stack.trust_config.read_text().replace(world.stack.ecdsa_log, "http://127.0.0.1")
    repository = Repository(
        world, "v2", world.write("git/trust-v2.json", text.encode())
    )  # its origin has no port
    repository.sign(str(world.tool("gitsign")), **world.gitsign_environ(IDENTITY))
    _ours_on(repository, cases)


def signs_v1(world: InteropRun, cases: Cases) -> None:
    """gitsign signs with Rekor v1, and we verify; and gitsign itself does."""
    with rekor_v1() as log:
        repository = Repository(world, "v1", _trust(world, log))
        environ = _environ(world, log)
        repository.sign(str(world.tool("gitsign")), **environ)
        _ours_on(repository, cases)


def verifies_ours(world: InteropRun, cases: Cases) -> None:
    """We sign with Rekor v1, and gitsign verifies: `gitsign verify` with an identity, and as git's program."""
    with rekor_v1() as log:
        repository, gitsign = Repository(world, "ours", _trust(world, log)), world.tool("gitsign")
        repository.sign("gitchain-git-sign", SIGSTORE_ID_TOKEN=world.stack.token(IDENTITY))
        environ = _environ(world, log)

        def ask(verb: str, revision: str, identity: str = IDENTITY) -> Answer:
            who = ("--certificate-identity", identity, "--certificate-oidc-issuer", world.issuer)
            return world.call(gitsign, verb, *who, revision, cwd=repository.path, **environ)

        for kind, revision, verb in OBJECTS:
            own = "verify" if kind == "commit" else "verify-tag"
            cases.accepts(f"{kind}: gitsign {own}", ask(own, revision))
            cases.refuses(f"{kind}: another identity", ask(own, revision, STRANGER))
            program = ("-c", "gpg.format=x509", "-c", f"gpg.x509.program={gitsign}")
            cases.accepts(f"{kind}: git {verb}", repository.git(*program, verb, revision, **environ))
            changed = repository.changed(kind, revision)
            cases.refuses(f"{kind}: changed", repository.git(*program, verb, changed, **environ))


def _ours_on(repository: Repository, cases: Cases) -> None:
    for kind, revision, verb in OBJECTS:
        cases.accepts(f"{kind}: as gitsign wrote it", repository.ours(verb, revision))
        cases.refuses(f"{kind}: changed", repository.ours(verb, repository.changed(kind, revision)))


def _trust(world: InteropRun, log: RekorV1) -> Path:
    text = log.trust_config(world.stack.trust_config.read_text())
    return world.write(f"git/trust-{log.url.rpartition(':')[2]}.json", text.encode())


def _environ(world: InteropRun, log: RekorV1) -> dict[str, str]:
    """Return gitsign's environment with the log of Rekor v1 in place of the stack's."""
    key = log.write_public(world.folder / "git" / "rekor-v1.pub")
    own = {
        "GITSIGN_REKOR_VERSION": "1",
        "GITSIGN_REKOR_URL": log.url,
        "SIGSTORE_REKOR_PUBLIC_KEY": str(key),
    }
    return world.gitsign_environ(IDENTITY) | own


ROWS = (
    Row("gitsign", lambda: pinned("gitsign"), "signs a commit and a tag (Rekor v2), we verify", signs_v2),
    Row("gitsign", lambda: pinned("gitsign"), "signs a commit and a tag (Rekor v1), we verify", signs_v1),
    Row("gitsign", lambda: pinned("gitsign"), "verifies our commit and tag (Rekor v1)", verifies_ours),
)
