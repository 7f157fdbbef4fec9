# SPDX-License-Identifier: BSD-3-Clause
"""An evaluation gives the same numbers whatever ran before, and is not repeated until something changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.evaluation.tiny_runs import TASK, copy_run
from trudi_rsl.deploy.provenance import versions
from trudi_rsl.errors import ConfigError
from trudi_rsl.evaluation.episodes import evaluate
from trudi_rsl.evaluation.identify import Subject, read_subject
from trudi_rsl.evaluation.measurement import Evaluation, EvaluationCfg, Measurement, measure_all
from trudi_rsl.evaluation.policies import load_policy
from trudi_rsl.evaluation.samplers import SamplerCfg
from trudi_rsl.hosts.registry import SIMULATION, make_env
from trudi_rsl.runners import OnPolicyRunner


@pytest.fixture
def checkpoint(trudi_checkpoint: Path, tmp_path: Path) -> Path:
    return copy_run(trudi_checkpoint.parent, tmp_path / "run", 3)


def evaluation(checkpoint: Path, sampler: str = "sde", **options: Any) -> Evaluation:
    cfg = EvaluationCfg(**{"episodes": 3, **options})
    return Evaluation(read_subject(checkpoint), SamplerCfg(sampler), cfg, SIMULATION)  # pyright: ignore[reportArgumentType]


def test_an_evaluation_is_that_of_the_policy_in_environments_of_its_own(checkpoint: Path) -> None:
    found = evaluation(checkpoint, seed=77).run()
    env = make_env(TASK, {"num_envs": 3}, seed=77)
    policy = load_policy(checkpoint, "trudi", env, {}, SamplerCfg("sde"), "cpu", OnPolicyRunner)
    torch.manual_seed(77)
    expected = evaluate(env, policy, 3, progress=False)
    assert (found.returns, found.lengths) == (expected.returns.tolist(), expected.lengths.tolist())
    assert (found.label, found.task, found.seed, found.sampler) == ("trudi", TASK, 3, "SDE")


def test_the_numbers_do_not_depend_on_what_ran_before(checkpoint: Path, ppo_checkpoint: Path) -> None:
    alone = evaluation(checkpoint).run()
    evaluation(ppo_checkpoint, "ode").run()
    torch.randn(5)
    again = evaluation(checkpoint).run()
    assert (alone.returns, alone.lengths) == (again.returns, again.lengths)


def test_results_are_cached_with_versions_until_options_settings_or_the_checkpoint_change(checkpoint: Path) -> None:
    first = evaluation(checkpoint).run()
    assert evaluation(checkpoint).cached() == first
    stored = json.loads(evaluation(checkpoint).cache.read_text())["versions"]
    assert stored == versions() and stored["torch"] == torch.__version__
    others = [{"episodes": 4}, {"seed": 1}, {"num_envs": 2}, {"overrides": ("env.max_episode_steps=3",)}]
    assert [evaluation(checkpoint, **other).cached() for other in others] == [None] * 4
    assert evaluation(checkpoint, "ode").cached() is None
    content = torch.load(checkpoint, weights_only=False)
    next(iter(content["actor_state_dict"].values())).add_(1.0)
    torch.save(content, checkpoint)
    assert evaluation(checkpoint).cached() is None


def test_only_what_is_missing_is_run(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run: list[str] = []
    original = Evaluation.run

    def counted(self: Evaluation, *args: Any) -> Measurement:
        run.append(self.sampler.sampler)
        return original(self, *args)

    monkeypatch.setattr(Evaluation, "run", counted)
    both = [evaluation(checkpoint, sampler, episodes=2) for sampler in ("sde", "ode")]
    first = measure_all(both[:1], progress=False)
    together = measure_all(both, progress=False)
    assert run == ["sde", "ode"]
    assert together[0] == first[0]


def test_a_broken_cache_is_ignored(checkpoint: Path) -> None:
    one = evaluation(checkpoint)
    one.run()
    for content in ("", "{", "[]", '{"key": {}}'):
        one.cache.write_text(content)
        assert one.cached() is None


def test_a_task_that_starts_its_simulator_itself_is_refused_with_what_to_do(checkpoint: Path) -> None:
    subject = Subject(checkpoint, "trudi", "Mjlab-Cartpole-Swingup", "trudi")
    with pytest.raises(ConfigError, match=r"trudi play --task Mjlab-Cartpole-Swingup"):
        Evaluation(subject, SamplerCfg("sde"), EvaluationCfg(), SIMULATION)


@pytest.mark.parametrize("options", [{"episodes": 0}, {"num_envs": 0}, {"seed": -1}, {"num_threads": 0}])
def test_impossible_options_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(options))} must be an integer of at least"):
        EvaluationCfg(**options)  # pyright: ignore[reportArgumentType]
