# SPDX-License-Identifier: BSD-3-Clause
"""Train TruDi, one of its relatives or RSL-RL's PPO on a task of Isaac Lab, mjlab or Gymnasium.

Settings are overridden as in Isaac Lab: agent.algorithm.kl_bound=0.2 env.scene.num_envs=128 (Gymnasium: env.num_envs).
Presets are weaker than flags, flags weaker than overrides. The resolved settings are saved in the run folder's params/
and in every checkpoint, from which a resume takes them.
Tasks of Isaac Lab also accept Isaac Lab's flags, such as --viz or --enable_cameras.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omegaconf import DictConfig


def parse(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Return the flags and the remaining arguments: overrides, and flags of the task's simulator."""
    from trudi_rsl.command_line import Parser

    parser = Parser(__doc__, usage="%(prog)s --task TASK [flags] [name=value ...]")
    parser.add_argument("--task", required=True, help="task name such as Isaac-Velocity-Rough-G1-v0 or HalfCheetah-v5")
    parser.add_argument("--algo", default="trudi", help="trudi, reppo, dime, ppo, spo, dppo or fpo (default: trudi)")
    parser.add_argument("--num_envs", type=int, help="parallel environments")
    parser.add_argument(
        "--max_iterations", type=int, help="iterations to train in total, those before a resume included"
    )
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
        "--checkpoint", help="checkpoint or run folder to resume; with --resume also a regular expression of file names"
    )
    parser.add_argument("--logger", choices=["tensorboard", "wandb", "neptune"], help="log writer")
    parser.add_argument("--verbose", action="store_true", default=None, help="print every logged value")
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


def settings(args: argparse.Namespace) -> dict[str, object]:
    """Return the values of the flags by the full names of their settings."""
    same_name = ("max_iterations", "seed", "device", "num_threads", "experiment_name", "run_name", "logger", "load_run")
    same_name = (*same_name, "verbose")
    return {
        "env.num_envs": args.num_envs,
        **{f"agent.{name}": getattr(args, name) for name in same_name},
        "agent.resume": True if args.resume or args.load_run or args.checkpoint else None,
        "agent.load_checkpoint": args.checkpoint,
    }


def train(args: argparse.Namespace, rest: list[str]) -> None:
    """Train on the simulator that the task belongs to."""
    from trudi_rsl.command_line import refuse_flags
    from trudi_rsl.config import compose
    from trudi_rsl.config.compose import names_of, preset_name
    from trudi_rsl.distributed import check_launch, quiet_unless_rank0
    from trudi_rsl.errors import ConfigError
    from trudi_rsl.hosts.registry import find_host

    if (host := find_host(args.task)) is not None:
        host.train(args, rest)
        return
    refuse_flags(rest, args.flags)
    if args.video:
        raise ConfigError(
            "--video is for tasks of Isaac Lab and mjlab, not for Gymnasium's. scripts/play.py --video records a "
            "trained policy."
        )
    check_launch(args.distributed)
    with quiet_unless_rank0():
        given = settings(args)
        cfg = compose(args.task, args.algo, rest, settings=given)
        train_gymnasium(cfg, names_of(given, rest), args.more_iterations, preset_name(args.task, args.algo, rest))


def train_gymnasium(
    cfg: DictConfig, named: Collection[str] = (), more_iterations: int | None = None, preset: str | None = None
) -> None:
    """Train with a composed configuration in a new run folder, which only rank 0 has.

    Each rank simulates environments of its own; rank 0 chooses the checkpoint to resume. Its run's settings apply
    except for those that the user has ``named``.
    """
    import contextlib

    import numpy as np
    import torch
    from omegaconf import OmegaConf

    from trudi_rsl.config import check_startable, create_run_folder, experiment_folder, resume_path, save_params
    from trudi_rsl.config.adoption import continue_run
    from trudi_rsl.distributed import broadcast_from_rank0, current_ranks
    from trudi_rsl.errors import ConfigError
    from trudi_rsl.hosts.registry import make_env
    from trudi_rsl.rsl_rl_compat.contract import check_groups
    from trudi_rsl.runners import OnPolicyRunner

    check_startable(cfg.task)
    checkpoint, left = resume_path(cfg), cfg.agent.max_iterations
    if checkpoint is None and more_iterations is not None:
        raise ConfigError("--more_iterations adds to a checkpoint; add --resume, or use --max_iterations.")
    if checkpoint is not None:
        continuation = continue_run(cfg, named, checkpoint, more_iterations)
        cfg, left = continuation.cfg, continuation.left
        if left == 0:
            print(continuation.finished_message(checkpoint), flush=True)
            return
        if continuation.overridden:
            print(continuation.overridden, flush=True)
    agent, ranks = cfg.agent, current_ranks()
    if ranks.world_size > 1 and agent.device.startswith("cuda"):
        agent.device = f"cuda:{ranks.local_rank}"
    if agent.num_threads:
        torch.set_num_threads(agent.num_threads)
    torch.manual_seed(agent.seed + ranks.rank)
    np.random.seed(agent.seed + ranks.rank)
    # environment i has this seed plus i, which is unique over all ranks
    env = make_env(cfg.task, cfg.env, agent.device, agent.seed + ranks.rank * cfg.env.num_envs)
    check_groups(env.get_observations(), agent.obs_groups)
    new_folder = create_run_folder(experiment_folder(cfg), agent.run_name)
    with new_folder if ranks.is_main else contextlib.nullcontext() as run_dir:
        log_dir = None if run_dir is None else str(run_dir)
        runner = OnPolicyRunner(env, OmegaConf.to_container(agent), log_dir, agent.device)  # pyright: ignore
        env_settings: Any = OmegaConf.to_container(cfg.env)
        runner.record |= {"task": cfg.task, "env": env_settings, "preset": preset}
        if (resumed := broadcast_from_rank0(checkpoint and str(checkpoint))) is not None:
            print(f"Resuming from: {resumed}", flush=True)
            runner.load(resumed)
        if run_dir is not None:
            save_params(run_dir, cfg)
        print(f"Run folder: {run_dir}", flush=True)
        try:
            runner.learn(left, agent.init_at_random_ep_len and not runner.episodes_continue)
        finally:
            print(f"Run folder: {run_dir}", flush=True)


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
        train(args, rest)
    except (ConfigError, CheckpointError, NonFiniteError, ProcessLostError, ImportError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
