# SPDX-License-Identifier: BSD-3-Clause
"""The layout of a checkpoint, and the conversion of earlier layouts to it.

A checkpoint maps names to tensors and plain values:

- RSL-RL's: ``actor_state_dict``, ``critic_state_dict``, ``optimizer_state_dict``, ``iter`` and ``infos``;
- :data:`SECTION`: the :class:`PolicySpec` from which the policy is rebuilt, the same for all algorithms; a PPO that
  RSL-RL's own runner trained has none;
- :data:`RUN`: the :class:`RunRecord`, the settings of task and agent and the run's origin; only this package's runner
  writes it;
- those of :data:`RESUME_STATE`.

RSL-RL 3 nests these: the networks and the section are in ``model_state_dict``, everything else in
``optimizer_state_dict``.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypedDict, cast

from tensordict import TensorDict
from torch import Tensor

from trudi_rsl.choices import NAMES, Algorithm
from trudi_rsl.environments.description import describe_environment, task_name
from trudi_rsl.errors import CheckpointError, as_checkpoint_error, setting
from trudi_rsl.plain_values import distinct_values, is_count
from trudi_rsl.task_names import family

if TYPE_CHECKING:
    from rsl_rl.env import VecEnv

SECTION = "trudi_rsl"
RUN = "run"
FORMAT = 2

PolicyKind = Literal["diffusion", "gaussian", "mlp", "denoising", "flow", "other"]
"""Kinds of policies. ``other`` is a model of PPO that only a runner can build, such as a recurrent one."""

LEARNER_KINDS: tuple[PolicyKind, ...] = ("diffusion", "gaussian")
"""Kinds whose checkpoints hold a Q critic, of TruDi, REPPO and DIME."""

ACTOR_PARTS = ("actor.", "actor_obs.", "action_")
CRITIC_PARTS = ("critic.", "critic_obs.")
STATE_PARTS = {"actor_state_dict": ACTOR_PARTS, "critic_state_dict": CRITIC_PARTS}
"""Keys of a checkpoint to the prefixes of the actor-critic's entries under them."""

HIDDEN_STATES = "hidden_states"
"""Key of the states of recurrent encoders."""

RESUME_STATE = ("rng_state", "env_state", "env_progress", "simulators")
"""Keys of the state that an exact resume needs, see :mod:`trudi_rsl.checkpoints.resume`."""

FUNCTION_SETTINGS = (
    *("num_denoise_steps", "prior_std", "residual", "obs_normalization", "action_bounds"),
    *("actor_encoder", "critic_encoder"),
)
"""Settings that change what the weights compute without changing their shapes."""


class ImageSpec(TypedDict):
    """What a checkpoint says about an observation group of images."""

    shape: list[int]
    """``[C, H, W]``."""
    dtype: str
    """One of :data:`~trudi_rsl.plain_values.IMAGE_TYPES`."""


class PolicySpec(TypedDict):
    """What a checkpoint says about its policy."""

    format: int
    algorithm: Algorithm
    policy: PolicyKind
    settings: dict[str, Any]
    """Those of the algorithm for TruDi, REPPO and DIME, else the keyword arguments of the actor's model."""
    task: str | None
    environment: dict[str, Any]
    """Metadata for exports, see :func:`~trudi_rsl.environments.description.describe_environment`."""
    obs_groups: dict[str, list[str]]
    """Observation sets that the policy reads to the names of their groups."""
    obs_dims: dict[str, int]
    """Sizes of these groups, if they are vectors."""
    images: NotRequired[dict[str, ImageSpec]]
    """The groups that are images; absent if there are none."""
    num_actions: int
    action_bounds: tuple[Tensor, Tensor] | None
    """Lower and upper bounds ``[A]`` of squashed policies in the simulator's units."""


class Ancestor(TypedDict):
    """A run that another one continues."""

    id: str
    seed: int | None
    checkpoint: str
    """Run folder and file name of the checkpoint."""
    iteration: int
    """The last iteration in it."""


class RunRecord(TypedDict):
    """What a checkpoint says about the training that wrote it, as plain values."""

    id: str
    """Unique name of the training; the name of its folder if an earlier version trained it."""
    ancestors: list[Ancestor]
    """The runs that this one continues, the first one first; empty for a run that started from nothing."""
    task: str | None
    """The name that it was started with."""
    seed: int | None
    preset: str | None
    agent: dict[str, Any]
    """The runner configuration."""
    env: dict[str, Any] | None
    """The settings of the simulator; None if they are not known or not plain values."""
    overrides: list[str]
    """What the user set, ``env.name=value``, for hosts without ``env``."""
    versions: dict[str, str]
    """Versions of Python and of the packages that a result depends on."""


def policy_spec(
    algorithm: Algorithm,
    policy: PolicyKind,
    settings: Mapping[str, Any],
    obs: TensorDict,
    obs_groups: Mapping[str, list[str]],
    env: VecEnv,
    action_bounds: tuple[Tensor, Tensor] | None = None,
) -> PolicySpec:
    """Return the section of a checkpoint; ``obs`` sizes the groups, :class:`PolicySpec` documents the rest."""
    names = dict.fromkeys(group for groups in obs_groups.values() for group in groups)
    vectors = [group for group in names if obs[group].ndim == 2]
    images = image_specs(obs, [group for group in names if group not in vectors])
    spec: PolicySpec = {
        "format": FORMAT,
        "algorithm": algorithm,
        "policy": policy,
        "settings": dict(settings),
        "task": task_name(env),
        "environment": describe_environment(env, [group for group in obs_groups["actor"] if group in vectors]),
        "obs_groups": {name: list(groups) for name, groups in obs_groups.items()},
        "obs_dims": {group: obs[group].shape[-1] for group in vectors},
        "num_actions": env.num_actions,
        "action_bounds": None if action_bounds is None else (action_bounds[0].cpu(), action_bounds[1].cpu()),
    }
    return {**spec, "images": images} if images else spec


def image_specs(obs: TensorDict, groups: Iterable[str]) -> dict[str, ImageSpec]:
    """Return the entry ``images`` of a section for observation groups ``[B, C, H, W]``; those that are missing not."""
    return {
        group: {"shape": list(obs[group].shape[1:]), "dtype": str(obs[group].dtype).removeprefix("torch.")}
        for group in groups
        if group in obs
    }


@as_checkpoint_error()
def spec_of(checkpoint: Mapping[str, Any]) -> PolicySpec | None:
    """Return the section of a checkpoint in the present format, None for a PPO of RSL-RL's own runner.

    Raises:
        CheckpointError: If a newer version wrote it.
    """
    spec = checkpoint.get(SECTION)
    if spec is None:
        return None
    if spec["format"] > FORMAT:
        raise CheckpointError(
            f"The checkpoint has format {spec['format']}, this version reads up to {FORMAT}; upgrade trudi_rsl."
        )
    if spec["algorithm"] not in NAMES:
        raise CheckpointError(
            f"The checkpoint is of an algorithm that this version does not know: {spec['algorithm']!r:.40}."
        )
    return cast(PolicySpec, spec)


def algorithm_of(checkpoint: Mapping[str, Any]) -> Algorithm:
    """Return the ``--algo`` name of the algorithm that wrote a checkpoint of this package or of RSL-RL's PPO."""
    spec = spec_of(checkpoint)
    return "ppo" if spec is None else spec["algorithm"]


def task_of(checkpoint: Mapping[str, Any]) -> str | None:
    """Return the task that a checkpoint was trained on, None if it doesn't say."""
    spec = spec_of(checkpoint)
    return (checkpoint.get("infos") or {}).get("task") if spec is None else spec["task"]


@as_checkpoint_error()
def run_of(checkpoint: Mapping[str, Any]) -> RunRecord | None:
    """Return the record of the run that wrote a checkpoint, None if its writer left none.

    Raises:
        CheckpointError: If it is not one.
    """
    record = checkpoint.get(RUN)
    if record is None:
        return None
    names = ("id", "ancestors", "task", "seed", "preset", "agent", "env", "overrides", "versions")
    found: Any = {name: record[name] for name in names}
    keys = ("id", "seed", "checkpoint", "iteration")
    ancestors = [{name: ancestor[name] for name in keys} for ancestor in found["ancestors"]]
    runs = [found, *ancestors]
    if not (
        all(isinstance(run["id"], str) and (run["seed"] is None or is_count(run["seed"], lowest=0)) for run in runs)
        and all(isinstance(text, str) for text in found["overrides"])
        and isinstance(found["agent"], Mapping)
        and isinstance(found["env"], Mapping | None)
        and isinstance(found["task"], str | None)
    ):
        raise ValueError("its record of the run has values of other kinds")
    if any(isinstance(value, str) and "${" in value for value in distinct_values([found["agent"], found["env"]])):
        raise ValueError("its settings refer to others (${...}), which a run's own do not")
    return found | {"ancestors": ancestors}


def check_algorithm(checkpoint: Mapping[str, Any], algorithm: Algorithm) -> None:
    """Raise a CheckpointError for a checkpoint of another algorithm."""
    if (found := algorithm_of(checkpoint)) != algorithm:
        raise CheckpointError(f"The checkpoint is of {found}, not of {algorithm}; load it with --algo {found}.")


def check_task(saved: str | None, task: str | None) -> None:
    """Raise a CheckpointError for a checkpoint of another task; names of the same :func:`family` are the same task."""
    if not isinstance(saved, str | None):
        raise CheckpointError("The checkpoint's task is not a name; use another checkpoint.")
    if saved is not None and task is not None and family(saved) != family(task):
        raise CheckpointError(
            f"The checkpoint was trained on task {saved!r}, not on {task!r}. If the task was called that before it "
            f"moved, add --task_was {saved}."
        )


def check_images(saved: PolicySpec, here: Mapping[str, ImageSpec]) -> None:
    """Raise a CheckpointError if a policy has seen other images than there are; of another type they are other numbers.

    Args:
        saved: Section of the checkpoint.
        here: Images by observation group, :func:`image_specs`.
    """
    for group, image in (saved.get("images") or {}).items():
        trained, found = ("{shape} {dtype}".format(**spec) if spec else "none" for spec in (image, here.get(group)))
        if trained != found:
            raise CheckpointError(
                f"The policy sees images {trained} of observation group {group!r}, the task has {found}. Use the env "
                "settings it was trained with."
            )


@as_checkpoint_error()
def learner_spec(checkpoint: Mapping[str, Any], task: str | None = None) -> PolicySpec:
    """Return the section of a checkpoint of TruDi, REPPO or DIME and, unless ``task`` is None, of that task.

    Raises:
        CheckpointError: If the checkpoint is of another algorithm, of a newer format or of another task.
    """
    spec = spec_of(checkpoint)
    if spec is None or spec["policy"] not in LEARNER_KINDS:
        name = NAMES[algorithm_of(checkpoint)]
        has_weights = not {"actor_state_dict", "model_state_dict"}.isdisjoint(checkpoint)
        kind = ("RSL-RL PPO" if name == "PPO" else name) if has_weights else "unknown"
        raise CheckpointError(f"Not a TruDi checkpoint but one of kind {kind}; load it with that algorithm.")
    check_task(spec["task"], task)
    return spec


def check_settings(saved: PolicySpec, here: PolicySpec) -> None:
    """Refuse another algorithm or a setting that makes the weights another function; warn once about other changes.

    Args:
        saved: Section of the checkpoint, of TruDi, REPPO or DIME.
        here: Section of the run that loads it.

    Raises:
        CheckpointError: Naming the settings to use.
    """
    own = here["settings"]
    changed = {k: v for k, v in saved["settings"].items() if k in own and own[k] != v}
    remedies = [setting(f"algorithm.{k}", repr(v)) for k, v in changed.items() if k in FUNCTION_SETTINGS]
    if saved["algorithm"] != here["algorithm"]:
        remedies.insert(0, f"--algo {saved['algorithm']}")
    if remedies:
        raise CheckpointError(
            "The checkpoint is of another algorithm, or its weights mean another policy under these settings; resume "
            f"with {', '.join(remedies)}."
        )
    if changed:
        listed = ", ".join(f"{k} {v} -> {own[k]}" for k, v in changed.items())
        warnings.warn(f"Settings changed since the checkpoint: {listed}.", stacklevel=3)


# -- earlier layouts --------------------------------------------------------------------------------------------------

MODULE_PREFIX = "actor_critic."
"""Prefix of the actor-critic's entries in a policy that RSL-RL 3 saved."""

EXTRA_STATE = "_extra_state"
"""Key under which torch saves a module's non-tensor state, here the section."""

OLD_SECTIONS = ("trudi", "policy_gradient")
"""Keys of the sections of format 1: of TruDi, REPPO and DIME, and of PPO and its relatives."""

OLD_ALGORITHMS: dict[tuple[str, str], Algorithm] = {
    ("diffusion", "path_kl"): "trudi",
    ("gaussian", "path_kl"): "reppo",
    ("diffusion", "none"): "dime",
}
"""Actor and constraint, which were settings, to the algorithm."""

OLD_MODELS: dict[str, PolicyKind] = {"MLPModel": "mlp", "DenoisingModel": "denoising", "FlowModel": "flow"}
"""Names of the actor's class, which was a setting, to the kind of policy."""

OWN_CLASS = re.compile(r"(?:(?:rsl_rl|trudi_rsl)(?:\.[a-z_0-9]+)*[.:])?([A-Za-z_]\w*)", re.ASCII)
"""A class of RSL-RL or of this package, with or without its module."""


@as_checkpoint_error()
def present_format(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a runner's file, of any version, in the present format; if it has that, unchanged.

    Raises:
        CheckpointError: If a section contradicts itself.
    """
    checkpoint = _without_rsl_rl_3_nesting(dict(content))
    infos = dict(checkpoint.get("infos") or {})
    for place in (checkpoint, infos):
        for name in OLD_SECTIONS:
            if (old := place.pop(name, None)) is not None:
                place[SECTION] = _from_format_1(old)
    spec = infos.pop(SECTION, None)
    if spec is not None:
        checkpoint.setdefault(SECTION, spec)
    resume = infos.pop("resume", {})
    checkpoint |= {name: resume[name] for name in RESUME_STATE if name in resume}
    if checkpoint.get("infos") is not None:
        checkpoint["infos"] = infos
    return checkpoint


def _without_rsl_rl_3_nesting(checkpoint: dict[str, Any]) -> dict[str, Any]:
    policy = checkpoint.get("model_state_dict")
    if not isinstance(policy, Mapping) or EXTRA_STATE not in policy:
        return checkpoint
    del checkpoint["model_state_dict"]
    entries = {k.removeprefix(MODULE_PREFIX): v for k, v in policy.items() if k != EXTRA_STATE}
    for key, prefixes in STATE_PARTS.items():
        checkpoint[key] = {k: v for k, v in entries.items() if k.startswith(prefixes)}
    spec = policy[EXTRA_STATE]
    checkpoint[OLD_SECTIONS[0] if "cfg" in spec else SECTION] = spec
    return {**checkpoint.pop("optimizer_state_dict", {}), **checkpoint}


def _from_format_1(old: Mapping[str, Any]) -> PolicySpec:
    """Convert a section of format 1, which differed between TruDi's learner and PPO with its relatives."""
    if old["format"] != 1:
        raise CheckpointError(f"The checkpoint has a section of format 1 that says {old['format']!r:.40}.")
    algorithm: Algorithm
    policy: PolicyKind
    if "cfg" in old:
        settings = dict(old["cfg"])
        # versions before there was another actor or constraint saved neither
        policy, constraint = settings.pop("actor", "diffusion"), settings.pop("constraint", "path_kl")
        algorithm = OLD_ALGORITHMS[policy, constraint]
        action_bounds, num_actions = (old["action_low"], old["action_high"]), len(old["action_low"])
    else:
        settings = dict(old["actor"])
        policy = OLD_MODELS.get(class_basename(settings.pop("class_name")) or "", "other")
        algorithm, action_bounds, num_actions = old["algorithm"], None, old["num_actions"]
    return {
        "format": FORMAT,
        "algorithm": algorithm,
        "policy": policy,
        "settings": settings,
        "task": old["task"],
        "environment": old.get("environment", {}),
        "obs_groups": old["obs_groups"],
        "obs_dims": old["obs_dims"],
        "num_actions": num_actions,
        "action_bounds": action_bounds,
    }


def class_basename(name: object) -> str | None:
    """Return the name of a class of RSL-RL or of this package without its module; None for a name of anything else."""
    found = OWN_CLASS.fullmatch(name) if isinstance(name, str) else None
    return None if found is None else found[1]
