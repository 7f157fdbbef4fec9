# SPDX-License-Identifier: BSD-3-Clause
"""SPO, DPPO and FPO have RSL-RL's symmetry as its PPO has it; chains and noise are mirrored with the actions."""

from __future__ import annotations

import copy
from typing import Any, cast

import pytest
import torch
from rsl_rl.algorithms import PPO
from tensordict import TensorDict
from torch import Tensor

from tests.rsl_rl.small_policies import NUM_ENVS, built, collect, observations, runner_cfg, state
from trudi_rsl.algorithms.policy_gradient import DPPO, FPO, SPO, GenerativePolicyGradient, PolicyGradient
from trudi_rsl.errors import ConfigError
from trudi_rsl.policies import GenerativeModel
from trudi_rsl.rsl_rl_compat.extensions import Symmetry

pytestmark = pytest.mark.skipif(Symmetry is None, reason="RSL-RL before 5.1 has symmetry inside of its update")

ACTORS: dict[type[GenerativePolicyGradient], dict[str, Any]] = {
    DPPO: {"class_name": "trudi_rsl.policies:DenoisingModel", "num_denoise_steps": 3, "hidden_dims": [8]},
    FPO: {"class_name": "trudi_rsl.policies:FlowModel", "hidden_dims": [8]},
}


def mirror(env: Any, obs: TensorDict | None = None, actions: Tensor | None = None) -> tuple[Any, Any]:
    """Return observations and actions, and both mirrored: actions change places and signs."""
    if obs is not None:
        image = obs.clone()
        image["policy"] = obs["policy"][:, [1, 0, 2]] * torch.tensor([1.0, 1.0, -1.0])
        obs = torch.cat([obs, image])  # pyright: ignore
    return obs, None if actions is None else torch.cat([actions, -actions.flip(-1)])


def section(augments: bool, coef: float) -> dict[str, Any]:
    uses = {"use_data_augmentation": augments, "use_mirror_loss": coef > 0.0, "mirror_loss_coeff": coef}
    return {"data_augmentation_func": mirror, **uses}


@pytest.mark.parametrize(("augments", "coef"), [(True, 0.0), (False, 0.5), (True, 0.5), (False, 0.0)])
def test_the_shared_update_takes_the_steps_of_ppo_with_symmetry(augments: bool, coef: float) -> None:
    steps = []
    for cls in (PPO, PolicyGradient):
        algorithm = built(cls, symmetry_cfg=section(augments, coef), normalize_advantage_per_mini_batch=True)
        collect(algorithm)
        steps.append((algorithm.update(), state(algorithm)))
    (stock, expected), (ours, found) = steps
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    for name, value in stock.items():
        assert ours[name] == pytest.approx(value, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("algorithm", [SPO, DPPO, FPO])
@pytest.mark.filterwarnings("ignore:FPO has neither")
def test_augmentation_and_mirror_loss_change_the_step_and_are_logged(algorithm: type[PolicyGradient]) -> None:
    actor = None if algorithm is SPO else ACTORS[cast("type[GenerativePolicyGradient]", algorithm)]
    steps = []
    for use in (None, section(True, 0.0), section(False, 1.0)):
        trained = built(algorithm, actor, symmetry_cfg=use)
        collect(trained)
        metrics = trained.update()
        assert ("symmetry" in metrics) == (use is not None)
        steps.append(torch.cat([p.flatten() for p in trained.actor.parameters()]).detach())
    assert all((steps[i] - steps[j]).abs().max() > 1e-5 for i, j in ((0, 1), (0, 2), (1, 2)))


@pytest.mark.parametrize("algorithm", [DPPO, FPO])
@pytest.mark.filterwarnings("ignore:FPO has neither")
def test_a_symmetric_policy_has_the_ratios_of_the_originals_at_their_images(
    algorithm: type[GenerativePolicyGradient],
) -> None:
    trained = built(algorithm, ACTORS[algorithm], symmetry_cfg=section(True, 0.0))
    actor: Any = trained.actor
    network = actor.actor.score_network if algorithm is DPPO else actor.actor.velocity_network
    obs = observations()
    with torch.no_grad():
        # the old policy is none that is symmetric
        network.output_layer.bias.copy_(torch.tensor([0.3, -0.8]))
        if algorithm is DPPO:
            actor.actor.raw_friction.copy_(torch.tensor([0.3, -0.4]))
        actions = actor(obs, stochastic_output=True)
        old = actor.output_distribution_params
        batch: Any = type("Batch", (), {"old_distribution_params": old})
        batch.observations, batch.actions = mirror(None, obs, actions)
        network.output_layer.bias.mul_(-2.0)
        ratios = trained.log_ratios(batch)
        torch.testing.assert_close(ratios[:NUM_ENVS], actor.log_ratios(obs, actions, old), msg="originals come first")
        for parameter in network.parameters():
            parameter.zero_()
        if algorithm is DPPO:
            actor.actor.raw_friction.data.fill_(0.1)
        ratios = trained.log_ratios(batch)
    assert ratios[:NUM_ENVS].abs().max() > 0.01
    torch.testing.assert_close(ratios[NUM_ENVS:], ratios[:NUM_ENVS])
    assert len(actor.output_distribution_params[0]) == NUM_ENVS, "KL and entropy are those of the originals"


def test_chains_end_at_the_images_of_their_actions() -> None:
    trained = built(DPPO, ACTORS[DPPO], symmetry_cfg=section(True, 0.0))
    actor = cast("GenerativeModel[Any]", trained.actor)
    with torch.no_grad():
        actions = actor(observations(), stochastic_output=True)
    latents, *_ = actor.mirror(actor.output_distribution_params, cast("Any", trained._mirrors))
    torch.testing.assert_close(latents[:, -1], mirror(None, actions=actions)[1])


def test_a_mirror_that_chains_cannot_have_is_refused_and_the_environment_does_not_enter_the_configuration() -> None:
    def rotation(env: Any, obs: Any = None, actions: Any = None) -> Any:
        turn = torch.tensor([[0.6, 0.8], [0.8, -0.6]])
        return mirror(env, obs)[0], None if actions is None else torch.cat([actions, actions @ turn])

    with pytest.raises(ConfigError, match="must map every action to one action or its negative"):
        built(DPPO, ACTORS[DPPO], symmetry_cfg=section(True, 0.0) | {"data_augmentation_func": rotation})
    cfg = runner_cfg(SPO, symmetry_cfg=section(True, 0.0))
    SPO.construct_algorithm(observations(), cast("Any", built(SPO).env), cfg, "cpu")
    assert cfg["algorithm"]["symmetry_cfg"].keys() == copy.deepcopy(section(True, 0.0)).keys()
