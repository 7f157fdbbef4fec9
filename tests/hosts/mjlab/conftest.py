# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportMissingImports=false
"""Fixtures of the mjlab tests: a Unitree G1 trained by mjlab's own command, and G1s to step."""

from __future__ import annotations

import os

os.environ.setdefault("MJLAB_WARP_QUIET", "1")  # read when mjlab is imported

from collections.abc import Iterator
from pathlib import Path

import pytest
from mjlab.envs import ManagerBasedRlEnv
from mjlab.rl import RslRlVecEnvWrapper
from mjlab.tasks.registry import load_env_cfg

from tests.hosts.mjlab.running import FLAT, SMALL, mjlab_command, newest_run


@pytest.fixture(scope="session")
def flat_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folder of two iterations on the flat G1, in a process of its own; both have a checkpoint."""
    folder = tmp_path_factory.mktemp("flat")
    mjlab_command("train", f"{FLAT}-TruDi", *SMALL, "--agent.max-iterations", "2", cwd=folder)
    return newest_run(folder)


@pytest.fixture(scope="module")
def g1() -> Iterator[RslRlVecEnvWrapper]:
    """Four flat G1s."""
    cfg = load_env_cfg(FLAT)
    cfg.scene.num_envs = 4
    cfg.seed = 0
    env = RslRlVecEnvWrapper(ManagerBasedRlEnv(cfg, "cpu"))
    yield env
    env.close()
