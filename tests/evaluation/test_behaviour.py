# SPDX-License-Identifier: BSD-3-Clause
"""Runs from one start are recorded whole, sorted by mode, and counted; failures are of no mode."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from torch import Tensor

from tests.evaluation.counting_tasks import LONG, SHORT, SHORT_OR_LONG, idle
from tests.tasks.obstacle_paths import Scripted
from trudi_rsl.errors import ConfigError
from trudi_rsl.evaluation.behaviour import Behaviour, behaviour_entropy, behaviour_figure, record
from trudi_rsl.hosts.gymnasium.env import GymnasiumVecEnv
from trudi_rsl.tasks import find_modes

TASK = "PlanarObstacle-v0"


def behaviour(sides: list[int]) -> Behaviour:
    modes = find_modes(TASK)
    env = GymnasiumVecEnv(TASK, len(sides), env_kwargs=dict(modes.fixed_start))
    return Behaviour.classify(*record(env, Scripted(sides), progress=False), modes)


@pytest.mark.parametrize(
    ("counts", "bits"),
    [
        ([0, 7], 0.0),
        ([50, 150], 0.25 * math.log2(4.0) + 0.75 * math.log2(4.0 / 3.0)),
        ([5, 5, 5, 5], 2.0),
        ([3, 3, 0], 1.0),
    ],
)
def test_the_entropy_of_counts_equals_its_closed_form(counts: list[int], bits: float) -> None:
    assert behaviour_entropy(counts) == pytest.approx(bits, abs=1e-15)
    assert not math.copysign(1.0, behaviour_entropy(counts)) < 0.0


def test_failures_are_counted_apart_from_the_entropy() -> None:
    seen = behaviour([1, -1, 0, 0, 0, 1, -1])
    assert seen.modes == ["left", "right", None, None, None, "left", "right"]
    assert (seen.counts, seen.failures, seen.entropy) == ({"left": 2, "right": 2}, 3, 1.0)
    # without a success there is no entropy, which JSON holds as null
    values = behaviour([0, 0]).to_dict()
    assert values["behaviour_entropy_bits"] is None
    assert [run["mode"] for run in values["runs"]] == ["failure"] * 2
    json.dumps(values, allow_nan=False)


def test_each_run_is_one_whole_episode_with_its_true_last_observation() -> None:
    env = GymnasiumVecEnv(SHORT_OR_LONG, 2)
    runs, returns = record(env, idle, progress=False)
    # the observation is the step, so the last one is not the first of the next episode
    assert [run[:, 0].tolist() for run in runs] == [list(range(length + 1)) for length in (SHORT, LONG)]
    assert returns.tolist() == [SHORT, LONG]


def test_an_environment_that_hides_its_last_observations_is_refused() -> None:
    class Hiding(GymnasiumVecEnv):
        def step(self, actions: Tensor) -> tuple:
            obs, rewards, dones, extras = super().step(actions)
            return obs, rewards, dones, {k: v for k, v in extras.items() if k != "final_obs"}

    with pytest.raises(ConfigError, match="last observations"):
        record(Hiding(SHORT_OR_LONG, 1), idle, progress=False)


def test_the_picture_has_every_run_in_the_color_of_its_mode() -> None:
    seen = behaviour([1, -1, -1, 0])
    figure = behaviour_figure(seen, find_modes(TASK), "title")
    plane, over_time = figure.axes
    colors = ["C0", "C1", "C1", "0.55"]
    assert [line.get_color() for line in over_time.get_lines()[:4]] == colors
    paths = [line for line in plane.get_lines() if len(np.asarray(line.get_xydata())) > 1]
    for line, run, color in zip(paths, seen.runs, colors, strict=True):
        assert line.get_color() == color
        assert np.array_equal(line.get_xydata(), run)
    (legend,) = figure.legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == ["obstacle", "goal", "left: 1 of 4", "right: 2 of 4", "failure: 1 of 4"]
