# SPDX-License-Identifier: BSD-3-Clause
"""Flow matching: a velocity field that transports noise at time 0 to actions at time 1 (arXiv 2210.02747).

The path between noise ``e`` and action ``a`` is straight, ``x_t = (1 - t) e + t a``, so its velocity is ``a - e``.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from trudi_rsl.diffusion.schedule import first_steps


def interpolate(actions: Tensor, noise: Tensor, times: Tensor) -> Tensor:
    """Return ``x_t = (1 - t) e + t a`` for ``a`` and ``e`` ``[..., A]`` at times ``t`` in [0, 1] ``[...]``."""
    t = times[..., None]
    return (1.0 - t) * noise + t * actions


def matching_losses(velocity: Tensor, actions: Tensor, noise: Tensor) -> Tensor:
    """Return the losses ``|v - (a - e)|^2`` of velocities ``v`` at the interpolated points, ``[..., A] -> [...]``."""
    return (velocity - (actions - noise)).square().sum(-1)


def euler_path(
    velocity: Callable[[Tensor, int], Tensor], start: Tensor, num_steps: int, num_groups: int | None = None
) -> list[Tensor]:
    """Return the positions of Euler's method, ``x_{k+1} = x_k + v(x_k, k/N) / N``; the last is ``x(1)``.

    Args:
        velocity: Returns ``v(x, k/N)`` for ``x`` and the index ``k`` of the step.
        start: ``x(0)``.
        num_steps: ``N``.
        num_groups: Groups of consecutive steps, each taken in one with the velocity at its first; None takes
            every step singly.
    """
    path, firsts = [start], first_steps(num_steps, num_groups or num_steps)
    for k, end in zip(firsts, [*firsts[1:], num_steps], strict=True):
        path.append(path[-1] + (end - k) * velocity(path[-1], k) / num_steps)
    return path
