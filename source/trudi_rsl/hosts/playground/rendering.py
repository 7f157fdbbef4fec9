# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportMissingImports=false
"""Images of a simulated environment, drawn by MuJoCo without a window."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np

from trudi_rsl.errors import ConfigError

HEIGHT, WIDTH = 480, 640
"""Size of an image, if the model's buffer is not smaller [pixels]."""


class Camera:
    """Draws environment 0 through the model's first camera, or around its centre if it has none.

    Args:
        model: MuJoCo's model.
        mode: ``rgb_array``; ConfigError for any other.
    """

    def __init__(self, model: Any, mode: str) -> None:
        if mode != "rgb_array":
            raise ConfigError(f"MuJoCo Playground renders in the mode rgb_array, not in {mode!r}.")
        self._model, self._data = model, mujoco.MjData(model)  # pyright: ignore[reportAttributeAccessIssue]
        buffer = model.vis.global_
        buffer.offwidth, buffer.offheight = max(buffer.offwidth, WIDTH), max(buffer.offheight, HEIGHT)
        self._renderer = mujoco.Renderer(model, HEIGHT, WIDTH)

    def render(self, data: Any) -> np.ndarray:
        """Return an image ``[HEIGHT, WIDTH, 3]`` uint8 of the first of the states ``data``, of MJX's type."""
        for name in ("qpos", "qvel", "mocap_pos", "mocap_quat", "xfrc_applied"):
            getattr(self._data, name)[...] = np.asarray(getattr(data, name)[0])
        mujoco.mj_forward(self._model, self._data)  # pyright: ignore[reportAttributeAccessIssue]
        self._renderer.update_scene(self._data, camera=0 if self._model.ncam else -1)
        return self._renderer.render()

    def close(self) -> None:
        """Release the graphics context. Closing twice does nothing."""
        self._renderer.close()
