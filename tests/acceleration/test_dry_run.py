# SPDX-License-Identifier: BSD-3-Clause
"""On a GPU that computes nothing, no algorithm mixes devices, and none waits for it but where it is known to.

The dry run needs a process of its own, as its library is loaded before torch.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
LEARNER = [
    *("TruDi, captured", "TruDi, adjoint, captured", "TruDi, fresh chains", "REPPO, captured", "DIME, captured"),
]
RELATIVES = ["PPO", "SPO", "DPPO", "FPO"]

# Of two iterations with 4 steps and 4 minibatches each, with a checkpoint loaded between them. Acting, storing and
# learning from a minibatch are not among the phases: they wait for nothing. The numbers may only become smaller.
CAPTURE = {"synchronize in trudi_rsl/acceleration/cuda_graph.py: _capture": 2}
SYNCS_OF_LEARNER = {
    **dict.fromkeys(("_update_statistics", "_decisions", "_update"), CAPTURE),
    "compute_returns": {
        "read in trudi_rsl/algorithms/nonfinite.py: find_nonfinite": 2,
        "shape in trudi_rsl/algorithms/targets.py: compute_targets": 2,
        "read in trudi_rsl/algorithms/targets.py: widen": 2,
        # once per training
        "upload in trudi_rsl/algorithms/targets.py: initial_range": 1,
        "upload in trudi_rsl/algorithms/trust_region.py: raise_if_replay_differs": 4,
        "read in trudi_rsl/algorithms/trust_region.py: raise_if_replay_differs": 2,
    },
    "update": {
        "read in trudi_rsl/algorithms/nonfinite.py: check_updates": 2,
        "read in trudi_rsl/algorithms/metrics.py: reduce_metrics": 2,
    },
}
SYNCS_OF_RELATIVES = {
    "update": {
        "read in trudi_rsl/algorithms/policy_gradient.py: _adapt_learning_rate": 8,
        "read in trudi_rsl/algorithms/policy_gradient.py: _learn": 8,
        "read in trudi_rsl/algorithms/policy_gradient.py: update": 2,
        # RSL-RL's
        "read in rsl_rl/algorithms/ppo.py: update": 40,
        "upload in rsl_rl/modules/normalization.py: update": 4,
    },
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    if shutil.which("g++") is None:
        pytest.skip("needs g++")
    path = tmp_path_factory.mktemp("dry_run") / "found.json"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT / "source"), str(ROOT))), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.acceleration.dry_run", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(path.read_text())


@pytest.mark.parametrize("variant", [*LEARNER, *RELATIVES])
def test_no_devices_are_mixed_and_every_capture_succeeds(found: dict[str, Any], variant: str) -> None:
    result = found[variant]
    assert result["failures"] == {}
    assert not [line for line in result["said"] if "could not be" in line]
    assert (result["replays"] > 0) == ("captured" in variant)


@pytest.mark.parametrize("variant", [*LEARNER, *RELATIVES])
def test_the_gpu_is_waited_for_in_known_places_only(found: dict[str, Any], variant: str) -> None:
    known = SYNCS_OF_LEARNER if variant in LEARNER else SYNCS_OF_RELATIVES
    for phase, syncs in found[variant]["syncs"].items():
        if phase != "other":  # construction, checkpoints
            more = {place: n for place, n in syncs.items() if n > known.get(phase, {}).get(place, 0)}
            assert more == {}, f"{phase} syncs more often than before"
