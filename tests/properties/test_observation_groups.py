# SPDX-License-Identifier: BSD-3-Clause
"""Observation groups are read in the configured order, whatever they are called and in whatever order they come."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tensordict import TensorDict

from tests.attacks.hostile import write_onnx
from tests.properties.drawn import FIXED
from tests.properties.small_env import SmallEnv, make
from trudi_rsl.checkpoints.rebuild import load_deployable
from trudi_rsl.deploy import Contract, Policy

SETTINGS: dict[str, Any] = {"actor_hidden_dims": [4], "critic_hidden_dim": 4, "num_bins": 5, "compile": "off"}


@st.composite
def groups(draw: st.DrawFn) -> tuple[dict[str, int], list[str], list[str]]:
    """Draw the sizes of observation groups, and which of them actor and critic see, in which order."""
    names = draw(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=5, unique=True))
    dims = {name: draw(st.integers(1, 4)) for name in names}
    shuffled = st.permutations(names).flatmap(lambda order: st.integers(1, len(order)).map(lambda n: list(order[:n])))
    actor = draw(shuffled)
    return dims, actor, draw(st.one_of(st.just(actor), shuffled))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("groups")


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
