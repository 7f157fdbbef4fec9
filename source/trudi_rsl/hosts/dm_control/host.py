# SPDX-License-Identifier: BSD-3-Clause
"""dm_control as a host: the DeepMind Control Suite at the speed of C, under names such as ``dm_control:walker-run``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from trudi_rsl.config.schema import GymnasiumEnvCfg
from trudi_rsl.hosts.host import EnvironmentHost

if TYPE_CHECKING:
    from rsl_rl.env import VecEnv


def make_env(name: str, cfg: GymnasiumEnvCfg, device: str, seed: int, render_mode: str | None) -> VecEnv:
    """Make environments; arguments and errors as in :class:`~trudi_rsl.hosts.host.MakeEnv`."""
    from trudi_rsl.hosts.dm_control.env import DmControlVecEnv
    from trudi_rsl.hosts.gymnasium.host import vec_env_options

    return DmControlVecEnv(name, cfg.num_envs, **vec_env_options(cfg, device, seed, render_mode))


def tasks() -> Sequence[str]:
    """Return the names of all tasks of the suite, with the host's prefix."""
    from trudi_rsl.hosts.dm_control.env import suite_tasks

    return [f"{HOST.name}:{name}" for name in suite_tasks()]


HOST = EnvironmentHost(
    name="dm_control",
    title="dm_control",
    package="dm_control",
    install='Run: pip install "dm_control==1.0.50" "mujoco==3.17.0"',
    tasks=tasks,
    env_cfg=GymnasiumEnvCfg,
    make_env=make_env,
)
