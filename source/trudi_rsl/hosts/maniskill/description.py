# SPDX-License-Identifier: BSD-3-Clause
"""What a robot's software must know of a ManiSkill task: the parts of the observation, and what the actions command."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from trudi_rsl.deploy.contract import as_numbers
from trudi_rsl.hosts.maniskill.make import TaskOptions, make_simulation, quiet


@torch.inference_mode(False)
def describe(options: TaskOptions) -> dict[str, Any]:
    """Return the metadata of a task for an exported policy, from a simulation made for that.

    Returns:
        ``obs_terms``, the entries of ManiSkill's ``state_dict`` in the order of the observation, such as
        ``agent/qpos``; and ``controllers``, in the order of the actions: name, class, joints and number of actions of
        each, and ``command_low`` and ``command_high``, the commands of the lowest and highest action in the
        controller's units (radians, metres), changes of the target per action if ``is_delta``.
    """
    with quiet(), contextlib.closing(make_simulation(replace(options, obs_mode="state_dict"))) as env:
        obs, _ = env.reset(seed=0)
        agent: Any = env.get_wrapper_attr("agent")
        robots = getattr(agent, "agents_dict", None) or {"": agent}
        return {
            "obs_terms": [{"name": name, "size": size} for name, size in _sizes(obs)],
            # sorted as Gymnasium sorts the entries of a Dict space
            "controllers": [entry for name in sorted(robots) for entry in _controllers(name, robots[name])],
        }


def _sizes(obs: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, int]]:
    """Yield name and size of the entries of a nested observation of one environment, tensors ``[1, ...]``."""
    for name, value in obs.items():
        if isinstance(value, Mapping):
            yield from _sizes(value, f"{prefix}{name}/")
        elif size := int(np.prod(value.shape)):
            yield f"{prefix}{name}", size


def _controllers(robot: str, agent: Any) -> Iterator[dict[str, Any]]:
    whole = agent.controller
    parts = getattr(whole, "controllers", None) or {agent.control_mode: whole}
    for name, part in parts.items():
        size = int(np.prod(part.single_action_space.shape))
        entry = {
            "name": f"{robot}/{name}" if robot else name,
            "kind": type(part).__name__,
            "size": size,
            "joint_names": [joint.name for joint in part.joints],
            "is_delta": bool(getattr(part.config, "use_delta", False)),
        }
        for key in ("lower", "upper"):
            if (bound := getattr(part.config, key, None)) is not None and np.size(bound) in (1, size):
                values = as_numbers(np.broadcast_to(np.asarray(bound, np.float32).reshape(-1), (size,)))
                entry["command_low" if key == "lower" else "command_high"] = values
        yield entry
