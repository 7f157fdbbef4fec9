# SPDX-License-Identifier: BSD-3-Clause
"""Training and playing with Isaac Lab 3.0: its own commands, with this package's runner in place of the stock one."""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium
import torch
from isaaclab.cli import load_external_tasks  # pyright: ignore[reportMissingImports]
from isaaclab.utils import to_dict  # pyright: ignore[reportMissingImports]
from isaaclab_rl.entrypoints import run_play_cli, run_train_cli  # pyright: ignore[reportMissingImports]
from isaaclab_rl.entrypoints.backends import play_rsl_rl, train_rsl_rl  # pyright: ignore[reportMissingImports]
from isaaclab_tasks.utils.hydra import collect_presets, register_task  # pyright: ignore[reportMissingImports]
from isaaclab_tasks.utils.parse_cfg import load_cfg_from_registry  # pyright: ignore[reportMissingImports]
from isaaclab_tasks.utils.preset_target import PresetTarget  # pyright: ignore[reportMissingImports]
from rsl_rl.env import VecEnv

from trudi_rsl.errors import ConfigError, nearest
from trudi_rsl.evaluation.policies import load_into, policy_for
from trudi_rsl.hosts.continuation import is_finished, own_overrides
from trudi_rsl.hosts.isaaclab.registration import agent_key
from trudi_rsl.hosts.isaaclab.task import Task, task_to_play, task_to_train, use_trained_settings
from trudi_rsl.hosts.launched import isaaclab_tasks
from trudi_rsl.hosts.setting_names import Start, names_in, refuse_wrong
from trudi_rsl.hosts.stock_names import OPEN, PLAY, SELECTIONS, Names
from trudi_rsl.runners import OnPolicyRunner

PASSED_ON = (
    *("num_envs", "seed", "max_iterations", "device", "experiment_name", "run_name", "logger"),
    *("video_length", "video_interval"),
)
"""Flags with a value that Isaac Lab's commands also have."""


def train(args: argparse.Namespace, host_args: list[str]) -> None:
    """Train; see :func:`trudi_rsl.hosts.isaaclab.launch.train`."""
    load_external_tasks()
    task, checkpoint = task_to_train(args, host_args)
    if is_finished(args, checkpoint):
        return
    if checkpoint is None:  # the settings of a run may select other parts
        remember_names(args.start, task)
    check_env_names(task, host_args)
    create_runner = functools.partial(
        _create_runner, overrides=own_overrides(args, host_args), verbose=bool(args.verbose)
    )
    with _replaced(train_rsl_rl, create_rsl_rl_runner=create_runner):
        run_train_cli([*_arguments(args, task, checkpoint), *host_args])


def play(args: argparse.Namespace, host_args: list[str]) -> None:
    """Play; see :func:`trudi_rsl.hosts.isaaclab.launch.play`."""
    load_external_tasks()
    task, playback = task_to_play(args, host_args)
    remember_names(args.start, task, play=True)
    check_env_names(task, host_args, play=True)
    checkpoint = playback.checkpoint
    made: dict[str, Any] = {}

    def create_runner(env: VecEnv, agent_cfg: Any, log_dir: str | None = None) -> Any:
        use_trained_settings(agent_cfg, checkpoint)
        runner = _create_runner(env, agent_cfg, log_dir)
        if playback.checkpoints:
            # Isaac Lab's command would export the checkpoint that it loads
            runner.export_policy_to_jit = runner.export_policy_to_onnx = lambda *_, **__: None
        made.update(env=env, runner=runner)
        return runner

    def run_playback(step: Callable[[], None], **settings: Any) -> None:
        env, runner = made["env"], made["runner"]

        def view(policy: Any) -> None:
            obs = env.get_observations()

            def sampled_step() -> None:
                nonlocal obs
                obs, _, dones, _ = env.step(policy(obs))
                if hasattr(policy, "reset"):
                    policy.reset(dones)

            stock_playback(sampled_step, **settings)

        playback.run(
            env,
            functools.partial(load_into, runner, sampler=playback.sampler),
            env.unwrapped.cfg.seed,
            policy=policy_for(runner.alg, playback.sampler),
            view=view if args.episodes is None else None,
        )

    stock_playback = play_rsl_rl.run_playback
    with _replaced(play_rsl_rl, create_rsl_rl_runner=create_runner, run_playback=run_playback):
        run_play_cli([*_arguments(args, task, checkpoint), *host_args])


def check_env_names(task: Task, overrides: Sequence[str], play: bool = False) -> None:
    """Raise a ConfigError for an override of a setting that the environment's configuration does not have.

    Isaac Lab 3.0.0 adds it to the configuration, where nothing reads it (findings/isaaclab_unknown_settings.sh), and
    writes any text in place of a number. New keys of a dictionary, such as the position of a joint, are allowed.
    """
    given = [text for text in overrides if "=" in text and not text.startswith("-")]
    for text in given:
        name = text.partition("=")[0]
        if not name.startswith("env.") or name.endswith("+"):
            continue
        # what the others select, such as a physics engine, may have the setting
        others = [other for other in given if other is not text]
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                node = env_cfg = register_task(task.id, task.agent_key, play, others)[0]
        except (AttributeError, KeyError):  # of another override, which has its turn
            continue
        *sections, leaf = name.split(".")[1:]
        for depth, part in enumerate((*sections, leaf)):
            known = list(node) if isinstance(node, Mapping) else list(getattr(node, "__dict__", ()))
            if part not in known:
                if depth == len(sections) and isinstance(node, Mapping):
                    break
                where = ".".join(("env", *sections[:depth]))
                raise ConfigError(f"Unknown setting {name!r}: no {part!r} in {where}. {nearest(part, known)}")
            node = node[part] if isinstance(node, Mapping) else getattr(node, part)
        refuse_wrong([text], {"env": names_in(env_cfg, selectable=_selectable(task.id, None), path="env")})


def remember_names(start: Start, task: Task, play: bool = False) -> None:
    """Keep the names of a task's settings for the next start; none if what the overrides select does not exist."""
    with contextlib.suppress(Exception):  # of selections, which Isaac Lab's command reports
        start.remember(_setting_names(task.id, task.agent_key, start.selected, play))


def stock_tasks() -> Iterator[tuple[str, Sequence[str], str, Names]]:
    """Yield Isaac Lab's own tasks for :func:`trudi_rsl.hosts.stock_names.encode`, also with Newton selected."""
    for name, selected in itertools.product(isaaclab_tasks(), ((), ("physics=newton_mjwarp",))):
        try:
            env = _setting_names(name, None, selected)["env"]
        except (ImportError, ValueError):  # a package is not installed; the task has no such simulator
            continue
        played = _setting_names(name, None, selected, play=True)
        yield name, selected, PLAY, played | {"agent": None}
        for algo in ("trudi", "ppo"):
            if agent_key(algo) not in gymnasium.spec(name).kwargs:
                continue
            with contextlib.suppress(ConfigError):  # a PPO that TruDi cannot replace
                agent_cfg, choices = Task(name, algo).agent_cfg(selected), _selectable(name, agent_key(algo))
                agent = names_in(agent_cfg, selectable=choices, path="agent")
                yield name, selected, algo, {"env": env, "agent": agent} | _selections(choices)


def _setting_names(task: str, agent: str | None, selected: Sequence[str], play: bool = False) -> Names:
    with contextlib.redirect_stdout(io.StringIO()):
        env_cfg, agent_cfg, *_ = register_task(task, agent, play, selected)
    choices = _selectable(task, agent)
    return (names_in({"env": env_cfg, "agent": agent_cfg}, selectable=choices) or {}) | _selections(choices)


def _selectable(task: str, agent: str | None) -> dict[str, set[str]]:
    """Return the parts that overrides select in a task's configurations, by where, whatever else is selected."""
    keys = {"env": "env_cfg_entry_point", "agent": agent}
    cfgs = {section: load_cfg_from_registry(task, key) for section, key in keys.items() if key}
    return {
        where: set(parts) for section, cfg in cfgs.items() for where, parts in collect_presets(cfg, section).items()
    }


def _selections(choices: Mapping[str, set[str]]) -> Names:
    """Return what overrides such as ``physics=NAME`` select, for the top of a task's names."""
    parts = set[str]().union(*choices.values())
    former = {old for old, new in PresetTarget.all_legacy_aliases().items() if new in parts}
    return {SELECTIONS: dict.fromkeys(sorted(parts | former)), OPEN: None}


def _arguments(args: argparse.Namespace, task: Task, checkpoint: Path | None) -> list[str]:
    """Return the arguments of Isaac Lab's command; the flags of ``trudi play`` are fewer."""
    argv = ["--rl_library", "rsl_rl", "--task", task.id, "--agent", task.agent_key]
    if args.num_threads:
        torch.set_num_threads(args.num_threads)
    for name in PASSED_ON:
        if (value := getattr(args, name, None)) is not None:
            argv += [f"--{name}", str(value)]
    argv += [f"--{name}" for name in ("video", "distributed") if getattr(args, name, False)]
    if checkpoint is not None:
        argv += ["--checkpoint", str(checkpoint.resolve())]
    if args.device and not getattr(args, "distributed", False):
        # Isaac Lab's --device applies to the simulator only; first, so that an override of the user wins.
        argv.append(f"agent.device={args.device}")
    return argv


_stock_runner = train_rsl_rl.create_rsl_rl_runner


def _create_runner(
    env: VecEnv, agent_cfg: Any, log_dir: str | None = None, overrides: Sequence[str] = (), verbose: bool = False
) -> Any:
    if agent_cfg.class_name != "OnPolicyRunner":
        return _stock_runner(env, agent_cfg, log_dir)
    runner = OnPolicyRunner(env, to_dict(agent_cfg) | {"verbose": verbose}, log_dir, agent_cfg.device)
    runner.record["overrides"] = list(overrides)
    return runner


@contextlib.contextmanager
def _replaced(module: ModuleType, **functions: Callable[..., Any]) -> Iterator[None]:
    """Let a module of Isaac Lab, whose commands accept only RSL-RL's runner classes, call ours inside the block."""
    originals = {name: getattr(module, name) for name in functions}
    vars(module).update(functions)
    try:
        yield
    finally:
        vars(module).update(originals)
