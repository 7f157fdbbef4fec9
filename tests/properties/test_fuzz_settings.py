# SPDX-License-Identifier: BSD-3-Clause
"""Whatever text a file of settings holds, it is a valid configuration or refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf

from tests.properties.drawn import FIXED, spoiled
from trudi_rsl.config import load_params
from trudi_rsl.config.event_file import read_run
from trudi_rsl.config.presets import CONFIG_DIR
from trudi_rsl.errors import CheckpointError, ConfigError
from trudi_rsl.experiments.experiment import Experiment, load_experiment

MANY = settings(FIXED, max_examples=50)
PIECES = (
    *("!!python/name:os.system", "!!int x", "!!set", "!!binary x", "&a ", "*a", "<<: *a", "${oc.env:HOME}", "???"),
    *("? ", "- ", "[", "{", "\t", "\n", ": ", "|\n", "'", "---\n", "%YAML 9", "\x00", "\u2028"),
    *("0x", "1:2", "~", "2026-13-13", "10" * 30),
)

EXPERIMENT = yaml.safe_load((CONFIG_DIR / "experiment" / "samplers.yaml").read_text()) | {
    "variants": {"a": ["agent.algorithm.gamma=0.5"], "b": {"overrides": [], "algorithms": ["trudi"]}},
    "tasks": ["Pendulum-v1"],
    "seeds": [1, 2],
    "normalize": {"Pendulum-v1": [0, 1]},
    "seconds": {"trudi": 3.0},
    "algorithm_overrides": {"trudi": ["env.num_envs=2"]},
}


@st.composite
def misspelled(draw: st.DrawFn, text: str) -> str:
    """Draw the text with something put in, left out or repeated."""
    for _ in range(draw(st.integers(1, 3))):
        begin, length = draw(st.integers(0, len(text))), draw(st.integers(0, 30))
        inserted = draw(
            st.one_of(st.sampled_from(PIECES), st.text(max_size=4), st.just(text[begin : begin + length] * 2))
        )
        text = text[:begin] + inserted + text[begin + draw(st.sampled_from([0, length])) :]
    return text


def check_params(run: Path) -> None:
    """Read the settings of a run folder."""
    try:
        cfg = load_params(run)
    except CheckpointError as error:
        assert str(error).isprintable()
        assert read_run(run, ()).steps_per_iteration is None
    else:
        assert isinstance(cfg, DictConfig) and isinstance(cfg.task, str)
        OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
        read_run(run, ())


@pytest.fixture(scope="module")
def params(run: Path) -> dict[str, str]:
    (run / "events.out.tfevents.0").touch()
    return {name: (run / "params" / f"{name}.yaml").read_text() for name in ("agent", "env")}


@MANY
@given(data=st.data(), name=st.sampled_from(["agent", "env"]))
def test_misspelled_settings_of_a_run_are_settings_or_refused(
    run: Path, params: dict[str, str], data: st.DataObject, name: str
) -> None:
    values = spoiled(yaml.safe_load(params[name])).map(yaml.safe_dump)
    text = st.one_of(misspelled(params[name]), st.text(), values).map(
        lambda text: text.encode("utf-8", "surrogatepass")
    )
    try:
        (run / "params" / f"{name}.yaml").write_bytes(data.draw(st.one_of(text, st.binary(max_size=200))))
        check_params(run)
    finally:
        (run / "params" / f"{name}.yaml").write_text(params[name])


@MANY
@given(text=st.one_of(misspelled(yaml.safe_dump(EXPERIMENT)), st.text(), spoiled(EXPERIMENT).map(yaml.safe_dump)))
def test_a_misspelled_experiment_is_one_or_refused(run: Path, text: str) -> None:
    (run / "x.yaml").write_text(text, encoding="utf-8", errors="surrogatepass")
    try:
        experiment = load_experiment(str(run / "x.yaml"))
        assert isinstance(experiment, Experiment)
        assert experiment.named_variants()
        assert experiment.evaluation.sampler_cfgs()
    except ConfigError as error:
        assert str(error).isprintable()
