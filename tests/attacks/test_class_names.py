# SPDX-License-Identifier: BSD-3-Clause
"""Files name classes of RSL-RL and of this package; nothing else that they name is imported or called."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from tests.attacks.hostile import MODULE, refused, replacing, rewritten
from trudi_rsl.checkpoints.rebuild import load_deployable, with_known_classes
from trudi_rsl.errors import CheckpointError
from trudi_rsl.evaluation.identify import find_subjects
from trudi_rsl.evaluation.measurement import Evaluation, EvaluationCfg
from trudi_rsl.evaluation.samplers import SamplerCfg
from trudi_rsl.hosts.registry import SIMULATION
from trudi_rsl.rsl_rl_compat.version import PPO_MODELS

pytestmark = pytest.mark.skipif(not PPO_MODELS, reason="rebuilding PPO's policy needs rsl-rl-lib 5")

NAMES: list[Any] = [
    *(f"{MODULE}:Model", f"{MODULE}.Model", "os:system", "subprocess.Popen", "builtins:eval"),
    # looks like a class of this package or of RSL-RL, and reaches what that imported
    *("trudi_rsl.files:Path", "trudi_rsl.experiments.launch.subprocess.Popen", "rsl_rl.utils.os:system"),
    *("rsl_rl.utils.utils.importlib.import_module", "TensorDict"),
    # only looks like one
    *("trudi_rsl/../os:System", "trudi_rsl_evil.module:Model", f"{MODULE}.rsl_rl.models:MLPModel"),
    *("rsl_rl\n.models:MLPModel", "rsl_rl.models:MLPModel\n", "rsl_rl.models:MLPModel.forward.__globals__"),
    *("rsl_rl.models:MLPModel()", "DiffusionActorCritic.for_env(self.env)"),
    # is not a name
    *("", None, 7, ["os", "system"], {"class_name": "os:system"}),
]


def name_class(content: dict[str, Any], name: Any, place: str) -> None:
    """Name a class in the section of a checkpoint of PPO."""
    spec = content.pop("trudi_rsl")
    settings = spec["settings"] | {"distribution_cfg": {"class_name": name, "mode": "r+"}}
    if place == "present format":
        content["trudi_rsl"] = spec | {"settings": settings}
        return
    actor = spec["settings"] | {"class_name": name} if place == "model" else settings | {"class_name": "MLPModel"}
    content["infos"]["policy_gradient"] = spec | {"format": 1, "actor": actor}


@pytest.mark.parametrize("place", ["present format", "format 1", "model"])
def test_other_classes_that_a_checkpoint_names_are_neither_imported_nor_called(
    ppo_checkpoint: Path, tmp_path: Path, marker: Path, place: str
) -> None:
    reason = "only a runner can build it" if place == "model" else "neither RSL-RL's nor"
    for name in [*NAMES, *(["RNNModel", "rsl_rl.models:RNNModel"] if place == "model" else [])]:
        change = partial(name_class, name=name, place=place)
        with refused(CheckpointError, marker) as message:
            load_deployable(rewritten(ppo_checkpoint, tmp_path / "model_1.pt", change))
        assert reason in message[0], name


@pytest.mark.parametrize("prefix", ["", "rsl_rl.modules:", "rsl_rl.modules.", "rsl_rl.modules.distribution:"])
def test_a_distribution_is_found_by_each_of_its_names(ppo_checkpoint: Path, tmp_path: Path, prefix: str) -> None:
    rename = replacing("trudi_rsl.settings.distribution_cfg.class_name", f"{prefix}GaussianDistribution")
    policy, _ = load_deployable(rewritten(ppo_checkpoint, tmp_path / "model_1.pt", rename))
    expected, _ = load_deployable(ppo_checkpoint)
    obs = torch.zeros(2, policy.actor_obs.num_obs)
    assert torch.equal(policy.deterministic_actions(obs), expected.deterministic_actions(obs))


@pytest.mark.parametrize("value", [["sh"], 0, 2.0, 10**20])
def test_a_number_of_actions_is_a_number(ppo_checkpoint: Path, tmp_path: Path, value: Any) -> None:
    path = rewritten(ppo_checkpoint, tmp_path / "model_1.pt", replacing("trudi_rsl.num_actions", value))
    with refused(CheckpointError) as message:
        load_deployable(path)
    assert "number of actions" in message[0]


def test_settings_of_hosts_and_of_earlier_versions_name_known_classes() -> None:
    mjlab = {"class_name": "OnPolicyRunner", "algorithm": {"class_name": "trudi_rsl.algorithms:SPO"}}
    assert with_known_classes(mjlab) == mjlab
    moved = {"actor": {"class_name": "trudi_rsl.modules:FlowModel"}}
    assert with_known_classes(moved) == {"actor": {"class_name": "trudi_rsl.policies:FlowModel"}}


def evaluation_with(run: Path, folder: Path, settings: dict[str, Any]) -> Evaluation:
    """Return an evaluation of a copy of a run in which settings are replaced."""
    run = shutil.copytree(run, folder / "run")
    agent = OmegaConf.load(run / "params" / "agent.yaml")
    for name, value in settings.items():
        OmegaConf.update(agent, name, value, force_add=True)
    OmegaConf.save(agent, run / "params" / "agent.yaml")
    [subject] = find_subjects([str(run)])
    return Evaluation(subject, SamplerCfg(), EvaluationCfg(1), SIMULATION)


@pytest.mark.slow
@pytest.mark.parametrize("section", ["algorithm", "actor", "critic", "actor.distribution_cfg"])
def test_other_classes_that_a_run_folders_settings_name_are_not_imported_to_evaluate_it(
    ppo_run: Path, tmp_path: Path, marker: Path, section: str
) -> None:
    evaluation = evaluation_with(ppo_run, tmp_path, {f"{section}.class_name": f"{MODULE}:Model"})
    with refused(CheckpointError, marker) as message:
        evaluation.run()
    assert MODULE in message[0]


@pytest.mark.slow
def test_classes_used_only_in_training_are_not_imported_to_evaluate(
    ppo_run: Path, tmp_path: Path, marker: Path
) -> None:
    symmetry = {"data_augmentation_func": f"{MODULE}:mirror", "use_data_augmentation": True}
    settings = {"logger": {"class_name": f"{MODULE}:Model"}, "algorithm.symmetry_cfg": symmetry}
    assert len(evaluation_with(ppo_run, tmp_path, settings).run().returns) == 1
    assert not marker.exists()
