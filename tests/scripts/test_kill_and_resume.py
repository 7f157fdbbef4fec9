# SPDX-License-Identifier: BSD-3-Clause
"""A training killed at any moment and resumed by ``--resume`` ends with bitwise the parameters of one that was not."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.scripts.running import SCRIPTS, run_script
from trudi_rsl.checkpoints.file import read_checkpoint
from trudi_rsl.config.run_folder import find_checkpoint
from trudi_rsl.errors import CheckpointError

ITERATIONS, ENVS, STEPS = 8, 4, 16
FLAGS = (
    *("--task", "Hopper-v5", "--seed", "3", "--device", "cpu", "--num_envs", str(ENVS), "--headless"),
    *(f"agent.num_steps_per_env={STEPS}", "agent.save_interval=1", "agent.algorithm.compile=off"),
)


def newest(folder: Path) -> dict[str, Any]:
    """Return the content of the newest sound checkpoint in a folder."""
    return read_checkpoint(find_checkpoint(folder / "logs" / "rsl_rl" / "hopper-v5"))


def files_in(folder: Path) -> int:
    """Return the number of checkpoints in a folder; cheap enough to be called until there are more."""
    return len(list(folder.glob("logs/rsl_rl/hopper-v5/*/model_*.pt")))


def made_in(folder: Path) -> int:
    """Return the iterations behind the newest checkpoint, over all processes; 0 if there is none."""
    try:
        return newest(folder)["infos"]["logger"]["tot_timesteps"] // (ENVS * STEPS)
    except CheckpointError:
        return 0


@pytest.mark.slow
def test_a_training_killed_at_random_moments_ends_like_one_that_was_not(tmp_path: Path) -> None:
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    straight.mkdir()
    killed.mkdir()
    done = run_script("train.py", *FLAGS, "--max_iterations", str(ITERATIONS), cwd=straight)
    assert done.returncode == 0, done.stderr
    chance, kills = random.Random(0), 0
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    while (made := made_in(killed)) < ITERATIONS:
        command = [sys.executable, str(SCRIPTS / "train.py"), *FLAGS, "--max_iterations", str(ITERATIONS)]
        process = subprocess.Popen(
            [*command, *["--resume"] * bool(made)], cwd=killed, env=environment, stdout=subprocess.DEVNULL
        )
        wanted = files_in(killed) + chance.randint(1, 3)
        while kills < 2 and process.poll() is None and files_in(killed) < wanted:
            time.sleep(0.05)
        if kills < 2:
            # anywhere in an iteration, in which a checkpoint may be half written
            time.sleep(chance.uniform(0.0, 0.1))
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
    assert kills == 2
    one, other = newest(straight), newest(killed)
    for part in ("actor_state_dict", "critic_state_dict"):
        assert one[part].keys() == other[part].keys()
        assert [name for name, value in one[part].items() if not torch.equal(value, other[part][name])] == []
    assert torch.equal(one["optimizer_state_dict"]["log_lambda"], other["optimizer_state_dict"]["log_lambda"])
    assert torch.equal(one["env_state"]["observations"], other["env_state"]["observations"])
    assert torch.equal(one["rng_state"]["cpu"], other["rng_state"]["cpu"])
