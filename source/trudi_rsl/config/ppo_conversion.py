# SPDX-License-Identifier: BSD-3-Clause
"""Settings that TruDi takes over from a task's PPO configuration, for hosts whose tasks have one."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

from trudi_rsl.config.presets import task_preset
from trudi_rsl.config.unsupported import encoder_settings, refuse_unsupported
from trudi_rsl.errors import ConfigError
from trudi_rsl.ppo_fields import describe_ignored, refuse_unknown
from trudi_rsl.settings import SELECTORS, UNUSED, TruDiCfg

logger = logging.getLogger(__name__)

_reported: set[str] = set()
"""Tasks whose conversion has been logged."""


def trudi_settings(task: str, ppo: Mapping[str, Any], host: str) -> dict[str, Any]:
    """Return the runner settings in which TruDi differs from a task's PPO.

    Observation groups, RND, symmetry and models that encode images are always the task's own. So are gamma and the
    total number of environment steps, unless the task is one of the paper's. All other settings of learning come from
    the preset (``configs/tasks.yaml``), or else are TruDi's defaults. Rollouts have at least the preset's number of
    steps (64 in the paper, 16 to 32 in the tasks' PPO): TD(lambda) looks about ``1 / (1 - gamma * lam)`` steps ahead,
    and the policy moves by at most ``kl_bound`` per rollout. The number of iterations shrinks in proportion.

    Args:
        task: Task name.
        ppo: RSL-RL's runner configuration as plain values; settings other than ``num_steps_per_env`` may be absent,
            None or empty.
        host: Name of the host, whose presets ``configs/tasks.yaml`` lists.

    Returns:
        These three, ``algorithm`` (all fields of :class:`~trudi_rsl.settings.TruDiCfg`) and, if the task sets them,
        ``obs_groups`` (the sets ``actor`` and ``critic``).

    Raises:
        ConfigError: A setting of ``algorithm`` does not exist, or TruDi cannot serve a part of the configuration, see
            :func:`~trudi_rsl.config.unsupported.refuse_unsupported`.
    """
    own = {key: value for key, value in (ppo.get("algorithm") or {}).items() if value not in (None, {})}
    try:
        refuse_unsupported(ppo)
        refuse_unknown(own, {"class_name", *SELECTORS, *UNUSED, *TruDiCfg().to_dict()})
    except ConfigError as error:
        raise ConfigError(f"TruDi cannot take the place of PPO in {task!r}. {error}") from error
    preset = task_preset(task, host)["agent"]
    kept = {name: own[name] for name in ("gamma", "rnd_cfg", "symmetry_cfg") if name in own} | encoder_settings(ppo)
    steps = max(ppo["num_steps_per_env"], preset.get("num_steps_per_env", 1))
    iterations = math.ceil((ppo.get("max_iterations") or 0) * ppo["num_steps_per_env"] / steps)
    settings: dict[str, Any] = {
        "num_steps_per_env": steps,
        "max_iterations": preset.get("max_iterations", iterations),
        "experiment_name": f"{ppo.get('experiment_name') or task}_trudi",
        "algorithm": TruDiCfg.from_dict(kept | preset["algorithm"]).to_dict(),
    }
    if groups := ppo.get("obs_groups"):
        # RSL-RL 3 calls the actor's set "policy".
        settings["obs_groups"] = {
            "actor" if name == "policy" else name: list(members)
            for name, members in groups.items()
            if name != "policy" or "actor" not in groups
        }
    _report(task, settings, ppo, own)
    return settings


def sibling_name(experiment: str, algo: str) -> str:
    """Return the experiment name of another algorithm, given that of TruDi's or PPO's configuration."""
    return f"{experiment.removesuffix('_trudi')}_{algo}"


def relative_class(algo: str) -> str:
    """Return the ``class_name`` by which RSL-RL resolves SPO, DPPO or FPO."""
    return f"trudi_rsl.algorithms:{algo.upper()}"


def _report(task: str, settings: Mapping[str, Any], ppo: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Log which settings were changed and which are ignored, once per task."""
    if task in _reported:
        return
    _reported.add(task)
    changed = {name: (settings[name], ppo[name]) for name in ("num_steps_per_env", "max_iterations") if name in ppo}
    changed["gamma"] = (settings["algorithm"]["gamma"], own.get("gamma"))
    listed = ", ".join(f"{name} {ours} (PPO: {theirs})" for name, (ours, theirs) in changed.items() if ours != theirs)
    networks = "the networks' heads" if encoder_settings(ppo) else "the network sections"
    ignored = describe_ignored(own.keys() - TruDiCfg().to_dict().keys() - {"class_name"})
    logger.info(
        f"{task}: TruDi's configuration is made from the task's PPO configuration, with {listed or 'no changes'}. "
        f"Ignored of PPO's: {networks}{ignored and ', '}{ignored}."
    )
