# SPDX-License-Identifier: BSD-3-Clause
"""Play a trained policy: whole episodes, their statistics, and a video if asked for.

RUN is a checkpoint, a run folder or an experiment folder; without it, --task names the task whose newest run is played.
Settings of the simulator are those of the run, for Isaac Lab and mjlab those of the task; env.name=value overrides one.
A task of Isaac Lab or mjlab also exports the policy, and without --episodes plays until Ctrl-C. With --every_checkpoint
all checkpoints of the run are evaluated, and nothing is exported.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from trudi_rsl import packages
from trudi_rsl.choices import INITIAL_LATENTS, NAMES, PLAYED_EPISODES, SAMPLERS
from trudi_rsl.command_line import Parser, is_override, one_run
from trudi_rsl.errors import ConfigError
from trudi_rsl.task_names import register_former_names


def parse(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Return the flags and the remaining arguments: overrides, and flags of the task's simulator."""
    parser = Parser(__doc__, "play", usage="%(prog)s [RUN] [flags] [env.name=value ...]")
    parser.add_argument("--task", help="task the policy was trained on (default: that of RUN)")
    parser.add_argument(
        "--algo", type=str.lower, choices=list(NAMES), help="expected algorithm of the checkpoint (default: any)"
    )
    parser.add_argument(
        "--checkpoint",
        metavar="RUN",
        help="the same as RUN, or a regular expression of file names in the run (default: the newest of the newest run "
        "of --task and --algo)",
    )
    parser.add_argument(
        "--every_checkpoint",
        action="store_true",
        help="evaluate all model_<iteration>.pt of the checkpoint's folder alike, and let best.pt there name the one "
        "with the highest mean return",
    )
    parser.add_argument("--experiment_name", help="folder of the runs to look in (default: from the task)")
    parser.add_argument("--load_run", help="regular expression of the run folder's name (default: the newest run)")
    parser.add_argument(
        "--sampler",
        choices=SAMPLERS,
        default="ode",
        help="how to act (default: ode); a Gaussian policy takes its mean with ode and samples with sde",
    )
    parser.add_argument("--score_scale", type=float, help="score scale c of ode, above 0 (default: 1)")
    parser.add_argument(
        "--initial_latent", choices=INITIAL_LATENTS, help="start of ode (default: random; zeros for dppo and fpo)"
    )
    parser.add_argument("--num_candidates", type=int, help="candidates K of best_of_k, at least 1 (default: 20)")
    parser.add_argument(
        "--episodes",
        type=int,
        help=f"episodes to run (Gymnasium and --every_checkpoint: {PLAYED_EPISODES} unless given)",
    )
    parser.add_argument("--num_envs", type=int, help="environments stepped together (default: episodes, at most 64)")
    parser.add_argument("--seed", type=int, help="seed of simulator and sampler (default: the run's)")
    parser.add_argument("--device", help="device to compute on (default: the run's if there is one, else cpu)")
    parser.add_argument("--video", action="store_true", help="also write videos/play.mp4 (or .gif) into the run folder")
    parser.add_argument("--video_length", type=int, help="longest video in steps (Gymnasium: 1000)")
    parser.add_argument("--headless", action="store_true", help="open no window; Gymnasium tasks never do")
    parser.add_argument("--num_threads", type=int, help="CPU threads of torch")
    parser.add_argument("--results", type=Path, help="JSON file to write with return, length, success of each episode")
    parser.add_former_names()
    args, rest = parser.parse_some(argv)
    args.flags = parser.flags
    args.runs = runs_among(rest)
    return args, [text for text in rest if text not in args.runs]


def runs_among(rest: Sequence[str]) -> list[str]:
    """Return the runs among unparsed arguments: neither overrides nor flags of a simulator or values of those."""
    words = [word for before, word in pairwise(["", *rest]) if not before.startswith("-") or "=" in before]
    return [word for word in words if not word.startswith("-") and not is_override(word)]


def main(argv: Sequence[str]) -> None:
    """Play in the simulator of the task."""
    args, rest = parse(argv)
    register_former_names(args.task_was, args.task)
    named = one_run(args.runs, args.checkpoint, "trudi play RUN") if args.runs else None
    if args.every_checkpoint:
        if args.video:
            raise ConfigError("--every_checkpoint records no video. Leave out --video, and record best.pt afterwards.")
        if args.results:
            raise ConfigError("--results is for the episodes of one checkpoint; leave out --every_checkpoint.")
        args.episodes = PLAYED_EPISODES if args.episodes is None else args.episodes
    packages.require("Playing a policy", packages.CORE, packages.VIDEOS if args.video else {})
    if named is not None:
        from trudi_rsl.config.run_folder import one_checkpoint

        args.checkpoint = str(one_checkpoint(named))
    if args.task is None:
        args.checkpoint, args.task = checkpoint_and_task(args.checkpoint, rest)
    from trudi_rsl.hosts import registry

    registry.play(args, rest)


def checkpoint_and_task(named: str | None, rest: Sequence[str]) -> tuple[str, str]:
    """Return the checkpoint that a path names, and its task.

    Raises:
        CheckpointError: If it names none.
        ConfigError: If nothing is named, or the task has not one of the overrides in ``rest``.
    """
    from trudi_rsl.config.run_folder import one_checkpoint, require_path

    if named is not None:
        require_path(named)
    if named is None or not Path(named).exists():  # a single name may be a regular expression, of the task's runs
        raise ConfigError("Name a checkpoint, a run folder or an experiment folder, or a task with --task.")
    from trudi_rsl.hosts.registry import check_overrides

    checkpoint = one_checkpoint(named)
    check_overrides([checkpoint], [text for text in rest if "=" in text and not text.startswith("-")])
    from trudi_rsl.evaluation.identify import read_subject

    return str(checkpoint), read_subject(checkpoint).task
