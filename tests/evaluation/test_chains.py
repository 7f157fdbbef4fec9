# SPDX-License-Identifier: BSD-3-Clause
"""Drawn denoising chains are those that the samplers run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tensordict import TensorDict

from tests.evaluation.tiny_runs import TASK
from trudi_rsl.errors import CheckpointError, ConfigError
from trudi_rsl.evaluation.chains import (
    NUM_LINES,
    chain_figure,
    chain_paths,
    load_diffusion_policy,
    read_observation,
    reset_observation,
)
from trudi_rsl.hosts.registry import SIMULATION, make_env
from trudi_rsl.policies import ChainOptions, DiffusionActorCritic

OBS = torch.tensor([0.1, -0.2, 0.3, 0.0])


@pytest.fixture
def actor_critic(trudi_checkpoint: Path) -> DiffusionActorCritic:
    """A policy whose output layer is large enough that the observation and the step matter."""
    loaded, _ = load_diffusion_policy(trudi_checkpoint)
    torch.nn.init.normal_(loaded.actor.output_layer.weight)
    return loaded


def test_all_samplers_start_from_the_same_draws_of_the_prior(actor_critic: DiffusionActorCritic) -> None:
    sde, half, one = chain_paths(actor_critic, OBS, 2000)
    assert [p.name for p in (sde, half, one)] == ["SDE", "ODE, c = 0.5", "ODE, c = 1"]
    assert sde.latents.shape == half.latents.shape == one.latents.shape == (4, 2000, 1)
    assert torch.equal(sde.latents[0], half.latents[0])
    assert torch.equal(sde.latents[0], one.latents[0])
    assert sde.latents[0].std().item() == pytest.approx(actor_critic.actor.prior_std, rel=0.05)


@pytest.mark.parametrize(("column", "scale"), [(1, 0.5), (2, 1.0)])
def test_the_odes_end_where_acting_from_the_same_start_ends(
    actor_critic: DiffusionActorCritic, column: int, scale: float
) -> None:
    paths = chain_paths(actor_critic, OBS, 50)[column]
    obs = TensorDict({"policy": OBS.expand(50, -1)}, batch_size=[50])
    actor_obs = actor_critic.actor_obs(obs)
    actions = actor_critic.deterministic_actions(actor_obs, ChainOptions(scale), paths.latents[0])
    torch.testing.assert_close(paths.actions, actions)
    torch.testing.assert_close(actor_critic.to_simulator(paths.latents[-1].tanh()), actions)


def test_the_sde_takes_the_steps_of_the_denoising_kernel(actor_critic: DiffusionActorCritic) -> None:
    latents = chain_paths(actor_critic, OBS, 4000)[0].latents
    actor = actor_critic.actor
    normalized = actor_critic.actor_obs.normalize(OBS[None]).expand(4000, -1)
    noise = (latents[1:] - actor.means(normalized, latents[:-1])) / (2.0 * actor.step_sizes()[:, None]).sqrt()
    assert noise.mean().abs().item() < 0.03
    assert noise.std().item() == pytest.approx(1.0, rel=0.03)


def test_the_picture_draws_the_paths_and_the_density_of_the_actions(actor_critic: DiffusionActorCritic) -> None:
    paths = chain_paths(actor_critic, OBS, 500)
    axes = chain_figure(paths, [0], "title").axes
    assert len(axes) == 2 * len(paths)
    for sampler, chain, ends in zip(paths, axes[::2], axes[1::2], strict=True):
        assert len(chain.get_lines()) == NUM_LINES
        for i, line in enumerate(chain.get_lines()):
            assert np.array_equal(line.get_ydata(), sampler.latents[:, i, 0].double().numpy())
        (density,) = ends.patches
        heights, edges, _ = density.get_data()  # pyright: ignore[reportAttributeAccessIssue]
        assert (heights * np.diff(edges)).sum() == pytest.approx(1.0)
        mean = (heights * np.diff(edges) * 0.5 * (edges[1:] + edges[:-1])).sum()
        assert mean == pytest.approx(sampler.actions.mean().item(), abs=np.diff(edges)[0])
    # actions that are all the same
    torch.nn.init.zeros_(actor_critic.actor.output_layer.weight)
    torch.nn.init.constant_(actor_critic.actor.output_layer.bias, 1e4)
    assert len(chain_figure(chain_paths(actor_critic, OBS, 10), [0], "title").axes) == 6


def test_the_first_observation_is_that_of_the_tasks_reset_or_from_a_file(trudi_checkpoint: Path) -> None:
    actor_critic, spec = load_diffusion_policy(trudi_checkpoint)
    for seed in (0, 5):
        expected = make_env(TASK, {"num_envs": 1}, seed=seed).get_observations()["policy"][0]
        assert torch.equal(reset_observation(trudi_checkpoint, actor_critic, spec, SIMULATION, seed, []), expected)
    # a host that must start its simulator itself has none
    with pytest.raises(ConfigError, match=r"give an observation with --obs FILE\.npy"):
        reset_observation(trudi_checkpoint, actor_critic, {**spec, "task": "Isaac-Ant-v0"}, SIMULATION, 0, [])


def test_policies_without_a_chain_are_refused(reppo_checkpoint: Path, ppo_checkpoint: Path) -> None:
    for checkpoint, name in ((reppo_checkpoint, "reppo"), (ppo_checkpoint, "ppo")):
        with pytest.raises(CheckpointError, match=rf"a checkpoint of {name}, .* no denoising chain of TruDi's to draw"):
            load_diffusion_policy(checkpoint)


def test_an_observation_can_come_from_a_file(tmp_path: Path) -> None:
    for shape in ((4,), (1, 4)):
        np.save(tmp_path / "obs.npy", OBS.double().numpy().reshape(shape))
        assert torch.equal(read_observation(tmp_path / "obs.npy", 4), OBS)


def test_files_of_other_content_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "obs.npy"
    for values, message in (
        (np.zeros(3), r"the 4 finite numbers .* float64 of shape \(3,\)"),
        (np.full(4, np.nan), "the 4 finite numbers"),
        (np.array(["a"] * 4), "not <U1"),
    ):
        np.save(file, values)
        with pytest.raises(ConfigError, match=message):
            read_observation(file, 4)
    file.write_text("not an array")
    with pytest.raises(ConfigError, match=r"Cannot read an observation from .*obs\.npy"):
        read_observation(file, 4)
