# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportMissingImports=false
"""A project that knows nothing of this package and registers its tasks after it: a cartpole that tracks a reference.

``TASK`` is trained by RSL-RL's PPO with symmetry and RND, which mjlab's configuration has no fields for; ``SMOOTH`` by
the project's own subclass of PPO. The actor sees two observation groups, the critic three.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import torch
from mjlab.managers.observation_manager import ObservationGroupCfg
from mjlab.rl import RslRlModelCfg, RslRlOnPolicyRunnerCfg, RslRlPpoAlgorithmCfg
from mjlab.tasks import registry
from rsl_rl.algorithms import PPO
from tensordict import TensorDict
from torch import Tensor

TASK, SMOOTH = "Project-Cartpole", "Project-Cartpole-Smooth"
# of position, cosine, sine, and both velocities
SIGNS = {"cart": (-1.0, -1.0), "pole": (1.0, -1.0, -1.0), "everything": (-1.0, 1.0, -1.0, -1.0, -1.0)}


def mirror(env: Any, obs: TensorDict | None, actions: Tensor | None) -> tuple[TensorDict | None, Tensor | None]:
    """Return observations and actions, followed by those of the cartpole seen from behind."""
    if obs is not None:
        image = {name: obs[name] * torch.tensor(signs) for name, signs in SIGNS.items()}
        obs = torch.cat([obs, TensorDict(image, batch_size=obs.batch_size)])  # pyright: ignore
    return obs, None if actions is None else torch.cat([actions, -actions])


class SmoothPPO(PPO):
    """PPO with an argument of the project's own."""

    def __init__(self, *args: Any, smoothness_coef: float = 0.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.smoothness_coef = smoothness_coef


@dataclass
class ExtendedPpoCfg(RslRlPpoAlgorithmCfg):
    """RSL-RL's extensions as fields."""

    symmetry_cfg: dict[str, Any] | None = None
    rnd_cfg: dict[str, Any] | None = None


@dataclass
class SmoothPpoCfg(RslRlPpoAlgorithmCfg):
    """The settings of :class:`SmoothPPO`."""

    smoothness_coef: float = 0.1
    class_name: str = f"{__name__}:SmoothPPO"


@dataclass
class ProjectRunnerCfg(RslRlOnPolicyRunnerCfg):
    """A runner configuration with a field of the project's own."""

    camera_rate: int = 30
    obs_groups: dict[str, tuple[str, ...]] = field(
        default_factory=lambda: {
            "actor": ("cart", "pole"),
            "critic": ("cart", "pole", "everything"),
            "rnd_state": ("pole",),
        }
    )


def register() -> None:
    """Register both tasks with mjlab."""
    env = registry.load_env_cfg("Mjlab-Cartpole-Swingup")
    terms = env.observations["critic"].terms
    cart, pole = ("cart_pos", "cart_vel"), ("pole_angle", "pole_vel")
    env.observations = {
        "cart": ObservationGroupCfg({name: terms[name] for name in cart}),
        "pole": ObservationGroupCfg({name: terms[name] for name in pole}),
        "everything": ObservationGroupCfg(dict(terms)),
    }
    small = RslRlModelCfg(hidden_dims=(16, 16), obs_normalization=True)
    gaussian = {"class_name": "GaussianDistribution", "init_std": 1.0, "std_type": "scalar"}
    cfg = ProjectRunnerCfg(
        actor=dataclasses.replace(small, distribution_cfg=gaussian),
        critic=small,
        algorithm=ExtendedPpoCfg(
            symmetry_cfg={"data_augmentation_func": mirror, "use_data_augmentation": True},
            rnd_cfg={"weight": 0.1, "num_outputs": 2, "predictor_hidden_dims": [8], "target_hidden_dims": [8]},
        ),
        experiment_name="project",
    )
    registry.register_mjlab_task(TASK, env, env, cfg)
    smooth = dataclasses.replace(cfg, algorithm=SmoothPpoCfg())
    registry.register_mjlab_task(SMOOTH, env, env, smooth)
