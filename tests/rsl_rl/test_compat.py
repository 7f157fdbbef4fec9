# SPDX-License-Identifier: BSD-3-Clause
"""The session's RSL-RL is imported, and what it cannot work with is refused before it is used."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import rsl_rl
import torch
from tensordict import TensorDict

from trudi_rsl.errors import ConfigError
from trudi_rsl.rsl_rl_compat.contract import check_groups, check_logger, resolve_groups
from trudi_rsl.rsl_rl_compat.version import FLOORS, check_version

ROOT = Path(__file__).parents[2]


@pytest.fixture
def obs() -> TensorDict:
    return TensorDict({"policy": torch.zeros(2, 3), "camera": torch.zeros(2, 8, 8)}, batch_size=[2])


def test_the_imported_rsl_rl_is_the_version_this_session_expects() -> None:
    distribution = importlib.metadata.distribution("rsl-rl-lib")
    assert distribution.version == os.environ.get("TRUDI_EXPECT_RSL_RL", distribution.version)
    assert Path(rsl_rl.__path__[0]).samefile(str(distribution.locate_file("rsl_rl")))


@pytest.mark.parametrize(("version", "hosts"), [("2.3.3", "Isaac Lab 2.2 and older"), ("6.0", "")])
@pytest.mark.parametrize(
    "command", [["-c", "import trudi_rsl.runners"], [str(ROOT / "scripts" / "train.py"), "--task=T"]]
)
def test_another_version_is_refused_before_anything_it_lacks_is_imported(
    tmp_path: Path, version: str, hosts: str, command: list[str]
) -> None:
    # 2.3.3 has neither rsl_rl.utils.resolve_obs_groups nor rsl_rl.models; this one has nothing at all
    (tmp_path / "rsl_rl").mkdir()
    (tmp_path / "rsl_rl" / "__init__.py").touch()
    info = tmp_path / f"rsl_rl_lib-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: rsl-rl-lib\nVersion: {version}\n")
    path = os.pathsep.join([str(tmp_path), str(ROOT / "source")])
    done = subprocess.run(
        [sys.executable, *command], env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    [line] = done.stderr.splitlines()[-1:]
    assert f"rsl-rl-lib >=3.0,<6; installed is {version}." in line
    assert hosts in line and ("Isaac Lab" in line) == bool(hosts)
    assert 'pip install "rsl-rl-lib>=3.0,<6"' in line


@pytest.mark.parametrize(("package", "floor", "pin"), [("torch", "2.6", "==2.5.1"), ("tensordict", "0.7", "<0.7")])
def test_a_torch_or_tensordict_below_its_floor_is_refused_naming_the_host_that_pins_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, package: str, floor: str, pin: str
) -> None:
    too_old = {"torch": "2.5.1+cu124", "tensordict": "0.6.2"}[package]
    metadata = {
        (package, too_old): "",
        ("isaac-host", "2.1"): f"Requires-Dist: {package}{pin}\n",
        # neither of these keeps it below the floor
        ("bystander-a", "1.0"): f"Requires-Dist: {package}>=2\nRequires-Dist: not a requirement\n",
        ("bystander-b", "1.0"): f"Requires-Dist: {package}>=99\n",
    }
    for (name, number), requires in metadata.items():
        info = tmp_path / f"{name}-{number}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n{requires}")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ImportError) as refused:
        check_version()
    line = str(refused.value)
    assert f"{package} >={floor}; installed is {too_old}." in line and f'pip install "{package}>={floor}"' in line
    assert f"isaac-host 2.1 pins it ({package}{pin})" in line and "bystander" not in line


def test_the_floors_are_those_of_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    check_version()
    setup = (ROOT / "setup.py").read_text()
    for package, floor in FLOORS.items():
        assert f'"{package}>={floor}.0",' in setup
    # a vendor's build of the floor itself
    (tmp_path / "torch-2.6.0a0+nv.dist-info").mkdir()
    text = "Metadata-Version: 2.1\nName: torch\nVersion: 2.6.0a0+nv\n"
    (tmp_path / "torch-2.6.0a0+nv.dist-info" / "METADATA").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    check_version()


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ({"actor": ["nothing"]}, "obs_groups.actor names 'nothing'; .*groups policy, camera"),
        ({"actor": ["policy"], "critic": []}, "obs_groups.critic is empty"),
    ],
)
def test_observation_sets_are_refused_with_the_groups_there_are(
    obs: TensorDict, groups: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        check_groups(obs, groups)
    with pytest.raises(ConfigError, match=words):
        resolve_groups(obs, {"obs_groups": groups})


@pytest.mark.filterwarnings("ignore:The observation configuration")
def test_refusals_of_rsl_rl_and_of_trudi_are_configuration_errors(obs: TensorDict) -> None:
    with pytest.raises(ConfigError, match=r"obs_groups: .*'(actor|policy)'"):
        resolve_groups(obs.select("camera"), {})
    with pytest.raises(ConfigError, match=r"'camera' of the set 'actor' has shape \(8, 8\)"):
        resolve_groups(obs, {"obs_groups": {"actor": ["camera"], "critic": ["policy"]}})


def test_log_writers_other_than_rsl_rls_own_are_refused_with_the_known_ones() -> None:
    for logger in ("tensorboard", "wandb", "neptune"):
        check_logger(logger)
    for logger in ("foo", "WandB", None, 3, {}, {"project_name": "x"}):
        with pytest.raises(ConfigError, match=r"No log writer .*wandb.*class_name"):
            check_logger(logger)


def test_a_log_writer_given_as_a_section_must_exist_and_needs_a_newer_rsl_rl() -> None:
    if importlib.util.find_spec("rsl_rl.utils.log_writer") is None:
        with pytest.raises(ConfigError, match=r"newer rsl-rl-lib"):
            check_logger({"class_name": "torch.utils.tensorboard:SummaryWriter"})
        return
    check_logger({"class_name": "torch.utils.tensorboard:SummaryWriter"})
    for name in ("NoWriter", "no_package:Writer", "torch.utils.tensorboard:NoWriter", 3):
        with pytest.raises(ConfigError, match=f"No log writer '?{name}'?: "):
            check_logger({"class_name": name})
