# SPDX-License-Identifier: BSD-3-Clause
"""All checkpoints of a run side by side in one started simulator, and which of them is the best."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rsl_rl.env import VecEnv

from trudi_rsl.checkpoints.kept import BEST
from trudi_rsl.errors import CheckpointError, NonFiniteError
from trudi_rsl.evaluation.batch import progress_bar
from trudi_rsl.evaluation.episodes import EpisodeResults, Policy, SameStart, evaluate
from trudi_rsl.evaluation.play import STATISTICS, summary_cells
from trudi_rsl.evaluation.statistics import Summary, summarize
from trudi_rsl.files import point


@dataclass(frozen=True)
class Score:
    """What M episodes of one checkpoint gave."""

    checkpoint: Path
    returns: Summary
    success: float | None
    """Share of episodes that succeeded, in [0, 1]; None if the task does not tell."""


def select_best(
    env: VecEnv, checkpoints: Sequence[Path], load: Callable[[Path], Policy], episodes: int, seed: int, title: str
) -> Path:
    """Run all checkpoints of a run alike, print a table, and let ``best.pt`` beside them name the best.

    The best is the one with the highest mean return, of equals the earliest. A ``best.pt`` that is no link stays.

    Args:
        env: The environments, those of all checkpoints.
        checkpoints: ``model_<iteration>.pt`` of one folder, at least one.
        load: Returns the policy of a checkpoint; one that it refuses is passed over.
        episodes: Number of episodes of each, at least 1.
        seed: Of simulator and sampler, set before each checkpoint.
        title: What is played, above the table.

    Returns:
        The best checkpoint.

    Raises:
        CheckpointError: If none of them can be played, or none has a finite mean return.
        ConfigError: If ``episodes`` is below 1.
    """
    folder = checkpoints[0].parent
    print(f"Checkpoints: {len(checkpoints)} in {folder}", flush=True)
    scores = score(env, checkpoints, load, episodes, seed)
    finite = [entry for entry in scores if math.isfinite(entry.returns.mean)]
    if not finite:
        raise CheckpointError(f"No checkpoint in {folder} has a finite mean return, so none is the best.")
    best = max(finite, key=lambda entry: entry.returns.mean).checkpoint
    print(f"Returns on {title}:")
    Console().print(scores_table(scores, best))
    print(f"Best: {best}{_linked(best)}", flush=True)
    return best


def score(
    env: VecEnv,
    checkpoints: Sequence[Path],
    load: Callable[[Path], Policy],
    episodes: int,
    seed: int,
    progress: bool = True,
) -> list[Score]:
    """Run the same number of fresh episodes of each checkpoint, from the same seed and the same place of curricula.

    Where each environment draws its own random numbers (Gymnasium) all episodes of all checkpoints start alike; where
    one generator serves all environments and the policy, the first episode of each environment does.

    Args:
        env: The environments.
        checkpoints: In the order of the result.
        load: Returns the policy of a checkpoint.
        episodes: Number of episodes of each, at least 1.
        seed: Of simulator and sampler.
        progress: Show a bar with the time left.

    Returns:
        The scores; checkpoints that ``load`` refuses, or that act or lead to NaN, are passed over with a message.

    Raises:
        ConfigError: If ``episodes`` is below 1.
    """
    start, scores = SameStart(env), []
    with progress_bar("Evaluating", "checkpoints", progress) as bar:
        task = bar.add_task("", total=len(checkpoints), ended=0, all=len(checkpoints))
        for done, checkpoint in enumerate(checkpoints):
            try:
                # runners print their networks when they load
                with contextlib.redirect_stdout(io.StringIO()):
                    policy = load(checkpoint)
                start.restore(seed)
                results = evaluate(
                    env,
                    policy,
                    episodes,
                    progress=False,
                    on_progress=lambda share, done=done: bar.update(task, completed=done + share),
                )
                scores.append(_score(checkpoint, results))
            except (CheckpointError, NonFiniteError) as error:
                print(f"[trudi_rsl] {checkpoint.name} was passed over: {error}", flush=True)
            bar.update(task, completed=done + 1, ended=done + 1)
    return scores


def scores_table(scores: Sequence[Score], best: Path) -> Table:
    """Return the scores as a table to print, the best one marked."""
    table = Table()
    with_success = any(entry.success is not None for entry in scores)
    for name in ("iteration", *STATISTICS, *["success"] * with_success, ""):
        table.add_column(name, justify="right")
    for entry in scores:
        marked = entry.checkpoint == best
        success = ["-" if entry.success is None else f"{100 * entry.success:.0f} %"] * with_success
        iteration = entry.checkpoint.stem.removeprefix("model_")
        cells = (iteration, *summary_cells(entry.returns), *success, "best" if marked else "")
        table.add_row(*cells, style="bold" if marked else None)
    return table


def _score(checkpoint: Path, results: EpisodeResults) -> Score:
    success = None if results.success is None else float(results.success.mean())
    return Score(checkpoint, summarize(results.returns.cpu()), success)


def _linked(best: Path) -> str:
    """Let the link to the best checkpoint name it; return what to say of that."""
    link = best.with_name(BEST)
    point(link, best)
    if link.is_symlink() and link.readlink() == Path(best.name):
        return f", which {BEST} now names."
    if link.exists() and not link.is_symlink():
        return f". {BEST} beside it is no link but a file of its own, and was kept."
    return f". {BEST} could not be written beside it."
