# SPDX-License-Identifier: BSD-3-Clause
"""NaN and infinity are found, named and excluded from learning, and training continues or stops as documented."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.algorithms.builders import actor_critic, gaussian_actor_critic, learner_and_batch, parameters, rollout
from tests.algorithms.faulty_host import TASK, Faulty
from tests.rsl_rl.helpers import runner_cfg
from trudi_rsl.algorithms import TruDi
from trudi_rsl.algorithms.nonfinite import (
    NonFinite,
    UpdateGuard,
    first_nonfinite,
    mask_nonfinite,
    nonfinite_numbers,
)
from trudi_rsl.algorithms.targets import compute_targets
from trudi_rsl.checkpoints.file import read_checkpoint
from trudi_rsl.checkpoints.rebuild import load_actor_critic
from trudi_rsl.errors import NonFiniteError
from trudi_rsl.hosts.gymnasium.env import GymnasiumVecEnv
from trudi_rsl.policies import DiffusionActorCritic
from trudi_rsl.runners import OnPolicyRunner
from trudi_rsl.storage import RolloutBuffer

ENV, ROW = 3, 1
GAMMA, LAM, ALPHA = 0.9, 0.7, torch.tensor(0.2)


def drop_observations(buffer: RolloutBuffer, rows: slice | int, env: int = ENV) -> None:
    """Store non-finite observations of an environment as ``TruDi.act`` does."""
    buffer.seen[rows, env] = False
    buffer.actor_obs[rows, env] = 0.0


def first_of(buffer: RolloutBuffer) -> NonFinite:
    """Return the rollout's first non-finite number, which exists."""
    found = first_nonfinite(nonfinite_numbers(buffer))
    assert found is not None
    return found


def targets(model: DiffusionActorCritic, buffer: RolloutBuffer) -> Tensor:
    """Return the targets, with the same random numbers every time."""
    torch.manual_seed(5)
    compute_targets(model, buffer, ALPHA, GAMMA, LAM)
    return buffer.targets.clone()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_non_finite_reward_is_found_with_environment_and_step(bad: float) -> None:
    for row in range(4):
        buffer = rollout(actor_critic())
        assert not nonfinite_numbers(buffer).any()
        buffer.step = row
        none = torch.zeros(buffer.num_envs, dtype=torch.bool)
        rewards = torch.tensor([0.0, 0.0, 0.0, bad, 0.0])
        buffer.add_outcome(rewards, none, none)
        assert not rewards.isfinite().all(), "the caller's tensor is not changed"
        found = first_of(buffer)
        assert (found.quantity, found.env, found.step) == ("reward", ENV, row)
        assert found.envs.tolist() == [ENV] and found.lost.tolist() == []
        assert torch.isfinite(buffer.rewards).all()


def test_a_non_finite_observation_is_found_and_only_one_after_the_rollout_needs_a_reset() -> None:
    for row in range(5):
        buffer = rollout(actor_critic())
        drop_observations(buffer, row)
        found = first_of(buffer)
        assert (found.quantity, found.env, found.step) == ("observation", ENV, row)
        assert found.lost.tolist() == ([ENV] if row == 4 else [])


def test_actions_count_only_for_finite_observations_and_the_first_of_several_is_named() -> None:
    buffer = rollout(actor_critic())
    buffer.actions[2, 1, 0] = float("nan")
    assert first_of(buffer)[:3] == ("action", 1, 2)
    drop_observations(buffer, 2, env=1)
    assert first_of(buffer).quantity == "observation"
    buffer.rewarded[1, 0] = False
    found = str(first_of(buffer))
    assert "reward in environment 0 at step 1" in found and "2 environments" in found


def test_a_final_observation_counts_where_an_episode_ended() -> None:
    buffer = rollout(actor_critic())
    final = torch.zeros_like(buffer.actor_obs[0])
    final[ENV] = float("nan")
    buffer.step = ROW
    buffer.add_final_obs(final, final)
    assert not nonfinite_numbers(buffer).any()
    buffer.truncated[ROW, ENV] = True
    assert first_of(buffer)[:3] == ("final observation", ENV, ROW)
    assert mask_nonfinite(buffer)
    compute_targets(actor_critic(), buffer, ALPHA, GAMMA, LAM)
    assert not buffer.target_valid[ROW, ENV] and torch.isfinite(buffer.targets).all()


@pytest.mark.parametrize("has_final", [False, True])
def test_rows_after_a_non_finite_one_change_no_earlier_target_and_no_other_environment(has_final: bool) -> None:
    model = actor_critic()
    buffer = rollout(model)
    if has_final:
        buffer.step = ROW
        buffer.add_final_obs(buffer.actor_obs[0], buffer.critic_obs[0])
        buffer.step = buffer.num_steps
    drop_observations(buffer, ROW + 1)
    assert mask_nonfinite(buffer)
    before = targets(model, buffer)
    assert buffer.target_valid[:, ENV].tolist() == [True, False, False, True]
    others = torch.arange(buffer.num_envs) != ENV
    assert buffer.target_valid[:, others].all()
    buffer.rewards[1:3, ENV] = 1e6
    buffer.actions[2, ENV] = 0.9
    after = targets(model, buffer)
    torch.testing.assert_close(after[:, others], before[:, others], rtol=0, atol=0)
    torch.testing.assert_close(after[[0, 3], ENV], before[[0, 3], ENV], rtol=0, atol=0)


def test_non_finite_rows_are_in_no_minibatch_and_minibatches_keep_their_size() -> None:
    torch.manual_seed(0)
    buffer = rollout(actor_critic())
    compute_targets(actor_critic(), buffer, ALPHA, GAMMA, LAM)
    lost = [1, 2]
    drop_observations(buffer, slice(1, 3))
    assert mask_nonfinite(buffer)
    batches = [rows.rows.tolist() for rows in buffer.index_batches(8, 4)]
    drawn = {row for rows in batches for row in rows}
    assert {len(rows) for rows in batches} == {buffer.num_steps * buffer.num_envs // 4}
    assert drawn == set(range(20)) - {t * buffer.num_envs + ENV for t in lost}
    buffer.clear()
    assert {row for rows in buffer.index_batches(1, 1) for row in rows.rows.tolist()} == set(range(20))


def test_a_mostly_non_finite_rollout_is_not_learned_from() -> None:
    for damaged_envs, can_learn in ((3, False), (2, True)):
        buffer = rollout(actor_critic())
        for env in range(damaged_envs):
            drop_observations(buffer, slice(None), env=env)
        assert mask_nonfinite(buffer) == can_learn


def content(learner: Any) -> dict[str, torch.Tensor]:
    """Return all that an update changes."""
    module = {name: value.clone() for name, value in learner.actor_critic.state_dict().items()}
    moments = {
        f"{name}.{i}.{key}": value.clone()
        for name, optimizer in learner.optimizers.items()
        for i, state in enumerate(optimizer.state.values())
        for key, value in state.items()
    }
    return module | moments | parameters(learner)


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
    return OnPolicyRunner(env, runner_cfg(**settings), folder and str(folder), "cpu")


def test_non_finite_environments_are_masked_and_reset(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    env = Faulty(2, at=8)
    trained = runner(env, tmp_path)
    trained.learn(4)
    assert env.were_reset == [[0, 1]]
    messages = [line for line in capsys.readouterr().out.splitlines() if "[trudi_rsl] The simulator" in line]
    assert len(messages) == 1 and "environment 0 at step 1 of this rollout (2 environments affected)" in messages[0]
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

    def third_fails(batch: Any, *rest: Any) -> Any:
        seen.append(batch)
        damaged = batch._replace(targets=batch.targets * float("nan")) if len(seen) == 3 else batch
        return take(damaged, *rest)

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


def test_an_update_is_skipped_even_if_its_cause_cannot_be_written(
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

    def damaging(*args: Any) -> Any:
        metrics = learned(*args)
        algorithm.actor_critic.actor.output_layer.weight.data.fill_(torch.inf)
        return metrics

    algorithm.learner.update = damaging  # type: ignore[method-assign]
    with pytest.raises(NonFiniteError, match=r"made the weights non-finite.*learning_rate.*No checkpoint"):
        trained.learn(2)
