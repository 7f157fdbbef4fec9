# SPDX-License-Identifier: BSD-3-Clause
"""Rebuilding a policy from a checkpoint alone, without a simulator and without importing anything that a file names."""

from __future__ import annotations

import copy
import importlib.util
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from tensordict import TensorDict
from torch import Tensor, nn

from trudi_rsl import policies
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
    policy_spec,
    spec_of,
)
from trudi_rsl.choices import PolicyGradientAlgorithm
from trudi_rsl.errors import CheckpointError, as_checkpoint_error, one_line
from trudi_rsl.model_sections import HOST_MODELS, without_unset
from trudi_rsl.plain_values import IMAGE_TYPES, is_count
from trudi_rsl.policies import ActorCritic, DeployablePolicy
from trudi_rsl.rsl_rl_compat.models import DISTRIBUTIONS, MLPModel
from trudi_rsl.rsl_rl_compat.version import INSTALLED, PPO_MODELS
from trudi_rsl.settings import SETTINGS, DiffusionCfg, LearnerAlgorithm, LearnerCfg

if TYPE_CHECKING:
    from rsl_rl.env import VecEnv

MODULE_SETTINGS = ("actor_hidden_dims", "residual", "critic_hidden_dim", "num_bins", "obs_normalization")
CHAIN_SETTINGS = ("num_denoise_steps", "prior_std", "init_friction", "state_encoder_dims")
"""Settings that an actor-critic is built from: of any kind, and in addition those of a diffusion policy."""

ENCODER_SETTINGS = ("actor_encoder", "critic_encoder")
"""Settings that describe RSL-RL's models in front of actor and critic."""

STEP_SETTINGS = ("num_denoise_steps", "num_flow_steps", "num_matching_samples")
MOST_STEPS = 10_000
"""Largest value of these settings in a file: no weight bounds them."""

MODELS: dict[PolicyKind, Any] = {"mlp": MLPModel, "denoising": policies.DenoisingModel, "flow": policies.FlowModel}
"""Classes of the models that PPO and its relatives train, by kind of policy."""

OWN_CLASSES = {
    **{name: f"trudi_rsl.algorithms:{name}" for name in ("TruDi", "REPPO", "DIME", "SPO", "DPPO", "FPO")},
    **{name: f"trudi_rsl.policies:{name}" for name in ("DenoisingModel", "FlowModel")},
}
"""Classes of this package that the settings of a run may name, and where they are now."""

RSL_RL_CLASSES = {
    *("OnPolicyRunner", "PPO", "MLPModel", "RNNModel", "CNNModel", *DISTRIBUTIONS),
    *("ActorCritic", "ActorCriticRecurrent", "ActorCriticCNN"),  # up to RSL-RL 4
}
"""Classes of RSL-RL that they may name."""


# -- building ---------------------------------------------------------------------------------------------------------


def model_spec(
    algorithm: PolicyGradientAlgorithm,
    model: nn.Module,
    actor: Mapping[str, Any],
    obs: TensorDict,
    obs_groups: Mapping[str, list[str]],
    env: VecEnv,
) -> PolicySpec:
    """Return the checkpoint section of PPO or a relative.

    Args:
        algorithm: The algorithm.
        model: Its actor.
        actor: The ``actor`` section of the runner configuration, from before RSL-RL built the model.
        obs: Observations, to size the groups.
        obs_groups: Names of observation sets to names of groups, of which the actor's are stored.
        env: The environment.
    """
    kinds: dict[Any, PolicyKind] = {model_class: kind for kind, model_class in MODELS.items()}
    settings = {name: copy.deepcopy(value) for name, value in actor.items() if name != "class_name"}
    distribution = settings.get("distribution_cfg")
    if distribution is not None and isinstance(distribution.get("class_name"), type):
        distribution["class_name"] = distribution["class_name"].__name__
    return policy_spec(algorithm, kinds.get(type(model), "other"), settings, obs, {"actor": obs_groups["actor"]}, env)


def build_actor_critic(
    cfg: LearnerCfg,
    obs: TensorDict,
    obs_groups: dict[str, list[str]],
    action_low: Tensor,
    action_high: Tensor,
) -> ActorCritic[Any]:
    """Build the module that settings describe; their class determines the kind of actor.

    ``obs`` sizes the groups of the ``actor`` and ``critic`` observation sets; the action bounds are ``[A]``.
    """
    kind, names = policies.GaussianActorCritic, MODULE_SETTINGS
    if isinstance(cfg, DiffusionCfg):
        kind, names = policies.DiffusionActorCritic, MODULE_SETTINGS + CHAIN_SETTINGS
    options: dict[str, Any] = {name: getattr(cfg, name) for name in (*names, *ENCODER_SETTINGS)}
    # an automatic range is moved to the first rollout's rewards before it is used
    options["value_range"] = (-1.0, 1.0) if cfg.value_range == "auto" else cfg.value_range
    return kind(obs, obs_groups, action_low, action_high, **options)


def _build(spec: PolicySpec, device: str) -> Any:
    """Build the module that a section describes, with untrained weights."""
    with torch.device(device):
        groups = {group: torch.zeros(1, dim) for group, dim in spec["obs_dims"].items()}
        obs = TensorDict(groups | _example_images(spec), batch_size=[1])  # pyright: ignore[reportArgumentType]
        if spec["policy"] in LEARNER_KINDS:
            cfg = SETTINGS[cast(LearnerAlgorithm, spec["algorithm"])].from_dict(spec["settings"])
            for name in ENCODER_SETTINGS:
                _require_known_model(getattr(cfg, name))
            low, high = (end.to(device) for end in spec["action_bounds"] or ())
            return build_actor_critic(cfg, obs, spec["obs_groups"], low, high)
        settings = copy.deepcopy(spec["settings"])
        if (distribution := settings.get("distribution_cfg")) is not None:
            name = class_basename(distribution["class_name"])
            if name not in DISTRIBUTIONS:
                raise _unknown_class(distribution["class_name"])
            distribution["class_name"] = DISTRIBUTIONS[name]
        return MODELS[spec["policy"]](obs, spec["obs_groups"], "actor", spec["num_actions"], **settings)


def _require_known_model(section: Mapping[str, Any] | None) -> None:
    """Refuse a model that would have to be imported because a file names it, which may run any code.

    Raises:
        CheckpointError: If it is neither RSL-RL's nor a host's, and its module has not been imported.
    """
    name = "CNNModel" if section is None else section["class_name"]
    module, _, _ = name.rpartition(":")
    if not module or module in sys.modules:
        return
    if name not in HOST_MODELS:
        raise CheckpointError(
            f"The policy's encoder is a {name}, which was not imported. If you trust it, import {module} first."
        )
    if importlib.util.find_spec(module.partition(".")[0]) is None:
        raise CheckpointError(f"The policy's encoder is a {name}, and {module.partition('.')[0]} is not installed.")


def _example_images(spec: PolicySpec) -> dict[str, Tensor]:
    """Return an image for each image group of a section, which takes no memory."""
    images = {}
    for group, image in (spec.get("images") or {}).items():
        shape, dtype = image["shape"], image["dtype"]
        if not (len(shape) == 3 and all(map(is_count, shape)) and dtype in IMAGE_TYPES):
            raise CheckpointError(f"The checkpoint says {image!r:.80} for the images of group {one_line(group, 40)!r}.")
        images[group] = torch.zeros(1, 1, 1, 1, dtype=getattr(torch, dtype)).expand(1, *shape)
    return images


# -- loading ----------------------------------------------------------------------------------------------------------


@as_checkpoint_error()
def rebuild_policy(checkpoint: Mapping[str, Any]) -> tuple[DeployablePolicy, PolicySpec]:
    """Rebuild the trained policy of any algorithm, on the CPU and in evaluation mode.

    Returns:
        The policy, an :class:`ActorCritic` for TruDi, REPPO and DIME, and the section of the checkpoint, which has the
        present format.

    Raises:
        CheckpointError: If the checkpoint doesn't describe its policy, the policy cannot be rebuilt without a runner,
            or a newer version wrote the checkpoint.
    """
    spec = spec_of(checkpoint)
    if spec is None:
        raise CheckpointError(
            "RSL-RL PPO's own checkpoints do not describe their networks; those of trudi_rsl's runner do. Load it into "
            "a runner with the settings it was trained with and call runner.export_policy_to_onnx(directory)."
        )
    learner = spec["policy"] in LEARNER_KINDS
    if not learner and not PPO_MODELS:
        raise CheckpointError(f"The checkpoint's policy needs rsl-rl-lib 5; installed is {INSTALLED}.")
    if not learner and spec["policy"] not in MODELS:
        raise CheckpointError(
            "The checkpoint's actor is neither RSL-RL's MLPModel nor a model of trudi_rsl, so only a runner can build "
            "it. Load it into one and call runner.export_policy_to_onnx(directory)."
        )
    if not is_count(spec["num_actions"]):
        raise CheckpointError(f"The checkpoint says {spec['num_actions']!r:.80} for its number of actions.")
    for name in spec["settings"].keys() & STEP_SETTINGS:
        if not (is_count(value := spec["settings"][name]) and value <= MOST_STEPS):
            raise CheckpointError(f"The checkpoint says {value!r:.80} for {name}; it must be 1 to {MOST_STEPS}.")
    saved = checkpoint["actor_state_dict"]
    if learner:
        saved = {**saved, **checkpoint["critic_state_dict"]}
    prefixes = (*ACTOR_PARTS, *CRITIC_PARTS) if learner else ("",)
    require_fit(saved, _build(spec, "meta"), prefixes)  # before its sizes take memory
    module = _build(spec, "cpu")
    load_weights(saved, module, prefixes)
    if isinstance(module, ActorCritic):
        module.sync_old_actor()
    policy = module if isinstance(module, DeployablePolicy) else policies.MLPPolicy(module)
    return policy.eval().requires_grad_(False), spec


def load_actor_critic(path: str | Path) -> tuple[ActorCritic[Any], PolicySpec]:
    """Rebuild the module, and read its section, from a file of TruDi, REPPO or DIME, on the CPU in evaluation mode.

    Raises:
        CheckpointError: If the file does not exist or is not such a checkpoint.
    """
    checkpoint = read_checkpoint(path)
    learner_spec(checkpoint)
    actor_critic, spec = rebuild_policy(checkpoint)
    return cast("ActorCritic[Any]", actor_critic), spec


def load_deployable(path: str | Path) -> tuple[DeployablePolicy, dict[str, Any]]:
    """Rebuild the trained policy from a file of any algorithm, on the CPU and in evaluation mode.

    Returns:
        The policy, and metadata for its export: task, algorithm, dimensions of the observation groups, and the
        description of the environment.

    Raises:
        CheckpointError: If the file does not exist or does not describe its policy.
    """
    policy, spec = rebuild_policy(read_checkpoint(path))
    with as_checkpoint_error():
        check_task(spec["task"], None)
        return policy, {
            **json.loads(json.dumps(spec["environment"])),  # fails for what no export can hold
            "task": spec["task"] or "",
            "algorithm": NAMES[spec["algorithm"]],
            **_described(spec),
        }


def _described(spec: PolicySpec) -> dict[str, Any]:
    """Return the actor's observation groups as an export describes them: sizes of vectors, images if there are any."""
    images = spec.get("images") or {}
    groups = spec["obs_groups"]["actor"]
    sizes = {group: spec["obs_dims"][group] for group in groups if group not in images}
    own = {group: images[group] for group in groups if group in images}
    return {"obs_dims": sizes, **({"images": own} if own else {})}


def select(module: nn.Module, prefixes: tuple[str, ...]) -> dict[str, Tensor]:
    """Return the entries of a module's state whose names start with one of ``prefixes``."""
    return {name: value for name, value in module.state_dict().items() if name.startswith(prefixes)}


def load_weights(
    saved: Mapping[str, Tensor], module: nn.Module, prefixes: tuple[str, ...], strict: bool = True
) -> None:
    """Load saved weights into the entries that :func:`select` returns, after :func:`require_fit`."""
    require_fit(saved, module, prefixes, strict)
    own = select(module, prefixes)
    module.load_state_dict({name: value for name, value in saved.items() if name in own}, strict=False)


def require_fit(saved: Mapping[str, Any], module: nn.Module, prefixes: tuple[str, ...], strict: bool = True) -> None:
    """Refuse saved weights that do not fit the entries of a module with ``prefixes``.

    Raises:
        CheckpointError: Naming the first entries whose shape differs or, with ``strict``, that are missing or unknown.
    """
    own = select(module, prefixes)
    shapes = {k: tuple(v.shape) if isinstance(v, Tensor) else type(v).__name__ for k, v in saved.items()}
    wrong = [
        f"{k}: {shapes[k]} in the checkpoint, {tuple(v.shape)} here"
        for k, v in own.items()
        if k in shapes and shapes[k] != tuple(v.shape)
    ]
    if strict:
        wrong += [f"{k}: missing in the checkpoint" for k in sorted(own.keys() - saved.keys())]
        wrong += [f"{one_line(k, 80)}: unknown here" for k in sorted(saved.keys() - own.keys(), key=str)]
    if wrong:
        shown = "; ".join(wrong[:4]) + (f"; and {len(wrong) - 4} more" if len(wrong) > 4 else "")
        raise CheckpointError(
            f"The checkpoint is of another task or network shape ({shown}). Load it with the task and settings it was "
            "trained with; they are in params/agent.yaml beside it."
        )


# -- settings that come with a checkpoint -----------------------------------------------------------------------------


def full_class_name(name: Any) -> Any:
    """Return the full name of a class of this package that a configuration names alone, others as they are."""
    return OWN_CLASSES.get(name, name) if isinstance(name, str) else name


def as_rsl_rl_takes(cfg: dict[str, Any]) -> None:
    """Change a runner configuration in place to what RSL-RL takes: full class names, and no unset keys of models."""
    cfg["algorithm"]["class_name"] = full_class_name(cfg["algorithm"].get("class_name"))
    cfg |= without_unset(cfg)


def with_known_classes(section: Any, name: object = None) -> Any:
    """Return a copy of settings from a file in which classes of this package have their present names.

    RSL-RL imports what settings name, which may run any code, so that all other names are refused.

    Args:
        section: Mappings, lists and other plain values.
        name: Its name in the section above.

    Raises:
        CheckpointError: If they name a class other than :data:`OWN_CLASSES` and :data:`RSL_RL_CLASSES`, or a function.
    """
    if name == "class_name":
        if section in HOST_MODELS:
            return section
        basename = class_basename(section)
        if basename in OWN_CLASSES:
            return OWN_CLASSES[basename]
        if basename not in RSL_RL_CLASSES:
            raise _unknown_class(section)
    elif str(name).endswith("_func") and section is not None:
        raise _unknown_class(section)
    if isinstance(section, Mapping):
        return {part: with_known_classes(value, part) for part, value in section.items()}
    return [with_known_classes(value) for value in section] if isinstance(section, (list, tuple)) else section


def _unknown_class(name: object) -> CheckpointError:
    return CheckpointError(
        f"The settings name {name!r:.80} as a class, which is neither RSL-RL's nor trudi_rsl's, and was not imported. "
        "If you trust it, load the checkpoint into a runner made from settings of your own (runner.load), which can "
        "also export it (runner.export_policy_to_onnx)."
    )
