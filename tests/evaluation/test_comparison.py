# SPDX-License-Identifier: BSD-3-Clause
"""What is compared with what, what is left out, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trudi_rsl.errors import ConfigError
from trudi_rsl.evaluation.comparison import ALL_TASKS, Group, Range, compare, read_ranges, require_ranges
from trudi_rsl.evaluation.measurement import Measurement
from trudi_rsl.evaluation.pictures import display_names, improvement_figure, interval_figure, profile_figure
from trudi_rsl.evaluation.tables import as_markdown

RANGES = {"A-v0": Range(0.0, 10.0), "B-v0": Range(-100.0, 100.0)}


def run(label: str, task: str, seed: int | None, value: float, sampler: str = "ODE", **options: Any) -> Measurement:
    returns, file = [value - 1.0, value + 1.0], f"{label}-{seed}.pt"
    return Measurement(label, label, task, seed, sampler, file, returns, [3, 5], options.get("success"))


def group_of(label: str, task: str, values: list[float], **options: Any) -> list[Measurement]:
    return [run(label, task, seed, value, **options) for seed, value in enumerate(values, 1)]


def test_a_run_counts_as_its_mean_over_episodes_and_a_group_as_its_seeds() -> None:
    (row,) = compare(group_of("trudi", "A-v0", [8.0, 2.0, 4.0, 6.0])).rows
    assert (row.iqm.value, row.mean, row.length) == (5.0, 5.0, 4.0)
    assert row.std == pytest.approx((20.0 / 3.0) ** 0.5)
    assert row.by_seed == {"1": 8.0, "2": 2.0, "3": 4.0, "4": 6.0}
    assert row.success is None
    (unknown,) = compare([run("trudi", "A-v0", None, 1.0), run("trudi", "A-v0", None, 2.0)]).rows
    assert unknown.by_seed == {"#1": 1.0, "#2": 2.0}


def test_tasks_are_aggregated_on_the_scale_of_their_ranges() -> None:
    runs = group_of("trudi", "A-v0", [4.0, 6.0, 5.0]) + group_of("trudi", "B-v0", [0.0, 0.0, 0.0])
    comparison = compare(runs, RANGES)
    assert [panel.title for panel in comparison.panels] == ["A-v0", "B-v0", ALL_TASKS]
    overall = comparison.panels[-1]
    assert overall.scores[Group("trudi", "ODE")].tolist() == [[0.4, 0.5], [0.6, 0.5], [0.5, 0.5]]
    assert overall.iqm[Group("trudi", "ODE")].value == pytest.approx(0.5)
    assert [panel.title for panel in compare(runs, by_task=True).panels] == ["A-v0", "B-v0"]


def test_groups_that_lack_a_task_and_surplus_seeds_are_left_out_with_a_note() -> None:
    runs = group_of("trudi", "A-v0", [1.0, 2.0, 9.0]) + group_of("trudi", "B-v0", [0.0, 0.0])
    comparison = compare(runs + group_of("ppo", "A-v0", [1.0]), RANGES)
    assert comparison.panels[-1].scores[Group("trudi", "ODE")].tolist() == [[0.1, 0.5], [0.2, 0.5]]
    assert list(comparison.panels[-1].scores) == [Group("trudi", "ODE")]
    text = as_markdown(comparison)
    assert "ppo, ODE is left out over all tasks: it has no run on B-v0." in text
    assert "trudi, ODE has 3 on A-v0, 2 on B-v0 seeds; over all tasks the lowest 2 of each are used." in text


def test_tables_and_pictures_note_too_few_seeds() -> None:
    few, many = group_of("few", "A-v0", [1.0, 2.0, 3.0]), group_of("many", "A-v0", [1.0, 2.0, 3.0, 4.0, 5.0])
    comparison = compare(few + many)
    assert "2 [needs 5 seeds]" in as_markdown(comparison)
    assert "Intervals are left out" in as_markdown(comparison)
    for figure in (interval_figure(comparison), improvement_figure(comparison)):
        (axes,) = figure.axes
        assert "no interval: 3 seeds, needs 5" in {text.get_text() for text in axes.texts}
    (axes,) = profile_figure(comparison).axes
    assert "few: no interval: 3 seeds, needs 5" in axes.get_xlabel()
    assert "left out" not in as_markdown(compare(many))


def test_pictures_draw_the_numbers_of_the_comparison() -> None:
    comparison = compare(group_of("trudi", "A-v0", [1.0, 2.0, 3.0, 4.0, 5.0]))
    (estimate,) = comparison.panels[0].iqm.values()
    (axes,) = interval_figure(comparison).axes
    (bar,) = axes.patches
    assert estimate.interval is not None
    assert (bar.get_x(), bar.get_x() + bar.get_width()) == pytest.approx(estimate.interval)  # pyright: ignore
    (point,) = axes.collections
    assert point.get_paths()[0].vertices[:, 0] == pytest.approx([estimate.value] * 2)  # pyright: ignore
    (axes,) = profile_figure(comparison).axes
    share = comparison.panels[0].profiles[Group("trudi", "ODE")].share
    assert np.array_equal(axes.get_lines()[0].get_ydata(), share)


def test_groups_are_paired_that_share_their_label_or_their_sampler() -> None:
    runs = [run(label, "A-v0", 1, 1.0, sampler) for label in ("trudi", "ppo") for sampler in ("ODE", "SDE")]
    pairs = {(str(first), str(second)) for first, second in compare(runs).panels[0].improvements}
    same_label = {("trudi, ODE", "trudi, SDE"), ("ppo, ODE", "ppo, SDE")}
    assert pairs == same_label | {("trudi, ODE", "ppo, ODE"), ("trudi, SDE", "ppo, SDE")}


def test_names_in_pictures_leave_out_what_all_groups_share() -> None:
    groups = [Group("trudi", "ODE"), Group("ppo", "ODE")]
    assert list(display_names(groups).values()) == ["trudi", "ppo"]
    assert list(display_names([groups[0], Group("trudi", "SDE")]).values()) == ["ODE", "SDE"]
    assert list(display_names([groups[0], Group("ppo", "SDE")]).values()) == ["trudi, ODE", "ppo, SDE"]


def test_success_needs_no_ranges_but_a_report_of_every_task() -> None:
    runs = group_of("trudi", "A-v0", [1.0] * 3, success=[1.0, 0.0])
    comparison = compare(runs + group_of("trudi", "B-v0", [1.0] * 3, success=[1.0]), metric="success")
    assert comparison.panels[-1].iqm[Group("trudi", "ODE")].value == 0.75
    assert "50 %" in as_markdown(comparison)
    with pytest.raises(ConfigError, match="A-v0 reports no success"):
        compare(group_of("trudi", "A-v0", [1.0]), metric="success")


def test_returns_of_different_scale_are_not_aggregated_without_ranges() -> None:
    with pytest.raises(ConfigError, match=r"of 2 tasks .* No range to normalise by: B-v0.*--normalize B-v0=low,high"):
        require_ranges(["A-v0", "B-v0", "A-v0"], {"A-v0": RANGES["A-v0"]})
    require_ranges(["A-v0", "B-v0"], RANGES)
    require_ranges(["A-v0", "A-v0"], {})


def test_ranges_are_read_from_the_command_line_over_those_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "ranges.yaml"
    file.write_text("A-v0: [0, 10]\nB-v0: [1.0e2, 0]\n")
    expected = {"A-v0": Range(-5.0, 5.0), "B-v0": Range(100.0, 0.0), "m:C-v0": Range(0.0, 1.0)}
    assert read_ranges(["A-v0=-5,5", "m:C-v0=0,1"], file) == expected


@pytest.mark.parametrize(
    ("texts", "content", "message"),
    [
        (["A-v0"], "", "write TASK=low,high"),
        (["A-v0=1,x"], "", "A-v0 needs two numbers"),
        (["A-v0=1,1"], "", "must be finite and differ"),
        (["A-v0=0,inf"], "", "must be finite and differ"),
        ([], "a: [", "not YAML"),
        ([], "- 1", "must hold lines"),
        ([], "A: 3", "two numbers"),
    ],
)
def test_impossible_ranges_are_refused(tmp_path: Path, texts: list[str], content: str, message: str) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(content)
    with pytest.raises(ConfigError, match=message):
        read_ranges(texts, file if content else None)
