# SPDX-License-Identifier: BSD-3-Clause
"""Captured functions do what eager ones do, in emulated CUDA graphs: updates, random numbers, failures, resumes."""

from __future__ import annotations

import copy
import gc
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.acceleration.emulated_graphs import EmulatedCuda
from tests.acceleration.test_resume_on_gpu import assert_resume_is_exact, runner
from tests.algorithms.builders import actor_critic, gaussian_actor_critic, learner_and_batch, moved, parameters
from trudi_rsl.acceleration import Accelerator
from trudi_rsl.acceleration.cuda_graph import WARM_UP, CapturedFunction
from trudi_rsl.algorithms.learner import Learner
from trudi_rsl.settings import CompileMode

UPDATES = 10
EXACT: dict[str, Any] = {"rtol": 0.0, "atol": 0.0}
SETTINGS: dict[str, dict[str, Any]] = {
    "pathwise": {},
    "fresh chains": {"kl_chains": "fresh", "num_kl_chains": 2},
    "adjoint": {"actor_gradient": "adjoint", "num_adjoint_steps": 2},
    "DIME": {"constraint": "none"},
    "REPPO": {"actor": "gaussian"},
}


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> EmulatedCuda:
    emulated = EmulatedCuda()
    emulated.install(monkeypatch)
    return emulated


def capture(function: Any) -> CapturedFunction:
    captured = Accelerator("cudagraphs", "cuda").capture("step", function)
    assert isinstance(captured, CapturedFunction)
    return captured


def twins(name: str) -> tuple[Learner, Learner, Any, Any]:
    """Return two learners of equal weights, a minibatch of which about half is gated, and the old step sizes."""
    settings = dict(SETTINGS[name])
    build = gaussian_actor_critic if settings.pop("actor", None) else actor_critic
    bound = {} if name == "DIME" else {"kl_bound": 0.5}
    learner, batch, old_steps = learner_and_batch(moved(build()), **settings, **bound)
    # a GPU learns without splitting the minibatch by the gate, and so does whatever is compiled
    accelerator = Accelerator("cudagraphs", "cuda")
    one, other = (Learner(copy.deepcopy(learner.actor_critic), learner.cfg, 1, accelerator) for _ in range(2))
    return one, other, batch, None if old_steps is None else old_steps.detach()


@pytest.mark.parametrize("name", SETTINGS)
def test_ten_captured_updates_equal_ten_eager_ones(cuda: EmulatedCuda, name: str) -> None:
    eager, replayed, batch, old_steps = twins(name)
    update = capture(replayed.update)
    results = []
    for function in (eager.update, update):
        torch.manual_seed(1)
        results.append([function(batch, old_steps) for _ in range(UPDATES)])
        results.append(torch.rand(3))
    (graph,) = cuda.graphs
    assert graph.num_replays == UPDATES - WARM_UP and graph.error_mode == "thread_local"
    torch.testing.assert_close(parameters(replayed), parameters(eager), rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(results[2], results[0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(results[3], results[1], **EXACT)


def test_results_stay_and_replays_neither_sync_nor_leave_the_stream(cuda: EmulatedCuda) -> None:
    _, learner, batch, old_steps = twins("pathwise")
    update = capture(learner.update)
    for _ in range(WARM_UP):
        update(batch, old_steps)
    kept = update(batch, old_steps)
    before, syncs, stream = {name: value.clone() for name, value in kept.items()}, cuda.num_syncs, cuda.streams[-1]
    later = update(batch._replace(targets=batch.targets + 5.0), old_steps)
    torch.testing.assert_close(kept, before, **EXACT)
    assert not torch.equal(later["critic"], kept["critic"])
    assert cuda.num_syncs == syncs and cuda.streams == [stream]


def test_a_graph_captured_in_inference_mode_serves_outside_of_it_and_other_shapes_are_not_replayed(
    cuda: EmulatedCuda,
) -> None:
    model = actor_critic()
    sample = capture(model.decide)
    obs, noise = torch.randn(5, 3), model.actor.draw_noise(5)
    with torch.inference_mode():
        for _ in range(WARM_UP + 2):
            sample(torch.randn(5, 3), model.actor.draw_noise(5))
    with torch.no_grad():
        torch.testing.assert_close(tuple(sample(obs, noise)), tuple(model.decide(obs, noise)))
        fewer = obs[:2], noise[:, :2]
        torch.testing.assert_close(tuple(sample(*fewer)), tuple(model.decide(*fewer)))
    (graph,) = cuda.graphs
    assert graph.num_replays == 3


def test_a_capture_that_cuda_refuses_neither_loses_nor_repeats_an_update(
    cuda: EmulatedCuda, capsys: pytest.CaptureFixture[str]
) -> None:
    eager, learner, batch, old_steps = twins("pathwise")
    accelerator = Accelerator("cudagraphs", "cuda")

    def reads_a_value(*args: Any) -> dict[str, Tensor]:
        metrics = learner.update(*args)
        float(metrics["critic"])
        return metrics

    update: Any = accelerator.capture("minibatch update", reads_a_value)
    other: Any = accelerator.capture("sampling", lambda x: x + torch.rand(()))
    for _ in range(WARM_UP + 1):
        other(torch.zeros(1))
    stream, states = cuda.streams[-1], []
    for function in (eager.update, update):
        torch.manual_seed(1)
        for _ in range(UPDATES):
            function(batch, old_steps)
        states.append(torch.get_rng_state())
    assert learner.optimizers["actor"].state_dict()["state"][0]["step"] == UPDATES
    torch.testing.assert_close(parameters(learner), parameters(eager), **EXACT)
    assert torch.equal(*states), "a failed capture draws nothing"
    assert cuda.streams == [stream] and not update.is_fast
    assert not other.is_captured, "it referred to the former state of the random generator"
    assert capsys.readouterr().out.count("could not be captured and runs as it is: CUDA error") == 1


def test_loading_frees_the_graph_and_captures_the_loaded_state(cuda: EmulatedCuda) -> None:
    eager, learner, batch, old_steps = twins("pathwise")
    update = learner.accelerator.capture("minibatch update", learner.update)
    for function in (eager.update, update):
        torch.manual_seed(1)
        for _ in range(WARM_UP + 2):
            function(batch, old_steps)
    for each in (eager, learner):
        each.load_state_dict(copy.deepcopy(each.state_dict()))
    gc.collect()
    assert not cuda.graphs, "the memory of the former graph is kept"
    for function in (eager.update, update):
        torch.manual_seed(2)
        for _ in range(UPDATES):
            function(batch, old_steps)
    assert len(cuda.graphs) == 1
    torch.testing.assert_close(parameters(learner), parameters(eager), rtol=1e-6, atol=1e-7)


def train_with(monkeypatch: pytest.MonkeyPatch, mode: CompileMode, device: str) -> None:
    """Let trainings on the CPU compile and capture for this device."""
    monkeypatch.setattr("trudi_rsl.algorithms.trudi.Accelerator", lambda *_: Accelerator(mode, device))


def test_a_captured_training_is_the_eager_one(
    cuda: EmulatedCuda, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    states = []
    cases: list[tuple[CompileMode, str]] = [("default", "cpu"), ("cudagraphs", "cuda")]
    for mode, device in cases:
        train_with(monkeypatch, mode, device)
        trained = runner(tmp_path / mode, "cpu", 1)
        trained.learn(3)
        states.append(trained.alg.get_policy().state_dict())
    assert len(cuda.graphs) == 3, "statistics, sampling and minibatches"
    torch.testing.assert_close(states[1], states[0], rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("actor_gradient", ["pathwise", pytest.param("adjoint", marks=pytest.mark.nightly)])
def test_a_captured_training_resumes_exactly(
    cuda: EmulatedCuda, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, actor_gradient: str
) -> None:
    train_with(monkeypatch, "cudagraphs", "cuda")
    # the resumed one runs its first updates eagerly, which sum in another order on other memory
    assert_resume_is_exact(tmp_path, "cpu", 1e-6, actor_gradient=actor_gradient)
    assert sum(graph.num_replays for graph in cuda.graphs) > 0
