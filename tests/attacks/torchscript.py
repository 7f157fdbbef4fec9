# SPDX-License-Identifier: BSD-3-Clause
"""Programs of TorchScript that write files; without postponed annotations, which TorchScript does not read."""

import torch


class Writing(torch.nn.Module):
    """A program of TorchScript that writes a file."""

    num_obs: int

    def __init__(self, path: str) -> None:
        super().__init__()
        self.num_obs, self.path = 3, path

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        """Return ``obs``."""
        torch.save(obs, self.path)
        return obs


class WritingWhenLoaded(Writing):
    """The same, in what loading it runs."""

    @torch.jit.export
    def __getstate__(self) -> tuple[str, bool]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.path, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.path, self.training, self.num_obs = state[0], state[1], 3
        torch.save(torch.zeros(1), self.path)
