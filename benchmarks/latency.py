# SPDX-License-Identifier: BSD-3-Clause
"""Time exported policies of a humanoid's size by denoising steps and precision; needs an otherwise idle machine.

python benchmarks/latency.py
"""

from __future__ import annotations

import argparse
import json
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from tensordict import TensorDict
from throughput import processor

from trudi_rsl.deploy import ExportOptions, ExportReport, export_policy
from trudi_rsl.deploy.latency import NUM_CALLS, RUNTIMES, Timing, measure
from trudi_rsl.deploy.onnx_file import Precision
from trudi_rsl.policies import ActorCritic, DiffusionActorCritic, GaussianActorCritic

OUTPUT = Path(__file__).resolve().parent / "results" / "latency.json"
NUM_OBS, NUM_ACTIONS, WIDTH = 99, 29, 512
"""Unitree G1."""
STEPS = (1, 2, 4, 8, 16)
LOW_PRECISIONS: tuple[Precision, ...] = ("fp16", "int8")
"""What the policy of 8 steps is exported in besides float32."""
GAUSSIAN = "Gaussian"


def policies() -> dict[str, ActorCritic[Any]]:
    """Return policies with random weights, which take as long as trained ones."""
    torch.manual_seed(0)
    obs = TensorDict({"policy": torch.randn(1, NUM_OBS)}, batch_size=[1])
    bound = torch.ones(NUM_ACTIONS)
    given = (obs, {"actor": ["policy"], "critic": ["policy"]}, -bound, bound)
    hidden = (WIDTH,) * 3
    made: dict[str, ActorCritic[Any]] = {
        f"N = {n}": DiffusionActorCritic(*given, num_denoise_steps=n, actor_hidden_dims=hidden) for n in STEPS
    }
    for policy in made.values():
        torch.nn.init.normal_(policy.actor.output_layer.weight, std=0.02)
    return made | {GAUSSIAN: GaussianActorCritic(*given, actor_hidden_dims=hidden)}


def exported(folder: Path) -> dict[str, ExportReport]:
    """Return what every row of the table was exported to."""
    made = policies()
    reports = {name: export_policy(policy, folder / name) for name, policy in made.items()}
    for precision in LOW_PRECISIONS:
        name = f"N = 8, {precision}"
        reports[name] = export_policy(made["N = 8"], folder / name, ExportOptions(precision=precision))
    return reports


def as_dict(timing: Timing) -> dict[str, float]:
    """Return what is stored of a file's times, in milliseconds."""
    return {"p50": timing.p50, "p99": timing.p99, "worst": timing.worst}


def main() -> None:
    """Export, time and store."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        reports = exported(Path(folder))
        # the TorchScript file of a policy in fewer bits is the one in float32
        files = [report.onnx for report in reports.values()]
        files += [report.torchscript for name, report in reports.items() if "," not in name]
        timings = measure(files, progress=True)
    runs: dict[str, dict[str, Any]] = {name: {} for name in reports}
    for timing in timings:
        runs[timing.file.parent.name][RUNTIMES[timing.file.suffix]] = as_dict(timing)
    for name, report in reports.items():
        runs[name]["parity_error"] = report.onnx_difference
    result = {
        "processor": processor(),
        "versions": {p: version(p) for p in ("torch", "onnxruntime")},
        "num_calls": NUM_CALLS,
        "shape": {"num_obs": NUM_OBS, "num_actions": NUM_ACTIONS, "width": WIDTH},
        "runs": runs,
    }
    OUTPUT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
