# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportMissingImports=false
"""mjlab's registry when this package is installed."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mjlab.rl import MjlabOnPolicyRunner, RslRlOnPolicyRunnerCfg
from mjlab.tasks import registry
from mjlab.tasks.velocity.rl import VelocityOnPolicyRunner

from tests.hosts.mjlab.running import CARTPOLE, FLAT, ROUGH
from trudi_rsl.config.presets import task_preset
from trudi_rsl.errors import ConfigError
from trudi_rsl.hosts.mjlab.conversion import TruDiAlgorithmCfg, TruDiRunnerCfg
from trudi_rsl.hosts.mjlab.registration import SUFFIX, register
from trudi_rsl.hosts.mjlab.task import find_task
from trudi_rsl.hosts.registry import find_host
from trudi_rsl.settings import SELECTORS, DIMECfg, REPPOCfg, TruDiCfg

PPO_TASKS = [task for task in registry.list_tasks() if not task.endswith(SUFFIX)]
SEES_IMAGES = {"Mjlab-Lift-Cube-Yam-Rgb", "Mjlab-Lift-Cube-Yam-Depth", "Mjlab-Multi-Cube-Seg-Yam"}


def test_every_task_has_a_trudi_task_with_the_same_environment() -> None:
    assert {ROUGH, FLAT, CARTPOLE} | SEES_IMAGES < set(PPO_TASKS)
    assert [task for task in PPO_TASKS if task + SUFFIX not in registry.list_tasks()] == []
    for task in PPO_TASKS:
        for play in (False, True):
            own, trudi = (registry.load_env_cfg(name, play=play) for name in (task, task + SUFFIX))
            assert repr(own) == repr(trudi)


@pytest.mark.parametrize("task", sorted(PPO_TASKS))
def test_the_configuration_keeps_the_tasks_settings_and_the_number_of_env_steps(task: str) -> None:
    ppo, trudi = registry.load_rl_cfg(task), registry.load_rl_cfg(task + SUFFIX)
    changed = {"num_steps_per_env", "max_iterations", "experiment_name", "actor", "critic", "algorithm"}
    for field in dataclasses.fields(ppo):
        if field.name not in changed:
            assert getattr(trudi, field.name) == getattr(ppo, field.name), field.name
    preset = task_preset(task, "mjlab")["agent"]
    assert trudi.experiment_name == f"{ppo.experiment_name}_trudi"
    assert trudi.num_steps_per_env == max(ppo.num_steps_per_env, preset["num_steps_per_env"])
    budget = ppo.max_iterations * ppo.num_steps_per_env
    assert 0 <= trudi.max_iterations * trudi.num_steps_per_env - budget < trudi.num_steps_per_env
    given = {"gamma": ppo.algorithm.gamma} | preset["algorithm"]
    if task in SEES_IMAGES:
        encoder = {"class_name": ppo.actor.class_name, "cnn_cfg": ppo.actor.cnn_cfg, "obs_normalization": True}
        given |= {"actor_encoder": encoder, "critic_encoder": encoder}
    assert trudi.algorithm.to_dict() == TruDiAlgorithmCfg(**given).to_dict()


def test_velocity_tasks_have_the_papers_settings_for_locomotion() -> None:
    algorithm = registry.load_rl_cfg(ROUGH + SUFFIX).algorithm
    assert (algorithm.gamma, tuple(algorithm.value_range), algorithm.kl_bound) == (0.97, (-10.0, 10.0), 0.1)


def test_the_algorithms_fields_are_those_of_trudi_with_their_types_defaults_and_checks() -> None:
    ours, theirs = ({f.name: f.type for f in dataclasses.fields(c)} for c in (TruDiCfg, TruDiAlgorithmCfg))
    assert {name: theirs[name] for name in ours} == ours
    assert theirs.keys() - ours.keys() == {"class_name", *SELECTORS}
    assert TruDiAlgorithmCfg().to_dict() == TruDiCfg().to_dict() | {"class_name": "trudi_rsl.algorithms:TruDi"}
    with pytest.raises(ValueError, match=r"algorithm\.kl_bound must be above 0"):
        TruDiAlgorithmCfg(kl_bound=-1.0)


@pytest.mark.parametrize(
    ("algo", "cls", "changed"),
    [("reppo", REPPOCfg, {"actor", "entropy_target_per_dim"}), ("dime", DIMECfg, {"constraint"})],
)
def test_trudis_relatives_have_its_configuration_but_for_the_actor_or_trust_region(
    algo: str, cls: type[REPPOCfg | DIMECfg], changed: set[str]
) -> None:
    trudi, other = (find_task(FLAT, name).agent_cfg() for name in ("trudi", algo))
    ours, theirs = other.algorithm.to_dict(), trudi.algorithm.to_dict()
    assert set(ours) == {"class_name", *cls().to_dict()}
    assert {name for name in ours if ours[name] != theirs[name]} == changed
    assert {name: ours[name] for name in changed} == {name: cls().to_dict()[name] for name in changed}
    replaced = {"algorithm": trudi.algorithm, "experiment_name": trudi.experiment_name}
    assert dataclasses.replace(other, **replaced) == trudi
    assert other.experiment_name == trudi.experiment_name.removesuffix("_trudi") + f"_{algo}"
    assert find_task(FLAT, algo).id == FLAT + SUFFIX
    with pytest.raises(ConfigError, match=f"--algo {algo} use --task {FLAT}"):
        find_task(FLAT + SUFFIX, algo)


@pytest.mark.parametrize("algo", ["spo", "dppo", "fpo"])
def test_ppos_relatives_have_its_configuration_but_for_the_class_and_the_folder_of_their_runs(algo: str) -> None:
    ppo, relative = (find_task(FLAT, name).agent_cfg() for name in ("ppo", algo))
    assert relative.algorithm == dataclasses.replace(ppo.algorithm, class_name=f"trudi_rsl.algorithms:{algo.upper()}")
    assert relative.experiment_name == f"{ppo.experiment_name}_{algo}"
    changed = {"algorithm": ppo.algorithm, "experiment_name": ppo.experiment_name}
    assert dataclasses.replace(relative, **changed) == ppo
    assert find_task(FLAT, algo).id == FLAT


def test_the_runner_is_the_tasks_own_with_trudis_additions() -> None:
    velocity, cartpole = (registry.load_runner_cls(task + SUFFIX) for task in (FLAT, CARTPOLE))
    assert velocity is not None and issubclass(velocity, VelocityOnPolicyRunner)
    assert registry.load_runner_cls(CARTPOLE) is None
    assert cartpole is not None and issubclass(cartpole, MjlabOnPolicyRunner)
    assert (velocity.task, cartpole.task) == (FLAT, CARTPOLE)


def test_a_task_registered_later_also_gets_a_trudi_task_with_its_own_settings() -> None:
    @dataclass
    class ProjectCfg(RslRlOnPolicyRunnerCfg):
        camera_rate: int = 30

    class ProjectRunner(MjlabOnPolicyRunner):
        pass

    register()  # again, which changes nothing
    before, env = registry.list_tasks(), registry.load_env_cfg(CARTPOLE)
    registry.register_mjlab_task("Project-Task", env, env, ProjectCfg(camera_rate=60), ProjectRunner)
    assert set(registry.list_tasks()) - set(before) == {"Project-Task", "Project-Task" + SUFFIX}
    cfg: Any = registry.load_rl_cfg("Project-Task" + SUFFIX)
    assert isinstance(cfg, TruDiRunnerCfg) and cfg.camera_rate == 60  # pyright: ignore[reportAttributeAccessIssue]
    runner = registry.load_runner_cls("Project-Task" + SUFFIX)
    assert runner is not None and issubclass(runner, ProjectRunner)


def test_a_task_of_a_module_in_the_working_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_cartpole.py").write_text(
        "from mjlab.tasks import registry\n"
        f"parts = [registry.load_env_cfg({CARTPOLE!r}, play=play) for play in (False, True)]\n"
        f"registry.register_mjlab_task('Mjlab-Own-v0', *parts, registry.load_rl_cfg({CARTPOLE!r}))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    name = "own_cartpole:Mjlab-Own-v0"
    assert find_host(name).name == "mjlab"
    task = find_task(name)
    assert (task.name, task.id) == ("Mjlab-Own-v0", "Mjlab-Own-v0" + SUFFIX)
    with pytest.raises(ConfigError, match="own_cartpool"):
        find_task("own_cartpool:Mjlab-Own-v0")
