# SPDX-License-Identifier: BSD-3-Clause
"""Any sizes and any observation groups work, in the configured order of the groups."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tensordict import TensorDict

from tests.attacks.hostile import write_onnx
from tests.properties.drawn import FIXED, same
from tests.properties.small_env import SmallEnv, iteration, make
from trudi_rsl.checkpoints.file import read_checkpoint
from trudi_rsl.checkpoints.rebuild import load_actor_critic, load_deployable
from trudi_rsl.deploy import Contract, Policy

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


SETTINGS: dict[str, Any] = {"actor_hidden_dims": [4], "critic_hidden_dim": 4, "num_bins": 5, "compile": "off"}


@st.composite
def groups(draw: st.DrawFn) -> tuple[dict[str, int], list[str], list[str]]:
    """Draw the sizes of observation groups, and which of them actor and critic see, in which order."""
    names = draw(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=5, unique=True))
    dims = {name: draw(st.integers(1, 4)) for name in names}
    shuffled = st.permutations(names).flatmap(lambda order: st.integers(1, len(order)).map(lambda n: list(order[:n])))
    actor = draw(shuffled)
    return dims, actor, draw(st.one_of(st.just(actor), shuffled))


@FIXED
@given(drawn=groups(), seed=st.integers(0, 1000))
def test_encoders_and_contract_and_runtime_have_the_groups_in_the_configured_order(
    drawn: tuple[dict[str, int], list[str], list[str]], seed: int, folder: Path
) -> None:
    dims, actor, critic = drawn
    env = SmallEnv(2, 2, dims)
    torch.manual_seed(seed)
    algorithm = make(env, 2, SETTINGS, actor, critic)
    model, obs = algorithm.actor_critic, env.get_observations()
    for encoder, order in ((model.actor_obs, actor), (model.critic_obs, critic)):
        assert torch.equal(encoder.concatenate(obs), torch.cat([obs[name] for name in order], dim=1))
    assert model.asymmetric == (actor != critic)

    others = {"\0unused": torch.full((2, 3), torch.nan)} | {name: obs[name] for name in reversed(dims)}
    with torch.no_grad():
        assert torch.equal(model(TensorDict(others, batch_size=[2])), model(obs))  # pyright: ignore

    torch.save(algorithm.save(), folder / "model_0.pt")
    policy, metadata = load_deployable(folder / "model_0.pt")
    contract = Contract.from_metadata(metadata)
    assert [(term.name, term.size) for term in contract.terms] == [(name, dims[name]) for name in actor]
    assert policy.actor_obs.groups == actor

    runtime = Policy(write_onnx(folder / "policy.onnx", contract.num_obs, obs_dims=metadata["obs_dims"]))
    acted = runtime({name: obs[name][0].numpy() for name in reversed(actor)})
    assert np.array_equal(acted, np.concatenate([obs[name][0] for name in actor]))
