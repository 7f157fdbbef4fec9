# SPDX-License-Identifier: BSD-3-Clause
"""The runtime without PyTorch acts as PyTorch does, and protects a robot from unusable inputs and outputs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from rsl_rl.modules import EmpiricalNormalization
from torch import Tensor

from tests.deploy.drift import BAD, GOOD, METADATA, DriftEnv, changed, damaged, difference
from trudi_rsl.deploy import (
    ContractError,
    ExportOptions,
    ObservationTerm,
    Policy,
    PolicyStoppedError,
    export_policy,
)
from trudi_rsl.deploy.runtime import ObservationBuilder
from trudi_rsl.policies import DiffusionActorCritic


def test_importing_and_running_a_policy_imports_no_torch(exported: Path) -> None:
    code = (
        "import sys, numpy; from trudi_rsl.deploy import Policy; "
        f"Policy({str(exported)!r})(numpy.full(9, 30.0)); "
        "print([m for m in ('torch', 'rsl_rl', 'tensordict', 'onnx') if m in sys.modules])"
    )
    run = [sys.executable, "-c", code]
    paths = ":".join(filter(None, sys.path))
    done = subprocess.run(run, capture_output=True, text=True, check=True, env={"PYTHONPATH": paths, "PATH": ""})
    assert done.stdout.strip() == "[]"


def test_it_acts_as_pytorch_does_on_whole_observations_and_on_terms(
    exported: Path, raw: Tensor, expected: Tensor
) -> None:
    policy = Policy(exported)
    whole = np.stack([policy(row) for row in raw.numpy()])
    terms = np.stack([policy({"base": row[5:], "joints": row[:5]}) for row in raw.numpy()])
    assert difference(torch.as_tensor(whole), expected) < 1e-5
    assert np.array_equal(whole, terms)
    assert policy.num_held == policy.num_clipped == 0


@pytest.mark.slow
def test_a_file_that_takes_latents_gets_a_new_draw_of_the_seed_at_each_step(
    actor_critic: DiffusionActorCritic, raw: Tensor, tmp_path: Path
) -> None:
    file = export_policy(actor_critic, tmp_path, ExportOptions(latent_input=True), metadata=METADATA).latent_onnx
    assert file is not None
    policy, draws = Policy(file, latent_seed=3), np.random.default_rng(3)
    actions = np.stack([policy(row) for row in raw[:20].numpy()])
    latents = torch.from_numpy(np.concatenate([draws.standard_normal((1, 3), np.float32) for _ in range(20)]))
    start = actor_critic.actor.prior_std * latents
    expected = actor_critic.deterministic_actions(actor_critic.actor_obs.normalize(raw[:20]), start=start).detach()
    assert difference(torch.as_tensor(actions), expected) < 1e-5
    assert policy.latency_ms(10).p50 > 0.0


def test_the_file_holds_bounds_statistics_parity_latency_and_versions(
    exported: Path, actor_critic: DiffusionActorCritic
) -> None:
    contract = Policy(exported).contract
    assert contract.terms == (ObservationTerm("joints", 5), ObservationTerm("base", 4))
    assert contract.action_low is not None and contract.action_high is not None
    np.testing.assert_allclose(contract.action_low, DriftEnv.action_low, atol=1e-6)
    np.testing.assert_allclose(contract.action_high, DriftEnv.action_high, atol=1e-6)
    assert contract.obs_mean is not None and contract.obs_std is not None
    normalizer = actor_critic.actor_obs.normalizer
    assert isinstance(normalizer, EmpiricalNormalization)
    np.testing.assert_allclose(contract.obs_mean, normalizer.mean.flatten().numpy(), rtol=1e-6)
    np.testing.assert_allclose(contract.obs_std, (normalizer.std + normalizer.eps).flatten().numpy(), rtol=1e-5)
    stored = {e.key: e.value for e in onnx.load(exported).metadata_props}
    assert 0.0 <= json.loads(stored["parity_error"]) < 1e-5
    assert 0.0 < json.loads(stored["latency_ms_p50"]) <= json.loads(stored["latency_ms_p99"])
    assert json.loads(stored["versions"])["torch"] == torch.__version__


def test_an_unusable_observation_holds_the_last_action_and_too_many_stop_the_policy(exported: Path) -> None:
    policy = Policy(exported, max_held=2)
    with pytest.raises(PolicyStoppedError, match="no action yet to hold"):
        policy(BAD)
    policy.reset()
    first = policy(GOOD)
    for _ in range(2):
        with pytest.warns(RuntimeWarning, match="Holding the last action.*NaN or infinity at positions 3"):
            assert np.array_equal(policy(BAD), first)
    with pytest.raises(PolicyStoppedError, match=r"3 step\(s\) in a row"):
        policy(BAD)
    assert policy.num_held == 2
    policy.reset()
    # a usable observation between them resets the count in a row
    for _ in range(3):
        assert np.array_equal(policy(GOOD), first)
        with pytest.warns(RuntimeWarning):
            policy(BAD)


def test_a_non_finite_action_never_reaches_the_robot(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(PolicyStoppedError, match="NaN or infinity in the action at positions"):
        Policy(damaged(exported, tmp_path))(GOOD)


def test_an_observation_far_from_training_is_unusable(exported: Path) -> None:
    policy = Policy(exported, max_deviation=10.0)
    contract = policy.contract
    assert contract.obs_mean is not None and contract.obs_std is not None
    policy(contract.obs_mean + 9.9 * contract.obs_std)
    far = contract.obs_mean.copy()
    far[7] -= 10.1 * contract.obs_std[7]
    with pytest.warns(RuntimeWarning, match="more than 10 standard deviations off at positions 7"):
        policy(far)


def test_actions_beyond_the_bounds_are_clipped_and_counted(exported: Path, tmp_path: Path) -> None:
    action = Policy(exported)(GOOD)
    low, high = action + np.array([0.0, 1.0, -0.2]), action + np.array([1.0, 2.0, -0.1])
    policy = Policy(changed(exported, tmp_path, action_low=low.tolist(), action_high=high.tolist()))
    np.testing.assert_allclose(policy(GOOD), action + np.array([0.0, 1.0, -0.1]), rtol=1e-6)
    assert policy.num_clipped == 1


@pytest.mark.parametrize(
    ("obs", "message"),
    [
        (np.zeros(8), r"8 numbers instead of 9 \(joints 5, base 4\)"),
        ({"joints": np.zeros(5)}, "'base' is missing; the policy reads joints, base"),
        ({"joints": np.zeros(4), "base": np.zeros(4)}, "'joints' has 4 numbers instead of 5"),
        ({"joints": np.zeros(5), "base": np.zeros(4), "bases": np.zeros(4)}, "Unknown .* 'bases'. Did you mean 'base'"),
    ],
)
def test_observations_of_wrong_size_or_terms_are_refused(exported: Path, obs: Any, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        Policy(exported)(obs)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"obs_dims": None}, "obs_dims"),
        ({"obs_dims": {"joints": 5}}, r"5 observations, its input has shape \[1, 9\]"),
        ({"obs_dims": 3}, "metadata cannot be read"),
        ({"action_low": [0.0]}, r"action_low of shape \(1,\) instead of \(3,\)"),
        ({"obs_terms": [{"name": "a", "size": 9, "scale": [1.0]}]}, "metadata cannot be read: observation term 'a'"),
        ({"obs_terms": [{"name": "a", "size": 9, "unit": "m"}]}, "metadata cannot be read"),
    ],
)
def test_a_file_whose_contract_is_missing_or_contradicts_it_is_refused(
    exported: Path, tmp_path: Path, entries: dict[str, Any], message: str
) -> None:
    with pytest.raises(ContractError, match=message):
        Policy(changed(exported, tmp_path, **entries))


def test_options_out_of_range_and_missing_files_are_refused(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="max_held"):
        Policy(exported, max_held=-1)
    for value in (0.0, float("nan")):
        with pytest.raises(ValueError, match="max_deviation"):
            Policy(exported, max_deviation=value)
    with pytest.raises(FileNotFoundError, match=r"none\.onnx"):
        Policy(tmp_path / "none.onnx")


def test_frames_are_clipped_then_scaled_and_histories_hold_the_oldest_first() -> None:
    builder = ObservationBuilder([ObservationTerm("a", 2, scale=(0.5, 2.0), clip=(-1.0, 3.0))])
    assert builder.build({"a": [-4.0, 4.0]}).tolist() == [-0.5, 6.0]
    terms = [ObservationTerm("a", 1, history=3, scale=2.0), ObservationTerm("b", 2, scale=(1.0, 10.0))]
    builder = ObservationBuilder(terms)
    built = []
    for i in (1.0, 2.0, 3.0, 4.0):
        built.append(builder.build({"b": [i, i], "a": [i]}).tolist())
        builder.keep()
    assert built == [[2, 2, 2, 1, 10], [2, 2, 4, 2, 20], [2, 4, 6, 3, 30], [4, 6, 8, 4, 40]]
    builder.reset()
    assert builder.build({"a": [5.0], "b": [0.0, 0.0]}).tolist() == [10, 10, 10, 0, 0]


def test_an_unusable_frame_does_not_stay_in_a_history(exported: Path, tmp_path: Path) -> None:
    terms = [{"name": "joints", "size": 5}, {"name": "base", "size": 1, "history": 4}]
    policy = Policy(changed(exported, tmp_path, obs_terms=terms))
    joints = np.full(5, 30.0)
    for base in (28.0, 29.0, 30.0, 31.0):
        policy({"joints": joints, "base": [base]})
    with pytest.warns(RuntimeWarning):
        policy({"joints": joints, "base": [np.nan]})
    after = policy({"joints": joints, "base": [32.0]})
    assert np.array_equal(after, Policy(exported)(np.concatenate([joints, [30.0, 31.0, 31.0, 32.0]])))
