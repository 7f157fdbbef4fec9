# SPDX-License-Identifier: BSD-3-Clause
"""RSL-RL's CNNModel as the encoder of actor and critic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from rsl_rl.runners import OnPolicyRunner as StockRunner
from tensordict import TensorDict

from tests.properties.small_env import iteration
from tests.rsl_rl.image_env import CNN, ENCODER, GROUPS, NUM_STEPS, TINY, ImageEnv, build, ppo_cfg, state
from trudi_rsl.algorithms import TruDi
from trudi_rsl.algorithms.trust_region import step_sizes_of
from trudi_rsl.checkpoints.file import read_checkpoint, write_checkpoint
from trudi_rsl.checkpoints.rebuild import load_actor_critic
from trudi_rsl.config.swap import trudi_cfg
from trudi_rsl.errors import CheckpointError, ConfigError
from trudi_rsl.policies.encoders import ImageEncoder
from trudi_rsl.rsl_rl_compat.version import POLICY_STYLE, PPO_MODELS
from trudi_rsl.runners import OnPolicyRunner
from trudi_rsl.settings import settings_from_dict

pytestmark = pytest.mark.skipif(POLICY_STYLE, reason="RSL-RL 3 has no CNNModel")

ALGORITHMS: dict[str, dict[str, Any]] = {
    "trudi": {},
    "fresh chains": {"kl_chains": "fresh"},
    "reverse": {"kl_estimator": "reverse"},
    "adjoint": {"actor_gradient": "adjoint"},
    "reppo": {"actor": "gaussian"},
    "dime": {"constraint": "none"},
}


def encoder_of(trudi: TruDi) -> ImageEncoder:
    """Return the encoder of the actor."""
    encoder = trudi.actor_critic.actor_obs
    assert isinstance(encoder, ImageEncoder)
    return encoder


def collect(trudi: TruDi, env: ImageEnv, alter: Any = lambda obs: obs) -> list[TensorDict]:
    """Fill the rollout, and return the observations before each step and after the last."""
    trudi.train_mode()
    seen = [alter(env.get_observations())]
    with torch.inference_mode():
        for _ in range(NUM_STEPS):
            obs, reward, dones, extras = env.step(trudi.act(seen[-1]))
            seen.append(alter(obs))
            trudi.process_env_step(seen[-1], reward, dones, extras)
        trudi.compute_returns(seen[-1])
    return seen


@pytest.mark.parametrize("settings", ALGORITHMS.values(), ids=ALGORITHMS)
def test_packed_updates_learn_from_images_as_the_modules_do(settings: dict[str, Any]) -> None:
    learned = []
    for mode in ("off", "default"):
        # so fast that what an update reads must be as new as the last step
        trudi = build(**settings, compile=mode, learning_rate=0.1)
        torch.manual_seed(1)
        with torch.compiler.set_stance("force_eager"):
            iteration(trudi, ImageEnv(), NUM_STEPS)
        learned.append(state(trudi))
    torch.testing.assert_close(learned[1], learned[0], rtol=1e-3, atol=1e-4)


@pytest.mark.skipif(not PPO_MODELS, reason="the sections of RSL-RL 5")
@pytest.mark.parametrize("runner_class", [StockRunner, OnPolicyRunner], ids=["stock", "ours"])
def test_a_ppo_project_with_images_trains_after_one_changed_line(runner_class: Any, tmp_path: Path) -> None:
    cfg = ppo_cfg("trudi_rsl.algorithms:TruDi", **TINY)
    runner = runner_class(ImageEnv(), cfg, str(tmp_path), "cpu")
    model = runner.alg.actor_critic
    assert model.actor_obs.image_groups == ["camera", "depth"] and model.critic_obs.image_groups == ["depth"]
    assert model.critic_obs.has_statistics, "the section of the critic says so"
    before = state(runner.alg)
    runner.learn(1)
    after = state(runner.alg)
    for name in ("actor_obs.model.cnns.camera.0.weight", "critic_obs.model.cnns.depth.0.weight"):
        assert not torch.equal(before[name], after[name])
    rebuilt, spec = load_actor_critic(tmp_path / "model_0.pt")
    assert spec["settings"]["actor_encoder"] == ENCODER and spec["obs_dims"] == {"policy": 3, "privileged": 2}
    obs = ImageEnv().get_observations()
    model.eval()
    torch.testing.assert_close(rebuilt(obs), model(obs))


@pytest.mark.skipif(not PPO_MODELS, reason="the sections of RSL-RL 5")
def test_spo_sees_images_as_ppo_does() -> None:
    cfg = ppo_cfg("trudi_rsl.algorithms:SPO", num_learning_epochs=1, num_mini_batches=2)
    cfg["obs_groups"] = {"actor": ["policy", "depth"], "critic": ["depth", "privileged"]}
    runner: Any = OnPolicyRunner(ImageEnv(), cfg, None, "cpu")
    before = runner.alg.actor.cnns["depth"][0].weight.clone()
    runner.learn(1)
    assert not torch.equal(before, runner.alg.actor.cnns["depth"][0].weight)
    assert runner.alg.save()["trudi_rsl"]["images"] == {"depth": {"shape": [1, 8, 6], "dtype": "float32"}}


@pytest.mark.skipif(not PPO_MODELS, reason="the sections of RSL-RL 5")
def test_the_written_out_configuration_holds_the_encoders() -> None:
    section = trudi_cfg(ppo_cfg("PPO"), ImageEnv())["algorithm"]
    assert section["actor_encoder"] == ENCODER
    assert section["critic_encoder"] == ENCODER | {"obs_normalization": True}


def test_latents_are_those_of_rsl_rls_model_with_the_same_weights() -> None:
    from rsl_rl.models import CNNModel

    trudi = build({"actor": ["depth", "policy"], "critic": ["policy"]}, critic_encoder=None)
    env = ImageEnv()
    iteration(trudi, env, NUM_STEPS)
    encoder, obs = encoder_of(trudi), env.get_observations()
    sets = {"actor": ["depth", "policy"]}
    model: Any = CNNModel(obs, sets, "actor", 2, hidden_dims=[4], obs_normalization=True, cnn_cfg=dict(CNN))
    model.obs_normalizer.load_state_dict(encoder.normalizer.state_dict())
    model.cnns.load_state_dict(encoder.model.cnns.state_dict())
    model.eval()
    torch.testing.assert_close(encoder(obs), model.get_latent(obs))
    assert encoder.num_latents == model.mlp[0].in_features == trudi.actor_critic.actor.num_obs
    assert trudi.actor_critic.critic_obs.num_latents == 3, "the critic of vectors has no encoder"


def test_bytes_are_stored_as_bytes_and_scaled_to_one() -> None:
    trudi, env = build(), ImageEnv()
    seen = collect(trudi, env)
    storage, encoder = trudi.storage, encoder_of(trudi)
    assert {name: values.dtype for name, values in storage.images.items()} == {
        "camera": torch.uint8,
        "depth": torch.float32,
    }
    assert storage.final_images["camera"].dtype == torch.uint8
    for t in range(NUM_STEPS + 1):
        assert torch.equal(storage.images["camera"][t], seen[t]["camera"])
    images = storage.images_at(0)
    scaled = images | {"camera": images["camera"].float() / 255.0}
    encoder.image_types["camera"] = encoder.image_types["camera"]._replace(dtype=torch.float32)
    as_floats = encoder.encode(storage.actor_obs[0], scaled)
    encoder.image_types["camera"] = encoder.image_types["camera"]._replace(dtype=torch.uint8)
    torch.testing.assert_close(as_floats, encoder.encode(storage.actor_obs[0], images))


@pytest.mark.parametrize("settings", ALGORITHMS.values(), ids=ALGORITHMS)
def test_each_loss_trains_the_encoder_of_its_own_network(settings: dict[str, Any]) -> None:
    trudi, env = build(**settings, num_mini_batches=1), ImageEnv()
    torch.nn.init.normal_(trudi.actor_critic.actor.output_layer.weight)
    trudi.actor_critic.sync_old_actor()
    collect(trudi, env)
    learner, batch = trudi.learner, next(trudi.storage.minibatches(1, 1))

    def moved(before: dict[str, torch.Tensor]) -> set[str]:
        after = state(trudi)
        return {name.partition(".")[0] for name in before if not torch.equal(before[name], after[name])}

    before = state(trudi)
    learner._critic_step(batch)
    assert moved(before) == {"critic", "critic_obs"}
    before = state(trudi)
    metrics = learner._actor_step(batch, step_sizes_of(trudi.actor_critic.old_actor))
    assert moved(before) == {"actor", "actor_obs"}
    if "path_kl" in metrics:
        # the trust region compares with the encoder that collected, and not with the one that learns
        assert abs(metrics["path_kl"].item()) < 1e-5
        with torch.no_grad():
            encoder_of(trudi).model.cnns["camera"][0].weight.mul_(2.0)
        metrics = learner._actor_step(batch, step_sizes_of(trudi.actor_critic.old_actor))
        assert metrics["path_kl"].item() > 1e-3
    trudi.actor_critic.sync_old_actor()
    model = trudi.actor_critic
    assert model.old_actor_obs is not None
    pairs = zip(model.actor_obs.parameters(), model.old_actor_obs.parameters(), strict=True)
    assert all(torch.equal(own, old) for own, old in pairs)


@pytest.mark.parametrize("settings", ALGORITHMS.values(), ids=ALGORITHMS)
def test_a_resumed_run_goes_on_bitwise(settings: dict[str, Any], tmp_path: Path) -> None:
    env = ImageEnv()
    trudi, resumed = build(**settings), build(**settings)
    iteration(trudi, env, NUM_STEPS)
    write_checkpoint({**trudi.save(), "iter": 0}, tmp_path / "model_0.pt")
    iteration(trudi, env, NUM_STEPS)
    resumed.load(read_checkpoint(tmp_path / "model_0.pt"), None, strict=True)
    iteration(resumed, env, NUM_STEPS)
    assert all(torch.equal(value, state(resumed)[name]) for name, value in state(trudi).items())


def test_images_alone_and_one_section_for_each_group_are_enough() -> None:
    wide = CNN | {"output_channels": [5, 2], "kernel_size": [3, 2], "stride": 1}
    encoder = {"class_name": "CNNModel", "cnn_cfg": {"camera": CNN, "depth": wide}}
    groups = {"actor": ["camera", "depth"], "critic": ["camera"]}
    trudi = build(groups, actor_encoder=encoder)
    assert trudi.actor_critic.actor_obs.num_latents == 4 * 3 * 3 + 2 * 5 * 3
    metrics = iteration(trudi, ImageEnv(), NUM_STEPS)
    assert all(value == value for value in metrics.values())


def test_the_bootstrap_of_a_time_limit_sees_the_last_image() -> None:
    targets = []
    for shift in (0, 100):
        trudi, env = build(critic_encoder=ENCODER), ImageEnv()
        torch.manual_seed(1)
        trudi.train_mode()
        obs = env.get_observations()
        with torch.inference_mode():
            for _ in range(NUM_STEPS):
                obs, reward, _, extras = env.step(trudi.act(obs))
                extras["final_obs"]["depth"] += shift
                extras["time_outs"] = torch.tensor([True, False, False, False])
                trudi.process_env_step(obs, reward, extras["time_outs"].float(), extras)
            torch.manual_seed(2)
            trudi.compute_returns(obs)
        targets.append(trudi.storage.targets.clone())
    assert not torch.allclose(targets[0][:, 0], targets[1][:, 0])
    assert torch.equal(targets[0][:, 1:], targets[1][:, 1:])


def test_an_image_that_is_not_finite_is_not_learned_from() -> None:
    blind_steps = iter([True] * NUM_STEPS + [False])

    def alter(obs: TensorDict) -> TensorDict:
        if next(blind_steps):
            obs["depth"][1, 0, 2, 2] = float("nan")
        return obs

    trudi = build(num_mini_batches=1)
    collect(trudi, ImageEnv(), alter)
    assert not trudi.storage.seen[:NUM_STEPS, 1].any() and trudi.storage.seen[:, [0, 2, 3]].all()
    batch = next(trudi.storage.minibatches(1, 1))
    assert not (batch.cameras["depth"] == 0.0).flatten(1).all(1).any(), "zeros are stored for it, and not drawn"
    before = state(trudi)
    trudi.update()
    after = state(trudi)
    assert all(torch.isfinite(value).all() for value in after.values())
    assert not torch.equal(before["actor_obs.model.cnns.depth.0.weight"], after["actor_obs.model.cnns.depth.0.weight"])


@pytest.mark.parametrize("load_cfg", [None, {"actor": True}])
def test_images_of_another_type_are_refused_at_a_resume_as_they_are_when_played(load_cfg: Any) -> None:
    trained, resumed = build(), build()
    resumed.spec["images"]["camera"]["dtype"] = "float32"  # pyright: ignore[reportTypedDictNotRequiredAccess]
    before = state(resumed)
    with pytest.raises(CheckpointError, match=r"\[3, 8, 8\] uint8 .*'camera', the task has \[3, 8, 8\] float32"):
        resumed.load(trained.save(), load_cfg, True)
    assert all(torch.equal(value, before[name]) for name, value in state(resumed).items())


def test_another_encoder_is_refused_at_a_resume() -> None:
    saved = build().save()
    other = ENCODER | {"cnn_cfg": CNN | {"activation": "relu"}}
    with pytest.raises(CheckpointError, match="actor_encoder"):
        build(actor_encoder=other).load(saved, None, strict=True)


REFUSED: list[tuple[dict[str, Any], dict[str, list[str]], str]] = [
    ({"actor_encoder": None}, GROUPS, r"group 'camera' of the set 'actor'.*\(3, 8, 8\).*actor_encoder.*CNNModel"),
    ({}, GROUPS | {"critic": ["privileged"]}, r'"critic_encoder"\] is a CNNModel, and none of the groups privileged'),
    ({"actor_encoder": ENCODER | {"cnn_cfg": CNN | {"kernel_size": 50}}}, GROUPS, r'"actor_encoder"\] does not fit'),
]


@pytest.mark.parametrize(("settings", "groups", "words"), REFUSED, ids=lambda part: str(part)[:40])
def test_observations_that_do_not_fit_are_refused(settings: Any, groups: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build(groups, **settings)


IMPOSSIBLE: list[tuple[Any, str]] = [
    ("CNNModel", "must be a section with class_name"),
    ({"class_name": "MLP"}, "class_name must be one of CNNModel.* or 'module:name' of a subclass.*got 'MLP'"),
    ({"class_name": "CNNModel"}, r"cnn_cfg must describe the convolutions; got None"),
    (ENCODER | {"hidden_dims": [3]}, "has no setting 'hidden_dims'"),
    (ENCODER | {"cnn_cfg": {"kernel_size": 3}}, "cnn_cfg has no 'output_channels'"),
    (ENCODER | {"cnn_cfg": CNN | {"strides": 2}}, "cnn_cfg has no setting 'strides'.*'stride'"),
    (ENCODER | {"cnn_cfg": {"camera": CNN | {"norm": "batch"}}}, r"cnn_cfg\.camera\.norm must not be batch"),
    (ENCODER | {"cnn_cfg": CNN | {"output_channels": []}}, "output_channels must be a list of positive numbers"),
    (ENCODER | {"cnn_cfg": CNN | {"flatten": False}}, "flatten must be true"),
]


@pytest.mark.parametrize(("section", "words"), IMPOSSIBLE, ids=lambda part: str(part)[:40])
def test_an_impossible_section_is_refused_by_its_key(section: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=rf"^algorithm\.critic_encoder.*{words}"):
        settings_from_dict({"critic_encoder": section})


def test_a_symmetry_that_images_cannot_have_is_refused() -> None:
    symmetry = {"use_data_augmentation": True, "use_mirror_loss": False, "data_augmentation_func": lambda **_: None}
    with pytest.raises(ConfigError, match=r"symmetry_cfg must be none with an encoder"):
        settings_from_dict({"actor_encoder": ENCODER, "symmetry_cfg": symmetry})
