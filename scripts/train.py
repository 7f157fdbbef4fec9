# SPDX-License-Identifier: BSD-3-Clause
"""Train TruDi, one of its relatives or RSL-RL's PPO on a task of Isaac Lab, mjlab or Gymnasium.

Settings are overridden as in Isaac Lab: agent.algorithm.kl_bound=0.2 env.scene.num_envs=128 (Gymnasium: env.num_envs).
Presets are weaker than flags, flags weaker than overrides. The resolved settings are saved in the run folder's params/.
Tasks of Isaac Lab also accept Isaac Lab's flags, such as --viz or --enable_cameras.
"""

from __future__ import annotations

import argparse
import sys


def parse(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Return the flags and the remaining arguments: overrides, and flags of the task's simulator."""
    from trudi_rsl.command_line import Parser

    parser = Parser(__doc__, usage="%(prog)s --task TASK [flags] [name=value ...]")
    parser.add_argument("--task", required=True, help="task name such as Isaac-Velocity-Rough-G1-v0 or HalfCheetah-v5")
    parser.add_argument("--algo", default="trudi", help="trudi, reppo, dime, ppo, spo, dppo or fpo (default: trudi)")
    parser.add_argument("--num_envs", type=int, help="parallel environments")
    parser.add_argument("--max_iterations", type=int, help="iterations to train; after a resume, iterations to add")
    parser.add_argument("--seed", type=int, help="seed of the simulator and of all random generators")
    parser.add_argument("--device", help="training device such as cpu or cuda:0")
    parser.add_argument("--num_threads", type=int, help="CPU threads of torch")
    parser.add_argument("--experiment_name", help="folder of the task's runs (default: from the task)")
    parser.add_argument("--run_name", help="suffix of the run folder's name")
    parser.add_argument("--resume", action="store_true", default=None, help="continue a run, in a new folder")
    parser.add_argument("--load_run", help="with --resume: regular expression of the run (default: the latest)")
    parser.add_argument(
        "--checkpoint", help="checkpoint or run folder to resume; with --resume also a regular expression of file names"
    )
    parser.add_argument("--logger", choices=["tensorboard", "wandb", "neptune"], help="log writer")
    parser.add_argument("--headless", action="store_true", help="open no window")
    parser.add_argument("--video", action="store_true", help="record videos while training (Isaac Lab, mjlab)")
    parser.add_argument("--video_length", type=int, help="length of a video in environment steps")
    parser.add_argument("--video_interval", type=int, help="environment steps from one video to the next")
    parser.add_argument("--distributed", action="store_true", help="train in several processes: docs/distributed.md")
    parser.add_argument("--agent", help=argparse.SUPPRESS)
    args, rest = parser.parse_known_args(argv)
    if args.agent is not None:
        parser.error("--agent is Isaac Lab's; here --algo chooses the agent")
    args.flags = parser.flags
    return args, rest


def main(argv: list[str]) -> int:
    """Train and return 0; 2 for impossible flags and settings, 1 for other errors, 130 after an interrupt."""
    try:
        args, rest = parse(argv)
        from trudi_rsl.rsl_rl_compat.version import check_version

        check_version()  # before the imports below, which fail under unsupported versions
        import trudi_rsl.config  # noqa: F401
        from trudi_rsl.errors import CheckpointError, ConfigError, NonFiniteError, ProcessLostError
    except ImportError as error:
        advice = ". Install this package: pip install -e ." if isinstance(error, ModuleNotFoundError) else ""
        print(f"Error: {error}{advice}", file=sys.stderr)
        return 1
    try:
        from trudi_rsl.hosts import registry

        registry.train(args, rest)
    except (ConfigError, CheckpointError, NonFiniteError, ProcessLostError, ImportError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
