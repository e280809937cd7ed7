"""Every command block of README.md and docs/ is typed by a test, or is in not_run.json with the reason.

The sessions below type commands of several pages, as the pages show them; `test_fleet_commands.py` has those about many
repositories. The marked blocks are typed by `test_walk.py`, and docs/runbook.md by `tests/stack/test_runbook.py`.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.journeys.test_fleet_commands import DATABASE_SERVER, FLEET
from tests.support.page_commands import lines, repository, type_lines
from tests.support.shell import Shell

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NOT_RUN: dict[str, str] = json.loads((Path(__file__).parent / "not_run.json").read_text(encoding="utf-8"))
MOST_NOT_RUN = 55
"""How many commands are in not_run.json: lower it when there are fewer, and never raise it."""
BLOCK = re.compile(
    r"^(<!-- output: \w+ -->\n)? *```(console|sh|bash|shell)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE
)
PROMPT = re.compile(r"(?:first|second)?\$ ")
COMMENT = re.compile(r"\s+#\s.*$")
TRAIN = "open('model.pkl', 'w').write(open('data.csv').read() * 2)\n"
SERVE = "import sys\nprint(len(open(sys.argv[1]).read()))\n"
FIRST = """
gitchain init --local
git add .gitchain
git commit -m "set gitchain up"
gitchain doctor
gitchain run train -m data.csv -p model.pkl -- python train.py
gitchain layout draft
gitchain layout draft --write
! printf 'revokers: [%s]\\n' "$(sed -n '/^functionaries:/{n;s/[ :]//gp}' .gitchain/layout.yaml)" >> .gitchain/layout.yaml
gitchain layout lint
gitchain layout lint .gitchain/layout.yaml
gitchain layout sign
gitchain layout show
gitchain verify model.pkl
gitchain verify model.pkl --explain
gitchain log
gitchain log model.pkl
gitchain monitor
gitchain monitor -q
gitchain show 4c5478ab616a
git add -A && git commit -m "first model" && git tag v1.0
gitchain models
gitchain models model.pkl --last 5
gitchain log v1.0 --step train --since 2026-01-01
gitchain verify v1.0
gitchain verify v1.0 --explain
gitchain diff v1.0 model.pkl
gitchain diff v1.0 model.pkl --markdown
gitchain diff v1.0 model.pkl --json
gitchain report v1.0
gitchain report v1.0 -o report.html
gitchain report v1.0 -o -
gitchain report v1.0 --json
gitchain report v1.0 --cyclonedx model.cdx.json
gitchain report model.pkl -o report.html --at 2026-12-31T12:00:00Z
! echo '{"C": 0.5}' > params.json
! echo "open('metrics.json', 'w').write('{\\"loss\\": 1}')" >> train.py
gitchain run train -m data.csv -p model.pkl --params params.json --metrics metrics.json -- python train.py
ls *.pkl | gitchain verify --batch -
"""
EVIDENCE = """
echo '{"verifier": {"id": "https://example.com/review"}, "timeCreated": "2026-11-30T12:00:00Z", "properties": ["APPROVED"]}' > verdict.json
gitchain attest approve --type https://in-toto.io/attestation/svr/v0.2 --predicate verdict.json --material model.pkl
gitchain attest approve --type https://in-toto.io/attestation/svr/v0.2 --predicate verdict.json -m model.pkl
gitchain verify model.pkl --vsa summary.sigstore.json --verifier https://example.com/gate
gitchain bundle sign model.pkl -o model.sig
gitchain bundle sign models/bert -o bert.sig
gitchain bundle sign models/bert -o bert.sig --key ada.pem
gitchain bundle push evidence/
gitchain archive v1.0 -o model-v1.0.tar
gitchain archive verify model-v1.0.tar
gitchain archive create model.pkl -o model.tar
gitchain archive verify model.tar model.pkl --at now
gitchain import evidence/
! mkdir downloads && cp evidence/*.sigstore.json downloads/ && cp "$(ls downloads/* | head -1)" sbom.sigstore.json
gitchain import sbom.sigstore.json
gitchain import downloads/ --dry-run
gitchain import downloads/
gitchain import downloads/ --json
gitchain log --all
gitchain verify model.pkl --layout .gitchain/layout.sigstore.json --evidence evidence/
! cp .gitchain/layout.sigstore.json layout.sigstore.json
gitchain verify model.pkl --layout layout.sigstore.json --evidence evidence/
gitchain diff v1.0 model.pkl --layout layout.sigstore.json --evidence evidence/
gitchain report model.pkl --layout layout.sigstore.json --evidence evidence/
gitchain fetch model.pkl served/
! rm -rf served
gitchain fetch model.pkl served/ --layout layout.sigstore.json --evidence evidence/
gitchain guard model.pkl -- wc -c {}
gitchain guard model.pkl -- python serve.py {}
gitchain attest train -m data.csv -p model.pkl
gitchain layout test examples/layouts/credit-model
gitchain layout test layouts/mine
"""
OPERATION = """
gitchain hooks status
gitchain hooks install
gitchain hooks install --tags
gitchain hooks remove
gitchain trust status
gitchain trust export > trust.json
gitchain trust forget-history --yes
gitchain local status
gitchain local token ada@example.com
gitchain doctor --json
gitchain sync --dry-run
gitchain sync
gitchain sync upstream
eval "$(gitchain completion bash)"
gitchain revoke artifact data.csv --reason withdrawn
gitchain revoke attestation 4c5478ab616a --reason compromised
gitchain revoke signer ada@example.com --issuer https://accounts.example.com --reason compromised
! for name in owner release; do openssl ecparam -genkey -name prime256v1 -noout -out $name.pem; done
! cp model.pkl models/model.json
gitchain attest train --product models/model.json --key release.pem
gitchain layout sign --key owner.pem
"""
SECOND_MACHINE = (
    ("first", "gitchain init --local"),
    ("first", "gitchain layout sign"),
    ("first", "gitchain run -- dvc repro"),
    ("first", "! dvc push && git add -A && git commit -qm model && git push -q origin main"),
    ("first", "gitchain sync"),
    ("first", "gitchain local trust > trust.json"),
    ("second", "! cp ../../first/churn/trust.json ."),
    ("second", "gitchain --trust trust.json trust pin --signer ada@example.com"),
    ("second", "gitchain sync"),
    ("second", "dvc pull"),
    ("second", "dvc pull model.pkl"),
    ("second", "gitchain verify model.pkl"),
    ("first", "! echo 3,4 >> data.csv && dvc repro -q"),
    ("first", "gitchain attest"),
)
PLAIN = """
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj /CN=gitchain-clients -keyout clients.key -out clients.crt
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=kube-apiserver -keyout apiserver.key -out apiserver.csr
printf 'extendedKeyUsage=clientAuth\\n' > clients.ext
openssl x509 -req -in apiserver.csr -CA clients.crt -CAkey clients.key -days 90 -extfile clients.ext -out apiserver.crt
openssl ecparam -genkey -name prime256v1 -noout -out admission.pem
openssl ec -in admission.pem -pubout -out admission.pub
export OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318
git config gpg.format ssh
git config user.signingkey ~/.ssh/id_ed25519.pub
git config commit.gpgsign true
git config gpg.format x509
git config gpg.x509.program gitchain-git-sign
git config gitchain.trust local
git config user.signingkey B2DE77C6AA50E6824AC7262D60968C0E44CDCAB8
"""
STAGES = (
    "stages:\n  train:\n    cmd: python train.py\n    deps: [data.csv, train.py]\n    outs: [model.pkl]\n"
)


def shown() -> Iterator[tuple[str, str]]:
    """Yield page and command of every line that a page says to type, without its comment."""
    for page in PAGES:
        name = page.relative_to(ROOT).as_posix()
        for marked, kind, block in BLOCK.findall(page.read_text(encoding="utf-8")):
            for line in block.replace("\\\n", " ").splitlines():
                prompt = PROMPT.match(line.strip())
                if not marked and name != "docs/runbook.md" and (prompt or kind == "sh"):
                    typed = COMMENT.sub("", line.strip()[prompt.end() if prompt else 0 :])
                    yield name, " ".join(typed.split())


def typed() -> set[str]:
    """Return the commands that the sessions below type."""
    every = [
        *lines(FIRST),
        *lines(EVIDENCE),
        *lines(OPERATION),
        *lines(PLAIN),
        *lines(FLEET),
        *lines(DATABASE_SERVER),
        *(one for _, one in SECOND_MACHINE),
    ]
    return {" ".join(line.split()) for line in every if not line.startswith("! ")}


def test_commands_of_the_pages_in_one_project(tmp_path: Path) -> None:
    """Each ends with 0: from nothing to evidence, verdicts, operation and revocations."""
    files = {"data.csv": "1,2\n", "train.py": TRAIN, "serve.py": SERVE, "models/bert/config.json": "{}"}
    shell = repository(tmp_path, files | {".gitignore": "served\nevidence\nexamples\nlayouts\n*.pem\n"})
    (shell.cwd / "examples").symlink_to(ROOT / "examples")
    shutil.copytree(ROOT / "examples" / "layouts" / "credit-model", shell.cwd / "layouts" / "mine")
    shell.must("openssl", "ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", "ada.pem")
    for session in (FIRST, EVIDENCE, OPERATION):
        type_lines(shell, lines(session))


def test_commands_of_the_pages_on_a_second_machine(tmp_path: Path) -> None:
    """A project with DVC, and a clone with a user directory of its own."""
    first = repository(tmp_path / "first", {"data.csv": "1,2\n", "train.py": TRAIN, "dvc.yaml": STAGES})
    first.must("dvc", "init", "-q")
    first.must("dvc", "remote", "add", "-q", "-d", "store", str(tmp_path / "store"))
    for number, (machine, line) in enumerate(SECOND_MACHINE):
        if machine == "first":
            type_lines(first, [line])
            continue
        second = Shell(tmp_path / "second" / "churn", tmp_path / "second" / "home")
        if not second.home.is_dir():
            assert number
            second.home.mkdir(parents=True)
            first.must("git", "clone", "-q", str(tmp_path / "first" / "origin.git"), str(second.cwd))
        type_lines(second, [line])


def test_commands_of_the_pages_without_gitchain(tmp_path: Path) -> None:
    """Certificates, keys and settings of Git."""
    type_lines(repository(tmp_path, {}), lines(PLAIN))


def test_commands_of_the_pages_are_typed_or_have_a_reason() -> None:
    """A new command on a page is put in a session, or in not_run.json with the reason why no test can type it."""
    every = {command for _, command in shown()}
    assert len(every) > 100
    assert sorted(every - typed() - set(NOT_RUN)) == []


def test_sessions_type_what_the_pages_show() -> None:
    """A command that left the pages leaves the sessions and the list too."""
    every = {command for _, command in shown()}
    assert sorted(typed() - every) == []
    assert sorted(set(NOT_RUN) - every) == []
    assert sorted(set(NOT_RUN) & typed()) == []


def test_list_of_commands_that_are_not_run_only_shrinks() -> None:
    """Each has a reason, which names what is missing or the test that runs it in its own way."""
    assert all(len(reason) > 10 for reason in NOT_RUN.values())
    assert len(NOT_RUN) == MOST_NOT_RUN
    named = {test for reason in NOT_RUN.values() for test in re.findall(r"tests/[\w/]+\.py", reason)}
    assert [test for test in sorted(named) if not (ROOT / test).is_file()] == []
