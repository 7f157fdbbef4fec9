# SPDX-License-Identifier: BSD-3-Clause
"""TruDi's settings: impossible values are refused by name, PPO's own are ignored by name."""

import dataclasses
import inspect
import math
import warnings
from typing import Any

import pytest
from rsl_rl.algorithms import PPO

from trudi_rsl.algorithms import REPPOCfg, TruDiCfg
from trudi_rsl.errors import ConfigError
from trudi_rsl.settings import OF_ACTOR, settings_from_dict

NAN, INF = float("nan"), float("inf")

IMPOSSIBLE: list[tuple[str, Any, str]] = [
    *((name, value, "an integer of at least 1")
      for name in ("num_learning_epochs", "num_mini_batches", "num_denoise_steps", "num_kl_chains", "critic_hidden_dim")
      for value in (0, -1, 1.5, "8", None)),
    *((name, value, "above 0")
      for name in ("learning_rate", "max_grad_norm", "prior_std", "init_friction", "kl_bound", "init_lambda",
                   "init_alpha")
      for value in (0, 0.0, -0.1)),
    *((name, value, "a finite number")
      for name in ("learning_rate", "kl_bound", "gamma", "lam", "aux_loss_coef", "entropy_target_per_dim")
      for value in (NAN, INF, None, True)),
    ("gamma", 1.0, r"in \[0, 1\)"),
    ("gamma", -0.1, r"in \[0, 1\)"),
    ("lam", 1.1, r"in \[0, 1\]"),
    ("aux_loss_coef", -1.0, "at least 0"),
    ("num_bins", 1, "an integer of at least 2"),
    ("num_bins", 51.0, "an integer of at least 2"),
    ("entropy_target_per_dim", 0.7, r"at most ln 2 = 0\.6931.*without bound"),
    ("kl_estimator", "median", "closed_form"),
    ("kl_chains", "both", "fresh"),
    ("actor_gradient", "reinforce", "pathwise"),
    ("num_adjoint_steps", -1, "an integer of at least 0"),
    ("actor_hidden_dims", [], "a non-empty list of positive widths"),
    ("actor_hidden_dims", [64, 0], "a non-empty list of positive widths"),
    ("actor_hidden_dims", "64", "a non-empty list of positive widths"),
    ("actor_hidden_dims", 64, "a non-empty list of positive widths"),
    ("state_encoder_dims", [64, 0], "a list of positive widths, empty for none"),
    ("state_encoder_dims", None, "a list of positive widths, empty for none"),
    *((name, value, r"\[low, high\] with low < high")
      for name in ("value_range", "action_bounds")
      for value in ([1.0, 1.0], [2.0, 1.0], [0.0], [0.0, 1.0, 2.0], [0.0, INF], [NAN, 1.0], "automatic", 3.0)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "allowed"), IMPOSSIBLE, ids=lambda v: str(v)[:30])
def test_impossible_values_are_refused_with_field_value_and_allowed_range(name: str, value: Any, allowed: str) -> None:
    with pytest.raises(ConfigError, match=rf"^algorithm\.{name} must be .*{allowed}") as error:
        TruDiCfg.from_dict({name: value})
    assert repr(value) in str(error.value)


def test_infeasible_entropy_target_names_the_largest_feasible_one_which_is_accepted() -> None:
    with pytest.raises(ConfigError, match=f"{math.log(2.0):.4f}"):
        TruDiCfg(entropy_target_per_dim=0.6932)
    assert TruDiCfg(entropy_target_per_dim=math.log(2.0)).entropy_target_per_dim == math.log(2.0)


def test_several_chains_need_fresh_ones() -> None:
    with pytest.raises(ConfigError, match="num_kl_chains must be 1 unless kl_chains is fresh"):
        TruDiCfg(num_kl_chains=4)
    with pytest.raises(ConfigError, match="num_kl_chains"):
        TruDiCfg(num_kl_chains=4, kl_chains="fresh", kl_estimator="reverse")
    assert TruDiCfg(num_kl_chains=4, kl_chains="fresh").num_kl_chains == 4


@pytest.mark.parametrize("settings", [{"kl_estimator": "reverse"}, {"kl_chains": "fresh", "num_kl_chains": 4}])
def test_adjoint_matching_needs_one_old_chain_per_state(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"actor_gradient must be pathwise unless .* one old chain per state"):
        TruDiCfg(actor_gradient="adjoint", **settings)
    assert TruDiCfg(actor_gradient="adjoint", kl_chains="fresh").actor_gradient == "adjoint"


def test_settings_survive_the_way_through_a_checkpoint() -> None:
    for settings in (TruDiCfg(), TruDiCfg(state_encoder_dims=[64, 32], actor_hidden_dims=[16])):
        assert TruDiCfg.from_dict(settings.to_dict()).state_encoder_dims == settings.state_encoder_dims


def test_residual_needs_equal_widths() -> None:
    with pytest.raises(ConfigError, match="residual must be false unless all actor_hidden_dims are equal"):
        TruDiCfg(residual=True, actor_hidden_dims=[64, 32])
    assert TruDiCfg(residual=True, actor_hidden_dims=[64, 64]).residual


NUMBERS = ("learning_rate", "max_grad_norm", "gamma", "kl_bound", "entropy_target_per_dim", "init_alpha")


@pytest.mark.parametrize("name", NUMBERS)
def test_text_for_a_number_gets_the_yaml_hint(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"{name} must be a finite number; got '1\.0e4'\. YAML reads 1\.0e4 as text"):
        TruDiCfg.from_dict({name: "1.0e4"})


@pytest.mark.parametrize("name", ["value_range", "action_bounds"])
def test_text_for_an_ends_number_gets_the_yaml_hint(name: str) -> None:
    with pytest.raises(ConfigError, match=r"YAML reads 1\.0e4 as text"):
        TruDiCfg.from_dict({name: ["-1.0e4", "1.0e4"]})


@pytest.mark.parametrize(
    ("name", "value"),
    [("residual", "false"), ("obs_normalization", "off"), ("num_mini_batches", True), ("num_bins", "151")],
)
def test_wrong_types_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=name):
        TruDiCfg.from_dict({name: value})


@pytest.mark.parametrize(
    ("name", "near"),
    [("kl_bnd", "kl_bound"), ("num_denoising_steps", "num_denoise_steps"), ("learnig_rate", "learning_rate")],
)
def test_unknown_fields_are_refused_with_the_nearest_names(name: str, near: str) -> None:
    with pytest.raises(ConfigError, match=rf"no setting 'algorithm\.{name}'\. Did you mean .*'{near}'"):
        TruDiCfg.from_dict({name: 1})


def test_unknown_field_like_no_other_gets_all_names() -> None:
    with pytest.raises(ConfigError) as error:
        TruDiCfg.from_dict({"zzz": 1})
    for field in dataclasses.fields(TruDiCfg):
        assert field.name in str(error.value)


def test_ppos_own_settings_are_ignored_with_one_warning_that_names_them() -> None:
    with pytest.warns(UserWarning) as caught:
        cfg = TruDiCfg.from_dict(
            {"class_name": "TruDi", "clip_param": 0.2, "desired_kl": 0.01, "gamma": 0.97, "rnd_cfg": None}
        )
    assert cfg == TruDiCfg(gamma=0.97)
    assert len(caught) == 1
    assert str(caught[0].message).endswith("clip_param, desired_kl.")


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


def test_settings_without_ppos_give_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cfg = TruDiCfg.from_dict({"class_name": "trudi_rsl.algorithms:TruDi", "rnd_cfg": None, "kl_bound": 0.2})
    assert cfg.kl_bound == 0.2


def test_settings_survive_a_round_trip_as_plain_values() -> None:
    cfg = TruDiCfg(value_range=(-5, 5), action_bounds=(-2, 2), actor_hidden_dims=(64, 64), residual=True)
    values = cfg.to_dict()
    assert values["value_range"] == [-5.0, 5.0] and values["actor_hidden_dims"] == [64, 64]
    assert TruDiCfg.from_dict(values).to_dict() == values


@pytest.mark.parametrize(
    ("settings", "stores"),
    [
        ({}, True),
        ({"kl_chains": "fresh"}, False),
        ({"kl_estimator": "reverse"}, False),
        ({"kl_estimator": "log_ratio"}, True),
    ],
)
def test_chains_are_stored_only_where_the_path_kl_reads_them(settings: dict[str, Any], stores: bool) -> None:
    assert TruDiCfg(**settings).stores_chains == stores


def test_the_kind_of_actor_decides_the_entropy_target() -> None:
    diffusion, gaussian = settings_from_dict({}), settings_from_dict({"actor": "gaussian"})
    assert (diffusion.actor, gaussian.actor) == ("diffusion", "gaussian")
    assert (diffusion.entropy_target_per_dim, gaussian.entropy_target_per_dim) == (-1.665, -0.5)
    assert settings_from_dict({"actor": "gaussian", "entropy_target_per_dim": -1.0}).entropy_target_per_dim == -1.0


def test_reppo_differs_from_trudi_in_settings_of_the_actor_only() -> None:
    trudi, reppo = TruDiCfg().to_dict(), REPPOCfg().to_dict()
    assert {name for name in trudi if trudi[name] != reppo[name]} == {"actor", "entropy_target_per_dim"} < set(OF_ACTOR)
    assert reppo == settings_from_dict(reppo).to_dict()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"actor": "gausian"}, r"algorithm\.actor must be one of \('diffusion', 'gaussian'\); got 'gausian'"),
        (
            {"actor": "gaussian", "kl_estimator": "reverse"},
            r"kl_estimator must be closed_form .*'reverse'",
        ),
        ({"actor": "gaussian", "kl_estimator": "log_ratio"}, "kl_estimator must be closed_form for a Gaussian"),
        ({"actor": "gaussian", "kl_chains": "fresh"}, "kl_chains must be stored for a Gaussian.*'fresh'"),
        ({"actor": "gaussian", "num_kl_chains": 2}, "num_kl_chains must be 1 for a Gaussian.*2"),
        ({"actor": "gaussian", "kl_bnd": 1.0}, "Did you mean 'kl_bound'"),
    ],
)
def test_what_a_gaussian_has_no_use_for_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        settings_from_dict(settings)


def test_settings_of_one_actor_are_not_taken_for_the_others() -> None:
    with pytest.raises(ConfigError, match=r"actor must be diffusion in TruDi; .*--algo reppo"):
        TruDiCfg(actor="gaussian")
    with pytest.raises(ConfigError, match=r"actor must be gaussian in REPPO; .*--algo trudi"):
        REPPOCfg(actor="diffusion")
