# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportMissingImports=false
"""mjlab's own ``train`` command on TruDi tasks, and the files of a run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import yaml
from mjlab.envs import ManagerBasedRlEnv
from mjlab.scripts import train as mjlab_train
from mjlab.tasks.registry import load_env_cfg, load_rl_cfg, load_runner_cls
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensordict import TensorDict

from tests.hosts.mjlab.running import CARTPOLE, FLAT, ROUGH, SMALL, assert_acts_as, newest_run, onnx_metadata
from trudi_rsl.algorithms import load_actor_critic
from trudi_rsl.checkpoints.file import read_checkpoint
from trudi_rsl.errors import CheckpointError

pytestmark = pytest.mark.slow

Train = Callable[..., Path]

ROBOT_METADATA = {
    *("run_path", "joint_names", "joint_stiffness", "joint_damping", "default_joint_pos", "command_names"),
    *("observation_names", "observation_terms_scale", "observation_terms_flatten_history_dim"),
    *("observation_terms_history_length", "observation_terms_clip", "action_scale"),
}


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Train:
    """Run mjlab's ``train`` in this process, which saves the time of the import, and return the run folder."""

    def run(task: str, *args: str, settings: Sequence[str] = SMALL) -> Path:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["train", task, *settings, *args])
        mjlab_train.main()
        return newest_run(tmp_path)

    return run


def test_two_iterations_on_the_flat_g1_leave_mjlabs_files_with_the_settings_and_a_policy(flat_run: Path) -> None:
    assert flat_run.parent.name == "g1_velocity_trudi"
    files = {path.name for path in flat_run.iterdir()}
    assert files >= {"model_0.pt", "model_1.pt", f"{flat_run.name}.onnx", "params"}
    checkpoint = read_checkpoint(flat_run / "model_1.pt")
    assert checkpoint["trudi_rsl"]["task"] == FLAT
    assert checkpoint["iter"] == 1
    for part in ("actor_state_dict", "critic_state_dict"):
        assert all(torch.isfinite(value).all() for value in checkpoint[part].values())
    settings = checkpoint["trudi_rsl"]["settings"]
    assert (settings["actor_hidden_dims"], settings["num_mini_batches"], settings["gamma"]) == ([16, 16], 2, 0.97)
    agent = yaml.full_load((flat_run / "params" / "agent.yaml").read_text())
    default = load_rl_cfg(FLAT + "-TruDi").algorithm
    saved = (agent["num_steps_per_env"], agent["algorithm"]["kl_bound"], agent["algorithm"]["learning_rate"])
    assert saved == (8, default.kl_bound, default.learning_rate)
    assert not {"actor", "critic"} & set(agent)
    onnx_file = flat_run / f"{flat_run.name}.onnx"
    metadata = onnx_metadata(onnx_file)
    assert set(metadata) >= ROBOT_METADATA
    assert len(metadata["joint_names"].split(",")) == len(metadata["action_scale"].split(",")) == 29
    assert_acts_as(onnx_file, flat_run / "model_1.pt")


def test_the_rough_g1_trains_exports_at_each_checkpoint_and_resumes_with_its_curriculum(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    exports = []
    runner = load_runner_cls(ROUGH + "-TruDi")
    assert runner is not None
    save = runner.save

    def saved(self: Any, path: str, infos: dict | None = None) -> None:
        save(self, path, infos)
        onnx_file = Path(path).parent / f"{Path(path).parent.name}.onnx"
        exports.append(Path(path).name)
        assert set(onnx_metadata(onnx_file)) >= ROBOT_METADATA
        assert_acts_as(onnx_file, Path(path))

    monkeypatch.setattr(runner, "save", saved)
    small = [f"--env.scene.terrain.terrain-generator.num-{sides}=2" for sides in ("rows", "cols")]
    first = train(ROUGH + "-TruDi", *small, "--agent.max-iterations", "2")
    assert exports == ["model_0.pt", "model_1.pt", "model_1.pt"]
    steps = read_checkpoint(first / "model_1.pt")["infos"]["env_state"]["common_step_counter"]
    assert steps == 2 * 8
    again = ("--agent.max-iterations", "1", "--agent.resume", "True", "--agent.run-name", "again")
    resumed = train(ROUGH + "-TruDi", *small, *again)
    assert resumed.name.endswith("_again")
    infos = read_checkpoint(resumed / "model_2.pt")["infos"]
    assert infos["env_state"]["common_step_counter"] == steps + 8
    assert infos["logger"]["tot_timesteps"] == 4 * (steps + 8)


def test_a_task_without_joint_positions_is_exported_without_metadata_and_that_is_logged_once(
    train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(CARTPOLE + "-TruDi", "--agent.max-iterations", "2")
    onnx_file = run / f"{run.name}.onnx"
    assert_acts_as(onnx_file, run / "model_1.pt")
    assert onnx_metadata(onnx_file) == {}
    output = capsys.readouterr().out
    assert output.count("has no metadata") == 1
    assert "Could not export" not in output


def test_a_stock_task_trains_from_depth_images_by_mjlabs_own_encoder_and_exports_it(train: Train) -> None:
    run = train("Mjlab-Lift-Cube-Yam-Depth-TruDi", "--agent.max-iterations", "1", "--env.scene.num-envs", "2")
    policy, spec = load_actor_critic(run / "model_0.pt")
    assert spec.get("images") == {"camera": {"shape": [1, 32, 32], "dtype": "float32"}}
    assert type(policy.actor_obs.model).__name__ == "SpatialSoftmaxCNNModel"
    groups = {name: torch.rand(1, size) for name, size in spec["obs_dims"].items()}
    obs = TensorDict(groups | {"camera": torch.rand(1, 1, 32, 32)}, batch_size=[1])
    session = onnxruntime.InferenceSession((run / f"{run.name}.onnx").read_bytes(), providers=["CPUExecutionProvider"])
    (actions,) = session.run(["actions"], {"obs": obs["actor"].numpy(), "camera": obs["camera"].numpy()})
    with torch.no_grad():
        torch.testing.assert_close(torch.as_tensor(actions), policy(obs), rtol=1e-4, atol=1e-5)


def test_true_last_observations_reach_the_targets_unless_they_are_turned_off(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trudi_rsl.storage import RolloutBuffer

    valid = []
    clear = RolloutBuffer.clear

    def cleared(self: RolloutBuffer) -> None:
        ended = self.terminated | self.truncated
        if self.step and ended.any():
            valid.append(bool(self.target_valid.all()))
        clear(self)

    monkeypatch.setattr(RolloutBuffer, "clear", cleared)
    short = ("--env.episode-length-s", "0.2", "--agent.max-iterations", "1")
    train(CARTPOLE + "-TruDi", *short)
    assert valid == [True]
    train(CARTPOLE + "-TruDi", *short, "--agent.algorithm.final-observations", "False")
    assert valid == [True, False]


def test_a_ppo_checkpoint_is_refused_by_name(train: Train) -> None:
    ppo = train(CARTPOLE, "--agent.max-iterations", "1", settings=SMALL[:6])
    resume = ("--agent.resume", "True", "--agent.experiment-name", ppo.parent.name)
    with pytest.raises(CheckpointError, match="RSL-RL PPO"):
        train(CARTPOLE + "-TruDi", "--agent.max-iterations", "1", *resume)


def test_motion_tracking_exports_the_motion_with_the_policy(train: Train, tmp_path: Path) -> None:
    motion = tmp_path / "motion.npz"
    _stand_still(motion)
    args = ("--agent.max-iterations", "1", "--env.commands.motion.motion-file", str(motion))
    run = train("Mjlab-Tracking-Flat-Unitree-G1-TruDi", *args)
    metadata = onnx_metadata(run / f"{run.name}.onnx")
    assert set(metadata) >= ROBOT_METADATA | {"anchor_body_name", "body_names"}


def _stand_still(path: Path) -> None:
    """Write a motion of the G1 in which it stands still."""
    cfg = load_env_cfg(FLAT)
    cfg.scene.num_envs = 1
    env = ManagerBasedRlEnv(cfg, "cpu")
    data = env.scene["robot"].data
    frame = {f"joint_{name}": getattr(data, f"default_joint_{name}") for name in ("pos", "vel")}
    frame |= {f"body_{name}_w": getattr(data, f"body_link_{name}_w") for name in ("pos", "quat", "lin_vel", "ang_vel")}
    frames: Any = {name: value.numpy().repeat(50, axis=0) for name, value in frame.items()}
    np.savez(path, fps=[1.0 / env.step_dt], **frames)
    env.close()


def test_training_with_and_without_evaluations_ends_in_the_same_weights_and_the_highest_is_best(train: Train) -> None:
    def weights(*args: str) -> tuple[Path, dict[str, torch.Tensor]]:
        short = ("--env.episode-length-s", "0.4", "--agent.max-iterations", "3")
        run = train(CARTPOLE + "-TruDi", *short, *args, settings=(*SMALL, "--agent.algorithm.learning-rate", "0.03"))
        return run, read_checkpoint(run / "model_2.pt")["actor_state_dict"]

    _, without = weights("--agent.run-name", "without")
    run, evaluated = weights("--agent.run-name", "with", "--agent.evaluation-episodes", "2")
    assert all(torch.equal(value, evaluated[name]) for name, value in without.items())
    events = EventAccumulator(str(run)).Reload()
    returns = {event.step: event.value for event in events.Scalars("Evaluation/mean_return")}
    assert sorted(returns) == [0, 1, 2]
    best = max(returns, key=lambda iteration: returns[iteration])
    assert (run / "best.pt").resolve().name == f"model_{best}.pt"
    lengths = events.Scalars("Evaluation/mean_episode_length")
    assert {event.value for event in lengths} == {8.0}
