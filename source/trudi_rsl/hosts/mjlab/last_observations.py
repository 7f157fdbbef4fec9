# SPDX-License-Identifier: BSD-3-Clause
"""The true last observations of episodes, which mjlab gives where the caller resets."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from mjlab.rl import RslRlVecEnvWrapper  # pyright: ignore[reportMissingImports]
from tensordict import TensorDict
from torch import Tensor


class LastObservations(RslRlVecEnvWrapper):
    """An mjlab environment that tells the last observations of episodes which a time limit ends.

    A value is needed there; after a fall it is zero. So a step in which no time limit is due is mjlab's own. In one
    with ``cfg.auto_reset`` off, mjlab leaves ended environments in their last state, computes the observations there,
    and has the caller reset, which costs a second forward pass of the simulator. What follows the step here is what
    mjlab's own does within, with these differences:

    - environments that go on keep the observations, logs and command metrics of the step, although ``reset`` computes
      the observations of all again, with new noise;
    - the commands of an ended environment make their step before it is reset, as its last observation needs.

    ``extras["final_obs"]`` holds the observation groups ``[E, ...]`` before the reset in such a step, and is absent in
    others.

    Args:
        env: The environment to step.
    """

    def __init__(self, env: RslRlVecEnvWrapper) -> None:
        # not the constructor, which would reset
        self.__dict__ |= vars(env)
        self._resetting = env

    def step(self, actions: Tensor) -> tuple[TensorDict, Tensor, Tensor, dict[str, Any]]:
        """Step with actions ``[E, A]``; see :class:`rsl_rl.env.VecEnv`."""
        base = self.unwrapped
        due = bool((base.episode_length_buf + 1 >= base.max_episode_length).any()) and not base.cfg.is_finite_horizon
        base.cfg.auto_reset = not due
        obs, rewards, dones, extras = self._resetting.step(actions)
        extras.pop("final_obs", None)
        ended = dones.nonzero().squeeze(-1)
        if not due or len(ended) == 0:
            return obs, rewards, dones, extras
        manager = base.command_manager
        commands = [manager.get_term(name) for name in manager.active_terms]
        log, metrics = extras["log"], [{name: m.clone() for name, m in c.metrics.items()} for c in commands]
        fresh, _ = base.reset(env_ids=ended)
        going_on = dones == 0
        for command, before in zip(commands, metrics, strict=True):
            for name, values in before.items():
                command.metrics[name][going_on] = values[going_on]
        extras["log"] = log | extras["log"]
        next_obs = obs.clone()
        next_obs[ended] = TensorDict(fresh, batch_size=[self.num_envs])[ended]
        extras["final_obs"] = obs
        return next_obs, rewards, dones, extras


@contextlib.contextmanager
def last_observations(env: RslRlVecEnvWrapper) -> Iterator[RslRlVecEnvWrapper]:
    """Let ``env`` tell last observations inside the block.

    An environment with recorders is yielded as it is: mjlab calls them at points of its own step that a caller who
    resets can't reproduce.
    """
    base = env.unwrapped
    if base.cfg.recorders:
        print("[trudi_rsl] The task records its steps, so mjlab resets it, and last observations stay unknown.")
        yield env
        return
    auto_reset = base.cfg.auto_reset
    try:
        yield LastObservations(env)
    finally:
        base.cfg.auto_reset = auto_reset
