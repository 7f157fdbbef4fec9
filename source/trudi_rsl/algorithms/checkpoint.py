# SPDX-License-Identifier: BSD-3-Clause
"""Checkpoints that can be rebuilt without a simulator, in RSL-RL's layout.

RSL-RL's keys ``actor_state_dict``, ``critic_state_dict`` and ``optimizer_state_dict`` keep their meaning; ``trudi``
adds the shapes and settings that rebuild the module, and ``rng_state`` and ``env_state`` make a resume exact.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor

from trudi_rsl.algorithms.checkpoint_file import read_file, sound
from trudi_rsl.algorithms.config import TruDiCfg
from trudi_rsl.algorithms.family import LearnerAlgorithm, algorithm_of_settings, settings_from_dict
from trudi_rsl.algorithms.model_checkpoint import PolicyGradientAlgorithm, build_policy, spec_of
from trudi_rsl.algorithms.saved_weights import differences, require_none
from trudi_rsl.errors import CheckpointError
from trudi_rsl.modules import ActorCritic, DeployablePolicy, DiffusionActorCritic, GaussianActorCritic
from trudi_rsl.rsl_rl_compat.checkpoint_layout import to_contract_layout
from trudi_rsl.task_names import family

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
    cfg: TruDiCfg,
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
    if cfg.actor == "gaussian":
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
        saved: Settings of the checkpoint, as :meth:`TruDiCfg.to_dict` gave them.
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
    if cfg.num_denoise_steps > MOST_STEPS:
        raise CheckpointError(f"The checkpoint tells of {cfg.num_denoise_steps} denoising steps; at most {MOST_STEPS}.")
    parts = [(checkpoint["actor_state_dict"], ACTOR_PARTS), (checkpoint["critic_state_dict"], CRITIC_PARTS)]
    # sizes are compared before they take memory
    require_none(_differences(_from_spec(cfg, spec, "meta"), parts, strict=True))
    actor_critic = _from_spec(cfg, spec, "cpu")
    load_parts(actor_critic, parts, strict=True)
    actor_critic.sync_old_actor()
    return actor_critic.eval().requires_grad_(False), spec


def _from_spec(cfg: TruDiCfg, spec: dict[str, Any], device: str) -> ActorCritic[Any]:
    with torch.device(device):
        obs = TensorDict({group: torch.zeros(1, dim) for group, dim in spec["obs_dims"].items()}, batch_size=[1])
        low, high = spec["action_low"].to(device), spec["action_high"].to(device)
        return build_actor_critic(cfg, obs, spec["obs_groups"], low, high)
