# SPDX-License-Identifier: BSD-3-Clause
"""Overrides: values that need no quotes, and names of other algorithms' settings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from trudi_rsl.config import compose
from trudi_rsl.config.ppo_names import section_types
from trudi_rsl.errors import ConfigError
from trudi_rsl.rsl_rl_compat.version import PPO_MODELS

TASK = "Pendulum-v1"
needs_ppo = pytest.mark.skipif(not PPO_MODELS, reason="the settings of PPO are written for RSL-RL 5")


TEXTS = ["~/robot.xml", "héllo", "a#b", "a,b", "it's", "100 %", "x y", "a=b", "C:\\robots", "a[0]", "a(b)", "x,[1]"]


@pytest.mark.parametrize("text", TEXTS)
def test_text_for_a_tasks_constructor_arrives_as_it_was_written(text: str) -> None:
    assert compose(TASK, overrides=[f"env.env_kwargs.name={text}"]).env.env_kwargs.name == text


def test_values_that_hydra_reads_keep_their_types() -> None:
    values = {"1e-3": 1e-3, "[1,2]": [1, 2], "{a: 1}": {"a": 1}, "true": True, "null": None, "'1'": "1"}
    for text, value in values.items():
        kwargs = compose(TASK, overrides=[f"env.env_kwargs.x={text}"]).env.env_kwargs
        assert OmegaConf.to_container(kwargs) == {"x": value}


@pytest.mark.parametrize("text", ["agent.algorithm.actor_hidden_dims=256,256", "env.env_kwargs.x=[1,2", "env.num_envs"])
def test_an_unreadable_override_is_refused_with_the_form_to_write(text: str) -> None:
    with pytest.raises(
        ConfigError, match=r"Cannot read .* write name=value, as env\.num_envs=64, and lists in brackets"
    ):
        compose(TASK, overrides=[text])


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        *((name, "agent.algorithm.kl_bound") for name in ("kl_bound", "agent.kl_bound", "algorithm.kl_bound")),
        *((name, "env.num_envs") for name in ("num_envs", "agent.num_envs")),
    ],
)
def test_a_setting_in_another_section_is_answered_with_its_full_name(name: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=f"Unknown setting '{name}'.* Did you mean '{meant}'"):
        compose(TASK, overrides=[f"{name}=2"])


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("agent.algorithm.clip_param", "use agent.algorithm.kl_bound"),
        ("agent.algorithm.entropy_coef", "use agent.algorithm.entropy_target_per_dim"),
        ("agent.algorithm.value_loss_coef", "has no use for it"),
        ("agent.actor.hidden_dims", "use agent.algorithm.actor_hidden_dims"),
        ("agent.policy.actor_hidden_dims", "use agent.algorithm.actor_hidden_dims"),
    ],
)
def test_a_setting_of_ppo_is_answered_with_trudis(name: str, instead: str) -> None:
    for algo in ("trudi", "reppo"):
        with pytest.raises(ConfigError, match=f"Unknown setting '{name}'.* It is PPO's.*{instead}"):
            compose(TASK, algo, [f"{name}=0.1"])


@needs_ppo
def test_a_setting_of_trudi_is_answered_with_the_algorithms_that_have_it() -> None:
    with pytest.raises(ConfigError, match=r"'kl_bound' in agent\.algorithm\. It is a setting of TruDi, REPPO or DIME"):
        compose(TASK, "ppo", ["agent.algorithm.kl_bound=0.1"])


@needs_ppo
@pytest.mark.parametrize("algo", ["ppo", "spo", "dppo", "fpo"])
def test_every_setting_of_ppos_relatives_is_found_in_the_source_files(algo: str) -> None:
    agent = compose(TASK, algo).agent
    for section, names in section_types(algo).items():
        assert set(OmegaConf.select(agent, section.removeprefix("agent."))) <= names.keys()
        assert len(names) > 5


def test_a_program_that_uses_hydra_itself_can_compose_and_goes_on_with_its_own_configuration(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("lr: 1\nagent: mine\n")
    program = tmp_path / "program.py"
    program.write_text("""
import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

@hydra.main(config_path=".", config_name="own", version_base=None)
def main(cfg):
    from trudi_rsl.config import compose
    composed = compose("Pendulum-v1", overrides=["agent.algorithm.kl_bound=0.3"])
    assert composed.agent.algorithm.kl_bound == 0.3
    assert cfg == {"lr": 2, "agent": "mine"}
    assert GlobalHydra.instance().is_initialized() and HydraConfig.get().job.name == "program"
    print("composed")

main()
""")
    source = Path(__file__).resolve().parents[2] / "source"
    done = subprocess.run(
        [sys.executable, str(program), "lr=2", "hydra.run.dir=."],
        cwd=tmp_path,
        env={"PYTHONPATH": str(source), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "composed\n", done.stderr
