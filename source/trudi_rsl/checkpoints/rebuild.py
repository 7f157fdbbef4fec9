# SPDX-License-Identifier: BSD-3-Clause
"""Rebuilding a policy from a checkpoint alone, without a simulator."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from tensordict import TensorDict
from torch import Tensor

from trudi_rsl.checkpoints.file import read_file, sound
from trudi_rsl.errors import CheckpointError, one_line
from trudi_rsl.plain_values import is_count
from trudi_rsl.policies import ActorCritic, DeployablePolicy, DiffusionActorCritic, GaussianActorCritic, MLPPolicy
from trudi_rsl.rsl_rl_compat import describe_environment, task_name
from trudi_rsl.rsl_rl_compat.checkpoint_layout import to_contract_layout
from trudi_rsl.rsl_rl_compat.own_classes import own_class, require_own_classes
from trudi_rsl.rsl_rl_compat.version import INSTALLED, PPO_MODELS
from trudi_rsl.settings import DiffusionCfg, LearnerAlgorithm, LearnerCfg, algorithm_of_settings, settings_from_dict
from trudi_rsl.task_names import family

if TYPE_CHECKING:
    from rsl_rl.env import VecEnv


def differences(saved: Mapping[str, Any], own: Mapping[str, Tensor], strict: bool) -> list[str]:
    """Return what keeps saved weights from being loaded, one sentence for each.

    Args:
        saved: Names to tensors of the checkpoint.
        own: Names to tensors of the module.
        strict: Also tell missing and unknown names.
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


def require_none(wrong: list[str]) -> None:
    """Refuse a checkpoint in which :func:`differences` found some.

    Raises:
        CheckpointError: Naming the first of them.
    """
    if wrong:
        shown = "; ".join(wrong[:4]) + (f"; and {len(wrong) - 4} more" if len(wrong) > 4 else "")
        raise CheckpointError(
            f"The checkpoint is of another task or network shape ({shown}). Load it with the task and settings it was "
            "trained with; they lie in params/agent.yaml beside it."
        )


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


Algorithm = LearnerAlgorithm | PolicyGradientAlgorithm
"""What ``--algo`` calls the algorithms."""

NAMES: dict[Algorithm, str] = {
    "trudi": "TruDi",
    **{name: name.upper() for name in ("reppo", "dime", "ppo", "spo", "dppo", "fpo")},
}
"""What texts call them."""

FORMAT = 1

FUNCTION_SETTINGS = ("num_denoise_steps", "prior_std", "residual", "obs_normalization", "action_bounds")
"""Settings that change what the weights compute without changing their shapes."""

ACTOR_PARTS = ("actor.", "actor_obs.", "action_")
CRITIC_PARTS = ("critic.", "critic_obs.")
STATE_PARTS = {"actor_state_dict": ACTOR_PARTS, "critic_state_dict": CRITIC_PARTS}
"""Keys of a checkpoint to the prefixes of the module's entries under them."""

MOST_STEPS = 10_000
"""Denoising steps of a policy that is rebuilt from a file; no weight tells their number."""


def build_actor_critic(
    cfg: LearnerCfg,
    obs: TensorDict,
    obs_groups: dict[str, list[str]],
    action_low: Tensor,
    action_high: Tensor,
) -> ActorCritic[Any]:
    """Build the module that ``cfg`` describes for observations like ``obs`` and the given action bounds ``[A]``."""
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


def part_of_state(actor_critic: ActorCritic[Any], prefixes: tuple[str, ...]) -> dict[str, Tensor]:
    """Return the entries of the module's state whose names start with one of ``prefixes``."""
    return {k: v for k, v in actor_critic.state_dict().items() if k.startswith(prefixes)}


def load_parts(
    actor_critic: ActorCritic[Any], parts: list[tuple[dict[str, Tensor], tuple[str, ...]]], strict: bool
) -> None:
    """Load entries saved by :func:`part_of_state`, all or none.

    Args:
        actor_critic: The module to load into.
        parts: Saved entries and the prefixes they were chosen by.
        strict: Refuse missing and unknown names.

    Raises:
        CheckpointError: If a shape differs, or, with ``strict``, a name is missing or unknown.
    """
    require_none(_differences(actor_critic, parts, strict))
    own = actor_critic.state_dict()
    fitting = {k: v for state, _ in parts for k, v in state.items() if k in own}
    actor_critic.load_state_dict(fitting, strict=False)


def _differences(
    actor_critic: ActorCritic[Any], parts: list[tuple[dict[str, Tensor], tuple[str, ...]]], strict: bool
) -> list[str]:
    return [text for state, p in parts for text in differences(state, part_of_state(actor_critic, p), strict)]


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Return what a checkpoint file holds, on the CPU, in the layout above whatever version of RSL-RL wrote it.

    Only tensors and plain Python values are read; a file that holds code to run, as any pickle can, is refused.

    Raises:
        CheckpointError: If there is no such file, it is damaged, or it is not a checkpoint.
    """
    content = read_file(path)
    with sound():
        return to_contract_layout(content, STATE_PARTS)


@sound()
def check_kind(checkpoint: dict[str, Any], task: str | None = None) -> dict[str, Any]:
    """Return the ``trudi`` section of a checkpoint, which those of REPPO and DIME have too.

    Raises:
        CheckpointError: If the checkpoint is of another algorithm, a newer format, or another task.
    """
    spec = checkpoint.get("trudi")
    if spec is None:
        kind = "unknown"
        if {"actor_state_dict", "model_state_dict"} & checkpoint.keys():
            algorithm = algorithm_of(checkpoint)
            kind = "RSL-RL PPO" if algorithm == "ppo" else NAMES[algorithm]
        raise CheckpointError(f"Not a TruDi checkpoint but one of kind {kind}; load it with that algorithm.")
    if spec["format"] > FORMAT:
        raise CheckpointError(
            f"The checkpoint has format {spec['format']}, this version reads up to {FORMAT}; upgrade trudi_rsl."
        )
    check_task(spec["task"], task)
    return spec


@sound()
def algorithm_of(checkpoint: dict[str, Any]) -> Algorithm:
    """Return what ``--algo`` calls the algorithm that wrote a checkpoint of this package or of RSL-RL's PPO.

    Raises:
        CheckpointError: If it names another.
    """
    if "trudi" in checkpoint:
        return algorithm_of_settings(checkpoint["trudi"]["cfg"])
    spec = spec_of(checkpoint)
    algorithm = "ppo" if spec is None else spec["algorithm"]
    if algorithm not in NAMES:
        raise CheckpointError(f"The checkpoint is of an algorithm that this version does not know: {algorithm!r:.40}.")
    return algorithm


def check_algorithm(checkpoint: dict[str, Any], algorithm: Algorithm) -> None:
    """Refuse a checkpoint of another algorithm.

    Raises:
        CheckpointError: Naming both.
    """
    if (found := algorithm_of(checkpoint)) != algorithm:
        raise CheckpointError(f"The checkpoint is of {found}, not of {algorithm}; load it with --algo {found}.")


def check_task(saved: str | None, task: str | None) -> None:
    """Refuse a checkpoint of another task; other names of the same task are welcome (:func:`family`).

    Raises:
        CheckpointError: Naming both tasks.
    """
    if not isinstance(saved, str | None):
        raise CheckpointError("The checkpoint's task is no name; use another checkpoint.")
    if saved is not None and task is not None and family(saved) != family(task):
        raise CheckpointError(f"The checkpoint was trained on task {saved!r}, not on {task!r}.")


def check_settings(saved: dict[str, Any], here: dict[str, Any]) -> None:
    """Refuse another algorithm or a setting that makes the weights another function; name other differences once.

    Args:
        saved: Settings of the checkpoint, as :meth:`LearnerCfg.to_dict` gave them.
        here: Settings of the run that loads it.

    Raises:
        CheckpointError: Naming the settings to give.
    """
    algorithm = algorithm_of_settings(saved)
    changed = {k: v for k, v in saved.items() if k in here and here[k] != v}
    remedies = [f"agent.algorithm.{k}={v}" for k, v in changed.items() if k in FUNCTION_SETTINGS]
    if algorithm != algorithm_of_settings(here):
        remedies.insert(0, f"--algo {algorithm}")
    if remedies:
        raise CheckpointError(
            "The checkpoint is of another algorithm, or its weights mean another policy under these settings; resume "
            f"with {' '.join(remedies)}."
        )
    if changed:
        listed = ", ".join(f"{k} {v} -> {here[k]}" for k, v in changed.items())
        warnings.warn(f"Settings changed since the checkpoint: {listed}.", stacklevel=3)


def load_actor_critic(path: str | Path) -> tuple[ActorCritic[Any], dict[str, Any]]:
    """Rebuild the trained module from a checkpoint of TruDi, REPPO or DIME alone, on the CPU and in evaluation mode.

    Args:
        path: A ``model_*.pt``.

    Returns:
        The module and the checkpoint's ``trudi`` section (task, settings, shapes).

    Raises:
        CheckpointError: If the file does not exist or is not such a checkpoint.
    """
    return _rebuilt(read_checkpoint(path))


def load_deployable(path: str | Path) -> tuple[DeployablePolicy, dict[str, Any]]:
    """Rebuild the trained policy from a checkpoint of any algorithm alone, on the CPU and in evaluation mode.

    Args:
        path: A ``model_*.pt``.

    Returns:
        The policy, and metadata for its export: task, algorithm, dimensions of the observation groups, and what the
        checkpoint tells of its environment.

    Raises:
        CheckpointError: If the file does not exist or does not tell its policy.
    """
    checkpoint = read_checkpoint(path)
    policy, spec = _rebuilt(checkpoint) if "trudi" in checkpoint else build_policy(checkpoint)
    with sound():
        check_task(spec["task"], None)
        return policy, {
            **json.loads(json.dumps(spec.get("environment", {}))),  # refuses what no export can hold
            "task": spec["task"] or "",
            "algorithm": NAMES[algorithm_of(checkpoint)],
            "obs_dims": {group: spec["obs_dims"][group] for group in spec["obs_groups"]["actor"]},
        }


@sound()
def _rebuilt(checkpoint: dict[str, Any]) -> tuple[ActorCritic[Any], dict[str, Any]]:
    spec = check_kind(checkpoint)
    cfg = settings_from_dict(spec["cfg"])
    if isinstance(cfg, DiffusionCfg) and cfg.num_denoise_steps > MOST_STEPS:
        raise CheckpointError(f"The checkpoint tells of {cfg.num_denoise_steps} denoising steps; at most {MOST_STEPS}.")
    parts = [(checkpoint["actor_state_dict"], ACTOR_PARTS), (checkpoint["critic_state_dict"], CRITIC_PARTS)]
    # sizes are compared before they take memory
    require_none(_differences(_from_spec(cfg, spec, "meta"), parts, strict=True))
    actor_critic = _from_spec(cfg, spec, "cpu")
    load_parts(actor_critic, parts, strict=True)
    actor_critic.sync_old_actor()
    return actor_critic.eval().requires_grad_(False), spec


def _from_spec(cfg: LearnerCfg, spec: dict[str, Any], device: str) -> ActorCritic[Any]:
    with torch.device(device):
        obs = TensorDict({group: torch.zeros(1, dim) for group, dim in spec["obs_dims"].items()}, batch_size=[1])
        low, high = spec["action_low"].to(device), spec["action_high"].to(device)
        return build_actor_critic(cfg, obs, spec["obs_groups"], low, high)
