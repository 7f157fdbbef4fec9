# SPDX-License-Identifier: BSD-3-Clause
"""TruDi's configuration as Isaac Lab's configuration classes, for Isaac Lab 2.3 and 3.0."""

from __future__ import annotations

import copy
import dataclasses
import logging
from typing import Any

from isaaclab.utils import configclass  # pyright: ignore[reportMissingImports]
from isaaclab_rl.rsl_rl import RslRlOnPolicyRunnerCfg  # pyright: ignore[reportMissingImports]

from trudi_rsl.checkpoints.format import NAMES, Algorithm
from trudi_rsl.config.ppo_conversion import relative_class, sibling_name, trudi_settings
from trudi_rsl.config.unsupported import refuse_foreign_algorithm
from trudi_rsl.errors import ConfigError
from trudi_rsl.rsl_rl_compat.version import ALGORITHM_CLASS_NAME, INSTALLED, POLICY_CLASS_NAME, POLICY_STYLE, PPO_MODELS
from trudi_rsl.settings import SETTINGS, LearnerAlgorithm, fields_from_trudi, schema_fields

logger = logging.getLogger(__name__)


def _algorithm_cfg(algo: LearnerAlgorithm) -> Any:
    """Return a configclass with ``class_name``, the selectors and the fields of an algorithm's settings."""
    fields = [("class_name", str, ALGORITHM_CLASS_NAME), *schema_fields(SETTINGS[algo])]
    body: dict[str, Any] = {name: default for name, _, default in fields}
    body |= {"__annotations__": {name: hint for name, hint, _ in fields}, "__module__": __name__}
    return configclass(type(f"RslRl{algo.capitalize()}AlgorithmCfg", (), body))


RslRlTrudiAlgorithmCfg: Any = _algorithm_cfg("trudi")
RslRlReppoAlgorithmCfg: Any = _algorithm_cfg("reppo")
RslRlDimeAlgorithmCfg: Any = _algorithm_cfg("dime")
ALGORITHM_CFGS = {"trudi": RslRlTrudiAlgorithmCfg, "reppo": RslRlReppoAlgorithmCfg, "dime": RslRlDimeAlgorithmCfg}


@configclass
class RslRlTrudiPolicyCfg:
    """The ``policy`` section that RSL-RL 3 asks for; what it builds is set in the algorithm's section."""

    class_name: str = POLICY_CLASS_NAME
    """The policy's class, evaluated by RSL-RL; it takes its action bounds from the environment."""


@configclass
class RslRlTrudiRunnerCfg(RslRlOnPolicyRunnerCfg):
    """Runner settings for TruDi; the model sections of PPO stay unset."""

    keep_checkpoints: int | None = None
    """Newest checkpoints that this package's runner keeps, beside the best by training return; None keeps all."""
    export_checkpoints: bool = False
    """Let this package's runner export the policy of every checkpoint, to ``exported/model_<iteration>/``."""
    algorithm: RslRlTrudiAlgorithmCfg = RslRlTrudiAlgorithmCfg()  # pyright: ignore[reportInvalidTypeForm]
    """Settings of TruDi."""


_PPO_FIELDS = ("class_name", "actor", "critic", "policy", "algorithm", "torch_compile_mode")


def convert(task: str, cfg: Any, algo: Algorithm) -> Any:
    """Make a task's configuration for an algorithm from that for TruDi (REPPO, DIME) or PPO (all others).

    Args:
        task: Task name; selects the preset.
        cfg: The task's own ``RslRlOnPolicyRunnerCfg``, not modified. In Isaac Lab 3.0 it may be, or have fields that
            are, a set of alternatives to choose from on the command line (``PresetCfg``); then so is the result.
        algo: The algorithm. DPPO and FPO build their actor from PPO's actor section.

    Raises:
        ConfigError: ``cfg`` is not a configuration of RSL-RL's on-policy runner, RSL-RL is too old, or the algorithm
            cannot serve a part of it, such as several critics.
    """
    if choices := alternatives(cfg):
        from isaaclab_tasks.utils import preset  # pyright: ignore[reportMissingImports]

        return preset(**_convertible(task, choices, algo))
    if algo in ("reppo", "dime"):
        sibling = copy.deepcopy(cfg)
        names = ("class_name", *fields_from_trudi(algo))
        sibling.algorithm = ALGORITHM_CFGS[algo](**{name: getattr(cfg.algorithm, name) for name in names})
        sibling.experiment_name = sibling_name(cfg.experiment_name, algo)
        return sibling
    if not isinstance(cfg, RslRlOnPolicyRunnerCfg):
        raise ConfigError(
            f"The RSL-RL configuration of {task!r} is a {type(cfg).__name__}, but {NAMES[algo]} needs an "
            "RslRlOnPolicyRunnerCfg to start from. Write your own configuration with algorithm = "
            "RslRlTrudiAlgorithmCfg() (trudi_rsl.hosts.isaaclab.conversion)."
        )
    refuse_foreign_algorithm({"class_name": cfg.algorithm.class_name}, NAMES[algo])
    if algo == "trudi":
        return _trudi_from_ppo(task, cfg)
    if not PPO_MODELS:
        raise ConfigError(f"{NAMES[algo]} needs rsl-rl-lib 5 (Isaac Lab 3.0); installed is {INSTALLED}.")
    relative = copy.deepcopy(cfg)
    relative.algorithm.class_name = relative_class(algo)
    relative.experiment_name = sibling_name(cfg.experiment_name, algo)
    return relative


def _convertible(task: str, choices: dict[str, Any], algo: Algorithm) -> dict[str, Any]:
    """Return the configurations of the alternatives that the algorithm can serve, and log which it cannot.

    Raises:
        ConfigError: If the default is not one of them, since Isaac Lab needs one.
    """
    made = {"default": convert(task, choices["default"], algo)}
    for name in choices.keys() - made.keys():
        try:
            made[name] = convert(task, choices[name], algo)
        except ConfigError as error:
            logger.info("%s is not an alternative of %s for %s: %s", name, task, NAMES[algo], error)
    return {name: made[name] for name in choices if name in made}


def _trudi_from_ppo(task: str, ppo: Any) -> RslRlTrudiRunnerCfg:
    """Make a TruDi configuration; :func:`trudi_settings` defines what is kept of PPO's."""
    names = [f.name for f in dataclasses.fields(RslRlOnPolicyRunnerCfg) if f.name not in _PPO_FIELDS]
    own = {f.name for f in dataclasses.fields(ppo)} - {f.name for f in dataclasses.fields(RslRlOnPolicyRunnerCfg)}
    if own:
        logger.info("%s: TruDi leaves out what %s adds: %s.", task, type(ppo).__name__, ", ".join(sorted(own)))
    values = {name: None if value is dataclasses.MISSING else value for name, value in ppo.to_dict().items()}
    settings = trudi_settings(task, values, "isaaclab")
    settings["algorithm"] = RslRlTrudiAlgorithmCfg(**settings["algorithm"])
    if POLICY_STYLE:
        settings["policy"] = RslRlTrudiPolicyCfg()
        if groups := settings.get("obs_groups"):
            settings["obs_groups"] = {"policy" if name == "actor" else name: groups[name] for name in groups}
    cfg = RslRlTrudiRunnerCfg()
    for name, value in ({name: getattr(ppo, name) for name in names} | settings).items():
        setattr(cfg, name, value)
    return cfg


def alternatives(cfg: Any) -> dict[str, Any]:
    """Return the named alternatives of a configuration in Isaac Lab 3.0, own or of any field; empty if it has none."""
    try:
        from isaaclab_tasks.utils import PresetCfg  # pyright: ignore[reportMissingImports]
    except ImportError:  # Isaac Lab 2.3
        return {}
    if isinstance(cfg, PresetCfg):
        return dict(vars(cfg))
    choices = {field: vars(value) for field, value in vars(cfg).items() if isinstance(value, PresetCfg)}
    return {
        name: cfg.replace(**{field: values.get(name, values["default"]) for field, values in choices.items()})
        for name in {name: None for values in choices.values() for name in values}
    }
