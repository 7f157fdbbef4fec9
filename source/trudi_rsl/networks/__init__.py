# SPDX-License-Identifier: BSD-3-Clause
"""Plain torch modules of the critic."""

from trudi_rsl.networks.hl_gauss import HLGauss
from trudi_rsl.networks.q_critic import CriticOutput, QCritic

__all__ = ["CriticOutput", "HLGauss", "QCritic"]
