# SPDX-License-Identifier: BSD-3-Clause
"""Play a trained policy that comes with the package, by its ONNX file and the runtime without PyTorch, in seconds.

planar_obstacle: a point passes a disc on either side: episodes from one start, counted and drawn by side.
halfcheetah: HalfCheetah-v5: returns, and a video where MuJoCo can render.
The policy is copied into the output folder, as policy.onnx and as a checkpoint for `trudi play`, `export` and others.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

from trudi_rsl import packages
from trudi_rsl.choices import MODE_RUNS
from trudi_rsl.command_line import Parser
from trudi_rsl.errors import ConfigError
from trudi_rsl.pretrained import NAMES, Pretrained, find_pretrained

PLANAR, CHEETAH = NAMES
EPISODES = {PLANAR: MODE_RUNS, CHEETAH: 3}
"""Default numbers of episodes."""
VIDEO_STEPS = 150
"""Length of the video in steps; without a GPU, MuJoCo renders about twenty per second."""
PAGES = {PLANAR: "multimodality", CHEETAH: "deployment"}


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return the flags."""
    parser = Parser(__doc__, "demo")
    parser.add_argument("policy", nargs="?", choices=NAMES, default=PLANAR, help=f"(default: {PLANAR})")
    parser.add_argument("--episodes", type=int, help=f"(default: {EPISODES[PLANAR]}; halfcheetah: {EPISODES[CHEETAH]})")
    parser.add_argument("--seed", type=int, default=0, help="seed of simulator and policy (default: 0)")
    parser.add_argument("--output", type=Path, help="folder of what is written (default: logs/demo/POLICY)")
    return parser.parse_all(argv)


def main(argv: Sequence[str]) -> None:
    """Play the policy, and print what it did and how to go on."""
    args = parse(argv)
    episodes = EPISODES[args.policy] if args.episodes is None else args.episodes
    if episodes < 1 or args.seed < 0:
        raise ConfigError(f"--episodes must be at least 1 and --seed at least 0; got {episodes} and {args.seed}.")
    pretrained = find_pretrained(args.policy)
    simulator = packages.GYMNASIUM if args.policy == CHEETAH else {"gymnasium": "gymnasium"}
    needed = (packages.CORE, simulator, {"onnxruntime": "onnxruntime"}, packages.PICTURES)
    packages.require("The demo", *needed)
    folder = args.output or Path("logs", "demo", args.policy)
    checkpoint, onnx = copy_files(pretrained, folder)
    print(f"{pretrained.task}: TruDi after {pretrained.env_steps:,} environment steps, seed {pretrained.seed}.")
    print(f"{episodes} episodes with {onnx} in ONNX Runtime:", flush=True)
    show = show_paths if args.policy == PLANAR else show_episodes
    show(checkpoint, onnx, episodes, args.seed)
    quoted = shlex.quote(str(folder))
    print(
        f"Recorded with the policy, from other random numbers: {pretrained.return_mean:.2f} +- "
        f"{pretrained.return_std:.2f} over {pretrained.episodes} episodes.\n"
        f"Next:\n  trudi play {quoted} --episodes 10\n"
        + (f"  trudi chains {quoted} env.env_kwargs.fixed_start=true\n" if args.policy == PLANAR else "")
        + f"  trudi latency {shlex.quote(str(onnx))}\n"
        f"  {pretrained.command}    # minutes on one core\n"
        f"Background: trudi docs {PAGES[args.policy]}"
    )


def copy_files(pretrained: Pretrained, folder: Path) -> tuple[Path, Path]:
    """Copy a policy into a folder, which commands then read as a run, and return its checkpoint and ONNX file.

    Raises:
        ConfigError: If there are other files of these names.
    """
    targets = folder / f"model_{pretrained.iteration}.pt", folder / "policy.onnx"
    for source, target in zip((pretrained.checkpoint, pretrained.onnx), targets, strict=True):
        content = source.read_bytes()
        if not target.exists():
            folder.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        elif target.read_bytes() != content:
            raise ConfigError(f"{target} exists, is another file, and was kept. Choose another --output.")
    return targets


def show_paths(checkpoint: Path, onnx: Path, episodes: int, seed: int) -> None:
    """Run episodes from one start; print which side they take, and draw them."""
    from rich.console import Console

    from trudi_rsl.evaluation.behaviour import behaviour_table
    from trudi_rsl.evaluation.deployed import deployed_behaviour
    from trudi_rsl.evaluation.identify import read_subject
    from trudi_rsl.hosts.registry import SIMULATION
    from trudi_rsl.tasks import find_modes

    subject = read_subject(checkpoint)
    found = deployed_behaviour(subject, onnx, find_modes(subject.task), SIMULATION, episodes, seed)
    Console().print(behaviour_table([found]))
    for file in found.save(checkpoint.parent):
        print(f"{'Episodes' if file.suffix == '.json' else 'Picture'}: {file}")


def show_episodes(checkpoint: Path, onnx: Path, episodes: int, seed: int) -> None:
    """Run episodes; print their returns, and record a video if that is possible."""
    from rich.console import Console

    from trudi_rsl.evaluation.deployed import DeployedPolicy
    from trudi_rsl.evaluation.episodes import evaluate
    from trudi_rsl.evaluation.identify import load_run_settings, read_subject
    from trudi_rsl.evaluation.play import Score, results_table
    from trudi_rsl.evaluation.video import VideoError, make_rendering_env, record_episode, video_path
    from trudi_rsl.hosts.registry import SIMULATION

    subject, policy = read_subject(checkpoint), DeployedPolicy(onnx, seed)
    task, host = subject.task, SIMULATION.find_host(subject.task)
    cfg = load_run_settings(checkpoint, task, subject.algorithm, ["env.num_envs=1"], host)
    env = SIMULATION.make_ending(task, cfg.env, "cpu", seed)
    Console().print(results_table([Score.of(checkpoint, evaluate(env, policy, episodes))]))
    try:
        file = video_path(checkpoint.parent)
        record_episode(
            make_rendering_env(SIMULATION.make_ending, task, cfg.env, "cpu", seed), policy, file, VIDEO_STEPS
        )
    except (ImportError, VideoError) as error:
        print(f"No video: {error}")
    else:
        print(f"Video: {file}")
