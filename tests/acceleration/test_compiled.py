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
    bound = {} if "constraint" in settings else {"kl_bound": 0.5}
    eager, batch, old_steps = learner_and_batch(moved(actor_critic()), **bound, **settings)
    return eager, compiled_copy(eager), batch, old_steps


def compiled_copy(eager: Learner, world_size: int = 1) -> Learner:
    """Return a compiled learner of equal weights; with more than one rank, gradients are compiled one by one."""
    return Learner(copy.deepcopy(eager.actor_critic), eager.cfg, world_size, Accelerator("default", "cpu"))


@pytest.fixture(scope="module")
def pair() -> Pair:
    return eager_and_compiled()


@pytest.mark.slow
def test_losses_and_gradients_of_several_ranks_are_those_of_eager_code(pair: Pair) -> None:
    eager, _, batch, old_steps = pair
    compiled = compiled_copy(eager, world_size=2)
    noise, old = eager.actor_critic.actor.draw_noise(len(batch.actor_obs)), eager._old_policy(batch, old_steps)
    terms = ActorTerms(batch.actor_obs, batch.critic_obs, noise, old, eager.alpha, eager.multiplier)
    results = [
        [learner._differentiate_actor(terms, None), learner._critic_gradient(batch)] for learner in (compiled, eager)
    ]
    assert 0.0 < results[1][0][0].metrics["gated_share"] < 1.0, "both branches of the gate must take part"
    for (objective, gradient), (expected, expected_gradient) in zip(*results, strict=True):
        torch.testing.assert_close(objective.metrics, expected.metrics, **EXACT_UP_TO_ROUNDING)
        torch.testing.assert_close(gradient, expected_gradient, **EXACT_UP_TO_ROUNDING)


def assert_same_update(eager: Learner, compiled: Learner, batch: Minibatch, old_steps: Tensor | None) -> None:
    """Check the metrics of an update, and its gradients, which Adam's first moments are a tenth of."""
    metrics, moments = [], []
    for learner in (eager, compiled):
        torch.manual_seed(1)
        metrics.append(learner.update(batch, old_steps))
        states = [state for optimizer in learner.optimizers.values() for state in optimizer.state.values()]
        moments.append([state["exp_avg"] for state in states])
        assert {state["step"].item() for state in states} == {1.0}
    torch.testing.assert_close(metrics[1], metrics[0], **EXACT_UP_TO_ROUNDING)
    torch.testing.assert_close(moments[1], moments[0], **EXACT_UP_TO_ROUNDING)


UPDATED: dict[str, dict[str, Any]] = {
    "adjoint": {"actor_gradient": "adjoint", "num_adjoint_steps": 2},
    "fresh": {"kl_chains": "fresh", "num_kl_chains": 2},
    "dime": {"constraint": "none"},
}


@pytest.mark.slow
@pytest.mark.parametrize("settings", [UPDATED["adjoint"]], ids=["adjoint"])
def test_a_compiled_update_is_that_of_eager_code(settings: dict[str, Any]) -> None:
    assert_same_update(*eager_and_compiled(**settings))


@pytest.mark.parametrize("settings", UPDATED.values(), ids=UPDATED)
def test_an_update_of_packed_parameters_is_that_of_the_modules(settings: dict[str, Any]) -> None:
    with torch.compiler.set_stance("force_eager"):
        assert_same_update(*eager_and_compiled(**settings))


def test_thirty_packed_updates_in_float64_are_those_of_the_modules() -> None:
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.compiler.set_stance("force_eager"):
            eager, packed, batch, old_steps = eager_and_compiled(**UPDATED["adjoint"])
            for rollout in range(3):
                for learner in (eager, packed):
                    torch.manual_seed(rollout)
                    with learner.packed():
                        for _ in range(10):
                            learner.update(batch, old_steps)
    finally:
        torch.set_default_dtype(default)
    torch.testing.assert_close(parameters(packed), parameters(eager), rtol=1e-11, atol=1e-13)


def test_modules_are_up_to_date_after_packed_updates_and_packed_ones_continue_a_checkpoint() -> None:
    with torch.compiler.set_stance("force_eager"):
        eager, packed, batch, old_steps = eager_and_compiled()
        torch.manual_seed(3)
        eager.update(batch, old_steps)
        packed.load_state_dict(copy.deepcopy(eager.state_dict()))
        packed.actor_critic.load_state_dict(eager.actor_critic.state_dict())
        for learner in (eager, packed):
            torch.manual_seed(4)
            with learner.packed():
                before = parameters(learner)
                for _ in range(2):
                    learner.update(batch, old_steps)
                changed = any(not torch.equal(parameters(learner)[name], before[name]) for name in before)
                assert changed == (learner is eager)
        torch.testing.assert_close(parameters(packed), parameters(eager), **CLOSE)
        steps = {s["step"].item() for o in packed.optimizers.values() for s in o.state.values()}
        assert steps == {3.0}


@pytest.mark.parametrize("field", ["targets", "actor_obs"])
def test_a_packed_minibatch_with_a_non_finite_gradient_changes_nothing_nor_does_the_next(field: str) -> None:
    with torch.compiler.set_stance("force_eager"):
        _, learner, batch, old_steps = eager_and_compiled()
        learner.update(batch, old_steps)
        before = copy.deepcopy((parameters(learner), learner.state_dict()))
        damaged = getattr(batch, field).clone()
        damaged[0] = float("nan")
        both = {"actor_obs": damaged, "critic_obs": damaged} if field == "actor_obs" else {field: damaged}
        for minibatch in (batch._replace(**both), batch):
            assert learner.update(minibatch, old_steps)["skipped_updates"] == 1.0
        torch.testing.assert_close((parameters(learner), learner.state_dict()), before, rtol=0, atol=0)
        learner.skips.zero_()
        assert learner.update(batch, old_steps)["skipped_updates"] == 0.0
        assert not torch.equal(parameters(learner)["alpha"], before[0]["alpha"])


@pytest.mark.nightly
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
@pytest.mark.nightly
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
    assert logged.count("The minibatch update could not be compiled") == 1
    assert not learner.accelerator.functions[0].is_fast


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
