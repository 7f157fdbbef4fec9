# SPDX-License-Identifier: BSD-3-Clause
"""Playing policies in mjlab: whole episodes and their statistics, mjlab's viewer, a video, an export."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from mjlab.envs import ManagerBasedRlEnv, ManagerBasedRlEnvCfg  # pyright: ignore[reportMissingImports]
from mjlab.rl import RslRlVecEnvWrapper  # pyright: ignore[reportMissingImports]
from mjlab.scripts.train import TrainConfig  # pyright: ignore[reportMissingImports]
from mjlab.tasks import registry  # pyright: ignore[reportMissingImports]

from trudi_rsl.checkpoints.rebuild import load_deployable
from trudi_rsl.config.run_folder import LOG_ROOT, select_checkpoint
from trudi_rsl.config.schema import ANY_CHECKPOINT
from trudi_rsl.deploy import export_policy
from trudi_rsl.evaluation.episodes import Policy
from trudi_rsl.evaluation.identify import identify
from trudi_rsl.evaluation.play import Playback
from trudi_rsl.evaluation.policies import load_policy
from trudi_rsl.evaluation.video import video_path
from trudi_rsl.hosts.mjlab.description import as_text, robot_metadata
from trudi_rsl.hosts.mjlab.task import Task, apply, find_task
from trudi_rsl.runners import OnPolicyRunner


class PlayedEnv(RslRlVecEnvWrapper):
    """mjlab's environment for RSL-RL, which also renders and knows its task."""

    def __init__(self, env: ManagerBasedRlEnv, task: str, clip_actions: float | None = None) -> None:
        super().__init__(env, clip_actions)
        self.task = task

    def render(self) -> np.ndarray | None:
        """Return an image of the scene ``[H, W, 3]``."""
        return self.env.render()


def play(args: argparse.Namespace, overrides: Sequence[str] = ()) -> None:
    """Run a trained policy in mjlab's viewer, or, with ``--episodes`` or ``--headless``, for whole episodes.

    Episodes are those of the task's variant for playing (no noise on observations, no pushes), with the time limit of
    training. The policy of any algorithm but PPO is also exported, to ``exported/`` beside its checkpoint and with
    mjlab's metadata, unless ``--every_checkpoint`` evaluates the whole run. See
    :meth:`trudi_rsl.hosts.host.Host.play`.
    """
    task = find_task(args.task, args.algo)
    experiment = LOG_ROOT / (args.experiment_name or task.agent_cfg().experiment_name)
    named = select_checkpoint(
        experiment, args.load_run or ".*", args.checkpoint or ANY_CHECKPOINT, task.may_have_trained
    )
    playback = Playback.from_args(args, task.name, named)
    checkpoint, task = playback.checkpoint, Task(task.name, playback.algorithm)
    device = args.device or ("cuda:0" if torch.cuda.is_available() else "cpu")
    if args.num_threads:
        torch.set_num_threads(args.num_threads)
    viewed = args.episodes is None and not args.headless
    num_envs = args.num_envs or (1 if viewed else playback.num_envs)
    args.start.remember(task.played_names())
    env_cfg = playing_cfg(task, num_envs, args.seed, overrides)
    agent = agent_cfg(task, checkpoint)
    video = video_path(checkpoint.parent) if args.video else None
    simulator = ManagerBasedRlEnv(env_cfg, device, "rgb_array" if args.video else None)
    env = PlayedEnv(simulator, task.name, agent["clip_actions"])

    def load(path: Path) -> Policy:
        algorithm = identify(path, task.name, task.algo)
        return load_policy(path, algorithm, env, agent, playback.sampler, device, OnPolicyRunner)

    playback.run(
        env,
        load,
        env_cfg.seed,
        export=(lambda: export(checkpoint, env)) if task.algo != "ppo" else None,
        view=(lambda policy: _view(env, policy)) if viewed else None,
        video=video,
        max_video_steps=args.video_length,
    )
    env.close()


def playing_cfg(
    task: Task, num_envs: int, seed: int | None = None, overrides: Sequence[str] = ()
) -> ManagerBasedRlEnvCfg:
    """Return the configuration of a task's variant for playing, with the time limit and default seed of training."""
    training = TrainConfig.from_task(task.id)
    playing = registry.load_env_cfg(task.id, play=True)
    # mjlab plays without a time limit, but episodes must end to have a return.
    playing.episode_length_s = training.env.episode_length_s
    settings = {"env.scene.num_envs": num_envs, "env.seed": training.agent.seed if seed is None else seed}
    return apply(TrainConfig(env=playing, agent=training.agent), settings, overrides).env


def export(checkpoint: Path, env: RslRlVecEnvWrapper) -> Path:
    """Write a policy to ``exported/policy.{onnx,pt}`` beside its checkpoint and return the ONNX file."""
    policy, metadata = load_deployable(checkpoint)
    metadata |= as_text(robot_metadata(env.unwrapped, checkpoint.parent.name) or {})
    return export_policy(policy, checkpoint.parent / "exported", metadata=metadata, overwrite=True).onnx


def agent_cfg(task: Task, checkpoint: Path) -> dict[str, Any]:
    """Return the runner configuration of the run, or the task's if the checkpoint is not in a run folder."""
    params = checkpoint.parent / "params" / "agent.yaml"
    # mjlab writes tuples as Python objects, which yaml's safe loader refuses.
    agent = yaml.full_load(params.read_text()) if params.is_file() else asdict(task.agent_cfg())
    # RSL-RL does not accept an unset CNN or RNN as None.
    kinds = {"cnn_cfg": ("cnn_cfg",), "rnn_type": ("rnn_type", "rnn_hidden_dim", "rnn_num_layers")}
    for name in {"actor", "critic"} & agent.keys():
        unset = {option for kind, options in kinds.items() if agent[name].get(kind) is None for option in options}
        agent[name] = {option: value for option, value in agent[name].items() if option not in unset}
    return agent


def _view(env: RslRlVecEnvWrapper, policy: Any) -> None:
    """Show the policy in mjlab's window if there is a display, else in its web viewer, until the user closes it."""
    from mjlab.viewer import NativeMujocoViewer, ViserPlayViewer  # pyright: ignore[reportMissingImports]

    display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    (NativeMujocoViewer if display else ViserPlayViewer)(env, policy).run()
