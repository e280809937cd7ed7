"""Write the Wisconsin diagnostic breast-cancer data set, as scikit-learn ships it, to a CSV file."""

import csv
import sys
from pathlib import Path

from sklearn.datasets import load_breast_cancer

bunch = load_breast_cancer()
path = Path(sys.argv[1])
path.parent.mkdir(parents=True, exist_ok=True)
with path.open("w", newline="", encoding="utf-8") as file:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*bunch.feature_names, "target"])
    writer.writerows(
        [*map(float, row), int(label)] for row, label in zip(bunch.data, bunch.target, strict=True)
    )
