# SPDX-License-Identifier: BSD-3-Clause
"""What MuJoCo says: its warnings once each, and why it cannot be imported."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
from importlib.metadata import PackageNotFoundError, version

import gymnasium as gym

from trudi_rsl.errors import one_line
from trudi_rsl.packages import how_to_install

logger = logging.getLogger(__name__)

WITHOUT_MUJOCO = (
    *("gymnasium.envs.classic_control", "gymnasium.envs.box2d", "gymnasium.envs.toy_text"),
    "trudi_rsl.tasks",
)
"""Modules of tasks that are known not to use MuJoCo, which takes a moment to import."""

_seen: set[str] = set()


def log_warnings_once(task: str) -> None:
    """Log each warning of MuJoCo about the models of a task once in this process.

    Otherwise MuJoCo prints it for every model, and appends it to ``MUJOCO_LOG.TXT`` in the working directory. A handler
    that somebody else has set stays.
    """
    if "mujoco" not in sys.modules and not _may_use_mujoco(task):
        return
    try:
        mujoco = importlib.import_module("mujoco")
        if mujoco.get_mju_user_warning() is None:
            mujoco.set_mju_user_warning(_log_once)
    except (ImportError, AttributeError, OSError):  # reported when the task is made
        return


def _may_use_mujoco(task: str) -> bool:
    if importlib.util.find_spec("mujoco") is None:
        return False
    spec = gym.registry.get(task.rpartition(":")[2])
    entry_point = getattr(spec, "entry_point", None)
    return not (isinstance(entry_point, str) and entry_point.startswith(WITHOUT_MUJOCO))


def _log_once(message: str) -> None:
    text = one_line(message, 400)
    if text not in _seen:
        _seen.add(text)
        logger.warning("MuJoCo: %s", text)


def import_advice(task: str, error: BaseException) -> str | None:
    """Return why a task cannot import MuJoCo and what to do about it; None if the error is of something else.

    Gymnasium's error says that MuJoCo is not installed, whatever the reason. An upgrade from MuJoCo 3 to 4 by pip
    deletes files of the new version, and MuJoCo's own error has the remedy for that.
    """
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(cause)
    innermost = chain[-1]
    name = str(getattr(innermost, "name", None) or "")
    if name.partition(".")[0] != "mujoco" and not any("mujoco" in str(link).lower() for link in chain):
        return None
    try:
        installed = version("mujoco")
    except PackageNotFoundError:
        return f"Task {task!r} needs MuJoCo. {how_to_install()}"
    advice = [link for link in chain[1:] if "pip install" in str(link)]
    reason = advice[-1] if advice else innermost
    remedy = "" if advice else " An upgrade may have left parts of two versions: pip install --force-reinstall mujoco"
    return (
        f"Task {task!r} needs MuJoCo, and the installed version {installed} cannot be imported: "
        f"{type(reason).__name__}: {one_line(reason, 500)}{remedy}"
    )
