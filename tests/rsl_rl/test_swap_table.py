# SPDX-License-Identifier: BSD-3-Clause
"""Every row of the table of PPO's settings in docs/swap.md holds; a row without a check, or the reverse, fails."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from rsl_rl.algorithms import PPO

from tests.rsl_rl.image_env import CNN
from tests.rsl_rl.test_swap import mirror, point_mass, ppo_cfg
from trudi_rsl.config.presets import task_preset
from trudi_rsl.config.swap import SMALLEST_BATCH, trudi_cfg
from trudi_rsl.errors import ConfigError
from trudi_rsl.ppo_fields import PPO_ONLY_FIELDS
from trudi_rsl.rsl_rl_compat.version import POLICY_STYLE
from trudi_rsl.settings import TruDiCfg

pytestmark = pytest.mark.skipif(POLICY_STYLE, reason="RSL-RL 3 passes its policy section to the algorithm")

PAGE = Path(__file__).resolve().parents[2] / "docs" / "swap.md"
TABLE = re.search(r"\n\| setting of PPO .*?\n\n", PAGE.read_text(encoding="utf-8"), re.DOTALL)
assert TABLE is not None
ROWS = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in TABLE[0].strip().splitlines()[2:]]
IMAGES = {"class_name": "CNNModel", "cnn_cfg": CNN, "obs_normalization": True}
MEMORY = {
    **{"class_name": "RNNModel", "rnn_type": "gru", "rnn_hidden_dim": 4, "rnn_num_layers": 1},
    "obs_normalization": False,
}
HIDDEN = {"actor": [7, 5], "critic": [6, 9, 5]}


class OwnPPO(PPO):
    """A project's own PPO."""

    def __init__(self, *args: Any, jerk_coef: float = 0.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)


class OwnModel:
    """A model that a project has made by itself."""


def swapped(part: Mapping[str, Any] | None = None, **algorithm: Any) -> dict[str, Any]:
    """Return TruDi's configuration for the point mass, whose PPO has other parts and settings."""
    return trudi_cfg(ppo_cfg(**algorithm) | dict(part or {}), point_mass())


def refused(words: str, part: Mapping[str, Any] | None = None, **algorithm: Any) -> None:
    with pytest.raises(ConfigError, match=words):
        swapped(part, **algorithm)


def kept() -> None:
    part = {"seed": 7, "save_interval": 9, "logger": "wandb", "obs_groups": {"actor": ["policy"], "critic": ["policy"]}}
    made = swapped(part, gamma=0.93)
    assert {name: made[name] for name in part} == part
    assert made["algorithm"]["gamma"] == 0.93


def rollouts_grow() -> None:
    made = swapped({"num_steps_per_env": 8, "max_iterations": 100})
    steps = task_preset("", "gymnasium")["agent"]["num_steps_per_env"]
    assert (made["num_steps_per_env"], made["max_iterations"] * steps) == (steps, 8 * 100)


def of_the_preset() -> None:
    odd = {"num_learning_epochs": 17, "num_mini_batches": 19, "learning_rate": 0.123, "max_grad_norm": 7.0, "lam": 0.1}
    section, preset = swapped(**odd)["algorithm"], task_preset("", "gymnasium")["agent"]
    # the smallest minibatch: the environment has only 4 copies
    rows = 4 * preset["num_steps_per_env"]
    expected = dict(preset["algorithm"]) | {"num_mini_batches": rows // SMALLEST_BATCH}
    assert {name: section[name] for name in odd} == {
        name: expected.get(name, TruDiCfg().to_dict()[name]) for name in odd
    }


def widths() -> None:
    networks = {name: {"class_name": "MLPModel", "hidden_dims": dims} for name, dims in HIDDEN.items()}
    section = swapped(networks)["algorithm"]
    # TruDi's critic has one width
    assert (section["actor_hidden_dims"], section["critic_hidden_dim"]) == (HIDDEN["actor"], max(HIDDEN["critic"]))
    assert section["actor_encoder"] is section["critic_encoder"] is None


def encodes(model: dict[str, Any]) -> None:
    for name, other in (("actor", "critic"), ("critic", "actor")):
        section = swapped({name: model | {"hidden_dims": [8]}})["algorithm"]
        assert section[f"{name}_encoder"] == model and section[f"{other}_encoder"] is None


def other_images() -> None:
    refused("ActorCriticCNN", {"policy": {"class_name": "ActorCriticCNN"}})
    refused("network for images", {"actor": {"class_name": "MLPModel", "cnn_cfg": CNN}})
    refused("must not be batch", {"actor": IMAGES | {"cnn_cfg": CNN | {"norm": "batch"}}})


def own_model() -> None:
    refused("describes a OwnModel", {"critic": {"class_name": OwnModel}})


def own_encoder() -> None:
    encodes(IMAGES | {"class_name": "tests.rsl_rl.test_own_encoders:Averaged"})


def curious() -> None:
    rnd = {"weight": 0.5, "num_outputs": 2, "predictor_hidden_dims": [8], "target_hidden_dims": [8]}
    assert swapped(rnd_cfg=rnd)["algorithm"]["rnd_cfg"] == rnd


def symmetric() -> None:
    use = {"use_data_augmentation": True, "use_mirror_loss": True, "mirror_loss_coeff": 0.5}
    section = swapped(symmetry_cfg={"data_augmentation_func": mirror, **use})["algorithm"]["symmetry_cfg"]
    assert {name: section[name] for name in use} == use


def listed(names: Mapping[str, Any], *said: str) -> Callable[[pytest.CaptureFixture[str]], None]:
    def check(capsys: pytest.CaptureFixture[str]) -> None:
        section = swapped(**names)["algorithm"]
        assert not names.keys() & section.keys()
        output = capsys.readouterr().out
        assert all(output.count(text) == 1 for text in said), output

    return check


def unknown() -> None:
    refused(r"clip_parm.*'clip_param'", clip_parm=0.1)


def foreign_algorithms() -> None:
    refused("describes a OwnPPO", class_name=OwnPPO)
    refused("is for distillation", class_name="Distillation")


def several_critics() -> None:
    critic = {"class_name": "MLPModel", "hidden_dims": [8]}
    refused("has 2 critic networks", {"critic": [critic, critic]})
    refused("critic_2 section describes one more network", {"critic_2": critic})


CHECKS: dict[str, Callable[..., None]] = {
    "`gamma`": kept,
    "`num_steps_per_env`": rollouts_grow,
    "`num_learning_epochs`": of_the_preset,
    "`MLPModel`": widths,
    "`RNNModel`": lambda: encodes(MEMORY),
    "`ActorCriticRecurrent`": lambda: refused("recurrent", {"policy": {"class_name": "ActorCriticRecurrent"}}),
    "`CNNModel`, images": lambda: encodes(IMAGES),
    "`ActorCriticCNN`": other_images,
    "a subclass of `CNNModel`": own_encoder,
    "any other class": own_model,
    "`rnd_cfg`": curious,
    "`symmetry_cfg`": symmetric,
    "`clip_param`": listed(dict.fromkeys(PPO_ONLY_FIELDS, 0.1), *PPO_ONLY_FIELDS),
    "your own subclass of PPO's": listed({"jerk_coef": 0.1}, "jerk_coef (OwnPPO)"),
    "any other name": unknown,
    "`algorithm.class_name`": foreign_algorithms,
    "several critics": several_critics,
    "`class_name: DistillationRunner`": lambda: refused("distillation", {"class_name": "DistillationRunner"}),
}
"""What shows that a row holds, by a part of its first column."""


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_a_row_of_the_table_holds(row: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    (check,) = [check for part, check in CHECKS.items() if part in row[0]]
    check(*[capsys] if "capsys" in check.__code__.co_varnames else [])


def test_every_check_has_a_row_and_the_ignored_settings_are_all_of_them() -> None:
    assert all(sum(part in row[0] for row in ROWS) == 1 for part in CHECKS)
    (ignored,) = [row[0] for row in ROWS if "`clip_param`" in row[0]]
    assert set(re.findall(r"`(\w+)`", ignored)) == PPO_ONLY_FIELDS
