# SPDX-License-Identifier: BSD-3-Clause
"""Isaac Lab 2.3 for its tests: the packages of its wheel with stubs of Isaac Sim, and the import line for TruDi."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from tests.hosts.isaaclab_2_3.isaac_sim_stubs import install

install()

import isaaclab_tasks  # noqa: E402, F401  # pyright: ignore[reportMissingImports]

import trudi_rsl.hosts.isaaclab  # noqa: E402, F401  the line that projects add

SMALL = {
    "num_denoise_steps": 2,
    "actor_hidden_dims": [16],
    "critic_hidden_dim": 16,
    "num_mini_batches": 2,
    "compile": "off",
}


def pytest_configure() -> None:
    """Refuse to run with another version of RSL-RL than the session's."""
    if os.environ.get("TRUDI_EXPECT_RSL_RL", version("rsl-rl-lib")) != version("rsl-rl-lib"):
        raise pytest.UsageError(f"rsl-rl-lib is {version('rsl-rl-lib')}")


@pytest.fixture
def make_runner() -> Callable[..., Any]:
    """Return a function that makes the stock runner as Isaac Lab's scripts do."""
    import gymnasium
    from isaaclab_rl.rsl_rl import RslRlVecEnvWrapper  # pyright: ignore[reportMissingImports]
    from isaaclab_tasks.utils.parse_cfg import load_cfg_from_registry  # pyright: ignore[reportMissingImports]
    from rsl_rl.runners import OnPolicyRunner

    from tests.hosts.isaaclab_2_3.point_task import TASK

    def make(
        log_dir: Path,
        agent: str = "rsl_rl_trudi_cfg_entry_point",
        clip_actions: float | None = None,
        task: str = TASK,
        num_envs: int = 8,
    ) -> Any:
        env_cfg = load_cfg_from_registry(task, "env_cfg_entry_point")
        agent_cfg = load_cfg_from_registry(task, agent)
        env_cfg.seed, agent_cfg.device, env_cfg.scene.num_envs = 1, "cpu", num_envs
        if agent != "rsl_rl_cfg_entry_point":
            agent_cfg.num_steps_per_env = 8
            agent_cfg.algorithm.from_dict({k: v for k, v in SMALL.items() if hasattr(agent_cfg.algorithm, k)})
        env = RslRlVecEnvWrapper(gymnasium.make(task, cfg=env_cfg), clip_actions=clip_actions)
        return OnPolicyRunner(env, agent_cfg.to_dict(), log_dir=str(log_dir), device=agent_cfg.device)

    return make
