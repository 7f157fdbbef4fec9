# SPDX-License-Identifier: BSD-3-Clause
"""On a CPU, a layer's bias is added by the kernel after its matrix product, with the same result."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch._inductor.utils import run_and_get_code
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional as F

from trudi_rsl.acceleration import Accelerator
from trudi_rsl.acceleration.separate_bias import ADDMM, SeparateBias


def test_a_compiled_layer_adds_its_bias_outside_of_the_product() -> None:
    def layer(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return F.gelu(F.linear(x, weight, bias))

    args = torch.randn(48, 24), torch.randn(16, 24), torch.randn(16)
    compiled: Any = Accelerator("default", "cpu").compile("layer", layer)
    result, code = run_and_get_code(compiled, *args)
    assert compiled.is_fast and "mm_out" in code[0] and "addmm_out" not in code[0]
    torch.testing.assert_close(result, layer(*args))


def test_scaled_sums_are_left_as_they_are() -> None:
    def scaled(bias: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        return torch.addmm(bias, x, weight), torch.addmm(bias, x, weight, beta=2.0)

    args = torch.randn(3, dtype=torch.float64), torch.randn(5, 4).double(), torch.randn(4, 3).double()
    traced = make_fx(scaled)(*args)
    SeparateBias()(traced.graph)
    traced.recompile()
    (kept,) = traced.graph.find_nodes(op="call_function", target=ADDMM)
    assert kept.kwargs == {"beta": 2.0}
    torch.testing.assert_close(traced(*args), scaled(*args))
