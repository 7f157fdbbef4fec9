# SPDX-License-Identifier: BSD-3-Clause
"""Compiled code computes what eager code does, and is the code that runs."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._inductor import config as inductor_config
from torch.profiler import ProfilerActivity, profile

from tests.algorithms.builders import actor_critic, learner_and_batch, moved, parameters
from trudi_rsl.acceleration import Accelerator
from trudi_rsl.acceleration.accelerator import WORTHWHILE_UPDATES, Guarded
from trudi_rsl.algorithms.learner import Learner
from trudi_rsl.algorithms.objectives import ActorTerms
from trudi_rsl.errors import ConfigError
from trudi_rsl.storage import Minibatch

UPDATES = 10
# Sums are taken in another order, and Adam's first steps turn the sign of a tiny gradient into a step of full length.
CLOSE: dict[str, Any] = {"rtol": 2e-3, "atol": 2e-5}
EXACT_UP_TO_ROUNDING: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-6}

Pair = tuple[Learner, Learner, Minibatch, Tensor]


def eager_and_compiled(**settings: Any) -> Pair:
    """Return an eager and a compiled learner of equal weights, and a minibatch of which about half is gated."""
    torch.manual_seed(0)
    eager, batch, old_steps = learner_and_batch(moved(actor_critic()), kl_bound=0.5, **settings)
    compiled = Learner(copy.deepcopy(eager.actor_critic), eager.cfg, 1, Accelerator("default", "cpu"))
    return eager, compiled, batch, old_steps


@pytest.fixture(scope="module")
def pair() -> Pair:
    return eager_and_compiled()


def assert_same_actor_gradients(eager: Learner, compiled: Learner, batch: Minibatch, old_steps: Tensor) -> None:
    noise, old = eager.actor_critic.actor.draw_noise(len(batch.actor_obs)), eager._old_policy(batch, old_steps)
    given = ActorTerms(batch.actor_obs, batch.critic_obs, noise, old, eager.alpha, eager.multiplier)
    results = []
    for learner in (eager, compiled):
        # the same denoising steps
        torch.manual_seed(1)
        results.append(learner._differentiate_actor(given))
    (expected, expected_gradient), (objective, gradient) = results
    assert 0.0 < expected.metrics["gated_share"] < 1.0, "both branches of the gate must take part"
    torch.testing.assert_close(objective.metrics, expected.metrics, **EXACT_UP_TO_ROUNDING)
    torch.testing.assert_close(gradient, expected_gradient, **EXACT_UP_TO_ROUNDING)


@pytest.mark.slow
def test_losses_and_gradients_are_those_of_eager_code(pair: Pair) -> None:
    eager, compiled, batch, _ = pair
    assert_same_actor_gradients(*pair)
    (objective, gradient), (expected, expected_gradient) = (each._critic_gradient(batch) for each in (compiled, eager))
    torch.testing.assert_close(objective.metrics, expected.metrics, **EXACT_UP_TO_ROUNDING)
    torch.testing.assert_close(gradient, expected_gradient, **EXACT_UP_TO_ROUNDING)


@pytest.mark.slow
def test_adjoint_matching_is_that_of_eager_code() -> None:
    assert_same_actor_gradients(*eager_and_compiled(actor_gradient="adjoint", num_adjoint_steps=2))


@pytest.mark.slow
def test_ten_updates_lead_to_the_same_parameters(pair: Pair) -> None:
    eager, compiled, batch, old_steps = copy.deepcopy(pair[0]), pair[1], pair[2], pair[3]
    before = parameters(eager)
    for learner in (eager, compiled):
        torch.manual_seed(11)
        for _ in range(UPDATES):
            learner.update(batch, old_steps)
    after = parameters(eager)
    assert all(not torch.equal(after[name], before[name]) for name in after if not name.startswith("old_actor"))
    torch.testing.assert_close(parameters(compiled), after, **CLOSE)


@pytest.mark.slow
def test_actions_are_those_of_eager_code_and_stay_when_more_are_drawn() -> None:
    model = actor_critic()
    sample = Accelerator("default", "cpu").compile("sampling", model.decide)
    obs, noise = torch.randn(5, 3), model.actor.draw_noise(5)
    with torch.inference_mode():
        first = sample(obs, noise)
        kept = [t.clone() for t in first]
        sample(torch.randn(5, 3), model.actor.draw_noise(5))
        torch.testing.assert_close(list(first), kept, rtol=0, atol=0)
        eager = model.decide(obs, noise)
    torch.testing.assert_close(tuple(first), tuple(eager), **EXACT_UP_TO_ROUNDING)


@pytest.mark.slow
def test_the_compiled_code_is_what_runs(pair: Pair) -> None:
    eager, compiled, batch, old_steps = pair

    def operations(learner: Learner) -> set[str]:
        learner.update(batch, old_steps)
        with profile(activities=[ProfilerActivity.CPU]) as recorded:
            learner.update(batch, old_steps)
        return {str(event.name) for event in recorded.events() or []}

    assert {"aten::gelu", "aten::native_layer_norm"} <= operations(eager)
    names = operations(compiled)
    assert any("Torch-Compiled Region" in name for name in names)
    # both are fused with their neighbours, forwards and backwards
    assert not {name for name in names if "gelu" in name or "layer_norm" in name}


@pytest.mark.slow
def test_a_failing_compiler_is_reported_once_and_eager_code_runs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    eager, learner, batch, old_steps = eager_and_compiled()
    torch.compiler.reset()
    with inductor_config.patch({"cpp.cxx": ("/no/such/compiler",), "fx_graph_cache": False}):
        for each in (eager, learner):
            torch.manual_seed(11)
            for _ in range(2):
                each.update(batch, old_steps)
    torch.testing.assert_close(parameters(learner), parameters(eager), **CLOSE)
    logged = capsys.readouterr().out
    assert [logged.count(f"The {name} step could not be compiled") for name in ("actor", "critic")] == [1, 1]
    steps: list[Any] = [learner._actor_gradient, learner._critic_gradient]
    assert [step.is_fast for step in steps] == [False, False]


def test_an_error_of_the_function_itself_is_raised() -> None:
    def fails(x: Tensor) -> Tensor:
        raise ValueError(f"no {len(x)}")

    guarded = Guarded("step", fails, fails)
    with pytest.raises(ValueError, match="no 3"):
        guarded(torch.zeros(3))


def test_a_learner_leaves_no_trace_of_compiling_in_what_is_saved(pair: Pair) -> None:
    eager, compiled, *_ = pair
    assert list(compiled.actor_critic.state_dict()) == list(eager.actor_critic.state_dict())
    assert list(compiled.state_dict()) == list(eager.state_dict())


@pytest.mark.parametrize(
    ("mode", "more_updates", "expected"),
    [("off", 0, "off"), ("default", -1, "default"), ("auto", 0, "default"), ("auto", -1, "off")],
)
def test_what_is_compiled_on_a_cpu(mode: Any, more_updates: int, expected: str) -> None:
    accelerator = Accelerator(mode, "cpu", WORTHWHILE_UPDATES + more_updates)
    assert accelerator.mode == expected
    accelerator.compile("sampling", torch.sin)
    assert ("Compiled for cpu: sampling." in accelerator.describe()) == (expected == "default")


def test_cuda_graphs_are_refused_without_cuda() -> None:
    with pytest.raises(ConfigError, match="needs a CUDA device, and this is cpu"):
        Accelerator("cudagraphs", "cpu")
