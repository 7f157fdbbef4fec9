# SPDX-License-Identifier: BSD-3-Clause
"""What a checkpoint of PPO or one of its relatives tells of its policy, so that it can be rebuilt without a simulator.

Checkpoints have RSL-RL's layout. The relatives add a section of their own, and PPO gets the same from this package's
runner, among the ``infos``.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import torch
from tensordict import TensorDict

from trudi_rsl.algorithms.checkpoint_file import sound
from trudi_rsl.algorithms.saved_weights import differences, require_none
from trudi_rsl.errors import CheckpointError
from trudi_rsl.modules import DeployablePolicy, MLPPolicy
from trudi_rsl.plain_values import is_count
from trudi_rsl.rsl_rl_compat import describe_environment, task_name
from trudi_rsl.rsl_rl_compat.own_classes import own_class, require_own_classes
from trudi_rsl.rsl_rl_compat.version import INSTALLED, PPO_MODELS

if TYPE_CHECKING:
    from rsl_rl.env import VecEnv

PolicyGradientAlgorithm = Literal["ppo", "spo", "dppo", "fpo"]
"""What ``--algo`` calls PPO and its relatives."""

MOST_STEPS = 10_000
"""Largest number of steps or samples of a model that is rebuilt from a file; no weight tells it."""

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


@sound()
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
    require_own_classes(section)
    if not is_count(spec["num_actions"]):
        raise CheckpointError(f"The checkpoint tells {spec['num_actions']!r:.80} for its number of actions.")
    if any(name.startswith("num_") and not (is_count(v) and v <= MOST_STEPS) for name, v in section.items()):
        raise CheckpointError(
            f"The checkpoint's policy has a number of steps or samples that is not 1 to {MOST_STEPS}."
        )
    model_class: Any = own_class(section.pop("class_name"))
    if model_class.__name__ != "MLPModel" and not issubclass(model_class, DeployablePolicy):
        raise CheckpointError(
            f"The policy is a {model_class.__name__}, and only MLPs can be deployed from a checkpoint. Load it into a "
            "runner and call runner.export_policy_to_onnx(directory)."
        )
    saved = checkpoint["actor_state_dict"]
    # sizes are compared before they take memory
    require_none(differences(saved, _model(model_class, spec, section, "meta").state_dict(), strict=True))
    model = _model(model_class, spec, section, "cpu")
    model.load_state_dict(saved)
    policy = model if isinstance(model, DeployablePolicy) else MLPPolicy(model)
    return policy.eval().requires_grad_(False), spec


def _model(model_class: Any, spec: Mapping[str, Any], section: Mapping[str, Any], device: str) -> Any:
    with torch.device(device):
        obs = TensorDict({group: torch.zeros(1, dim) for group, dim in spec["obs_dims"].items()}, batch_size=[1])
        # RSL-RL up to 5.4 takes class names out of what it is given
        return model_class(obs, spec["obs_groups"], "actor", spec["num_actions"], **copy.deepcopy(dict(section)))
