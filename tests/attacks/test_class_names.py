# SPDX-License-Identifier: BSD-3-Clause
"""Files name classes of RSL-RL and of this package; nothing else that they name is imported or called."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from tests.attacks.hostile import MODULE, refused, rewritten
from trudi_rsl.checkpoints.rebuild import load_deployable
from trudi_rsl.errors import CheckpointError
from trudi_rsl.evaluation.identify import find_subjects
from trudi_rsl.evaluation.measurement import EvaluationCfg, plan_evaluations
from trudi_rsl.evaluation.samplers import SamplerCfg
from trudi_rsl.hosts.registry import GYMNASIUM
from trudi_rsl.rsl_rl_compat.own_classes import own_class
from trudi_rsl.rsl_rl_compat.version import PPO_MODELS

pytestmark = pytest.mark.skipif(not PPO_MODELS, reason="rebuilding PPO's policy needs rsl-rl-lib 5")

NAMES = [
    f"{MODULE}:Model",
    f"{MODULE}.Model",
    "os:system",
    "subprocess.Popen",
    "builtins:eval",
    # what looks like a package's own, and reaches what it imported
    "trudi_rsl.files:Path",
    "trudi_rsl.files.os.system",
    "trudi_rsl.experiments.worker.subprocess.Popen",
    "trudi_rsl.experiments.worker:FileLock",
    "trudi_rsl.runners.checkpoint_writer.io.FileIO",
    "trudi_rsl.runners.on_policy_runner:SummaryWriter",
    "rsl_rl.utils.os:system",
    "rsl_rl.utils.utils.importlib.import_module",
    "rsl_rl.runners.on_policy_runner.torch.nn.Module",
    "TensorDict",
    # what only looks like its own
    "trudi_rsl.../..:Model",
    "trudi_rsl/../os:System",
    "trudi_rsl.algorithms.:PPO",
    "trudi_rsl_evil.module:Model",
    "rsl_rl\n.models:MLPModel",
    "rsl_rl.models:MLPModel\n",
    "rsl_rl.models:MLPModel.forward.__globals__",
    "rsl_rl.models:MLPModel()",
    "trudi_rsl.policies:Ünknown",
    "DiffusionActorCritic.for_env(self.env)",
    # what is no name
    "",
    ":",
    None,
    7,
    ["os", "system"],
    {"class_name": "os:system"},
]
PLACES: dict[str, Callable[[dict[str, Any], Any], object]] = {
    "the model": lambda actor, name: actor.update(class_name=name),
    "its distribution": lambda actor, name: actor["distribution_cfg"].update(class_name=name),
    "in a list": lambda actor, name: actor.update(extras=[{"parts": [{"class_name": name}]}]),
    "a function": lambda actor, name: actor.update(symmetry_cfg={"data_augmentation_func": name}),
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_other_classes_that_a_checkpoint_names_are_neither_imported_nor_called(
    ppo_checkpoint: Path, tmp_path: Path, marker: Path, place: Callable[[dict[str, Any], Any], object]
) -> None:
    for name in NAMES:
        path = rewritten(
            ppo_checkpoint, tmp_path / "model_1.pt", lambda c, n=name: place(c["infos"]["policy_gradient"]["actor"], n)
        )
        with refused(CheckpointError, marker) as message:
            load_deployable(path)
        assert "neither RSL-RL's nor" in message[0] or "There is no class" in message[0], name


def test_a_foreign_class_behind_an_own_module_gets_no_number_to_open(ppo_checkpoint: Path, tmp_path: Path) -> None:
    with (tmp_path / "precious").open("w+") as file:

        def attack(content: dict[str, Any]) -> None:
            spec = content["infos"]["policy_gradient"]
            spec["num_actions"] = file.fileno()
            name = "trudi_rsl.runners.checkpoint_writer.io.FileIO"  # would close the file when it is thrown away
            spec["actor"]["distribution_cfg"] = {"class_name": name, "mode": "r+"}

        with refused(CheckpointError) as message:
            load_deployable(rewritten(ppo_checkpoint, tmp_path / "model_1.pt", attack))
        assert "FileIO" in message[0]
        assert os.fstat(file.fileno()).st_size == 0


@pytest.mark.parametrize("name", ["MLPModel", "rsl_rl.models:MLPModel", "rsl_rl.models.MLPModel"])
def test_own_classes_are_found_by_each_of_their_names(name: str) -> None:
    assert own_class(name).__module__.startswith("rsl_rl.")
    assert own_class("trudi_rsl.policies:DenoisingModel").__module__ == "trudi_rsl.policies.denoising"


def test_a_class_of_another_version_is_named() -> None:
    with refused(CheckpointError) as message:
        own_class("rsl_rl.models:NextModel")
    assert "no class rsl_rl.models:NextModel" in message[0]


@pytest.mark.slow
@pytest.mark.parametrize("section", ["algorithm", "actor", "critic", "actor.distribution_cfg"])
def test_other_classes_that_a_run_folders_settings_name_are_not_imported_to_evaluate_it(
    ppo_run: Path, tmp_path: Path, marker: Path, section: str
) -> None:
    run = shutil.copytree(ppo_run, tmp_path / "run")
    agent = OmegaConf.load(run / "params" / "agent.yaml")
    OmegaConf.update(agent, f"{section}.class_name", f"{MODULE}:Model")
    OmegaConf.save(agent, run / "params" / "agent.yaml")
    [evaluation] = plan_evaluations(find_subjects([str(run)]), [[SamplerCfg()]], EvaluationCfg(1), GYMNASIUM)
    with refused(CheckpointError, marker) as message:
        evaluation.run()
    assert MODULE in message[0]


@pytest.mark.slow
def test_what_only_training_makes_use_of_does_not_keep_a_policy_from_acting(
    ppo_run: Path, tmp_path: Path, marker: Path
) -> None:
    run = shutil.copytree(ppo_run, tmp_path / "run")
    agent = OmegaConf.load(run / "params" / "agent.yaml")
    OmegaConf.update(agent, "logger", {"class_name": f"{MODULE}:Model"}, force_add=True)
    symmetry = {"data_augmentation_func": f"{MODULE}:mirror", "use_data_augmentation": True}
    OmegaConf.update(agent, "algorithm.symmetry_cfg", symmetry, force_add=True)
    OmegaConf.save(agent, run / "params" / "agent.yaml")
    [evaluation] = plan_evaluations(find_subjects([str(run)]), [[SamplerCfg()]], EvaluationCfg(1), GYMNASIUM)
    assert len(evaluation.run().returns) == 1
    assert not marker.exists()
