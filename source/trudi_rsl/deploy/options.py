# SPDX-License-Identifier: BSD-3-Clause
"""What a user chooses at an export."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from trudi_rsl.errors import nearest
from trudi_rsl.policies import ChainOptions

Precision = Literal["fp32", "fp16", "int8"]
"""How an ONNX file stores its weights. ``fp16`` also computes in half precision where the runtime can; ``int8`` takes
the products of the chain's inner layers in 8 bits, with scales from each input."""


@dataclass(frozen=True)
class ExportOptions:
    """What an export holds.

    Raises:
        ValueError: If a value is out of range.
    """

    chain: ChainOptions = field(default_factory=ChainOptions)
    """How the chain runs; a Gaussian has the defaults only."""
    precision: Precision = "fp32"
    """Of the ONNX files; the TorchScript file is always in float32."""
    batch_size: int = 1
    """Observations per call, at least 1; robots have one, a vectorised simulator has more."""
    latent_input: bool = False
    """Write a second ONNX file whose chain starts at an input of its own, standard normal as in training."""

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        if self.precision not in get_args(Precision):
            raise ValueError(f"Unknown precision {self.precision!r}. {nearest(self.precision, get_args(Precision))}")
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}.")
