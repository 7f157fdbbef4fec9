# SPDX-License-Identifier: BSD-3-Clause
"""Play trained policies: whole episodes and their statistics, all checkpoints of a run, videos.

Hosts whose simulator starts itself build a :class:`Playback` and call :meth:`Playback.run` with their environments;
:func:`play` does so for the others.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from rsl_rl.env import VecEnv

from trudi_rsl.checkpoints.kept import BEST
from trudi_rsl.choices import PLAYED_EPISODES, Algorithm
from trudi_rsl.command_line import require_new
from trudi_rsl.config import checkpoints_in
from trudi_rsl.environments.progress import close_envs
from trudi_rsl.errors import CheckpointError, NonFiniteError
from trudi_rsl.evaluation.episodes import MOST_ENVS, EpisodeResults, Policy, SameStart, evaluate, progress_bar
from trudi_rsl.evaluation.identify import identify, load_run_settings
from trudi_rsl.evaluation.policies import Simulation, load_policy
from trudi_rsl.evaluation.samplers import SamplerCfg
from trudi_rsl.evaluation.statistics import Summary, summarize
from trudi_rsl.evaluation.video import MAX_STEPS, make_rendering_env, record_episode, video_path
from trudi_rsl.files import atomic_write, point_link

logger = logging.getLogger(__name__)
Load = Callable[[Path], Policy]
"""Returns the policy of a checkpoint."""


@dataclass(frozen=True)
class Playback:
    """A checkpoint to play, checked against its task."""

    task: str
    checkpoint: Path
    algorithm: Algorithm
    sampler: SamplerCfg
    episodes: int
    """Of each checkpoint."""
    checkpoints: Sequence[Path] = ()
    """All checkpoints of the run, with ``--every_checkpoint``."""
    results: Path | None = None
    """File of the episodes' results, which must not exist."""

    @classmethod
    def from_args(cls, args: argparse.Namespace, task: str, checkpoint: Path) -> Playback:
        """Return how the flags of ``trudi play`` say to play a checkpoint.

        Raises CheckpointError if it is of another task or algorithm, and ConfigError if an option does not fit it.
        """
        if args.results is not None:
            require_new(args.results, flag="--results")
        sampler, algorithm = sampler_from_args(args), identify(checkpoint, task, args.algo)
        sampler.require_for(algorithm)
        episodes = PLAYED_EPISODES if args.episodes is None else args.episodes
        checkpoints = checkpoints_in(checkpoint.parent) if args.every_checkpoint else ()
        return cls(task, checkpoint, algorithm, sampler, episodes, checkpoints, args.results)

    @property
    def num_envs(self) -> int:
        """Default number of environments."""
        return max(1, min(self.episodes, MOST_ENVS))

    def run(
        self,
        env: VecEnv,
        load: Load,
        seed: int,
        policy: Policy | None = None,
        export: Callable[[], Path] | None = None,
        view: Callable[[Policy], None] | None = None,
        video: Path | None = None,
        max_video_steps: int | None = None,
    ) -> None:
        """Play and print the results: of every checkpoint, or of the one, which is then also exported and recorded.

        Args:
            env: The environments.
            load: Loads the checkpoints.
            seed: Seed of simulator and sampler.
            policy: The checkpoint's policy if the host has loaded it already.
            export: Exports the policy and returns where to.
            view: Shows the policy until the user ends it, instead of counted episodes.
            video: A file that must not exist.
            max_video_steps: None takes :data:`~trudi_rsl.evaluation.video.MAX_STEPS`.
        """
        title = f"{self.task}, {self.algorithm}, sampler {self.sampler.describe(self.algorithm)}, seed {seed}"
        if self.checkpoints:
            select_best(env, self.checkpoints, load, self.episodes, seed, title)
            return
        if policy is None:
            policy = load(self.checkpoint)
            torch.manual_seed(seed)  # loading draws initial weights
        print(f"Checkpoint: {self.checkpoint}", flush=True)
        if export is not None:
            print(f"Exported: {export()}", flush=True)
        if view is None:
            results = evaluate(env, policy, self.episodes)
            if self.results is not None:
                with atomic_write(self.results) as file:
                    file.write(f"{json.dumps(results.plain())}\n".encode())
            print(f"Returns on {title}:")
            Console().print(results_table([Score.of(self.checkpoint, results)]))
        if video is not None:
            record_episode(env, policy, video, max_video_steps or MAX_STEPS)
            print(f"Video: {video}", flush=True)
        if view is not None:
            view(policy)


def sampler_from_args(args: argparse.Namespace) -> SamplerCfg:
    """Return the sampler that the flags of ``trudi play`` select."""
    return SamplerCfg(args.sampler, args.score_scale, args.num_candidates, args.initial_latent)


def play(args: argparse.Namespace, checkpoint: Path, overrides: Sequence[str], simulation: Simulation) -> None:
    """Play a checkpoint as the flags of ``trudi play`` and the overrides ``env.name=value`` say, with its settings.

    A user's mistake raises CheckpointError, ConfigError or VideoError.
    """
    host = simulation.find_host(args.task)
    playback = Playback.from_args(args, args.task, checkpoint)
    task, algorithm, sampler = playback.task, playback.algorithm, playback.sampler
    num_envs = playback.num_envs if args.num_envs is None else args.num_envs
    cfg = load_run_settings(checkpoint, task, algorithm, [f"env.num_envs={num_envs}", *overrides], host)
    video = video_path(checkpoint.parent) if args.video else None
    seed = cfg.agent.seed if args.seed is None else args.seed
    device = args.device or (cfg.agent.device if torch.cuda.is_available() else "cpu")
    if num_threads := args.num_threads or cfg.agent.get("num_threads"):
        torch.set_num_threads(num_threads)
    make_env = functools.partial(make_rendering_env, simulation.make_ending) if video else simulation.make_ending
    env = make_env(task, cfg.env, device, seed)

    def load(path: Path) -> Policy:
        found = identify(path, task, algorithm)
        return load_policy(path, found, env, cfg.agent, sampler, device, simulation.make_runner)

    playback.run(env, load, seed, video=video, max_video_steps=args.video_length)
    close_envs(env)


@dataclass(frozen=True)
class Score:
    """Results of one checkpoint's episodes."""

    checkpoint: Path
    returns: Summary
    success: float | None = None
    """Share of episodes that succeeded, in [0, 1]; None if the task reports none."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Means of other numbers that the task reports at the end of episodes, by name."""

    @classmethod
    def of(cls, checkpoint: Path, results: EpisodeResults) -> Score:
        """Return the statistics of episodes."""
        success = None if results.success is None else results.success.mean().item()
        metrics = {name: values.nanmean().item() for name, values in results.metrics.items()}
        return cls(checkpoint, summarize(results.returns.cpu()), success, metrics)


def select_best(env: VecEnv, checkpoints: Sequence[Path], load: Load, episodes: int, seed: int, title: str) -> Path:
    """Evaluate checkpoints of a run with :func:`score`, print a table, and point ``best.pt`` beside them to the best.

    The best has the highest mean return; of equal ones, the earliest. A ``best.pt`` that is not a link is kept. Raises
    CheckpointError if none of them has a finite mean return.
    """
    folder = checkpoints[0].parent
    print(f"Checkpoints: {len(checkpoints)} in {folder}", flush=True)
    scores = score(env, checkpoints, load, episodes, seed)
    finite = [entry for entry in scores if math.isfinite(entry.returns.mean)]
    if not finite:
        raise CheckpointError(f"No checkpoint in {folder} has a finite mean return, so none is the best.")
    best = max(finite, key=lambda entry: entry.returns.mean).checkpoint
    print(f"Returns on {title}:")
    Console().print(results_table(scores, best))
    print(f"Best: {best}{_link_best(best)}", flush=True)
    return best


def score(
    env: VecEnv, checkpoints: Sequence[Path], load: Load, episodes: int, seed: int, progress: bool = True
) -> list[Score]:
    """Run the same number of new episodes of each checkpoint, with the same seed and curricula.

    If each environment has its own random numbers (Gymnasium), all episodes start alike for all checkpoints; if one
    generator serves all environments and the policy, the first episode of each environment does. Checkpoints whose
    policy ``load`` refuses, or that lead to NaN, are left out, with a message why.
    """
    start, scores = SameStart(env), []
    with progress_bar("Evaluating", "checkpoints", progress) as bar:
        task = bar.add_task("", total=len(checkpoints), ended=0)
        for done, checkpoint in enumerate(checkpoints):
            try:
                # runners print their networks when they load
                with contextlib.redirect_stdout(io.StringIO()):
                    policy = load(checkpoint)
                start.restore(seed)
                results = evaluate(
                    env, policy, episodes, False, lambda share, done=done: bar.update(task, completed=done + share)
                )
                scores.append(Score.of(checkpoint, results))
            except (CheckpointError, NonFiniteError) as error:
                logger.warning("%s was skipped: %s", checkpoint.name, error)
            bar.update(task, completed=done + 1, ended=done + 1)
    return scores


def results_table(scores: Sequence[Score], best: Path | None = None) -> Table:
    """Return a table to print; with ``best``, it also has the iterations of the checkpoints and marks the best one."""
    with_success = any(entry.success is not None for entry in scores)
    metrics = list(dict.fromkeys(name for entry in scores for name in entry.metrics))
    # a header with spaces can wrap
    headers = [name.replace("_", " ") for name in metrics]
    names = ["mean", "std", "IQM", "episodes", *["success"] * with_success, *headers]
    table = Table(caption="IQM: mean of the middle half of the returns", min_width=43)
    for name in names if best is None else ["iteration", *names, ""]:
        table.add_column(name, justify="right")
    for entry in scores:
        returns, marked = entry.returns, entry.checkpoint == best
        std = "-" if math.isnan(returns.std) else _format(returns.std)
        cells = [_format(returns.mean), std, _format(returns.iqm), str(returns.count)]
        if with_success:
            cells.append("-" if entry.success is None else f"{100 * entry.success:.0f} %")
        cells += ["-" if name not in entry.metrics else _format(entry.metrics[name]) for name in metrics]
        if best is not None:
            cells = [entry.checkpoint.stem.removeprefix("model_"), *cells, "best" if marked else ""]
        table.add_row(*cells, style="bold" if marked else None)
    return table


def _format(value: float) -> str:
    # hosts that scale rewards by the time step have returns far below 1
    return f"{value:.2f}" if abs(value) >= 1.0 else f"{value:.3g}"


def _link_best(best: Path) -> str:
    """Point the link ``best.pt`` to a checkpoint and return a description of the outcome."""
    link = best.with_name(BEST)
    point_link(link, best)
    if link.is_symlink() and link.readlink() == Path(best.name):
        return f", which {BEST} now names."
    if link.exists() and not link.is_symlink():
        return f". {BEST} beside it is no link but a file of its own, and was kept."
    return f". {BEST} could not be written beside it."
