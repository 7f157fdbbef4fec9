# SPDX-License-Identifier: BSD-3-Clause
"""What ``speed.py`` measures: shapes, variants, and the cells of its tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from trudi_rsl.config import compose
from trudi_rsl.settings import CompileMode, Precision

Section = Literal["sampling", "update", "sweeps"]
Mode = Literal["eager", "compiled", "captured"]
SECTIONS: tuple[Section, ...] = ("sampling", "update", "sweeps")
COMPILE: dict[Mode, CompileMode] = {"eager": "off", "compiled": "default", "captured": "cudagraphs"}
PRESET_TASK = "HalfCheetah-v5"
SWEPT = {
    "num_envs": "environments",
    "num_denoise_steps": "denoising steps",
    "width": "network width",
    "num_actions": "action dimensions",
}
"""Fields of a shape that are varied one at a time."""
OPTIONS = ("stored", "fresh, K = 1", "fresh, K = 4", "adjoint", "adjoint, half the steps", "state encoder")
"""How a diffusion actor learns: the paper's way, then one change each. Gymnasium presets use adjoint matching on half
the steps."""


@dataclass(frozen=True)
class Shape:
    """Sizes of a task, its networks and its rollouts."""

    num_envs: int
    num_steps: int
    """Rollout length."""
    num_obs: int
    num_actions: int
    width: int
    """Width of actor and critic; the actor has three hidden layers."""
    num_denoise_steps: int
    num_mini_batches: int
    num_epochs: int

    def settings_of(self, option: str) -> dict[str, Any]:
        """Return the algorithm settings of one of :data:`OPTIONS` at these sizes."""
        half = self.width // 2
        settings: dict[str, dict[str, Any]] = {
            "stored": {},
            "fresh, K = 1": {"kl_chains": "fresh"},
            "fresh, K = 4": {"kl_chains": "fresh", "num_kl_chains": 4},
            "adjoint": {"actor_gradient": "adjoint"},
            "adjoint, half the steps": {
                "actor_gradient": "adjoint",
                "num_adjoint_steps": max(self.num_denoise_steps // 2, 1),
            },
            "state encoder": {"state_encoder_dims": [self.width] * 3, "actor_hidden_dims": [half, half]},
        }
        return {"actor_gradient": "pathwise", "num_adjoint_steps": 0} | settings[option]

    @property
    def batch(self) -> int:
        """Samples per minibatch."""
        return self.num_envs * self.num_steps // self.num_mini_batches


@dataclass(frozen=True)
class Variant:
    """Algorithm, mode and precision."""

    actor: Literal["diffusion", "gaussian", "ppo", "ppo preset"] = "diffusion"
    """TruDi with one of its actors, RSL-RL's PPO with the same networks and minibatches, or with its preset."""
    mode: Mode = "eager"
    option: str = "stored"
    """One of :data:`OPTIONS`; for the diffusion actor only."""
    precision: Precision = "fp32"


@dataclass(frozen=True)
class Cell:
    """One measurement."""

    section: Section
    shape: Shape
    variant: Variant
    swept: str = ""
    """In sweeps, the field that differs from the base; empty at the base."""

    @property
    def name(self) -> str:
        """Unique name within the section."""
        v, s = self.variant, self.shape
        if self.section == "sweeps":
            return f"{self.swept} = {getattr(s, self.swept)}" if self.swept else "base"
        if self.section == "sampling":
            steps = f", N = {s.num_denoise_steps}" if v.actor == "diffusion" else ""
            return f"{v.actor}, {v.mode}, {s.num_envs} envs{steps}"
        option = f", {v.option}" if v.actor == "diffusion" else ""
        minibatches = "" if v.actor == "ppo preset" else f", {s.num_mini_batches} minibatches"
        return f"{v.actor}, {v.mode}{option}, {v.precision}{minibatches}"

    def to_dict(self) -> dict[str, Any]:
        """Return what opens the cell's record."""
        return {"shape": dataclasses.asdict(self.shape), **dataclasses.asdict(self.variant), "swept": self.swept}


@dataclass(frozen=True)
class Sizes:
    """Extent and duration of the measurements."""

    acting: Shape
    """Shape for sampling; environments and denoising steps are varied."""
    learning: Shape
    """Shape for updates, and base of the sweeps."""
    env_counts: tuple[int, ...]
    denoise_steps: tuple[int, ...]
    mini_batches: tuple[int, ...]
    """The first is measured with all variants, the others with stored chains in float32."""
    modes: tuple[Mode, ...]
    """The last is the one used in training."""
    precisions: tuple[Precision, ...]
    factors: tuple[float, ...]
    """Multiples of the base's sizes in the sweeps."""
    seconds: float
    """Minimum time for which each function is repeated."""
    budget: float
    """Maximum seconds for timing one function."""


G1 = Shape(4096, 64, num_obs=99, num_actions=29, width=512, num_denoise_steps=8, num_mini_batches=16, num_epochs=4)
"""Unitree G1 on flat ground, as trained with thousands of environments on a GPU."""


def preset_shape() -> Shape:
    """Return the shape of the HalfCheetah preset."""
    cfg = compose(PRESET_TASK, "trudi")
    settings = cfg.agent.algorithm
    return Shape(
        cfg.env.num_envs,
        cfg.agent.num_steps_per_env,
        num_obs=17,
        num_actions=6,
        width=settings.critic_hidden_dim,
        num_denoise_steps=settings.num_denoise_steps,
        num_mini_batches=settings.num_mini_batches,
        num_epochs=settings.num_learning_epochs,
    )


def sizes(device_type: str, quick: bool) -> Sizes:
    """Return what to measure on ``cpu`` or ``cuda``."""
    on_gpu = device_type == "cuda"
    learning = G1 if on_gpu else preset_shape()
    modes: tuple[Mode, ...] = ("eager", "compiled", "captured") if on_gpu else ("eager", "compiled")
    precisions: tuple[Precision, ...] = ("fp32", "tf32", "bf16") if on_gpu else ("fp32", "bf16")
    return Sizes(
        acting=dataclasses.replace(G1, num_steps=1, num_mini_batches=1),
        learning=learning,
        env_counts=(1, 64, 1024) if quick else (1, 64, 1024, 4096),
        denoise_steps=(1, 8) if quick else (1, 4, 8, 16),
        mini_batches=(16, 64) if on_gpu and not quick else (learning.num_mini_batches,),
        modes=modes,
        precisions=precisions[:1] if quick else precisions,
        factors=(1, 2) if quick else (0.25, 0.5, 1, 2),
        seconds=0.3 if quick else 0.5 if on_gpu else 2.0,
        budget=60.0 if quick else 180.0,
    )


def plan(chosen: Sizes) -> list[Cell]:
    """Return all cells, section by section, the fast ones first."""
    return [*_sampling(chosen), *_update(chosen), *_sweeps(chosen)]


def _sampling(chosen: Sizes) -> Iterator[Cell]:
    # modes between the plainest and the fastest do not change acting
    for mode in dict.fromkeys((chosen.modes[0], chosen.modes[-1])):
        for envs in chosen.env_counts:
            for steps in chosen.denoise_steps:
                shape = dataclasses.replace(chosen.acting, num_envs=envs, num_denoise_steps=steps)
                yield Cell("sampling", shape, Variant(mode=mode))
            yield Cell("sampling", dataclasses.replace(chosen.acting, num_envs=envs), Variant("gaussian", mode))


def _update(chosen: Sizes) -> Iterator[Cell]:
    first, *others = (dataclasses.replace(chosen.learning, num_mini_batches=m) for m in chosen.mini_batches)
    plain = chosen.precisions[0]
    for mode in chosen.modes:
        for precision in chosen.precisions:
            yield Cell("update", first, Variant("diffusion", mode, "stored", precision))
            yield Cell("update", first, Variant("gaussian", mode, "stored", precision))
        for option in OPTIONS[1:] if mode == chosen.modes[-1] else ["fresh, K = 1"]:
            yield Cell("update", first, Variant("diffusion", mode, option, plain))
        for shape in others:
            yield Cell("update", shape, Variant("diffusion", mode, "stored", plain))
            yield Cell("update", shape, Variant("gaussian", mode, "stored", plain))
    for shape in (first, *others):
        yield Cell("update", shape, Variant("ppo"))
    yield Cell("update", first, Variant("ppo preset"))


def _sweeps(chosen: Sizes) -> Iterator[Cell]:
    variant = Variant(mode=chosen.modes[-1])
    yield Cell("sweeps", chosen.learning, variant)
    for field in SWEPT:
        base = getattr(chosen.learning, field)
        for size in sorted({max(1, round(factor * base)) for factor in chosen.factors} - {base}):
            yield Cell("sweeps", dataclasses.replace(chosen.learning, **{field: size}), variant, field)
