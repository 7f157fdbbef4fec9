# SPDX-License-Identifier: BSD-3-Clause
"""Make the policies that come with the package, ``source/trudi_rsl/pretrained``, and record how.

    python benchmarks/pretrained.py                            # minutes each, on one thread
    python benchmarks/pretrained.py --policies halfcheetah
    python benchmarks/pretrained.py --policies                 # only the pictures of docs/multimodality.md

Each is the last checkpoint of a training with the task's preset, released and exported. HalfCheetah-v5's seed is the
first; PlanarObstacle-v0's is the one of five whose policy passes both sides most evenly (docs/multimodality.md).
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from datetime import date
from pathlib import Path

import torch
from results import ROOT, Record
from runs import train

from trudi_rsl import __version__
from trudi_rsl.checkpoints.file import read_checkpoint, write_checkpoint
from trudi_rsl.checkpoints.release import release
from trudi_rsl.choices import MODE_RUNS
from trudi_rsl.config import load_params
from trudi_rsl.config.run_folder import newest_checkpoint
from trudi_rsl.deploy import ExportOptions, export_checkpoint
from trudi_rsl.deploy.provenance import commit
from trudi_rsl.evaluation.behaviour import measure_behaviour
from trudi_rsl.evaluation.chains import chain_figure, chain_paths, load_diffusion_policy, reset_observation
from trudi_rsl.evaluation.deployed import DeployedPolicy, deployed_behaviour
from trudi_rsl.evaluation.episodes import evaluate
from trudi_rsl.evaluation.identify import load_run_settings, read_subject
from trudi_rsl.hosts.registry import SIMULATION
from trudi_rsl.pretrained import FOLDER, NAMES, PROVENANCE
from trudi_rsl.tasks import find_modes

TRAINED: dict[str, tuple[str, int]] = dict(zip(NAMES, (("PlanarObstacle-v0", 4), ("HalfCheetah-v5", 1)), strict=True))
"""Task and seed of each policy."""
MULTIMODAL = NAMES[0]
EPISODES, SEED = 50, 1000
NUM_CHAINS = 4000


def make(name: str) -> Record:
    """Train one policy, write its files, and return its entry of the provenance."""
    task, seed = TRAINED[name]
    flags = ["train", "--task", task, "--seed", str(seed), "--device", "cpu"]
    trained_at = commit() or ""  # before this changes the checkout
    with tempfile.TemporaryDirectory() as folder:
        run, _ = train([sys.executable, str(ROOT / "scripts" / f"{flags[0]}.py"), *flags[1:]], Path(folder))
        trained, params = newest_checkpoint(run), load_params(run)
        content = read_checkpoint(trained)
        checkpoint, onnx = FOLDER / f"{name}.pt", FOLDER / f"{name}.onnx"
        write_checkpoint(release(content), checkpoint)
        report = export_checkpoint(checkpoint, run / "exported", ExportOptions(latent_input=name == MULTIMODAL))
        shutil.copyfile(report.latent_onnx or report.onnx, onnx)
    iterations = content["iter"] + 1
    return {
        "task": task,
        "command": " ".join(["trudi", *flags]),
        "seed": seed,
        "iteration": content["iter"],
        "env_steps": iterations * params.agent.num_steps_per_env * params.env.num_envs,
        "date": date.today().isoformat(),
        "version": __version__,
        "commit": trained_at,
        **measure(name, checkpoint, onnx),
    }


def measure(name: str, checkpoint: Path, onnx: Path) -> Record:
    """Return the returns of an exported policy as `trudi demo` runs it."""
    subject = read_subject(checkpoint)
    if name == MULTIMODAL:
        found = deployed_behaviour(subject, onnx, find_modes(subject.task), SIMULATION, MODE_RUNS, SEED).behaviour
        returns, counts = found.returns.tolist(), found.counts
    else:
        host = SIMULATION.find_host(subject.task)
        cfg = load_run_settings(checkpoint, subject.task, subject.algorithm, ["env.num_envs=1"], host)
        env = SIMULATION.make_ending(subject.task, cfg.env, "cpu", SEED)
        returns, counts = evaluate(env, DeployedPolicy(onnx, SEED), EPISODES).returns.tolist(), {}
    return {
        "episodes": len(returns),
        "return_mean": round(statistics.mean(returns), 3),
        "return_std": round(statistics.stdev(returns), 3),
        "behaviours": counts,
    }


def draw(checkpoint: Path) -> None:
    """Draw the behaviours of the multimodal task's policy, and its denoising chains at the fixed start."""
    subject = read_subject(checkpoint)
    found = measure_behaviour(subject, find_modes(subject.task), SIMULATION, progress=False)
    found.figure().savefig(ROOT / "docs" / "modes_trudi.png", dpi=130)
    actor_critic, spec = load_diffusion_policy(checkpoint)
    obs = reset_observation(checkpoint, actor_critic, spec, SIMULATION, 0, ["env.env_kwargs.fixed_start=true"])
    torch.manual_seed(0)
    figure = chain_figure(chain_paths(actor_critic, obs, NUM_CHAINS), [0, 1], f"{subject.task}, fixed start")
    figure.savefig(ROOT / "docs" / "chain.png", dpi=130)


def main() -> None:
    """Make the chosen policies, in place of earlier ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policies", nargs="*", choices=NAMES, default=NAMES)
    file = FOLDER / PROVENANCE
    for name in parser.parse_args().policies:
        entries = json.loads(file.read_text()) if file.exists() else {}
        entries[name] = make(name)
        file.write_text(json.dumps({known: entries[known] for known in NAMES if known in entries}, indent=1) + "\n")
    draw(FOLDER / f"{MULTIMODAL}.pt")


if __name__ == "__main__":
    main()
