# SPDX-License-Identifier: BSD-3-Clause
"""Registers the task."""

import gymnasium as gym

from . import agents

gym.register(
    id="Pendulum-SwingUp-Direct",
    entry_point=f"{__name__}.env:SwingUpEnv",
    disable_env_checker=True,
    kwargs={
        "env_cfg_entry_point": f"{__name__}.env_cfg:SwingUpEnvCfg",
        "rsl_rl_cfg_entry_point": f"{agents.__name__}.rsl_rl_ppo_cfg:PPORunnerCfg",
        "rsl_rl_swapped_cfg_entry_point": f"{agents.__name__}.rsl_rl_ppo_cfg:SwappedRunnerCfg",
        "default_agent": "rsl_rl",
    },
)
