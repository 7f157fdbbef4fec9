# SPDX-License-Identifier: BSD-3-Clause
"""One line turns a PPO configuration of plain RSL-RL into TruDi's, for environments that have only what PPO needs."""

from __future__ import annotations

import copy
import re
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rsl_rl.runners import OnPolicyRunner as StockRunner
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensordict import TensorDict

import trudi_rsl
from tests.rsl_rl.helpers import algorithm
from trudi_rsl import errors
from trudi_rsl.checkpoints.file import read_checkpoint
from trudi_rsl.commands import program, train
from trudi_rsl.config import compose
from trudi_rsl.config.overrides import parse_overrides
from trudi_rsl.config.swap import replace_ppo_settings, trudi_cfg
from trudi_rsl.environments.action_bounds import action_bounds
from trudi_rsl.errors import ConfigError, TaskError
from trudi_rsl.rsl_rl_compat.version import POLICY_STYLE, PPO_MODELS
from trudi_rsl.settings import TruDiCfg

pytestmark = pytest.mark.skipif(POLICY_STYLE, reason="RSL-RL 3 passes its policy section to the algorithm")

needs_models = pytest.mark.skipif(not PPO_MODELS, reason="the sections and relatives of PPO need RSL-RL 5")
ROOT = Path(__file__).resolve().parents[2]
README, PAGE = ROOT / "README.md", ROOT / "docs" / "your_own_environment.md"
EXAMPLE: dict[str, Any] = {"__name__": "example"}
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
exec(next(block for block in BLOCKS if "class " in block), EXAMPLE)
TRUDI = "trudi_rsl.algorithms:TruDi"


def ppo_cfg(**algorithm: Any) -> dict[str, Any]:
    """Return the page's configuration for PPO with small networks."""
    cfg = copy.deepcopy(EXAMPLE["train_cfg"])
    cfg["actor"]["hidden_dims"], cfg["critic"]["hidden_dims"] = [24, 16], [32, 16]
    cfg["algorithm"] |= {"class_name": "PPO", **algorithm}
    return cfg


def swapped(**algorithm: Any) -> dict[str, Any]:
    return ppo_cfg(class_name=TRUDI, compile="off", num_denoise_steps=2, **algorithm)


def spo_cfg() -> dict[str, Any]:
    return ppo_cfg(class_name="trudi_rsl.algorithms:SPO")


def point_mass(num_envs: int = 4, **attributes: Any) -> Any:
    """Return the page's environment with attributes of another meaning than they have here."""
    own = type("Project", (EXAMPLE["PointMass"],), attributes)
    return own(num_envs)


def trained(env: Any, cfg: dict[str, Any], folder: Path | None = None) -> StockRunner:
    torch.manual_seed(0)
    runner = StockRunner(env, cfg, None if folder is None else str(folder), "cpu")
    runner.learn(1)
    return runner


def test_the_class_name_alone_and_trudi_cfg_train_the_same_parameters() -> None:
    original = ppo_cfg()
    torch.manual_seed(1)
    made = trudi_rsl.trudi_cfg(original, point_mass(), compile="off", num_denoise_steps=2)
    assert original == ppo_cfg()
    policies = []
    for cfg in (made, swapped()):
        torch.manual_seed(1)
        policies.append(trained(point_mass(), cfg).alg.get_policy().state_dict())
        assert cfg["num_steps_per_env"] == 32
    assert policies[0].keys() == policies[1].keys()
    assert all(torch.equal(value, policies[1][name]) for name, value in policies[0].items())


@pytest.mark.filterwarnings("ignore:TruDi has no use for")
def test_the_class_is_found_by_the_line_of_the_readme_by_itself_and_through_trudi_cfg_by_its_bare_name() -> None:
    line = re.search(r'`class_name = "([^"]+)"`', README.read_text(encoding="utf-8"))
    assert line is not None
    for name in (line[1], trudi_rsl.TruDi):
        runner = StockRunner(point_mass(), swapped() | {"algorithm": swapped()["algorithm"] | {"class_name": name}})
        assert type(runner.alg) is trudi_rsl.TruDi
    bare = trudi_cfg(ppo_cfg(class_name="TruDi"), point_mass())
    assert bare == trudi_cfg(ppo_cfg(), point_mass())
    assert type(StockRunner(point_mass(), bare).alg) is trudi_rsl.TruDi


def test_a_configuration_keeps_gamma_widths_and_budget_and_gets_the_preset_of_its_size() -> None:
    cfg = ppo_cfg(gamma=0.97) | {"max_iterations": 400}
    made = trudi_cfg(cfg, point_mass(64), learning_rate=2e-3)
    section = made["algorithm"]
    assert (made["num_steps_per_env"], made["max_iterations"], section["num_mini_batches"]) == (32, 300, 16)
    assert (section["gamma"], section["learning_rate"], section["actor_gradient"]) == (0.97, 2e-3, "adjoint")
    assert (section["actor_hidden_dims"], section["critic_hidden_dim"]) == ([24, 16], 32)
    assert not {"actor", "critic"} & made.keys() and "clip_param" not in section
    TruDiCfg.from_dict(section)
    many = trudi_cfg(cfg, SimpleNamespace(num_envs=4096, num_actions=2))  # pyright: ignore[reportArgumentType]
    assert (many["num_steps_per_env"], many["max_iterations"], many["algorithm"]["num_mini_batches"]) == (64, 150, 32)
    assert many["algorithm"]["learning_rate"] == 3e-4


def test_a_section_with_all_settings_of_trudi_and_one_without_any_of_ppo_are_used_as_they_are() -> None:
    env = point_mass(64)
    for cfg in (
        trudi_cfg(ppo_cfg(), env, num_mini_batches=3) | {"actor": {"hidden_dims": [8]}, "num_steps_per_env": 5},
        {"num_steps_per_env": 5, "algorithm": {"class_name": TRUDI, "num_mini_batches": 3}},
    ):
        before = copy.deepcopy(cfg)
        replace_ppo_settings(cfg, env, "trudi")
        assert cfg == before


def test_an_unknown_setting_and_a_network_of_its_own_are_refused_in_the_words_of_a_dict() -> None:
    with pytest.raises(ConfigError, match=r"no argument 'kl_bond'.*'kl_bound'"):
        trudi_cfg(ppo_cfg(), point_mass(), kl_bond=0.1)
    cfg = swapped()
    cfg["actor"] |= {"class_name": "project:OwnModel"}
    with pytest.raises(ConfigError, match=r'OwnModel.*train_cfg\["actor"\]\["class_name"\]'):
        StockRunner(point_mass(), cfg, None, "cpu")


@pytest.mark.filterwarnings("ignore:TruDi has no use for")
def test_a_project_with_rnd_changes_the_same_line_and_keeps_it(tmp_path: Path) -> None:
    rnd = {"weight": 0.5, "num_outputs": 2, "predictor_hidden_dims": [8], "target_hidden_dims": [8]}
    env = point_mass()
    env.max_episode_length = 9
    cfg = swapped(rnd_cfg=rnd, num_learning_epochs=1) | {"num_steps_per_env": 32}
    torch.manual_seed(0)
    runner = StockRunner(env, cfg, str(tmp_path), "cpu")
    runner.learn(2)
    saved = read_checkpoint(tmp_path / "model_1.pt")
    assert saved["rnd_progress"]["update_counter"] == 64
    assert saved["trudi_rsl"]["settings"]["rnd_cfg"] == rnd
    assert set(saved["rnd_state_dict"]) == set(algorithm(runner).rnd.state_dict())
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    tags = {"Rnd/mean_extrinsic_reward", "Rnd/mean_intrinsic_reward", "Rnd/weight", "Loss/rnd"}
    assert tags <= set(events.Tags()["scalars"])
    assert trudi_cfg(ppo_cfg(rnd_cfg=rnd), env)["algorithm"]["rnd_cfg"] == rnd


def mirror(env: Any, obs: TensorDict | None = None, actions: torch.Tensor | None = None) -> tuple[Any, Any]:
    """Return the point mass and its mirror image at the origin."""
    if obs is not None:
        image = obs.clone()
        image["policy"] = -obs["policy"]
        obs = torch.cat([obs, image])  # pyright: ignore
    return obs, None if actions is None else torch.cat([actions, -actions])


def test_a_project_with_symmetry_changes_the_same_line_and_keeps_it(tmp_path: Path) -> None:
    section = {"data_augmentation_func": mirror, "use_data_augmentation": True, "use_mirror_loss": True}
    named = {**section, "data_augmentation_func": f"{__name__}:mirror", "mirror_loss_coeff": 0.1}
    cfg = swapped(symmetry_cfg={**section, "mirror_loss_coeff": 0.1}, num_learning_epochs=1)
    runner = trained(point_mass(), cfg | {"num_steps_per_env": 32}, tmp_path)
    assert read_checkpoint(tmp_path / "model_0.pt")["trudi_rsl"]["settings"]["symmetry_cfg"] == named
    terms = algorithm(runner).symmetry.terms  # pyright: ignore[reportOptionalMemberAccess]
    assert (terms.augments, terms.loss_coef, terms.mirrors.num_maps) == (True, 0.1, 2)
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert "Loss/symmetry" in events.Tags()["scalars"]
    assert trudi_cfg(ppo_cfg(symmetry_cfg=section), point_mass())["algorithm"]["symmetry_cfg"] is not None


def test_observations_without_groups_are_refused_with_the_line_to_write() -> None:
    env = point_mass(get_observations=lambda self: torch.zeros(4, 4))
    with pytest.raises(ConfigError, match=r"a Tensor; .*TensorDict\(\{\"policy\": obs\}"):
        StockRunner(env, swapped(), None, "cpu")


def step_with(change: Any) -> Any:
    def step(self: Any, actions: torch.Tensor) -> Any:
        obs, rewards, dones, extras = EXAMPLE["PointMass"].step(self, actions)
        return change(self, obs, rewards, dones, extras)

    return step


def fails(self: Any) -> Any:
    raise RuntimeError("of another meaning")


ODD: dict[str, dict[str, Any]] = {
    "state_dict with arguments": {"state_dict": lambda self, path: None, "load_state_dict": lambda self, path: None},
    "state_dict of networks": {"state_dict": lambda self: {"exact": object(), "num_envs": 4}, "load_state_dict": fails},
    "step_dt is text": {"step_dt": "20 ms"},
    "step_dt fails": {"step_dt": property(fails)},
    "task is an object": {"task": object()},
    "expanded rewards": {"step": step_with(lambda s, o, r, d, e: (o, r[:1].expand(4), d, e))},
    "no time_outs": {"step": step_with(lambda s, o, r, d, e: (o, r, d, {}))},
    "final_obs is a tensor": {"step": step_with(lambda s, o, r, d, e: (o, r, d, e | {"final_obs": torch.zeros(4, 4)}))},
    "final_obs of ended ones": {
        "step": step_with(
            lambda s, o, r, d, e: (o, r, d, e | {"final_obs": TensorDict({"policy": torch.zeros(1, 4)}, [1])})
        )
    },
    "success is text": {"step": step_with(lambda s, o, r, d, e: (o, r, d, e | {"success": ["yes"] * 4}))},
}


@pytest.mark.parametrize("attributes", ODD.values(), ids=ODD)
@pytest.mark.filterwarnings("ignore:TruDi has no use for")
def test_what_an_environment_has_in_another_meaning_is_no_obstacle(attributes: dict[str, Any], tmp_path: Path) -> None:
    env = point_mass(max_episode_length=9, **attributes)
    env.max_episode_length = 9
    cfg = swapped() | {"num_steps_per_env": 32}
    trained(env, cfg, tmp_path)
    assert "env_state" not in read_checkpoint(tmp_path / "model_0.pt")


@pytest.mark.parametrize(
    ("attributes", "low"),
    [
        ({"action_low": -2.0 * torch.ones(3), "action_high": torch.ones(3)}, -2.0),
        ({"single_action_space": SimpleNamespace(low=[-3.0] * 3, high=[1.0] * 3)}, -3.0),
        ({"action_low": "of another meaning", "action_high": None, "action_space": 7}, -1.0),
        ({"action_space": SimpleNamespace(low=[-float("inf")] * 3, high=[float("inf")] * 3)}, -1.0),
    ],
    ids=["own", "Box", "another meaning", "infinite"],
)
def test_bounds_are_the_environments_or_else_one_with_a_warning(
    attributes: dict[str, Any], low: float, capsys: pytest.CaptureFixture[str]
) -> None:
    env: Any = SimpleNamespace(num_actions=3, **attributes)
    assert action_bounds(env, None)[0].tolist() == [low] * 3
    said = capsys.readouterr().out
    assert ('train_cfg["algorithm"]["action_bounds"] = [-1.0, 1.0]' in said) == (low == -1.0)
    assert action_bounds(env, (-5.0, 5.0))[0].tolist() == [-5.0] * 3


@pytest.mark.parametrize("value", [0.2, [-1.0, 1.0], "auto", False, None])
def test_a_setting_is_written_so_that_its_user_can_copy_it(value: Any) -> None:
    cfg: dict[str, Any] = {"algorithm": {}}
    exec(errors.setting("algorithm.action_bounds", repr(value)), {"train_cfg": cfg})
    assert cfg == {"algorithm": {"action_bounds": value}}
    with errors.settings_as_overrides():
        written = errors.setting("algorithm.action_bounds", repr(value))
    assert shlex.split(written) == [written], "one word of a shell"
    (override,) = parse_overrides([written])
    assert (override.key_or_group, override.value()) == ("agent.algorithm.action_bounds", value)


def test_a_swap_after_a_command_in_the_same_process_speaks_of_dict_keys_and_the_command_of_overrides(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    env = point_mass()
    env.action_low = env.action_high = None

    def main(_argv: list[str]) -> None:
        compose("Pendulum-v1", overrides=["agent.algorithm.kl_bound=0.2"])
        action_bounds(env, None)

    monkeypatch.setattr(train, "main", main)
    assert program.run("train", []) == 0
    assert "agent.algorithm.action_bounds=[-1.0,1.0]" in capsys.readouterr().out
    compose("Pendulum-v1", overrides=["agent.algorithm.kl_bound=0.2"])
    trained(env, trudi_cfg(ppo_cfg(), env, compile="off", num_denoise_steps=2))
    said = capsys.readouterr().out
    assert 'train_cfg["algorithm"]["action_bounds"] = [-1.0, 1.0]' in said
    assert "agent.algorithm" not in said


@pytest.mark.parametrize("value", [-1, "0.2"])
def test_an_impossible_setting_is_refused_when_the_configuration_is_made_as_a_key_of_it(value: Any) -> None:
    with pytest.raises(ConfigError, match=r'^train_cfg\["algorithm"\]\["kl_bound"\] must be'):
        trudi_cfg(ppo_cfg(), point_mass(), kl_bound=value)
    with pytest.raises(ConfigError, match=r'^train_cfg\["algorithm"\]\["kl_bound"\] must be'):
        StockRunner(point_mass(), swapped(kl_bound=value), None, "cpu")


@pytest.mark.parametrize(
    ("what", "shape", "needed"),
    [
        ("observations of the group 'policy'", [4, 5], [4, 4]),
        ("rewards", [4, 1], [4]),
        ("dones", [4, 1], [4]),
    ],
)
@pytest.mark.parametrize(
    ("runner", "cfg"),
    [
        (StockRunner, swapped),
        (trudi_rsl.OnPolicyRunner, swapped),
        pytest.param(trudi_rsl.OnPolicyRunner, ppo_cfg, marks=needs_models),
        pytest.param(trudi_rsl.OnPolicyRunner, spo_cfg, marks=needs_models),
    ],
    ids=["stock runner", "our runner", "PPO", "SPO"],
)
def test_a_step_of_another_shape_is_named_with_what_is_needed(
    runner: type[StockRunner], cfg: Any, what: str, shape: list[int], needed: list[int]
) -> None:
    def step(self: Any, actions: torch.Tensor) -> tuple[Any, ...]:
        obs, rewards, dones, extras = EXAMPLE["PointMass"].step(self, actions)
        if self.episode_length_buf[0] == 3:
            wrong = {what.split()[0]: torch.zeros(shape)}
            rewards, dones = wrong.get("rewards", rewards), wrong.get("dones", dones)
            obs = TensorDict({"policy": wrong["observations"]}, batch_size=[4]) if "observations" in wrong else obs
        return obs, rewards, dones, extras

    sentence = f"step 2 of this rollout returned {what} of shape {shape}, not {needed}"
    with pytest.raises(TaskError, match=re.escape(sentence)):
        runner(point_mass(step=step), cfg(), None, "cpu").learn(1)
