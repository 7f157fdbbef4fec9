# SPDX-License-Identifier: BSD-3-Clause
"""The denoising chains of a trained policy at one observation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trudi_rsl.algorithms.checkpoint import algorithm_of, load_actor_critic, read_checkpoint
from trudi_rsl.algorithms.family import SETTINGS
from trudi_rsl.errors import CheckpointError, ConfigError
from trudi_rsl.evaluation.play import settings
from trudi_rsl.evaluation.policies import require_fit
from trudi_rsl.hosts.registry import launcher, make_env
from trudi_rsl.modules import DiffusionActorCritic

SCORE_SCALES = (0.5, 1.0)
"""Score scales c of the ODE that are shown beside the SDE."""


@dataclass(frozen=True)
class ChainPaths:
    """Chains of one sampler."""

    name: str
    """The sampler."""
    latents: Tensor
    """``x_0 .. x_N`` of P chains, ``[N + 1, P, A]``."""
    actions: Tensor
    """Where they lead, in the simulator's units, ``[P, A]``."""


@torch.no_grad()
def chain_paths(actor_critic: DiffusionActorCritic, obs: Tensor, num_paths: int) -> list[ChainPaths]:
    """Draw chains at one observation by the SDE and by the ODEs of :data:`SCORE_SCALES`, all from the same starts.

    Args:
        actor_critic: The policy.
        obs: What the actor sees, not normalised, ``[O]``.
        num_paths: P, at least 2.

    Raises:
        ConfigError: If ``num_paths`` is below 2.
    """
    if num_paths < 2:
        raise ConfigError(f"The number of paths must be at least 2, got {num_paths}.")
    actor = actor_critic.actor
    actor_obs = actor_critic.actor_obs.normalize(obs[None]).expand(num_paths, -1)
    chain = actor.sample(actor_obs, actor.draw_noise(num_paths))
    latents = {"SDE": chain.latents}
    for scale in SCORE_SCALES:
        latents[f"ODE, c = {scale:g}"] = torch.stack(actor.ode_path(actor_obs, chain.latents[0], scale))
    return [ChainPaths(name, x, actor_critic.to_simulator(x[-1].tanh())) for name, x in latents.items()]


def load_diffusion_policy(checkpoint: Path) -> tuple[DiffusionActorCritic, dict[str, Any]]:
    """Return the policy of a checkpoint, on the CPU, and what the checkpoint tells of itself.

    Raises:
        CheckpointError: If it is no checkpoint, or one whose policy has no denoising chain.
    """
    algorithm = algorithm_of(read_checkpoint(checkpoint))
    if algorithm in SETTINGS:
        actor_critic, spec = load_actor_critic(checkpoint)
        if isinstance(actor_critic, DiffusionActorCritic):
            return actor_critic, spec
    raise CheckpointError(
        f"{checkpoint} is a checkpoint of {algorithm}, whose policy has no denoising chain of TruDi's to draw."
    )


def observation_from_file(file: Path, size: int) -> Tensor:
    """Return the observation ``[O]`` that a ``.npy`` file holds as ``[O]`` or ``[1, O]``.

    Args:
        file: All numbers that the actor sees, its observation groups one after the other.
        size: O.

    Raises:
        ConfigError: If there is no such file, or it holds something else.
    """
    try:
        values: NDArray[np.generic] = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ConfigError(f"Cannot read an observation from {file}: {error}") from error
    if values.shape not in ((size,), (1, size)) or values.dtype.kind not in "fiu" or not np.isfinite(values).all():
        raise ConfigError(
            f"{file} must hold the {size} finite numbers of one observation; it holds {values.dtype} of shape "
            f"{values.shape}."
        )
    return torch.from_numpy(values.reshape(-1).astype(np.float32))


def first_observation(
    checkpoint: Path, actor_critic: DiffusionActorCritic, spec: Mapping[str, Any], seed: int, overrides: Sequence[str]
) -> Tensor:
    """Return what the actor sees after the reset of its task, ``[O]``.

    Args:
        checkpoint: The settings of its run are the simulator's.
        actor_critic: Its policy.
        spec: What :func:`load_diffusion_policy` returned beside it.
        seed: Seed of the reset.
        overrides: ``env.name=value``.

    Raises:
        CheckpointError: If the policy does not read what the task gives.
        ConfigError: If the task is not one of Gymnasium, or an override is refused.
    """
    task, algorithm = spec["task"], algorithm_of(read_checkpoint(checkpoint))
    if launcher(task) is not None:
        raise ConfigError(f"Task {task!r} has a simulator that starts itself; give an observation with --obs FILE.npy.")
    cfg = settings(checkpoint, task, algorithm, ["env.num_envs=1", *overrides])
    env = make_env(task, cfg.env, seed=seed)
    require_fit(spec["obs_dims"], actor_critic.num_actions, env)
    obs = actor_critic.actor_obs.concatenate(env.get_observations())[0]
    env.close()  # pyright: ignore[reportAttributeAccessIssue]
    return obs
