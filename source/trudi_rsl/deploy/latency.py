# SPDX-License-Identifier: BSD-3-Clause
"""Timing exported policies: one action on one CPU thread.

A TorchScript file is a program, and loading it runs code from the file. It is loaded only if it is named explicitly;
time only files that you exported or trust.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rich.progress import track

from trudi_rsl import packages
from trudi_rsl.choices import TIMED_CALLS
from trudi_rsl.deploy.contract import MAX_NUMBERS
from trudi_rsl.deploy.parity import ExportError
from trudi_rsl.deploy.runtime import Latency
from trudi_rsl.deploy.session import ONNX_TYPES, open_session
from trudi_rsl.errors import one_line
from trudi_rsl.plain_values import is_count, is_finite

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CALLS_PER_TURN = 100
WARM_UP = 20
RUNTIMES = {".onnx": "ONNX Runtime", ".pt": "TorchScript"}
"""Suffixes of exported files, and what runs them."""


@dataclass(frozen=True)
class Timing:
    """Times of single calls of one file with batch size 1."""

    file: Path
    runtime: str
    milliseconds: tuple[float, ...]
    """Every call."""
    control_period_ms: float | None = None
    """Milliseconds between actions, if known."""

    @property
    def latency(self) -> Latency:
        """Median, 99th percentile and longest call."""
        return Latency.from_seconds(1e-3 * np.array(self.milliseconds))

    @property
    def warning(self) -> str | None:
        """A warning if the policy is too slow for its control period, else None."""
        warning = self.latency.warning(self.control_period_ms)
        return warning and f"{self.file}: {warning} Export fewer denoising steps or a smaller network."


def exported_files(paths: Sequence[Path]) -> list[Path]:
    """Return the ONNX and TorchScript files at the given paths.

    A folder stands for its ONNX files, or else for those in the folders ``exported`` below it, and a checkpoint for
    those exported beside it.

    Raises:
        ExportError: If there is no exported policy at one of them.
    """
    found: list[Path] = []
    for path in paths:
        folder = path.parent if path.match("model_*.pt") else path
        files = [path]
        if folder.is_dir():
            files = sorted(folder.glob("*.onnx")) or sorted(folder.glob("**/exported/**/*.onnx"))
        if not files or any(file.suffix not in RUNTIMES or not file.is_file() for file in files):
            raise ExportError(f"There is no exported policy ({' or '.join(RUNTIMES)}) at {path}.")
        found += files
    return found


def measure(
    files: Sequence[Path], num_calls: int = TIMED_CALLS, control_period_ms: float | None = None, progress: bool = False
) -> list[Timing]:
    """Time calls of exported policies.

    The files alternate in turns of :data:`CALLS_PER_TURN` calls with warm-up, so that other load on the machine affects
    all of them alike. Limits torch to one thread for the rest of the process.

    Args:
        files: ``policy.onnx`` or ``policy.pt``; a ``.pt`` file runs as a program, see this module.
        num_calls: Calls per file, at least :data:`CALLS_PER_TURN`, rounded up to complete turns.
        control_period_ms: Milliseconds between actions; None reads it from the ONNX file.
        progress: Whether to show a progress bar.

    Raises:
        ExportError: If a file is not an exported policy.
        ValueError: If ``num_calls`` is too small, or the period is not above 0.
    """
    if num_calls < CALLS_PER_TURN:
        raise ValueError(f"The number of calls must be at least {CALLS_PER_TURN}, got {num_calls}.")
    if control_period_ms is not None and not control_period_ms > 0.0:
        raise ValueError(f"The control period must be above 0 ms, got {control_period_ms}.")
    loaded = [_load(file) for file in files]
    milliseconds: list[list[float]] = [[] for _ in files]
    for _ in track(range(-(-num_calls // CALLS_PER_TURN)), "Timing", transient=True, disable=not progress):
        for (call, _), times in zip(loaded, milliseconds, strict=True):
            for i in range(-WARM_UP, CALLS_PER_TURN):
                begin = time.perf_counter()
                call()
                if i >= 0:
                    times.append(1e3 * (time.perf_counter() - begin))
    return [
        Timing(file, RUNTIMES[file.suffix], tuple(times), control_period_ms or period_ms)
        for file, times, (_, period_ms) in zip(files, milliseconds, loaded, strict=True)
    ]


def _load(file: Path) -> tuple[Callable[[], object], float | None]:
    """Return a function that computes one action, and the control period of the file in milliseconds."""
    try:
        if file.suffix == ".onnx":
            return _load_onnx(file)
        torch.set_num_threads(1)
        policy = torch.jit.load(file)
        inputs: list[Any] = [torch.randn(1, policy.num_obs, generator=torch.Generator().manual_seed(0))]
        if hasattr(policy, "image_shapes"):
            inputs.append([torch.zeros(1, *shape) for shape in policy.image_shapes])
        return torch.inference_mode()(lambda: policy(*inputs)), None
    # the libraries raise many classes for unreadable files
    except Exception as error:
        raise ExportError(f"{file} cannot be run: {one_line(error)}") from error


def _load_onnx(file: Path) -> tuple[Callable[[], object], float | None]:
    session = open_session(file)
    inputs = session.get_inputs()
    if any(not is_count(size) or size > MAX_NUMBERS for node in inputs for size in node.shape):
        raise ValueError(f"its inputs have the shapes {[node.shape for node in inputs]}")
    sample = np.random.default_rng(0).standard_normal
    types = {onnx: name for name, onnx in ONNX_TYPES.items()}
    obs = {node.name: sample(node.shape).astype(types.get(node.type, "float32")) for node in inputs}
    period_s = json.loads(session.get_modelmeta().custom_metadata_map.get("control_period_s", "null"))
    if period_s is not None and not (is_finite(period_s) and period_s > 0.0):
        raise ValueError(f"its control period is {period_s!r:.40} s")
    return lambda: session.run(None, obs), None if period_s is None else 1e3 * period_s


def latency_figure(timings: Sequence[Timing]) -> Figure:
    """Draw the share of calls above each duration, one curve per file, and the known control periods.

    Raises:
        ImportError: If matplotlib is missing, with the install command.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise packages.missing("Drawing a picture", packages.PICTURES) from error
    figure = Figure(figsize=(7.0, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for timing in timings:
        longer = 1.0 - np.arange(len(timing.milliseconds)) / len(timing.milliseconds)
        label = f"{timing.file.parent.name}/{timing.file.name}, {timing.runtime}"
        axes.step(np.sort(timing.milliseconds), longer, where="post", label=label)
    for period in sorted({t.control_period_ms for t in timings if t.control_period_ms is not None}):
        axes.axvline(period, color="0.4", linestyle="--", linewidth=1.0, label=f"control period {period:g} ms")
    axes.axhline(0.01, color="0.8", linewidth=0.8, zorder=0)
    axes.set(xscale="log", yscale="log", xlabel="Milliseconds per action", ylabel="Share of calls that take as long")
    axes.legend(frameon=False, fontsize="small")
    axes.spines[["top", "right"]].set_visible(False)
    return figure
