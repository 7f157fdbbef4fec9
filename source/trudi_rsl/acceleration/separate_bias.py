# SPDX-License-Identifier: BSD-3-Clause
"""A pass of inductor's for CPUs: matrix products without their bias, which fused kernels add."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import fx
from torch._inductor.custom_graph_pass import CustomGraphPass, get_hash_for_files

ADDMM, MM, ADD = torch.ops.aten.addmm.default, torch.ops.aten.mm.default, torch.ops.aten.add.Tensor


class SeparateBias(CustomGraphPass):
    """Writes ``addmm(b, x, w)`` as ``mm(x, w) + b``.

    On a CPU, ``addmm`` copies the bias to every row of the result before the product, in a kernel of its own, where the
    addition is free inside of the activation that follows. Inductor itself does so on GPUs only.
    """

    def __call__(self, graph: fx.Graph) -> None:
        """Change the graph in place."""
        for node in graph.find_nodes(op="call_function", target=ADDMM):
            if node.kwargs:  # scaled
                continue
            bias, x, weight = node.args
            with graph.inserting_before(node):
                product = graph.call_function(MM, (x, weight))
                product.meta["val"] = node.meta["val"]
                total = graph.call_function(ADD, (product, bias))
            total.meta.update(node.meta)
            node.replace_all_uses_with(total)
            graph.erase_node(node)

    def uuid(self) -> Any:
        """Return the key under which inductor caches what it compiled with this pass."""
        return get_hash_for_files((str(Path(__file__)),))
