# SPDX-License-Identifier: BSD-3-Clause
"""The ``algorithm`` and ``actor`` sections of a PPO configuration as SPO, DPPO and FPO take them over."""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Mapping
from typing import Any

from rsl_rl.algorithms import PPO

from trudi_rsl.environments.description import control_period
from trudi_rsl.errors import ConfigError, nearest
from trudi_rsl.extensions import checked_rnd, checked_symmetry
from trudi_rsl.policies import GenerativeModel
from trudi_rsl.ppo_fields import describe_ignored, project_fields
from trudi_rsl.rsl_rl_compat.extensions import check_symmetry
from trudi_rsl.rsl_rl_compat.models import resolve_callable

logger = logging.getLogger(__name__)

_NOT_SETTINGS = frozenset({"self", "actor", "critic", "storage", "device", "multi_gpu_cfg", "args", "kwargs"})
"""Arguments of PPO's constructor that its runner passes."""


def take_over(section: dict[str, Any], algorithm: type[PPO], env: Any) -> None:
    """Check an ``algorithm`` section and change it in place to what the constructor of ``algorithm`` takes.

    Settings that a project's own subclass of PPO, or of its configuration, defines are left out and listed. Sections of
    extensions are copied, because RSL-RL changes them when it builds them.

    Raises:
        ConfigError: If a setting does not exist, or an extension has an impossible one or cannot be had here.
    """
    # RSL-RL takes share_cnn_encoders before the constructor, in versions that have it
    known = {"class_name", "share_cnn_encoders"}
    for cls in (algorithm, PPO):
        # settings of one version may be missing in another: RSL-RL names them
        known |= {name for name in inspect.signature(cls.__init__).parameters if name not in _NOT_SETTINGS}
    known -= {"settings", "named_settings"}
    own = [name for name in section if name not in known and name in project_fields()]
    for name in section:
        if name not in known and name not in own:
            raise ConfigError(f"There is no setting 'algorithm.{name}'. {nearest(name, known)}")
    if listed := describe_ignored(name for name in own if section[name] is not None):
        logger.info("%s has no use for these settings and ignores them: %s.", algorithm.__name__, listed)
    for name in own:
        del section[name]
    section["rnd_cfg"] = checked_rnd(section.get("rnd_cfg"))
    section["symmetry_cfg"] = checked_symmetry(section.get("symmetry_cfg"))
    if section["rnd_cfg"] is not None and control_period(getattr(env, "unwrapped", None)) is None:
        raise ConfigError(
            "RSL-RL multiplies algorithm.rnd_cfg.weight by env.unwrapped.step_dt, the seconds per step, and this "
            "environment has none."
        )
    if section["symmetry_cfg"] is not None:
        check_symmetry(algorithm.__name__)


def generative_actor(given: Mapping[str, Any], algorithm: str, actor: type[GenerativeModel]) -> dict[str, Any]:
    """Return the ``actor`` section of a runner configuration for an algorithm with this class of actor.

    Widths, activation and normalisation of PPO's ``MLPModel`` are kept; its Gaussian's initial standard deviation
    becomes that of the noise that actions start from.

    Raises:
        ConfigError: If the section is of another model, or names an unknown setting.
    """
    section = {name: value for name, value in given.items() if value is not None}
    model: Any = resolve_callable(section["class_name"])
    if model.__name__ == "MLPModel":
        section["class_name"] = f"trudi_rsl.policies:{actor.__name__}"
        if (distribution := section.pop("distribution_cfg", None)) is not None:
            section.setdefault("prior_std", distribution.get("init_std", 1.0))
            warnings.warn(
                f"{algorithm}'s actor is a {actor.__name__}, which uses only init_std of actor.distribution_cfg: "
                f"prior_std={section['prior_std']}.",
                stacklevel=3,
            )
    elif not issubclass(model, actor):
        mismatch = f"{algorithm}'s actor is a {actor.__name__}; agent.actor.class_name is {model.__name__}"
        raise ConfigError(f"{mismatch}. Leave it out or write MLPModel.")
    known = inspect.signature(actor).parameters
    for name in section:
        if name not in known and name != "class_name":
            raise ConfigError(f"{algorithm} has no setting 'agent.actor.{name}'. {nearest(name, known)}")
    return section
