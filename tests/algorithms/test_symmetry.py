# SPDX-License-Identifier: BSD-3-Clause
"""Mirror images change nothing of what a symmetric actor and critic learn."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.algorithms.builders import actor_critic, gaussian_actor_critic, learner_and_batch, moved
from tests.algorithms.mirrored import build, mirror, of_obs
from tests.properties.small_env import SmallEnv, iteration
from trudi_rsl.algorithms import TruDi
from trudi_rsl.algorithms.symmetry import MirrorImages, MirrorTerms, mirror_error
from trudi_rsl.algorithms.trust_region import from_trace, path_kl, step_sizes_of
from trudi_rsl.checkpoints.format import SECTION
from trudi_rsl.diffusion.signed_permutation import SignedPermutations
from trudi_rsl.networks.q_critic import CriticOutput
from trudi_rsl.policies.gaussian import Gaussian
from trudi_rsl.storage import BatchRows

SWAP = SignedPermutations(torch.tensor([[0, 1], [1, 0]]), torch.tensor([[1.0, 1.0], [-1.0, -1.0]]))
"""Of two actions, each becomes the negative of the other."""


@pytest.fixture
def in_float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def of_action(x: Tensor) -> Tensor:
    return -x.flip(-1)


class SymmetricScore(nn.Module):
    """A score network averaged over the mirror, ``u(Mx, Ms) = M u(x, s)``."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net, self.output_layer = net, net.output_layer

    def obs_features(self, obs: Tensor) -> Tensor:
        return torch.cat([self.net.obs_features(obs), self.net.obs_features(of_obs(obs))], dim=-1)

    def time_features(self, num_steps: int) -> Tensor:
        return self.net.time_features(num_steps).repeat(1, 2)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        here, there = condition.chunk(2, dim=-1)
        return 0.5 * (self.net(x, here) + of_action(self.net(of_action(x), there)))


class SymmetricGaussian(nn.Module):
    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, obs: Tensor) -> Tensor:
        (mean, raw), (mean_m, raw_m) = (self.network(x).chunk(2, dim=-1) for x in (obs, of_obs(obs)))
        return 0.5 * torch.cat([mean + of_action(mean_m), raw + raw_m.flip(-1)], dim=-1)


class SymmetricCritic(nn.Module):
    def __init__(self, critic: Any) -> None:
        super().__init__()
        self.critic, self.hl_gauss, self.decode = critic, critic.hl_gauss, critic.decode

    def forward(self, obs: Tensor, actions: Tensor) -> CriticOutput:
        pairs = zip(self.critic(obs, actions), self.critic(of_obs(obs), of_action(actions)), strict=True)
        return CriticOutput(*(0.5 * (a + b) for a, b in pairs))

    def value(self, obs: Tensor, actions: Tensor) -> Tensor:
        return self.decode(self(obs, actions).logits)


def symmetrized(model: Any) -> Any:
    """Make actor, old actor and critic symmetric, in place."""
    for actor in (model.actor, model.old_actor):
        if hasattr(actor, "score_network"):
            actor.score_network = SymmetricScore(actor.score_network)
            raw = actor.raw_friction
            actor.friction = lambda raw=raw: F.softplus(0.5 * (raw + raw.flip(-1)))
        else:
            last = actor.output_layer
            actor.network = nn.Sequential(SymmetricGaussian(actor.network), nn.Identity(), last)
            actor.forward = lambda obs, net=actor.network[0], last=last: _gaussian(net(obs))
    model.critic = SymmetricCritic(model.critic)
    return model


def _gaussian(output: Tensor) -> Gaussian:
    mean, raw = output.chunk(2, dim=-1)
    return Gaussian(mean, -5.0 + 3.5 * (raw.tanh() + 1.0))


def images_of(batch: Any) -> MirrorImages:
    obs = of_obs(batch.actor_obs)
    return MirrorImages(obs, obs, batch.next_features)


LEARNED: dict[str, dict[str, Any]] = {
    "trudi": {},
    "adjoint": {"actor_gradient": "adjoint", "num_adjoint_steps": 2},
    "log-ratio": {"kl_estimator": "log_ratio"},
    "fresh": {"kl_chains": "fresh", "num_kl_chains": 2},
    "reverse": {"kl_estimator": "reverse"},
    "reppo": {},
    "dime": {"constraint": "none"},
}


@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("kind", LEARNED)
def test_with_a_symmetric_critic_and_actor_the_augmented_gradient_is_the_plain_one(kind: str, symmetric: bool) -> None:
    gradients, metrics = [], []
    for mirroring in (None, MirrorTerms(SWAP, augments=True, loss_coef=0.0)):
        torch.manual_seed(0)
        model = moved(gaussian_actor_critic() if kind == "reppo" else actor_critic(), 0.2)
        if symmetric:
            symmetrized(model)
        # the trust region holds in some states and not in others
        bound = {"reppo": {"kl_bound": 0.03}, "dime": {}}.get(kind, {"kl_bound": 1.0})
        learner, batch, steps = learner_and_batch(model, **bound | LEARNED[kind])
        learner.mirroring = mirroring
        torch.manual_seed(1)
        metrics.append(learner.update(batch, steps, images_of(batch)))
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
        gradients[-1] |= {"alpha": learner.log_alpha.grad, "lambda": learner.log_lambda.grad}
    assert len(gradients[0]) > 12
    if symmetric and kind != "dime":
        assert 0.0 < metrics[0]["gated_share"] < 1.0
    if symmetric:
        torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(metrics[1], metrics[0], rtol=1e-9, atol=1e-12)
    else:
        for part in ("actor.", "critic."):
            names = [name for name in gradients[0] if name.startswith(part)]
            assert any(not torch.allclose(gradients[0][name], gradients[1][name], rtol=0.05) for name in names)


@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize("build", [actor_critic, gaussian_actor_critic])
def test_the_mirror_loss_is_zero_for_a_symmetric_actor_alone_and_its_gradient_leads_there(build: Any) -> None:
    model = build()
    model.action_scale.fill_(2.0)
    model.action_offset.fill_(0.5)
    obs = torch.randn(64, 3)
    before = mirror_error(model, obs, of_obs(obs), SWAP)
    optimizer = torch.optim.Adam(model.actor.parameters(), 1e-2)
    for _ in range(30):
        optimizer.zero_grad()
        mirror_error(model, obs, of_obs(obs), SWAP).backward()
        optimizer.step()
    assert mirror_error(model, obs, of_obs(obs), SWAP) < 0.3 * before
    # in simulator units: half the scale is a quarter of the error
    error = mirror_error(model, obs, of_obs(obs), SWAP)
    model.action_scale.fill_(1.0)
    torch.testing.assert_close(mirror_error(model, obs, of_obs(obs), SWAP), 0.25 * error)
    assert mirror_error(symmetrized(model), obs, of_obs(obs), SWAP) < 1e-24


class MirroredScore(nn.Module):
    """The score network of a mirrored policy, ``u'(x, s) = M u(Mx, Ms)``."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net, self.time_features = net, net.time_features

    def obs_features(self, obs: Tensor) -> Tensor:
        return self.net.obs_features(of_obs(obs))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        return of_action(self.net(of_action(x), condition))


@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize("estimator", ["closed_form", "mean_only", "log_ratio"])
def test_the_path_kl_of_mirrored_chains_under_a_mirrored_policy_is_that_of_the_chains(estimator: str) -> None:
    model = moved(actor_critic(), 0.3)
    policy = model.actor
    with torch.no_grad():
        # frictions that differ between actions must move with them
        policy.raw_friction.copy_(torch.tensor([0.2, 0.9]))
        model.old_actor.raw_friction.copy_(torch.tensor([0.7, 0.3]))
    obs = torch.randn(6, 3)
    trace = model.old_actor.decide(obs, model.old_actor.draw_noise(6)).trace
    old = from_trace(model.actor, trace, step_sizes_of(model.old_actor))
    both = old.mirrored(SWAP, 6)
    images = both.at(torch.arange(6, 12), 12)
    mirrored = copy.deepcopy(policy)
    mirrored.score_network = MirroredScore(mirrored.score_network)  # pyright: ignore[reportAttributeAccessIssue]
    mirrored.raw_friction.data.copy_(policy.raw_friction.flip(-1))
    expected = path_kl(policy, obs, old, estimator)
    torch.testing.assert_close(path_kl(mirrored, of_obs(obs), images, estimator), expected)
    torch.testing.assert_close(path_kl(policy, obs, both.at(torch.arange(6), 12), estimator), expected)
    assert not torch.allclose(path_kl(policy, of_obs(obs), images, estimator), expected, rtol=0.05)


USES: dict[str, dict[str, Any]] = {
    "augmentation": {"use_data_augmentation": True},
    "mirror loss": {"use_mirror_loss": True, "mirror_loss_coeff": 0.5},
    "both": {"use_data_augmentation": True, "use_mirror_loss": True, "mirror_loss_coeff": 0.5},
}


def learned(trudi: TruDi) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in trudi.actor_critic.state_dict().items()}


@pytest.mark.parametrize(
    "settings", [{}, {"actor": "gaussian"}, {"constraint": "none"}], ids=["trudi", "reppo", "dime"]
)
def test_symmetry_that_only_logs_trains_bitwise_what_none_trains_and_each_use_trains_another(
    settings: dict[str, Any],
) -> None:
    results, errors = [], []
    for use in (None, {}, *USES.values()):
        env = SmallEnv(4, 2, {"policy": 3})
        trudi = build(env, use, **settings)
        metrics = [iteration(trudi, env, 5) for _ in range(2)]
        results.append(learned(trudi))
        errors.append(metrics[-1].get("symmetry"))
    assert errors[0] is None and all(error > 0.0 for error in (errors[1], *errors[3:]))
    assert all(torch.equal(value, results[1][name]) for name, value in results[0].items())
    for other in results[2:]:
        assert any(not torch.equal(value, other[name]) for name, value in results[0].items() if "actor." in name)


def test_what_is_learned_from_are_the_images_of_the_simulators_own_observations() -> None:
    env = SmallEnv(4, 2, {"policy": 3, "privileged": 2})
    trudi = build(env, USES["augmentation"], critic=["policy", "privileged"])
    trudi.train_mode()
    obs, seen, last = env.get_observations(), [], []
    with torch.inference_mode():
        for _ in range(5):
            seen.append(obs.clone())
            obs, rewards, dones, extras = env.step(trudi.act(obs))
            last.append(extras["final_obs"])
            trudi.process_env_step(obs, rewards, dones, extras)
        seen.append(obs.clone())
        trudi.compute_returns(obs)
    assert trudi.symmetry is not None
    model, storage = trudi.actor_critic, trudi.storage
    rows = next(storage.index_batches(1, 1))
    images = trudi.symmetry.images(rows)
    assert images.next_features is not None
    steps, envs = rows.rows // 4, rows.rows % 4
    ended = storage.terminated | storage.truncated
    assert ended.any() and not ended.all()
    for i, (t, e) in enumerate(zip(steps.tolist(), envs.tolist(), strict=True)):
        raw = torch.cat([of_obs(seen[t]["policy"][e]), seen[t]["privileged"][e]])
        # the statistics of the first steps were others
        if t == 4:
            torch.testing.assert_close(images.actor_obs[i], model.actor_obs.normalize(raw[:3])[0])
            torch.testing.assert_close(images.critic_obs[i], model.critic_obs.normalize(raw)[0])
        if t == 4 and not ended[t, e]:
            following = torch.cat([of_obs(seen[5]["policy"][e]), seen[5]["privileged"][e]])
            pair = model.critic_obs.normalize(following), storage.actions[5, e].flip(-1)[None]
            torch.testing.assert_close(images.next_features[i], model.critic.value_and_features(*pair)[1][0].bfloat16())
    # where an episode ended, the next pair is that of its last observation
    ends = ended.nonzero(as_tuple=True)
    actions = torch.rand(len(ends[0]), 2)
    rows = 4 * ends[0] + ends[1]
    trudi.symmetry.compute_final_features(rows, torch.ones_like(rows, dtype=torch.bool), actions)
    features = trudi.symmetry.images(BatchRows(rows, None)).next_features
    trudi.symmetry.compute_final_features(rows, torch.zeros_like(rows, dtype=torch.bool), -actions)
    torch.testing.assert_close(trudi.symmetry.images(BatchRows(rows, None)).next_features, features, rtol=0, atol=0)
    final = [torch.cat([of_obs(last[t]["policy"][e]), last[t]["privileged"][e]]) for t, e in zip(*ends, strict=True)]
    pairs = model.critic_obs.normalize(torch.stack(final)), actions.flip(-1)
    torch.testing.assert_close(features, model.critic.value_and_features(*pairs)[1].bfloat16())


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_resumed_run_goes_on_bitwise(use: dict[str, Any]) -> None:
    env = SmallEnv(4, 2, {"policy": 3})
    trudi, resumed = build(env, use), build(env, use)
    iteration(trudi, env, 5)
    saved = copy.deepcopy(trudi.save())
    assert saved[SECTION]["settings"]["symmetry_cfg"]["data_augmentation_func"] == f"{mirror.__module__}:mirror"
    iteration(trudi, env, 5)
    resumed.load(saved, None, strict=True)
    iteration(resumed, env, 5)
    assert all(torch.equal(value, learned(resumed)[name]) for name, value in learned(trudi).items())


def test_observations_that_are_not_finite_leave_what_is_learned_sound() -> None:
    env = SmallEnv(4, 2, {"policy": 3})
    trudi = build(env, USES["both"])
    trudi.train_mode()
    obs = env.get_observations()
    obs["policy"][2, 1] = float("inf")
    with torch.inference_mode():
        for _ in range(5):
            actions = trudi.act(obs)
            obs, rewards, dones, extras = env.step(actions)
            trudi.process_env_step(obs, rewards, dones, extras)
        trudi.compute_returns(obs)
    assert trudi.update()["nonfinite_envs"] == 1.0
    assert all(torch.isfinite(value).all() for value in learned(trudi).values())
