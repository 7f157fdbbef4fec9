# SPDX-License-Identifier: BSD-3-Clause
"""TruDi, REPPO and DIME under RSL-RL's algorithm contract."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any, ClassVar, Self, cast

import torch
from rsl_rl.env import VecEnv
from tensordict import TensorDict
from torch import Tensor

from trudi_rsl.acceleration import (
    Accelerator,
    describe_precision,
    network_precision,
)
from trudi_rsl.algorithms.construction import constructor_arguments
from trudi_rsl.algorithms.curiosity import Curiosity
from trudi_rsl.algorithms.findings import Findings
from trudi_rsl.algorithms.learner import Learner
from trudi_rsl.algorithms.memory import Memory, Perception, perceive
from trudi_rsl.algorithms.metrics import reduce_minibatches, rollout_metrics
from trudi_rsl.algorithms.nonfinite import UpdateGuard
from trudi_rsl.algorithms.symmetry import Symmetry
from trudi_rsl.algorithms.targets import choose_range, compute_targets, widen_to_targets
from trudi_rsl.algorithms.trust_region import replay_error, step_sizes_of
from trudi_rsl.checkpoints.format import (
    ACTOR_PARTS,
    CRITIC_PARTS,
    SECTION,
    PolicySpec,
    check_images,
    check_settings,
    learner_spec,
    present_format,
)
from trudi_rsl.checkpoints.rebuild import load_weights, select
from trudi_rsl.checkpoints.resume import resume_state, set_resume_state
from trudi_rsl.config.swap import replace_ppo_settings
from trudi_rsl.distributed import all_reduce_mean
from trudi_rsl.environments.episode_ends import episode_ends, last_observations
from trudi_rsl.environments.step_shapes import StepShapes
from trudi_rsl.errors import naming_settings
from trudi_rsl.health import Watch
from trudi_rsl.policies import ActorCritic
from trudi_rsl.policies.base import Decision
from trudi_rsl.settings import (
    SETTINGS,
    LearnerAlgorithm,
    LearnerCfg,
    TrustRegionCfg,
    algorithm_of_settings,
    settings_from_dict,
)
from trudi_rsl.storage import BatchRows, RolloutBuffer

logger = logging.getLogger(__name__)


class TruDi:
    """Trust-region diffusion policies (arXiv 2606.15260) as an RSL-RL algorithm.

    Train it under the stock ``rsl_rl.runners.OnPolicyRunner`` with
    ``algorithm.class_name = "trudi_rsl.algorithms:TruDi"``. It is REPPO with ``algorithm.actor = "gaussian"`` and DIME
    with ``algorithm.constraint = "none"``; :class:`REPPO` and :class:`DIME` are classes of their own for the same.

    Args:
        spec: The checkpoint section that rebuilds the module: task, observation dimensions and groups, action bounds.
        env: The environment; its state is saved if it has a ``state_dict``.
        multi_gpu_cfg: RSL-RL's distributed settings, None on one device.
        num_updates: Number of minibatch updates of the training, infinite if unknown.
        curiosity, symmetry: RSL-RL's random network distillation, and its augmentation and mirror loss; None for none.
    """

    algorithm: ClassVar[LearnerAlgorithm | None] = None
    """The algorithm of this class; None lets the settings select it."""
    intrinsic_rewards: Tensor | None = None
    """RND's part of the last rewards ``[E]``, which RSL-RL's runner logs; None without RND."""

    def __init__(
        self,
        actor_critic: ActorCritic[Any],
        storage: RolloutBuffer,
        cfg: LearnerCfg,
        spec: PolicySpec,
        env: VecEnv | None = None,
        device: str = "cpu",
        multi_gpu_cfg: dict[str, Any] | None = None,
        num_updates: float = math.inf,
        curiosity: Curiosity | None = None,
        symmetry: Symmetry | None = None,
    ) -> None:
        self.cfg, self.spec, self.env, self.device, self.storage = cfg, spec, env, device, storage
        self.actor_critic = actor_critic.to(device)
        self.memory = Memory(actor_critic, storage.num_envs, cfg.precision)
        self.curiosity, self.symmetry, self.rnd = curiosity, symmetry, cast(Any, curiosity.rnd if curiosity else None)
        accelerator = Accelerator(cfg.compile, device, num_updates)
        world_size = multi_gpu_cfg["world_size"] if multi_gpu_cfg else 1
        self.learner = Learner(actor_critic, cfg, world_size, accelerator, symmetry.terms if symmetry else None)
        self._sample = accelerator.compile("sampling", self._sampled)
        self._decisions = accelerator.capture("sampling", self._decisions_at, copies=False)
        self._update_statistics: Callable[..., None] = actor_critic.update_statistics
        self._update: Callable[[BatchRows, Tensor | None], dict[str, Tensor]] = self._learn_from
        # all-reduces stay outside of CUDA graphs
        if world_size == 1:
            if not actor_critic.is_recurrent:  # the number of trajectories varies
                self._update = accelerator.capture("minibatch update", self._learn_from)
            if any(encoder.has_statistics for encoder in actor_critic.encoders):
                self._update_statistics = accelerator.capture("observation statistics", self._update_statistics)
        self.is_main_process = not multi_gpu_cfg or multi_gpu_cfg["global_rank"] == 0
        self.guard = UpdateGuard(cfg.max_skipped_updates)
        described = accelerator.describe() + describe_precision(cfg.precision, device)
        if world_size > 1 and accelerator.mode == "cudagraphs":
            described += " Updates of several processes are not captured, since they exchange gradients."
        self._startup_message = described if self.is_main_process else ""
        self.learning_rate = cfg.learning_rate
        self._value_range_chosen = cfg.value_range != "auto"
        self._collecting = False
        self._findings = Findings(self.guard, cfg, self.actor_critic, env, self.is_main_process)
        self._shapes = StepShapes(storage.num_envs, *actor_critic.actor_obs.groups, *actor_critic.critic_obs.groups)
        self._watch = Watch(cfg.to_dict()) if self.is_main_process else None

    @classmethod
    def construct_algorithm(cls, obs: TensorDict, env: VecEnv, cfg: dict[str, Any], device: str) -> Self:
        """Build the algorithm from a runner configuration; called by RSL-RL's runners.

        Reads its ``algorithm``, ``obs_groups``, ``num_steps_per_env``, ``max_iterations`` and ``multi_gpu``. If it was
        written for PPO, its settings are replaced in place, see :func:`~trudi_rsl.config.swap.trudi_cfg`.

        Raises:
            ConfigError: If a setting is unknown or impossible.
        """
        selected = algorithm_of_settings(cfg["algorithm"]) if cls.algorithm is None else cls.algorithm
        replace_ppo_settings(cfg, env, selected)
        return cls(**cls.arguments(obs, env, cfg, device))

    @classmethod
    def arguments(cls, obs: TensorDict, env: VecEnv, cfg: dict[str, Any], device: str) -> dict[str, Any]:
        """Return the constructor's arguments; see :meth:`construct_algorithm`."""
        build = settings_from_dict if cls.algorithm is None else SETTINGS[cls.algorithm].from_dict
        with naming_settings():
            return constructor_arguments(build(cfg["algorithm"]), obs, env, cfg, device)

    # -- collecting -----------------------------------------------------------------------------------------------

    def act(self, obs: TensorDict) -> Tensor:
        """Return simulator actions ``[E, A]`` for observation groups of batch ``[E]`` and store the decision."""
        self._collecting = True
        self._shapes.start(obs)
        raw = self.actor_critic.raw_observations(obs)
        if self.actor_critic.training:
            self._update_statistics(*raw)
        self._show_extensions(obs)
        self.memory.keep(self._decide(self.actor_critic.images(obs), *raw))
        return self.actor_critic.to_simulator(self.storage.actions[self.storage.step])

    def _show_extensions(self, obs: TensorDict) -> None:
        for extension in (self.curiosity, self.symmetry):
            if extension is not None:
                extension.observe(obs, self.storage.step)

    @torch.no_grad()
    def _decide(self, images: dict[str, Tensor], *raw: Tensor) -> dict[str, Tensor]:
        """Store the decisions at images and raw observations; return the states of recurrent encoders after them."""
        storage, before = self.storage, self.memory.states
        seen, decision = self._decisions(images, before, *raw)
        storage.add_decision(seen.stored[0], seen.stored[-1], decision, seen.finite, seen.images)
        if storage.sequences is not None:
            storage.sequences.add_step(storage.step, seen.inputs, before)
        return seen.states

    def _decisions_at(
        self, images: dict[str, Tensor], states: dict[str, Tensor], *raw: Tensor
    ) -> tuple[Perception, Decision]:
        with network_precision(self.cfg.precision, raw[0].device.type):
            seen = perceive(self.actor_critic, images, states, raw)
        return seen, self._sample(seen.latents, self.actor_critic.actor.draw_stored_noise(len(seen.finite)))

    def _sampled(self, actor_obs: Tensor, noise: Tensor) -> Decision:
        with network_precision(self.cfg.precision, actor_obs.device.type):
            return self.actor_critic.decide(actor_obs, noise)

    def process_env_step(self, obs: TensorDict, rewards: Tensor, dones: Tensor, extras: dict[str, Any]) -> None:
        """Store the outcome of a step.

        Args:
            obs: Next observations; :meth:`act` receives them again.
            rewards: ``[E]``; not changed.
            dones: Nonzero where an episode ended, ``[E]``.
            extras: ``time_outs`` ``[E]`` marks the truncations among them, see
                :func:`~trudi_rsl.environments.episode_ends.episode_ends`; ``final_obs`` (observation groups
                ``[E, ...]``) are the true last observations, see
                :func:`~trudi_rsl.environments.episode_ends.last_observations`.

        Raises:
            TaskError: If observations, rewards or dones have other shapes.
        """
        self._shapes.check(obs, rewards, dones, self.storage.step)
        terminated, truncated = episode_ends(self.env, dones, extras)
        model = self.actor_critic
        final_obs = last_observations(extras, obs, model.groups) if self.cfg.final_observations else None
        if final_obs is not None:
            final = self.memory.final_latents([x.to(self.device) for x in model.raw_observations(final_obs)])
            self.storage.add_final_obs(final[0], final[-1], model.images(final_obs))
            if self.symmetry is not None:
                self.symmetry.observe_final(final_obs, self.storage.step)
        if self.curiosity is not None:
            self.intrinsic_rewards = self.curiosity.intrinsic_rewards(obs)
            rewards = rewards + self.intrinsic_rewards
        self.storage.add_outcome(rewards, terminated, truncated)
        self.memory.reset_ended(terminated, truncated)

    def compute_returns(self, obs: TensorDict) -> None:
        """Compute the targets of the rollout; ``obs`` are the observations after its last step.

        Non-finite transitions are excluded; if too few are left, the next update changes nothing. No value is read on
        the host: :meth:`update` reports what was found.
        """
        self._show_extensions(obs)
        self._decide(self.actor_critic.images(obs), *self.actor_critic.raw_observations(obs))
        error = self._replay_error() if self._findings.needs_replay else None
        self._findings.examine(self.storage, error)
        model, cfg, veto = self.actor_critic, self.cfg, self._findings.veto
        self.learner.skips.copy_(veto)
        if not self._value_range_chosen:
            choose_range(model.critic, self.storage.rewards, cfg.gamma, veto)
        with network_precision(cfg.precision, self.storage.device.type):
            compute_targets(model, self.storage, self.learner.alpha, cfg.gamma, cfg.lam, self.symmetry)
        if cfg.value_range == "auto":
            widen_to_targets(model.critic, self.storage, veto)

    @torch.no_grad()
    def _replay_error(self) -> Tensor:
        with network_precision(self.cfg.precision, self.storage.device.type):
            obs = self.actor_critic.actor_obs.encode(self.storage.actor_obs[0].clone(), self.storage.images_at(0))
        return replay_error(self.actor_critic.actor, obs, self._sample, self._findings.precision)

    # -- learning -------------------------------------------------------------------------------------------------

    def update(self) -> dict[str, float]:
        """Learn from the stored rollout and return the logged metrics; they are read by the iteration's one GPU sync.

        Raises:
            NonFiniteError: If simulator, policy or updates are not finite too often; names environment and step.
            RuntimeError: If replaying the first rollout's decisions does not reproduce them; nothing is learned then.
        """
        batches, collected, metrics = self._learn()
        numbers, learned = self._findings.settle(metrics, collected, self.storage, batches, self.save)
        if learned:
            numbers["entropy_target_per_dim"] = self.cfg.entropy_target_per_dim
            self._value_range_chosen = True
            if self.curiosity is not None:
                self.curiosity.end_update()
        self.learner.skips.zero_()
        self.actor_critic.sync_old_actor()
        self.memory.reset(~self.storage.seen[-1])  # these environments start new episodes
        self._start_rollout()
        if self._watch is not None:
            self._watch.observe(numbers)
        return numbers

    def _learn(self) -> tuple[list[BatchRows], list[dict[str, Tensor]], dict[str, Tensor]]:
        """Take the steps of all minibatches; return their rows, their metrics, and the iteration's metrics."""
        model, storage = self.actor_critic, self.storage
        old_steps = step_sizes_of(model.old_actor)
        entropy = -all_reduce_mean(storage.log_probs.mean()) / model.num_actions
        model.entropy_per_dim.copy_(model.entropy_per_dim.where(self._findings.veto, entropy))
        metrics = rollout_metrics(storage, model.critic.hl_gauss)
        batches, collected = [], []
        with self.learner.packed():
            # minibatches and denoising noise are drawn in turn from one generator
            for rows in storage.index_batches(self.cfg.num_learning_epochs, self.cfg.num_mini_batches):
                batches.append(rows)
                collected.append(self._update(rows, old_steps))
                if self.curiosity is not None:
                    collected[-1] = collected[-1] | {"rnd": self.curiosity.learn(rows.rows, self._findings.veto)}
        metrics |= reduce_minibatches(collected)
        if self.symmetry is not None and self.symmetry.only_logs:
            metrics["symmetry"] = self.symmetry.error(storage, batches[-1])
        metrics["entropy_per_dim"] = metrics.pop("entropy") / model.num_actions
        metrics["alpha"] = self.learner.alpha
        if isinstance(self.cfg, TrustRegionCfg):
            metrics["lambda"] = self.learner.multiplier
        return batches, collected, metrics | model.actor_metrics()

    def _learn_from(self, rows: BatchRows, old_steps: Tensor | None) -> dict[str, Tensor]:
        batch = self.storage.minibatch(rows)
        mirrored = None if self.symmetry is None else self.symmetry.images(rows)
        return self.learner.update(batch, old_steps, mirrored, self.storage.padded_sequences(rows))

    def _start_rollout(self) -> None:
        self.storage.clear()
        self._collecting = False

    # -- RSL-RL's remaining contract ------------------------------------------------------------------------------

    def train_mode(self) -> None:
        """Update the normalisers from now on, and start a rollout; one that was interrupted is dropped."""
        if self._startup_message:
            logger.info(self._startup_message)
            self._startup_message = ""
        for module in (self.actor_critic, self.rnd):
            if module is not None:
                module.train()
        self._start_rollout()

    def eval_mode(self) -> None:
        """Freeze the normalisers."""
        for module in (self.actor_critic, self.rnd):
            if module is not None:
                module.eval()

    def get_policy(self) -> ActorCritic[Any]:
        """Return the module; calling it returns deterministic simulator actions."""
        return self.actor_critic

    def save(self) -> dict[str, Any]:
        """Return all that a resume, an evaluation or an export needs; the simulator's state between rollouts only."""
        return {
            "actor_state_dict": select(self.actor_critic, ACTOR_PARTS),
            "critic_state_dict": select(self.actor_critic, CRITIC_PARTS),
            "optimizer_state_dict": self.learner.state_dict(),
            SECTION: self.spec,
            **(self.curiosity.save() if self.curiosity else {}),
            **({} if self._collecting else self.memory.save()),
            **resume_state(None if self._collecting else self.env, self.device),
        }

    def load(self, loaded_dict: dict[str, Any], load_cfg: dict[str, bool] | None, strict: bool) -> bool:
        """Load a checkpoint, and return whether the runner should adopt its iteration number.

        Args:
            loaded_dict: Result of :meth:`save`, or a checkpoint of RSL-RL 3.
            load_cfg: Which of ``actor``, ``critic``, ``optimizer``, ``iteration`` and ``rnd`` to load; None loads all.
                ``iteration`` also restores the random generators and the simulator's state.
            strict: Refuse missing and unknown parameters.

        Raises:
            CheckpointError: If the checkpoint is of another algorithm, task or shape.
        """
        loaded_dict = present_format(loaded_dict)
        everything: dict[str, bool] = dict.fromkeys(("actor", "critic", "optimizer", "iteration", "rnd"), True)
        wanted = everything if load_cfg is None else load_cfg
        # an actor alone may start another task
        spec = learner_spec(loaded_dict, self.spec["task"] if wanted.get("critic") or wanted.get("optimizer") else None)
        check_settings(spec, self.spec)
        check_images(spec, self.spec.get("images") or {})
        weights, prefixes = {}, ()
        for key, part in (("actor", ACTOR_PARTS), ("critic", CRITIC_PARTS)):
            if wanted.get(key):
                weights, prefixes = weights | loaded_dict[f"{key}_state_dict"], prefixes + part
        load_weights(weights, self.actor_critic, prefixes, strict)
        if wanted.get("actor"):
            self.actor_critic.sync_old_actor()
        if wanted.get("critic"):
            # with an automatic value range, keep the loaded one
            self._value_range_chosen = True
            if self.cfg.value_range != "auto":
                self.actor_critic.critic.widen(*torch.tensor(self.cfg.value_range, device=self.device))
        if wanted.get("optimizer"):
            self.learner.load_state_dict(loaded_dict["optimizer_state_dict"])
        if wanted.get("rnd") and self.curiosity is not None:
            self.curiosity.load(loaded_dict, strict, self.is_main_process)
        if wanted.get("iteration"):
            self.memory.load(loaded_dict, set_resume_state(self.env, loaded_dict, self.is_main_process, self.device))
        self._findings.expect_replay()
        return wanted.get("iteration", False)

    def broadcast_parameters(self) -> None:
        """Broadcast parameters, normalisers and multipliers from rank 0."""
        duals = [self.learner.log_alpha.data, self.learner.log_lambda.data]
        rnd = self.rnd.state_dict().values() if self.rnd else ()
        for tensor in [*self.actor_critic.state_dict().values(), *duals, *rnd]:
            torch.distributed.broadcast(tensor, src=0)


class REPPO(TruDi):
    """REPPO (arXiv 2507.11019): TruDi's learner with a Gaussian actor."""

    algorithm: ClassVar[LearnerAlgorithm | None] = "reppo"


class DIME(TruDi):
    """On-policy DIME (after arXiv 2502.02316): TruDi's learner without the trust region."""

    algorithm: ClassVar[LearnerAlgorithm | None] = "dime"
