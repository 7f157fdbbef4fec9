# SPDX-License-Identifier: BSD-3-Clause
"""TruDi under RSL-RL's algorithm contract."""

from __future__ import annotations

import math
from typing import Any

import torch
from rsl_rl.env import VecEnv
from tensordict import TensorDict
from torch import Tensor

from trudi_rsl.acceleration import Accelerator, network_precision
from trudi_rsl.algorithms.construction import components
from trudi_rsl.algorithms.learner import PathwiseLearner
from trudi_rsl.algorithms.metrics import of_all, rollout_metrics
from trudi_rsl.algorithms.nonfinite import UpdateGuard, raise_if_replay_differs
from trudi_rsl.algorithms.targets import compute_targets, initial_range, widened_range
from trudi_rsl.algorithms.trust_region import step_sizes_of
from trudi_rsl.checkpoints.format import (
    ACTOR_PARTS,
    CRITIC_PARTS,
    SECTION,
    PolicySpec,
    check_settings,
    learner_spec,
    present_format,
)
from trudi_rsl.checkpoints.rebuild import load_parts, part_of_state
from trudi_rsl.checkpoints.resume import resume_state, set_resume_state
from trudi_rsl.distributed import all_gather, all_reduce_mean
from trudi_rsl.health import Watch
from trudi_rsl.policies import ActorCritic
from trudi_rsl.policies.base import Decision
from trudi_rsl.settings import TruDiCfg
from trudi_rsl.storage import RolloutBuffer


class TruDi:
    """Trust-region diffusion policies (arXiv 2606.15260) as an RSL-RL algorithm.

    It is REPPO if the actor is a Gaussian, and DIME if there is no trust region (``trudi_rsl.settings``).

    Train it under the stock ``rsl_rl.runners.OnPolicyRunner`` with
    ``algorithm.class_name = "trudi_rsl.algorithms:TruDi"``.

    Args:
        actor_critic: The module to train.
        storage: Rollout storage of the environment's size.
        cfg: Settings.
        spec: What a checkpoint needs to rebuild the module: task, observation dimensions and groups, action bounds.
        env: The environment, asked for its state when saving if it can tell it (``state_dict``).
        device: Training device.
        multi_gpu_cfg: RSL-RL's distributed settings, None on one device.
        num_updates: Minibatch updates that the training will make, infinite if that is not known.
    """

    rnd = None
    intrinsic_rewards = None

    def __init__(
        self,
        actor_critic: ActorCritic[Any],
        storage: RolloutBuffer,
        cfg: TruDiCfg,
        spec: PolicySpec,
        env: VecEnv | None = None,
        device: str = "cpu",
        multi_gpu_cfg: dict[str, Any] | None = None,
        num_updates: float = math.inf,
    ) -> None:
        self.device = device
        self.cfg = cfg
        self.actor_critic = actor_critic.to(device)
        self.storage = storage
        self.spec = spec
        self.env = env
        accelerator = Accelerator(cfg.compile, device, num_updates)
        world_size = multi_gpu_cfg["world_size"] if multi_gpu_cfg else 1
        self.learner = PathwiseLearner(actor_critic, cfg, world_size, accelerator)
        self._sample = accelerator.capture("sampling", accelerator.compile("sampling", self._sampled))
        self.is_main_process = not multi_gpu_cfg or multi_gpu_cfg["global_rank"] == 0
        self.guard = UpdateGuard(cfg.max_skipped_updates)
        self._told_at_start = accelerator.describe() if self.is_main_process else ""
        self.learning_rate = cfg.learning_rate
        self._value_range_chosen = cfg.value_range != "auto"
        self._collecting = False
        self._can_learn, self._faulty_envs = True, 0
        self._replay_checked = False
        self._watch = Watch(cfg.to_dict()) if self.is_main_process else None

    @staticmethod
    def construct_algorithm(obs: TensorDict, env: VecEnv, cfg: dict[str, Any], device: str) -> TruDi:
        """Build TruDi from a runner configuration; RSL-RL's runners call this.

        Reads ``cfg["algorithm"]``, ``cfg["obs_groups"]``, ``cfg["num_steps_per_env"]``, ``cfg["max_iterations"]`` and
        ``cfg["multi_gpu"]``.
        The ``actor`` and ``critic`` model sections of a PPO configuration are not used.

        Raises:
            ConfigError: If a setting is unknown or impossible, or the environment tells no action bounds.
        """
        return TruDi(**components(obs, env, cfg, device))

    # -- collecting -----------------------------------------------------------------------------------------------

    def act(self, obs: TensorDict) -> Tensor:
        """Return simulator actions ``[E, A]`` for observation groups of batch ``[E]`` and store the decision."""
        self._collecting = True
        self.actor_critic.update_normalization(obs)
        return self.actor_critic.to_simulator(self._decide(obs))

    @torch.no_grad()
    def _decide(self, obs: TensorDict) -> Tensor:
        model = self.actor_critic
        actor_obs = model.actor_obs(obs)
        critic_obs = model.critic_obs(obs) if model.asymmetric else actor_obs
        seen = torch.isfinite(actor_obs).all(-1)
        if model.asymmetric:
            seen = seen & torch.isfinite(critic_obs).all(-1)
            critic_obs = critic_obs.masked_fill(~seen[:, None], 0.0)
        # an environment that lost its numbers gets the action of a mean observation until it is reset
        actor_obs = actor_obs.masked_fill(~seen[:, None], 0.0)
        critic_obs = critic_obs if model.asymmetric else actor_obs
        decision = self._sample(actor_obs, model.actor.draw_noise(len(actor_obs)))
        self.storage.add_decision(actor_obs, critic_obs, decision, seen)
        return decision.action

    def _sampled(self, actor_obs: Tensor, noise: Tensor) -> Decision:
        with network_precision(self.cfg.precision, actor_obs.device.type):
            return self.actor_critic.decide(actor_obs, noise)

    def process_env_step(self, obs: TensorDict, rewards: Tensor, dones: Tensor, extras: dict[str, Any]) -> None:
        """Store what the simulator answered.

        Args:
            obs: Next observations (of the next episode where one ended); unused, :meth:`act` is given them again.
            rewards: ``[E]``.
            dones: Ends of episodes ``[E]``, nonzero where one ended.
            extras: ``time_outs`` ``[E]`` marks the truncations among them; ``final_obs`` (observation groups
                ``[E, ...]``), where the host offers it for all groups in use, holds the true last observations.
        """
        done = dones.reshape(-1) > 0
        time_outs = extras.get("time_outs")
        truncated = torch.zeros_like(done) if time_outs is None else done & (time_outs.to(self.device).reshape(-1) > 0)
        final_obs, model = extras.get("final_obs"), self.actor_critic
        if final_obs is not None and {*model.actor_obs.groups, *model.critic_obs.groups} <= {*final_obs.keys()}:
            raw = model.actor_obs.concatenate(final_obs).to(self.device)
            self.storage.add_final_obs(
                raw, model.critic_obs.concatenate(final_obs).to(self.device) if model.asymmetric else raw
            )
        self.storage.add_outcome(rewards.reshape(-1), done & ~truncated, truncated)
        # RSL-RL adds these up next, and one NaN would stay in the mean of a hundred episodes
        rewards.nan_to_num_(0.0, 0.0, 0.0)

    def compute_returns(self, obs: TensorDict) -> None:
        """Compute the targets of the rollout; ``obs`` are the observations after its last step.

        NaN and infinity are left out, and if too much of the rollout is, so is the next update.

        Raises:
            NonFiniteError: As :meth:`UpdateGuard.mend` does, with environment and step.
            RuntimeError: On the first call, if replaying the policy's decisions does not reproduce them.
        """
        self._decide(obs)
        self._can_learn, self._faulty_envs = self.guard.mend(self.storage, self.env, self.save)
        if not self._everyone_can_learn():
            return
        if self.cfg.has_trust_region and not self._replay_checked:
            obs_seen = self.storage.actor_obs[0].clone()
            raise_if_replay_differs(self.actor_critic.actor, obs_seen, self._sample, self.cfg.precision)
            self._replay_checked = True
        critic = self.actor_critic.critic
        hl_gauss = critic.hl_gauss
        if not self._value_range_chosen:
            hl_gauss.set_range(*initial_range(self.storage.rewards, self.cfg.gamma))
            critic.zero_code.data.copy_(hl_gauss.encode(torch.zeros_like(hl_gauss.vmin)))
            self._value_range_chosen = True
        with network_precision(self.cfg.precision, self.storage.device.type):
            compute_targets(self.actor_critic, self.storage, self.learner.alpha, self.cfg.gamma, self.cfg.lam)
        if self.cfg.value_range == "auto":
            vmin, vmax = widened_range(hl_gauss.vmin, hl_gauss.vmax, self.storage.targets, self.storage.target_valid)
            if (vmin < hl_gauss.vmin) | (vmax > hl_gauss.vmax):
                critic.widen(vmin, vmax)

    def _everyone_can_learn(self) -> bool:
        """Return whether every process can learn from its rollout: those that could would wait for the others."""
        if torch.distributed.is_initialized():
            self._can_learn = bool(all_gather(torch.tensor(float(self._can_learn), device=self.device)).all())
        return self._can_learn

    # -- learning -------------------------------------------------------------------------------------------------

    def update(self) -> dict[str, float]:
        """Learn from the stored rollout and return the means of what was logged, read from the device twice.

        Raises:
            NonFiniteError: As :meth:`UpdateGuard.learned` does.
        """
        model, storage = self.actor_critic, self.storage
        faults = {"nonfinite_envs": float(self._faulty_envs)}
        if not self._can_learn:
            self._start_rollout()
            return self._watched({"skipped_updates": 1.0, **faults})
        old_steps = step_sizes_of(model.old_actor)
        model.entropy_per_dim.copy_(-all_reduce_mean(storage.log_probs.mean()) / model.num_actions)
        metrics = rollout_metrics(storage, model.critic.hl_gauss)
        batches, collected = [], []
        # one after the other: minibatches and denoising noise are drawn from one generator
        for rows in storage.index_batches(self.cfg.num_learning_epochs, self.cfg.num_mini_batches):
            batches.append(rows)
            collected.append(self.learner.update(storage.minibatch(rows), old_steps))
        weights = torch.nn.utils.get_total_norm([p.detach() for p in model.parameters()])
        self.guard.learned(collected, weights, lambda i: storage.minibatch(batches[i]), self.save)
        self.learner.skips.zero_()
        for name in collected[0]:
            values = torch.stack([m[name] for m in collected])
            metrics[name] = values.max() if name.endswith("_max") else values.mean()
        model.sync_old_actor()
        self._start_rollout()
        metrics["skipped_updates"] = metrics.pop("skipped_max")
        metrics["entropy_per_dim"] = metrics.pop("entropy") / model.num_actions
        metrics["alpha"] = self.learner.alpha
        if self.cfg.has_trust_region:
            metrics["lambda"] = self.learner.multiplier
        metrics |= model.actor_metrics()
        numbers = of_all(metrics)
        return self._watched(numbers | faults | {"entropy_target_per_dim": self.cfg.entropy_target_per_dim})

    def _watched(self, numbers: dict[str, float]) -> dict[str, float]:
        """Return what an iteration logs, when the rules on a training's health have looked at it."""
        if self._watch is not None:
            self._watch.observe(numbers)
        return numbers

    def _start_rollout(self) -> None:
        self.storage.clear()
        self._collecting = False

    # -- RSL-RL's remaining contract ------------------------------------------------------------------------------

    def train_mode(self) -> None:
        """Let the normalisers learn and start a rollout; one that an interrupt left unfinished is dropped."""
        if self._told_at_start:
            print(f"[trudi_rsl] {self._told_at_start}", flush=True)
            self._told_at_start = ""
        self.actor_critic.train()
        self._start_rollout()

    def eval_mode(self) -> None:
        """Freeze the normalisers."""
        self.actor_critic.eval()

    def get_policy(self) -> ActorCritic[Any]:
        """Return the module; calling it gives deterministic simulator actions."""
        return self.actor_critic

    def save(self) -> dict[str, Any]:
        """Return all that a resume, an evaluation or an export needs; the simulator's state between rollouts only."""
        return {
            "actor_state_dict": part_of_state(self.actor_critic, ACTOR_PARTS),
            "critic_state_dict": part_of_state(self.actor_critic, CRITIC_PARTS),
            "optimizer_state_dict": self.learner.state_dict(),
            SECTION: self.spec,
            **resume_state(None if self._collecting else self.env),
        }

    def load(self, loaded_dict: dict[str, Any], load_cfg: dict[str, bool] | None, strict: bool) -> bool:
        """Load a checkpoint.

        Args:
            loaded_dict: What :meth:`save` returned, or RSL-RL 3 saved.
            load_cfg: Which of ``actor``, ``critic``, ``optimizer`` and ``iteration`` to load; None loads all.
                ``iteration`` also restores the random generators and the simulator's state.
            strict: Refuse missing and unknown parameters.

        Returns:
            Whether the runner should take over the iteration number.

        Raises:
            CheckpointError: If the checkpoint is of another algorithm, task or shape.
        """
        loaded_dict = present_format(loaded_dict)
        wanted: dict[str, bool] = (
            dict.fromkeys(("actor", "critic", "optimizer", "iteration"), True) if load_cfg is None else load_cfg
        )
        # an actor alone may start another task
        spec = learner_spec(loaded_dict, self.spec["task"] if wanted.get("critic") or wanted.get("optimizer") else None)
        check_settings(spec, self.spec)
        parts = [
            (key, prefixes) for key, prefixes in (("actor", ACTOR_PARTS), ("critic", CRITIC_PARTS)) if wanted.get(key)
        ]
        load_parts(self.actor_critic, [(loaded_dict[f"{key}_state_dict"], p) for key, p in parts], strict)
        if wanted.get("actor"):
            self.actor_critic.sync_old_actor()
        if wanted.get("critic"):
            self._keep_configured_range()
        if wanted.get("optimizer"):
            self.learner.load_state_dict(loaded_dict["optimizer_state_dict"])
        if wanted.get("iteration"):
            set_resume_state(self.env, loaded_dict, self.is_main_process)
        self._replay_checked = False
        return wanted.get("iteration", False)

    def _keep_configured_range(self) -> None:
        """Give a loaded critic the configured value range if that is wider; an automatic one goes on from its own."""
        self._value_range_chosen = True
        if self.cfg.value_range != "auto":
            critic = self.actor_critic.critic
            vmin, vmax = critic.hl_gauss.vmin, critic.hl_gauss.vmax
            low, high = (vmin.new_tensor(end) for end in self.cfg.value_range)
            # widening to the same range would leave a rounding error
            if (low < vmin) | (high > vmax):
                critic.widen(torch.minimum(low, vmin), torch.maximum(high, vmax))

    def broadcast_parameters(self) -> None:
        """Give every process the parameters, normalisers and multipliers of process 0."""
        duals = [self.learner.log_alpha.data, self.learner.log_lambda.data]
        for tensor in [*self.actor_critic.state_dict().values(), *duals]:
            torch.distributed.broadcast(tensor, src=0)
