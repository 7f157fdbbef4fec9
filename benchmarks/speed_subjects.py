# SPDX-License-Identifier: BSD-3-Clause
"""Algorithms with a full rollout, built as in training on an environment that costs no time, and timing their parts."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from rsl_rl.algorithms import PPO
from rsl_rl.env import VecEnv
from speed_plan import COMPILE, Shape, Variant
from tensordict import TensorDict
from torch import Tensor
from torch.utils.benchmark import Timer
from torch.utils.flop_counter import FlopCounterMode

from trudi_rsl.acceleration import network_precision, set_matmul_precision
from trudi_rsl.algorithms import TruDi
from trudi_rsl.algorithms.trust_region import path_kl, step_sizes_of
from trudi_rsl.config import compose
from trudi_rsl.model_sections import without_unset
from trudi_rsl.policies.diffusion import DiffusionPolicy
from trudi_rsl.settings import Precision
from trudi_rsl.storage import Minibatch

STANDSTILL = 1e-12
"""Learning rate too small to change a weight, so that the same states exceed the trust region in every repeat."""
DRIFT = 0.02
"""Standard deviation of the change of the actor's weights since the rollout."""
WARM_UP = 4
"""Calls before timing: the first compiles, and the third is captured as a CUDA graph."""
LEAST_REPEATS = 5
BIG_GEMM = {"cpu": 2048, "cuda": 8192}
"""Rows and columns of square matrices large enough for a device's best rate."""
GEMM_SECONDS = 0.5
"""Minimum time for which a matrix product is repeated."""


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
    return without_unset(OmegaConf.to_container(compose("HalfCheetah-v5", algo).agent))  # pyright: ignore


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
        alg.cfg.kl_bound = float(alg.learner.update(*update_args(alg))["path_kl"])  # type: ignore[attr-defined]
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
    """Return a function that draws one action per environment with ``sample(obs, noise)``, as a rollout does."""
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
    old = alg.learner._old_policy(batch, old_steps, alg.learner._draw(len(batch.actions)).old_noise)
    assert old is not None, "the reverse KL has no old chains"

    def gradient() -> Any:
        with network_precision(alg.cfg.precision, batch.actions.device.type):
            kl = path_kl(actor, batch.actor_obs, old, alg.cfg.kl_estimator).mean()  # type: ignore[attr-defined]
        return torch.autograd.grad(kl, parameters, allow_unused=True)

    return gradient


def parts(alg: TruDi) -> dict[str, Callable[[], Any]]:
    """Return the parts of a minibatch update, which overlap; none of a compiled one, which is a single function.

    ``path KL`` is inside the actor step. ``optimizers`` is clipping and Adam of actor and critic, which are inside
    their steps, and the dual step.
    """
    learner = alg.learner
    if learner.accelerator.compiles:
        return {}
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
    if isinstance(alg.actor_critic.actor, DiffusionPolicy):
        functions["path KL"] = path_kl_gradient(alg)
    return functions


def check_fast(alg: TruDi) -> None:
    """Raise RuntimeError if a function fell back to code that is not compiled or captured."""
    accelerator = alg.learner.accelerator
    slow = [f"{g.name} ({g.verb})" for g in accelerator.functions if not g.is_fast]
    if slow:
        raise RuntimeError(f"could not be made fast: {', '.join(slow)}")


@dataclass(frozen=True)
class Timing:
    """Milliseconds per call."""

    median: float
    q25: float
    q75: float
    repeats: int


def measured(call: Callable[[], Any], min_seconds: float) -> Timing:
    """Time a function after a warm-up, for at least ``min_seconds``, with a GPU sync if there is a GPU."""
    once = 0.0
    for _ in range(WARM_UP):
        synchronize()
        start = time.perf_counter()
        call()
        synchronize()
        once = time.perf_counter() - start
    timer = Timer("call()", globals={"call": call}, num_threads=torch.get_num_threads())
    times = timer.blocked_autorange(min_run_time=max(min_seconds, LEAST_REPEATS * once)).times
    q25, median, q75 = (1e3 * float(q) for q in np.percentile(times, (25, 50, 75)))
    return Timing(median, q25, q75, len(times))


def synchronize() -> None:
    """Wait for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def counted_flops(call: Callable[[], Any]) -> int:
    """Return the FLOPs of a function's matrix products, counted in eager mode."""
    with torch.compiler.set_stance("force_eager"), FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


@cache
def gemm_rate(precision: Precision, device: str, threads: int, rows: int, inner: int, columns: int) -> float:
    """Return the FLOP/s of a matrix product ``[rows, inner] @ [inner, columns]`` with torch's current threads."""
    assert threads == torch.get_num_threads()
    set_matmul_precision(precision, device)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    left = torch.randn(rows, inner, device=device).to(dtype)
    right = torch.randn(inner, columns, device=device).to(dtype)
    out = torch.empty(rows, columns, device=device, dtype=dtype)
    timing = measured(lambda: torch.mm(left, right, out=out), GEMM_SECONDS)
    return 2e3 * rows * inner * columns / timing.median


def reached(timing: Timing, flops: int, precision: Precision, device: str, rows: int, width: int) -> dict[str, Any]:
    """Return a function's time, its FLOPs, and its rate relative to that of matrix products.

    Its own largest product is ``[rows, width] @ [width, width]``.
    """
    side, threads = BIG_GEMM[torch.device(device).type], torch.get_num_threads()
    rate = 1e3 * flops / timing.median
    return {
        "ms": asdict(timing),
        "flops": flops,
        "share_of_big_gemm": rate / gemm_rate(precision, device, threads, side, side, side),
        "share_of_own_gemm": rate / gemm_rate(precision, device, threads, rows, width, width),
    }
