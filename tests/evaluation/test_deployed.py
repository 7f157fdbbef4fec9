# SPDX-License-Identifier: BSD-3-Clause
"""Pretrained policies: their files belong together, do in the simulator what was recorded, and are small."""

from __future__ import annotations

import statistics

import numpy as np
import pytest
import torch

from trudi_rsl.checkpoints.rebuild import load_actor_critic
from trudi_rsl.deploy.session import open_session
from trudi_rsl.evaluation.deployed import DeployedPolicy, deployed_behaviour
from trudi_rsl.evaluation.episodes import evaluate
from trudi_rsl.evaluation.identify import load_run_settings, read_subject
from trudi_rsl.hosts.registry import SIMULATION
from trudi_rsl.pretrained import FOLDER, NAMES, Pretrained, find_pretrained
from trudi_rsl.tasks import find_modes

PLANAR, CHEETAH = NAMES
WIDTH = 4.0
"""Standard errors of a mean return within which it counts as the recorded one."""


def within(returns: list[float], pretrained: Pretrained) -> bool:
    return abs(statistics.mean(returns) - pretrained.return_mean) < WIDTH * pretrained.return_std / len(returns) ** 0.5


@pytest.mark.parametrize("name", NAMES)
def test_the_checkpoint_and_the_onnx_file_are_the_same_policy(name: str) -> None:
    pretrained = find_pretrained(name)
    actor_critic, spec = load_actor_critic(pretrained.checkpoint)
    assert spec["task"] == pretrained.task == read_subject(pretrained.checkpoint).task
    generator = torch.Generator().manual_seed(0)
    obs = torch.randn(50, spec["obs_dims"]["policy"], generator=generator)
    latents = torch.randn(50, spec["num_actions"], generator=generator)
    session = open_session(pretrained.onnx)
    takes_latents = len(session.get_inputs()) == 2
    start = actor_critic.actor.prior_std * latents if takes_latents else None
    expected = actor_critic.deterministic_actions(actor_critic.actor_obs.normalize(obs), start=start)
    for row, latent, actions in zip(obs.numpy(), latents.numpy(), expected.numpy(), strict=True):
        inputs = {"obs": row[None]} | ({"latent": latent[None]} if takes_latents else {})
        (found,) = session.run(["actions"], inputs)
        np.testing.assert_allclose(np.asarray(found)[0], actions, atol=1e-4)


def test_the_obstacle_is_passed_on_both_sides_with_the_recorded_return() -> None:
    pretrained = find_pretrained(PLANAR)
    subject, modes = read_subject(pretrained.checkpoint), find_modes(pretrained.task)
    seen = deployed_behaviour(subject, pretrained.onnx, modes, SIMULATION, 60, seed=5).behaviour
    assert within(seen.returns.tolist(), pretrained)
    assert seen.failures <= 3
    share = pretrained.behaviours["left"] / pretrained.episodes
    assert seen.counts["left"] / 60 == pytest.approx(share, abs=WIDTH * (share * (1.0 - share) / 60) ** 0.5)


def test_the_cheetah_runs_with_the_recorded_return() -> None:
    pretrained = find_pretrained(CHEETAH)
    cfg = load_run_settings(pretrained.checkpoint, pretrained.task, "trudi", ["env.num_envs=1"])
    env = SIMULATION.make_ending(pretrained.task, cfg.env, "cpu", 5)
    assert within(evaluate(env, DeployedPolicy(pretrained.onnx), 2, progress=False).returns.tolist(), pretrained)


def test_all_files_together_are_smaller_than_a_megabyte() -> None:
    files = [file for name in NAMES for file in (find_pretrained(name).onnx, find_pretrained(name).checkpoint)]
    assert all(file.parent == FOLDER for file in files)
    assert sum(file.stat().st_size for file in files) < 1_000_000
