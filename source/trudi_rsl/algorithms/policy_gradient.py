# SPDX-License-Identifier: BSD-3-Clause
"""RSL-RL's PPO with an update in overridable parts, and its relatives SPO, DPPO and FPO."""

from __future__ import annotations

import copy
import functools
import itertools
import warnings
from collections.abc import Sequence
from typing import Any, ClassVar, Self, cast

import torch
from rsl_rl.algorithms import PPO
from rsl_rl.env import VecEnv
from rsl_rl.storage import RolloutStorage
from tensordict import TensorDict
from torch import Tensor, nn

from trudi_rsl.acceleration import default_generator
from trudi_rsl.algorithms.curiosity import PROGRESS, rnd_progress, set_rnd_progress
from trudi_rsl.algorithms.metrics import mean_metrics
from trudi_rsl.algorithms.nonfinite import UpdateGuard, lower_learning_rate
from trudi_rsl.algorithms.objectives import clipped_surrogate, penalised_surrogate, value_loss
from trudi_rsl.algorithms.ppo_section import generative_actor, take_over
from trudi_rsl.algorithms.skipping_steps import SkippingSteps, plain_state
from trudi_rsl.checkpoints.format import (
    SECTION,
    PolicySpec,
    check_algorithm,
    check_images,
    check_task,
    present_format,
)
from trudi_rsl.checkpoints.rebuild import model_spec
from trudi_rsl.checkpoints.resume import resume_state, set_resume_state
from trudi_rsl.choices import PolicyGradientAlgorithm
from trudi_rsl.diffusion.signed_permutation import SignedPermutations
from trudi_rsl.distributed import all_reduce_mean
from trudi_rsl.environments.episode_ends import episode_ends
from trudi_rsl.errors import ConfigError, setting
from trudi_rsl.policies import DenoisingModel, FlowModel, GenerativeModel
from trudi_rsl.policies.normalization import replace_normalizer, replace_rnd_normalizers
from trudi_rsl.rsl_rl_compat.augmentation import Augmentation
from trudi_rsl.rsl_rl_compat.extensions import rnd_loss
from trudi_rsl.rsl_rl_compat.version import INSTALLED, NORMALIZES_IN_UPDATE, PPO_MODELS
from trudi_rsl.settings import DPPOCfg, LearnerCfg


class PolicyGradient(PPO):
    """RSL-RL's PPO, from which acting, storage, advantages, critic, normalisers and checkpoints are inherited.

    ``update`` is rewritten in parts; relatives override :meth:`log_ratios` and :meth:`surrogate`. With those of this
    class and a Gaussian model it takes PPO's own steps, except those with a non-finite gradient. Neither this check nor
    the adaptive learning rate forces a GPU sync, see :class:`~trudi_rsl.algorithms.skipping_steps.SkippingSteps`.

    Random network distillation (RND) and symmetry are RSL-RL's. Recurrent models are not supported.
    """

    algo: ClassVar[PolicyGradientAlgorithm] = "ppo"
    """The algorithm's name for ``--algo``."""
    has_closed_forms: ClassVar[bool] = True
    """Whether the actor has an entropy and a KL in closed form."""
    spec: PolicySpec | None = None
    """The checkpoint's section, if the algorithm was built from a runner configuration."""
    env: VecEnv | None = None
    """The environment; its state is saved if it has a ``state_dict``."""
    veto: Tensor | None = None
    """Whether nothing may be learned from the rollout, bool scalar; a runner may set it before :meth:`update`."""

    @functools.cached_property
    def _steps(self) -> SkippingSteps:
        optimizers = [self.optimizer, *([self._rnd_optimizer] if self.rnd else [])]
        return SkippingSteps(optimizers, fuses=torch.device(self.device).type == "cuda")

    @functools.cached_property
    def guard(self) -> UpdateGuard:
        """Counter of skipped updates."""
        return UpdateGuard(LearnerCfg.max_skipped_updates)

    @classmethod
    def construct_algorithm(  # pyright: ignore[reportIncompatibleMethodOverride]  RSL-RL's cannot know its subclass
        cls, obs: TensorDict, env: VecEnv, cfg: dict[str, Any], device: str
    ) -> Self:
        """Build the algorithm from the runner configuration of a PPO; called by RSL-RL's runners.

        Raises:
            ConfigError: If RSL-RL is older than 5, or the configuration uses an unsupported extension.
        """
        cls.check_version()
        take_over(cfg["algorithm"], cls, env)
        symmetry = copy.copy(cfg["algorithm"]["symmetry_cfg"])
        actor = copy.deepcopy(cfg["actor"])
        algorithm = cast(Self, PPO.construct_algorithm(obs, env, cfg, device))
        cfg["algorithm"]["symmetry_cfg"] = symmetry  # RSL-RL adds the environment to it
        if algorithm.actor.is_recurrent or algorithm.critic.is_recurrent:
            places = f"{setting('actor.class_name')} and {setting('critic.class_name')}"
            raise ConfigError(f"{cls.__name__} has no recurrent models: set {places} to 'MLPModel', or train with PPO.")
        for model in (algorithm.actor, algorithm.critic):
            replace_normalizer(model, "obs_normalizer")
        if algorithm.rnd:
            replace_rnd_normalizers(algorithm.rnd)
        algorithm.env = env
        algorithm.spec = model_spec(cls.algo, algorithm.actor, actor, obs, cfg["obs_groups"], env)
        return algorithm

    @classmethod
    def check_version(cls) -> None:
        """Raise a ConfigError if the installed RSL-RL's storage and models are incompatible."""
        if not PPO_MODELS:
            raise ConfigError(f"{cls.__name__} needs rsl-rl-lib 5; installed is {INSTALLED}, where TruDi trains.")

    # -- loss -----------------------------------------------------------------------------------------------------

    def log_ratios(self, batch: RolloutStorage.Batch) -> Tensor:
        """Return ``log pi(a|s) - log pi_old(a|s)``, ``[B]``, or one for each of ``N`` parts of an action, ``[B, N]``.

        Sets the actor's ``output_*`` properties for the batch.
        """
        self.actor(cast(TensorDict, batch.observations), stochastic_output=True)
        log_prob = self.actor.get_output_log_prob(cast(Tensor, batch.actions))
        return log_prob - torch.squeeze(cast(Tensor, batch.old_actions_log_prob), -1)

    def surrogate(self, ratio: Tensor, advantages: Tensor) -> Tensor:
        """Return the actor's loss per element of ``ratio = exp(log_ratios)``, for advantages ``[B]``."""
        return clipped_surrogate(ratio, advantages, self.clip_param)

    # -- learning -------------------------------------------------------------------------------------------------

    def process_env_step(self, obs: TensorDict, rewards: Tensor, dones: Tensor, extras: dict[str, Any]) -> None:
        """Store the outcome of a step as RSL-RL's PPO does, which adds ``gamma V(s)`` where a time limit ended it.

        ``s`` is the observation *before* the step, in place of the last one. Unlike in PPO, an episode that terminates
        in the very step of its time limit is not bootstrapped; see
        :func:`~trudi_rsl.environments.episode_ends.episode_ends`.
        """
        if "time_outs" in extras:
            extras = {**extras, "time_outs": episode_ends(self.env, dones, extras).truncated}
        super().process_env_step(obs, rewards, dones, extras)

    def update(self) -> dict[str, float]:
        """Learn from the stored rollout and return the mean metrics.

        All steps from the first non-finite gradient on are skipped; ``skipped_updates`` is 1 then. The metrics are read
        by one GPU sync.

        Raises:
            NonFiniteError: If too many updates in a row were skipped.
        """
        self._steps.start(self.learning_rate, self.veto)
        generator = default_generator(self.device)
        drawn_from = generator.get_state()
        minibatches = self.storage.mini_batch_generator(self.num_mini_batches, self.num_learning_epochs)
        logged, skips = [], []
        for batch in minibatches:
            logged.append(self._learn(batch))
            skips.append(self._steps.skips.clone())
        if NORMALIZES_IN_UPDATE:
            seen = self.storage.observations.flatten(0, 1)
            self.actor.update_normalization(seen)
            self.critic.update_normalization(seen)
            if self.rnd:
                self.rnd.update_normalization(seen)
        means = mean_metrics(logged)
        vetoed = torch.zeros_like(self._steps.skips) if self.veto is None else self.veto
        rest = torch.stack([x.double() for x in (self._steps.rate, self._steps.skips, vetoed)])
        *values, self.learning_rate, skipped, vetoed = torch.cat([means.double(), rest]).tolist()
        if vetoed:
            self.storage.clear()
            return {"skipped_updates": 1.0}
        if not skipped:
            self.guard.in_a_row = 0
        else:
            first = next(i for i, skip in enumerate(skips) if skip.item())
            logged = logged[: first + 1]
            values = mean_metrics(logged).tolist()
            now = generator.get_state()
            generator.set_state(drawn_from)
            again = self.storage.mini_batch_generator(self.num_mini_batches, self.num_learning_epochs)
            batch = next(itertools.islice(again, first, None))
            generator.set_state(now)
            self._record_skip(batch, logged)
        self.storage.clear()
        return dict(zip(logged[0], values, strict=True)) | {"skipped_updates": skipped}

    def _learn(self, batch: RolloutStorage.Batch) -> dict[str, Tensor]:
        """Take one step of the optimiser and return scalars without gradient."""
        if self.normalize_advantage_per_mini_batch:
            given = cast(Tensor, batch.advantages)
            batch.advantages = (given - given.mean()) / (given.std() + 1e-8)
        rows = slice(len(cast(Tensor, batch.actions)))
        """Those of the rollout, which the mirror images follow."""
        if self.symmetry:
            self.symmetry.augment_batch(batch, rows.stop)
        advantages = torch.squeeze(cast(Tensor, batch.advantages), -1)
        # up to 5.4 RSL-RL has no such setting
        mixed = getattr(self, "use_mixed_precision", False)
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=mixed):
            ratio = self.log_ratios(batch).exp()
            values = self.critic(cast(TensorDict, batch.observations))
            if self.schedule == "adaptive" and self.desired_kl is not None:
                self._adapt_learning_rate(batch, rows)
            clip = self.clip_param if self.use_clipped_value_loss else None
            losses = {
                "value": value_loss(values, cast(Tensor, batch.values), cast(Tensor, batch.returns), clip),
                "surrogate": self.surrogate(ratio, advantages).mean(),
            }
            loss = losses["surrogate"] + self.value_loss_coef * losses["value"]
            if self.has_closed_forms:
                losses["entropy"] = self.actor.output_entropy[rows].mean()
                loss = loss - self.entropy_coef * losses["entropy"]
            if self.rnd:
                losses["rnd"] = rnd_loss(self.rnd, cast(TensorDict, batch.observations)[rows])
            if self.symmetry:
                losses["symmetry"] = self.symmetry.compute_loss(self.actor, batch, rows.stop)
                if self.symmetry.use_mirror_loss:
                    loss = loss + self.symmetry.mirror_loss_coeff * losses["symmetry"]
        self.optimizer.zero_grad()
        loss.backward()
        if self.rnd:
            self._rnd_optimizer.zero_grad()
            losses["rnd"].backward()
        if self.is_multi_gpu:
            self.reduce_parameters()
        norms = [nn.utils.clip_grad_norm_(m.parameters(), self.max_grad_norm) for m in (self.actor, self.critic)]
        self._steps.step(torch.stack(norms))
        losses["ratio_deviation"] = (ratio - 1.0).abs().mean()
        return {name: value.detach() for name, value in losses.items()}

    def _record_skip(self, batch: RolloutStorage.Batch, logged: list[dict[str, Tensor]]) -> None:
        bad = sorted(name for name, value in logged[-1].items() if not torch.isfinite(value))
        names = ("actions", "advantages", "returns", "old_actions_log_prob")
        minibatch = {name: getattr(batch, name) for name in names}
        minibatch["observations"] = cast(TensorDict, batch.observations).to_dict()
        reason = f"Minibatch {len(logged)} gave a non-finite gradient ({', '.join(bad) or 'of finite losses'})."
        self.guard.record_skip(reason, lower_learning_rate(), {"minibatch": minibatch, "not_finite": bad}, self.save)

    @torch.no_grad()
    def _adapt_learning_rate(self, batch: RolloutStorage.Batch, rows: slice) -> None:
        old = cast("tuple[Tensor, ...]", batch.old_distribution_params)
        new = tuple(x[rows] for x in self.actor.output_distribution_params)
        kl = self.actor.get_kl_divergence(old, new)
        self._steps.adapt(all_reduce_mean(kl.mean()), self.desired_kl)

    @property
    def _rnd_optimizer(self) -> torch.optim.Optimizer:
        """The optimiser of RND's predictor, which older versions of RSL-RL keep beside the module."""
        return getattr(self.rnd, "optimizer", None) or getattr(self, "rnd_optimizer")  # noqa: B009

    # -- checkpoints ----------------------------------------------------------------------------------------------

    def save(self) -> dict[str, Any]:
        """Return RSL-RL's checkpoint, and what an exact resume, an evaluation or an export needs in addition."""
        between_rollouts = self.storage.step == 0
        state = resume_state(self.env if between_rollouts else None, self.device)
        progress = {PROGRESS: rnd_progress(self.rnd)} if self.rnd else {}
        saved = super().save()
        saved["optimizer_state_dict"] = plain_state(saved["optimizer_state_dict"], self.learning_rate)
        return {**saved, SECTION: self.spec, **progress, **state}

    def load(self, loaded_dict: dict[str, Any], load_cfg: dict[str, bool] | None, strict: bool) -> bool:
        """Load a checkpoint; see RSL-RL's PPO. ``iteration`` also restores random generators and the simulator.

        Raises:
            CheckpointError: If the checkpoint is of another algorithm or task.
        """
        loaded_dict = present_format(loaded_dict)
        check_algorithm(loaded_dict, self.algo)
        if self.spec is not None:
            check_task(loaded_dict[SECTION]["task"], self.spec["task"])
            check_images(loaded_dict[SECTION], self.spec.get("images") or {})
        loaded_dict = self._steps.with_options(loaded_dict)
        takes_iteration = super().load(loaded_dict, load_cfg, strict)
        if load_cfg is None or load_cfg.get("optimizer"):
            self.learning_rate = self.optimizer.param_groups[0]["lr"]
        if self.rnd and (load_cfg is None or load_cfg.get("rnd")):
            num_envs = self.storage.num_envs if self.gpu_global_rank == 0 else None
            set_rnd_progress(self.rnd, loaded_dict.get(PROGRESS) or {}, num_envs)
        if takes_iteration:
            set_resume_state(self.env, loaded_dict, self.gpu_global_rank == 0, self.device)
        return takes_iteration


class SPO(PolicyGradient):
    """SPO (arXiv 2401.16025): PPO with a quadratic penalty on the ratio instead of clipping.

    ``clip_param`` is its ``eps``: the surrogate is best at a ratio of ``1 + eps`` for positive advantages and
    ``1 - eps`` for negative ones, and pulls larger deviations back, where PPO's gradient is zero.
    """

    algo: ClassVar[PolicyGradientAlgorithm] = "spo"

    def surrogate(self, ratio: Tensor, advantages: Tensor) -> Tensor:
        """Return ``-(r A - |A| / (2 eps) (r - 1)^2)``, ``[B]``; see :class:`PolicyGradient`."""
        return penalised_surrogate(ratio, advantages, self.clip_param)


class GenerativePolicyGradient(PolicyGradient):
    """A policy gradient whose actor is a :class:`~trudi_rsl.policies.GenerativeModel`."""

    model: ClassVar[type[GenerativeModel]]
    """Class of the actor."""

    def __init__(self, *settings: Any, **named_settings: Any) -> None:
        super().__init__(*settings, **named_settings)
        _ = self._mirrors  # refused before training

    @classmethod
    def construct_algorithm(  # pyright: ignore[reportIncompatibleMethodOverride]
        cls, obs: TensorDict, env: VecEnv, cfg: dict[str, Any], device: str
    ) -> Self:
        """Build the algorithm; an ``actor`` section of PPO is converted, see :func:`generative_actor`.

        Raises:
            ConfigError: Also if the actor is of another class or has an unknown or impossible setting.
        """
        cls.check_version()
        cfg["actor"] = generative_actor(cfg["actor"], cls.__name__, cls.model)
        if cfg["algorithm"].pop("share_cnn_encoders", None):
            raise ConfigError(f"{cls.__name__} does not support algorithm.share_cnn_encoders: its actor takes vectors.")
        return super().construct_algorithm(obs, env, cfg, device)

    @functools.cached_property
    def _mirrors(self) -> SignedPermutations | None:
        """The mirrors of actions, and so of what the ratio needs to know about them; None without augmentation."""
        if not (self.symmetry and self.symmetry.use_data_augmentation):
            return None
        bound = torch.ones(cast(GenerativeModel, self.actor).num_actions, device=self.device)
        return Augmentation(self.symmetry.data_augmentation_func, self.symmetry.env).signed_permutations(-bound, bound)

    def log_ratios(self, batch: RolloutStorage.Batch) -> Tensor:
        """Return the actor's own log-ratios; see :class:`PolicyGradient`."""
        params = cast("Sequence[Tensor]", batch.old_distribution_params)
        actor, actions = cast(GenerativeModel, self.actor), cast(Tensor, batch.actions)
        if self._mirrors is None:
            return actor.log_ratios(cast(TensorDict, batch.observations), actions, params)
        params, size = actor.mirror(params, self._mirrors), len(params[0])
        # each image has a friction of its own; the originals come last, so that the actor's output_* are theirs
        images = [slice(start, start + size) for start in reversed(range(0, len(actions), size))]
        obs = cast(TensorDict, batch.observations)
        ratios = [actor.log_ratios(obs[rows], actions[rows], [x[rows] for x in params]) for rows in images]
        return torch.cat(ratios[::-1])


class DPPO(GenerativePolicyGradient):
    """DPPO (arXiv 2409.00588): PPO over the decision process in which every denoising step is a decision.

    A step's ratio is that of its Gaussian density and is clipped separately. All steps of a chain share the resulting
    action's advantage, discounted by ``gamma_denoise``, in (0, 1], for each later step. With one denoising step it is
    PPO on the Gaussian of that step. All other settings are PPO's.

    Raises:
        ConfigError: If ``gamma_denoise`` is out of range.
    """

    algo: ClassVar[PolicyGradientAlgorithm] = "dppo"
    model: ClassVar[type[GenerativeModel]] = DenoisingModel

    def __init__(self, *settings: Any, gamma_denoise: float = DPPOCfg.gamma_denoise, **named_settings: Any) -> None:
        super().__init__(*settings, **named_settings)
        DPPOCfg(gamma_denoise)
        num_steps = cast(DenoisingModel, self.get_policy()).actor.num_steps
        self._discounts = gamma_denoise ** torch.arange(num_steps - 1, -1, -1, device=self.device)

    def surrogate(self, ratio: Tensor, advantages: Tensor) -> Tensor:
        """Return PPO's loss of every denoising step, ``[B, N]``; see :class:`PolicyGradient`."""
        return clipped_surrogate(ratio, advantages[:, None] * self._discounts, self.clip_param)


class FPO(GenerativePolicyGradient):
    """FPO (arXiv 2507.21053): PPO with the ratio ``exp(cfm_old - cfm)`` of an action's flow-matching losses.

    The loss bounds the action's negative log-density up to a constant, and is estimated at times and noises that are
    drawn once for each action. The flow has neither entropy nor KL in closed form, so ``entropy_coef`` and the adaptive
    learning rate are ignored with one warning that names them. All other settings are PPO's.
    """

    algo: ClassVar[PolicyGradientAlgorithm] = "fpo"
    model: ClassVar[type[GenerativeModel]] = FlowModel
    has_closed_forms: ClassVar[bool] = False

    def __init__(self, *settings: Any, **named_settings: Any) -> None:
        super().__init__(*settings, **named_settings)
        given = {"schedule: adaptive": self.schedule == "adaptive", "entropy_coef": self.entropy_coef != 0.0}
        if ignored := [name for name, is_given in given.items() if is_given]:
            self.schedule, self.entropy_coef = "fixed", 0.0
            warnings.warn(
                f"FPO has neither KL nor entropy in closed form and ignores {' and '.join(ignored)}; the learning rate "
                f"stays {self.learning_rate}.",
                stacklevel=2,
            )
