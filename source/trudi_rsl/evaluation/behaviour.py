# SPDX-License-Identifier: BSD-3-Clause
"""Which of a task's behaviours a policy shows: runs from one fixed start, counted by mode."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from rsl_rl.env import VecEnv

from trudi_rsl.episodes import Policy
from trudi_rsl.errors import ConfigError
from trudi_rsl.tasks import BehaviourModes

FAILURE = "failure"
"""What stands for the mode of a run that failed."""


def behaviour_entropy(counts: Sequence[int]) -> float:
    """Return ``H = -sum_m p_m log2 p_m`` over the runs that succeeded, in bits: 0 for one mode, 1 for two in balance.

    Args:
        counts: Runs of each mode ``[M]``. Runs that failed are of no mode.

    Returns:
        NaN if there are no runs.
    """
    total = sum(counts)
    if total == 0:
        return math.nan
    shares = (count / total for count in counts if count)
    return sum(share * math.log2(1.0 / share) for share in shares)


@dataclass(frozen=True)
class Trajectory:
    """One run."""

    observations: NDArray[np.float64]
    """What the policy saw and where that led, ``[L + 1, O]`` for L steps."""
    episode_return: float
    """Undiscounted sum of rewards."""


@torch.no_grad()
def record(env: VecEnv, policy: Policy, group: str = "policy", progress: bool = True) -> list[Trajectory]:
    """Run one whole episode in every environment.

    Args:
        env: The environments; all are reset with ``env.reset()``. Where an episode ends, its last observation is taken
            from ``extras["final_obs"]``.
        policy: Gives the actions.
        group: Observation group to record.
        progress: Show a progress bar over the steps of the longest episode that can be, with the time left.

    Returns:
        E runs.

    Raises:
        ConfigError: If the environment does not tell an episode's last observation.
    """
    obs, _ = env.reset()  # type: ignore[attr-defined]  # RSL-RL's base class lacks it, every host has it
    if (reset_policy := getattr(policy, "reset", None)) is not None:
        reset_policy(torch.ones(env.num_envs, device=env.device))
    seen, rewards = [obs[group].cpu()], []
    lengths = torch.zeros(env.num_envs, dtype=torch.long)
    for step in track(range(1, env.max_episode_length + 1), "Running", transient=True, disable=not progress):
        obs, reward, dones, extras = env.step(policy(obs))
        done = dones.reshape(-1).cpu() > 0
        if bool(done.any()) and "final_obs" not in extras:
            raise ConfigError("The environment does not tell where its episodes ended (extras['final_obs']).")
        seen.append(extras.get("final_obs", obs)[group].cpu())
        rewards.append(reward.reshape(-1).cpu())
        lengths[done & (lengths == 0)] = step
        if bool((lengths > 0).all()):
            break
    observations = torch.stack(seen, dim=1).double().numpy()
    gained = torch.stack(rewards, dim=1).double().numpy()
    return [
        Trajectory(observations[i, : length + 1], float(gained[i, :length].sum()))
        for i, length in enumerate(lengths.tolist())
    ]


@dataclass(frozen=True)
class Behaviour:
    """What the runs of a policy from a fixed start showed."""

    trajectories: Sequence[Trajectory]
    """The runs."""
    modes: Sequence[str | None]
    """Name of each run's mode, None where it failed."""
    names: tuple[str, ...]
    """The task's modes."""

    @classmethod
    def of(cls, trajectories: Sequence[Trajectory], modes: BehaviourModes) -> Behaviour:
        """Classify runs by the task's modes."""
        indices = [modes.classify(run.observations) for run in trajectories]
        return cls(trajectories, [None if i is None else modes.names[i] for i in indices], modes.names)

    @property
    def counts(self) -> dict[str, int]:
        """Runs of each mode."""
        return {name: self.modes.count(name) for name in self.names}

    @property
    def failures(self) -> int:
        """Runs that failed."""
        return self.modes.count(None)

    @property
    def entropy(self) -> float:
        """See :func:`behaviour_entropy`."""
        return behaviour_entropy(list(self.counts.values()))

    @property
    def returns(self) -> NDArray[np.float64]:
        """Returns of the runs, ``[R]``."""
        return np.array([run.episode_return for run in self.trajectories])

    def to_dict(self) -> dict[str, Any]:
        """Return plain values: totals, and a row for each run. The entropy of no success is None."""
        entropy = self.entropy
        return {
            "num_runs": len(self.modes),
            "counts": self.counts,
            "failures": self.failures,
            "behaviour_entropy_bits": None if math.isnan(entropy) else entropy,
            "return_mean": float(self.returns.mean()),
            "return_std": float(self.returns.std(ddof=1)) if len(self.modes) > 1 else None,
            "runs": [
                {"mode": mode or FAILURE, "return": run.episode_return, "length": len(run.observations) - 1}
                for mode, run in zip(self.modes, self.trajectories, strict=True)
            ],
        }
