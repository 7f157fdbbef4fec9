# SPDX-License-Identifier: BSD-3-Clause
"""Denoising chains as pictures (after Figure 1 of the TruDi paper, arXiv 2606.15260)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trudi_rsl.evaluation.chain_paths import ChainPaths

try:
    from matplotlib import colormaps
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure
except ImportError as error:
    raise ImportError('Plots need matplotlib: pip install "trudi_rsl[eval]"') from error

NUM_LINES = 60
"""Chains drawn as lines; the densities are those of all."""
NUM_BINS = 80
PATH_COLORS = "coolwarm"


def chain_figure(paths: Sequence[ChainPaths], dims: Sequence[int], title: str) -> Figure:
    """Draw, for each action dimension and sampler, the chains over the denoising steps and where they end.

    A left panel has the latents ``x_0 .. x_N``: their density at each step in grey (each step's highest is black), and
    some chains as lines, coloured by their start, the same starts for all samplers. The right panel has the density of
    the actions that the chains lead to.

    Args:
        paths: A column for each sampler.
        dims: Action dimensions, a row for each.
        title: Above the picture.
    """
    figure = Figure(figsize=(1.0 + 4.0 * len(paths), 0.8 + 2.8 * len(dims)), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize="medium")
    grid = figure.add_gridspec(len(dims), 2 * len(paths), width_ratios=[3, 1] * len(paths))
    for row, dim in enumerate(dims):
        latents = [sampler.latents[..., dim].double().numpy() for sampler in paths]
        actions = [sampler.actions[:, dim].double().numpy() for sampler in paths]
        latent_bins = _bins(np.concatenate([x.ravel() for x in latents]))
        action_bins = _bins(np.concatenate(actions))
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
                ends.set_xlabel("Density", fontsize="x-small")
            ends.set_title("Action", fontsize="x-small", loc="right")
    return figure


def _bins(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the edges of bins that hold all values, ``[NUM_BINS + 1]``."""
    low, high = values.min(), values.max()
    margin = 0.02 * (high - low) or 0.5
    return np.linspace(low - margin, high + margin, NUM_BINS + 1)


def _draw_chain(axes: Axes, latents: NDArray[np.float64], bins: NDArray[np.float64]) -> None:
    """Draw the chains ``[N + 1, P]`` of one dimension."""
    num_steps = len(latents) - 1
    density = np.stack([np.histogram(x, bins)[0] for x in latents], axis=1)
    density = density / density.max(axis=0)
    axes.pcolormesh(np.arange(num_steps + 2) - 0.5, bins, density, cmap="Greys", vmax=1.6, rasterized=True)
    spread = float(np.abs(latents[0]).max())
    colors = colormaps[PATH_COLORS](Normalize(-spread, spread)(latents[0, :NUM_LINES]))
    for path, color in zip(latents[:, :NUM_LINES].T, colors, strict=True):
        axes.plot(np.arange(num_steps + 1), path, color=color, linewidth=0.7, alpha=0.8)
    axes.set_xlim(-0.5, num_steps + 0.5)
    axes.tick_params(labelsize="x-small")


def _draw_density(axes: Axes, values: NDArray[np.float64], bins: NDArray[np.float64]) -> None:
    """Draw the density of ``[P]`` values along the y axis."""
    density, _ = np.histogram(values, bins, density=True)
    axes.stairs(density, bins, orientation="horizontal", fill=True, color="0.45")
    axes.set_ylim(bins[0], bins[-1])
    axes.yaxis.tick_right()
    axes.tick_params(labelsize="x-small")
    axes.spines[["top", "left"]].set_visible(False)
