# SPDX-License-Identifier: BSD-3-Clause
"""What mjlab writes into a policy's ONNX file for the robot's software to read."""

from __future__ import annotations

from typing import Any

from mjlab.envs import ManagerBasedRlEnv  # pyright: ignore[reportMissingImports]
from mjlab.envs.mdp.actions import JointPositionAction  # pyright: ignore[reportMissingImports]
from mjlab.rl.exporter_utils import get_base_metadata, list_to_csv_str  # pyright: ignore[reportMissingImports]


def robot_metadata(env: ManagerBasedRlEnv, run: str) -> dict[str, Any] | None:
    """Return mjlab's metadata of a policy, None for a task that mjlab has none for.

    mjlab describes a robot called ``robot`` whose action ``joint_pos`` sets joint positions and whose policy sees the
    observation group ``actor``.

    Args:
        env: The task's environment.
        run: Name of the run.
    """
    described = (
        "robot" in env.scene.entities
        and "joint_pos" in env.action_manager.active_terms
        and isinstance(env.action_manager.get_term("joint_pos"), JointPositionAction)
        and "actor" in env.observation_manager.active_terms
    )
    return get_base_metadata(env, run) if described else None


def as_text(metadata: dict[str, Any]) -> dict[str, str]:
    """Return metadata in the text form that mjlab gives it in a file."""
    return {name: list_to_csv_str(value) if isinstance(value, list) else str(value) for name, value in metadata.items()}
