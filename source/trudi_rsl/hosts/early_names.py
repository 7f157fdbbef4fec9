# SPDX-License-Identifier: BSD-3-Clause
"""Refuses names of settings that a task of Isaac Lab or mjlab does not have, before the simulator is imported.

Only what was read completely is refused: a project's own classes may add settings, and functions may compute their
names. Everything else is left to the simulator.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points

from trudi_rsl.errors import ConfigError
from trudi_rsl.hosts.reading import Reading, check_names, find_registration, registered_names
from trudi_rsl.packages import is_missing
from trudi_rsl.settings import SETTINGS, TruDiCfg
from trudi_rsl.task_names import counterpart

logger = logging.getLogger(__name__)

_PPO_SECTIONS = {"actor", "critic", "algorithm", "policy", "class_name"}


@dataclass(frozen=True)
class Sources:
    """Where the configurations of a host's tasks are."""

    group: str
    """Entry points of the packages that register tasks."""
    tasks: str
    """The host's own package that does."""
    packages: tuple[str, ...]
    """Packages that define its configurations."""
    env: str
    """Argument of a registration that is the configuration of the environment."""
    play_env: str
    """The same for playing."""
    agent: str
    """That of PPO."""
    own_agent: str
    """Module and class of TruDi's runner configuration."""
    renames: bool = False
    """Whether a task is also found by its name in another version of the host."""
    not_with: str | None = None
    """A package that only versions have whose configurations are not read: their presets replace whole sections."""
    keeps_added: bool = False
    """Whether TruDi's configuration takes over the settings that a project's configuration of PPO adds."""
    own_keys: bool = False
    """Whether a registration may have a configuration of its own for each algorithm, as ``rsl_rl_ALGO_cfg...``."""


def check_early(sources: Sources, task: str, algo: str | None, overrides: Sequence[str], play: bool = False) -> None:
    """Raise a ConfigError for an override of ``env`` or ``agent`` that the task does not have.

    Args:
        sources: Those of the task's host, which is installed.
        task: Its name, possibly ``module:Name``.
        algo: The algorithm; None does not check the agent's.
        overrides: What the user wrote; texts that set something else are skipped.
        play: Whether the task is played.
    """
    if not any(text.startswith(("env.", "agent.")) for text in overrides):
        return
    if sources.not_with is not None and not is_missing(sources.not_with):
        return
    try:
        if (reading := _read(sources, task, algo, play)) is not None:
            check_names(reading, overrides)
    except ConfigError:
        raise
    except Exception:  # the source of other packages may have any form; the simulator refuses the name itself
        logger.debug("The configuration of %s could not be read.", task, exc_info=True)


@functools.lru_cache
def _read(sources: Sources, task: str, algo: str | None, play: bool) -> Reading | None:
    """Return what the sections of a task's configuration may be; None if its registration is not found."""
    module, _, name = task.rpartition(":")
    entries = {entry.value.partition(":")[0].partition(".")[0] for entry in entry_points(group=sources.group)}
    others = {*entries, *filter(None, [module.partition(".")[0]])} - {"trudi_rsl", sources.tasks}
    found = registered_names([sources.tasks, *sorted(others)])
    # a name that another package may register as it runs comes before those of other versions
    if (name not in found and sources.renames and not others) or (sources.renames and play and not others):
        name = counterpart(name, found, play) or name
    name = name.removesuffix("-TruDi")
    registration = find_registration(name, found.get(name, ()), {*sources.packages, *others, "trudi_rsl"})
    if registration is None:
        return None
    reading = Reading(registration.reader)
    env = registration.configuration(sources.play_env if play else sources.env)
    if env is not None:
        reading.sections["env"] = env
        if play:
            reading.call_method(env, "play_mode")
    keys = [f"rsl_rl_{key}_cfg_entry_point" for key in (algo, "trudi")] if sources.own_keys and algo in SETTINGS else []
    own = next((key for key in keys if key in registration.arguments), None)
    ppo = registration.configuration(sources.agent)
    if algo is None or ppo is None:
        return reading
    if own is not None:
        reading.sections["agent"] = registration.configuration(own) or []
    elif algo not in SETTINGS:
        reading.sections["agent"] = ppo
    else:
        reading.sections["agent"] = registration.made_from(sources.own_agent)
        # dictionaries in it are PPO's
        reading.shallow.add("agent")
        reading.elsewhere = [f"agent.algorithm.{name}" for name in TruDiCfg().to_dict()]
        if sources.keeps_added:
            reading.added = reading.names(ppo, without=_PPO_SECTIONS)
    return reading


ISAACLAB = Sources(
    group="isaaclab.tasks",
    tasks="isaaclab_tasks",
    packages=(
        *("isaaclab", "isaaclab_tasks", "isaaclab_assets", "isaaclab_rl", "isaaclab_contrib", "isaaclab_mimic"),
        *("isaaclab_newton", "isaaclab_physx", "isaaclab_ov", "isaaclab_teleop", "isaaclab_visualizers"),
        *("isaaclab_experimental", "isaaclab_tasks_experimental"),
    ),
    env="env_cfg_entry_point",
    play_env="env_cfg_entry_point",
    agent="rsl_rl_cfg_entry_point",
    own_agent="trudi_rsl.hosts.isaaclab.conversion:RslRlTrudiRunnerCfg",
    not_with="isaaclab_newton",
    renames=True,
    own_keys=True,
)
MJLAB = Sources(
    group="mjlab.tasks",
    tasks="mjlab",
    packages=("mjlab",),
    env="env_cfg",
    play_env="play_env_cfg",
    agent="rl_cfg",
    own_agent="trudi_rsl.hosts.mjlab.conversion:TruDiRunnerCfg",
    keeps_added=True,
)
