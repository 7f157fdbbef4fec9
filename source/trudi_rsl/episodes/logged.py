# SPDX-License-Identifier: BSD-3-Clause
"""What a training's log gets of an evaluation."""

from __future__ import annotations

from trudi_rsl.episodes.running import EpisodeResults

MEAN_RETURN = "Evaluation/mean_return"
"""Name of the number that decides which checkpoint is the best."""


def scalars(results: EpisodeResults) -> dict[str, float]:
    """Return the numbers of an evaluation by their names in the log."""
    numbers = {MEAN_RETURN: results.returns.mean(), "Evaluation/mean_episode_length": results.lengths.double().mean()}
    if results.success is not None:
        numbers["Evaluation/success"] = results.success.mean()
    return {name: value.item() for name, value in numbers.items()}
