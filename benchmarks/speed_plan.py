# SPDX-License-Identifier: BSD-3-Clause
"""What ``speed.py`` measures: shapes, variants, and the cells of its tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from trudi_rsl.settings import CompileMode, Precision

Section = Literal["sampling", "update", "sweeps"]
Mode = Literal["eager", "compiled", "captured"]
SECTIONS: tuple[Section, ...] = ("sampling", "update", "sweeps")
COMPILE: dict[Mode, CompileMode] = {"eager": "off", "compiled": "default", "captured": "cudagraphs"}
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
        half, half_steps = self.width // 2, max(self.num_denoise_steps // 2, 1)
        settings: dict[str, dict[str, Any]] = {
            "stored": {},
            "fresh, K = 1": {"kl_chains": "fresh"},
            "fresh, K = 4": {"kl_chains": "fresh", "num_kl_chains": 4},
            "adjoint": {"actor_gradient": "adjoint"},
            "adjoint, half the steps": {"actor_gradient": "adjoint", "num_adjoint_steps": half_steps},
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


G1 = Shape(4096, 64, num_obs=99, num_actions=29, width=512, num_denoise_steps=8, num_mini_batches=16, num_epochs=4)
"""Unitree G1 on flat ground, as trained with thousands of environments on a GPU."""
HALF_CHEETAH = Shape(64, 32, 17, 6, width=128, num_denoise_steps=8, num_mini_batches=16, num_epochs=4)
"""The HalfCheetah preset."""
ACTING = replace(G1, num_steps=1, num_mini_batches=1)


@dataclass(frozen=True)
class Sizes:
    """Extent of the measurements; the defaults are those on a CPU."""

    acting: Shape = ACTING
    """Shape for sampling; environments and denoising steps are varied."""
    learning: Shape = HALF_CHEETAH
    """Shape for updates, and base of the sweeps."""
    env_counts: tuple[int, ...] = (1, 64, 1024, 4096)
    denoise_steps: tuple[int, ...] = (1, 4, 8, 16)
    mini_batches: tuple[int, ...] = (HALF_CHEETAH.num_mini_batches,)
    """The first is measured with all variants, the others with stored chains in float32."""
    modes: tuple[Mode, ...] = ("eager", "compiled")
    """The last is the one used in training."""
    precisions: tuple[Precision, ...] = ("fp32", "bf16")
    factors: tuple[float, ...] = (0.25, 0.5, 1, 2)
    """Multiples of the base's sizes in the sweeps."""
    seconds: float = 2.0
    """Minimum time for which each function is repeated."""


ON_GPU = Sizes(
    learning=G1,
    mini_batches=(16, 64),
    modes=("eager", "compiled", "captured"),
    precisions=("fp32", "tf32", "bf16"),
    seconds=0.5,
)


def quick_sizes(chosen: Sizes) -> Sizes:
    """Return fewer, smaller and shorter measurements."""
    small = replace(HALF_CHEETAH, num_envs=8, num_steps=8, width=32)
    return replace(
        chosen, learning=small, env_counts=(1, 64), denoise_steps=(1,), precisions=("fp32",), factors=(2,), seconds=0.01
    )


def plan(chosen: Sizes) -> list[Cell]:
    """Return all cells, section by section, the fast ones first."""
    return [*_sampling(chosen), *_update(chosen), *_sweeps(chosen)]


def _sampling(chosen: Sizes) -> Iterator[Cell]:
    # modes between the plainest and the fastest do not change acting
    for mode in dict.fromkeys((chosen.modes[0], chosen.modes[-1])):
        for envs in chosen.env_counts:
            shape = replace(chosen.acting, num_envs=envs)
            for steps in chosen.denoise_steps:
                yield Cell("sampling", replace(shape, num_denoise_steps=steps), Variant(mode=mode))
            yield Cell("sampling", shape, Variant("gaussian", mode))


def _update(chosen: Sizes) -> Iterator[Cell]:
    first, *others = (replace(chosen.learning, num_mini_batches=m) for m in chosen.mini_batches)
    plain = chosen.precisions[0]
    for mode in chosen.modes:
        cases: list[tuple[Shape, Precision]] = [(first, precision) for precision in chosen.precisions]
        for shape, precision in [*cases, *((shape, plain) for shape in others)]:
            yield Cell("update", shape, Variant("diffusion", mode, "stored", precision))
            yield Cell("update", shape, Variant("gaussian", mode, "stored", precision))
        for option in OPTIONS[1:] if mode == chosen.modes[-1] else ["fresh, K = 1"]:
            yield Cell("update", first, Variant("diffusion", mode, option, plain))
    for shape in (first, *others):
        yield Cell("update", shape, Variant("ppo"))
    yield Cell("update", first, Variant("ppo preset"))


def _sweeps(chosen: Sizes) -> Iterator[Cell]:
    variant = Variant(mode=chosen.modes[-1])
    yield Cell("sweeps", chosen.learning, variant)
    for field in SWEPT:
        base = getattr(chosen.learning, field)
        for size in sorted({max(1, round(factor * base)) for factor in chosen.factors} - {base}):
            yield Cell("sweeps", replace(chosen.learning, **{field: size}), variant, field)
