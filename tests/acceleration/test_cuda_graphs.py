# SPDX-License-Identifier: BSD-3-Clause
"""Captured updates equal eager ones, keep the results that they returned, and need no GPU sync nor more memory."""

import copy
import gc
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from tests.algorithms.builders import actor_critic, learner_and_batch, moved, parameters
from trudi_rsl.acceleration import Accelerator
from trudi_rsl.acceleration.cuda_graph import WARM_UP, CapturedFunction
from trudi_rsl.algorithms.learner import Learner
from trudi_rsl.policies import DiffusionActorCritic
from trudi_rsl.storage import Minibatch

pytestmark = [pytest.mark.cuda, pytest.mark.slow]

UPDATES = 10
CLOSE: dict[str, Any] = {"rtol": 2e-3, "atol": 2e-5}


def on_gpu(mode: Any, model: DiffusionActorCritic, **settings: Any) -> tuple[Learner, Minibatch, Tensor]:
    """Return a learner on the GPU, and a minibatch, both made on the CPU from the same random numbers."""
    cpu, batch, old_steps = learner_and_batch(model, kl_bound=0.5, **settings)
    learner = Learner(copy.deepcopy(model).cuda(), cpu.cfg, 1, Accelerator(mode, "cuda"))
    return learner, tree_map(lambda t: t if t is None else t.cuda(), batch), old_steps.detach().cuda()


def captured() -> tuple[Learner, CapturedFunction, Minibatch, Tensor]:
    """Return a learner and its updates, which are replayed by now."""
    learner, batch, old_steps = on_gpu("cudagraphs", moved(actor_critic()))
    update = captured_update(learner)
    for _ in range(WARM_UP + 1):
        update(batch, old_steps)
    assert isinstance(update, CapturedFunction) and update.is_captured
    return learner, update, batch, old_steps


def captured_update(learner: Learner) -> Callable[..., Any]:
    return learner.accelerator.capture("minibatch update", learner.update)


@pytest.mark.parametrize("mode", ["default", "cudagraphs"])
@pytest.mark.parametrize("actor_gradient", ["pathwise", "adjoint"])
def test_updates_lead_to_the_parameters_of_eager_updates(mode: str, actor_gradient: str) -> None:
    model = moved(actor_critic())
    results = []
    for each in ("off", mode):
        torch.manual_seed(0)
        learner, batch, old_steps = on_gpu(each, model, actor_gradient=actor_gradient)
        update = captured_update(learner)
        torch.cuda.manual_seed(11)
        metrics = [update(batch, old_steps) for _ in range(UPDATES)]
        results.append((parameters(learner), metrics))
    (expected, expected_metrics), (found, found_metrics) = results
    torch.testing.assert_close(found, expected, **CLOSE)
    torch.testing.assert_close(found_metrics, expected_metrics, **CLOSE)


def test_the_graph_is_what_runs_and_what_it_returned_stays() -> None:
    _, update, batch, old_steps = captured()
    kept = update(batch, old_steps)
    before = {name: value.clone() for name, value in kept.items()}
    other = batch._replace(targets=batch.targets + 5.0)
    later = update(other, old_steps)
    torch.testing.assert_close(kept, before, rtol=0, atol=0)
    assert not torch.equal(later["critic"], kept["critic"])


def test_sampled_chains_stay_when_more_are_drawn() -> None:
    model = actor_critic().cuda()
    accelerator = Accelerator("cudagraphs", "cuda")
    sample = accelerator.capture("sampling", accelerator.compile("sampling", model.decide))
    obs = torch.randn(5, 3, device="cuda")
    with torch.no_grad():
        for _ in range(WARM_UP + 1):
            sample(obs, model.actor.draw_noise(5))
        noise = model.actor.draw_noise(5)
        decision = sample(obs, noise)
        kept = [x.clone() for x in decision]
        sample(obs + 1.0, model.actor.draw_noise(5))
        torch.testing.assert_close(list(decision), kept, rtol=0, atol=0)
        expected = model.decide(obs, noise)
    torch.testing.assert_close(tuple(decision), tuple(expected), rtol=1e-4, atol=1e-5)
    assert isinstance(sample, CapturedFunction) and sample.is_captured


def test_a_captured_update_neither_forces_a_gpu_sync_nor_takes_more_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    _, update, batch, old_steps = captured()
    torch.cuda.synchronize()
    used = torch.cuda.memory_allocated()
    # the debug mode does not see this one
    monkeypatch.setattr(torch.cuda, "synchronize", lambda *_: pytest.fail("a replay synchronises the device"))
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(200):
            update(batch, old_steps)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.cuda.memory_allocated() <= used


def test_a_resumed_learner_is_captured_with_the_loaded_state() -> None:
    torch.manual_seed(0)
    learner, update, batch, old_steps = captured()
    resumed = Learner(copy.deepcopy(learner.actor_critic), learner.cfg, 1, Accelerator("off", "cuda"))
    state = copy.deepcopy(learner.state_dict())
    resumed.load_state_dict(copy.deepcopy(state))
    learner.load_state_dict(state)
    for function in (update, resumed.update):
        torch.cuda.manual_seed(5)
        for _ in range(UPDATES):
            function(batch, old_steps)
    assert update.is_captured
    torch.testing.assert_close(parameters(learner), parameters(resumed), **CLOSE)


def test_memory_of_a_graph_is_free_after_a_reset() -> None:
    x = torch.zeros(2**22, device="cuda")
    accelerator = Accelerator("cudagraphs", "cuda")
    triple = accelerator.capture("triple", lambda x: (x + 1.0) * 3.0 - 3.0)
    reserved = []
    for _ in range(3):
        for _ in range(WARM_UP + 2):
            triple(x)
        accelerator.reset()
        gc.collect()
        torch.cuda.empty_cache()
        reserved.append(torch.cuda.memory_reserved())
    assert reserved[0] == reserved[1] == reserved[2]


def test_training_goes_on_after_a_capture_that_cuda_refuses() -> None:
    taken = torch.zeros((), device="cuda")

    def reads_a_value(x: Tensor) -> Tensor:
        taken.add_(1.0)
        noise = torch.randn(4, device="cuda")
        if torch.cuda.is_current_stream_capturing():
            float(noise.sum())
        return x + noise

    before = torch.cuda.current_stream()
    step: Any = Accelerator("cudagraphs", "cuda").capture("step", reads_a_value)
    for _ in range(5):
        step(torch.zeros(4, device="cuda"))
    assert taken.item() == 5 and not step.is_fast
    assert torch.cuda.current_stream() == before
    assert torch.randn(2, device="cuda").isfinite().all(), "the random generator must work"
