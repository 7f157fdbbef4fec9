# SPDX-License-Identifier: BSD-3-Clause
"""Measure which behaviours the algorithms show on PlanarObstacle-v0, and write the results of docs/multimodality.md.

Trains with the presets as a user does, one JSON file for each run in ``benchmarks/results/multimodality``. A run whose
file exists is not repeated.

    python benchmarks/multimodality.py
    python benchmarks/multimodality.py --subjects trudi reppo
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from host_runs import measure_missing, train
from jobs import FIVE_SEEDS
from learning import measured_config
from report import NAMES, table

from trudi_rsl.config import load_params
from trudi_rsl.evaluation.behaviour import NUM_RUNS, measure_behaviour
from trudi_rsl.evaluation.chains import chain_figure, chain_paths, load_diffusion_policy, reset_observation
from trudi_rsl.evaluation.identify import newest_checkpoint, read_subject
from trudi_rsl.evaluation.samplers import GAUSSIAN_POLICIES, SamplerCfg
from trudi_rsl.hosts.registry import GYMNASIUM
from trudi_rsl.tasks import find_modes

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "multimodality"
DOCS = ROOT / "docs"
START = "<!-- results: written by benchmarks/multimodality.py -->"
END = "<!-- end of results -->"
TASK = "PlanarObstacle-v0"


@dataclass(frozen=True)
class Subject:
    """One row of the table."""

    name: str
    algo: str
    seeds: range
    overrides: tuple[str, ...] = ()


SUBJECTS = {algo: Subject(name, algo, range(1, 6 if algo in FIVE_SEEDS else 4)) for algo, name in NAMES.items()}
SUBJECTS["trudi_alpha"] = Subject("TruDi, alpha from 0.01", "trudi", range(1, 6), ("agent.algorithm.init_alpha=0.01",))
"""What is trained, by the name of its files."""
SAMPLERS = {
    "ODE": SamplerCfg("ode"),
    "ODE, c = 0.5": SamplerCfg("ode", score_scale=0.5),
    "SDE": SamplerCfg("sde"),
}
"""How policies act; only those with a score have a score scale c."""
GAUSSIANS_SAMPLERS = {"mean": SamplerCfg("ode"), "sample": SamplerCfg("sde")}
PICTURED_SEED = 1
PICTURED = ("trudi", "trudi_alpha", "reppo")
"""Whose runs are drawn, those of one seed."""
NUM_CHAINS = 4000


def samplers_of(algo: str) -> dict[str, SamplerCfg]:
    """Return the ways in which an algorithm's policies act."""
    if algo in GAUSSIAN_POLICIES:
        return GAUSSIANS_SAMPLERS
    return {name: cfg for name, cfg in SAMPLERS.items() if algo in ("trudi", "dime") or cfg.score_scale is None}


def measure_run(run: tuple[str, int]) -> dict[str, Any]:
    """Train one run and return its behaviour under each sampler that its policy has."""
    name, seed = run
    subject = SUBJECTS[name]
    with tempfile.TemporaryDirectory() as folder:
        flags = ["--task", TASK, "--algo", subject.algo, "--seed", str(seed), "--device", "cpu", "--headless"]
        flags += ["agent.evaluation_episodes=null", *subject.overrides]
        command = [sys.executable, str(ROOT / "scripts" / "train.py"), *flags]
        trained, seconds = train(command, Path(folder))
        checkpoint, params = newest_checkpoint(trained), load_params(trained)
        policy, modes = read_subject(checkpoint), find_modes(TASK)
        measurements = {
            sampler: measure_behaviour(policy, modes, GYMNASIUM, sampler=cfg, progress=False)
            for sampler, cfg in samplers_of(subject.algo).items()
        }
        if seed == PICTURED_SEED and name in PICTURED:
            next(iter(measurements.values())).figure().savefig(DOCS / f"modes_{name}.png", dpi=130)
        if seed == PICTURED_SEED and name == "trudi":
            draw_chain(checkpoint, DOCS / "chain.png")
    return {
        "task": TASK,
        "subject": name,
        "algo": subject.algo,
        "overrides": list(subject.overrides),
        "seed": seed,
        "config": measured_config(params),
        "env_steps": params.agent.max_iterations * params.agent.num_steps_per_env * params.env.num_envs,
        "wall_clock_s": round(seconds, 1),
        "behaviour": {sampler: m.behaviour.to_dict() for sampler, m in measurements.items()},
        "versions": {p: version(p) for p in ("torch", "rsl-rl-lib", "gymnasium")},
    }


def draw_chain(checkpoint: Path, picture: Path) -> None:
    """Draw the chains at the fixed start."""
    actor_critic, spec = load_diffusion_policy(checkpoint)
    obs = reset_observation(checkpoint, actor_critic, spec, GYMNASIUM, 0, ["env.env_kwargs.fixed_start=true"])
    torch.manual_seed(0)
    chain_figure(chain_paths(actor_critic, obs, NUM_CHAINS), [0, 1], f"{TASK}, fixed start").savefig(picture, dpi=130)


def results_table(records: list[dict[str, Any]]) -> str:
    """Return the table of the stored runs, a row for each algorithm and sampler."""
    rows = []
    for name, subject in SUBJECTS.items():
        runs = [record for record in records if record["subject"] == name]
        for sampler in samplers_of(subject.algo) if runs else ():
            seen = [run["behaviour"][sampler] for run in runs]
            entropies = [of["behaviour_entropy_bits"] for of in seen]
            rows.append(
                [
                    subject.name,
                    sampler,
                    f"{statistics.median(of['return_mean'] for of in seen):.2f}",
                    f"{statistics.mean(1.0 - of['failures'] / of['num_runs'] for of in seen):.1%}",
                    f"**{statistics.median(e or 0.0 for e in entropies):.2f}**",
                    ", ".join("-" if e is None else f"{e:.2f}" for e in entropies),
                    ", ".join(str(run["seed"]) for run in runs),
                ]
            )
    return table(["algorithm", "sampler", "return (median)", "success", "H (median)", "H by seed", "seeds"], rows)


def write_results(records: list[dict[str, Any]], page: Path) -> None:
    """Put the table between the markers of a page."""
    head, _, rest = page.read_text(encoding="utf-8").partition(START)
    _, _, tail = rest.partition(END)
    steps = {record["env_steps"] for record in records}
    about = f"{max(steps) // 1000}k environment steps, {NUM_RUNS} runs from the fixed start each."
    page.write_text(f"{head}{START}\n{about}\n\n{results_table(records)}\n{END}{tail}", encoding="utf-8")


def main() -> None:
    """Measure what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subjects", nargs="+", choices=SUBJECTS, default=list(SUBJECTS), help="what to measure")
    chosen = parser.parse_args().subjects
    files = {(name, seed): RESULTS / f"{name}_seed{seed}.json" for name in SUBJECTS for seed in SUBJECTS[name].seeds}
    torch.set_num_threads(1)
    measure_missing({run: file for run, file in files.items() if run[0] in chosen}, measure_run)
    records = [json.loads(file.read_text()) for file in files.values() if file.exists()]
    write_results(records, DOCS / "multimodality.md")


if __name__ == "__main__":
    main()
