# SPDX-License-Identifier: BSD-3-Clause
"""Training and playing with Isaac Lab 2.3, whose own RSL-RL scripts are not part of its package.

Most of Isaac Lab, and with it ``trudi_rsl.hosts.isaaclab.task``, can only be imported after the app has been launched,
so functions import it.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import itertools
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gymnasium
import torch
from isaaclab.app import AppLauncher  # pyright: ignore[reportMissingImports]

from trudi_rsl.config.run_folder import LOG_ROOT, create_run_folder
from trudi_rsl.distributed import current_ranks
from trudi_rsl.errors import CheckpointError, ConfigError, NonFiniteError
from trudi_rsl.evaluation.play import sampler_from_args
from trudi_rsl.evaluation.policies import load_into, policy_for
from trudi_rsl.hosts.continuation import is_finished, own_overrides
from trudi_rsl.hosts.launched import isaaclab_tasks
from trudi_rsl.hosts.setting_names import refuse_wrong
from trudi_rsl.hosts.stock_names import OPEN, PLAY, Names

logger = logging.getLogger(__name__)


def train(args: argparse.Namespace, host_args: list[str]) -> None:
    """Train; see :func:`trudi_rsl.hosts.isaaclab.launch.train`."""
    with _app(args, host_args) as (rank, overrides):
        from trudi_rsl.hosts.isaaclab.task import task_to_train

        task, checkpoint = task_to_train(args, overrides)
        if is_finished(args, checkpoint):
            return
        args.start.remember(names := task.setting_names())
        refuse_wrong(overrides, names, task.algo)

        def run(env_cfg: Any, agent_cfg: Any) -> None:
            _apply_flags(args, env_cfg, agent_cfg, rank)
            is_main = current_ranks().is_main  # only rank 0 writes files
            args.video &= is_main
            new_folder = create_run_folder(LOG_ROOT / agent_cfg.experiment_name, agent_cfg.run_name)
            with new_folder if is_main else contextlib.nullcontext() as created:
                folder = created and created.resolve()
                _learn(args, task.id, env_cfg, agent_cfg, folder, checkpoint, own_overrides(args, overrides))

        _with_configurations(task, overrides, run)


def play(args: argparse.Namespace, host_args: list[str]) -> None:
    """Play; see :func:`trudi_rsl.hosts.isaaclab.launch.play`."""
    sampler_from_args(args)  # refuses a wrong option before Isaac Sim starts
    with _app(args, host_args) as (rank, overrides):
        from trudi_rsl.hosts.isaaclab.task import task_to_play, use_trained_settings

        task, playback = task_to_play(args, overrides)
        checkpoint = playback.checkpoint
        args.start.remember(names := task.setting_names())
        refuse_wrong(overrides, names, task.algo)

        def run(env_cfg: Any, agent_cfg: Any) -> None:
            _apply_flags(args, env_cfg, agent_cfg, rank)
            use_trained_settings(agent_cfg, checkpoint)
            env, runner = _make(args, task.id, env_cfg, agent_cfg, checkpoint.parent / "videos" / "play", None)
            runner.load(str(checkpoint))
            num_steps = (args.video_length or 200) if args.video else None
            playback.run(
                env,
                functools.partial(load_into, runner, sampler=playback.sampler),
                env_cfg.seed,
                policy=policy_for(runner.alg, playback.sampler),
                export=lambda: _export(runner, checkpoint.parent / "exported"),
                view=(lambda policy: _play_on(env, policy, num_steps)) if args.episodes is None else None,
            )
            env.close()

        _with_configurations(task, overrides, run)


def stock_tasks() -> Iterator[tuple[str, Sequence[str], str, Names]]:
    """Yield Isaac Lab's own tasks for :func:`trudi_rsl.hosts.stock_names.encode`."""
    from trudi_rsl.hosts.isaaclab.registration import agent_key, register
    from trudi_rsl.hosts.isaaclab.task import Task

    register()
    for name in isaaclab_tasks():
        for algo in ("trudi", "ppo"):
            if agent_key(algo) in gymnasium.spec(name).kwargs:
                # a PPO that TruDi cannot replace; a package of the task is not installed
                with contextlib.suppress(ConfigError, ImportError):
                    names = Task(name, algo).setting_names() | {OPEN: None}
                    yield name, (), algo, names
                    yield name, (), PLAY, names | {"agent": None}


@contextlib.contextmanager
def _app(args: argparse.Namespace, host_args: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Launch Isaac Sim with the flags of the command line; yield the local rank, and the overrides in ``host_args``."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    AppLauncher.add_app_launcher_args(parser)
    flags = [*(["--headless"] if args.headless else []), *(["--device", args.device] if args.device else [])]
    app_args, rest = parser.parse_known_args([*flags, *host_args])
    if unknown := [text for text in rest if text.startswith("-")]:
        raise ConfigError(f"Neither this script nor Isaac Lab has a flag {unknown[0]}. --help lists this script's.")
    app_args.enable_cameras |= args.video
    app_args.distributed = getattr(args, "distributed", False)
    if args.num_threads:
        torch.set_num_threads(args.num_threads)
    launcher = AppLauncher(app_args)
    # Isaac Sim's own handler would end the process at once, without a last checkpoint.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield int(getattr(launcher, "local_rank", 0)), rest
    except (ConfigError, CheckpointError, NonFiniteError, ImportError) as error:
        # Closing the app would end the process with exit code 0, before the message is printed.
        print(f"Error: {error}", file=sys.stderr, flush=True)
        os._exit(2 if isinstance(error, ConfigError) else 1)
    launcher.app.close()


def _with_configurations(task: Any, overrides: list[str], run: Callable[[Any, Any], None]) -> None:
    """Call ``run`` with the task's environment and agent configurations, overrides applied by Isaac Lab."""
    from isaaclab_tasks.utils.hydra import hydra_task_config  # pyright: ignore[reportMissingImports]

    # By default, Hydra ends the process on our errors, writes files to the working directory and redirects logging.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    quiet = ("hydra.run.dir=.", "hydra.output_subdir=null", "hydra/job_logging=none")
    original, sys.argv = sys.argv, [sys.argv[0], *overrides, *quiet]
    try:
        hydra_task_config(task.id, task.agent_key)(run)()
    finally:
        sys.argv = original


def _apply_flags(args: argparse.Namespace, env_cfg: Any, agent_cfg: Any, rank: int) -> None:
    """Set the values of flags in both configurations; as in Isaac Lab, flags win over overrides."""
    for name in ("seed", "max_iterations", "experiment_name", "run_name", "logger", "device"):
        if getattr(args, name, None) is not None:
            setattr(agent_cfg, name, getattr(args, name))
    if args.num_envs is not None:
        env_cfg.scene.num_envs = args.num_envs
    if args.device:
        env_cfg.sim.device = args.device
    if getattr(args, "distributed", False):
        env_cfg.sim.device = agent_cfg.device = f"cuda:{rank}"
        agent_cfg.seed += rank
    # Some randomisation happens when the environment is made.
    env_cfg.seed = agent_cfg.seed


def _make(
    args: argparse.Namespace, task: str, env_cfg: Any, agent_cfg: Any, videos: Path, log_dir: Path | None
) -> tuple[Any, Any]:
    """Return the environment and the runner."""
    from isaaclab.envs import DirectMARLEnv, multi_agent_to_single_agent  # pyright: ignore[reportMissingImports]
    from isaaclab_rl.rsl_rl import RslRlVecEnvWrapper  # pyright: ignore[reportMissingImports]

    from trudi_rsl.runners import OnPolicyRunner

    env = gymnasium.make(task, cfg=env_cfg, render_mode="rgb_array" if args.video else None)
    if isinstance(env.unwrapped, DirectMARLEnv):
        env = multi_agent_to_single_agent(env.unwrapped)
    if args.video:
        interval = getattr(args, "video_interval", None)
        env = gymnasium.wrappers.RecordVideo(
            env,
            str(videos),
            step_trigger=lambda step: step % interval == 0 if interval else step == 0,
            video_length=args.video_length or 200,
            disable_logger=True,
        )
    env = RslRlVecEnvWrapper(env, clip_actions=agent_cfg.clip_actions)
    cfg = agent_cfg.to_dict() | {"verbose": bool(getattr(args, "verbose", False))}
    return env, OnPolicyRunner(env, cfg, log_dir and str(log_dir), agent_cfg.device)


def _learn(
    args: argparse.Namespace,
    task: str,
    env_cfg: Any,
    agent_cfg: Any,
    folder: Path | None,
    checkpoint: Path | None,
    overrides: list[str],
) -> None:
    from isaaclab.utils.io import dump_yaml  # pyright: ignore[reportMissingImports]

    args.video_interval = args.video_interval or 2000
    env, runner = _make(args, task, env_cfg, agent_cfg, (folder or Path()) / "videos" / "train", folder)
    runner.record["overrides"] = overrides
    if checkpoint is not None:
        logger.info(f"Resuming from: {checkpoint}")
        runner.load(str(checkpoint))
    if folder is not None:
        dump_yaml(str(folder / "params" / "env.yaml"), env_cfg)
        dump_yaml(str(folder / "params" / "agent.yaml"), agent_cfg)
        logger.info(f"Run folder: {folder}")
    runner.learn(agent_cfg.max_iterations, init_at_random_ep_len=True)
    env.close()


def _export(runner: Any, folder: Path) -> Path:
    """Write ``policy.pt`` and ``policy.onnx`` to a folder and return it; Isaac Lab exports PPO of RSL-RL 3."""
    if hasattr(runner.alg, "get_policy"):
        runner.export_policy_to_jit(str(folder), "policy.pt")
        runner.export_policy_to_onnx(str(folder), "policy.onnx")
        return folder
    from isaaclab_rl.rsl_rl import export_policy_as_jit, export_policy_as_onnx  # pyright: ignore[reportMissingImports]

    policy = runner.alg.policy
    normalizer = getattr(policy, "actor_obs_normalizer", None)
    export_policy_as_jit(policy, normalizer, str(folder), "policy.pt")
    export_policy_as_onnx(policy, str(folder), normalizer, "policy.onnx")
    return folder


def _play_on(env: Any, policy: Callable[..., Any], num_steps: int | None) -> None:
    """Step until Ctrl-C, or for ``num_steps`` steps."""
    obs = env.get_observations()
    with contextlib.suppress(KeyboardInterrupt), torch.inference_mode():
        for _ in itertools.count() if num_steps is None else range(num_steps):
            obs, *_ = env.step(policy(obs))
