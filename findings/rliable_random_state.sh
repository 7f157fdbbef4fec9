#!/usr/bin/env bash
# rliable 1.2.0 accepts a random_state for its stratified bootstrap and does not use it: the resamples come from NumPy's global
# generator. Two calls with the same random_state return different intervals, and np.random.seed determines them.
# Seen with rliable 1.2.0, arch 7.2.0, numpy 2. Consequence here: intervals are computed by this package, from a generator of its
# own, and are the same for the same results.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install -qq --disable-pip-version-check "rliable==1.2.0" "arch==7.2.0" "pandas<3"
"$python" - <<'PYTHON'
import warnings

import numpy as np

warnings.simplefilter("ignore")
from rliable import library, metrics

scores = {"algorithm": np.linspace(0.0, 1.0, 10).reshape(5, 2) ** 2}


def interval() -> list[float]:
    mean = lambda x: np.array([metrics.aggregate_iqm(x)])
    _, intervals = library.get_interval_estimates(scores, mean, reps=200, random_state=np.random.RandomState(0))
    return intervals["algorithm"].ravel().tolist()


np.random.seed(1)
first, second = interval(), interval()
np.random.seed(1)
again = interval()
print("one random_state, two calls:", first, second)
print("the same global seed again: ", again)
assert first != second, "The behaviour has changed: random_state determines the resamples."
assert first == again, "The behaviour has changed: the global generator is not what is used."
PYTHON
