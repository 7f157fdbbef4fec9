# SPDX-License-Identifier: BSD-3-Clause
"""Numbers of steps, environments, actions, observations and minibatches may be any."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.properties.drawn import FIXED, same
from tests.properties.small_env import SmallEnv, iteration, make
from trudi_rsl.checkpoints.file import read_checkpoint
from trudi_rsl.checkpoints.rebuild import load_actor_critic

SIZES = {name: st.integers(1, most) for name, most in {"e": 5, "t": 5, "a": 4, "o": 5, "p": 3, "n": 5, "f": 6}.items()}
"""Environments E, steps T, actions A, observations O, privileged ones P, denoising steps N, the critic's features F."""


@pytest.mark.slow
@FIXED
@given(**SIZES, minibatches=st.integers(1, 25), asymmetric=st.booleans(), kind=st.sampled_from(["trudi", "reppo"]))
def test_any_sizes_give_the_documented_shapes_finite_numbers_and_checkpoints_that_load_bitwise(
    e: int, t: int, a: int, o: int, p: int, n: int, f: int, minibatches: int, asymmetric: bool, kind: str, folder: Path
) -> None:
    settings = {
        "actor": "gaussian" if kind == "reppo" else "diffusion",
        "num_denoise_steps": n,
        "num_mini_batches": min(minibatches, t * e),
        "actor_hidden_dims": [f],
        "critic_hidden_dim": f,
        "num_bins": 7,
        "compile": "off",
    }
    env = SmallEnv(e, a, {"policy": o, "privileged": p})
    critic = ["policy", "privileged"] if asymmetric else ["policy"]
    algorithm = make(env, t, settings, ["policy"], critic)
    metrics = iteration(algorithm, env, t)
    assert all(map(math.isfinite, metrics.values())), metrics

    storage, rows = algorithm.storage, (t + 1, e)
    assert storage.actor_obs.shape == (*rows, o)
    assert storage.critic_obs.shape == (*rows, o + p if asymmetric else o)
    assert storage.actions.shape == (*rows, a) and storage.log_probs.shape == rows
    assert storage.targets.shape == storage.rewards.shape == (t, e)
    assert storage.next_features.shape == (t, e, f)
    assert storage.trace is not None
    assert storage.trace.shape == (t, e, algorithm.actor_critic.actor.trace_length, a)
    assert storage.actions.abs().max() <= 1.0
    for batch in storage.minibatches(1, settings["num_mini_batches"]):
        assert len(batch.actions) == t * e // settings["num_mini_batches"]
        assert batch.trace is not None and batch.trace.shape[1:] == (len(batch.actions), a)

    path = folder / "model_1.pt"
    torch.save(algorithm.save() | {"iter": 1, "infos": None}, path)
    content = read_checkpoint(path)
    other = make(env, t, settings, ["policy"], critic)
    assert other.load(content, None, strict=True)
    assert same(other.save(), {k: v for k, v in content.items() if k not in ("iter", "infos")})
    rebuilt, _ = load_actor_critic(path)
    obs = env.get_observations()
    algorithm.eval_mode()
    with torch.no_grad():
        assert torch.equal(rebuilt(obs), algorithm.actor_critic(obs))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shapes")
