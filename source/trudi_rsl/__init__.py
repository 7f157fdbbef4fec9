# SPDX-License-Identifier: BSD-3-Clause
"""Trust-region diffusion policies (TruDi) for RSL-RL.

Importing this imports nothing else: hosts load the package to find what it registers, before they start a simulator.
Modules that use RSL-RL import ``trudi_rsl.rsl_rl_compat`` first, which refuses unsupported versions.

Messages go through the logger ``trudi_rsl``, by default to standard output, where RSL-RL prints as well.
"""

import logging
import sys

__version__ = "0.1.0"


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
