# SPDX-License-Identifier: BSD-3-Clause
"""Whatever settings are allowed are kept as they are and learn; whatever is not is refused by its name."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import yaml
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from tests.properties.drawn import FIXED, NONSENSE, algorithm_settings
from tests.properties.small_env import SmallEnv, iteration, make
from trudi_rsl.config import compose
from trudi_rsl.config.compose import check_names, parse_overrides
from trudi_rsl.errors import ConfigError
from trudi_rsl.settings import SETTINGS, TruDiCfg, algorithm_of_settings, settings_from_dict

FIELDS = [field.name for field in dataclasses.fields(TruDiCfg)]


@FIXED
@given(values=algorithm_settings())
def test_allowed_settings_come_back_unchanged_from_a_mapping_and_from_yaml(values: dict[str, Any]) -> None:
    cfg = settings_from_dict(values)
    assert type(cfg) is SETTINGS[algorithm_of_settings(values)]
    plain = cfg.to_dict()
    assert settings_from_dict(plain) == cfg
    assert settings_from_dict(yaml.safe_load(yaml.safe_dump(plain))) == cfg
    through_omegaconf = OmegaConf.to_container(OmegaConf.create(OmegaConf.to_yaml(OmegaConf.create(plain))))
    assert settings_from_dict(through_omegaconf) == cfg  # pyright: ignore[reportArgumentType]
    assert {name: plain[name] for name in values} == values


@pytest.mark.slow
@FIXED
@given(values=algorithm_settings())
@pytest.mark.filterwarnings("ignore:.* of the targets lie outside")
def test_allowed_settings_learn_from_a_rollout_with_finite_numbers(values: dict[str, Any]) -> None:
    env = SmallEnv(3, 2, {"policy": 3})
    algorithm = make(env, 3, values, ["policy"], ["policy"])
    metrics = iteration(algorithm, env, 3)
    assert all(math.isfinite(value) for value in metrics.values()), metrics
    assert all(weight.isfinite().all() for weight in algorithm.actor_critic.state_dict().values())


@FIXED
@given(name=st.sampled_from(FIELDS), value=NONSENSE)
def test_a_value_is_allowed_as_it_is_or_refused_by_the_fields_name(name: str, value: Any) -> None:
    try:
        cfg = TruDiCfg.from_dict({name: value})
    except ConfigError as error:
        line = str(error)
        assert line.startswith(f"algorithm.{name} must be ") and "\n" not in line
        assert repr(value) in line
    else:
        kept = cfg.to_dict()[name]
        is_none = value is None or (value == {} and name.endswith("_encoder"))
        assert kept == value or (is_none and kept == (None if name != "value_range" else "auto"))


CFG = compose("Pendulum-v1")
NAMES = [f"agent.{name}" for name in CFG.agent] + [f"agent.algorithm.{name}" for name in CFG.agent.algorithm]
LONG_ENOUGH = [name for name in NAMES if len(name.rpartition(".")[2]) >= 5]


@FIXED
@given(
    name=st.sampled_from(LONG_ENOUGH),
    place=st.integers(0, 100),
    letter=st.sampled_from("abcxyz_"),
    kind=st.integers(0, 2),
)
def test_a_name_with_one_slip_is_refused_with_the_name_that_was_meant(
    name: str, place: int, letter: str, kind: int
) -> None:
    section, _, last = name.rpartition(".")
    i = place % len(last)
    slipped = (last[:i] + last[i + 1 :], last[:i] + letter + last[i:], last[:i] + letter + last[i + 1 :])[kind]
    assume(f"{section}.{slipped}" not in NAMES and not slipped[:1].isdigit())
    with pytest.raises(ConfigError) as caught:
        check_names(CFG, parse_overrides([f"{section}.{slipped}=1"]))
    line = str(caught.value)
    assert repr(f"{section}.{slipped}") in line and "\n" not in line
    assert "Did you mean" in line and repr(last) in line


@settings(FIXED, max_examples=8)
@given(name=st.sampled_from(NAMES).flatmap(lambda name: st.sampled_from([f"{name}x", f"+{name}x", f"{name}.x"])))
@example("agent.algorithm.actor_hidden_dims.x")
def test_composing_refuses_names_that_are_not_there(name: str) -> None:
    assume(not name.startswith(("agent.obs_groups", "+agent.obs_groups")))
    with pytest.raises(ConfigError) as caught:
        compose("Pendulum-v1", overrides=[f"{name}=1"])
    assert "\n" not in str(caught.value)
