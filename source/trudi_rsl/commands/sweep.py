# SPDX-License-Identifier: BSD-3-Clause
"""Train and evaluate all runs of an experiment file, and report them: algorithms x tasks x seeds x variants.

Everything is checked before anything runs. Finished runs are not repeated, so that an interrupted sweep continues, and
an enlarged one runs only what is new. A failing run is reported and does not stop the others.
name=value overrides a setting of all runs; the file's variants take precedence over it.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from trudi_rsl import packages
from trudi_rsl.choices import LAUNCHERS
from trudi_rsl.command_line import Parser
from trudi_rsl.errors import ConfigError

if TYPE_CHECKING:
    from trudi_rsl.experiments.experiment import Experiment

INTERRUPTED = 130


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return the flags."""
    parser = Parser(__doc__, "sweep")
    parser.add_argument("experiment", help="a YAML file, or the name of one in configs/experiment")
    parser.add_argument("overrides", nargs="*", metavar="name=value", help="settings of all runs")
    parser.add_argument("--algorithms", nargs="+", type=str.lower, help="replaces the file's list")
    parser.add_argument("--tasks", nargs="+", help="replaces the file's list")
    parser.add_argument("--seeds", nargs="+", type=int, help="replaces the file's list")
    parser.add_argument("--name", help="folder of the runs below logs/rsl_rl (default: the file's name)")
    parser.add_argument("--workers", type=int, default=1, help="runs at the same time, one thread each (default: 1)")
    parser.add_argument("--launcher", choices=LAUNCHERS, default="local", help="where to run (default: local)")
    parser.add_argument(
        "--launcher_options", nargs="+", default=[], metavar="KEY=VALUE", help="for Slurm, as timeout_min=240"
    )
    parser.add_argument("--dry_run", action="store_true", help="check; print how many runs and hours, train nothing")
    parser.add_argument("--list", action="store_true", help="with --dry_run: also print the command of every run")
    args = parser.parse_all(argv)
    if args.list and not args.dry_run:
        parser.error("--list is for --dry_run")
    return args


def main(argv: Sequence[str]) -> int:
    """Run a sweep.

    Returns:
        0; 1 if a run failed; 130 if interrupted.
    """
    args = parse(argv)
    packages.require("A sweep", packages.CORE, packages.SWEEP, packages.PICTURES)
    try:
        return sweep(args, argv)
    except KeyboardInterrupt:
        print("Interrupted. The same command continues; runs that were under way start again.", file=sys.stderr)
        return INTERRUPTED


def sweep(args: argparse.Namespace, argv: Sequence[str]) -> int:
    """Check, run and report; return 1 if a run is broken."""
    from trudi_rsl.experiments.experiment import plan, try_tasks

    experiment = experiment_of(args)
    options = launcher_options(args.launcher_options)
    jobs = plan(experiment, args.overrides)
    print(f"{experiment.name}: {len(jobs)} runs in {jobs[0].folder.parent}", flush=True)
    # the nodes of a cluster may have a GPU that this machine does not have
    device = None if args.launcher == "local" and not args.dry_run else "cpu"
    problem = None
    try:
        try_tasks(jobs, device)
    except ImportError as error:
        if not args.dry_run:
            raise
        problem = error
    from trudi_rsl.experiments.hours import describe, expectations
    from trudi_rsl.experiments.report import write_report
    from trudi_rsl.experiments.sweep import missing, run

    to_run = jobs if problem else missing(jobs)
    hours = describe(experiment, expectations(experiment, jobs, to_run))
    print("\n".join((summary(experiment, len(jobs) - len(to_run), len(to_run)), *hours)), flush=True)
    if args.dry_run:
        if problem:
            print(f"Not here: {problem}")
        if args.list:
            names = {job.name for job in to_run}
            for job in jobs:
                state = "to run" if job.name in names else "finished"
                print(f"[{state}] {shlex.join(['trudi', 'train', *job.arguments])}")
        else:
            print("--list prints the command of every run.")
        return 0
    begin = time.time()
    job_command = [sys.executable, "-m", "trudi_rsl.commands.job"]
    outcome = run(jobs, job_command, args.launcher, args.workers, options)
    command = ["trudi", "sweep", *argv]
    print(f"Report: {write_report(experiment, jobs, outcome, command, time.time() - begin)}")
    for name, reason in outcome.broken.items():
        print(f"Broken: {name}: {reason}", file=sys.stderr)
    return 1 if outcome.broken else 0


def summary(experiment: Experiment, finished: int, to_run: int) -> str:
    """Return a line: what is multiplied to runs, and how many are left."""
    lists = {"algorithms": experiment.algorithms, "tasks": experiment.tasks, "seeds": experiment.seeds}
    product = " x ".join(f"{len(values)} {name if len(values) > 1 else name[:-1]}" for name, values in lists.items())
    variants = f" x {len(experiment.variants)} variants" if len(experiment.variants) > 1 else ""
    return f"{product}{variants}: {to_run} to run, {finished} finished"


def experiment_of(args: argparse.Namespace) -> Experiment:
    """Return the content of the experiment file, with the entries that flags replace."""
    from trudi_rsl.experiments.experiment import load_experiment

    experiment = load_experiment(args.experiment)
    for name in ("algorithms", "tasks", "seeds", "name"):
        if getattr(args, name) is not None:
            setattr(experiment, name, getattr(args, name))
    return experiment


def launcher_options(texts: Sequence[str]) -> dict[str, Any]:
    """Return ``KEY=VALUE`` texts as a mapping, values read as YAML."""
    from trudi_rsl.config.yaml_file import parse_yaml

    options = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"Cannot read {text!r} as a launcher option; write KEY=VALUE.")
        options[key] = parse_yaml(value, text)
    return options
