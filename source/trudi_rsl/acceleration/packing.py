# SPDX-License-Identifier: BSD-3-Clause
"""Parameters and Adam's state in flat buffers, for updates that are compiled as a whole.

Compiled code differentiates by views of a buffer, and clips the gradient and takes the step of all parameters at once.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam

ALIGNMENT = 16
"""Parameters start at multiples of this many float32 numbers, 64 bytes, as vectorised loads need."""


class PackedAdam:
    """Parameters and moments of an :class:`torch.optim.Adam` in flat buffers, which compiled code can change.

    The optimiser and its module own them between updates: :meth:`pack` copies them into the buffers, :meth:`unpack`
    copies them back. Hyperparameters are those of the optimiser's one group; weight decay and AMSGrad are not
    supported.

    Args:
        optimizer: The optimiser.
        names: Name of each of its parameters, in its order.
    """

    def __init__(self, optimizer: Adam, names: list[str]) -> None:
        (group,) = optimizer.param_groups
        assert not (group["weight_decay"] or group["amsgrad"] or group["maximize"])
        self._learning_rate, self._betas, self._eps = group["lr"], group["betas"], group["eps"]
        self._optimizer = optimizer
        self._parameters: list[Tensor] = group["params"]
        self._names = names
        self._sizes = [p.numel() for p in self._parameters]
        padded = [ALIGNMENT * math.ceil(size / ALIGNMENT) for size in self._sizes]
        self._paddings = [after - size for after, size in zip(padded, self._sizes, strict=True)]
        self._starts = [sum(padded[:i]) for i in range(len(padded))]
        first = self._parameters[0].detach()
        self.values, self.means, self.squares = (first.new_zeros(sum(padded)) for _ in range(3))
        """Parameters and the moving averages of gradients and squared gradients, ``[P]``."""
        self.num_steps = torch.zeros((), device=first.device)
        """Steps taken so far, float32 scalar."""
        # kept beside the count: as an expression of it, a compiler would evaluate them for every parameter
        self._decays = torch.ones(2, dtype=torch.float64, device=first.device)
        """``beta1^t`` and ``beta2^t`` after ``t`` steps, float64 ``[2]``, since ``1 - beta2`` cancels three digits."""
        self._both_betas = torch.tensor(self._betas, dtype=torch.float64, device=first.device)

    @torch.no_grad()
    def pack(self) -> None:
        """Copy parameters and moments into the buffers."""
        self._write(self.values, self._parameters)
        states = [state for p in self._parameters if (state := self._optimizer.state.get(p))]
        if not states:
            for buffer in (self.means, self.squares, self.num_steps):
                buffer.zero_()
            self._decays.fill_(1.0)
            return
        self._write(self.means, [state["exp_avg"] for state in states])
        self._write(self.squares, [state["exp_avg_sq"] for state in states])
        self.num_steps.copy_(states[0]["step"])
        self._decays.copy_(self._both_betas ** self.num_steps.double())

    @torch.no_grad()
    def unpack(self) -> None:
        """Copy the buffers back."""
        for p in self._parameters:
            if not self._optimizer.state[p]:
                zeros = {key: torch.zeros_like(p) for key in ("exp_avg", "exp_avg_sq")}
                self._optimizer.state[p] = {"step": torch.zeros_like(self.num_steps), **zeros}
        states = [self._optimizer.state[p] for p in self._parameters]
        for buffer, owners in (
            (self.values, self._parameters),
            (self.means, [state["exp_avg"] for state in states]),
            (self.squares, [state["exp_avg_sq"] for state in states]),
        ):
            _copy(owners, list(self._views_of(buffer).values()))
        for state in states:
            state["step"].copy_(self.num_steps)

    def views(self) -> dict[str, Tensor]:
        """Return the packed parameters by name, views of the buffer."""
        return self._views_of(self.values)

    @torch.no_grad()
    def descend(self, gradients: Mapping[str, Tensor], max_norm: float | None, skips: Tensor) -> Tensor:
        """Clip the gradients by name to a norm, take Adam's step, and return the norm before clipping, scalar.

        The step is skipped where the scalar ``skips`` is 1, which a norm that is not finite sets. No value is read on
        the host. As in :class:`torch.optim.Adam`, up to rounding.
        """
        gradient = self._flat([gradients[name] for name in self._names])
        norm = gradient.square().sum().sqrt()
        skips.copy_(torch.maximum(skips, (~torch.isfinite(norm)).float()))
        if max_norm is not None:
            gradient = gradient * (max_norm / (norm + 1e-6)).clamp(max=1.0)
        (beta1, beta2), decays = self._betas, self._decays * self._both_betas
        count = self.num_steps + 1.0
        means = torch.lerp(self.means, gradient, 1.0 - beta1)
        squares = beta2 * self.squares + (1.0 - beta2) * gradient.square()
        correction1, correction2 = (1.0 - decays).to(gradient.dtype).unbind()
        values = self.values - self._learning_rate / correction1 * means / ((squares / correction2).sqrt() + self._eps)
        taken = skips == 0.0
        for buffer, new in (
            (self.values, values),
            (self.means, means),
            (self.squares, squares),
            (self.num_steps, count),
            (self._decays, decays),
        ):
            buffer.copy_(torch.where(taken, new, buffer))
        return norm

    def _flat(self, tensors: list[Tensor]) -> Tensor:
        parts = []
        for x, padding in zip(tensors, self._paddings, strict=True):
            parts.append(x.flatten())
            if padding:
                parts.append(x.new_zeros(padding))
        return torch.cat(parts)

    def _write(self, buffer: Tensor, tensors: list[Tensor]) -> None:
        _copy(list(self._views_of(buffer).values()), tensors)

    def _views_of(self, buffer: Tensor) -> dict[str, Tensor]:
        return {
            name: buffer[start : start + size].view(p.shape)
            for name, start, size, p in zip(self._names, self._starts, self._sizes, self._parameters, strict=True)
        }


class PackedModules:
    """Modules and their optimisers, packed while compiled updates change them.

    Args:
        module: Holds the networks.
        optimizers: Optimiser of each part, such as ``actor``.
        others: Parameters of the optimisers outside of ``module``, by name.
    """

    def __init__(self, module: nn.Module, optimizers: Mapping[str, Adam], others: Mapping[str, nn.Parameter]) -> None:
        self._caller = _Caller(module)
        names: dict[Tensor, str] = {p: name for name, p in self._caller.named_parameters()}
        names |= {p: name for name, p in others.items()}
        self._parts = {
            part: PackedAdam(optimizer, [names[p] for p in _parameters(optimizer)])
            for part, optimizer in optimizers.items()
        }
        self._is_packed = False

    @contextlib.contextmanager
    def packed(self) -> Iterator[None]:
        """Keep everything packed; the modules are brought up to date at the end of the outermost context."""
        if self._is_packed:
            yield
            return
        self.pack()
        self._is_packed = True
        try:
            yield
        finally:
            self._is_packed = False
            for part in self._parts.values():
                part.unpack()

    def pack(self) -> None:
        """Copy parameters and optimisers' states into the buffers."""
        for part in self._parts.values():
            part.pack()

    def __getitem__(self, part: str) -> PackedAdam:
        """Return a part."""
        return self._parts[part]

    def call(
        self,
        function: Callable[..., Any],
        *args: Any,
        reads: Sequence[str],
        parameters: Mapping[str, Tensor] | None = None,
    ) -> Any:
        """Call a function of the module on the packed parameters of the parts that it ``reads``.

        ``parameters`` replace those of their names. Every replaced parameter is traced at each start, so others are
        left alone.
        """
        merged: dict[str, Tensor] = {}
        for part in reads:
            merged |= self._parts[part].views()
        merged |= parameters or {}
        # no parameter has two owners
        return torch.func.functional_call(self._caller, merged, (function, *args), tie_weights=False)

    def gradient(
        self, part: str, objective: Callable[..., Any], *args: Any, reads: Sequence[str] = ()
    ) -> tuple[Any, dict[str, Tensor]]:
        """Return an objective and the gradient of its ``loss`` by a part's packed parameters, by their names.

        Other parts that it ``reads`` are constant. Unlike :class:`~trudi_rsl.acceleration.Gradient`, a compiler can
        trace it.
        """

        def loss(parameters: dict[str, Tensor]) -> tuple[Tensor, Any]:
            result = self.call(objective, *args, reads=reads, parameters=parameters)
            return result.loss, result

        gradient, result = torch.func.grad(loss, has_aux=True)(self._parts[part].views())
        return result, gradient


class _Caller(nn.Module):
    """Calls functions of a module, so that ``torch.func.functional_call`` can replace its parameters meanwhile."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, function: Callable[..., Any], *args: Any) -> Any:
        """Return the function's result."""
        return function(*args)


def _copy(targets: Sequence[Tensor], sources: Sequence[Tensor]) -> None:
    for target, source in zip(targets, sources, strict=True):
        target.copy_(source)


def _parameters(optimizer: Adam) -> list[nn.Parameter]:
    return optimizer.param_groups[0]["params"]
