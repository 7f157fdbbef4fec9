# SPDX-License-Identifier: BSD-3-Clause
"""bfloat16 reaches the networks' products and nothing else."""

import pytest
import torch

from tests.algorithms.builders import actor_critic, learner_and_batch, moved
from trudi_rsl.acceleration import network_precision, set_matmul_precision
from trudi_rsl.errors import ConfigError


def test_chains_log_probs_and_values_are_float32_of_rounded_networks() -> None:
    model = actor_critic()
    obs, noise = torch.randn(64, 3), model.actor.draw_noise(64)
    exact = model.decide(obs, noise)
    with network_precision("bf16", "cpu"):
        rounded = model.decide(obs, noise)
        values = model.critic.value(obs, rounded.action)
        # a network's own output shows the precision
        assert model.actor.score_network(noise[0], model.actor.score_network.obs_features(obs)).dtype == torch.bfloat16
    assert {t.dtype for t in (*rounded, values)} == {torch.float32}
    difference = (rounded.action - exact.action).abs()
    assert 1e-5 < difference.max() < 0.1, "the products must be rounded, and no more than that"


def test_updates_in_bf16_keep_parameters_gradients_and_adams_state_in_float32() -> None:
    learner, batch, old_steps = learner_and_batch(moved(actor_critic()), precision="bf16", kl_bound=0.5)
    metrics = learner.update(batch, old_steps)
    assert all(torch.isfinite(value) for value in metrics.values())
    for optimizer in learner.optimizers.values():
        for parameter in optimizer.param_groups[0]["params"]:
            tensors = [parameter, parameter.grad, *optimizer.state[parameter].values()]
            assert {t.dtype for t in tensors} == {torch.float32}


def test_bf16_gradients_point_where_float32_gradients_do() -> None:
    gradients = []
    for precision in ("fp32", "bf16"):
        torch.manual_seed(0)
        learner, batch, old_steps = learner_and_batch(moved(actor_critic()), precision=precision, kl_bound=0.5)
        learner._actor_step(batch, old_steps)
        parameters = learner.optimizers["actor"].param_groups[0]["params"]
        gradients.append(torch.cat([p.grad.flatten() for p in parameters]))
    assert not torch.equal(*gradients)
    assert torch.cosine_similarity(*gradients, dim=0) > 0.99


def test_tf32_is_refused_without_cuda() -> None:
    with pytest.raises(ConfigError, match="needs a CUDA device, and this is cpu"):
        set_matmul_precision("tf32", "cpu")


@pytest.mark.cuda
@pytest.mark.parametrize(("precision", "expected"), [("fp32", "highest"), ("tf32", "high"), ("bf16", "high")])
def test_a_simulators_own_setting_gives_way(precision: str, expected: str) -> None:
    torch.backends.cuda.matmul.fp32_precision = "ieee" if expected == "high" else "tf32"
    set_matmul_precision(precision, "cuda")  # type: ignore[arg-type]
    assert torch.get_float32_matmul_precision() == expected
    assert torch.backends.cuda.matmul.allow_tf32 == (expected == "high")
