# SPDX-License-Identifier: BSD-3-Clause
"""RSL-RL's symmetry augmentation and mirror loss for TruDi, REPPO and DIME (Mittal et al., ICRA 2024).

The project's function is called once per step of the rollout, with the observations of all environments, and never in
an update: RSL-RL calls it in every minibatch, which is more often and would break compiled and captured functions.
Actions, chains and noise are mirrored by the signed permutations that were read from it at the start.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from tensordict import TensorDict
from torch import Tensor
from torch.nn import functional as F

from trudi_rsl.algorithms.nonfinite import filter_nonfinite
from trudi_rsl.diffusion.signed_permutation import SignedPermutations
from trudi_rsl.policies import ActorCritic
from trudi_rsl.rsl_rl_compat.augmentation import Augmentation
from trudi_rsl.storage import NEXT_FEATURES_DTYPE, BatchRows, Minibatch, RolloutBuffer

logger = logging.getLogger(__name__)


class MirrorImages(NamedTuple):
    """Mirror images of the rows of a minibatch, without the originals: row ``(g - 1) * B + b`` is image ``g`` of b."""

    actor_obs: Tensor
    """Normalised actor observations ``[(G-1)*B, O]``."""
    critic_obs: Tensor
    """Normalised critic observations ``[(G-1)*B, Oc]``, the actor's where it has none of its own."""
    next_features: Tensor | None
    """Critic features of the next pair ``[(G-1)*B, F]``; None without augmentation."""


class MirrorTerms(NamedTuple):
    """What the learner needs of a symmetry besides :class:`MirrorImages`."""

    mirrors: SignedPermutations
    """Of unit actions, noise and chains."""
    augments: bool
    """Whether critic and actor learn from the images."""
    loss_coef: float
    """Weight of the mirror loss, 0 for none."""


def augment(batch: Minibatch, images: MirrorImages, mirrors: SignedPermutations) -> Minibatch:
    """Return the minibatch followed by its images, ``[G*B, ...]``; its trace remains that of the originals."""
    assert images.next_features is not None, "without augmentation they are not computed"
    actor_obs = torch.cat([batch.actor_obs, images.actor_obs])
    shared = batch.critic_obs is batch.actor_obs
    return batch._replace(
        actor_obs=actor_obs,
        critic_obs=actor_obs if shared else torch.cat([batch.critic_obs, images.critic_obs]),
        actions=mirrors.mirror(batch.actions),
        targets=batch.targets.repeat(mirrors.num_maps),
        next_features=torch.cat([batch.next_features, images.next_features]),
        target_valid=batch.target_valid.repeat(mirrors.num_maps),
        features_valid=batch.features_valid.repeat(mirrors.num_maps),
        counts=None if batch.counts is None else mirrors.num_maps * batch.counts,
    )


def mirror_error(model: ActorCritic[Any], obs: Tensor, images: Tensor, mirrors: SignedPermutations) -> Tensor:
    """Return the mean squared distance of noise-free actions at images from the images of those at ``obs``, scalar.

    It is RSL-RL's mirror loss, in simulator units, with a gradient through the former alone.

    Args:
        model: The module that acts.
        obs: Normalised observations ``[B, O]``.
        images: Those of their images ``[(G-1)*B, O]``.
        mirrors: Signed permutations of the actions.
    """
    offset = model.action_offset
    with torch.no_grad():
        expected = mirrors.mirror(model.deterministic_actions(obs) - offset)[len(obs) :]
    return F.mse_loss(model.deterministic_actions(images) - offset, expected)


class Symmetry:
    """Mirror images of a rollout's observations, and of the critic's features.

    Args:
        section: A checked ``symmetry_cfg``.
        augmentation: The project's function.
        mirrors: What it does to actions.
        model: Encodes the images; its normalisers learn from the originals alone, as in RSL-RL.
        num_steps: Rollout length ``T``.
        num_envs: Number of environments ``E``.
        feature_dim: Width ``F`` of the critic's features.
        device: Device of training.
    """

    def __init__(
        self,
        section: Mapping[str, Any],
        augmentation: Augmentation,
        mirrors: SignedPermutations,
        model: ActorCritic[Any],
        num_steps: int,
        num_envs: int,
        feature_dim: int,
        device: torch.device | str,
    ) -> None:
        uses_loss, augments = section["use_mirror_loss"], section["use_data_augmentation"]
        self.terms = MirrorTerms(mirrors, augments, section["mirror_loss_coeff"] if uses_loss else 0.0)
        self.only_logs = self.terms.loss_coef == 0.0
        """Whether the mirror error is no part of the loss."""
        self._augmentation, self._model = augmentation, model
        shape = (mirrors.num_maps - 1, num_steps + 1, num_envs)
        self._actor_obs = self._critic_obs = torch.zeros(*shape, model.actor_obs.num_obs, device=device)
        if augments and model.asymmetric:
            self._critic_obs = torch.zeros(*shape, model.critic_obs.num_obs, device=device)
        self._next_features = self._final_obs = None
        if augments:
            features = (shape[0], num_steps, num_envs, feature_dim)
            self._next_features = torch.zeros(features, device=device, dtype=NEXT_FEATURES_DTYPE)

    # -- collecting ---------------------------------------------------------------------------------------------------

    def observe(self, obs: TensorDict, step: int) -> None:
        """Store the images of the observations ``[E, ...]`` before a step, or after the last one."""
        model, images = self._model, self._images(obs)
        normalized = (encoder(images) for encoder in model.encoders)
        finite, _ = filter_nonfinite(*normalized)
        self._actor_obs[:, step].copy_(self._by_image(finite[0]))
        if self._critic_obs is not self._actor_obs:
            self._critic_obs[:, step].copy_(self._by_image(finite[-1]))

    def observe_final(self, final_obs: TensorDict | Mapping[str, Tensor], step: int) -> None:
        """Store the images of the last observations ``[E, ...]`` of episodes, which only augmentation needs.

        Memory is allocated on the first call, since many hosts provide none.
        """
        if not self.terms.augments:
            return
        if self._final_obs is None:
            with torch.inference_mode(False):
                self._final_obs = torch.zeros_like(self._critic_obs[:, 1:])
        groups = dict(final_obs.items())
        images = self._images(TensorDict(groups, batch_size=[self._actor_obs.shape[2]]))  # pyright: ignore
        self._final_obs[:, step].copy_(self._by_image(self._model.critic_obs.concatenate(images)))

    def _images(self, obs: TensorDict) -> TensorDict:
        return self._augmentation.observations(obs)[len(obs) :]

    def _by_image(self, x: Tensor) -> Tensor:
        return x.unflatten(0, (self._actor_obs.shape[0], -1))

    # -- targets ------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def compute_features(self, storage: RolloutBuffer) -> None:
        """Compute the critic's features of the images of a full rollout's next pairs."""
        if self._next_features is None:
            return
        critic, mirrors = self._model.critic, self.terms.mirrors
        for t in range(storage.num_steps):
            actions = mirrors.mirror(storage.actions[t + 1])[storage.num_envs :]
            _, features = critic.value_and_features(self._critic_obs[:, t + 1].flatten(0, 1), actions)
            self._next_features[:, t] = self._by_image(features)

    def compute_final_features(self, rows: Tensor, needed: Tensor, last_actions: Tensor) -> None:
        """Compute the features in rows ``t E + e`` whose next observation is an episode's last one.

        Args:
            rows: Rows ``[R]``.
            needed: Where that is so, bool ``[R]``; other rows are left as they are.
            last_actions: Unit actions there, ``[R, A]``.
        """
        if self._next_features is None or self._final_obs is None:
            return
        actions = self._by_image(self.terms.mirrors.mirror(last_actions)[len(last_actions) :])
        obs = self._model.critic_obs.normalize(self._final_obs.flatten(1, 2)[:, rows])
        _, features = self._model.critic.value_and_features(obs, actions)
        stored = self._next_features.flatten(1, 2)
        stored[:, rows] = torch.where(needed[:, None], features.to(stored.dtype), stored[:, rows])

    # -- learning -----------------------------------------------------------------------------------------------------

    def images(self, batch: BatchRows) -> MirrorImages:
        """Return the images of some rows ``t E + e`` of the rollout."""

        def at(x: Tensor) -> Tensor:
            return x.flatten(1, 2)[:, batch.rows].flatten(0, 1)

        actor_obs = at(self._actor_obs)
        critic_obs = actor_obs if self._critic_obs is self._actor_obs else at(self._critic_obs)
        return MirrorImages(actor_obs, critic_obs, None if self._next_features is None else at(self._next_features))

    @torch.no_grad()
    def error(self, storage: RolloutBuffer, batch: BatchRows) -> Tensor:
        """Return :func:`mirror_error` in some rows of the rollout, a scalar without gradient."""
        obs = storage.minibatch(batch).actor_obs
        return mirror_error(self._model, obs, self.images(batch).actor_obs, self.terms.mirrors)


def symmetry(
    section: Mapping[str, Any] | None,
    obs: TensorDict,
    env: Any,
    model: ActorCritic[Any],
    num_steps: int,
    feature_dim: int,
    device: torch.device | str,
) -> Symmetry | None:
    """Return the symmetry of a checked ``symmetry_cfg`` for an environment, None without one.

    Raises:
        ConfigError: If the project's function is none of a symmetry that chains can have; see :class:`Augmentation`.
    """
    if section is None:
        return None
    augmentation = Augmentation(section["data_augmentation_func"], env)
    offset, scale = model.action_offset, model.action_scale
    mirrors = augmentation.signed_permutations(offset - scale, offset + scale)
    groups = sorted({*model.actor_obs.groups, *model.critic_obs.groups})
    if unchanged := augmentation.check_observations(obs, groups, mirrors):
        logger.warning(
            "The symmetry's images of the observation group %s are equal to the originals: right only if nothing in it "
            "depends on the side.", ", ".join(unchanged),
        )  # fmt: skip
    return Symmetry(section, augmentation, mirrors, model, num_steps, len(obs), feature_dim, device)
