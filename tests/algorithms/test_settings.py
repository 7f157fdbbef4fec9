# SPDX-License-Identifier: BSD-3-Clause
"""Settings: impossible values are refused, PPO's own are ignored by name, and selectors choose the algorithm."""

import dataclasses
import inspect
import math
import warnings
from typing import Any

import pytest
from rsl_rl.algorithms import PPO

from tests.properties.small_env import SmallEnv
from trudi_rsl.algorithms import DIME, REPPO, DIMECfg, REPPOCfg, TruDi, TruDiCfg
from trudi_rsl.errors import ConfigError
from trudi_rsl.settings import SETTINGS, schema_fields, settings_from_dict

NAN, INF = float("nan"), float("inf")

IMPOSSIBLE: list[tuple[str, Any, str]] = [
    *((name, value, "an integer of at least 1")
      for name in ("num_learning_epochs", "num_mini_batches", "num_denoise_steps", "num_kl_chains", "critic_hidden_dim")
      for value in (0, -1, 1.5, "8", None, True)),
    *((name, value, "above 0")
      for name in ("learning_rate", "max_grad_norm", "prior_std", "init_friction", "kl_bound", "init_lambda",
                   "init_alpha")
      for value in (0, 0.0, -0.1)),
    *((name, value, "a finite number")
      for name in ("learning_rate", "kl_bound", "gamma", "lam", "aux_loss_coef", "entropy_target_per_dim")
      for value in (NAN, INF, None, True, "1.0e4")),
    *(("gamma", value, r"in \[0, 1\)") for value in (1.0, -0.1)),
    ("lam", 1.1, r"in \[0, 1\]"),
    ("aux_loss_coef", -1.0, "at least 0"),
    *(("num_bins", value, "an integer of at least 2") for value in (1, 51.0)),
    ("entropy_target_per_dim", 0.6932, r"at most ln 2 = 0\.6931"),
    ("kl_estimator", "median", "closed_form"),
    ("kl_chains", "both", "fresh"),
    ("actor_gradient", "reinforce", "pathwise"),
    ("num_adjoint_steps", -1, "an integer of at least 0"),
    ("residual", "false", "true or false"),
    ("obs_normalization", "off", "true or false"),
    *(("actor_hidden_dims", value, "a non-empty list of positive widths") for value in ([], [64, 0], "64", 64)),
    *(("state_encoder_dims", value, "a list of positive widths, empty for none") for value in ([64, 0], None)),
    *((name, value, r"\[low, high\] with low < high")
      for name in ("value_range", "action_bounds")
      for value in ([1.0, 1.0], [2.0, 1.0], [0.0], [0.0, 1.0, 2.0], [0.0, INF], [NAN, 1.0], "automatic", 3.0,
                    ["-1.0e4", "1.0e4"])),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "allowed"), IMPOSSIBLE, ids=lambda v: str(v)[:30])
def test_impossible_values_are_refused_with_field_value_and_allowed_range(name: str, value: Any, allowed: str) -> None:
    with pytest.raises(ConfigError, match=rf"^algorithm\.{name} must be .*{allowed}") as error:
        TruDiCfg.from_dict({name: value})
    assert repr(value) in str(error.value)
    assert ("1.0e+4" in str(error.value)) == ("1.0e4" in repr(value)), "text for a number gets YAML's spelling"


@pytest.mark.parametrize(
    "settings",
    [
        {"entropy_target_per_dim": math.log(2.0)},
        {"num_kl_chains": 4, "kl_chains": "fresh"},
        {"actor_gradient": "adjoint", "kl_chains": "fresh"},
        {"residual": True, "actor_hidden_dims": [64, 64]},
        {"value_range": (-5, 5), "action_bounds": (-2, 2), "state_encoder_dims": [64, 32]},
    ],
)
def test_allowed_settings_survive_a_round_trip_as_plain_values(settings: dict[str, Any]) -> None:
    values = TruDiCfg(**settings).to_dict()
    assert {name: values[name] for name in settings} == {
        name: list(v) if isinstance(v, tuple) else v for name, v in settings.items()
    }
    assert TruDiCfg.from_dict(values).to_dict() == values


def test_unknown_fields_are_refused_with_the_nearest_names() -> None:
    with pytest.raises(ConfigError, match=r"'algorithm\.num_denoising_steps'\. .*'num_denoise_steps'"):
        TruDiCfg.from_dict({"num_denoising_steps": 1})
    with pytest.raises(ConfigError) as error:
        TruDiCfg.from_dict({"zzz": 1})
    assert all(field.name in str(error.value) for field in dataclasses.fields(TruDiCfg))


def test_ppos_own_settings_are_ignored_with_one_message_that_names_them(capsys: pytest.CaptureFixture[str]) -> None:
    section = {"class_name": "TruDi", "clip_param": 0.2, "desired_kl": 0.01, "gamma": 0.97, "rnd_cfg": None}
    assert TruDiCfg.from_dict(section) == TruDiCfg(gamma=0.97)
    (message,) = capsys.readouterr().out.splitlines()
    assert "clip_param, desired_kl" in message and "rnd_cfg" not in message


def test_every_setting_of_the_installed_ppo_is_known() -> None:
    """A project that swaps the class name keeps its PPO section."""
    given_by_runner = {"self", "actor", "critic", "storage", "device", "multi_gpu_cfg"}
    defaults = {
        name: p.default for name, p in inspect.signature(PPO.__init__).parameters.items() if name not in given_by_runner
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cfg = TruDiCfg.from_dict(defaults)
    assert cfg.learning_rate == defaults["learning_rate"]


def test_chains_are_stored_only_if_the_path_kl_reads_them() -> None:
    for settings in ({}, {"kl_estimator": "log_ratio"}, {"actor": "gaussian"}):
        assert settings_from_dict(settings).stores_chains
    for settings in ({"kl_chains": "fresh"}, {"kl_estimator": "reverse"}, {"constraint": "none"}):
        assert not settings_from_dict(settings).stores_chains


def test_the_selectors_choose_the_algorithm_and_its_defaults() -> None:
    trudi, reppo, dime = (settings_from_dict(s) for s in ({}, {"actor": "gaussian"}, {"constraint": "none"}))
    assert (type(trudi), type(reppo), type(dime)) == (TruDiCfg, REPPOCfg, DIMECfg)
    assert (trudi.entropy_target_per_dim, reppo.entropy_target_per_dim) == (-1.665, -0.5)
    for cfg in (trudi, reppo, dime):
        assert settings_from_dict(cfg.to_dict()).to_dict() == cfg.to_dict()
    fields = {name: {f.name for f in dataclasses.fields(cls)} for name, cls in SETTINGS.items()}
    assert fields["reppo"] < fields["trudi"] and fields["dime"] < fields["trudi"]


@pytest.mark.parametrize(
    ("algo", "settings", "words"),
    [
        (None, {"num_kl_chains": 4}, "num_kl_chains must be"),
        (None, {"num_kl_chains": 4, "kl_chains": "fresh", "kl_estimator": "reverse"}, "num_kl_chains must be"),
        (None, {"actor_gradient": "adjoint", "kl_estimator": "reverse"}, "actor_gradient must be"),
        (None, {"actor_gradient": "adjoint", "kl_chains": "fresh", "num_kl_chains": 4}, "actor_gradient must be"),
        (None, {"residual": True, "actor_hidden_dims": [64, 32]}, "residual must be"),
        (None, {"actor": "gausian"}, r"actor must be one of \('diffusion', 'gaussian'\); got 'gausian'"),
        (None, {"constraint": "nun"}, r"constraint must be one of \('path_kl', 'none'\); got 'nun'"),
        (None, {"constraint": "none", "actor": "gaussian"}, "constraint must be path_kl in REPPO"),
        (None, {"actor": "gaussian", "kl_estimator": "reverse"}, "kl_estimator must be left at closed_form in REPPO"),
        (None, {"actor": "gaussian", "kl_chains": "fresh"}, "kl_chains must be left at stored in REPPO.*'fresh'"),
        (None, {"actor": "gaussian", "num_kl_chains": 2}, "num_kl_chains must be left at 1 in REPPO.*2"),
        (None, {"actor": "gaussian", "kl_bnd": 1.0}, r"kl_bnd.*Did you mean 'kl_bound'"),
        (None, {"constraint": "none", "kl_bound": 0.2}, r"kl_bound must be left at 0\.1 in DIME.*0\.2"),
        (None, {"constraint": "none", "init_lambda": 1.0}, r"init_lambda must be left at 0\.01 in DIME"),
        (None, {"constraint": "none", "actor_gradient": "adjoint"}, "actor_gradient must be left at pathwise in DIME"),
        ("trudi", {"actor": "gaussian"}, "actor must be diffusion in TruDi.*--algo reppo"),
        ("reppo", {"actor": "diffusion"}, "actor must be gaussian in REPPO.*--algo trudi"),
        ("trudi", {"constraint": "none"}, "constraint must be path_kl in TruDi.*--algo dime"),
        ("dime", {"constraint": "path_kl"}, "constraint must be none in DIME.*--algo trudi"),
    ],
)
def test_settings_that_exclude_each_other_or_belong_to_another_algorithm_are_refused(
    algo: Any, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=rf"algorithm\.{words}"):
        SETTINGS[algo].from_dict(settings) if algo else settings_from_dict(settings)


@pytest.mark.parametrize("algo", ["reppo", "dime"])
def test_sections_written_when_all_algorithms_had_trudis_fields_are_accepted(algo: str) -> None:
    """Checkpoints and ``params/agent.yaml`` of earlier versions list all fields, unused ones at any value."""
    cls = SETTINGS[algo]  # type: ignore[index]
    old = TruDiCfg(num_denoise_steps=4, prior_std=1.0).to_dict() | cls(gamma=0.9).to_dict()
    assert settings_from_dict(old).gamma == 0.9
    assert type(settings_from_dict(old)) is cls


@pytest.mark.parametrize("algo", ["trudi", "reppo", "dime"])
def test_a_schema_has_the_selectors_and_the_fields_with_their_defaults(algo: str) -> None:
    cls = SETTINGS[algo]  # type: ignore[index]
    assert {name: default for name, _, default in schema_fields(cls)} == cls().to_dict()


@pytest.mark.parametrize(("algorithm", "cls"), [(TruDi, TruDiCfg), (REPPO, REPPOCfg), (DIME, DIMECfg)])
def test_a_class_name_alone_selects_the_algorithm(algorithm: type[TruDi], cls: type) -> None:
    env = SmallEnv(3, 2, {"policy": 3})
    section = {"num_mini_batches": 1, "critic_hidden_dim": 4, "actor_hidden_dims": [4], "compile": "off"}
    cfg = {"algorithm": section, "obs_groups": {"actor": ["policy"], "critic": ["policy"]}, "num_steps_per_env": 2}
    built = algorithm.construct_algorithm(env.get_observations(), env, cfg, "cpu")
    assert type(built.cfg) is cls and type(built) is algorithm
    if algorithm is not TruDi:
        wrong = cfg | {"algorithm": section | {"actor": "diffusion" if cls is REPPOCfg else "gaussian"}}
        with pytest.raises(ConfigError, match=r'^train_cfg\["algorithm"\]\["actor"\] must be'):
            algorithm.construct_algorithm(env.get_observations(), env, wrong, "cpu")
