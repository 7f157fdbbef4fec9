# SPDX-License-Identifier: BSD-3-Clause
"""A time limit or a signal ends training after an iteration, with a checkpoint, on all ranks at once."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.multiprocessing.spawn import spawn

from tests.evaluation.tiny_runs import SMALL, TASK
from trudi_rsl.config import compose
from trudi_rsl.hosts.registry import make_env
from trudi_rsl.rsl_rl_compat.version import PPO_MODELS
from trudi_rsl.runners import Hook, OnPolicyRunner
from trudi_rsl.runners.stopping import StopConditions


class At(Hook):
    """Calls a function at the end of one rollout."""

    def __init__(self, rollout: int, call: Callable[[], Any]) -> None:
        self.left, self.call = rollout, call

    def after_rollout(self, runner: Any) -> None:
        self.left -= 1
        if self.left == 0:
            self.call()


def logged(folder: Path, tag: str) -> list[tuple[int, float]]:
    """Return the steps at which a tag was logged, and its values."""
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    return [(e.step, e.value) for e in events.Scalars(tag)] if tag in events.Tags()["scalars"] else []


def make_runner(folder: Path, seconds: float | None = None, algo: str = "trudi") -> OnPolicyRunner:
    small = [*SMALL[algo], "env.num_envs=2", "agent.num_steps_per_env=4", "agent.algorithm.num_mini_batches=1"]
    cfg = compose(TASK, algo, [*small, f"agent.max_seconds={'null' if seconds is None else seconds}"])
    agent = OmegaConf.to_container(cfg.agent)
    folder.mkdir()
    return OnPolicyRunner(make_env(TASK, cfg.env), agent, str(folder))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("algo", ["trudi", "ppo"] if PPO_MODELS else ["trudi"])
def test_the_iteration_in_which_the_time_passes_is_the_last_and_is_saved_and_logged(algo: str, tmp_path: Path) -> None:
    runner = make_runner(tmp_path / "run", 1e-6, algo)
    runner.learn(1000)
    assert torch.load(tmp_path / "run" / "model_0.pt", weights_only=False)["iter"] == 0
    assert not list((tmp_path / "run").glob("model_[1-9]*"))
    assert [step for step, _ in logged(tmp_path / "run", "Perf/total_fps")] == [0]


def test_time_that_passes_during_a_later_iteration_ends_training_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = make_runner(tmp_path / "run", 3600.0)
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    runner.hooks.append(At(3, lambda: clock.__setitem__(0, 3600.0)))
    runner.learn(1000)
    assert torch.load(tmp_path / "run" / "model_2.pt", weights_only=False)["iter"] == 2


@pytest.mark.parametrize("iterations", [1000, 3])
@pytest.mark.parametrize(("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_ends_training_after_its_iteration_with_a_checkpoint_that_resumes(
    tmp_path: Path,
    iterations: int,
    number: signal.Signals,
    raised: type[BaseException],
    capsys: pytest.CaptureFixture[str],
) -> None:
    runner = make_runner(tmp_path / "run")
    runner.hooks.append(At(3, lambda: signal.raise_signal(number)))
    before = signal.getsignal(number)
    with pytest.raises(raised) as end:
        runner.learn(iterations)
    assert raised is KeyboardInterrupt or end.value.args == (143,)
    assert runner.current_learning_iteration == 2
    assert signal.getsignal(number) is before
    assert number.name in capsys.readouterr().out
    assert not list((tmp_path / "run").glob("*rescued*"))
    resumed = make_runner(tmp_path / "resumed")
    resumed.load(str(tmp_path / "run" / "latest.pt"))
    assert resumed.current_learning_iteration == 2


def test_a_second_signal_ends_training_at_once(tmp_path: Path) -> None:
    class SignalTwice(Hook):
        steps = 0

        def after_step(self, runner: Any) -> None:
            self.steps += 1
            if self.steps in (2, 3):
                signal.raise_signal(signal.SIGINT)

    runner = make_runner(tmp_path / "run")
    runner.hooks.append(hook := SignalTwice())
    with pytest.raises(KeyboardInterrupt):
        runner.learn(1000)
    assert hook.steps == 3
    assert not list((tmp_path / "run").glob("model_*"))


def test_a_signal_in_the_iteration_that_compiles_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    alg = SimpleNamespace(learner=SimpleNamespace(accelerator=SimpleNamespace(compiles=True)))
    runner: Any = SimpleNamespace(device="cpu", alg=alg)
    for iterations, says_so in ((0, True), (1, False)):
        stop = StopConditions(None)
        stop.on_start(runner)
        for _ in range(iterations):
            stop.after_update(runner, {})
        with stop.handling_signals():
            signal.raise_signal(signal.SIGINT)
        assert ("compiles" in capsys.readouterr().out) == says_so


def test_signals_with_a_handler_are_left_to_it() -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: seen.append(number))
    stop = StopConditions(None)
    try:
        with stop.handling_signals():
            signal.raise_signal(signal.SIGTERM)
        assert (seen, stop.signal_number) == ([signal.SIGTERM], None)
    finally:
        signal.signal(signal.SIGTERM, before)


def count_iterations(rank: int, folder: str) -> None:
    """Run iterations until rank 1 gets a signal in the second: twice, as from torchrun and Slurm."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    stop, runner, iterations = StopConditions(None), SimpleNamespace(device="cpu"), 0
    with stop.handling_signals():
        while stop.stop_reason() is None:
            iterations += 1
            if rank == 1 and iterations == 2:
                signal.raise_signal(signal.SIGTERM)
                signal.raise_signal(signal.SIGTERM)
            stop.after_update(runner, {})  # pyright: ignore[reportArgumentType]
    Path(folder, f"rank{rank}.txt").write_text(f"{iterations} {stop.signal_number}")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_all_ranks_end_after_the_same_iteration_when_one_gets_a_signal(tmp_path: Path) -> None:
    spawn(count_iterations, (str(tmp_path),), nprocs=2)
    assert [(tmp_path / f"rank{rank}.txt").read_text() for rank in (0, 1)] == [f"2 {int(signal.SIGTERM)}"] * 2
