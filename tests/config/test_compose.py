# SPDX-License-Identifier: BSD-3-Clause
"""Composition: who wins over whom, and what is refused with which words."""

import dataclasses
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import DictConfig, OmegaConf

from trudi_rsl.config import compose, task_preset
from trudi_rsl.config.compose import check_sequences
from trudi_rsl.config.presets import CONFIG_DIR, available, preset_of
from trudi_rsl.config.schema import EnvCfg, HostSettings
from trudi_rsl.errors import ConfigError
from trudi_rsl.hosts.registry import hosts
from trudi_rsl.rsl_rl_compat.version import PPO_MODELS
from trudi_rsl.settings import SELECTORS, SETTINGS, TruDiCfg

TABLE = yaml.safe_load((CONFIG_DIR / "tasks.yaml").read_text())
LAID_OVER_A_HOSTS_OWN = ("isaaclab", "mjlab")
"""Hosts whose presets are no whole configurations: the host's configuration of the task comes below them."""
HOSTS = {host.name: host for host in hosts()}
PRESETS = [
    (host, algo, preset)
    for host, tables in TABLE.items()
    for algo, presets in tables.items()
    for preset in presets
    if host not in LAID_OVER_A_HOSTS_OWN
]


@cache
def compose_preset(host: str, algo: str, preset: str) -> DictConfig:
    """Compose a preset once for all tests that read it."""
    return compose("SomeTask-v0", algo, [f"preset={preset}"], host=HOSTS[host])


needs_ppo = pytest.mark.skipif(not PPO_MODELS, reason="the settings of PPO are written for RSL-RL 5")


@pytest.mark.parametrize(("host", "algo", "preset"), PRESETS)
def test_every_preset_composes_and_holds_possible_values(host: str, algo: str, preset: str) -> None:
    if algo != "trudi" and not PPO_MODELS:
        with pytest.raises(ConfigError, match=rf"{algo.upper()} here are written for rsl-rl-lib 5; installed is [34]"):
            compose("SomeTask-v0", algo, [f"preset={preset}"], host=HOSTS[host])
        return
    cfg = compose_preset(host, algo, preset)
    assert not OmegaConf.missing_keys(cfg)
    batch = cfg.env.num_envs * cfg.agent.num_steps_per_env / cfg.agent.algorithm.num_mini_batches
    assert batch == int(batch), "transitions are dropped"


@pytest.mark.parametrize(
    ("host", "preset"), [(host, preset) for host in LAID_OVER_A_HOSTS_OWN for preset in TABLE[host]["trudi"]]
)
def test_every_preset_for_a_hosts_configuration_holds_possible_values(host: str, preset: str, tmp_path: Path) -> None:
    shutil.copytree(CONFIG_DIR / "preset", tmp_path / "preset")
    (tmp_path / "tasks.yaml").write_text(f"{host}: {{trudi: {{{preset}: ['*']}}}}")
    agent = task_preset("any", host, tmp_path)["agent"]
    assert TruDiCfg.from_dict(agent["algorithm"]).num_mini_batches <= agent["num_steps_per_env"]


@pytest.mark.parametrize("algo", available("agent"))
def test_every_preset_in_the_task_table_exists_and_every_preset_is_in_it(algo: str) -> None:
    listed = {preset for tables in TABLE.values() for preset in tables.get(algo, {})}
    assert listed == set(available(f"preset/{algo}"))


@pytest.mark.parametrize(
    ("task", "host", "preset"),
    [
        ("HalfCheetah-v5", "gymnasium", "halfcheetah"),
        ("Hopper-v5", "gymnasium", "gymnasium"),
        ("my_package:MyTask-v0", "gymnasium", "gymnasium"),
        ("gymnasium:HalfCheetah-v5", "gymnasium", "halfcheetah"),
        ("Isaac-Velocity-Flat-H1-Play-v0", "isaaclab", "isaaclab_locomotion"),
        ("Isaac-Velocity-Flat-Anymal-D-v0", "isaaclab", "isaaclab"),
        ("Isaac-Reorient-Cube-Shadow-Direct", "isaaclab", "isaaclab_in_hand"),
        ("Isaac-Reorient-Cube-Allegro", "isaaclab", "isaaclab"),
        ("IsaacContrib-Velocity-Flat-Spot", "isaaclab", "isaaclab"),
        ("my_project:Robot-Walk", "isaaclab", "isaaclab"),
        ("my_project:Robot-Walk", "mjlab", "mjlab"),
    ],
)
def test_a_task_finds_its_preset_among_those_of_its_host(task: str, host: str, preset: str) -> None:
    assert preset_of(task, "trudi", host) == preset


def test_a_host_of_another_package_brings_schema_open_sections_and_presets_that_build_on_ours(tmp_path: Path) -> None:
    @dataclasses.dataclass
    class OwnEnvCfg(EnvCfg):
        gravity: float = 9.81
        options: dict[str, Any] = dataclasses.field(default_factory=dict)

    (tmp_path / "preset" / "trudi").mkdir(parents=True)
    (tmp_path / "tasks.yaml").write_text("own: {trudi: {own_task: ['Own-*']}}")
    preset = tmp_path / "preset" / "trudi" / "own_task.yaml"
    settings = "env: {gravity: 1.62}\nagent: {algorithm: {gamma: 0.9}}"
    preset.write_text(f"# @package _global_\ndefaults: [gymnasium]\n{settings}\n")
    host = HostSettings(name="own", env_cfg=OwnEnvCfg, config_dir=tmp_path)

    cfg = compose("Own-v0", overrides=["env.options.mass=2"], host=host)
    assert cfg.env == {"num_envs": 64, "gravity": 1.62, "options": {"mass": 2}}
    assert cfg.agent.algorithm.gamma == 0.9
    assert cfg.agent.max_iterations == compose("Hopper-v5").agent.max_iterations
    assert compose("Own-v0", overrides=["preset=halfcheetah"], host=host).env.gravity == 9.81
    for task, algo, overrides, words in (
        ("Own-v0", "trudi", ["env.gravty=1"], "Did you mean 'gravity'"),
        ("Own-v0", "trudi", ["env.gravity=low"], "env.gravity must be a number; got low"),
        ("Own-v0", "trudi", ["preset=own_tusk"], "Did you mean 'own_task'"),
        ("Else-v0", "trudi", [], "No preset of the host own for 'trudi' lists task 'Else-v0'"),
        *([("Own-v0", "ppo", [], "own has no presets for 'ppo', only for: trudi")] if PPO_MODELS else []),
    ):
        with pytest.raises(ConfigError, match=words):
            compose(task, algo, overrides, host=host)
    preset.rename(preset.with_name("gymnasium.yaml"))
    with pytest.raises(ConfigError, match=r"preset 'gymnasium' of its own; rename"):
        compose("Own-v0", overrides=["preset=gymnasium"], host=host)


def test_every_field_of_the_algorithm_can_be_overridden_and_keeps_its_default() -> None:
    algorithm = dict(compose("SomeTask-v0", overrides=["preset=dmc"]).agent.algorithm)
    fields = {f.name for f in dataclasses.fields(TruDiCfg)}
    assert set(algorithm) == fields | {"class_name", *SELECTORS}
    written = OmegaConf.select(OmegaConf.load(CONFIG_DIR / "preset" / "trudi" / "dmc.yaml"), "agent.algorithm")
    defaults = TruDiCfg().to_dict()
    assert {k: algorithm[k] for k in fields - set(written)} == {k: defaults[k] for k in fields - set(written)}


def test_overrides_win_over_flags_and_flags_over_presets() -> None:
    preset = compose("HalfCheetah-v5")
    flags = compose("HalfCheetah-v5", settings={"env.num_envs": 32, "agent.seed": 7, "agent.run_name": None})
    both = compose("HalfCheetah-v5", overrides=["env.num_envs=128"], settings={"env.num_envs": 32, "agent.seed": 7})
    assert (flags.env.num_envs, flags.agent.seed, flags.agent.run_name) == (32, 7, "")
    assert preset.env.num_envs not in (32, 128)
    assert (both.env.num_envs, both.agent.seed) == (128, 7)


@pytest.mark.parametrize("text", ["it's", 'say "x"', "a b", "1e3", "[a", "ends with '"])
def test_flag_values_are_taken_literally(text: str) -> None:
    assert compose("SomeTask-v0", settings={"agent.run_name": text}).agent.run_name == text


def test_open_sections_take_new_keys() -> None:
    cfg = compose("Ant-v5", overrides=["env.env_kwargs.healthy_reward=2.5", "agent.obs_groups.critic=[policy,extra]"])
    assert cfg.env.env_kwargs == {"healthy_reward": 2.5}
    assert cfg.agent.obs_groups == {"actor": ["policy"], "critic": ["policy", "extra"]}


@needs_ppo
def test_runs_of_different_algorithms_lie_apart() -> None:
    names = {compose("ns/Task-v0", algo).agent.experiment_name for algo in ("trudi", "reppo", "dime", "ppo")}
    assert names == {"ns_task-v0", "ns_task-v0_reppo", "ns_task-v0_dime", "ns_task-v0_ppo"}


@pytest.mark.parametrize(("host", "preset"), [(host, preset) for host, algo, preset in PRESETS if algo == "trudi"])
@pytest.mark.parametrize("algo", ["reppo", "dime"])
def test_trudis_relatives_have_the_tasks_preset_but_for_actor_or_constraint(algo: str, host: str, preset: str) -> None:
    trudi, relative = (compose_preset(host, name, preset) for name in ("trudi", algo))
    cls = SETTINGS[algo]  # type: ignore[index]
    own = cls().to_dict()
    assert set(relative.agent.algorithm) == {"class_name", *own}
    changed = {name for name in own if relative.agent.algorithm[name] != trudi.agent.algorithm[name]}
    assert changed <= ({"actor", "entropy_target_per_dim"} if algo == "reppo" else {"constraint"})
    fixed = SELECTORS if algo == "dime" else (*SELECTORS, "entropy_target_per_dim")
    assert {name: relative.agent.algorithm[name] for name in fixed} == {name: own[name] for name in fixed}
    assert relative.env == trudi.env
    runners = (cfg.agent.items() for cfg in (trudi, relative))
    shared = [{k: v for k, v in runner if k not in ("algorithm", "experiment_name")} for runner in runners]
    assert shared[0] == shared[1]


def test_a_presets_settings_of_a_diffusion_actor_do_not_reach_reppo_but_overrides_do(tmp_path: Path) -> None:
    shutil.copytree(CONFIG_DIR, tmp_path, dirs_exist_ok=True)
    with (tmp_path / "preset" / "trudi" / "halfcheetah.yaml").open("a") as file:
        file.write("    entropy_target_per_dim: -3.0\n    kl_chains: fresh\n")
    assert compose("HalfCheetah-v5", config_dir=tmp_path).agent.algorithm.entropy_target_per_dim == -3.0
    assert compose("HalfCheetah-v5", "reppo", config_dir=tmp_path).agent.algorithm.entropy_target_per_dim == -0.5
    override = ["agent.algorithm.entropy_target_per_dim=-1.0"]
    overridden = compose("HalfCheetah-v5", "reppo", override, config_dir=tmp_path)
    assert overridden.agent.algorithm.entropy_target_per_dim == -1.0


@pytest.mark.parametrize(
    ("algo", "override", "words"),
    [
        ("trudi", "constraint=none", "constraint must be path_kl in TruDi; none is DIME's"),
        ("reppo", "kl_chains=fresh", "kl_chains must be left at stored in REPPO"),
        ("dime", "actor=gaussian", "actor must be diffusion in DIME; gaussian is REPPO's"),
        ("dime", "kl_bound=0.2", "kl_bound must be left at 0.1 in DIME"),
    ],
)
def test_settings_and_an_algorithm_that_do_not_fit_are_refused(algo: str, override: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        compose("HalfCheetah-v5", algo, [f"agent.algorithm.{override}"])


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["agent.algorithm.kl_bond=0.2"], ["agent.algorithm.kl_bond", "Did you mean 'kl_bound'"]),
        (["agnt.seed=3"], ["'agent'"]),
        (["agent.seed.x=3"], ["no 'x' in agent.seed"]),
        (["agent.algorithm.kl_bound=wide"], ["agent.algorithm.kl_bound", "a number; got wide"]),
        (["agent.algorithm.num_denoise_steps=1.5"], ["agent.algorithm.num_denoise_steps", "an integer; got 1.5"]),
        (
            ["agent.algorithm.actor_hidden_dims=[a]"],
            ["agent.algorithm.actor_hidden_dims", "a list of integers, as [256,256]; got [a]"],
        ),
        (["agent.algorithm.actor_hidden_dims=32"], ["agent.algorithm.actor_hidden_dims must be a list", "got 32."]),
        (["agent.algorithm={kl_bond: 0.2}"], ["agent.algorithm.kl_bond"]),
        (["agent.run_name=null"], ["agent.run_name must be text; got null."]),
        (["agent.algorithm.kl_bound=0,2"], ["agent.algorithm.kl_bound=0.2 for", "agent.algorithm.kl_bound=[0,2] for"]),
        (["agent.algorithm=3"], ["agent.algorithm"]),
        (["agent.max_iterations=null"], ["agent.max_iterations"]),
        (["agent.algorithm.entropy_target_per_dim=0.7"], ["at most ln 2 = 0.6931", "0.7"]),
        (["agent.algorithm.value_range=[10,-10]"], ["low < high", "[10, -10]"]),
        (["agent.algorithm.value_range=[10,10]"], ["low < high"]),
        (["agent.algorithm.num_denoise_steps=0"], ["num_denoise_steps", "at least 1"]),
        (["agent.algorithm.kl_bound=0"], ["kl_bound", "above 0"]),
        (["agent.algorithm.kl_chains=store"], ["stored", "fresh", "'store'"]),
        (["+agent.algorithm.foo=1"], ["foo"]),
        (["env.num_envs=0"], ["env.num_envs", "at least 1"]),
        (["agent.seed=-1"], ["agent.seed", "at least 0"]),
        (["agent.run_name=a/b"], ["agent.run_name", "slashes"]),
        (["agent.experiment_name=/tmp/x"], ["agent.experiment_name", "'/tmp/x'"]),
        (["agent.experiment_name='a/../../../x'"], ["agent.experiment_name", "'..'"]),
        (["agent.experiment_name='C:x'"], ["agent.experiment_name", "'C:x'"]),
        (["agent.logger=wandbb"], ["'wandbb'", "Did you mean 'wandb'"]),
        (["agent.logger=null"], ["None", "tensorboard", "class_name"]),
        (["agent.logger={project_name: x}"], ["tensorboard, wandb, neptune", "class_name"]),
        (["env.num_envs=1", "agent.num_steps_per_env=2"], ["2 transitions", "16 minibatches"]),
        (["preset=dcm"], ["'dcm'", "Did you mean 'dmc'"]),
        (["agent=ppo"], ["--algo"]),
        (["env.num_envs=1,2"], ["env.num_envs", "1,2"]),
        (["~agent.seed"], ["~agent.seed", "name=value"]),
        (["kl_bound"], ["'kl_bound'", "name=value"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) and "=" in value[0] else "",
)
def test_impossible_overrides_are_refused_in_one_line_that_names_them(overrides: list[str], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        compose("HalfCheetah-v5", "trudi", overrides)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_an_experiment_may_be_a_folder_in_a_folder() -> None:
    assert compose("SomeTask-v0", overrides=["agent.experiment_name=a/b..c"]).agent.experiment_name == "a/b..c"


@needs_ppo
def test_settings_of_the_other_algorithm_are_unknown() -> None:
    with pytest.raises(ConfigError, match="kl_bound"):
        compose("HalfCheetah-v5", "ppo", ["agent.algorithm.kl_bound=0.2"])
    with pytest.raises(ConfigError, match="clip_param"):
        compose("HalfCheetah-v5", "trudi", ["agent.algorithm.clip_param=0.2"])


def test_an_unknown_algorithm_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'trudy'.*'trudi'"):
        compose("HalfCheetah-v5", "trudy")


def test_an_installation_without_configuration_files_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"install it again"):
        compose("HalfCheetah-v5", config_dir=tmp_path / "nowhere")


def test_a_task_preset_holds_what_its_files_say_and_the_nearer_file_wins() -> None:
    tasks = ("Isaac-Velocity-Rough-G1", "Isaac-Repose-Cube-Shadow-Direct-v0", "Isaac-Ant")
    walk, repose, ant = (task_preset(task, "isaaclab")["agent"] for task in tasks)
    assert walk["algorithm"]["value_range"] == [-10.0, 10.0]
    assert walk["algorithm"]["gamma"] == repose["algorithm"]["gamma"]
    assert walk["num_steps_per_env"] == ant["num_steps_per_env"] and "gamma" not in ant["algorithm"]


RECURRENT = "PartialHopper-v0"


@pytest.mark.parametrize(
    ("algo", "overrides", "words"),
    [
        ("trudi", ["agent.algorithm.num_mini_batches=65"], r"num_mini_batches must be at most 64 with a recurrent"),
        pytest.param(
            "ppo",
            ["env.num_envs=3"],
            r"agent\.algorithm\.num_mini_batches must be at most 3 with an RNNModel, got 4",
            marks=needs_ppo,
        ),
    ],
)
def test_recurrent_trainings_without_a_sequence_for_each_minibatch_are_refused_and_others_are_not(
    algo: str, overrides: list[str], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        check_sequences(compose(RECURRENT, algo, overrides))
    check_sequences(compose(RECURRENT, algo))
    compose(RECURRENT, algo, ["env.num_envs=2"])  # as for three episodes of a trained policy


@needs_ppo
@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("rnn_type=foo", r"agent\.actor\.rnn_type must be one of lstm, gru"),
        ("rnn_hidden_dim=0", r"agent\.actor\.rnn_hidden_dim must be an integer of at least 1"),
        ("class_name=RNModel", r"agent\.actor\.class_name is 'RNModel'.*RNNModel"),
        ("class_name=MLPModel", r"agent\.actor\.rnn_type belongs to a RNNModel"),
    ],
)
def test_model_sections_of_ppo_are_checked(override: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        compose(RECURRENT, "ppo", [f"agent.actor.{override}"])


def test_all_keys_of_an_encoder_can_be_set_one_by_one() -> None:
    cfg = compose("Hopper-v5", "trudi", ["agent.algorithm.actor_encoder.class_name=RNNModel"])
    assert cfg.agent.algorithm.actor_encoder == {"class_name": "RNNModel"}
    cfg = compose(RECURRENT, "trudi", ["agent.algorithm.critic_encoder.rnn_num_layers=2"])
    assert cfg.agent.algorithm.critic_encoder.rnn_num_layers == 2
    with pytest.raises(ConfigError, match=r"no setting 'rnn_layers'"):
        compose(RECURRENT, "trudi", ["agent.algorithm.critic_encoder.rnn_layers=2"])
