# SPDX-License-Identifier: BSD-3-Clause
"""Measure which of a task's behaviours trained policies show: runs from one fixed start, counted by mode.

Prints the behaviour entropy over the runs that succeed (0 bits: one mode; 1 bit: two in balance), and writes
modes.json, modes.png and modes.svg into each run folder, numbered if they exist.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from trudi_rsl import packages
from trudi_rsl.choices import MODE_RUNS
from trudi_rsl.command_line import Parser
from trudi_rsl.task_names import register_former_names


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return the flags."""
    parser = Parser(__doc__, "modes")
    parser.add_argument("checkpoints", nargs="+", metavar="RUN", help="checkpoints, run folders, experiment folders")
    parser.add_argument("--runs", type=int, default=MODE_RUNS, help=f"runs of each policy (default: {MODE_RUNS})")
    parser.add_argument("--sampler", choices=["ode", "sde"], default="ode", help="how to act (default: ode)")
    parser.add_argument("--score_scale", type=float, help="score scale c of ode, above 0 (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="seed of simulator and sampler (default: 0)")
    parser.add_argument("--device", default="cpu", help="device to compute on (default: cpu)")
    parser.add_argument("--output", type=Path, help="folder of what is written (default: the run folder of each)")
    parser.add_argument("--num_threads", type=int, help="CPU threads of torch")
    parser.add_former_names()
    return parser.parse_all(argv)


def main(argv: Sequence[str]) -> None:
    """Measure one policy after the other; print and store the results."""
    args = parse(argv)
    register_former_names(args.task_was)
    packages.require("Counting modes", packages.CORE, packages.GYMNASIUM, packages.PICTURES)
    from trudi_rsl.config.run_folder import find_checkpoints
    from trudi_rsl.evaluation.samplers import SamplerCfg
    from trudi_rsl.hosts.host import check_build

    check_build(args.device)
    sampler = SamplerCfg(args.sampler, args.score_scale)
    checkpoints = [checkpoint for named in args.checkpoints for checkpoint in find_checkpoints(named)]
    import torch
    from rich.console import Console

    from trudi_rsl.evaluation.behaviour import behaviour_table, measure_behaviour
    from trudi_rsl.evaluation.identify import read_subject
    from trudi_rsl.hosts.registry import SIMULATION
    from trudi_rsl.tasks import find_modes

    if args.num_threads:
        torch.set_num_threads(args.num_threads)
    subjects = [read_subject(checkpoint) for checkpoint in checkpoints]
    results = []
    for subject in subjects:
        modes = find_modes(subject.task)
        result = measure_behaviour(subject, modes, SIMULATION, args.runs, sampler, args.seed, args.device)
        for file in result.save(args.output or subject.checkpoint.parent):
            print(file)
        results.append(result)
    Console().print(behaviour_table(results))
