# SPDX-License-Identifier: BSD-3-Clause
"""Seconds that the evaluation of a checkpoint takes, and the iterations between two, for each algorithm on one thread.

    python benchmarks/evaluation_cost.py

Writes ``benchmarks/results/evaluation_cost.json``. Run it on an otherwise idle machine.
"""

from __future__ import annotations

import contextlib
import io
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from jobs import ALGORITHMS
from rich.progress import track
from throughput import TASK, processor, training

from trudi_rsl.runners.evaluation import CheckpointEvaluation

OUTPUT = Path(__file__).resolve().parent / "results" / "evaluation_cost.json"
WARM_UP, ITERATIONS, EVALUATIONS = 2, 5, 3


def seconds_of(work: Callable[[], Any], times: int) -> float:
    """Return the median seconds of something that is done several times."""
    spans = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        spans.append(time.perf_counter() - start)
    return statistics.median(spans)


def measure(algo: str) -> dict[str, float]:
    """Return the medians for one algorithm."""
    runner, cfg = training(TASK, algo, {"agent.seed": 1, "agent.device": "cpu"})
    with contextlib.redirect_stdout(io.StringIO()):
        runner.learn(WARM_UP, init_at_random_ep_len=True)
        iteration = seconds_of(lambda: runner.learn(1), ITERATIONS)
        evaluation = CheckpointEvaluation(runner.evaluation_env, cfg.agent.evaluation_episodes, stopped=lambda: False)
        seconds = seconds_of(lambda: evaluation.evaluate(runner), EVALUATIONS)
        evaluation.close()
    return {
        "episodes": cfg.agent.evaluation_episodes,
        "save_interval": cfg.agent.save_interval,
        "evaluation_s": seconds,
        "iteration_s": iteration,
    }


def main() -> None:
    """Measure all algorithms."""
    torch.set_num_threads(1)
    runs = {algo: measure(algo) for algo in track(ALGORITHMS, "algorithms")}
    OUTPUT.write_text(json.dumps({"task": TASK, "processor": processor(), "runs": runs}, indent=1) + "\n")


if __name__ == "__main__":
    main()
