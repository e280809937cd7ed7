"""Projects in the shapes that DVC's users have: small scripts of our own, nothing that knows gitchain.

- `started`: raw data tracked with `dvc add`, four stages, directories between them, params, `artifacts` with a data set.
- `listed`: the same without `artifacts`: nothing but the pipeline says which out is the model.
- `scored`: the same flow in the older style: metrics and plots of the stage with `cache: false`, no `artifacts`.
- `nested`: a DVC project in a subdirectory of the repository, with data that no stage uses.
- `fanned`: foreach and matrix, `vars` templating, `wdir`, a raw directory, and a second dvc.yaml in a subdirectory.
"""

from __future__ import annotations

from pathlib import Path

from tests.support.shell import Shell, new_repository

PREPARE = """\
import pathlib, sys, yaml
source, target = map(pathlib.Path, sys.argv[1:])
split = yaml.safe_load(open("params.yaml"))["prepare"]["split"]
rows = source.read_text().split()
cut = int(len(rows) * split)
target.mkdir(parents=True, exist_ok=True)
(target / "train.txt").write_text("\\n".join(rows[cut:]))
(target / "test.txt").write_text("\\n".join(rows[:cut]))
"""
FEATURIZE = """\
import pathlib, sys, yaml
source, target = map(pathlib.Path, sys.argv[1:])
size = yaml.safe_load(open("params.yaml"))["featurize"]["width"]
for part in sorted(source.glob("*.txt")):
    folder = target / part.stem
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "words.txt").write_text("\\n".join(row[:size] for row in part.read_text().split()))
"""
TRAIN = """\
import collections, json, pathlib, sys, yaml
source, target = map(pathlib.Path, sys.argv[1:])
top = yaml.safe_load(open("params.yaml"))["train"]["top"]
words = (source / "train" / "words.txt").read_text().split()
target.write_text(json.dumps(dict(collections.Counter(words).most_common(top))))
"""
EVALUATE = """\
import json, pathlib, sys
model, source = json.loads(pathlib.Path(sys.argv[1]).read_text()), pathlib.Path(sys.argv[2])
words = (source / "test" / "words.txt").read_text().split()
hits = [word in model for word in words]
pathlib.Path("scores.json").write_text(json.dumps({"recall": sum(hits) / len(hits)}))
pathlib.Path("plots").mkdir(exist_ok=True)
rows = [{"n": n, "hit": int(hit)} for n, hit in enumerate(hits)]
pathlib.Path("plots/hits.json").write_text(json.dumps(rows))
"""
SCRIPTS = {
    "src/prepare.py": PREPARE,
    "src/featurize.py": FEATURIZE,
    "src/train.py": TRAIN,
    "src/evaluate.py": EVALUATE,
}
PARAMS = "prepare: {split: 0.2}\nfeaturize: {width: 3}\ntrain: {top: 10}\n"
STAGES = """\
stages:
  prepare:
    cmd: python src/prepare.py data/raw.txt data/prepared
    deps: [data/raw.txt, src/prepare.py]
    params: [prepare.split]
    outs: [data/prepared]
  featurize:
    cmd: python src/featurize.py data/prepared data/features
    deps: [data/prepared, src/featurize.py]
    params: [featurize.width]
    outs: [data/features]
  train:
    cmd: python src/train.py data/features model.json
    deps: [data/features, src/train.py]
    params: [train]
    outs: [model.json]
  evaluate:
    cmd: python src/evaluate.py model.json data/features
    deps: [model.json, data/features, src/evaluate.py]
"""
LISTED_END = """\
    outs:
      - plots
      - scores.json:
          cache: false
metrics: [scores.json]
plots: [plots/hits.json]
"""
ARTIFACTS = """\
artifacts:
  words-dataset: {path: data/raw.txt, type: dataset, desc: what came in}
  words: {path: model.json, type: model, labels: [nlp]}
  words-code: {path: src/train.py, type: code}
"""
SCORED_END = """\
    metrics:
      - scores.json:
          cache: false
    plots:
      - plots/hits.json:
          cache: false
          x: n
"""
FANNED = """\
vars:
  - regions: [eu, us]
  - folder: ../models
stages:
  clean:
    foreach: ${regions}
    do:
      cmd: python ../src/clean.py raw/${item}.txt clean/${item}
      wdir: data
      deps: ["raw/${item}.txt", ../src/clean.py]
      outs: ["clean/${item}"]
  train:
    matrix:
      region: ${regions}
      size: [1, 2]
    wdir: data
    cmd: python ../src/count.py clean/${item.region} ${folder}/${item.region}-${item.size} ${item.size}
    deps: ["clean/${item.region}", ../src/count.py]
    outs: ["${folder}/${item.region}-${item.size}"]
"""
FANNED_SUB = """\
vars: [settings.yaml]
stages:
  bundle:
    cmd: python pack.py ../models ${out} ${keep}
    deps: [../models/eu-1, ../models/eu-2, ../models/us-1, ../models/us-2, pack.py]
    outs: ["${out}"]
"""
CLEAN = """\
import pathlib, sys
source, target = map(pathlib.Path, sys.argv[1:])
target.mkdir(parents=True)
(target / "rows.txt").write_text("\\n".join(sorted(source.read_text().split())))
"""
COUNT = """\
import pathlib, sys
source, target, size = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), int(sys.argv[3])
(target / "weights").mkdir(parents=True)
for n, row in enumerate((source / "rows.txt").read_text().split()[:size]):
    (target / "weights" / f"{n}.txt").write_text(row * 20)
"""
PACK = """\
import pathlib, sys
source, target, keep = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), int(sys.argv[3])
for part in sorted(source.glob("*/weights/*.txt"))[:keep]:
    place = target / part.parts[-3] / part.name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(part.read_text())
(target / "card.txt").write_text("a card")
"""


def _words(seed: int) -> str:
    return "\n".join(f"{(n * seed) % 997:x}word" for n in range(60)) + "\n"


def started(folder: Path, end: str = LISTED_END + ARTIFACTS) -> Shell:
    """Raw file, directories, params, evaluation; `artifacts` names a data set and a model."""
    shell = new_repository(folder)
    shell.write(SCRIPTS | {"params.yaml": PARAMS, "dvc.yaml": STAGES + end, "data/raw.txt": _words(7)})
    shell.must("dvc", "add", "-q", "data/raw.txt")
    shell.commit("a project")
    return shell


def listed(folder: Path) -> Shell:
    """The same without `artifacts`; metrics and plots are listed at the top level, one inside a directory out."""
    return started(folder, LISTED_END)


def scored(folder: Path) -> Shell:
    """The same, with the stage's own metrics and plots and no `artifacts`."""
    return started(folder, SCORED_END)


def nested(folder: Path) -> tuple[Shell, Shell]:
    """A monorepo: a DVC project of its own in ml/, and data beside it that no stage uses; return top and ml."""
    top = Shell(folder / "project", folder / "user")
    ml = Shell(top.cwd / "ml", top.home)
    ml.cwd.mkdir(parents=True)
    top.home.mkdir()
    top.must("git", "init", "-q", "-b", "main")
    ml.must("dvc", "init", "-q", "--subdir")
    files = SCRIPTS | {"params.yaml": PARAMS, "dvc.yaml": STAGES + LISTED_END}
    ml.write(files | {"data/raw.txt": _words(7), "data/spare.txt": _words(11)})
    ml.must("dvc", "add", "-q", "data/raw.txt", "data/spare.txt")
    top.commit("a monorepo")
    return top, ml


def fanned(folder: Path) -> Shell:
    """Foreach, matrix, vars, wdir and a pipeline in a subdirectory, on a raw directory."""
    shell = new_repository(folder)
    shell.write(
        {
            "dvc.yaml": FANNED,
            "release/dvc.yaml": FANNED_SUB,
            "release/settings.yaml": "out: bundle\nkeep: 6\n",
            "release/pack.py": PACK,
            "src/clean.py": CLEAN,
            "src/count.py": COUNT,
            "data/raw/eu.txt": _words(3),
            "data/raw/us.txt": _words(5),
        }
    )
    shell.must("dvc", "add", "-q", "data/raw")
    shell.commit("a project")
    return shell
