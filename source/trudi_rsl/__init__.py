# SPDX-License-Identifier: BSD-3-Clause
"""Trust-region diffusion policies (TruDi) for RSL-RL.

Importing this imports nothing else: hosts load the package to find what it registers, before they start a simulator.
Modules that use RSL-RL import ``trudi_rsl.rsl_rl_compat`` first, which refuses unsupported versions.

Messages go through the logger ``trudi_rsl``, by default to standard output, where RSL-RL prints as well.
"""

import importlib
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trudi_rsl.config.swap import trudi_cfg

__all__ = ["trudi_cfg"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "trudi_cfg":
        return importlib.import_module("trudi_rsl.config.swap").trudi_cfg
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class _StandardOutput(logging.Handler):
    """Writes to the current ``sys.stdout``, which callers may have redirected since the import."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; a full disk costs the message, not the training."""
        try:
            print(self.format(record), flush=True)
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
