# SPDX-License-Identifier: BSD-3-Clause
"""Exports of policies that see images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensordict import TensorDict

from tests.properties.small_env import iteration
from tests.rsl_rl.image_env import NUM_STEPS, ImageEnv, build
from trudi_rsl.algorithms import TruDi
from trudi_rsl.checkpoints.file import write_checkpoint
from trudi_rsl.deploy import ContractError, ExportOptions, Policy, PolicyStoppedError, export_checkpoint
from trudi_rsl.deploy.latency import measure
from trudi_rsl.rsl_rl_compat.version import POLICY_STYLE

pytestmark = pytest.mark.skipif(POLICY_STYLE, reason="RSL-RL 3 has no CNNModel")

ONLY_IMAGES = {"actor": ["camera", "depth"], "critic": ["camera"]}


def trained(**settings: Any) -> TruDi:
    """Return TruDi after an iteration, with controls of order 1."""
    trudi = build(**settings)
    iteration(trudi, ImageEnv(), NUM_STEPS)
    torch.nn.init.normal_(trudi.actor_critic.actor.output_layer.weight)
    trudi.eval_mode()
    return trudi


def export(trudi: TruDi, folder: Path) -> Any:
    write_checkpoint({**trudi.save(), "iter": 0}, folder / "model_0.pt")
    return export_checkpoint(folder / "model_0.pt")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[TruDi, Any]:
    """TruDi with vectors, bytes and floats, and its export."""
    trudi = trained()
    return trudi, export(trudi, tmp_path_factory.mktemp("exported"))


def images_of(row: TensorDict) -> dict[str, np.ndarray]:
    return {name: row[name].numpy() for name in ("camera", "depth")}


def test_every_exported_form_acts_as_the_policy_does(exported: tuple[TruDi, Any]) -> None:
    trudi, report = exported
    obs = ImageEnv().get_observations()
    expected = trudi.actor_critic(obs).detach()
    assert report.onnx_difference < 1e-5 and report.torchscript_difference < 1e-5
    scripted = torch.jit.load(report.torchscript)
    torch.testing.assert_close(scripted(obs["policy"], [obs["camera"], obs["depth"]]), expected, atol=1e-4, rtol=1e-4)
    policy = Policy(report.onnx)
    types = {image.name: (image.shape, image.dtype) for image in policy.contract.images}
    assert types == {"camera": ((3, 8, 8), np.uint8), "depth": ((1, 8, 6), np.float32)}
    for row, action in zip(obs, expected, strict=True):
        vector = row["policy"].numpy()
        for given in ((vector, images_of(row)), ({"policy": vector} | images_of(row),)):
            np.testing.assert_allclose(policy(*given), action, atol=1e-4, rtol=1e-4)
    assert policy.latency_ms(10).p50 > 0.0
    assert len(measure([report.onnx, report.torchscript], num_calls=100)) == 2


def test_a_gaussian_policy_that_sees_images_alone_has_no_vector_as_input(tmp_path: Path) -> None:
    trudi, obs = trained(groups=ONLY_IMAGES, actor="gaussian"), ImageEnv().get_observations()
    policy = Policy(export(trudi, tmp_path).onnx)
    assert policy.contract.num_obs == 0
    for row, action in zip(obs, trudi.actor_critic(obs).detach(), strict=True):
        np.testing.assert_allclose(policy(images_of(row)), action, atol=1e-4, rtol=1e-4)


def test_the_runtime_refuses_other_images_and_holds_the_action_for_unusable_ones(exported: tuple[TruDi, Any]) -> None:
    row = ImageEnv().get_observations()[0]
    policy = Policy(exported[1].onnx, max_held=1)
    vector, images = row["policy"].numpy(), images_of(row)
    action = policy(vector, images)
    with pytest.raises(ContractError, match=r"image 'depth' \(1, 8, 6\) is missing"):
        policy(vector, {"camera": images["camera"]})
    with pytest.raises(ContractError, match=r"'camera' is float32 \(3, 8, 8\) instead of uint8"):
        policy(vector, images | {"camera": images["camera"].astype(np.float32)})
    blind = images | {"depth": np.full_like(images["depth"], np.nan)}
    with pytest.warns(RuntimeWarning, match="NaN or infinity in the image 'depth'"):
        assert np.array_equal(policy(vector, blind), action)
    with pytest.raises(PolicyStoppedError):
        policy(vector, blind)


def test_exporters_of_rsl_rl_get_the_inputs_of_its_own_cnn_model(exported: tuple[TruDi, Any]) -> None:
    trudi, obs = exported[0], ImageEnv().get_observations()[:1]
    model: Any = trudi.actor_critic.as_onnx()
    assert model.input_names == ["obs", "camera", "depth"] and model.output_names == ["actions"]
    for given, like in zip((obs["policy"], obs["camera"], obs["depth"]), model.get_dummy_inputs(), strict=True):
        assert (given.shape, given.dtype) == (like.shape, like.dtype)
    expected = trudi.actor_critic(obs).detach()
    torch.testing.assert_close(model(obs["policy"], obs["camera"], obs["depth"]), expected, atol=1e-4, rtol=1e-4)


def test_an_initial_latent_as_an_input_is_refused(tmp_path: Path) -> None:
    write_checkpoint({**build().save(), "iter": 0}, tmp_path / "model_0.pt")
    with pytest.raises(ValueError, match="initial latent of a policy that sees images"):
        export_checkpoint(tmp_path / "model_0.pt", options=ExportOptions(latent_input=True))
