# SPDX-License-Identifier: BSD-3-Clause
"""Train TruDi, one of its relatives or RSL-RL's PPO on a task of any host; `trudi tasks` lists them.

Settings are overridden as in Isaac Lab: agent.algorithm.kl_bound=0.2 env.scene.num_envs=128 (Gymnasium: env.num_envs).
Presets are weaker than flags, flags weaker than overrides. The resolved settings are saved in the run folder's params/
and in every checkpoint, from which a resume takes them.
Tasks of Isaac Lab also accept Isaac Lab's flags, such as --viz or --enable_cameras.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from trudi_rsl import packages
from trudi_rsl.choices import LOGGERS
from trudi_rsl.command_line import Parser
from trudi_rsl.distributed import check_launch
from trudi_rsl.task_names import register_former_names


def parse(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Return the flags and the remaining arguments: overrides, and flags of the task's simulator."""
    parser = Parser(__doc__, "train", usage="%(prog)s --task TASK [flags] [name=value ...]")
    parser.add_argument("--task", required=True, help="task name such as Isaac-Velocity-Rough-G1-v0 or HalfCheetah-v5")
    algorithms = "trudi, reppo, dime, ppo, spo, dppo or fpo (default: trudi)"
    parser.add_argument("--algo", type=str.lower, default="trudi", help=algorithms)
    parser.add_argument("--num_envs", type=int, help="parallel environments")
    parser.add_argument("--max_iterations", type=int, help="iterations in total, those before a resume included")
    parser.add_argument("--more_iterations", type=int, help="with --resume: iterations to add to the checkpoint's")
    parser.add_argument("--seed", type=int, help="seed of the simulator and of all random generators")
    parser.add_argument("--device", help="training device such as cpu or cuda:0")
    parser.add_argument("--num_threads", type=int, help="CPU threads of torch")
    parser.add_argument("--experiment_name", help="folder of the task's runs (default: from the task)")
    parser.add_argument("--run_name", help="suffix of the run folder's name")
    parser.add_argument(
        "--resume",
        action="store_true",
        default=None,
        help="continue a run in a new folder, with its settings unless others are given",
    )
    parser.add_argument("--load_run", help="with --resume: regular expression of the run (default: the latest)")
    parser.add_argument(
        "--checkpoint",
        help="checkpoint, run folder or experiment folder to resume; with --resume also a regular expression of file "
        "names",
    )
    parser.add_argument("--logger", choices=LOGGERS, help="log writer")
    parser.add_argument("--verbose", action="store_true", default=None, help="print every logged value")
    parser.add_argument("--headless", action="store_true", help="open no window")
    parser.add_argument("--video", action="store_true", help="record videos while training (Isaac Lab, mjlab)")
    parser.add_argument("--video_length", type=int, help="length of a video in environment steps")
    parser.add_argument("--video_interval", type=int, help="environment steps from one video to the next")
    parser.add_argument("--distributed", action="store_true", help="train in several processes: trudi docs distributed")
    parser.add_argument("--agent", help=argparse.SUPPRESS)
    parser.add_former_names()
    args, rest = parser.parse_some(argv)
    if args.agent is not None:
        parser.error("--agent is Isaac Lab's; here --algo chooses the agent")
    args.flags = parser.flags
    return args, rest


def main(argv: Sequence[str]) -> None:
    """Train on the simulator that the task belongs to."""
    args, rest = parse(argv)
    register_former_names(args.task_was, args.task)
    check_launch(args.distributed)
    packages.require("Training", packages.CORE)
    from trudi_rsl.hosts import registry

    registry.train(args, rest)
