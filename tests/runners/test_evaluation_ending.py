# SPDX-License-Identifier: BSD-3-Clause
"""What becomes of evaluations when training ends: by its time, by a signal, or by a failure."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.rsl_rl.helpers import runner_cfg
from tests.runners.evaluated import EPISODES, STEPS, cheetah, logged, trained
from trudi_rsl.errors import NonFiniteError
from trudi_rsl.hosts.gymnasium.env import GymnasiumVecEnv
from trudi_rsl.runners import OnPolicyRunner


def test_the_last_checkpoint_is_evaluated_when_its_seconds_end_a_training_and_not_when_a_signal_does(
    tmp_path: Path,
) -> None:
    for name, limit in (("seconds", 1e-9), ("signal", None)):
        cfg = runner_cfg() | {"evaluation_episodes": EPISODES, "max_seconds": limit}
        runner = OnPolicyRunner(cheetah(), cfg, log_dir=str(tmp_path / name), device="cpu")
        update, seen = runner.alg.update, []

        def signalled(update: Any = update, seen: list[int] = seen, limit: float | None = limit) -> dict[str, float]:
            seen.append(0)
            if limit is None and len(seen) == 2:
                signal.raise_signal(signal.SIGTERM)
            return update()

        runner.alg.update = signalled  # type: ignore[method-assign]
        if limit is None:
            with pytest.raises(SystemExit):
                runner.learn(1000)
        else:
            runner.learn(1000)
        assert (tmp_path / name / f"model_{len(seen) - 1}.pt").exists()
    assert list(logged(tmp_path / "seconds")) == [0]
    assert list(logged(tmp_path / "signal")) == [0]
    assert (tmp_path / "signal" / "latest.pt").resolve().name == "model_1.pt"


class Signalling(GymnasiumVecEnv):
    """Environments whose copies for evaluations get a signal in their first episode."""

    calm = True

    def alike(self, num_envs: int, seed: int) -> GymnasiumVecEnv:
        made = super().alike(num_envs, seed)
        assert isinstance(made, Signalling)
        made.calm = False
        return made

    def step(self, actions: torch.Tensor) -> Any:
        if not self.calm:
            self.calm = True
            signal.raise_signal(signal.SIGTERM)
        return super().step(actions)


def test_a_signal_during_an_evaluation_is_answered_and_ends_that_one_and_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        trained(tmp_path, EPISODES, env=Signalling("HalfCheetah-v5", 2, max_episode_steps=STEPS))
    assert not logged(tmp_path)
    assert "SIGTERM: training ends with a checkpoint after this iteration" in capsys.readouterr().out
    assert [path.name for path in tmp_path.glob("model_*.pt")] == ["model_0.pt"]


class Closing(GymnasiumVecEnv):
    """Two environments whose copies say when they are closed."""

    closed = 0

    def close(self) -> None:
        Closing.closed += self.num_envs == EPISODES
        super().close()


class Failing(Closing):
    """Two environments that fail in the third iteration; their copies do not."""

    def step(self, actions: torch.Tensor) -> Any:
        if self.num_envs == 2 and self._total_steps == 14:
            raise NonFiniteError("the simulator's reward is nan.")
        return super().step(actions)


@pytest.mark.parametrize("kind", [Closing, Failing])
def test_the_environments_of_evaluations_are_closed_when_training_ends_or_fails(tmp_path: Path, kind: type) -> None:
    before = Closing.closed
    with contextlib.suppress(NonFiniteError):
        trained(tmp_path, EPISODES, env=kind("HalfCheetah-v5", 2, max_episode_steps=STEPS))
    assert Closing.closed == before + 1


def test_what_is_rescued_when_training_fails_is_not_evaluated(tmp_path: Path) -> None:
    cfg = runner_cfg() | {"evaluation_episodes": EPISODES}
    env = Failing("HalfCheetah-v5", 2, max_episode_steps=STEPS)
    with pytest.raises(NonFiniteError, match="model_1_rescued"):
        OnPolicyRunner(env, cfg, log_dir=str(tmp_path), device="cpu").learn(4)
    assert list(logged(tmp_path)) == [0]
    assert (tmp_path / "best.pt").resolve().name == "model_0.pt"
