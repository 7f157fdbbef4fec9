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
    *("TruDi, symmetry and RND, captured", "REPPO, images, captured"),
]
RELATIVES = ["PPO", "SPO", "DPPO", "FPO"]

# Of two iterations with 4 steps and 4 minibatches each, and a CPU's checkpoint loaded between them. Collecting a
# rollout, computing its targets and learning from minibatches are not among the phases: they wait for nothing. The
# numbers may only become smaller.
CAPTURE = {"synchronize in trudi_rsl/acceleration/cuda_graph.py: _capture": 2}
SYNCS_OF_LEARNER = {
    # once per training and checkpoint loaded
    **dict.fromkeys(("_update_statistics", "_decisions", "_update"), CAPTURE),
    # the end of an iteration
    "update": {"read in trudi_rsl/algorithms/metrics.py: read_metrics": 2},
}
SYNCS_OF_RELATIVES = {"update": {"read in trudi_rsl/algorithms/policy_gradient.py: update": 2}}
SYNCS_OF_PPO = {
    # RSL-RL's update cannot be skipped on the device
    "_collect": {"read in trudi_rsl/runners/nan_check.py: report": 2},
    # RSL-RL's
    "update": {
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
    assert (result["replays"]["learn"] > 0) == ("captured" in variant)


@pytest.mark.parametrize("variant", [name for name in LEARNER if "captured" in name])
def test_a_checkpoint_of_a_cpu_continues_with_graphs(found: dict[str, Any], variant: str) -> None:
    assert found[variant]["replays"]["resume"] == found[variant]["replays"]["learn"]


@pytest.mark.parametrize("variant", [*LEARNER, *RELATIVES])
def test_the_gpu_is_waited_for_in_known_places_only(found: dict[str, Any], variant: str) -> None:
    known = SYNCS_OF_LEARNER if variant in LEARNER else SYNCS_OF_PPO if variant == "PPO" else SYNCS_OF_RELATIVES
    for phase, syncs in found[variant]["syncs"].items():
        if phase != "other":  # construction, checkpoints
            more = {place: n for place, n in syncs.items() if n > known.get(phase, {}).get(place, 0)}
            assert more == {}, f"{phase} syncs more often than before"
