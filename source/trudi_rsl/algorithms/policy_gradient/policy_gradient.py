# SPDX-License-Identifier: BSD-3-Clause
"""RSL-RL's PPO with its update in overridable parts, and SPO (arXiv 2401.16025)."""

from __future__ import annotations

import copy
import functools
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

import torch
from rsl_rl.algorithms import PPO
from rsl_rl.env import VecEnv
from tensordict import TensorDict
from torch import Tensor, nn

from trudi_rsl.algorithms.nonfinite import LOWER_THE_RATE, UpdateGuard
from trudi_rsl.checkpoints.format import (
    SECTION,
    PolicyGradientAlgorithm,
    PolicySpec,
    check_algorithm,
    check_task,
    policy_spec,
    present_format,
)
from trudi_rsl.checkpoints.rebuild import kind_of_model, model_settings
from trudi_rsl.checkpoints.resume import resume_state, set_resume_state
from trudi_rsl.errors import ConfigError
from trudi_rsl.rsl_rl_compat.version import INSTALLED, NORMALIZES_IN_UPDATE, PPO_MODELS
from trudi_rsl.settings import TruDiCfg

if TYPE_CHECKING:
    from rsl_rl.storage import RolloutStorage


def clipped_surrogate(ratio: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """Return ``max(-A r, -A clip(r, 1 - eps, 1 + eps))``, PPO's loss (arXiv 1707.06347, Eq. 7).

    Args:
        ratio: Probability ratios ``r`` of the new to the old policy, any shape.
        advantages: ``A``, broadcastable to it.
        clip: ``eps``.
    """
    return torch.max(-advantages * ratio, -advantages * ratio.clamp(1.0 - clip, 1.0 + clip))


def penalised_surrogate(ratio: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """Return ``-(r A - |A| / (2 eps) (r - 1)^2)``, SPO's loss (arXiv 2401.16025), least at ``r = 1 + eps sign(A)``.

    Args:
        ratio: Probability ratios ``r`` of the new to the old policy, any shape.
        advantages: ``A``, broadcastable to it.
        clip: ``eps``, how far the ratio is meant to go.
    """
    return advantages.abs() / (2.0 * clip) * (ratio - 1.0).square() - ratio * advantages


def value_loss(values: Tensor, old_values: Tensor, returns: Tensor, clip: float | None) -> Tensor:
    """Return RSL-RL's mean squared error of the critic, scalar.

    Args:
        values: ``V`` of the states ``[B, 1]``.
        old_values: ``V`` when they were visited ``[B, 1]``.
        returns: Targets ``[B, 1]``.
        clip: Largest change of a value that is rewarded; None for any.
    """
    errors = (values - returns).square()
    if clip is not None:
        near = old_values + (values - old_values).clamp(-clip, clip)
        errors = torch.max(errors, (near - returns).square())
    return errors.mean()


MIN_LEARNING_RATE, MAX_LEARNING_RATE = 1e-5, 1e-2
"""Ends of the adaptive learning rate, RSL-RL's."""


class PolicyGradient(PPO):
    """PPO as RSL-RL has it: acting, storage, advantages, critic, normalisers and checkpoints are inherited.

    ``update`` is written anew, in parts: :meth:`log_ratios` and :meth:`surrogate` are what relatives replace. With
    those of this class and a Gaussian model it takes PPO's own steps, but none whose gradient is not finite. For that
    it waits for the device in every minibatch, as RSL-RL's adaptive learning rate does; losses are read once.

    Random network distillation, symmetry and recurrent models are not supported.
    """

    algo: ClassVar[PolicyGradientAlgorithm] = "ppo"
    """What ``--algo`` calls the algorithm."""
    has_closed_forms: ClassVar[bool] = True
    """Whether the actor has an entropy and a KL in closed form."""
    spec: PolicySpec | None = None
    """The checkpoint's section, if the algorithm was built from a runner configuration."""
    env: VecEnv | None = None
    """The environment, asked for its state when saving if it can tell it (``state_dict``)."""
    _failed: bool = False

    @functools.cached_property
    def guard(self) -> UpdateGuard:
        """What counts skipped updates."""
        return UpdateGuard(TruDiCfg.max_skipped_updates)

    @classmethod
    def construct_algorithm(  # pyright: ignore[reportIncompatibleMethodOverride]  RSL-RL's cannot know its subclass
        cls, obs: TensorDict, env: VecEnv, cfg: dict[str, Any], device: str
    ) -> Self:
        """Build the algorithm from the runner configuration of a PPO; RSL-RL's runners call this.

        Raises:
            ConfigError: If RSL-RL is older than 5, or the configuration asks for what is not supported.
        """
        cls.check_version()
        for extension in ("rnd_cfg", "symmetry_cfg"):
            if cfg["algorithm"].setdefault(extension, None):
                raise ConfigError(f"{cls.__name__} does not support algorithm.{extension}; leave it out or use PPO.")
        actor = copy.deepcopy(cfg["actor"])
        algorithm = cast(Self, PPO.construct_algorithm(obs, env, cfg, device))
        if algorithm.actor.is_recurrent or algorithm.critic.is_recurrent:
            raise ConfigError(f"{cls.__name__} does not support recurrent models; use MLPModel, or PPO.")
        algorithm.env = env
        groups = {"actor": cfg["obs_groups"]["actor"]}
        algorithm.spec = policy_spec(cls.algo, kind_of_model(algorithm.actor), model_settings(actor), obs, groups, env)
        return algorithm

    @classmethod
    def check_version(cls) -> None:
        """Refuse versions of RSL-RL whose storage and models are others.

        Raises:
            ConfigError: Naming the installed version.
        """
        if not PPO_MODELS:
            raise ConfigError(f"{cls.__name__} needs rsl-rl-lib 5; installed is {INSTALLED}, where TruDi trains.")

    # -- what relatives replace -----------------------------------------------------------------------------------

    def log_ratios(self, batch: RolloutStorage.Batch) -> Tensor:
        """Return ``log pi(a|s) - log pi_old(a|s)``, ``[B]``, or one for each of ``N`` parts of an action, ``[B, N]``.

        Afterwards the actor's ``output_*`` properties tell of the batch.
        """
        self.actor(cast(TensorDict, batch.observations), stochastic_output=True)
        return self.actor.get_output_log_prob(cast(Tensor, batch.actions)) - torch.squeeze(
            cast(Tensor, batch.old_actions_log_prob), -1
        )

    def surrogate(self, ratio: Tensor, advantages: Tensor) -> Tensor:
        """Return the actor's loss, of which the mean counts.

        Args:
            ratio: Exponentials of what :meth:`log_ratios` returned.
            advantages: ``[B]``.
        """
        return clipped_surrogate(ratio, advantages, self.clip_param)

    # -- learning -------------------------------------------------------------------------------------------------

    def update(self) -> dict[str, float]:
        """Learn from the stored rollout and return the means of what was logged, read from the device once.

        ``skipped_updates`` is 1 if not all steps were taken. What follows a gradient that is not finite is skipped.

        Raises:
            NonFiniteError: If that happened in too many iterations in a row.
        """
        logged: list[dict[str, Tensor]] = []
        for batch in self.storage.mini_batch_generator(self.num_mini_batches, self.num_learning_epochs):
            logged.append(self._learn(batch))
            if self._failed:
                self._tell_of(batch, logged)
                break
        else:
            self.guard.in_a_row = 0
        if NORMALIZES_IN_UPDATE:
            seen = self.storage.observations.flatten(0, 1)
            self.actor.update_normalization(seen)
            self.critic.update_normalization(seen)
        self.storage.clear()
        means = torch.stack([torch.stack(list(values.values())) for values in logged]).mean(0)
        return dict(zip(logged[0], means.tolist(), strict=True)) | {"skipped_updates": float(self._failed)}

    def _learn(self, batch: RolloutStorage.Batch) -> dict[str, Tensor]:
        """Take one step of the optimiser and return scalars without gradient."""
        advantages = torch.squeeze(cast(Tensor, batch.advantages), -1)
        if self.normalize_advantage_per_mini_batch:
            advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        # up to 5.4 RSL-RL has no such setting
        mixed = getattr(self, "use_mixed_precision", False)
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=mixed):
            ratio = self.log_ratios(batch).exp()
            values = self.critic(cast(TensorDict, batch.observations))
            if self.schedule == "adaptive" and self.desired_kl is not None:
                self._adapt_learning_rate(batch)
            losses = {
                "value": value_loss(
                    values,
                    cast(Tensor, batch.values),
                    cast(Tensor, batch.returns),
                    self.clip_param if self.use_clipped_value_loss else None,
                ),
                "surrogate": self.surrogate(ratio, advantages).mean(),
            }
            loss = losses["surrogate"] + self.value_loss_coef * losses["value"]
            if self.has_closed_forms:
                losses["entropy"] = self.actor.output_entropy.mean()
                loss = loss - self.entropy_coef * losses["entropy"]
        self.optimizer.zero_grad()
        loss.backward()
        if self.is_multi_gpu:
            self.reduce_parameters()
        norms = [nn.utils.clip_grad_norm_(m.parameters(), self.max_grad_norm) for m in (self.actor, self.critic)]
        self._failed = not torch.stack(norms).isfinite().all().item()
        if not self._failed:
            self.optimizer.step()
        losses["ratio_deviation"] = (ratio - 1.0).abs().mean()
        return {name: value.detach() for name, value in losses.items()}

    def _tell_of(self, batch: RolloutStorage.Batch, logged: list[dict[str, Tensor]]) -> None:
        bad = sorted(name for name, value in logged[-1].items() if not torch.isfinite(value))
        observations = cast(TensorDict, batch.observations).to_dict()
        rest = {name: getattr(batch, name) for name in ("actions", "advantages", "returns", "old_actions_log_prob")}
        self.guard.skipped(
            f"Minibatch {len(logged)} gave a non-finite gradient ({', '.join(bad) or 'of finite losses'}).",
            LOWER_THE_RATE,
            {"minibatch": {"observations": observations, **rest}, "not_finite": bad},
            self.save,
        )

    @torch.no_grad()
    def _adapt_learning_rate(self, batch: RolloutStorage.Batch) -> None:
        """Lower the learning rate where the mean KL is above twice ``desired_kl``, raise it below half of that."""
        old = cast("tuple[Tensor, ...]", batch.old_distribution_params)
        kl = self.actor.get_kl_divergence(old, self.actor.output_distribution_params).mean()
        if self.is_multi_gpu:
            torch.distributed.all_reduce(kl)
            kl /= self.gpu_world_size
        mean_kl = kl.item()
        if mean_kl > 2.0 * self.desired_kl:
            self.learning_rate = max(MIN_LEARNING_RATE, self.learning_rate / 1.5)
        elif 0.0 < mean_kl < 0.5 * self.desired_kl:
            self.learning_rate = min(MAX_LEARNING_RATE, self.learning_rate * 1.5)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate

    # -- checkpoints ----------------------------------------------------------------------------------------------

    def save(self) -> dict[str, Any]:
        """Return what RSL-RL saves, and what an exact resume, an evaluation or an export needs beside it."""
        between_rollouts = self.storage.step == 0
        return {**super().save(), SECTION: self.spec, **resume_state(self.env if between_rollouts else None)}

    def load(self, loaded_dict: dict[str, Any], load_cfg: dict[str, bool] | None, strict: bool) -> bool:
        """Load a checkpoint; see RSL-RL's PPO. ``iteration`` also restores random generators and simulator.

        Raises:
            CheckpointError: If the checkpoint is of another algorithm or task.
        """
        loaded_dict = present_format(loaded_dict)
        check_algorithm(loaded_dict, self.algo)
        if self.spec is not None:
            check_task(loaded_dict[SECTION]["task"], self.spec["task"])
        takes_iteration = super().load(loaded_dict, load_cfg, strict)
        if load_cfg is None or load_cfg.get("optimizer"):
            self.learning_rate = self.optimizer.param_groups[0]["lr"]
        if takes_iteration:
            set_resume_state(self.env, loaded_dict, self.gpu_global_rank == 0)
        return takes_iteration


class SPO(PolicyGradient):
    """PPO whose ratio is drawn back by a quadratic penalty instead of being clipped.

    ``clip_param`` is its ``eps``: the surrogate is best at a ratio of ``1 + eps`` for good actions and ``1 - eps`` for
    bad ones, and pulls ratios beyond back, where PPO's gradient is zero.
    """

    algo: ClassVar[PolicyGradientAlgorithm] = "spo"

    def surrogate(self, ratio: Tensor, advantages: Tensor) -> Tensor:
        """Return ``-(r A - |A| / (2 eps) (r - 1)^2)``, ``[B]``; see :class:`PolicyGradient`."""
        return penalised_surrogate(ratio, advantages, self.clip_param)
