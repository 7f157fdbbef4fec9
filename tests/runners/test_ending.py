# SPDX-License-Identifier: BSD-3-Clause
"""A limit in seconds or a signal ends training between two iterations, with a checkpoint of all that was learned."""

from __future__ import annotations

import contextlib
import signal
import time
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.multiprocessing.spawn import spawn

from tests.evaluation.tiny_runs import SMALL, TASK
from trudi_rsl.config import compose
from trudi_rsl.errors import ConfigError
from trudi_rsl.hosts.registry import make_env
from trudi_rsl.rsl_rl_compat.version import PPO_MODELS
from trudi_rsl.runners import OnPolicyRunner
from trudi_rsl.runners.ending import TrainingEnds, ending

ALGORITHMS = ["trudi", "ppo"] if PPO_MODELS else ["trudi"]


def runner_of(algo: str, folder: Path, seconds: float | None) -> OnPolicyRunner:
    small = [*SMALL[algo], "env.num_envs=2", "agent.num_steps_per_env=4", "agent.algorithm.num_mini_batches=1"]
    cfg = compose(TASK, algo, [*small, f"agent.max_seconds={'null' if seconds is None else seconds}"])
    agent = OmegaConf.to_container(cfg.agent)
    folder.mkdir()
    return OnPolicyRunner(make_env(TASK, cfg.env), agent, str(folder))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_the_iteration_in_which_the_time_passes_is_the_last_and_is_saved_and_logged(algo: str, tmp_path: Path) -> None:
    runner = runner_of(algo, tmp_path / "run", 1e-6)
    runner.learn(1000)
    assert torch.load(tmp_path / "run" / "model_0.pt", weights_only=False)["iter"] == 0
    assert not list((tmp_path / "run").glob("model_[1-9]*"))
    events = EventAccumulator(str(tmp_path / "run")).Reload()
    assert [event.step for event in events.Scalars("Perf/total_fps")] == [0]


def test_the_last_checkpoint_is_that_of_the_last_iteration(tmp_path: Path) -> None:
    runner = runner_of("trudi", tmp_path / "run", 3600.0)
    original, updates = runner.alg.update, []

    def slow_third_update() -> dict[str, float]:
        updates.append(runner.current_learning_iteration)
        if len(updates) == 3:
            runner_clock[0] += 3600.0
        return original()

    runner_clock = [0.0]
    runner.alg.update = slow_third_update  # type: ignore[method-assign]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "monotonic", lambda: runner_clock[0])
        runner.learn(1000)
    assert torch.load(tmp_path / "run" / "model_2.pt", weights_only=False)["iter"] == 2
    assert len(updates) == 3


def test_without_a_limit_or_before_it_all_iterations_are_trained(tmp_path: Path) -> None:
    for name, seconds in (("none", None), ("long", 3600.0)):
        runner_of("trudi", tmp_path / name, seconds).learn(3)
        assert (tmp_path / name / "model_2.pt").is_file()


def test_the_algorithm_is_left_as_it_was_found() -> None:
    class Algorithm:
        def act(self) -> str:
            return "acted"

        def update(self) -> str:
            return "updated"

    algorithm = Algorithm()
    with pytest.raises(TrainingEnds), ending(algorithm, 0.0):
        assert algorithm.act() == "acted"
        assert algorithm.update() == "updated"
        algorithm.act()
    assert algorithm.act() == "acted"


def test_a_limit_that_is_over_at_once_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"agent.max_seconds must be above 0; got 0.0"):
        compose(TASK, "trudi", ["agent.max_seconds=0"])


@pytest.mark.parametrize(("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_ends_training_after_its_iteration_with_a_checkpoint_that_resumes(
    tmp_path: Path, number: signal.Signals, raised: type[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    runner = runner_of("trudi", tmp_path / "run", None)
    original, updates = runner.alg.update, []

    def update() -> dict[str, float]:
        updates.append(runner.current_learning_iteration)
        if len(updates) == 3:
            signal.raise_signal(number)
        return original()

    runner.alg.update = update  # type: ignore[method-assign]
    before = signal.getsignal(number)
    with pytest.raises(raised) as end:
        runner.learn(1000)
    assert raised is KeyboardInterrupt or end.value.args == (143,)
    assert len(updates) == 3
    assert signal.getsignal(number) is before
    assert f"{number.name}: training ends with a checkpoint after this iteration" in capsys.readouterr().out
    assert not list((tmp_path / "run").glob("*rescued*"))
    resumed = runner_of("trudi", tmp_path / "resumed", None)
    resumed.load(str(tmp_path / "run" / "latest.pt"))
    assert resumed.current_learning_iteration == 2


def test_a_second_signal_ends_training_at_once(tmp_path: Path) -> None:
    runner = runner_of("trudi", tmp_path / "run", None)
    steps, step = [], runner.env.step

    def stepped(actions: torch.Tensor) -> object:
        steps.append(actions)
        if len(steps) in (2, 3):
            signal.raise_signal(signal.SIGINT)
        return step(actions)

    runner.env.step = stepped  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        runner.learn(1000)
    assert len(steps) == 3
    assert not list((tmp_path / "run").glob("*rescued*"))


def test_signals_that_somebody_handles_are_left_to_them() -> None:
    class Algorithm:
        act = update = staticmethod(lambda: None)

    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: seen.append(number))
    try:
        with ending(Algorithm(), None) as requests:
            signal.raise_signal(signal.SIGTERM)
        assert (seen, requests.signal_number) == ([signal.SIGTERM], None)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_signal_in_the_last_iteration_is_obeyed_too(tmp_path: Path) -> None:
    runner = runner_of("trudi", tmp_path / "run", None)
    original = runner.alg.update

    def update() -> dict[str, float]:
        signal.raise_signal(signal.SIGTERM)
        return original()

    runner.alg.update = update  # type: ignore[method-assign]
    with pytest.raises(SystemExit) as end:
        runner.learn(1)
    assert end.value.code == 143
    assert (tmp_path / "run" / "model_0.pt").is_file()


class Counting:
    """An algorithm that counts, and in one process gets a signal while it updates: twice, from torchrun and Slurm."""

    device = "cpu"

    def __init__(self, signalled: bool) -> None:
        self.signalled, self.updates = signalled, 0

    def act(self) -> None: ...

    def update(self) -> None:
        self.updates += 1
        if self.signalled and self.updates == 2:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)


def train_in_process(rank: int, folder: str) -> None:
    """Train until the second process is asked to end, and keep how far that was."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    algorithm = Counting(signalled=rank == 1)
    with contextlib.suppress(TrainingEnds), ending(algorithm, None) as requests:
        for _ in range(100):
            algorithm.act()
            algorithm.update()
    Path(folder, f"rank{rank}.txt").write_text(f"{algorithm.updates} {requests.signal_number}")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_all_processes_end_after_the_same_iteration_when_one_is_asked_to(tmp_path: Path) -> None:
    spawn(train_in_process, (str(tmp_path),), nprocs=2)
    assert [(tmp_path / f"rank{rank}.txt").read_text() for rank in (0, 1)] == [f"2 {int(signal.SIGTERM)}"] * 2
