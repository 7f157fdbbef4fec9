# SPDX-License-Identifier: BSD-3-Clause
"""ANYmal-D on flat ground trains in the simulator by its stock configurations: with its symmetry, and with an LSTM."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from isaaclab.utils import to_dict  # pyright: ignore[reportMissingImports]
from isaaclab_tasks.utils.parse_cfg import load_cfg_from_registry  # pyright: ignore[reportMissingImports]
from tensordict import TensorDict

from tests.hosts.isaaclab_3_0.commands import SMALL
from tests.hosts.isaaclab_3_0.in_process import make
from tests.hosts.shared import equal, learned
from trudi_rsl.deploy import export_checkpoint
from trudi_rsl.hosts.isaaclab.registration import agent_key
from trudi_rsl.runners import OnPolicyRunner

pytestmark = pytest.mark.slow

TASK, NUM_ENVS, NUM_STEPS = "Isaac-Velocity-Flat-AnymalD", 4, 4


@pytest.fixture(scope="module")
def env() -> Iterator[Any]:
    """Four stand-ins for the robot, whose drives are a network's."""
    with make(TASK, NUM_ENVS) as env:
        assert type(env.unwrapped.scene.cfg.robot.actuators["legs"]).__name__ == "ActuatorNetLSTMCfg"
        yield env


def configuration(variant: str, **settings: Any) -> dict[str, Any]:
    """Return a variant of the task's configuration, for TruDi, with few steps and the smallest heads."""
    cfg = to_dict(load_cfg_from_registry(TASK, agent_key("trudi", variant)))
    cfg["algorithm"] |= SMALL | {"compile": "off", "num_denoise_steps": 2, **settings}
    return cfg | {"num_steps_per_env": NUM_STEPS, "max_iterations": 2}


def test_actor_and_critic_learn_from_the_stock_functions_images_of_what_the_robot_saw_and_did(env: Any) -> None:
    from isaaclab_tasks.core.velocity.mdp.symmetry import anymal  # pyright: ignore[reportMissingImports]

    # not normalised, so that the networks see observations as the function takes them
    cfg = configuration("with_symmetry", obs_normalization=False)
    runner = OnPolicyRunner(env, cfg, None, "cpu")
    algorithm: Any = runner.alg
    model, size = algorithm.actor_critic, NUM_ENVS * NUM_STEPS // SMALL["num_mini_batches"]
    by_critic: list[tuple[torch.Tensor, ...]] = []
    by_actor: list[int] = []
    model.critic.register_forward_pre_hook(lambda _, args: by_critic.append(args))
    model.actor.score_network.register_forward_pre_hook(lambda _, args: by_actor.append(len(args[0])))
    runner.learn(2)
    assert algorithm.symmetry.terms.mirrors.num_maps == 4
    assert len(by_critic) == 2 * SMALL["num_mini_batches"]
    for obs, unit_actions in by_critic:
        actions = model.action_offset + model.action_scale * unit_actions
        seen = TensorDict({"policy": obs[:size]}, batch_size=[size])
        images, mirrored = anymal.compute_symmetric_states(env, seen, actions[:size])
        assert len(obs) == 4 * size and not torch.equal(obs[:size], obs[size : 2 * size])
        torch.testing.assert_close(obs, images["policy"])
        torch.testing.assert_close(actions, mirrored)
    assert by_actor.count(4 * size) >= len(by_critic)


def test_a_training_with_memory_resumes_bitwise_in_a_simulator_that_starts_over_and_is_exported_with_its_state(
    env: Any, tmp_path: Path
) -> None:
    cfg = configuration("recurrent")
    trained = OnPolicyRunner(env, copy.deepcopy(cfg), str(tmp_path), "cpu")
    trained.learn(2)
    before = learned(trained)
    for name in ("actor", "critic"):
        hidden, cell = before[f"memory of the {name}"]
        assert hidden.shape == cell.shape == (1, NUM_ENVS, 256)
        assert hidden.any(-1).all() and cell.any(-1).all()

    torch.manual_seed(1)
    resumed = OnPolicyRunner(env, copy.deepcopy(cfg), None, "cpu")
    assert not equal(learned(resumed), before)
    resumed.load(str(tmp_path / "model_1.pt"))
    trained.alg.memory.reset(torch.ones(NUM_ENVS, dtype=torch.bool))  # pyright: ignore
    assert equal(learned(resumed), learned(trained))
    for runner in (trained, resumed):
        env.seed(0)
        env.reset()
        runner.learn(1)
    assert equal(learned(resumed), learned(trained)) and not equal(learned(resumed), before)

    report = export_checkpoint(tmp_path / "model_1.pt")
    session = onnxruntime.InferenceSession(report.onnx)
    assert [node.name for node in session.get_inputs()] == ["obs", "h_in", "c_in"]
    inputs = {node.name: np.zeros(node.shape, np.float32) for node in session.get_inputs()}
    inputs["obs"] = env.get_observations()["policy"][:1].numpy()
    for output, node in zip(session.run(None, inputs)[1:], session.get_inputs()[1:], strict=True):
        assert np.asarray(output).shape == tuple(node.shape) and np.asarray(output).any()
