# SPDX-License-Identifier: BSD-3-Clause
"""The configurations of TruDi's learner as dataclasses that mjlab's command line shows."""

from __future__ import annotations

import copy
import dataclasses
import typing
from dataclasses import dataclass, field
from typing import Any

from mjlab.rl import RslRlBaseRunnerCfg, RslRlOnPolicyRunnerCfg  # pyright: ignore[reportMissingImports]

from trudi_rsl.choices import PolicyGradientAlgorithm
from trudi_rsl.config.ppo_conversion import relative_class, sibling_name, trudi_settings
from trudi_rsl.config.unsupported import refuse_foreign_algorithm, refuse_unsupported
from trudi_rsl.errors import ConfigError
from trudi_rsl.rsl_rl_compat.version import ALGORITHM_CLASS_NAME
from trudi_rsl.settings import SELECTORS, SETTINGS, LearnerAlgorithm, LearnerCfg, fields_from_trudi, schema_fields


def _algorithm_cfg(name: str, algo: LearnerAlgorithm) -> Any:
    """Return a dataclass with the fields, help and checks of an algorithm's settings, ``class_name`` and selectors."""
    own = [("class_name", str, ALGORITHM_CLASS_NAME)]
    own += [key for key in schema_fields(SETTINGS[algo]) if key[0] in SELECTORS]
    fields = [(key, hint, field(default=default)) for key, hint, default in own]
    return dataclasses.make_dataclass(name, fields, bases=(SETTINGS[algo],), namespace={"__module__": __name__})


TruDiAlgorithmCfg: Any = _algorithm_cfg("TruDiAlgorithmCfg", "trudi")
REPPOAlgorithmCfg: Any = _algorithm_cfg("REPPOAlgorithmCfg", "reppo")
DIMEAlgorithmCfg: Any = _algorithm_cfg("DIMEAlgorithmCfg", "dime")
ALGORITHM_CFGS = {"trudi": TruDiAlgorithmCfg, "reppo": REPPOAlgorithmCfg, "dime": DIMEAlgorithmCfg}


@dataclass
class TruDiRunnerCfg(RslRlBaseRunnerCfg):
    """Runner settings for TruDi; there are no model sections, since network sizes are settings of the algorithm."""

    num_steps_per_env: int = 64
    """Environment steps per iteration. The paper collects 64 in Isaac Lab where the tasks' PPO collects 24: the policy
    moves by at most `kl_bound` per iteration, and TD(lambda) looks about 20 steps ahead."""
    evaluation_episodes: int | None = None
    """Episodes of the task's variant for playing in which the policy of every checkpoint is evaluated, in environments
    beside those of training, at least 1; the highest mean return makes `best.pt`. None evaluates none."""
    keep_checkpoints: int | None = None
    """Newest checkpoints that stay in the run folder, beside the best, at least 1; None keeps all."""
    verbose: bool = False
    """Print every logged value in every iteration instead of one row."""
    overrides: tuple[str, ...] = ()
    """What the user has set, `name=value`, for the run's checkpoints; a resume sets it again."""
    class_name: str = "OnPolicyRunner"
    """The runner class name, as in PPO's configuration."""
    algorithm: LearnerCfg = field(default_factory=TruDiAlgorithmCfg)
    """Settings of TruDi, REPPO or DIME."""


_PPO_SECTIONS = ("actor", "critic", "algorithm")


def trudi_from_ppo(task: str, ppo: RslRlOnPolicyRunnerCfg) -> TruDiRunnerCfg:
    """Make a TruDi configuration from a task's PPO configuration, which is not modified.

    :func:`trudi_settings` defines what is kept; so are fields that a project has added.
    """
    names = [f.name for f in dataclasses.fields(ppo) if f.name not in _PPO_SECTIONS]
    settings = trudi_settings(task, dataclasses.asdict(ppo), "mjlab")
    settings["algorithm"] = TruDiAlgorithmCfg(**settings["algorithm"])
    if "obs_groups" in settings:
        settings["obs_groups"] = {name: tuple(groups) for name, groups in settings["obs_groups"].items()}
    return _runner_class(type(ppo))(**{name: copy.deepcopy(getattr(ppo, name)) for name in names} | settings)


def sibling_from_trudi(trudi: TruDiRunnerCfg, algo: LearnerAlgorithm) -> TruDiRunnerCfg:
    """Make a task's configuration for REPPO or DIME from its TruDi configuration, which is not modified."""
    names = ("class_name", *fields_from_trudi(algo))
    algorithm = ALGORITHM_CFGS[algo](**{name: getattr(trudi.algorithm, name) for name in names})
    return dataclasses.replace(trudi, algorithm=algorithm, experiment_name=sibling_name(trudi.experiment_name, algo))


def relative_of_ppo(ppo: RslRlOnPolicyRunnerCfg, algo: PolicyGradientAlgorithm) -> RslRlOnPolicyRunnerCfg:
    """Make a task's configuration for SPO, DPPO or FPO: its PPO configuration with another algorithm class."""
    algorithm = dataclasses.replace(ppo.algorithm, class_name=relative_class(algo))
    return dataclasses.replace(ppo, algorithm=algorithm, experiment_name=sibling_name(ppo.experiment_name, algo))


def _runner_class(ppo: type) -> Any:
    """Return :class:`TruDiRunnerCfg`, extended by the fields that a project's own configuration class adds."""
    known = {f.name for f in dataclasses.fields(TruDiRunnerCfg)}
    own = [f for f in dataclasses.fields(ppo) if f.name not in known and f.name not in _PPO_SECTIONS]
    if not own:
        return TruDiRunnerCfg
    hints = typing.get_type_hints(ppo)
    fields = [(f.name, hints[f.name], f) for f in own]
    return dataclasses.make_dataclass(f"TruDi{ppo.__name__}", fields, bases=(TruDiRunnerCfg,))


def why_not(rl_cfg: Any) -> str | None:
    """Return in a sentence why TruDi cannot replace PPO in a task with this configuration, None if it can."""
    if not isinstance(rl_cfg, RslRlOnPolicyRunnerCfg):
        return f"its configuration is a {type(rl_cfg).__name__}, but TruDi needs an RslRlOnPolicyRunnerCfg."
    try:
        refuse_foreign_algorithm(dataclasses.asdict(rl_cfg.algorithm), "TruDi")
        refuse_unsupported(dataclasses.asdict(rl_cfg))
    except ConfigError as error:
        return str(error)
    return None
