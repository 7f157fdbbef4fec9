# SPDX-License-Identifier: BSD-3-Clause
"""A subclass of RSL-RL's CNNModel, a project's or a host's, encodes observations as CNNModel itself does."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.properties.small_env import iteration
from tests.rsl_rl.image_env import CNN, ENCODER, NUM_STEPS, TINY, ImageEnv, build, ppo_cfg
from trudi_rsl.checkpoints.file import read_checkpoint, write_checkpoint
from trudi_rsl.checkpoints.rebuild import load_actor_critic
from trudi_rsl.config.swap import trudi_cfg
from trudi_rsl.errors import CheckpointError, ConfigError
from trudi_rsl.policies.encoded import deployed
from trudi_rsl.rsl_rl_compat.models import ENCODERS
from trudi_rsl.rsl_rl_compat.version import POLICY_STYLE, PPO_MODELS
from trudi_rsl.runners import OnPolicyRunner

pytestmark = pytest.mark.skipif(POLICY_STYLE, reason="RSL-RL 3 has no CNNModel")
CNNModel: Any = ENCODERS.get("CNNModel", object)


class Scaled(CNNModel):
    """Convolutions of images that are multiplied before, by a key of its own in ``cnn_cfg``."""

    def __init__(self, *args: Any, cnn_cfg: dict[str, Any], **kwargs: Any) -> None:
        cnn_cfg = dict(cnn_cfg)
        gain = cnn_cfg.pop("gain")
        super().__init__(*args, cnn_cfg=cnn_cfg, **kwargs)
        for name, cnn in self.cnns.items():
            cnn[0].weight.data.mul_(gain)
            self.cnns[name] = Floats(cnn)


class Floats(torch.nn.Module):
    """A network on images of any type."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images.float())


class Averaged(CNNModel):
    """A latent of its own: the mean of the features of images that it scales itself."""

    def get_latent(self, obs: Any, masks: Tensor | None = None, hidden_state: Any = None) -> Tensor:
        assert obs["camera"].dtype == torch.uint8, "a model of its own sees images as they are"
        return super().get_latent({**obs, "camera": obs["camera"] / 255.0}).mean(-1, keepdim=True)


class NoModel:
    """What is no model."""


def own(cls: type, **more: Any) -> dict[str, Any]:
    return {"class_name": f"{__name__}:{cls.__name__}", "cnn_cfg": CNN | more}


@pytest.mark.skipif(not PPO_MODELS, reason="the sections of RSL-RL 5")
def test_a_project_with_a_model_of_its_own_trains_exports_and_is_rebuilt(tmp_path: Path) -> None:
    cfg = ppo_cfg("trudi_rsl.algorithms:TruDi", **TINY)
    # by name, and as the class itself
    cfg["actor"] |= own(Scaled, gain=2.0)
    cfg["critic"] |= {"class_name": Scaled, "cnn_cfg": CNN | {"gain": 0.5}}
    runner: Any = OnPolicyRunner(ImageEnv(), cfg, str(tmp_path), "cpu")
    model, obs = runner.alg.actor_critic, ImageEnv().get_observations()
    assert type(model.actor_obs.model) is type(model.critic_obs.model) is Scaled
    runner.learn(1)
    model.eval()
    rebuilt, spec = load_actor_critic(tmp_path / "model_0.pt")
    assert spec["settings"]["actor_encoder"] == own(Scaled, gain=2.0)
    torch.testing.assert_close(rebuilt(obs), model(obs))
    images = [obs[name] for name in model.actor_obs.image_groups]
    torch.testing.assert_close(deployed(model)(obs["policy"], images), model(obs))


def test_a_latent_of_its_own_is_taken_and_not_exported() -> None:
    trudi = build(actor_encoder=own(Averaged))
    assert trudi.actor_critic.actor_obs.num_latents == trudi.actor_critic.actor.num_obs == 1
    iteration(trudi, ImageEnv(), NUM_STEPS)
    with pytest.raises(ConfigError, match="encoder is a Averaged cannot be exported: it has a get_latent of its own"):
        deployed(trudi.actor_critic)


def test_another_class_and_a_missing_one_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"NoModel' is no subclass of RSL-RL's CNNModel"):
        build(actor_encoder=own(NoModel))
    with pytest.raises(ConfigError, match=r"no_such_project.* cannot be imported"):
        build(actor_encoder={"class_name": "no_such_project:Model", "cnn_cfg": CNN})


@pytest.mark.skipif(not PPO_MODELS, reason="the sections of RSL-RL 5")
def test_norm_batch_and_a_class_that_is_no_model_are_refused_where_a_project_is_converted() -> None:
    for section, words in (
        (own(Scaled, gain=1.0, norm="batch"), r'"norm"\] must not be batch'),
        (own(NoModel), r"describes a network for images \(NoModel\)"),
    ):
        cfg = ppo_cfg("PPO")
        cfg["actor"] |= section
        with pytest.raises(ConfigError, match=words):
            trudi_cfg(cfg, ImageEnv())


@pytest.mark.parametrize("name", ["antigravity:Model", "mjlab.rl.spatial_softmax:SpatialSoftmaxCNNModel"])
def test_a_file_imports_no_module_that_it_names(name: str, tmp_path: Path) -> None:
    trudi = build()
    write_checkpoint({**trudi.save(), "iter": 0}, tmp_path / "model_0.pt")
    content = read_checkpoint(tmp_path / "model_0.pt")
    content["trudi_rsl"]["settings"]["actor_encoder"] = ENCODER | {"class_name": name}
    write_checkpoint(content, tmp_path / "model_1.pt")
    with pytest.raises(CheckpointError, match=r"import antigravity first|mjlab is not installed"):
        load_actor_critic(tmp_path / "model_1.pt")
    assert name.partition(":")[0] not in sys.modules
