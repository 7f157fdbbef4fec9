# SPDX-License-Identifier: BSD-3-Clause
"""Every number in the results tables of the docs is the one that the stored results give."""

from __future__ import annotations

import dataclasses
import math
import re
import statistics

import pytest
from code_tables import SECTIONS, settings
from report import CODE_PAGES, PAGES, TABLE, VALUE, markdown, render
from results import ROOT, Results
from robustness import memory_growth
from runs import planned
from scipy.stats import mannwhitneyu
from tables import grouped, seconds_to

from trudi_rsl.config.overrides import parse_overrides
from trudi_rsl.config.schema import GymnasiumEnvCfg, RunnerCfg
from trudi_rsl.settings import TruDiCfg


@pytest.mark.slow  # bootstrap intervals
@pytest.mark.parametrize("name", PAGES)
def test_tables_and_marked_numbers_of_a_page_are_those_of_the_stored_results(name: str) -> None:
    page = (ROOT / name).read_text(encoding="utf-8")
    assert TABLE.search(page) or VALUE.search(page)
    assert render(page, Results()) == page


@pytest.mark.parametrize("name", CODE_PAGES)
def test_tables_from_the_code_are_those_of_this_code(name: str) -> None:
    page = (ROOT / name).read_text(encoding="utf-8")
    assert render(page, Results()) == page


def test_the_page_of_settings_lists_every_field() -> None:
    page = (ROOT / CODE_PAGES[0]).read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(\w+)`", page, re.MULTILINE)
    for cls in (TruDiCfg, RunnerCfg, GymnasiumEnvCfg):
        assert {field.name for field in dataclasses.fields(cls)} <= set(listed)


def test_every_row_of_a_setting_states_its_meaning() -> None:
    for section in SECTIONS:
        assert all(row["meaning, and source of the default"] for row in settings(Results(), section)), section


@pytest.mark.parametrize("name", ["docs/results.md", CODE_PAGES[0]])
def test_results_and_settings_have_no_table_typed_by_hand(name: str) -> None:
    page = TABLE.sub("", (ROOT / name).read_text(encoding="utf-8"))
    assert not re.search(r"^\|", page, re.MULTILINE)


def test_rendering_replaces_typed_numbers_and_rejects_unknown_names() -> None:
    page = "in 1<!-- value: soak.minutes --> minutes\n<!-- table: scaling -->\n| 1 |\n<!-- end of table -->"
    rendered = render(page, Results())
    assert "in 70<!-- value: soak.minutes --> minutes" in rendered
    assert "| together | 72% |" in rendered
    with pytest.raises(KeyError, match="nothing"):
        render("1<!-- value: nothing -->", Results())
    assert VALUE.search(page)


def test_a_missing_cell_is_a_dash_and_columns_keep_their_order() -> None:
    assert markdown([{"a": "1"}, {"a": "2", "b": "3"}]).splitlines()[2:] == ["| 1 | - |", "| 2 | 3 |"]


def test_runs_of_a_group_differ_only_in_their_seed() -> None:
    results = Results()
    for path in (results.folder / "learning").glob("*.json"):
        for group, runs in grouped(results.runs(f"learning/{path.stem}")).items():
            assert len({run["seed"] for run in runs}) == len(runs)
            for run in runs[1:]:
                # settings that did not exist yet when a run was made are missing in its record
                shared = run["config"]["algorithm"].keys() & runs[0]["config"]["algorithm"].keys()
                assert all(run["config"]["algorithm"][k] == runs[0]["config"]["algorithm"][k] for k in shared), group
                assert run["config"]["env"] == runs[0]["config"]["env"], group


def test_every_stored_learning_run_had_the_planned_settings() -> None:
    results = Results()
    for path in (results.folder / "learning").glob("*.json"):
        name = f"learning/{path.stem}"
        jobs = {(job.task, job.algo, job.variant, job.seed): job for job in planned(name)}
        for run in results.runs(name):
            job = jobs[run["task"], run["algo"], run["variant"], run["seed"]]
            chosen = {override.key_or_group: override.value() for override in parse_overrides(job.overrides)}
            for setting, value in run["config"]["algorithm"].items():
                wanted = chosen.get(f"agent.algorithm.{setting}")
                if isinstance(wanted, dict):  # the stored section is complete
                    value = {key: value[key] for key in wanted}
                assert wanted is None or wanted == value, (name, job, setting)


def test_seconds_to_a_return_are_those_to_the_first_iteration_that_has_it() -> None:
    runs = [{"returns": returns, "seconds": [10.0, 20.0, 30.0]} for returns in ([1.0, 5.0, 3.0], [0.0, 1.0, 4.9])]
    assert seconds_to(runs, 5.0) == [20.0, math.inf]


def test_soak_lost_no_more_than_checkpoints_promise_and_learned_as_undisturbed_training() -> None:
    results = Results()
    soaked, undisturbed = results.runs("soak"), grouped(results.runs("learning/halfcheetah"))
    for segment in (segment for run in soaked for segment in run["segments"]):
        # a kill loses at most what lies between two checkpoints that could be written
        assert segment["lost"] <= soaked[0]["save_interval"] * (1 + segment["full disks"]), segment
    assert statistics.median(growth for run in soaked for growth in memory_growth(run)) < 50.0
    others = undisturbed["HalfCheetah-v5", "trudi", "preset"]
    p_value = mannwhitneyu([run["return"] for run in soaked], [run["returns"][-1] for run in others]).pvalue
    assert p_value > 0.05
