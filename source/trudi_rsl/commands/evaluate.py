# SPDX-License-Identifier: BSD-3-Clause
"""Evaluate many checkpoints side by side: fresh episodes, and statistics over seeds and tasks with intervals.

RUN is a checkpoint, a run folder (its newest checkpoint), a folder above run folders, or a pattern of those in quotes.
Runs of one algorithm are the seeds of one group; NAME=RUN names a group. env.name=value overrides a setting of the
simulator. Evaluations with the same options are stored and not repeated.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from trudi_rsl import packages
from trudi_rsl.choices import EVALUATION_SEED, INITIAL_LATENTS, SAMPLERS
from trudi_rsl.command_line import Parser, is_override, require_new
from trudi_rsl.task_names import register_former_names


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return the flags; ``overrides`` are those of the simulator."""
    parser = Parser(__doc__, "evaluate")
    parser.add_argument("paths", nargs="*", metavar="[NAME=]RUN", help="what to evaluate, and env.name=value")
    parser.add_argument("--sampler", nargs="*", choices=SAMPLERS, default=["ode"], help="how to act (default: ode)")
    parser.add_argument(
        "--score_scale", nargs="*", type=float, default=[1.0], help="score scales c of ode, above 0 (default: 1)"
    )
    parser.add_argument(
        "--num_candidates",
        nargs="*",
        type=int,
        default=[20],
        help="candidates K of best_of_k, at least 1 (default: 20)",
    )
    parser.add_argument(
        "--initial_latent",
        nargs="*",
        choices=INITIAL_LATENTS,
        default=[None],
        help="starts of ode (default: the policy's own)",
    )
    parser.add_argument("--episodes", type=int, default=32, help="episodes per checkpoint and sampler (default: 32)")
    parser.add_argument("--num_envs", type=int, help="environments stepped together (default: episodes, at most 64)")
    parser.add_argument(
        "--seed",
        type=int,
        default=EVALUATION_SEED,
        help=f"seed of simulators and samplers (default: {EVALUATION_SEED})",
    )
    parser.add_argument("--device", default="cpu", help="device to compute on (default: cpu)")
    parser.add_argument("--num_threads", type=int, help="CPU threads of torch (default: the run's)")
    parser.add_argument("--metric", choices=["return", "success"], default="return", help="what to compare")
    parser.add_argument(
        "--normalize", nargs="*", default=[], metavar="TASK=low,high", help="returns of a task that count as 0 and 1"
    )
    parser.add_argument("--reference", type=Path, help="YAML or JSON file of TASK: [low, high]")
    parser.add_argument("--by_task", "--by-task", action="store_true", help="statistics of each task alone")
    parser.add_argument("--output", type=Path, help="folder of the results (default: logs/evaluation/<timestamp>)")
    parser.add_former_names()
    args = parser.parse_all(argv)
    args.overrides = [text for text in args.paths if text.lstrip("+").startswith("env.") and is_override(text)]
    args.paths = [text for text in args.paths if text not in args.overrides]
    return args


def main(argv: Sequence[str]) -> None:
    """Check everything, run what is missing, compare, and write."""
    args = parse(argv)
    register_former_names(args.task_was)
    packages.require("Evaluating", packages.CORE, packages.PICTURES)
    from trudi_rsl.config.run_folder import named_checkpoints
    from trudi_rsl.evaluation.comparison import compare, read_ranges, require_ranges
    from trudi_rsl.evaluation.samplers import EvaluationCfg, expand_samplers, supported_samplers
    from trudi_rsl.evaluation.seeds import refuse_repeated_seeds
    from trudi_rsl.hosts.host import check_build
    from trudi_rsl.hosts.registry import check_overrides

    samplers = expand_samplers(args.sampler, args.score_scale, args.num_candidates, args.initial_latent)
    cfg = EvaluationCfg(args.episodes, args.num_envs, args.seed, args.device, args.num_threads, tuple(args.overrides))
    check_build(args.device)
    ranges = read_ranges(args.normalize, args.reference)
    output = args.output or Path("logs", "evaluation", datetime.now().strftime("%Y-%m-%d_%H-%M-%S"))
    checkpoints = named_checkpoints(args.paths)
    refuse_repeated_seeds(checkpoints)
    check_overrides((checkpoint for _, checkpoint in checkpoints), args.overrides)

    # torch and the simulators are imported from here on
    from rich.console import Console

    from trudi_rsl.deploy.provenance import commit, versions
    from trudi_rsl.evaluation.identify import describe_mixtures, read_subjects
    from trudi_rsl.evaluation.measurement import Evaluation, measure_all
    from trudi_rsl.evaluation.tables import FILES, printed_tables, write_comparison
    from trudi_rsl.hosts.registry import SIMULATION

    require_new(*(output / name for name in FILES))
    subjects = read_subjects(checkpoints)
    if not args.by_task and args.metric == "return":
        require_ranges((subject.task for subject in subjects), ranges)
    chosen = [supported_samplers(samplers, subject.algorithm) for subject in subjects]
    evaluations = [
        Evaluation(subject, sampler, cfg, SIMULATION)
        for subject, (supported, _) in zip(subjects, chosen, strict=True)
        for sampler in supported
    ]

    measurements = measure_all(evaluations)
    comparison = compare(measurements, ranges, args.by_task, args.metric)
    comparison.notes.extend(describe_mixtures(subjects))
    comparison.notes.extend(dict.fromkeys(reason for _, reasons in chosen for reason in reasons))
    about = {
        "options": {name: str(value) if isinstance(value, Path) else value for name, value in vars(args).items()},
        "versions": versions(),
        "commit": commit(),
    }
    output.mkdir(parents=True, exist_ok=True)
    write_comparison(comparison, measurements, output, about)
    console = Console()
    for table in printed_tables(comparison):
        console.print(table)
    for note in comparison.notes:
        console.print(f"- {note}", markup=False, highlight=False)
    print(f"Results: {output}")
