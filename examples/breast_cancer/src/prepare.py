"""Split the raw table into a training and a test part."""

import sys
from pathlib import Path

import yaml
from sklearn.model_selection import train_test_split

params = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))["prepare"]
header, *rows = Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()
parts = train_test_split(rows, test_size=params["test_size"], random_state=params["seed"])
target = Path(sys.argv[2])
target.mkdir(parents=True, exist_ok=True)
for name, part in zip(("train", "test"), parts, strict=True):
    (target / f"{name}.csv").write_text("\n".join([header, *part]) + "\n", encoding="utf-8")
