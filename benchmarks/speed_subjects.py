# SPDX-License-Identifier: BSD-3-Clause
"""Algorithms with a full rollout, built as in training, on an environment that costs no time."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import Any

import torch
from omegaconf import OmegaConf
from rsl_rl.algorithms import PPO
from rsl_rl.env import VecEnv
from speed_plan import COMPILE, Shape, Variant
from tensordict import TensorDict
from torch import Tensor

from trudi_rsl.acceleration import network_precision
from trudi_rsl.algorithms import TruDi
from trudi_rsl.algorithms.trust_region import path_kl, step_sizes_of
from trudi_rsl.config import compose
from trudi_rsl.policies.diffusion import DiffusionPolicy
from trudi_rsl.storage import Minibatch

STANDSTILL = 1e-12
"""Learning rate too small to change a weight, so that the same states exceed the trust region in every repeat."""
DRIFT = 0.02
"""Standard deviation of the change of the actor's weights since the rollout."""


class RandomEnv(VecEnv):
    """Random observations ``[E, O]`` and rewards ``[E]``; actions in [-1, 1] have no effect."""

    def __init__(self, shape: Shape, device: str) -> None:
        self.num_envs, self.num_actions, self.num_obs = shape.num_envs, shape.num_actions, shape.num_obs
        self.device = device
        self.max_episode_length = shape.num_steps
        self.episode_length_buf = torch.zeros(self.num_envs, dtype=torch.long, device=device)
        self.cfg: dict | object = {}
        self.action_low, self.action_high = -torch.ones(self.num_actions), torch.ones(self.num_actions)

    def get_observations(self) -> TensorDict:
        """Return the group ``policy``."""
        obs = torch.randn(self.num_envs, self.num_obs, device=self.device)
        return TensorDict({"policy": obs}, batch_size=[self.num_envs])

    def step(self, actions: Tensor) -> tuple[TensorDict, Tensor, Tensor, dict[str, Any]]:
        """Return new random observations and rewards; no episode ends."""
        rewards = torch.randn(self.num_envs, device=self.device)
        return self.get_observations(), rewards, torch.zeros_like(self.episode_length_buf), {}


def _preset(algo: str) -> dict[str, Any]:
    return OmegaConf.to_container(compose("HalfCheetah-v5", algo).agent)  # pyright: ignore[reportReturnType]


def make_trudi(shape: Shape, variant: Variant, device: str) -> tuple[TruDi, RandomEnv]:
    """Return TruDi with the preset's settings but this shape, and with weights that stay constant."""
    cfg = _preset("trudi" if variant.actor == "diffusion" else "reppo")
    cfg["num_steps_per_env"] = shape.num_steps
    cfg["algorithm"] |= {
        "num_learning_epochs": shape.num_epochs,
        "num_mini_batches": shape.num_mini_batches,
        "num_denoise_steps": shape.num_denoise_steps,
        "actor_hidden_dims": [shape.width] * 3,
        "critic_hidden_dim": shape.width,
        "learning_rate": STANDSTILL,
        "compile": COMPILE[variant.mode],
        "precision": variant.precision,
    }
    if variant.actor == "diffusion":
        cfg["algorithm"] |= shape.settings_of(variant.option)
    torch.manual_seed(0)
    env = RandomEnv(shape, device)
    # RSL-RL prints the configuration
    with contextlib.redirect_stdout(io.StringIO()):
        return TruDi.construct_algorithm(env.get_observations(), env, cfg, device), env


def trained_trudi(shape: Shape, variant: Variant, device: str) -> TruDi:
    """Return TruDi with a full rollout in which about half of the states exceed the trust region."""
    alg, env = make_trudi(shape, variant, device)
    # compile acting only where it is measured
    sample, alg._sample = alg._sample, alg._sampled
    collect(alg, env, shape.num_steps)
    alg._sample = sample
    with torch.no_grad():
        for parameter in alg.actor_critic.actor.parameters():
            parameter.add_(DRIFT * torch.randn_like(parameter))
    # keep the old actor, or all states would be within the trust region
    alg.actor_critic.sync_old_actor = lambda: None
    with torch.compiler.set_stance("force_eager"):
        alg.cfg.kl_bound = float(alg.learner._take_steps(*update_args(alg))["path_kl"])
    return alg


def make_ppo(shape: Shape, preset: bool, device: str) -> PPO:
    """Return RSL-RL's PPO with a full rollout, and networks and minibatches of its preset or of the shape."""
    cfg = _preset("ppo") | {"num_steps_per_env": shape.num_steps, "multi_gpu": None}
    cfg["algorithm"] |= {"learning_rate": STANDSTILL, "schedule": "fixed"}
    if not preset:
        cfg["algorithm"] |= {"num_learning_epochs": shape.num_epochs, "num_mini_batches": shape.num_mini_batches}
        for model in ("actor", "critic"):
            cfg[model]["hidden_dims"] = [shape.width] * 3
    torch.manual_seed(0)
    env = RandomEnv(shape, device)
    with contextlib.redirect_stdout(io.StringIO()):
        alg = PPO.construct_algorithm(env.get_observations(), env, cfg, device)
    collect(alg, env, shape.num_steps)
    return alg


def collect(alg: TruDi | PPO, env: RandomEnv, num_steps: int) -> None:
    """Fill the algorithm's rollout as a runner does."""
    with contextlib.redirect_stdout(io.StringIO()):
        alg.train_mode()
    with torch.inference_mode():
        obs = env.get_observations()
        for _ in range(num_steps):
            obs, rewards, dones, extras = env.step(alg.act(obs))
            alg.process_env_step(obs, rewards, dones, extras)
        alg.compute_returns(obs)


def update_args(alg: TruDi) -> tuple[Minibatch, Tensor | None]:
    """Return the arguments of the learner's update: a minibatch, and a diffusion policy's step sizes ``[N, A]``."""
    return next(alg.storage.minibatches(1, alg.cfg.num_mini_batches)), step_sizes_of(alg.actor_critic.old_actor)


def action_batch(alg: TruDi, env: RandomEnv, sample: Callable[..., Any]) -> Callable[[], Any]:
    """Return a function that draws one action per environment as a rollout does.

    ``sample`` maps normalised observations and noise to decisions.
    """
    actor, obs = alg.actor_critic.actor, env.get_observations()["policy"]

    @torch.inference_mode()
    def act() -> Any:
        return sample(obs, actor.draw_noise(len(obs)))

    return act


def path_kl_gradient(alg: TruDi) -> Callable[[], Any]:
    """Return a function that computes the path KL alone, forward and backward, on one minibatch of the rollout."""
    actor = alg.actor_critic.actor
    parameters = list(actor.parameters())
    batch, old_steps = update_args(alg)
    old = alg.learner._old_policy(batch, old_steps)
    assert old is not None, "the reverse KL has no old chains"

    def gradient() -> Any:
        with network_precision(alg.cfg.precision, batch.actions.device.type):
            kl = path_kl(actor, batch.actor_obs, old, alg.cfg.kl_estimator).mean()
        return torch.autograd.grad(kl, parameters, allow_unused=True)

    return gradient


def parts(alg: TruDi) -> dict[str, Callable[[], Any]]:
    """Return the parts of a minibatch update, which overlap.

    ``path KL`` is inside the actor step and has no compiled form of its own. ``optimizers`` is clipping and Adam of
    actor and critic, which are inside their steps, and the dual step.
    """
    learner = alg.learner
    batch, old_steps = update_args(alg)
    gradients = {
        name: [torch.zeros_like(p) for p in optimizer.param_groups[0]["params"]]
        for name, optimizer in learner.optimizers.items()
        if name != "duals"
    }
    entropy, kl = torch.zeros(2, device=batch.actions.device)

    def optimizers() -> None:
        for name, gradient in gradients.items():
            learner._descend(name, gradient)
        learner._dual_step(entropy, kl)

    functions: dict[str, Callable[[], Any]] = {
        "critic step": lambda: learner._critic_step(batch),
        "actor step": lambda: learner._actor_step(batch, old_steps),
        "optimizers": optimizers,
    }
    if isinstance(alg.actor_critic.actor, DiffusionPolicy) and not learner.accelerator.compiles:
        functions["path KL"] = path_kl_gradient(alg)
    return functions


def check_fast(alg: TruDi) -> None:
    """Check that no function fell back to code that is not compiled or captured.

    Raises:
        RuntimeError: Naming the functions that did.
    """
    accelerator = alg.learner.accelerator
    slow = [f"{g.name} ({g.verb})" for g in [*accelerator._compiled, *accelerator._captured] if not g.is_fast]
    if slow:
        raise RuntimeError(f"could not be made fast: {', '.join(slow)}")
