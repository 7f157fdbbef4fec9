# SPDX-License-Identifier: BSD-3-Clause
"""Laws of encoders that remember: sequences, padding, resets, and the gradient through them."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from tensordict import TensorDict
from torch import Tensor

from tests.properties.small_env import iteration
from tests.rsl_rl.memory_env import GRU, LSTM, NUM_ENVS, NUM_STEPS, MemoryEnv, build, collect, state
from trudi_rsl.algorithms.trust_region import step_sizes_of
from trudi_rsl.errors import ConfigError
from trudi_rsl.policies.recurrent import RecurrentEncoder, cleared
from trudi_rsl.rsl_rl_compat.version import POLICY_STYLE
from trudi_rsl.settings import settings_from_dict
from trudi_rsl.storage import BatchRows, SequenceStorage

pytestmark = pytest.mark.skipif(POLICY_STYLE, reason="RSL-RL 3 has no RNNModel")

ALGORITHMS: dict[str, dict[str, Any]] = {
    "trudi": {},
    "fresh chains": {"kl_chains": "fresh"},
    "reverse": {"kl_estimator": "reverse"},
    "adjoint": {"actor_gradient": "adjoint"},
    "reppo": {"policy": "gaussian"},
    "dime": {"constraint": "none"},
    "short sequences": {"sequence_length": 2, "num_mini_batches": 5},
    "an actor that remembers": {"critic": None},
    "a critic that remembers": {"actor": None},
}


def encoder(section: dict[str, Any]) -> RecurrentEncoder:
    torch.manual_seed(3)
    obs = TensorDict({"policy": torch.zeros(1, 3)}, batch_size=[1])
    return RecurrentEncoder(obs, ["policy"], section, normalize=False).double()


def walked(rnn: RecurrentEncoder, length: int) -> tuple[SequenceStorage, Tensor, Tensor]:
    """Return a rollout of random observations with ends of episodes, and the latents and seen rows of its steps."""
    torch.manual_seed(4)
    storage = SequenceStorage(NUM_STEPS, NUM_ENVS, length, {"actor": rnn}, "cpu")
    storage.inputs, storage.states = (
        {k: v.double() for k, v in part.items()} for part in (storage.inputs, storage.states)
    )
    state, latents = torch.randn(rnn.state_shape(NUM_ENVS), dtype=torch.double), []
    for step in range(NUM_STEPS):
        obs, ended = torch.randn(NUM_ENVS, 3, dtype=torch.double), torch.rand(NUM_ENVS) < 0.3
        storage.add_step(step, {"actor": obs}, {"actor": state})
        storage.ended[step] = ended
        with torch.no_grad():
            new, state = rnn.step(obs, state)
        latents.append(new)
        state = cleared(state, ended)
    assert storage.ended.any() and not storage.ended.all()
    return storage, torch.stack(latents), torch.ones(NUM_STEPS, NUM_ENVS, dtype=torch.bool)


@pytest.mark.parametrize("length", [1, 3, NUM_STEPS])
@pytest.mark.parametrize("section", [GRU, LSTM], ids=["gru", "lstm"])
def test_sequences_in_one_call_are_the_steps_one_by_one(section: dict[str, Any], length: int) -> None:
    rnn = encoder(section)
    storage, latents, seen = walked(rnn, length)
    (batches,) = storage.batches(seen, 1, 2)
    rows = torch.cat([rows for rows, _ in batches])
    assert sorted(rows.tolist()) == list(range(NUM_STEPS * NUM_ENVS)), "each row is in one minibatch"
    for batch, trajectories in batches:
        replayed = rnn.replay(storage.padded(trajectories)["actor"])
        torch.testing.assert_close(replayed, latents.flatten(0, 1)[batch], rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("section", [GRU, LSTM], ids=["gru", "lstm"])
def test_padding_changes_nothing(section: dict[str, Any]) -> None:
    rnn = encoder(section)
    storage, _, seen = walked(rnn, NUM_STEPS)
    ((rows, trajectories),) = next(storage.batches(seen, 1, 1))
    weights = torch.randn(NUM_STEPS * NUM_ENVS, rnn.num_latents, dtype=torch.double)
    parameters = list(rnn.parameters())
    padded = storage.padded(trajectories)["actor"]
    assert len(padded.inputs) * padded.inputs.shape[1] > len(rows), "there is padding"
    together = torch.autograd.grad((rnn.replay(padded) * weights[rows]).sum(), parameters)
    alone = [torch.zeros_like(p) for p in parameters]
    for env in range(NUM_ENVS):
        ends = [*storage.ended[:, env].nonzero().flatten().tolist(), NUM_STEPS - 1]
        start, before = 0, storage.states["actor"][0][:, :, env : env + 1]
        for end in sorted(set(ends)):
            outputs, _ = rnn._run(storage.inputs["actor"][start : end + 1, env : env + 1], before)
            own = weights.view(NUM_STEPS, NUM_ENVS, -1)[start : end + 1, env : env + 1]
            alone = [a + g for a, g in zip(alone, torch.autograd.grad((outputs * own).sum(), parameters), strict=True)]
            start, before = end + 1, torch.zeros_like(before)
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)


def test_a_reset_leaks_nothing() -> None:
    trudi, env = build(), MemoryEnv()
    collect(trudi, env, num_steps=3)
    before = {name: value.clone() for name, value in trudi.memory.states.items()}
    obs, reward, _, extras = env.step(torch.zeros(NUM_ENVS, 2))
    with torch.inference_mode():
        trudi.process_env_step(obs, reward, torch.tensor([1.0, 0.0, 0.0, 1.0]), extras)
    for name, value in trudi.memory.states.items():
        assert before[name].any() and not value[:, :, [0, 3]].any()
        assert torch.equal(value[:, :, [1, 2]], before[name][:, :, [1, 2]])
    rnn = trudi.actor_critic.recurrent_encoders["actor"]
    pasts = [cleared(torch.randn(rnn.state_shape(2)), torch.tensor([1, 0])) for _ in range(2)]
    first, second = (rnn.step(torch.ones(2, 3), past)[0] for past in pasts)
    assert torch.equal(first[0], second[0]) and not torch.equal(first[1], second[1])


def test_an_observation_with_nan_leaves_the_memory_of_an_acting_policy_as_it_was() -> None:
    rnn = build().actor_critic.recurrent_encoders["actor"]
    obs = [{name: torch.randn(2, 3) for name in rnn.groups} for _ in range(2)]
    broken = {name: x.clone() for name, x in obs[0].items()}
    for x in broken.values():
        x[0, 0] = torch.nan
    rnn.reset()
    assert rnn(broken)[0].isnan().any(), "an action for it is not made up"
    after = rnn(obs[1])
    rnn.reset()
    alone = rnn(obs[1])
    assert torch.equal(after[0], alone[0]) and not torch.equal(after[1], alone[1])


def test_a_last_observation_is_seen_with_the_memory_of_its_own_episode() -> None:
    trudi, env = build(), MemoryEnv()
    collect(trudi, env, num_steps=2)
    with torch.inference_mode():
        trudi.act(env.get_observations())
        before = {name: value.clone() for name, value in trudi.memory.states.items()}
        obs, reward, _, extras = env.step(torch.zeros(NUM_ENVS, 2))
        extras["final_obs"]["policy"][1, 0] = torch.inf
        trudi.process_env_step(obs, reward, torch.ones(NUM_ENVS), extras)
    model, storage = trudi.actor_critic, trudi.storage
    for name, stored in (("actor", storage.final_actor_obs), ("critic", storage.final_critic_obs)):
        rnn = model.recurrent_encoders[name]
        with torch.no_grad():
            expected, _ = rnn.step(rnn.normalize(rnn.concatenate(extras["final_obs"])), before[name])
        assert stored is not None and stored[2][1].isnan().all(), "gates would hide an infinity"
        torch.testing.assert_close(stored[2][[0, 2, 3]], expected[[0, 2, 3]])


@pytest.mark.parametrize("settings", [{}, {"actor_gradient": "adjoint"}, {"constraint": "none"}], ids=str)
def test_the_gradient_by_latents_and_then_by_the_encoder_is_that_of_one_graph(settings: dict[str, Any]) -> None:
    trudi = build(num_mini_batches=1, **settings)
    torch.nn.init.normal_(trudi.actor_critic.actor.output_layer.weight)
    torch.nn.init.normal_(trudi.actor_critic.critic.value_head[-1].weight)  # type: ignore[arg-type]
    trudi.actor_critic.sync_old_actor()
    collect(trudi, MemoryEnv())
    trudi.actor_critic.double()
    rows: BatchRows = next(trudi.storage.index_batches(1, 1))
    batch, learner = trudi.storage.minibatch(rows), trudi.learner
    batch = batch._replace(
        **{k: v.double() for k, v in batch._asdict().items() if torch.is_tensor(v) and v.is_floating_point()}
    )
    sequences = {
        name: part._replace(inputs=part.inputs.double(), state=part.state.double())
        for name, part in trudi.storage.padded_sequences(rows).items()
    }
    found: dict[str, Any] = {}
    learner._descend = lambda name, gradient: found.setdefault(name, gradient) and torch.zeros(())  # type: ignore[method-assign]
    old_steps = step_sizes_of(trudi.actor_critic.old_actor)
    learner._critic_step(batch, sequences["critic"])
    torch.manual_seed(5)
    learner._actor_step(batch, old_steps, sequences=sequences["actor"])
    encoders = trudi.actor_critic.recurrent_encoders
    whole = batch._replace(critic_obs=encoders["critic"].replay(sequences["critic"]))
    losses = {"critic": learner._critic_objective(whole).loss}
    torch.manual_seed(5)
    draws = learner._draw(len(batch.actions))
    terms = learner._actor_terms(batch, old_steps, None, batch, draws)
    terms = terms._replace(obs=encoders["actor"].replay(sequences["actor"]))
    if learner._matches_adjoints:
        states = learner._draw_adjoint_states(terms._replace(obs=terms.obs.detach()))
        losses["actor"] = learner._actor_objective(terms, states, torch.arange(2)).loss
    else:
        losses["actor"] = learner._actor_objective(terms).loss
    for name, loss in losses.items():
        parameters = learner.optimizers[name].param_groups[0]["params"]
        expected = torch.autograd.grad(loss, parameters, materialize_grads=True)
        assert any(part.any() for part in expected[-4:]), "the encoder learns"
        for a, b in zip(found[name], expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("settings", ALGORITHMS.values(), ids=ALGORITHMS)
def test_each_loss_trains_the_memory_of_its_own_network_within_the_trust_region(settings: dict[str, Any]) -> None:
    trudi = build(**{"num_mini_batches": 1, **settings})
    torch.nn.init.normal_(trudi.actor_critic.actor.output_layer.weight)
    trudi.actor_critic.sync_old_actor()
    collect(trudi, MemoryEnv())
    learner, storage = trudi.learner, trudi.storage
    rows = next(storage.index_batches(1, trudi.cfg.num_mini_batches))
    batch, sequences = storage.minibatch(rows), storage.padded_sequences(rows)

    def moved(before: dict[str, Tensor]) -> set[str]:
        after = state(trudi)
        return {name.partition(".")[0] for name in before if not torch.equal(before[name], after[name])}

    recurrent = set(trudi.actor_critic.recurrent_encoders)
    before = state(trudi)
    learner._critic_step(batch, sequences.get("critic"))
    assert moved(before) == {"critic"} | ({"critic_obs"} if "critic" in recurrent else set())
    before, old_steps = state(trudi), step_sizes_of(trudi.actor_critic.old_actor)
    metrics = learner._actor_step(batch, old_steps, sequences=sequences.get("actor"))
    assert moved(before) == {"actor"} | ({"actor_obs"} if "actor" in recurrent else set())
    if "path_kl" in metrics and "actor" in recurrent:
        assert abs(metrics["path_kl"].item()) < 1e-5, "the latents of the rollout are those of the policy that acted"
        with torch.no_grad():
            next(trudi.actor_critic.recurrent_encoders["actor"].rnn.parameters()).mul_(2.0)
        metrics = learner._actor_step(batch, old_steps, sequences=sequences["actor"])
        assert metrics["path_kl"].item() > 1e-3, "a memory cannot move the policy out of the trust region unseen"


@pytest.mark.parametrize("settings", ALGORITHMS.values(), ids=ALGORITHMS)
def test_a_resumed_run_goes_on_bitwise(settings: dict[str, Any]) -> None:
    env = MemoryEnv()
    trudi, resumed = build(**settings), build(**settings)
    iteration(trudi, env, NUM_STEPS)
    saved = copy.deepcopy(trudi.save())
    iteration(trudi, env, NUM_STEPS)
    resumed.load(saved, None, strict=True)
    iteration(resumed, env, NUM_STEPS)
    assert all(torch.equal(value, state(resumed)[name]) for name, value in state(trudi).items())


def test_episodes_that_start_over_have_no_memory() -> None:
    trudi, other = build(), build()
    for algorithm in (trudi, other):
        iteration(algorithm, MemoryEnv(), NUM_STEPS)
    saved = trudi.save() | {"env_state": {"exact": True, "num_envs": NUM_ENVS + 1}}
    other.load(saved, None, strict=True)
    assert not any(value.any() for value in other.memory.states.values())


def test_what_is_not_finite_is_not_learned_from_and_keeps_no_memory() -> None:
    blind = iter([False, True, True, True, True, True, True])

    def alter(obs: TensorDict) -> TensorDict:
        if next(blind):
            obs["policy"][1, 2] = float("nan")
        return obs

    trudi = build(num_mini_batches=NUM_ENVS)
    collect(trudi, MemoryEnv(), alter=alter)
    unseen = (~trudi.storage.seen[:NUM_STEPS]).flatten().nonzero().flatten().tolist()
    assert unseen == [t * NUM_ENVS + 1 for t in range(1, NUM_STEPS)]
    for rows in trudi.storage.index_batches(2, NUM_ENVS):
        assert not set(unseen) & set(rows.rows.tolist())
        parts, stored = trudi.storage.padded_sequences(rows), trudi.storage.minibatch(rows)
        latents = trudi.actor_critic.recurrent_encoders["actor"].replay(parts["actor"])
        torch.testing.assert_close(latents, stored.actor_obs)
    for value in trudi.memory.states.values():
        value[:, :, 1] = 1.0  # unless its episode ended in the last step
    trudi.update()
    assert all(torch.isfinite(value).all() for value in state(trudi).values())
    assert not any(value[:, :, 1].any() for value in trudi.memory.states.values())


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"actor": GRU | {"rnn_type": "rnn"}}, r'actor_encoder.*rnn_type"\] must be one of lstm, gru; got .rnn.'),
    ({"actor": GRU | {"rnn_hidden_dim": 0}}, r'rnn_hidden_dim"\] must be an integer of at least 1; got 0'),
    ({"critic": GRU | {"rnn_num_layers": 10**9}}, r'critic_encoder.*rnn_num_layers"\] must be 1 to 16'),
    ({"critic": GRU | {"hidden_dims": [3]}}, r"critic_encoder.* has no setting 'hidden_dims'"),
    ({"num_mini_batches": 5}, r'"num_mini_batches"\] must be at most 4 with a recurrent encoder.*"sequence_length"\]'),
    ({"sequence_length": 4}, r'"sequence_length"\] must divide num_steps_per_env \(6\)'),
    ({"actor": None, "critic": None, "sequence_length": 2}, r'"sequence_length"\] must be none unless.* an RNNModel'),
]


@pytest.mark.parametrize(("settings", "words"), REFUSED, ids=lambda part: str(part)[:40])
def test_what_cannot_be_is_refused_by_its_setting(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build(**settings)


def test_a_symmetry_that_memories_cannot_have_is_refused() -> None:
    symmetry = {"use_data_augmentation": True, "use_mirror_loss": False, "data_augmentation_func": lambda **_: None}
    with pytest.raises(ConfigError, match="neither images nor memories are mirrored"):
        settings_from_dict({"actor_encoder": GRU, "symmetry_cfg": symmetry})
