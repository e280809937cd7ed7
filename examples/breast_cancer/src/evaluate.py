"""Score the model on the test part."""

import json
import sys
from pathlib import Path

import numpy as np
from sklearn.metrics import accuracy_score, roc_auc_score

weights = {
    key: np.asarray(value) for key, value in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")).items()
}
table = np.loadtxt(sys.argv[2], delimiter=",", skiprows=1)
logits = (table[:, :-1] - weights["mean"]) / weights["scale"] @ weights["coef"] + weights["intercept"]
metrics = {
    "accuracy": float(accuracy_score(table[:, -1], logits > 0)),
    "auc": float(roc_auc_score(table[:, -1], logits)),
}
Path(sys.argv[3]).write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
