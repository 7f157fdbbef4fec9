# SPDX-License-Identifier: BSD-3-Clause
"""One rule for settings in a PPO configuration, on every way of swapping; the rows of the table in docs/swap.md."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest
from rsl_rl.algorithms import PPO
from rsl_rl.runners import OnPolicyRunner as StockRunner

from tests.rsl_rl.test_swap import mirror, point_mass, ppo_cfg, swapped
from trudi_rsl.config import ppo_conversion
from trudi_rsl.config.swap import trudi_cfg
from trudi_rsl.errors import ConfigError
from trudi_rsl.ppo_fields import PPO_ONLY_FIELDS
from trudi_rsl.rsl_rl_compat.version import ALGORITHM_CLASS_NAME, POLICY_STYLE, PPO_MODELS

pytestmark = pytest.mark.skipif(POLICY_STYLE, reason="RSL-RL 3 passes its policy section to the algorithm")


class ProjectPPO(PPO):
    """A project's own PPO, with an argument of its own."""

    def __init__(self, *args: Any, smoothness_coef: float = 0.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)


@dataclass
class HostCfg:
    """What a host describes PPO with."""

    clip_param: float = 0.2


@dataclass
class ProjectCfg(HostCfg):
    """A project's subclass of it."""

    teacher_weight: float = 0.5


@dataclass
class TaskCfg(ProjectCfg):
    """That of one of its tasks."""

    task_weight: float = 0.5


@pytest.fixture(autouse=True)
def host(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Load a host whose configuration of PPO the project has subclassed, mjlab unless a test chooses another."""
    name = getattr(request, "param", "mjlab.rl")
    module = ModuleType(name)
    module.RslRlPpoAlgorithmCfg = HostCfg  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, name, module)


def by_name(**algorithm: Any) -> dict[str, Any]:
    cfg = swapped(**algorithm)
    StockRunner(point_mass(), cfg, None, "cpu")
    return cfg["algorithm"]


def by_trudi_cfg(**algorithm: Any) -> dict[str, Any]:
    return trudi_cfg(ppo_cfg(**algorithm), point_mass())["algorithm"]


def by_host(**algorithm: Any) -> dict[str, Any]:
    cfg = ppo_cfg(**algorithm)
    # each task is reported once
    ppo_conversion._reported.clear()
    return ppo_conversion.trudi_settings("Own-v0", cfg, "isaaclab")["algorithm"]


WAYS = {"class name": by_name, "trudi_cfg": by_trudi_cfg, "host": by_host}
VALUES: dict[str, Any] = {"optimizer": "adam", "schedule": "fixed"}


@pytest.mark.parametrize("host", ["mjlab.rl", "isaaclab_rl.rsl_rl"], indirect=True)
@pytest.mark.parametrize("swap", WAYS.values(), ids=WAYS)
def test_what_ppo_or_a_subclass_of_the_project_defines_is_listed_once_and_has_no_effect(
    swap: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    own = {"smoothness_coef": "ProjectPPO", "teacher_weight": "ProjectCfg", "task_weight": "TaskCfg"}
    swap(**{name: VALUES.get(name, 0.1) for name in (*PPO_ONLY_FIELDS, *own)})
    said = capsys.readouterr().out
    for name in (*PPO_ONLY_FIELDS, *(f"{name} ({cls})" for name, cls in own.items())):
        assert said.count(name) == 1, name


@pytest.mark.parametrize("swap", WAYS.values(), ids=WAYS)
def test_a_name_that_nobody_defines_is_refused_with_the_nearest(swap: Callable[..., dict[str, Any]]) -> None:
    with pytest.raises(ConfigError, match=r"clip_parm.*'clip_param'"):
        swap(clip_parm=0.1)


@pytest.mark.parametrize("swap", WAYS.values(), ids=WAYS)
def test_gamma_rnd_and_symmetry_are_kept(swap: Callable[..., dict[str, Any]]) -> None:
    rnd = {"weight": 0.5, "num_outputs": 2, "predictor_hidden_dims": [8], "target_hidden_dims": [8]}
    section = swap(gamma=0.97, rnd_cfg=rnd, symmetry_cfg={"data_augmentation_func": mirror})
    assert (section["gamma"], section["rnd_cfg"]) == (0.97, rnd)
    function = section["symmetry_cfg"]["data_augmentation_func"]
    assert function is mirror or function == f"{mirror.__module__}:mirror"


@pytest.mark.parametrize("swap", WAYS.values(), ids=WAYS)
def test_epochs_minibatches_and_rates_are_the_presets(swap: Callable[..., dict[str, Any]]) -> None:
    odd = {"num_learning_epochs": 17, "num_mini_batches": 19, "learning_rate": 0.123, "max_grad_norm": 7.0, "lam": 0.1}
    section = swap(**odd)
    assert all(section[name] != value for name, value in odd.items())


@pytest.mark.parametrize("name", ["project.algorithms:MultiCriticPPO", ProjectPPO, "Distillation"], ids=str)
def test_an_algorithm_of_a_projects_own_and_distillation_are_refused(name: Any) -> None:
    with pytest.raises(ConfigError, match=r"describes a (MultiCritic|Project)PPO of|is for distillation"):
        trudi_cfg(ppo_cfg(class_name=name), point_mass())


@pytest.mark.parametrize("name", ["PPO", "rsl_rl.algorithms:PPO", PPO, "trudi_rsl.algorithms:SPO"], ids=str)
def test_rsl_rls_ppo_by_any_name_is_taken(name: Any) -> None:
    section = trudi_cfg(ppo_cfg(class_name=name), point_mass())["algorithm"]
    assert section["class_name"] == ALGORITHM_CLASS_NAME


@pytest.mark.skipif(not PPO_MODELS, reason="they need RSL-RL 5")
@pytest.mark.parametrize("name", ["SPO", "DPPO", "FPO"])
@pytest.mark.filterwarnings("ignore:(D|F)PPO's actor|FPO")
def test_spo_dppo_and_fpo_list_what_a_project_defines_and_refuse_what_nobody_does(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def build(**own: Any) -> None:
        StockRunner(point_mass(), ppo_cfg(class_name=f"trudi_rsl.algorithms:{name}", **own), None, "cpu")

    build(smoothness_coef=0.3, teacher_weight=0.7, task_weight=None)
    said = capsys.readouterr().out
    assert f"{name} has no use" in said and "task_weight" not in said
    assert "smoothness_coef (ProjectPPO), teacher_weight (ProjectCfg)" in said
    with pytest.raises(ConfigError, match=r"clip_parm.*'clip_param'"):
        build(clip_parm=0.1)
