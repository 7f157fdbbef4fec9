# SPDX-License-Identifier: BSD-3-Clause
"""TruDi's configuration as Isaac Lab's configuration classes, for Isaac Lab 2.3 and 3.0."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any

from isaaclab.utils import configclass  # pyright: ignore[reportMissingImports]
from isaaclab_rl.rsl_rl import RslRlOnPolicyRunnerCfg  # pyright: ignore[reportMissingImports]

from trudi_rsl.algorithms.config import TruDiCfg
from trudi_rsl.rsl_rl_compat import ALGORITHM_CLASS_NAME, POLICY_CLASS_NAME


def _mirror() -> type:
    """Return a class body with the fields of :class:`TruDiCfg` and ``class_name``, for ``configclass`` to finish."""
    hints = typing.get_type_hints(TruDiCfg)
    values = {f.name: getattr(TruDiCfg(), f.name) for f in dataclasses.fields(TruDiCfg)}
    # Isaac Lab merges overrides into lists, and refuses them where a tuple of another length stands.
    values = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
    annotations = {"class_name": str, **{name: hints[name] for name in values}}
    body = {"__annotations__": annotations, "__module__": __name__, "class_name": ALGORITHM_CLASS_NAME, **values}
    body["__doc__"] = "Settings of TruDi; field by field those of :class:`trudi_rsl.algorithms.config.TruDiCfg`."
    return type("RslRlTrudiAlgorithmCfg", (), body)


RslRlTrudiAlgorithmCfg: Any = configclass(_mirror())


@configclass
class RslRlTrudiPolicyCfg:
    """The ``policy`` section that RSL-RL 3 asks for; what it builds is set in the algorithm's section."""

    class_name: str = POLICY_CLASS_NAME
    """The policy's class, which takes its action bounds from the environment."""


@configclass
class RslRlTrudiRunnerCfg(RslRlOnPolicyRunnerCfg):
    """Runner settings for TruDi; the model sections of PPO stay unset."""

    keep_checkpoints: int | None = None
    """Newest checkpoints that this package's runner keeps, beside the best by training return; None keeps all."""
    export_checkpoints: bool = False
    """Let this package's runner export the policy of every checkpoint, to ``exported/model_<iteration>/``."""
    algorithm: RslRlTrudiAlgorithmCfg = RslRlTrudiAlgorithmCfg()  # pyright: ignore[reportInvalidTypeForm]
    """Settings of TruDi."""
