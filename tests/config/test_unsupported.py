# SPDX-License-Identifier: BSD-3-Clause
"""What TruDi cannot take over from a PPO configuration is refused by the part that describes it."""

from __future__ import annotations

from typing import Any

import pytest

from trudi_rsl.config.ppo_conversion import trudi_settings
from trudi_rsl.config.unsupported import refuse_unsupported
from trudi_rsl.errors import ConfigError, settings_as_overrides
from trudi_rsl.rsl_rl_compat.version import POLICY_STYLE
from trudi_rsl.settings import TruDiCfg

MLP = {"class_name": "MLPModel", "hidden_dims": [8], "rnn_type": None, "cnn_cfg": None}
RND = {"weight": 0.1, "num_outputs": 1, "predictor_hidden_dims": [-1], "target_hidden_dims": [-1]}


class OwnModel:
    """A model of a project."""


UNSUPPORTED: list[tuple[dict[str, Any], str]] = [
    ({"class_name": "DistillationRunner"}, "is for distillation"),
    ({"class_name": "rsl_rl.runners:DistillationRunner"}, "is for distillation"),
    ({"policy": {"class_name": "rsl_rl.models:RNNModel"}}, "policy section describes a recurrent network.*RNNModel"),
    ({"actor": {"class_name": "project.models:RNNModel"}}, "actor section describes a RNNModel"),
    ({"critic": MLP | {"rnn_type": "lstm"}}, "critic section describes a recurrent network"),
    ({"policy": {"class_name": "ActorCriticRecurrent"}}, "policy section describes a recurrent network"),
    ({"policy": {"class_name": "ActorCriticCNN"}}, "policy section describes a network for images.*ActorCriticCNN"),
    ({"actor": {"class_name": "project.models:CNNModel"}}, "actor section describes a CNNModel"),
    ({"actor": MLP | {"cnn_cfg": {"kernel_size": [3]}}}, "actor section describes a network for images"),
    ({"actor": {"class_name": "project.models:OwnModel"}}, "actor section describes a OwnModel"),
    ({"critic": {"class_name": OwnModel}}, "critic section describes a OwnModel"),
    ({"algorithm": {"symmetry_cfg": {"use_data_augmentation": True}}}, "symmetry_cfg has no 'data_augmentation_func'"),
    ({"critic": [MLP, MLP]}, "has 2 critic networks"),
    ({"critic_2": MLP}, "critic_2 section describes one more network"),
]


@pytest.mark.parametrize(("part", "words"), UNSUPPORTED, ids=lambda part: str(part)[:40])
def test_each_unsupported_part_is_refused_where_a_task_is_converted(part: dict[str, Any], words: str) -> None:
    ppo = {"num_steps_per_env": 24, "max_iterations": 10, "actor": MLP, "critic": MLP, "algorithm": {}, **part}
    with pytest.raises(ConfigError, match=f"in 'Task-v0'.*{words}"):
        trudi_settings("Task-v0", ppo, "isaaclab")


def test_the_refusal_names_the_setting_in_the_grammar_of_its_user() -> None:
    section = {"actor": {"class_name": "OwnModel"}}
    with pytest.raises(ConfigError, match=r'train_cfg\["actor"\]\["class_name"\] = \'MLPModel\''):
        refuse_unsupported(section)
    with settings_as_overrides(), pytest.raises(ConfigError, match=r"agent\.actor\.class_name=MLPModel"):
        refuse_unsupported(section)


@pytest.mark.parametrize(
    "part",
    [
        *(
            {"actor": MLP | {"class_name": name}, "critic": {"hidden_dims": [8]}, "policy": None}
            for name in ("MLPModel", "rsl_rl.models:MLPModel", "rsl_rl.models.MLPModel", None)
        ),
        *({"policy": {"class_name": name}} for name in ("ActorCritic", "DiffusionActorCritic.for_env(self.env)")),
        {"algorithm": {"symmetry_cfg": {"data_augmentation_func": "project.symmetry:mirror"}, "rnd_cfg": None}},
    ],
    ids=lambda part: str(part)[:60],
)
def test_networks_on_vectors_of_every_host_and_symmetry_are_converted(part: dict[str, Any]) -> None:
    converted = trudi_settings("Task-v0", {"num_steps_per_env": 100, "max_iterations": 10, **part}, "isaaclab")
    assert (converted["num_steps_per_env"], converted["max_iterations"]) == (100, 10)
    assert converted["algorithm"].keys() == TruDiCfg().to_dict().keys()


@pytest.mark.skipif(POLICY_STYLE, reason="RSL-RL 3 has its extensions in the runner")
def test_rnd_stays_with_the_task() -> None:
    ppo = {"num_steps_per_env": 24, "algorithm": {"rnd_cfg": RND | {"weight_schedule": None}}}
    assert trudi_settings("Task-v0", ppo, "isaaclab")["algorithm"]["rnd_cfg"] == RND | {"weight_schedule": None}


@pytest.mark.skipif(not POLICY_STYLE, reason="newer versions of RSL-RL let the algorithm build its extensions")
def test_rnd_is_refused_before_the_simulator_starts_where_rsl_rl_is_too_old() -> None:
    with pytest.raises(ConfigError, match="rnd_cfg needs rsl-rl-lib 4 or newer"):
        trudi_settings("Task-v0", {"num_steps_per_env": 24, "algorithm": {"rnd_cfg": RND}}, "isaaclab")
