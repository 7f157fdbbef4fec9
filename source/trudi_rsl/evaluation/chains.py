# SPDX-License-Identifier: BSD-3-Clause
"""Denoising chains of a trained policy at one observation, as numbers and as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trudi_rsl.checkpoints.file import read_checkpoint
from trudi_rsl.checkpoints.format import PolicySpec, algorithm_of
from trudi_rsl.checkpoints.rebuild import load_actor_critic
from trudi_rsl.errors import CheckpointError, ConfigError
from trudi_rsl.evaluation.identify import load_run_settings
from trudi_rsl.evaluation.pictures import Axes, Figure, Normalize, colormaps, new_figure
from trudi_rsl.evaluation.policies import Simulation, require_fit
from trudi_rsl.policies import ChainOptions, DiffusionActorCritic
from trudi_rsl.settings import SETTINGS
from trudi_rsl.task_names import present_name

SCORE_SCALES = (0.5, 1.0)
"""Score scales c of the ODEs that are drawn beside the SDE."""
NUM_LINES = 40
"""Chains drawn as lines; the densities are those of all chains."""
NUM_BINS = 80
OUTSIDE = 0.002
"""Share of the latents beyond either end of their axis: a few in thousands would flatten all others."""


@dataclass(frozen=True)
class ChainPaths:
    """P chains of one sampler."""

    name: str
    """The sampler."""
    latents: Tensor
    """``x_0 .. x_N``, ``[N + 1, P, A]``."""
    actions: Tensor
    """The resulting actions in the simulator's units, ``[P, A]``."""


@torch.no_grad()
def chain_paths(actor_critic: DiffusionActorCritic, obs: Tensor, num_paths: int) -> list[ChainPaths]:
    """Draw P chains with the SDE and the ODEs of :data:`SCORE_SCALES`, all from the same starts.

    ``obs`` ``[O]`` is the actor's observation, not normalised. Raises ConfigError if P is below 2.
    """
    if num_paths < 2:
        raise ConfigError(f"The number of paths must be at least 2, got {num_paths}.")
    actor = actor_critic.actor
    actor_obs = actor_critic.actor_obs.normalize(obs[None]).expand(num_paths, -1)
    chain = actor.sample(actor_obs, actor.draw_noise(num_paths))
    latents = {"SDE": chain.latents}
    for scale in SCORE_SCALES:
        latents[f"ODE, c = {scale:g}"] = torch.stack(actor.ode_path(actor_obs, ChainOptions(scale), chain.latents[0]))
    return [ChainPaths(name, x, actor_critic.to_simulator(x[-1].tanh())) for name, x in latents.items()]


def load_diffusion_policy(checkpoint: Path) -> tuple[DiffusionActorCritic, PolicySpec]:
    """Return the policy of a checkpoint, on the CPU, and the checkpoint's section about it.

    Raises CheckpointError if the policy has no denoising chain.
    """
    algorithm = algorithm_of(read_checkpoint(checkpoint))
    if algorithm in SETTINGS:
        actor_critic, spec = load_actor_critic(checkpoint)
        if actor_critic.actor_obs.is_learned:
            kind = "remembers" if actor_critic.is_recurrent else "sees images"
            raise CheckpointError(f"{checkpoint} is of a policy that {kind}; chains are drawn for vectors alone.")
        if isinstance(actor_critic, DiffusionActorCritic):
            return actor_critic, spec
    raise CheckpointError(
        f"{checkpoint} is a checkpoint of {algorithm}, whose policy has no denoising chain of TruDi's to draw."
    )


def read_observation(file: Path, size: int) -> Tensor:
    """Return the actor's observation, its groups concatenated to size O, that a ``.npy`` file holds as ``[(1,) O]``.

    Raises ConfigError if there is no such file, or it holds something else.
    """
    try:
        values: NDArray[np.generic] = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ConfigError(f"Cannot read an observation from {file}: {error}") from error
    if values.shape not in ((size,), (1, size)) or values.dtype.kind not in "fiu" or not np.isfinite(values).all():
        raise ConfigError(
            f"{file} must hold the {size} finite numbers of an observation, not {values.dtype} of shape {values.shape}."
        )
    return torch.from_numpy(values.reshape(-1).astype(np.float32))


def reset_observation(
    checkpoint: Path,
    actor_critic: DiffusionActorCritic,
    spec: PolicySpec,
    simulation: Simulation,
    seed: int,
    overrides: Sequence[str],
) -> Tensor:
    """Return the actor's observation after a reset of its task, ``[O]``.

    The settings of the checkpoint's run and the overrides ``env.name=value`` configure the simulator. Policy and
    ``spec`` are those of :func:`load_diffusion_policy`. Raises ConfigError if the task cannot be simulated here.
    """
    if spec["task"] is None:
        raise CheckpointError(f"{checkpoint} does not name its task; give an observation with --obs FILE.npy.")
    task, algorithm = present_name(spec["task"]), algorithm_of(read_checkpoint(checkpoint))
    try:
        simulation.require(task, "cpu")
    except (ConfigError, ImportError) as error:
        raise ConfigError(f"{error} Or give an observation with --obs FILE.npy.") from error
    cfg = load_run_settings(checkpoint, task, algorithm, ["env.num_envs=1", *overrides], simulation.find_host(task))
    env = simulation.make_env(task, cfg.env, seed=seed)
    require_fit(spec, env)
    obs = actor_critic.actor_obs.concatenate(env.get_observations())[0]
    env.close()  # pyright: ignore[reportAttributeAccessIssue]
    return obs


def chain_figure(paths: Sequence[ChainPaths], dims: Sequence[int], title: str) -> Figure:
    """Draw, for each action dimension and sampler, the chains over the denoising steps and the resulting actions.

    Left panels show the latents ``x_0 .. x_N``: their density at each step in grey, scaled to its maximum, and some
    chains as lines colored by their start, which all samplers share. Right panels show the density of the actions.
    """
    figure = new_figure(1.0 + 4.0 * len(paths), 0.8 + 2.8 * len(dims), title)
    grid = figure.add_gridspec(len(dims), 2 * len(paths), width_ratios=[3, 1] * len(paths))
    for row, dim in enumerate(dims):
        latents = [sampler.latents[..., dim].double().numpy() for sampler in paths]
        actions = [sampler.actions[:, dim].double().numpy() for sampler in paths]
        latent_bins, action_bins = _bin_edges(latents, OUTSIDE), _bin_edges(actions)
        for column, sampler in enumerate(paths):
            chain, ends = (figure.add_subplot(grid[row, 2 * column + i]) for i in (0, 1))
            _draw_chain(chain, latents[column], latent_bins)
            _draw_density(ends, actions[column], action_bins)
            if row == 0:
                chain.set_title(sampler.name, fontsize="small", loc="left")
            if column == 0:
                chain.set_ylabel(f"Latent of action {dim}", fontsize="small")
            if row == len(dims) - 1:
                chain.set_xlabel("Denoising step", fontsize="small")
                ends.set_xlabel("Density", fontsize="small")
            if row == 0:
                ends.set_title("Action", fontsize="small", loc="right")
    lines = min(NUM_LINES, paths[0].latents.shape[1])
    figure.supxlabel(f"Grey: density of all chains. Lines: {lines} of them, coloured by their start.", fontsize="small")
    return figure


def _bin_edges(values: Sequence[NDArray[np.float64]], outside: float = 0.0) -> NDArray[np.float64]:
    """Return the edges of bins, ``[NUM_BINS + 1]``, that hold all values but a share at either end."""
    low, high = np.quantile(np.concatenate([x.reshape(-1) for x in values]), [outside, 1.0 - outside])
    margin = 0.02 * (high - low) or 0.5
    return np.linspace(low - margin, high + margin, NUM_BINS + 1)


def _draw_chain(axes: Axes, latents: NDArray[np.float64], bins: NDArray[np.float64]) -> None:
    """Draw the chains ``[N + 1, P]`` of one dimension."""
    num_steps = len(latents) - 1
    density = np.stack([np.histogram(x, bins)[0] for x in latents], axis=1)
    edges = np.arange(num_steps + 2) - 0.5
    axes.pcolormesh(edges, bins, density / density.max(axis=0).clip(min=1), cmap="Greys", vmax=1.3, rasterized=True)
    spread = 1.5 * float(latents[0].std())
    colors = colormaps["coolwarm"](Normalize(-spread, spread, clip=True)(latents[0, :NUM_LINES]))
    for path, color in zip(latents[:, :NUM_LINES].T, colors, strict=True):
        axes.plot(np.arange(num_steps + 1), path, color=color, linewidth=0.9, alpha=0.9)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(bins[0], bins[-1])
    axes.tick_params(labelsize="small")


def _draw_density(axes: Axes, values: NDArray[np.float64], bins: NDArray[np.float64]) -> None:
    """Draw the density of the values ``[P]`` along the y axis."""
    density, _ = np.histogram(values, bins, density=True)
    axes.stairs(density, bins, orientation="horizontal", fill=True, color="0.45")
    axes.set_ylim(bins[0], bins[-1])
    axes.yaxis.tick_right()
    axes.locator_params(axis="x", nbins=2)
    axes.locator_params(axis="y", nbins=4)
    axes.tick_params(labelsize="small")
    axes.spines[["top", "left"]].set_visible(False)
