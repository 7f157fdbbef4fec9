# SPDX-License-Identifier: BSD-3-Clause
"""A policy with weights like after training, and raw observations to try it on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tensordict import TensorDict
from torch import Tensor

from tests.deploy.drift import METADATA, OBS_MEAN, OBS_STD, make_trained
from trudi_rsl.deploy import export_policy
from trudi_rsl.policies import DiffusionActorCritic
from trudi_rsl.runners import OnPolicyRunner

NUM_PROBES = 200


@pytest.fixture(scope="session")
def runner() -> OnPolicyRunner:
    return make_trained(OnPolicyRunner)


@pytest.fixture(scope="session")
def actor_critic(runner: OnPolicyRunner) -> DiffusionActorCritic:
    policy = runner.alg.get_policy()
    assert isinstance(policy, DiffusionActorCritic)
    return policy


@pytest.fixture(scope="session")
def checkpoint(runner: OnPolicyRunner, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "model_2.pt"
    runner.save(str(path))
    return path


@pytest.fixture(scope="session")
def obs() -> TensorDict:
    """Raw observations, half of them within what the policy has seen, half far outside."""
    generator = torch.Generator().manual_seed(1)
    state = torch.randn(NUM_PROBES, 9, generator=generator)
    state[NUM_PROBES // 2 :] *= 30.0
    raw = OBS_MEAN + OBS_STD * state
    return TensorDict({"joints": raw[:, :5], "base": raw[:, 5:]}, batch_size=[NUM_PROBES])


@pytest.fixture(scope="session")
def raw(obs: TensorDict) -> Tensor:
    """What a robot feeds the exported policy: the groups side by side, `[B, 9]`."""
    return torch.cat([obs["joints"], obs["base"]], dim=-1)


@pytest.fixture(scope="session")
def expected(actor_critic: DiffusionActorCritic, obs: TensorDict) -> Tensor:
    """The policy's own actions for `raw`, `[B, 3]`."""
    return actor_critic(obs).detach()


@pytest.fixture(scope="session")
def exported(actor_critic: DiffusionActorCritic, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The policy as an ONNX file."""
    return export_policy(actor_critic, tmp_path_factory.mktemp("exported"), metadata=METADATA).onnx
