# SPDX-License-Identifier: BSD-3-Clause
"""Isaac Lab's configuration classes have TruDi's settings, and every task has a configuration."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import gymnasium
import pytest
from isaaclab.utils import to_dict  # pyright: ignore[reportMissingImports]
from isaaclab_rl.rsl_rl.rnd_cfg import RslRlRndCfg  # pyright: ignore[reportMissingImports]
from isaaclab_tasks.utils.parse_cfg import load_cfg_from_registry  # pyright: ignore[reportMissingImports]

from trudi_rsl.algorithms import TruDiCfg
from trudi_rsl.errors import ConfigError
from trudi_rsl.hosts.isaaclab import PPO_KEY, TRUDI_KEY
from trudi_rsl.hosts.isaaclab.conversion import RslRlTrudiAlgorithmCfg, alternatives, convert
from trudi_rsl.hosts.isaaclab.registration import agent_key
from trudi_rsl.settings import SELECTORS, algorithm_of_settings, settings_from_dict


def test_the_algorithms_configclass_has_the_fields_types_and_defaults_of_trudi() -> None:
    mirror = {field.name: field.type for field in fields(RslRlTrudiAlgorithmCfg)}
    assert mirror.pop("class_name") is str
    own = {*SELECTORS, *(field.name for field in fields(TruDiCfg))}
    assert set(mirror) == own
    values = {name: value for name, value in to_dict(RslRlTrudiAlgorithmCfg()).items() if name in own}
    assert TruDiCfg.from_dict(values).to_dict() == TruDiCfg().to_dict()


def load(task: str, algo: str) -> Any:
    """Return a task's configuration for an algorithm, the default one among alternatives."""
    cfg = load_cfg_from_registry(task, agent_key(algo))
    while choices := alternatives(cfg):
        cfg = choices["default"]
    return cfg


def network_classes(ppo: Any) -> set[str]:
    sections = [to_dict(ppo).get(name) for name in ("actor", "critic", "policy")]
    names = [section.get("class_name") for section in sections if isinstance(section, dict)]
    return {name.rpartition(":")[2] for name in names if isinstance(name, str)}


def assert_same_but_for_the_algorithm(given: Any, algo: str, task: str) -> None:
    ours, theirs = (to_dict(cfg) for cfg in (load(task, algo), given))
    assert ours.pop("experiment_name") == f"{theirs.pop('experiment_name').removesuffix('_trudi')}_{algo}"
    del ours["algorithm"], theirs["algorithm"]
    # Copies of MISSING do not compare equal.
    assert repr(ours) == repr(theirs)


@pytest.mark.slow
def test_every_task_with_a_configuration_for_ppo_has_a_valid_one_for_each_algorithm_or_is_refused_with_the_reason() -> (
    None
):
    import isaaclab_tasks  # noqa: F401  # pyright: ignore[reportMissingImports]

    gymnasium.spec("Isaac-Cartpole")
    assert sum(PPO_KEY in spec.kwargs for spec in gymnasium.registry.values()) > 50
    seeing = remembering = 0
    for task, spec in gymnasium.registry.items():
        if PPO_KEY not in spec.kwargs:
            assert TRUDI_KEY not in spec.kwargs
            continue
        ppo = load(task, "ppo")
        if network_classes(ppo) - {"MLPModel", "ActorCritic", "CNNModel", "RNNModel"}:
            with pytest.raises(ConfigError, match=r"recurrent network|for images|networks of its own|of RSL-RL.s PPO"):
                load(task, "trudi")
            continue
        trudi = load(task, "trudi")
        settings = to_dict(trudi.algorithm)
        assert settings.pop("class_name") == "trudi_rsl.algorithms:TruDi"
        cfg = TruDiCfg.from_dict(settings)
        models = [getattr(getattr(ppo, name), "class_name", None) for name in ("actor", "critic")]
        encoders = [section and section["class_name"] for section in (cfg.actor_encoder, cfg.critic_encoder)]
        assert encoders == [model if model in ("CNNModel", "RNNModel") else None for model in models]
        seeing += "CNNModel" in models
        remembering += "RNNModel" in models
        assert to_dict(trudi).get("obs_groups") == to_dict(ppo).get("obs_groups")
        assert trudi.num_steps_per_env >= ppo.num_steps_per_env
        for algo in ("reppo", "dime"):
            assert_same_but_for_the_algorithm(trudi, algo, task)
            own = to_dict(load(task, algo).algorithm)
            assert algorithm_of_settings(own) == algo
            settings_from_dict({name: value for name, value in own.items() if name != "class_name"})
        for algo in ("spo", "dppo", "fpo"):
            assert_same_but_for_the_algorithm(ppo, algo, task)
            expected = to_dict(ppo.algorithm) | {"class_name": f"trudi_rsl.algorithms:{algo.upper()}"}
            assert repr(to_dict(load(task, algo).algorithm)) == repr(expected)
    assert seeing and remembering >= 7


def test_each_configuration_of_a_task_for_ppo_has_one_for_each_algorithm_and_distillation_none() -> None:
    task = "Isaac-Velocity-Flat-AnymalD"
    for algo in ("trudi", "reppo", "dime"):
        symmetric, remembering = (
            to_dict(load_cfg_from_registry(task, agent_key(algo, variant)).algorithm)
            for variant in ("with_symmetry", "recurrent")
        )
        assert symmetric["symmetry_cfg"]["use_data_augmentation"] and symmetric["actor_encoder"] is None
        assert remembering["actor_encoder"]["rnn_type"] == "lstm" and not remembering["symmetry_cfg"]
    stock = load_cfg_from_registry(task, agent_key("ppo", "with_symmetry"))
    expected = to_dict(stock.algorithm) | {"class_name": "trudi_rsl.algorithms:SPO"}
    assert to_dict(load_cfg_from_registry(task, agent_key("spo", "with_symmetry")).algorithm) == expected
    keys = gymnasium.spec(task).kwargs
    assert "rsl_rl_distillation_cfg_entry_point" in keys and agent_key("trudi", "distillation") not in keys


def test_a_task_with_rnd_keeps_it_as_a_plain_section_for_each_algorithm() -> None:
    ppo = load("Isaac-Cartpole", "ppo")
    schedule = RslRlRndCfg.StepWeightScheduleCfg(final_step=10, final_value=0.0)
    ppo.algorithm.rnd_cfg = RslRlRndCfg(weight=0.2, weight_schedule=schedule)
    trudi = convert("Isaac-Cartpole", ppo, "trudi")
    for cfg in (trudi, convert("Isaac-Cartpole", trudi, "reppo"), convert("Isaac-Cartpole", trudi, "dime")):
        assert to_dict(cfg.algorithm)["rnd_cfg"] == to_dict(ppo.algorithm.rnd_cfg)
        settings_from_dict({name: value for name, value in to_dict(cfg.algorithm).items() if name != "class_name"})
