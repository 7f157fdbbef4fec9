# SPDX-License-Identifier: BSD-3-Clause
"""Makes TruDi known to the stock runner, where the runner looks names up instead of importing them."""

from __future__ import annotations

from trudi_rsl.rsl_rl_compat.version import POLICY_STYLE


def register_in_runner() -> None:
    """Let RSL-RL 3's runner find the classes "TruDi" and "DiffusionActorCritic"; newer ones import what they need."""
    if not POLICY_STYLE:
        return
    import rsl_rl.algorithms
    import rsl_rl.modules
    import rsl_rl.runners.on_policy_runner as runner

    from trudi_rsl.rsl_rl_3.policy import DiffusionActorCritic, TruDi

    # 3.0 to 3.2 evaluate names in the runner's module, 3.3 looks them up in RSL-RL's packages
    for module in (runner, rsl_rl.algorithms):
        vars(module)["TruDi"] = TruDi
    for module in (runner, rsl_rl.modules):
        vars(module)["DiffusionActorCritic"] = DiffusionActorCritic
