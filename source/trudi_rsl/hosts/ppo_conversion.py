# SPDX-License-Identifier: BSD-3-Clause
"""What TruDi takes over from a task's PPO configuration, for hosts whose tasks come with one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from trudi_rsl.config.presets import task_preset
from trudi_rsl.errors import ConfigError
from trudi_rsl.settings import PPO_ONLY_FIELDS, TruDiCfg

_told: set[str] = set()


def trudi_settings(task: str, ppo: Mapping[str, Any], host: str) -> dict[str, Any]:
    """Return the runner settings in which TruDi differs from a task's PPO.

    The task's own, unless it is one of the paper's: gamma, and the number of environment steps of the whole training;
    always: observation groups. From the preset (``configs/tasks.yaml``), or else TruDi's defaults: everything about
    learning. A rollout has at least the
    preset's number of steps, since TD(lambda) looks about ``1 / (1 - gamma * lam)`` steps ahead and the policy moves
    by at most ``kl_bound`` per rollout; the paper collects 64 where the tasks' PPO collects 16 to 32. The number of
    iterations shrinks in proportion.

    Args:
        task: Task name.
        ppo: RSL-RL's runner configuration as plain values, with ``num_steps_per_env``, ``max_iterations`` and
            ``experiment_name``; other settings that are unset are absent, None or empty.
        host: Name of the host and of its preset for any task.

    Returns:
        ``num_steps_per_env``, ``max_iterations``, ``experiment_name``, ``obs_groups`` (with the sets ``actor`` and
        ``critic``; absent if the task leaves it open) and ``algorithm`` (all fields of
        :class:`~trudi_rsl.settings.TruDiCfg`).

    Raises:
        ConfigError: If the configuration is of another algorithm than PPO.
    """
    given = {key: value for key, value in (ppo.get("algorithm") or {}).items() if value not in (None, {})}
    if str(ppo.get("class_name", "OnPolicyRunner")).rpartition(":")[2] == "DistillationRunner":
        raise ConfigError(f"The configuration of {task!r} is of distillation, which TruDi cannot stand in for.")
    preset = task_preset(task, host)["agent"]
    kept = {"gamma": given["gamma"]} if "gamma" in given else {}
    algorithm = TruDiCfg.from_dict(kept | preset["algorithm"])

    steps = max(ppo["num_steps_per_env"], preset.get("num_steps_per_env", 1))
    iterations = math.ceil(ppo["max_iterations"] * ppo["num_steps_per_env"] / steps)
    settings: dict[str, Any] = {
        "num_steps_per_env": steps,
        "max_iterations": preset.get("max_iterations", iterations),
        "experiment_name": f"{ppo['experiment_name']}_trudi",
        "algorithm": algorithm.to_dict(),
    }
    if groups := ppo.get("obs_groups"):
        # RSL-RL 3 calls the actor's set "policy"
        settings["obs_groups"] = {
            "actor" if name == "policy" else name: list(members)
            for name, members in groups.items()
            if name != "policy" or "actor" not in groups
        }
    _tell(task, settings, ppo, given, sorted(PPO_ONLY_FIELDS & given.keys()))
    return settings


def sibling_name(experiment: str, algo: str) -> str:
    """Return the experiment's name of another algorithm, from that of TruDi's or PPO's configuration."""
    return f"{experiment.removesuffix('_trudi')}_{algo}"


def relative_class(algo: str) -> str:
    """Return ``class_name`` of SPO, DPPO or FPO, as RSL-RL resolves it."""
    return f"trudi_rsl.algorithms:{algo.upper()}"


def _tell(
    task: str, settings: Mapping[str, Any], ppo: Mapping[str, Any], given: Mapping[str, Any], ignored: list[str]
) -> None:
    """Say once per task what was changed and what is ignored."""
    if task in _told:
        return
    _told.add(task)
    changed = {name: (settings[name], ppo[name]) for name in ("num_steps_per_env", "max_iterations")}
    changed["gamma"] = (settings["algorithm"]["gamma"], given.get("gamma"))
    listed = ", ".join(f"{name} {ours} (PPO: {its})" for name, (ours, its) in changed.items() if ours != its)
    unused = f", and of PPO's {', '.join(ignored)} TruDi has no use" if ignored else ""
    print(
        f"[trudi_rsl] {task}: TruDi from the task's PPO configuration, with {listed or 'nothing changed'}. Its network "
        f"sections are not used{unused}.",
        flush=True,
    )
