# SPDX-License-Identifier: BSD-3-Clause
"""With the stock runner, TruDi gets the true last observations of episodes from Isaac Lab and stores them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
import torch
from isaaclab.app import launch_simulation  # pyright: ignore[reportMissingImports]
from isaaclab.utils import to_dict  # pyright: ignore[reportMissingImports]
from isaaclab_rl.rsl_rl import RslRlVecEnvWrapper  # pyright: ignore[reportMissingImports]
from isaaclab_tasks.utils.parse_cfg import load_cfg_from_registry  # pyright: ignore[reportMissingImports]
from rsl_rl.runners import OnPolicyRunner

from tests.hosts.isaaclab_3_0.commands import SMALL
from trudi_rsl.hosts.isaaclab import TRUDI_KEY

PROJECT = Path(__file__).resolve().parents[3] / "exts" / "pendulum_tasks" / "src"
TASK = "Pendulum-SwingUp-Direct"
ENVS, STEPS = 4, 12


@pytest.fixture
def env() -> Iterator[RslRlVecEnvWrapper]:
    """Return pendulums, one of which runs out of time in the sixth step."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(PROJECT)
        import pendulum_tasks.tasks  # noqa: F401  # pyright: ignore[reportMissingImports]

        cfg = load_cfg_from_registry(TASK, "env_cfg_entry_point")
        cfg.scene.num_envs, cfg.sim.device, cfg.seed = ENVS, "cpu", 0
        with launch_simulation(cfg):
            env = RslRlVecEnvWrapper(gym.make(TASK, cfg=cfg))
            env.episode_length_buf[1] = env.max_episode_length - 6
            yield env
            env.close()


@pytest.mark.slow
def test_the_last_observation_of_an_episode_is_stored_and_not_that_of_the_next(
    env: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = load_cfg_from_registry(TASK, TRUDI_KEY)
    agent.algorithm.from_dict(SMALL)
    agent.device, agent.num_steps_per_env = "cpu", STEPS
    runner = OnPolicyRunner(env, to_dict(agent), log_dir=None, device="cpu")
    alg = runner.alg
    before_reset: list[torch.Tensor] = []
    reset = env.unwrapped._reset_idx

    def remember_and_reset(env_ids: Any) -> Any:
        before_reset.append(env.unwrapped._get_observations()["policy"].clone())
        return reset(env_ids)

    monkeypatch.setattr(env.unwrapped, "_reset_idx", remember_and_reset)
    obs = env.get_observations()
    ended = []
    with torch.inference_mode():
        for _ in range(STEPS):
            obs, rewards, dones, extras = env.step(alg.act(obs))
            alg.process_env_step(obs, rewards, dones, extras)
            ended.append(dones.clone())
    dones = torch.stack(ended)
    assert dones.nonzero().tolist() == [[5, 1]]
    (true_last,) = before_reset
    storage: Any = alg.storage
    assert storage.has_final[5, 1]
    assert torch.equal(storage.final_actor_obs[5, 1], true_last[1])
    assert not torch.allclose(storage.actor_obs[6, 1], true_last[1])
