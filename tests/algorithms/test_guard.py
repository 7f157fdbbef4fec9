# SPDX-License-Identifier: BSD-3-Clause
"""A gradient that is not finite changes nothing, and training with faulty simulators goes on or stops as promised."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.algorithms.builders import actor_critic, gaussian_actor_critic, learner_and_batch
from tests.algorithms.faulty_host import TASK, Faulty
from tests.rsl_rl.helpers import runner_cfg
from trudi_rsl.algorithms import TruDi
from trudi_rsl.algorithms.nonfinite import UpdateGuard
from trudi_rsl.checkpoints.file import read_checkpoint
from trudi_rsl.checkpoints.rebuild import load_actor_critic
from trudi_rsl.errors import NonFiniteError
from trudi_rsl.hosts.gymnasium.env import GymnasiumVecEnv
from trudi_rsl.runners import OnPolicyRunner


def content(learner: Any) -> dict[str, torch.Tensor]:
    """Return all that an update changes."""
    module = {f"module.{name}": value.clone() for name, value in learner.actor_critic.state_dict().items()}
    moments = {
        f"{name}.{i}.{key}": value.clone()
        for name, optimizer in learner.optimizers.items()
        for i, state in enumerate(optimizer.state.values())
        for key, value in state.items()
    }
    duals = {"alpha": learner.log_alpha.detach().clone(), "lambda": learner.log_lambda.detach().clone()}
    return module | moments | duals


@pytest.mark.parametrize("make", [actor_critic, gaussian_actor_critic])
@pytest.mark.parametrize("field", ["targets", "next_features", "actor_obs"])
def test_a_minibatch_with_a_non_finite_gradient_changes_nothing_nor_does_the_next(make: Any, field: str) -> None:
    torch.manual_seed(0)
    learner, batch, old_steps = learner_and_batch(make())
    learner.update(batch, old_steps)
    before = content(learner)
    damaged = getattr(batch, field).clone()
    damaged[0] = float("nan")
    both = {"actor_obs": damaged, "critic_obs": damaged} if field == "actor_obs" else {field: damaged}
    assert learner.update(batch._replace(**both), old_steps)["skipped_updates"] == 1.0
    # a critic whose own gradient is finite has taken its step before the actor's fails
    assert learner.update(batch, old_steps)["skipped_updates"] == 1.0
    after = content(learner)
    assert [name for name in before if not torch.equal(before[name], after[name])] == []
    learner.skips.zero_()
    assert learner.update(batch, old_steps)["skipped_updates"] == 0.0
    assert [name for name in before if not torch.equal(before[name], content(learner)[name])] != []


def runner(env: GymnasiumVecEnv, folder: Path | None = None, **settings: Any) -> OnPolicyRunner:
    """Return a runner on an environment."""
    return OnPolicyRunner(env, runner_cfg(**settings), folder and str(folder), "cpu")


def test_environments_that_lost_their_numbers_are_masked_and_reset(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    env = Faulty(2, at=8)
    trained = runner(env, tmp_path)
    trained.learn(4)
    assert env.were_reset == [[0, 1]]
    told = [line for line in capsys.readouterr().out.splitlines() if "[trudi_rsl] The simulator" in line]
    assert len(told) == 1 and "environment 0 at step 1 of this rollout (2 environments affected)" in told[0]
    state = read_checkpoint(tmp_path / "model_3.pt")
    tensors = [v for part in ("actor_state_dict", "critic_state_dict") for v in state[part].values()]
    assert all(torch.isfinite(v).all() for v in tensors)
    assert all(r == r for r in trained.logger.rewbuffer) and torch.isfinite(trained.logger.cur_reward_sum).all()


def test_a_host_that_cannot_reset_stops_with_the_environment_named(tmp_path: Path) -> None:
    trained = runner(Faulty(2, at=8, resets=False), tmp_path)
    with pytest.raises(NonFiniteError, match=r"environment 0 at step 1 .*cannot reset single environments.*rescued"):
        trained.learn(4)


def test_mostly_faulty_rollouts_are_skipped_kept_and_in_the_end_stop_training(tmp_path: Path) -> None:
    env = Faulty(4, at=7)
    env.mend = lambda ids: None
    env._reset_idx = lambda ids: env.were_reset.append(ids.tolist())
    trained = runner(env, tmp_path, max_skipped_updates=3)
    with pytest.raises(NonFiniteError, match=r"3 iterations in a row .*max_skipped_updates.*rescued"):
        trained.learn(20)
    assert env.steps == 6 * 4
    kept = sorted(tmp_path.glob("skipped_update_*.pt"))
    assert [path.name for path in kept] == [f"skipped_update_{i}.pt" for i in (1, 2, 3)]
    first, after_one = read_checkpoint(kept[0]), read_checkpoint(tmp_path / "model_0.pt")
    assert first["cause"]["rollout"]["actor_obs"].shape == (7, 4, 3)
    assert not first["cause"]["rollout"]["seen"][1:].any()
    # statistics of observations go on with what is finite
    networks = {name: v for name, v in after_one["critic_state_dict"].items() if "normalizer" not in name}
    assert networks
    for name, value in networks.items():
        torch.testing.assert_close(first["critic_state_dict"][name], value, rtol=0, atol=0)


def test_a_failing_minibatch_is_kept_with_the_state_before_it_and_training_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = runner(GymnasiumVecEnv(TASK, 3), tmp_path)
    algorithm: TruDi = trained.alg  # type: ignore[assignment]
    take, seen = algorithm.learner.update, []

    def third_fails(batch: Any, old_steps: Any) -> Any:
        seen.append(batch)
        damaged = batch._replace(targets=batch.targets * float("nan")) if len(seen) == 3 else batch
        return take(damaged, old_steps)

    algorithm.learner.update = third_fails  # type: ignore[method-assign]
    trained.learn(2)
    out = capsys.readouterr().out
    assert "Minibatch 3 of 4 gave a non-finite gradient (" in out
    kept = torch.load(tmp_path / "skipped_update_1.pt", weights_only=True)
    torch.testing.assert_close(kept["cause"]["minibatch"]["actions"], seen[2].actions, rtol=0, atol=0)
    assert "critic_grad_norm" in kept["cause"]["not_finite"]
    module, _ = load_actor_critic(tmp_path / "skipped_update_1.pt")
    assert all(torch.isfinite(p).all() for p in module.parameters())
    assert kept["optimizer_state_dict"]["critic"]["state"][0]["step"] == 2
    assert algorithm.guard.in_a_row == 0
    assert algorithm.learner.optimizers["critic"].state_dict()["state"][0]["step"] == 2 + 4


def test_what_caused_it_is_lost_where_it_cannot_be_written_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    resource = pytest.importorskip("resource")
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    guard = UpdateGuard(2)
    guard.folder = tmp_path
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
        guard.record_skip("A reason.", "A remedy.", {"x": torch.zeros(1000)}, dict)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert "A reason." in (out := capsys.readouterr().out) and "could not be written: [Errno 27]" in out
    assert list(tmp_path.iterdir()) == []


def test_damaged_weights_stop_training_at_once(tmp_path: Path) -> None:
    trained = runner(GymnasiumVecEnv(TASK, 3), tmp_path)
    algorithm: TruDi = trained.alg  # type: ignore[assignment]
    learned = algorithm.learner.update

    def damaging(batch: Any, old_steps: Any) -> Any:
        metrics = learned(batch, old_steps)
        algorithm.actor_critic.actor.output_layer.weight.data.fill_(torch.inf)
        return metrics

    algorithm.learner.update = damaging  # type: ignore[method-assign]
    with pytest.raises(NonFiniteError, match=r"made the weights non-finite.*learning_rate.*No checkpoint"):
        trained.learn(2)
