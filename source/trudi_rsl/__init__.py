# SPDX-License-Identifier: BSD-3-Clause
"""Trust-region diffusion policies (TruDi) for RSL-RL.

Importing this imports nothing else: hosts load the package to find what it registers, before they start a simulator.
The names in ``__all__`` are imported on first use. Modules that use RSL-RL import ``trudi_rsl.rsl_rl_compat`` first,
which refuses unsupported versions.

Messages go through the logger ``trudi_rsl``, by default to standard output, where RSL-RL prints as well.
"""

import importlib
import logging
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trudi_rsl.algorithms import DIME, DPPO, FPO, REPPO, SPO, TruDi
    from trudi_rsl.checkpoints.rebuild import load_actor_critic
    from trudi_rsl.config.swap import trudi_cfg
    from trudi_rsl.deploy import Policy, export_checkpoint
    from trudi_rsl.policies import DiffusionActorCritic, GaussianActorCritic
    from trudi_rsl.runners import OnPolicyRunner
    from trudi_rsl.settings import DIMECfg, REPPOCfg, TruDiCfg

__version__ = "0.1.0"

_ROOMS = {
    **dict.fromkeys(("DIME", "DPPO", "FPO", "REPPO", "SPO", "TruDi", "load_actor_critic"), "algorithms"),
    **dict.fromkeys(("DiffusionActorCritic", "GaussianActorCritic"), "policies"),
    **dict.fromkeys(("DIMECfg", "REPPOCfg", "TruDiCfg"), "settings"),
    **dict.fromkeys(("Policy", "export_checkpoint"), "deploy"),
    "OnPolicyRunner": "runners",
    "trudi_cfg": "config.swap",
}

__all__ = [
    "DIME",
    "DPPO",
    "FPO",
    "REPPO",
    "SPO",
    "DIMECfg",
    "DiffusionActorCritic",
    "GaussianActorCritic",
    "OnPolicyRunner",
    "Policy",
    "REPPOCfg",
    "TruDi",
    "TruDiCfg",
    "export_checkpoint",
    "load_actor_critic",
    "trudi_cfg",
]


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_ROOMS[name]}"), name)


class _StandardOutput(logging.Handler):
    """Writes to the current ``sys.stdout``, which callers may have redirected since the import.

    A stream that hides what libraries print has an attribute ``for_messages``: the stream that it replaces.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; a full disk costs the message, not the training."""
        try:
            print(self.format(record), file=getattr(sys.stdout, "for_messages", sys.stdout), flush=True)
        except OSError:
            pass
        except Exception:
            self.handleError(record)


def _set_up_logger() -> None:
    logger = logging.getLogger(__name__)
    if not logger.handlers:
        handler = _StandardOutput()
        handler.setFormatter(logging.Formatter("[trudi_rsl] %(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False


_set_up_logger()
