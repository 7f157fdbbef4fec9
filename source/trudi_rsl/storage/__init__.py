# SPDX-License-Identifier: BSD-3-Clause
"""Device-resident rollout storage and its targets."""

from trudi_rsl.storage.rollout_buffer import NEXT_FEATURES_DTYPE, BatchRows, Minibatch, RolloutBuffer
from trudi_rsl.storage.sequences import SequenceStorage, repeat_kept
from trudi_rsl.storage.td_lambda import td_lambda_targets

__all__ = [
    "NEXT_FEATURES_DTYPE",
    "BatchRows",
    "Minibatch",
    "RolloutBuffer",
    "SequenceStorage",
    "repeat_kept",
    "td_lambda_targets",
]
