# SPDX-License-Identifier: BSD-3-Clause
"""Drive HalfCheetah in plain MuJoCo by exported policies, and compare with the evaluation in the training simulator.

Trains TruDi with its preset, evaluates it by ``scripts/evaluate.py``'s code, exports it, and runs the ONNX file by the
runtime without PyTorch. One JSON file for each seed in ``benchmarks/results/sim_to_sim``.

    python benchmarks/sim_to_sim.py --seeds 1 2 3
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from host_runs import measure_missing, train
from plain_mujoco import EPISODE_STEPS, PlainCheetah

from trudi_rsl.deploy import Policy, export_checkpoint
from trudi_rsl.evaluation.identify import newest_checkpoint, read_subject
from trudi_rsl.evaluation.measurement import Evaluation, EvaluationCfg
from trudi_rsl.evaluation.samplers import SamplerCfg
from trudi_rsl.hosts.registry import GYMNASIUM

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "sim_to_sim"
TASK = "HalfCheetah-v5"
EPISODES = 32
SEED = 1000


def measure(seed: int) -> dict[str, Any]:
    """Train one policy and return its returns in both simulators."""
    command = [sys.executable, str(ROOT / "scripts" / "train.py"), "--task", TASK, "--algo", "trudi"]
    with tempfile.TemporaryDirectory() as folder:
        run, _ = train([*command, "--seed", str(seed), "--device", "cpu", "--headless"], Path(folder))
        checkpoint = newest_checkpoint(run)
        cfg = EvaluationCfg(EPISODES, seed=SEED)
        sampler = SamplerCfg("ode", initial_latent="zeros")
        trained = Evaluation(read_subject(checkpoint), sampler, cfg, GYMNASIUM).run().returns
        policy = Policy(export_checkpoint(checkpoint).onnx)
        generator = np.random.default_rng(SEED)
        plain = [episode_return(policy, PlainCheetah.at_random(generator)) for _ in range(EPISODES)]
    return {
        "task": TASK,
        "seed": seed,
        "training_simulator": trained,
        "plain_mujoco": plain,
        "num_clipped": policy.num_clipped,
        "versions": {package: version(package) for package in ("torch", "onnxruntime", "mujoco", "gymnasium")},
    }


def episode_return(policy: Policy, robot: PlainCheetah) -> float:
    """Run one episode and return the sum of its rewards."""
    policy.reset()
    return float(sum(robot.write(policy(robot.read())) for _ in range(EPISODE_STEPS)))


def main() -> None:
    """Measure what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    torch.set_num_threads(1)
    measure_missing({seed: RESULTS / f"{TASK}_seed{seed}.json" for seed in parser.parse_args().seeds}, measure)


if __name__ == "__main__":
    main()
