# SPDX-License-Identifier: BSD-3-Clause
"""HumanoidBench as a host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from trudi_rsl.config.schema import GymnasiumEnvCfg
from trudi_rsl.hosts.host import EnvironmentHost

if TYPE_CHECKING:
    from rsl_rl.env import VecEnv

ROBOTS = ("h1", "h1hand", "h1simplehand", "h1strong", "h1touch", "g1")
INSTALL = (
    "It has no release. Run: git clone https://github.com/carlosferrazza/humanoid-bench && "
    'pip install --no-deps -e ./humanoid-bench && pip install "gymnasium[mujoco]" dm_control'
)


def make_env(name: str, cfg: GymnasiumEnvCfg, device: str, seed: int, render_mode: str | None) -> VecEnv:
    """Make environments; arguments and errors as in :class:`~trudi_rsl.hosts.host.MakeEnv`."""
    from trudi_rsl.hosts.gymnasium.host import vec_env_options
    from trudi_rsl.hosts.humanoidbench.env import HumanoidBenchVecEnv

    return HumanoidBenchVecEnv(name, cfg.num_envs, **vec_env_options(cfg, device, seed, render_mode))


def tasks() -> Sequence[str]:
    """Return the names of the tasks that HumanoidBench has a model of."""
    from trudi_rsl.hosts.humanoidbench.package import supported_tasks

    return supported_tasks()


HOST = EnvironmentHost(
    name="humanoidbench",
    title="HumanoidBench",
    package="humanoid_bench",
    install=INSTALL,
    patterns=(*(f"{robot}-*-v*" for robot in ROBOTS), "humanoid_bench:*"),
    tasks=tasks,
    env_cfg=GymnasiumEnvCfg,
    make_env=make_env,
)
