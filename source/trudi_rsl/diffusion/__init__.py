# SPDX-License-Identifier: BSD-3-Clause
"""The mathematics of the diffusion policy: pure tensor code that imports torch only."""

from trudi_rsl.diffusion.chain import Chain
from trudi_rsl.diffusion.score_network import ScoreNetwork

__all__ = ["Chain", "ScoreNetwork"]
