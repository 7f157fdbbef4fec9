# SPDX-License-Identifier: BSD-3-Clause
"""Time exported policies of a humanoid's size by their number of denoising steps; needs an otherwise idle machine.

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

from trudi_rsl.deploy import export_policy
from trudi_rsl.deploy.latency import NUM_CALLS, Timing, measure
from trudi_rsl.modules import ActorCritic, DiffusionActorCritic, GaussianActorCritic

OUTPUT = Path(__file__).resolve().parent / "results" / "latency.json"
NUM_OBS, NUM_ACTIONS, WIDTH = 99, 29, 512
"""Unitree G1."""
STEPS = (1, 2, 4, 8, 16)
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


def as_dict(timing: Timing) -> dict[str, float]:
    """Return what is stored of a file's times, in milliseconds."""
    return {"p50": timing.p50, "p99": timing.p99, "worst": timing.worst}


def main() -> None:
    """Export, time and store."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    torch.set_num_threads(1)
    runs = {}
    for name, policy in policies().items():
        with tempfile.TemporaryDirectory() as folder:
            report = export_policy(policy, folder)
            onnx, torchscript = measure(report.onnx), measure(report.torchscript)
        runs[name] = {
            onnx.runtime: as_dict(onnx),
            torchscript.runtime: as_dict(torchscript),
            "parity_error": max(report.onnx_difference, report.torchscript_difference),
        }
        print(f"{name}: {onnx.p50:.3f} ms, 99 % within {onnx.p99:.3f} ms")
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
