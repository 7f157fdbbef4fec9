# SPDX-License-Identifier: BSD-3-Clause
"""One section describes the policy of every algorithm."""

from __future__ import annotations

from typing import Any

import pytest
from rsl_rl.algorithms import PPO

from tests.rsl_rl.helpers import runner_cfg as learner_cfg
from tests.rsl_rl.small_policies import RandomTask, built, observations, runner_cfg
from trudi_rsl.algorithms import TruDi
from trudi_rsl.algorithms.policy_gradient import DPPO, FPO, SPO, PolicyGradient
from trudi_rsl.checkpoints.format import FORMAT, SECTION
from trudi_rsl.checkpoints.rebuild import model_spec, rebuild_policy
from trudi_rsl.errors import CheckpointError
from trudi_rsl.hosts.gymnasium.env import GymnasiumVecEnv
from trudi_rsl.rsl_rl_compat.version import PPO_MODELS

needs_models = pytest.mark.skipif(not PPO_MODELS, reason="RSL-RL 5 has the models")
KEYS = {
    *("format", "algorithm", "policy", "settings", "task", "environment", "obs_groups", "obs_dims", "num_actions"),
    "action_bounds",
}


@needs_models
@pytest.mark.parametrize(("algorithm", "kind"), [(SPO, "mlp"), (DPPO, "denoising"), (FPO, "flow")])
@pytest.mark.filterwarnings("ignore:.*(no use for|closed form)")
def test_the_section_of_a_relative_of_ppo_names_its_kind(algorithm: type[PolicyGradient], kind: str) -> None:
    spec = built(algorithm).save()[SECTION]
    assert spec.keys() == KEYS
    assert (spec["format"], spec["algorithm"], spec["policy"]) == (FORMAT, algorithm.algo, kind)
    assert "class_name" not in spec["settings"] and spec["num_actions"] == 2 and spec["action_bounds"] is None


@pytest.mark.parametrize(
    ("changed", "algorithm", "kind"),
    [
        ({}, "trudi", "diffusion"),
        ({"actor": "gaussian"}, "reppo", "gaussian"),
        ({"constraint": "none"}, "dime", "diffusion"),
    ],
    ids=["trudi", "reppo", "dime"],
)
def test_the_section_of_a_learners_algorithm_names_its_kind(changed: dict[str, Any], algorithm: str, kind: str) -> None:
    env = GymnasiumVecEnv("InvertedPendulum-v5", 2)
    spec = TruDi.construct_algorithm(env.get_observations(), env, learner_cfg(**changed), "cpu").save()[SECTION]
    assert spec.keys() == KEYS
    assert (spec["format"], spec["algorithm"], spec["policy"]) == (FORMAT, algorithm, kind)
    assert not {"actor", "constraint", "class_name"} & spec["settings"].keys()
    assert [end.tolist() for end in spec["action_bounds"]] == [[-3.0], [3.0]]


@needs_models
def test_a_recurrent_ppo_is_saved_and_its_rebuild_refused_with_a_remedy() -> None:
    recurrent = {"class_name": "RNNModel", "rnn_type": "gru", "rnn_hidden_dim": 4, "rnn_num_layers": 1}
    cfg = runner_cfg(PPO, recurrent | {"distribution_cfg": {"class_name": "GaussianDistribution"}})
    env: Any = RandomTask()
    actor = dict(cfg["actor"])
    algorithm = PPO.construct_algorithm(observations(), env, cfg, "cpu")
    spec = model_spec("ppo", algorithm.actor, actor, observations(), cfg["obs_groups"], env)
    assert spec["policy"] == "other"
    with pytest.raises(CheckpointError, match=r"only a runner can build it.*runner\.export_policy_to_onnx"):
        rebuild_policy({SECTION: spec, **algorithm.save()})
