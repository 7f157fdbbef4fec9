# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportMissingImports=false
"""A project that registers its tasks after this package trains with TruDi, by the sibling and by one changed line."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from mjlab.scripts import train as mjlab_train
from mjlab.tasks import registry

from tests.hosts.mjlab import foreign_project
from tests.hosts.mjlab.foreign_project import SMOOTH, TASK, SmoothPpoCfg
from tests.hosts.mjlab.running import SMALL, newest_run
from trudi_rsl.checkpoints.file import read_checkpoint
from trudi_rsl.errors import ConfigError
from trudi_rsl.hosts.mjlab.registration import SUFFIX
from trudi_rsl.hosts.mjlab.task import find_task

FEW = ("--gpu-ids", "None", "--env.scene.num-envs", "4", "--agent.logger", "tensorboard", "--agent.max-iterations", "1")


@pytest.fixture(scope="module", autouse=True)
def project() -> None:
    """Register the project's tasks; this package has been loaded with mjlab."""
    foreign_project.register()


def trained(folder: Path, monkeypatch: pytest.MonkeyPatch, *args: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the checkpoint of one iteration by mjlab's ``train``, and the saved settings of the agent."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["train", *args])
    mjlab_train.main()
    run = newest_run(folder)
    agent = yaml.unsafe_load((run / "params" / "agent.yaml").read_text())
    return read_checkpoint(run / "model_0.pt"), agent


def test_its_sibling_trains_with_its_groups_its_symmetry_its_rnd_and_its_own_field(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved, agent = trained(tmp_path, monkeypatch, TASK + SUFFIX, *SMALL, *FEW, "--agent.camera-rate", "60")
    spec = saved["trudi_rsl"]
    assert spec["obs_groups"] == {"actor": ["cart", "pole"], "critic": ["cart", "pole", "everything"]}
    assert spec["settings"]["symmetry_cfg"]["data_augmentation_func"] == f"{foreign_project.__name__}:mirror"
    assert spec["settings"]["rnd_cfg"]["num_outputs"] == 2
    assert saved["rnd_progress"]["update_counter"] == 8
    assert agent["camera_rate"] == 60


def test_an_algorithm_of_its_own_has_no_sibling_and_trudi_names_the_reason() -> None:
    assert SMOOTH in registry.list_tasks() and SMOOTH + SUFFIX not in registry.list_tasks()
    with pytest.raises(ConfigError, match=r"SmoothPPO of tests"):
        find_task(SMOOTH, "trudi")


def test_one_changed_line_trains_it_nevertheless_and_lists_its_own_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cfg = registry.load_rl_cfg(SMOOTH)
    small = {"actor_hidden_dims": (16, 16), "critic_hidden_dim": 16, "num_denoise_steps": 2}
    fields = [(name, type(value), dataclasses.field(default=value)) for name, value in small.items()]
    swapped: Any = dataclasses.make_dataclass("SmallSmoothPpoCfg", fields, bases=(SmoothPpoCfg,))
    cfg.algorithm = swapped(class_name="trudi_rsl.algorithms:TruDi")
    env = registry.load_env_cfg(SMOOTH)
    registry.register_mjlab_task("Project-Cartpole-Swapped", env, env, cfg)
    capsys.readouterr()
    saved, _ = trained(tmp_path, monkeypatch, "Project-Cartpole-Swapped", *FEW)
    assert saved["trudi_rsl"]["obs_groups"]["critic"] == ["cart", "pole", "everything"]
    assert {name: saved["trudi_rsl"]["settings"][name] for name in small} == small | {"actor_hidden_dims": [16, 16]}
    said = capsys.readouterr().out
    assert said.count("smoothness_coef (SmoothPPO)") == said.count("clip_param") == 1
