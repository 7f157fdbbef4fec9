# SPDX-License-Identifier: BSD-3-Clause
"""TruDi for RSL-RL 3, whose runner builds a policy from ``cfg["policy"]`` and passes it to the algorithm.

All settings are in ``cfg["algorithm"]``, so the policy is a facade that is filled when the algorithm is built. The
runner evaluates the class names "TruDi" and "DiffusionActorCritic" or "DiffusionActorCritic.for_env(self.env)" in its
own module, where :func:`register_in_runner` puts them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import partial
from types import SimpleNamespace
from typing import Any, ClassVar, Self, cast

from rsl_rl.env import VecEnv
from tensordict import TensorDict
from torch import Tensor, nn

from trudi_rsl import algorithms
from trudi_rsl.checkpoints.format import SECTION, STATE_PARTS, PolicySpec
from trudi_rsl.errors import ConfigError, setting
from trudi_rsl.policies import ActorCritic
from trudi_rsl.rsl_rl_compat.version import POLICY_CLASS_NAME, POLICY_STYLE
from trudi_rsl.settings import LearnerAlgorithm


class DiffusionActorCritic(nn.Module):
    """An :class:`~trudi_rsl.policies.ActorCritic` with the interface of RSL-RL 3's policies.

    ``obs_groups`` has the sets ``policy`` and ``critic``. ``env``, which has the action bounds and the task's name, is
    None if the class was named without it. ``settings``, the rest of the ``policy`` section, are ignored and warned of.
    """

    is_recurrent = False

    def __init__(
        self,
        obs: TensorDict,
        obs_groups: Mapping[str, list[str]],
        num_actions: int,
        env: VecEnv | None = None,
        **settings: Any,
    ) -> None:
        super().__init__()
        if ignored := sorted(name for name, value in settings.items() if value is not None):
            warnings.warn(
                "TruDi takes its settings from the algorithm section and ignores these of the policy section: "
                f"{', '.join(ignored)}.",
                stacklevel=2,
            )
        self.example = obs[:1]
        self.obs_groups = {"actor": list(obs_groups["policy"]), "critic": list(obs_groups["critic"])}
        self.num_actions = num_actions
        self.env = env
        self.algorithm: TruDi | None = None
        self.actor_critic: ActorCritic[Any] | None = None

    @classmethod
    def for_env(cls, env: VecEnv) -> Callable[..., Self]:
        """Return the class bound to an environment, for ``class_name = "DiffusionActorCritic.for_env(self.env)"``."""
        return partial(cls, env=env)

    @property
    def _trained(self) -> TruDi:
        if self.algorithm is None:
            raise RuntimeError("This policy is filled when the algorithm is built: algorithm.class_name must be TruDi.")
        return self.algorithm

    # -- acting ---------------------------------------------------------------------------------------------------

    def act_inference(self, obs: TensorDict) -> Tensor:
        """Return the deterministic simulator actions ``[B, A]`` for observation groups of batch ``[B]``."""
        return self._trained.actor_critic.act_inference(obs)

    forward = act_inference

    def act(self, obs: TensorDict) -> Tensor:
        """Return sampled simulator actions ``[B, A]``."""
        return self._trained.actor_critic.act(obs)

    def reset(self, dones: Tensor | None = None) -> None:
        """Do nothing: the policy has no memory."""

    @property
    def action_std(self) -> Tensor:
        """Standard deviation ``[A]`` of the Gaussian with the same entropy bound per dimension, in simulator units."""
        return self._trained.actor_critic.output_std

    @property
    def actor(self) -> nn.Sequential:
        """The deployable policy for Isaac Lab 2.3's exporters, including the normaliser: ``[B, O] -> [B, A]``."""
        return nn.Sequential(self._trained.actor_critic.deployable())

    # -- training and checkpoints ---------------------------------------------------------------------------------

    def train(self, mode: bool = True) -> Self:
        """Switch mode; RSL-RL switches to train mode when training starts, which also starts the algorithm's."""
        super().train(mode)
        if mode and self.algorithm is not None:
            self.algorithm.train_mode()
        return self

    def get_extra_state(self) -> PolicySpec:
        """Return the checkpoint's section, which torch puts into ``state_dict``."""
        return self._trained.spec

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> bool:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Load actor and critic; return True, so that RSL-RL also loads the optimiser and the iteration number.

        Raises:
            CheckpointError: If the state is of another algorithm, task or shape.
        """
        self._trained.load({"model_state_dict": state_dict}, {"actor": True, "critic": True}, strict)
        return True


class TruDi(algorithms.TruDi):
    """TruDi as RSL-RL 3's runner builds it.

    Args:
        policy: The facade that the runner built.
        storage: Of RSL-RL 3.2 and newer, of which only the sizes are read; older ones call :meth:`init_storage`.
        device: Training device.
        multi_gpu_cfg: RSL-RL's distributed settings, None on one device.
        settings: The ``algorithm`` section, see :class:`~trudi_rsl.settings.TruDiCfg`.

    Raises:
        ConfigError: If a setting is unknown or impossible, or no action bounds are known.
    """

    def __init__(
        self,
        policy: DiffusionActorCritic,
        storage: Any = None,
        device: str = "cpu",
        multi_gpu_cfg: dict[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        if not isinstance(policy, DiffusionActorCritic):
            raise ConfigError(
                f"TruDi cannot train the policy {type(policy).__name__}; set policy.class_name to "
                f'"{POLICY_CLASS_NAME}".'
            )
        if policy.env is None and settings.get("action_bounds") is None:
            raise ConfigError(
                "A diffusion policy needs action bounds. Take the environment's, with policy.class_name="
                f'"{POLICY_CLASS_NAME}", or set them: {setting("algorithm.action_bounds", "[-1.0, 1.0]")}.'
            )
        self.policy = policy
        self.optimizer = _ResumeState(self)
        self._section = settings
        self._placement: dict[str, Any] = {"device": device, "multi_gpu_cfg": multi_gpu_cfg}
        if storage is not None:
            self._build(storage.num_envs, storage.num_transitions_per_env)

    def init_storage(self, training_type: str, num_envs: int, num_steps: int, *_: Any) -> None:
        """Build the module and the rollout storage, now that their sizes are known."""
        self._build(num_envs, num_steps)

    def _build(self, num_envs: int, num_steps: int) -> None:
        policy = self.policy
        # without the environment, only its sizes are known
        env = policy.env or cast(VecEnv, SimpleNamespace(num_envs=num_envs, num_actions=policy.num_actions))
        cfg = {"algorithm": self._section, "obs_groups": policy.obs_groups, "num_steps_per_env": num_steps}
        arguments = self.arguments(policy.example, env, cfg, self._placement["device"])
        super().__init__(**arguments | {"env": policy.env, **self._placement})
        policy.algorithm, policy.actor_critic = self, self.actor_critic


class REPPO(TruDi):
    """TruDi's learner with a Gaussian actor."""

    algorithm: ClassVar[LearnerAlgorithm | None] = "reppo"


class DIME(TruDi):
    """TruDi's learner without the trust region."""

    algorithm: ClassVar[LearnerAlgorithm | None] = "dime"


ALGORITHMS: dict[str, type[TruDi]] = {"TruDi": TruDi, "REPPO": REPPO, "DIME": DIME}
"""The algorithms of RSL-RL 3 by class name."""


class _ResumeState:
    """The optimiser that RSL-RL 3 saves: all of a checkpoint except the policy."""

    def __init__(self, algorithm: TruDi) -> None:
        self._algorithm = algorithm

    def state_dict(self) -> dict[str, Any]:
        return {k: v for k, v in self._algorithm.save().items() if k not in (*STATE_PARTS, SECTION)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        wanted = {"optimizer": True, "iteration": True}
        self._algorithm.load({**state, SECTION: self._algorithm.spec}, wanted, strict=True)


def register_in_runner() -> None:
    """Add :data:`ALGORITHMS` and "DiffusionActorCritic" to where RSL-RL 3's runner looks names up."""
    if not POLICY_STYLE:  # newer versions import classes by their full names
        return
    import rsl_rl.algorithms
    import rsl_rl.modules
    import rsl_rl.runners.on_policy_runner as runner

    # 3.0 to 3.2 evaluate names in the runner's module, 3.3 looks them up in RSL-RL's packages
    for module in (runner, rsl_rl.algorithms):
        vars(module).update(ALGORITHMS)
    for module in (runner, rsl_rl.modules):
        vars(module)["DiffusionActorCritic"] = DiffusionActorCritic
