# SPDX-License-Identifier: BSD-3-Clause
"""Measure which behaviours the algorithms show on PlanarObstacle-v0, and draw the runs of docs/multimodality.md.

A run with a stored record is skipped; ``report.py`` writes the table.

    python benchmarks/multimodality.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from results import ROOT, Record, versions
from runs import QUICK_ITERATIONS, Job, main, settings_of, train

from trudi_rsl.config import load_params
from trudi_rsl.evaluation.behaviour import measure_behaviour
from trudi_rsl.evaluation.chains import chain_figure, chain_paths, load_diffusion_policy, reset_observation
from trudi_rsl.evaluation.identify import newest_checkpoint, read_subject
from trudi_rsl.evaluation.samplers import GAUSSIAN_POLICIES, SamplerCfg
from trudi_rsl.hosts.registry import GYMNASIUM
from trudi_rsl.tasks import find_modes

DOCS = ROOT / "docs"
SAMPLERS = {
    "ODE": SamplerCfg("ode"),
    "ODE, c = 0.5": SamplerCfg("ode", score_scale=0.5),
    "SDE": SamplerCfg("sde"),
}
"""Only policies with a score have a score scale c."""
GAUSSIAN_SAMPLERS = {"mean": SamplerCfg("ode"), "sample": SamplerCfg("sde")}
PICTURED_SEED = 1
PICTURED = {("trudi", "preset"): "trudi", ("trudi", "alpha from 0.01"): "trudi_alpha", ("reppo", "preset"): "reppo"}
"""Algorithm and variant of the runs that are drawn, and the suffix of their picture."""
NUM_CHAINS = 4000


def samplers_of(algo: str) -> dict[str, SamplerCfg]:
    """Return the samplers of an algorithm's policies."""
    if algo in GAUSSIAN_POLICIES:
        return GAUSSIAN_SAMPLERS
    return {name: cfg for name, cfg in SAMPLERS.items() if algo in ("trudi", "dime") or cfg.score_scale is None}


def measure(job: Job) -> Record:
    """Train one run and return its behaviour with each sampler of its policy."""
    with tempfile.TemporaryDirectory() as folder:
        run, seconds = train(job.command("agent.evaluation_episodes=null"), Path(folder))
        checkpoint, params = newest_checkpoint(run), load_params(run)
        subject, modes = read_subject(checkpoint), find_modes(job.task)
        found = {
            name: measure_behaviour(subject, modes, GYMNASIUM, sampler=cfg, progress=False)
            for name, cfg in samplers_of(job.algo).items()
        }
        picture = PICTURED.get((job.algo, job.variant)) if job.seed == PICTURED_SEED else None
        if picture and job.iterations != QUICK_ITERATIONS:
            next(iter(found.values())).figure().savefig(DOCS / f"modes_{picture}.png", dpi=130)
            if picture == "trudi":
                draw_chain(checkpoint, job.task, DOCS / "chain.png")
    return {
        **job.record(),
        "config": settings_of(params),
        "env_steps": params.agent.max_iterations * params.agent.num_steps_per_env * params.env.num_envs,
        "wall_clock_s": round(seconds, 1),
        "behaviour": {
            name: {key: value for key, value in of.behaviour.to_dict().items() if key != "runs"}
            for name, of in found.items()
        },
        "versions": versions("torch", "rsl-rl-lib", "gymnasium"),
    }


def draw_chain(checkpoint: Path, task: str, picture: Path) -> None:
    """Draw the denoising chains at the fixed start."""
    actor_critic, spec = load_diffusion_policy(checkpoint)
    obs = reset_observation(checkpoint, actor_critic, spec, GYMNASIUM, 0, ["env.env_kwargs.fixed_start=true"])
    torch.manual_seed(0)
    chain_figure(chain_paths(actor_critic, obs, NUM_CHAINS), [0, 1], f"{task}, fixed start").savefig(picture, dpi=130)


if __name__ == "__main__":
    main(__doc__, {"multimodality": measure})
