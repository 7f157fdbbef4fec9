# SPDX-License-Identifier: BSD-3-Clause
"""The ``data_augmentation_func`` of RSL-RL's symmetry, called as all versions from 3.0 to 5.5 call it, and checked.

RSL-RL checks neither the number of copies nor what a mirror does to actions: a wrong one trains, to a wrong policy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor

from trudi_rsl.diffusion.signed_permutation import SignedPermutations
from trudi_rsl.errors import ConfigError, one_line
from trudi_rsl.rsl_rl_compat.models import resolve_callable

NAME = "algorithm.symmetry_cfg.data_augmentation_func"
TOLERANCE = 1e-4
"""Largest error of an image that counts as rounding, relative to the width of the action's bounds."""


class Augmentation:
    """A project's function from observations and actions ``[B, ...]`` to ``G`` copies of them, ``[G*B, ...]``.

    The first copy is the original, the others are its mirror images.

    Args:
        function: The function, or its name as RSL-RL resolves it.
        env: The environment, which the function receives.

    Raises:
        ConfigError: If there is no function of that name.
    """

    def __init__(self, function: Any, env: Any) -> None:
        try:
            # RSL-RL before 3.3 resolves names alone
            self._function: Callable[..., Any] = function if callable(function) else resolve_callable(function)
        except (ImportError, AttributeError, TypeError, ValueError) as error:
            raise ConfigError(f"{NAME}={function!r} cannot be imported: {one_line(error)}") from error
        self._env = env

    def observations(self, obs: TensorDict) -> TensorDict:
        """Return the copies ``[G*B, ...]`` of observation groups ``[B, ...]``; the function may change its argument."""
        return self._function(env=self._env, obs=obs.clone(), actions=None)[0]

    def actions(self, actions: Tensor) -> Tensor:
        """Return the copies ``[G*B, A]`` of simulator actions ``[B, A]``; the function may change its argument."""
        return self._function(env=self._env, obs=None, actions=actions.clone())[1]

    # -- checks -------------------------------------------------------------------------------------------------------

    def signed_permutations(self, low: Tensor, high: Tensor) -> SignedPermutations:
        """Return what the function does to actions with these bounds ``[A]``, relative to the bounds' centres.

        Raises:
            ConfigError: If it fails, returns no copies or not the original first, maps an action to anything but an
                action or its negative, maps bounds to other bounds, or a mirrored action does not come back.
        """
        centre, half = 0.5 * (high + low), 0.5 * (high - low)
        num_actions = len(low)
        units = torch.eye(num_actions, device=low.device, dtype=low.dtype)
        probes = torch.cat([torch.zeros_like(units[:1]), units, -units])
        given = centre + half * probes
        copies = self._called(self.actions, given)
        if not isinstance(copies, Tensor) or copies.ndim != 2 or copies.shape[1] != num_actions:
            raise ConfigError(f"{NAME} must return actions [copies * rows, {num_actions}]; got {_shape(copies)}.")
        images = copies.to(given).unflatten(0, (self._count(len(copies), len(given)), len(given)))
        if not torch.allclose(images[0], given, atol=TOLERANCE):
            raise ConfigError(f"{NAME} must return the actions that it was passed first, unchanged, then their images.")
        maps = [self._signed_permutation(g, image, centre, half) for g, image in enumerate(images)]
        mirrors = SignedPermutations(*(torch.stack(part) for part in zip(*maps, strict=True)))
        for g, inverse in enumerate(mirrors.inverses()):
            if inverse is None:
                raise ConfigError(
                    f"{NAME}: image {g} of an action, mirrored once more, is not the action, and no other image "
                    "undoes it. A mirror must be its own inverse; of rotations, return all."
                )
        return mirrors

    def _signed_permutation(self, g: int, image: Tensor, centre: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
        """Return sources and signs ``[A]`` of image ``g`` of the probes ``[1 + 2 A, A]``."""
        num_actions = len(centre)
        moved = (image[1 : num_actions + 1] - image[0]) / half[:, None]
        back = (image[num_actions + 1 :] - image[0]) / half[:, None]
        # entry [i, j]: by how much action j of the image moves with action i
        sources, signs = moved.abs().argmax(0), moved.gather(0, moved.abs().argmax(0)[None])[0].sign()
        expected = torch.zeros_like(moved)
        expected[sources, torch.arange(num_actions)] = signs
        wrong = ((moved - expected).abs() > TOLERANCE) | ((back + expected).abs() > TOLERANCE)
        if wrong.any() or len(sources.unique()) < num_actions:
            j = int(wrong.any(0).nonzero()[0]) if wrong.any() else num_actions - 1
            of = ", ".join(f"{value:+.3g} of action {i}" for i, value in enumerate(moved[:, j].tolist()) if value)
            raise ConfigError(
                f"{NAME} must map every action to one action or its negative, each to another: in image {g}, action "
                f"{j} is {of or 'constant'}. Denoising chains can be mirrored in no other way."
            )
        low, high = image[0] - half[sources], image[0] + half[sources]
        if (off := ((image[0] - centre).abs() + (half[sources] - half).abs()) > TOLERANCE * half).any():
            j = int(off.nonzero()[0])
            i, mapped, own = int(sources[j]), (low[j], high[j]), (centre[j] - half[j], centre[j] + half[j])
            raise ConfigError(
                f"{NAME} must map bounds to bounds: image {g} of action {i} has the bounds {_interval(*mapped)}, and "
                f"becomes action {j} with {_interval(*own)}. Set algorithm.action_bounds to one interval for all "
                "actions, symmetric about 0, or let the environment have bounds with the symmetry."
            )
        return sources, signs

    def check_observations(self, obs: TensorDict, groups: Iterable[str], mirrors: SignedPermutations) -> list[str]:
        """Refuse images of observations ``[E, ...]`` that do not fit those of actions; return the unchanged groups.

        Raises:
            ConfigError: If it fails, the number of copies differs, the first is not the original, or mirroring twice
                does not return a group.
        """
        copies = self._called(self.observations, obs)
        missing = [name for name in groups if name not in getattr(copies, "keys", dict)()]
        if missing:
            raise ConfigError(f"{NAME} must return the observation groups; {missing[0]!r} is missing.")
        count = self._count(len(copies), len(obs))
        if count != mirrors.num_maps:
            raise ConfigError(f"{NAME} returns {count} copies of observations, but {mirrors.num_maps} of actions.")
        images = [copies[g * len(obs) : (g + 1) * len(obs)] for g in range(count)]
        inverses = mirrors.inverses()
        unchanged = []
        for name in groups:
            if not _equal(images[0][name], obs[name]):
                raise ConfigError(f"{NAME} must return observations unchanged first; it changes the group {name!r}.")
            if all(_equal(image[name], obs[name]) for image in images):
                unchanged.append(name)
        for g, (image, inverse) in enumerate(zip(images, inverses, strict=True)):
            assert inverse is not None
            returned = self.observations(image)[inverse * len(obs) : (inverse + 1) * len(obs)]
            for name in groups:
                if not _equal(returned[name], obs[name]):
                    off = (returned[name] - obs[name]).abs().flatten(1).max(0).values.argmax().item()
                    raise ConfigError(
                        f"{NAME}: image {g} of an observation, mirrored once more, is not the observation: group "
                        f"{name!r} comes back with another entry {off}."
                    )
        return unchanged

    def _called(self, function: Any, argument: Any) -> Any:
        try:
            return function(argument)
        except ConfigError:
            raise
        except Exception as error:  # a project's code may raise anything
            what = "actions alone" if isinstance(argument, Tensor) else "observations alone"
            raise ConfigError(f"{NAME} fails for {what}: {type(error).__name__}: {one_line(error)}") from error

    def _count(self, returned: int, given: int) -> int:
        if returned % given or returned < 2 * given:
            raise ConfigError(
                f"{NAME} must return copies of all rows, the original and at least one image; it returns {returned} "
                f"rows for {given}."
            )
        return returned // given


def _equal(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a.to(b), b, rtol=1e-4, atol=1e-5, equal_nan=True)


def _shape(value: object) -> str:
    return str(list(value.shape)) if isinstance(value, Tensor) else type(value).__name__


def _interval(low: Tensor, high: Tensor) -> str:
    return f"[{low.item():.4g}, {high.item():.4g}]"
