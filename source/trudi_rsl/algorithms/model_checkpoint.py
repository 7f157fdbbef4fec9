# SPDX-License-Identifier: BSD-3-Clause
"""What a checkpoint of PPO or one of its relatives tells of its policy, so that it can be rebuilt without a simulator.

Checkpoints have RSL-RL's layout. The relatives add a section of their own, and PPO gets the same from this package's
runner, among the ``infos``.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import torch
from tensordict import TensorDict

from trudi_rsl.errors import CheckpointError
from trudi_rsl.modules import DeployablePolicy, MLPPolicy
from trudi_rsl.rsl_rl_compat import describe_environment, task_name
from trudi_rsl.rsl_rl_compat.moved import resolve_callable
from trudi_rsl.rsl_rl_compat.version import INSTALLED, PPO_MODELS

if TYPE_CHECKING:
    from rsl_rl.env import VecEnv

PolicyGradientAlgorithm = Literal["ppo", "spo", "dppo", "fpo"]
"""What ``--algo`` calls PPO and its relatives."""

OWN_CLASS = re.compile(r"[A-Z]\w*|(rsl_rl|trudi_rsl)(\.[a-z_0-9]+)*[.:][A-Z]\w*")
"""Names of classes of RSL-RL and of this package, the former also without their module."""

SECTION = "policy_gradient"
FORMAT = 1


def policy_spec(
    algorithm: PolicyGradientAlgorithm,
    actor: Mapping[str, Any],
    obs: TensorDict,
    obs_groups: Mapping[str, list[str]],
    env: VecEnv,
) -> dict[str, Any]:
    """Return the section from which :func:`build_policy` makes the actor.

    Args:
        algorithm: What trains it.
        actor: The ``actor`` section of the runner configuration.
        obs: Observations of the environment.
        obs_groups: Names of observation sets to names of groups.
        env: The environment, asked for the number of actions and its task.
    """
    groups = list(obs_groups["actor"])
    return {
        "format": FORMAT,
        "algorithm": algorithm,
        "task": task_name(env),
        "environment": describe_environment(env, groups),
        "actor": copy.deepcopy(dict(actor)),
        "obs_groups": {"actor": groups},
        "obs_dims": {group: obs[group].shape[-1] for group in groups},
        "num_actions": env.num_actions,
    }


def spec_of(checkpoint: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the section of a checkpoint, None where it has none: a PPO's that RSL-RL's own runner wrote."""
    return checkpoint.get(SECTION) or (checkpoint.get("infos") or {}).get(SECTION)


def build_policy(checkpoint: Mapping[str, Any]) -> tuple[DeployablePolicy, dict[str, Any]]:
    """Rebuild the trained actor from a checkpoint alone, on the CPU and in evaluation mode.

    Returns:
        The actor and the checkpoint's section.

    Raises:
        CheckpointError: If the checkpoint does not tell its actor, it is not one that can be deployed here, or a newer
            version wrote it.
    """
    spec = spec_of(checkpoint)
    if spec is None:
        raise CheckpointError(
            "RSL-RL PPO's own checkpoints do not tell the sizes of their networks; those that trudi_rsl's runner wrote "
            "do. Load it into a runner with the settings it was trained with and call "
            "runner.export_policy_to_onnx(directory)."
        )
    if spec["format"] > FORMAT:
        raise CheckpointError(
            f"The checkpoint has format {spec['format']}, this version reads up to {FORMAT}; upgrade trudi_rsl."
        )
    if not PPO_MODELS:
        raise CheckpointError(f"The checkpoint's policy needs rsl-rl-lib 5; installed is {INSTALLED}.")
    section = copy.deepcopy(spec["actor"])
    _require_own_classes(section)
    if type(spec["num_actions"]) is not int:
        raise CheckpointError(f"The checkpoint tells {spec['num_actions']!r} for its number of actions.")
    model_class: Any = resolve_callable(section.pop("class_name"))
    is_model = isinstance(model_class, type) and issubclass(model_class, DeployablePolicy)
    if getattr(model_class, "__name__", "") != "MLPModel" and not is_model:
        raise CheckpointError(
            f"The policy is a {model_class.__name__}, and only MLPs can be deployed from a checkpoint. Load it into a "
            "runner and call runner.export_policy_to_onnx(directory)."
        )
    obs = TensorDict({group: torch.zeros(1, dim) for group, dim in spec["obs_dims"].items()}, batch_size=[1])
    model = model_class(obs, spec["obs_groups"], "actor", spec["num_actions"], **section)
    model.load_state_dict(checkpoint["actor_state_dict"])
    policy = model if isinstance(model, DeployablePolicy) else MLPPolicy(model)
    return policy.eval().requires_grad_(False), spec


def _require_own_classes(section: Mapping[str, Any]) -> None:
    """Check that a model's section names classes of RSL-RL and of this package alone, at any depth.

    Raises:
        CheckpointError: If it names another: importing what a file names would run that code.
    """
    for name, value in section.items():
        if isinstance(value, Mapping):
            _require_own_classes(value)
        elif name == "class_name" and not (isinstance(value, str) and OWN_CLASS.fullmatch(value)):
            raise CheckpointError(
                f"The checkpoint's policy names the class {value!r}, which is neither RSL-RL's nor trudi_rsl's, and "
                "was not imported. Load it into a runner and call runner.export_policy_to_onnx(directory)."
            )
