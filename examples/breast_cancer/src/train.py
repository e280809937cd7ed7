"""Train a logistic regression and write it as JSON: weights that load without running code."""

import json
import sys
from pathlib import Path

import numpy as np
import yaml
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

params = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))["train"]
table = np.loadtxt(sys.argv[1], delimiter=",", skiprows=1)
model = make_pipeline(StandardScaler(), LogisticRegression(C=params["C"], max_iter=params["max_iter"]))
model.fit(table[:, :-1], table[:, -1])
scaler, regression = model[0], model[1]
weights = {
    "mean": scaler.mean_.tolist(),
    "scale": scaler.scale_.tolist(),
    "coef": regression.coef_[0].tolist(),
    "intercept": float(regression.intercept_[0]),
}
path = Path(sys.argv[2])
path.parent.mkdir(parents=True, exist_ok=True)
path.write_text(json.dumps(weights, indent=1) + "\n", encoding="utf-8")
