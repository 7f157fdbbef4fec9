# SPDX-License-Identifier: BSD-3-Clause
"""Mirror images of symmetric tasks, in the form of RSL-RL's ``data_augmentation_func``.

    agent.algorithm.symmetry_cfg={data_augmentation_func:'trudi_rsl.tasks.mirrors:ant',use_data_augmentation:true}

Each function returns the original and its one mirror image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor

from trudi_rsl.errors import ConfigError

ANT_LEGS = (3, 2, 1, 0)
"""The leg opposite to each leg of Gymnasium's Ant: front left, back left, back right, front right (``ant.xml``)."""
ANT_ACTUATORS = (3, 0, 1, 2)
"""The leg that each pair of actuators, hip and ankle, moves."""
POLAR, AXIAL = (1.0, -1.0, 1.0), (-1.0, 1.0, -1.0)
"""Signs of a vector and of a rotation's axis that are mirrored at the plane ``y = 0``."""


def planar_obstacle(env: Any, obs: TensorDict | None, actions: Tensor | None) -> tuple[Any, Any]:
    """Return observations and actions ``[B, 2]`` of ``PlanarObstacle-v0`` with their images, ``[2 B, 2]``."""
    _require("planar_obstacle", "PlanarObstacle-v0", obs, (2,), actions, 2)
    places, signs = [0, 1], [1.0, -1.0]
    return _with_image(obs, places, signs), _with_image(actions, places, signs)


def ant(env: Any, obs: TensorDict | None, actions: Tensor | None) -> tuple[Any, Any]:
    """Return observations ``[B, 105]`` and actions ``[B, 8]`` of ``Ant-v5`` with their images, ``[2 B, ...]``.

    The reward, running along x, is the same in the image. Without contact forces observations are ``[B, 27]``.
    """
    _require("ant", "Ant-v5", obs, (105, 27), actions, 8)
    joints = [2 * leg + joint for leg in ANT_LEGS for joint in range(2)]
    # the axes of the hips are vertical, and those of the ankles mirror images of each other
    joint_signs = [-1.0, 1.0] * 4
    places = [0, 1, 2, 3, 4, *(5 + j for j in joints), *range(13, 19), *(19 + j for j in joints)]
    signs = [1.0, 1.0, *AXIAL, *joint_signs, *POLAR, *AXIAL, *joint_signs]
    # torques and forces on the torso and on the three bodies of each leg
    bodies = [0, *(1 + 3 * leg + part for leg in ANT_LEGS for part in range(3))]
    places += [27 + 6 * body + axis for body in bodies for axis in range(6)]
    signs += [*AXIAL, *POLAR] * len(bodies)
    actuators = [2 * ANT_ACTUATORS.index(ANT_LEGS[leg]) + joint for leg in ANT_ACTUATORS for joint in range(2)]
    size = 0 if obs is None else obs["policy"].shape[-1]
    return _with_image(obs, places[:size], signs[:size]), _with_image(actions, actuators, joint_signs)


def _require(
    function: str, task: str, obs: TensorDict | None, obs_sizes: Sequence[int], actions: Tensor | None, size: int
) -> None:
    """Raise a ConfigError if observations or actions, unless they are None, do not have the sizes of the task's."""
    shape = None if obs is None else tuple(obs["policy"].shape[1:]) if "policy" in obs else ()
    for what, sizes, found in (
        ("observations", obs_sizes, shape),
        ("actions", [size], None if actions is None else tuple(actions.shape[1:])),
    ):
        if found is not None and found not in [(n,) for n in sizes]:
            expected = " or ".join(map(str, sizes))
            raise ConfigError(
                f"{__name__}:{function} mirrors {task}, whose {what} have {expected} entries; here they have the shape "
                f"{list(found)}. Write a function for this task, or train without symmetry_cfg."
            )


def _with_image(values: Any, places: list[int], signs: list[float]) -> Any:
    """Return values followed by their image, whose entry i is ``signs[i]`` times entry ``places[i]``."""
    if values is None:
        return None
    if isinstance(values, TensorDict):
        image = TensorDict({"policy": _image(values["policy"], places, signs)}, batch_size=values.batch_size)
        return torch.cat([values, image])  # pyright: ignore[reportArgumentType, reportCallIssue]
    return torch.cat([values, _image(values, places, signs)])


def _image(values: Tensor, places: list[int], signs: list[float]) -> Tensor:
    return values[..., places] * torch.tensor(signs, dtype=values.dtype, device=values.device)
