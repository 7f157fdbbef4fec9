# SPDX-License-Identifier: BSD-3-Clause
"""Rebuilding a policy from a checkpoint alone, without a simulator and without importing anything that a file names."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from tensordict import TensorDict
from torch import Tensor, nn

from trudi_rsl.checkpoints.file import read_checkpoint
from trudi_rsl.checkpoints.format import (
    ACTOR_PARTS,
    CRITIC_PARTS,
    LEARNER_KINDS,
    NAMES,
    PolicyKind,
    PolicySpec,
    check_task,
    class_basename,
    learner_spec,
    spec_of,
)
from trudi_rsl.errors import CheckpointError, as_checkpoint_error, one_line
from trudi_rsl.plain_values import is_count
from trudi_rsl.policies import (
    ActorCritic,
    DenoisingModel,
    DeployablePolicy,
    DiffusionActorCritic,
    FlowModel,
    GaussianActorCritic,
    MLPPolicy,
)
from trudi_rsl.rsl_rl_compat.models import DISTRIBUTIONS, MLPModel
from trudi_rsl.rsl_rl_compat.version import INSTALLED, PPO_MODELS
from trudi_rsl.settings import SETTINGS, DiffusionCfg, LearnerAlgorithm, LearnerCfg

MOST_STEPS = 10_000
"""Largest number of steps or samples of a policy that is rebuilt from a file: no weight bounds it."""

MODELS: dict[PolicyKind, Any] = {"mlp": MLPModel, "denoising": DenoisingModel, "flow": FlowModel}
"""Classes of the models that PPO and its relatives train, by kind of policy."""

OWN_CLASSES = {
    **{name: f"trudi_rsl.algorithms:{name}" for name in ("TruDi", "SPO", "DPPO", "FPO")},
    **{name: f"trudi_rsl.policies:{name}" for name in ("DenoisingModel", "FlowModel")},
}
"""Classes of this package that the settings of a run may name, and where they are now."""

RSL_RL_CLASSES = {
    *("PPO", "MLPModel", "RNNModel", "CNNModel", *DISTRIBUTIONS),
    *("ActorCritic", "ActorCriticRecurrent", "ActorCriticCNN"),  # up to RSL-RL 4
}
"""Classes of RSL-RL that they may name."""


# -- models of PPO and its relatives ----------------------------------------------------------------------------------


def kind_of_model(model: nn.Module) -> PolicyKind:
    """Return the kind of the policy whose actor is ``model``."""
    for kind, model_class in MODELS.items():
        if type(model) is model_class:
            return kind
    return "other"


def model_settings(actor: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a :class:`~trudi_rsl.checkpoints.format.PolicySpec` for an actor's model.

    Args:
        actor: The ``actor`` section of the runner configuration, from before RSL-RL built the model.
    """
    settings = {name: copy.deepcopy(value) for name, value in actor.items() if name != "class_name"}
    distribution = settings.get("distribution_cfg")
    if distribution is not None and isinstance(distribution.get("class_name"), type):
        distribution["class_name"] = distribution["class_name"].__name__
    return settings


def with_known_classes(section: Any) -> Any:
    """Return a copy of settings from a file in which classes of this package have their present names.

    RSL-RL imports what settings name, which may run any code, so that all other names are refused.

    Args:
        section: Mappings, lists and other plain values.

    Raises:
        CheckpointError: If they name a class other than :data:`OWN_CLASSES` and :data:`RSL_RL_CLASSES`, or a function.
    """
    if isinstance(section, Mapping):
        return {name: _known_entry(name, value) for name, value in section.items()}
    if isinstance(section, (list, tuple)):
        return [with_known_classes(value) for value in section]
    return section


def _known_entry(name: object, value: Any) -> Any:
    if name == "class_name":
        basename = class_basename(value)
        if basename in OWN_CLASSES:
            return OWN_CLASSES[basename]
        if basename in RSL_RL_CLASSES:
            return value
        raise _unknown_class(value)
    if str(name).endswith("_func") and value is not None:
        raise _unknown_class(value)
    return with_known_classes(value)


def _unknown_class(name: object) -> CheckpointError:
    return CheckpointError(
        f"The settings name {name!r:.80} as a class, which is neither RSL-RL's nor trudi_rsl's, and was not imported. "
        "If you trust it, load the checkpoint into a runner made from settings of your own (runner.load), which can "
        "also export it (runner.export_policy_to_onnx)."
    )


def build_model(checkpoint: Mapping[str, Any]) -> tuple[DeployablePolicy, PolicySpec]:
    """Rebuild the trained actor of PPO or a relative, on the CPU and in evaluation mode.

    Args:
        checkpoint: In the present format.

    Returns:
        The actor and the checkpoint's section.

    Raises:
        CheckpointError: If the checkpoint doesn't describe its actor, the actor cannot be rebuilt without a runner, or
            a newer version wrote the checkpoint.
    """
    spec = spec_of(checkpoint)
    if spec is None:
        raise CheckpointError(
            "RSL-RL PPO's own checkpoints do not describe their networks; those of trudi_rsl's runner do. Load it into "
            "a runner with the settings it was trained with and call runner.export_policy_to_onnx(directory)."
        )
    if not PPO_MODELS:
        raise CheckpointError(f"The checkpoint's policy needs rsl-rl-lib 5; installed is {INSTALLED}.")
    if (model_class := MODELS.get(spec["policy"])) is None:
        raise CheckpointError(
            "The checkpoint's actor is neither RSL-RL's MLPModel nor a model of trudi_rsl, so only a runner can build "
            "it. Load it into one and call runner.export_policy_to_onnx(directory)."
        )
    with as_checkpoint_error():
        settings = _with_classes(spec["settings"])
        if not is_count(spec["num_actions"]):
            raise CheckpointError(f"The checkpoint says {spec['num_actions']!r:.80} for its number of actions.")
        if any(name.startswith("num_") and not (is_count(v) and v <= MOST_STEPS) for name, v in settings.items()):
            raise CheckpointError(
                f"The checkpoint's policy has a number of steps or samples that is not 1 to {MOST_STEPS}."
            )
        saved = checkpoint["actor_state_dict"]
        # compares sizes before they take memory
        _require_none(_differences(saved, _model(model_class, spec, settings, "meta").state_dict(), strict=True))
        model = _model(model_class, spec, settings, "cpu")
        model.load_state_dict(saved)
        policy = model if isinstance(model, DeployablePolicy) else MLPPolicy(model)
        return policy.eval().requires_grad_(False), spec


def _with_classes(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a model's settings with the distribution's class in place of its name."""
    settings = copy.deepcopy(dict(settings))
    if (distribution := settings.get("distribution_cfg")) is not None:
        if (name := class_basename(distribution["class_name"])) not in DISTRIBUTIONS:
            raise _unknown_class(distribution["class_name"])
        distribution["class_name"] = DISTRIBUTIONS[name]
    return settings


def _model(model_class: Any, spec: PolicySpec, settings: Mapping[str, Any], device: str) -> Any:
    with torch.device(device):
        obs = TensorDict({group: torch.zeros(1, dim) for group, dim in spec["obs_dims"].items()}, batch_size=[1])
        # RSL-RL up to 5.4 removes class names from the settings
        return model_class(obs, spec["obs_groups"], "actor", spec["num_actions"], **copy.deepcopy(dict(settings)))


# -- actor-critics of TruDi, REPPO and DIME ---------------------------------------------------------------------------


def build_actor_critic(
    cfg: LearnerCfg,
    obs: TensorDict,
    obs_groups: dict[str, list[str]],
    action_low: Tensor,
    action_high: Tensor,
) -> ActorCritic[Any]:
    """Build the module that settings describe.

    Args:
        cfg: The settings; their class determines the kind of actor.
        obs: Observations, to size the groups.
        obs_groups: Group names of the ``actor`` and ``critic`` observation sets.
        action_low: Lower action bounds ``[A]``.
        action_high: Upper action bounds ``[A]``.
    """
    options: dict[str, Any] = {
        "actor_hidden_dims": cfg.actor_hidden_dims,
        "residual": cfg.residual,
        "critic_hidden_dim": cfg.critic_hidden_dim,
        # an automatic range is moved to the first rollout's rewards before it is used
        "value_range": (-1.0, 1.0) if cfg.value_range == "auto" else cfg.value_range,
        "num_bins": cfg.num_bins,
        "obs_normalization": cfg.obs_normalization,
    }
    if not isinstance(cfg, DiffusionCfg):
        return GaussianActorCritic(obs, obs_groups, action_low, action_high, **options)
    return DiffusionActorCritic(
        obs,
        obs_groups,
        action_low,
        action_high,
        num_denoise_steps=cfg.num_denoise_steps,
        prior_std=cfg.prior_std,
        init_friction=cfg.init_friction,
        state_encoder_dims=cfg.state_encoder_dims,
        **options,
    )


Parts = list[tuple[dict[str, Tensor], tuple[str, ...]]]
"""Saved entries of an actor-critic's state, and the prefixes of the names they were selected by."""


def part_of_state(actor_critic: ActorCritic[Any], prefixes: tuple[str, ...]) -> dict[str, Tensor]:
    """Return the entries of the module's state whose names start with one of ``prefixes``."""
    return {k: v for k, v in actor_critic.state_dict().items() if k.startswith(prefixes)}


def load_parts(actor_critic: ActorCritic[Any], parts: Parts, strict: bool) -> None:
    """Load entries saved by :func:`part_of_state`, all or none.

    Args:
        actor_critic: The module to load into.
        parts: Saved entries and their prefixes.
        strict: Refuse missing and unknown names.

    Raises:
        CheckpointError: If a shape differs, or, with ``strict``, a name is missing or unknown.
    """
    _require_none(_differences_of_parts(actor_critic, parts, strict))
    own = actor_critic.state_dict()
    fitting = {k: v for state, _ in parts for k, v in state.items() if k in own}
    actor_critic.load_state_dict(fitting, strict=False)


def load_actor_critic(path: str | Path) -> tuple[ActorCritic[Any], PolicySpec]:
    """Rebuild the trained module from a checkpoint of TruDi, REPPO or DIME alone, on the CPU and in evaluation mode.

    Args:
        path: A ``model_*.pt``.

    Returns:
        The module and the checkpoint's section: task, settings, shapes.

    Raises:
        CheckpointError: If the file does not exist or is not such a checkpoint.
    """
    return _rebuilt_actor_critic(read_checkpoint(path))


@as_checkpoint_error()
def _rebuilt_actor_critic(checkpoint: Mapping[str, Any]) -> tuple[ActorCritic[Any], PolicySpec]:
    spec = learner_spec(checkpoint)
    cfg = SETTINGS[cast(LearnerAlgorithm, spec["algorithm"])].from_dict(spec["settings"])
    if isinstance(cfg, DiffusionCfg) and cfg.num_denoise_steps > MOST_STEPS:
        raise CheckpointError(f"The checkpoint says {cfg.num_denoise_steps} denoising steps; at most {MOST_STEPS}.")
    parts = [(checkpoint["actor_state_dict"], ACTOR_PARTS), (checkpoint["critic_state_dict"], CRITIC_PARTS)]
    # compares sizes before they take memory
    _require_none(_differences_of_parts(_actor_critic(cfg, spec, "meta"), parts, strict=True))
    actor_critic = _actor_critic(cfg, spec, "cpu")
    load_parts(actor_critic, parts, strict=True)
    actor_critic.sync_old_actor()
    return actor_critic.eval().requires_grad_(False), spec


def _actor_critic(cfg: LearnerCfg, spec: PolicySpec, device: str) -> ActorCritic[Any]:
    with torch.device(device):
        obs = TensorDict({group: torch.zeros(1, dim) for group, dim in spec["obs_dims"].items()}, batch_size=[1])
        low, high = (end.to(device) for end in spec["action_bounds"] or ())
        return build_actor_critic(cfg, obs, spec["obs_groups"], low, high)


# -- all --------------------------------------------------------------------------------------------------------------


def load_deployable(path: str | Path) -> tuple[DeployablePolicy, dict[str, Any]]:
    """Rebuild the trained policy from a checkpoint of any algorithm alone, on the CPU and in evaluation mode.

    Args:
        path: A ``model_*.pt``.

    Returns:
        The policy, and metadata for its export: task, algorithm, dimensions of the observation groups, and the
        description of the environment.

    Raises:
        CheckpointError: If the file does not exist or does not describe its policy.
    """
    checkpoint = read_checkpoint(path)
    found = spec_of(checkpoint)
    learner = found is not None and found["policy"] in LEARNER_KINDS
    policy, spec = _rebuilt_actor_critic(checkpoint) if learner else build_model(checkpoint)
    with as_checkpoint_error():
        check_task(spec["task"], None)
        return policy, {
            **json.loads(json.dumps(spec["environment"])),  # fails for what no export can hold
            "task": spec["task"] or "",
            "algorithm": NAMES[spec["algorithm"]],
            "obs_dims": {group: spec["obs_dims"][group] for group in spec["obs_groups"]["actor"]},
        }


def _differences(saved: Mapping[str, Any], own: Mapping[str, Tensor], strict: bool) -> list[str]:
    """Return the reasons why saved weights cannot be loaded, one sentence each.

    Args:
        saved: Names to tensors of the checkpoint.
        own: Names to tensors of the module.
        strict: Also report missing and unknown names.
    """
    shapes = {k: tuple(v.shape) if isinstance(v, Tensor) else type(v).__name__ for k, v in saved.items()}
    wrong = [
        f"{k}: {shapes[k]} in the checkpoint, {tuple(v.shape)} here"
        for k, v in own.items()
        if k in shapes and shapes[k] != tuple(v.shape)
    ]
    if strict:
        wrong += [f"{k}: missing in the checkpoint" for k in sorted(own.keys() - saved.keys())]
        wrong += [f"{one_line(k, 80)}: unknown here" for k in sorted(saved.keys() - own.keys(), key=str)]
    return wrong


def _differences_of_parts(actor_critic: ActorCritic[Any], parts: Parts, strict: bool) -> list[str]:
    return [text for state, p in parts for text in _differences(state, part_of_state(actor_critic, p), strict)]


def _require_none(wrong: list[str]) -> None:
    if wrong:
        shown = "; ".join(wrong[:4]) + (f"; and {len(wrong) - 4} more" if len(wrong) > 4 else "")
        raise CheckpointError(
            f"The checkpoint is of another task or network shape ({shown}). Load it with the task and settings it was "
            "trained with; they are in params/agent.yaml beside it."
        )
