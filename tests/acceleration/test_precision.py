# SPDX-License-Identifier: BSD-3-Clause
"""bfloat16 reaches the networks' products and nothing else."""

from collections.abc import Callable, Iterator

import pytest
import torch

from tests.algorithms.builders import actor_critic, learner_and_batch, moved
from trudi_rsl.acceleration import describe_precision, network_precision, resolve_precision, set_matmul_precision
from trudi_rsl.errors import ConfigError
from trudi_rsl.settings import Precision


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


@pytest.mark.parametrize("precision", ["auto", "fp32", "bf16"])
def test_on_a_cpu_products_are_float32_unless_bf16_is_chosen_and_no_switch_of_the_process_changes(
    precision: Precision,
) -> None:
    before = torch.get_float32_matmul_precision(), torch.backends.cuda.matmul.allow_tf32
    set_matmul_precision(precision, "cpu")
    assert (torch.get_float32_matmul_precision(), torch.backends.cuda.matmul.allow_tf32) == before
    assert resolve_precision(precision, "cpu") == ("bf16" if precision == "bf16" else "fp32")


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int, int], None]]:
    """Let the GPU be of a compute capability, and restore the process's switch afterwards."""
    before = torch.get_float32_matmul_precision()

    def be_of(major: int, minor: int) -> None:
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (major, minor))
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla")

    yield be_of
    torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize(
    ("precision", "capability", "expected"),
    [
        *[("auto", (8, 0), "high"), ("auto", (9, 0), "high"), ("auto", (7, 5), "highest")],
        *[("fp32", (9, 0), "highest"), ("tf32", (9, 0), "high"), ("bf16", (9, 0), "high")],
    ],
)
def test_on_a_gpu_auto_is_tf32_where_there_is_such(
    gpu: Callable[[int, int], None], precision: Precision, capability: tuple[int, int], expected: str
) -> None:
    gpu(*capability)
    set_matmul_precision(precision, "cuda:0")
    assert torch.get_float32_matmul_precision() == expected
    assert ("TF32 (algorithm.precision=auto)" in describe_precision("auto", "cuda:0")) == (capability >= (8, 0))


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_what_a_gpu_lacks_is_refused_with_what_it_has(gpu: Callable[[int, int], None], precision: Precision) -> None:
    gpu(7, 5)
    with pytest.raises(ConfigError, match=r"cuda:1 \(Tesla\) has 7.5. Use auto or fp32."):
        resolve_precision(precision, "cuda:1")


def test_tf32_is_refused_without_cuda() -> None:
    with pytest.raises(ConfigError, match=r"needs a CUDA device, and this is cpu. Use auto, fp32 or bf16."):
        set_matmul_precision("tf32", "cpu")


@pytest.mark.cuda
@pytest.mark.skipif(not hasattr(torch.backends.cuda.matmul, "fp32_precision"), reason="torch before 2.9 has one API")
@pytest.mark.parametrize(("precision", "expected"), [("fp32", "highest"), ("tf32", "high"), ("bf16", "high")])
def test_a_simulators_own_setting_gives_way(precision: Precision, expected: str) -> None:
    before = torch.get_float32_matmul_precision()
    torch.backends.cuda.matmul.fp32_precision = "ieee" if expected == "high" else "tf32"
    try:
        set_matmul_precision(precision, "cuda")
        assert torch.get_float32_matmul_precision() == expected
        assert torch.backends.cuda.matmul.allow_tf32 == (expected == "high")
    finally:
        torch.set_float32_matmul_precision(before)
