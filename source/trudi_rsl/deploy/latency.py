# SPDX-License-Identifier: BSD-3-Clause
"""How long exported policies take for one action, on one CPU thread."""

from __future__ import annotations

import json
import re
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.progress import track

from trudi_rsl.deploy.parity import ExportError
from trudi_rsl.deploy.session import open_session
from trudi_rsl.errors import one_line
from trudi_rsl.plain_values import is_count, is_finite

NUM_CALLS = 2000
TURN = 100
WARM_UP = 20
MOST_NUMBERS = 1_000_000
"""Length of an input; more are no robot's."""
MOST_CODE = 10_000_000
"""Bytes of a TorchScript program."""
FILE_FUNCTIONS = re.compile(rb"\b(save|load|from_file)\s*\(")
"""What TorchScript calls to write and read files, which no policy does."""
SUFFIXES = {".onnx": "ONNX Runtime", ".pt": "TorchScript"}
"""Exported files, and what runs them."""


@dataclass(frozen=True)
class Timing:
    """Times of single calls of one file with batch 1."""

    file: Path
    runtime: str
    milliseconds: tuple[float, ...]
    """Every call."""
    control_period_ms: float | None = None
    """Milliseconds from one action to the next, if known."""

    @property
    def p50(self) -> float:
        """Median in milliseconds."""
        return float(np.quantile(self.milliseconds, 0.5))

    @property
    def p99(self) -> float:
        """99th percentile in milliseconds."""
        return float(np.quantile(self.milliseconds, 0.99))

    @property
    def worst(self) -> float:
        """Longest call in milliseconds."""
        return max(self.milliseconds)

    @property
    def warning(self) -> str | None:
        """What to tell of a policy that is too slow for its control period, None of another."""
        if self.control_period_ms is None or self.p99 <= self.control_period_ms:
            return None
        return (
            f"{self.file}: one call in a hundred takes {self.p99:.2f} ms or more, longer than the control period of "
            f"{self.control_period_ms:.2f} ms. Export fewer denoising steps or a smaller network."
        )


def exported_files(paths: Sequence[Path]) -> list[Path]:
    """Return the exported policies that paths name.

    Args:
        paths: Files, or folders that hold some.

    Raises:
        ExportError: If one names none.
    """
    found: list[Path] = []
    for path in paths:
        files = [path] if path.is_file() else sorted(file for file in path.glob("*") if file.suffix in SUFFIXES)
        files = [file for file in files if file.suffix in SUFFIXES]
        if not files:
            raise ExportError(f"There is no exported policy ({' or '.join(SUFFIXES)}) at {path}.")
        found += files
    return found


def measure(
    files: Sequence[Path],
    num_calls: int = NUM_CALLS,
    control_period_ms: float | None = None,
    progress: bool = False,
) -> list[Timing]:
    """Time calls of exported policies.

    The files take turns of :data:`TURN` calls, each after some that are not counted, so that what else the machine does
    meets them all. torch is set to one thread, in this process and for good.

    Args:
        files: ``policy.onnx`` or ``policy.pt``.
        num_calls: Calls of each file to time, at least :data:`TURN`, and rounded up to whole turns.
        control_period_ms: Milliseconds from one action to the next; None takes what an ONNX file tells.
        progress: Show a progress bar with the time left.

    Raises:
        ExportError: If a file is no exported policy.
        ValueError: If ``num_calls`` is too small, or the period is not above 0.
    """
    if num_calls < TURN:
        raise ValueError(f"The number of calls must be at least {TURN}, got {num_calls}.")
    if control_period_ms is not None and not control_period_ms > 0.0:
        raise ValueError(f"The control period must be above 0 ms, got {control_period_ms}.")
    opened = [_open(file) for file in files]
    taken: list[list[float]] = [[] for _ in files]
    turns = range(-(-num_calls // TURN))
    for _ in track(turns, "Timing", transient=True, disable=not progress):
        for (call, _), times in zip(opened, taken, strict=True):
            for i in range(-WARM_UP, TURN):
                begin = time.perf_counter()
                call()
                if i >= 0:
                    times.append(1e3 * (time.perf_counter() - begin))
    timings = []
    for file, times, (_, told_s) in zip(files, taken, opened, strict=True):
        told_ms = None if told_s is None else 1e3 * told_s
        period = told_ms if control_period_ms is None else control_period_ms
        timings.append(Timing(file, SUFFIXES[file.suffix], tuple(times), period))
    return timings


def _open(file: Path) -> tuple[Callable[[], object], float | None]:
    """Return what takes one action, and the control period that the file tells in seconds."""
    try:
        return _onnx_call(file) if file.suffix == ".onnx" else (_torchscript_call(file), None)
    # neither library has one kind of error for a file that it cannot read
    except Exception as error:
        raise ExportError(f"{file} cannot be run: {one_line(error)}") from error


def _onnx_call(file: Path) -> tuple[Callable[[], object], float | None]:
    session = open_session(file)
    draw = np.random.default_rng(0).standard_normal
    inputs = session.get_inputs()
    if any(not is_count(size) or size > MOST_NUMBERS for node in inputs for size in node.shape):
        raise ValueError(f"its inputs have the shapes {[node.shape for node in inputs]}")
    obs = {node.name: draw(node.shape).astype(np.float32) for node in inputs}
    told = json.loads(session.get_modelmeta().custom_metadata_map.get("control_period_s", "null"))
    if told is not None and not (is_finite(told) and told > 0.0):
        raise ValueError(f"it tells a control period of {told!r:.40} s")
    return lambda: session.run(None, obs), told


def _torchscript_call(file: Path) -> Callable[[], object]:
    torch.set_num_threads(1)
    _require_no_files(file)
    policy = torch.jit.load(file)
    obs = torch.randn(1, policy.num_obs, generator=torch.Generator().manual_seed(0))

    def call() -> object:
        with torch.inference_mode():
            return policy(obs)

    return call


def _require_no_files(file: Path) -> None:
    """Refuse a TorchScript program, which loading already runs parts of, that reads or writes files."""
    with zipfile.ZipFile(file) as archive:
        code = [part for part in archive.infolist() if part.filename.endswith(".py")]
        if sum(part.file_size for part in code) > MOST_CODE:
            raise ValueError("its program is too long for a policy's")
        found = next(filter(None, (FILE_FUNCTIONS.search(archive.read(part)) for part in code)), None)
    if found is not None:
        raise ValueError(f"its program calls {found[1].decode()}, which a policy does not, and was not loaded")


try:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
except ImportError as error:
    raise ImportError('Plots need matplotlib: pip install "trudi_rsl[eval]"') from error


def latency_figure(timings: Sequence[Timing]) -> Figure:
    """Draw the share of calls that take longer than so many milliseconds, a curve for each file.

    Args:
        timings: What was measured; the control periods known are drawn too.
    """
    figure = Figure(figsize=(7.0, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for timing in timings:
        ordered = np.sort(timing.milliseconds)
        longer = 1.0 - np.arange(len(ordered)) / len(ordered)
        label = f"{timing.file.parent.name}/{timing.file.name}, {timing.runtime}"
        axes.step(ordered, longer, where="post", label=label)
    for period in sorted({t.control_period_ms for t in timings if t.control_period_ms is not None}):
        axes.axvline(period, color="0.4", linestyle="--", linewidth=1.0, label=f"control period {period:g} ms")
    axes.axhline(0.01, color="0.8", linewidth=0.8, zorder=0)
    axes.set(xscale="log", yscale="log", xlabel="Milliseconds per action", ylabel="Share of calls that take as long")
    axes.legend(frameon=False, fontsize="small")
    axes.spines[["top", "right"]].set_visible(False)
    return figure
