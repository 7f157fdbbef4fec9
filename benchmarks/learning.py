# SPDX-License-Identifier: BSD-3-Clause
"""Train and evaluate the runs behind the learning tables, as ``plan.yaml`` lists them.

Every run is the command that a user would type, on one thread. A run with a stored record is skipped, so an interrupted
benchmark continues.

    python benchmarks/learning.py --tables learning/halfcheetah learning/tasks --workers 2
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from results import Record, versions
from runs import LOGGED, Job, learning_curve, main, settings_of, train

from trudi_rsl.config import load_params
from trudi_rsl.config.event_file import read_run
from trudi_rsl.evaluation.identify import newest_checkpoint, read_subject
from trudi_rsl.evaluation.measurement import Evaluation, EvaluationCfg
from trudi_rsl.evaluation.samplers import GAUSSIAN_POLICIES, SamplerCfg
from trudi_rsl.hosts.registry import GYMNASIUM

TABLES = ("halfcheetah", "tasks", "ablation", "chains", "gradients", "amortised", "steps", "eps", "wallclock")
TABLES += ("long", "cost")
EVALUATION_EPISODES, EVALUATION_SEED = 32, 1000
EXPORTED = "ode_from_zeros"
"""The sampler that exported policies use."""
SAMPLERS = {
    "sde": SamplerCfg("sde"),
    "ode": SamplerCfg("ode", initial_latent="random"),
    EXPORTED: SamplerCfg("ode", initial_latent="zeros"),
}
GAUSSIAN_SAMPLERS = {"sde": SamplerCfg("sde"), EXPORTED: SamplerCfg("ode")}
"""A Gaussian's sample and mean, under the names of their counterparts."""


def evaluate_run(run: Path) -> dict[str, list[float]]:
    """Return the episode returns of the trained policy with each of its samplers."""
    subject, cfg = read_subject(newest_checkpoint(run)), EvaluationCfg(EVALUATION_EPISODES, seed=EVALUATION_SEED)
    samplers = GAUSSIAN_SAMPLERS if subject.algorithm in GAUSSIAN_POLICIES else SAMPLERS
    return {name: Evaluation(subject, sampler, cfg, GYMNASIUM).run().returns for name, sampler in samplers.items()}


def measure(job: Job) -> Record:
    """Train and evaluate one run and return its record."""
    with tempfile.TemporaryDirectory() as folder:
        run, seconds = train(job.command("agent.evaluation_episodes=null"), Path(folder))
        log = read_run(run, LOGGED)
        clipped = log.scalars.get("Loss/clipped_targets")
        curve = learning_curve(log)
        if job.variant != "2 threads":
            # these runs share the machine, so their times do not compare
            del curve["seconds"]
        return {
            **job.record(),
            "config": settings_of(load_params(run)),
            **curve,
            "mean": {tag: float(values.mean()) for tag, (_, values) in sorted(log.scalars.items())},
            "clipped_targets_max": None if clipped is None else float(clipped[1].max()),
            "wall_clock_s": round(seconds, 1),
            "evaluation": evaluate_run(run),
            "versions": versions(),
        }


if __name__ == "__main__":
    main(__doc__, {f"learning/{table}": measure for table in TABLES}, workers=2)
