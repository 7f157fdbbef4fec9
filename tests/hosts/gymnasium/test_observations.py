# SPDX-License-Identifier: BSD-3-Clause
"""Dictionaries, tuples and arrays of observations become vectors with named parts, or observation groups."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import onnx
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, Sequence, Space, Text
from omegaconf import OmegaConf

from tests.hosts.gymnasium.test_resume import through_a_file
from tests.scripts.running import run_script
from trudi_rsl.checkpoints.rebuild import load_actor_critic
from trudi_rsl.config import compose
from trudi_rsl.errors import ConfigError
from trudi_rsl.hosts.gymnasium.env import GymnasiumVecEnv
from trudi_rsl.hosts.gymnasium.observations import ObservationLayout
from trudi_rsl.hosts.registry import SIMULATION
from trudi_rsl.hosts.training import train

PARTS = "tests.hosts.gymnasium_tasks:trudi-tests/Parts-v0"
SAMPLES = "tests.hosts.gymnasium_tasks:trudi-tests/Samples-v0"
CAMERA = "tests.hosts.gymnasium_tasks:trudi-tests/Camera-v0"
VECTOR = Box(-1.0, 1.0, (2,), np.float32)
NAMES = [("joints/velocity", 2), ("joints/angle", 1), ("grid", 4), ("goal/0", 1), ("goal/1", 3)]


def with_space(space: Space) -> GymnasiumVecEnv:
    return GymnasiumVecEnv(SAMPLES, 2, env_kwargs={"space": space})


def test_parts_follow_each_other_in_the_order_of_the_space_under_their_names() -> None:
    env = GymnasiumVecEnv(PARTS, 2)
    obs, *_ = env.step(torch.zeros(2, 2))
    assert obs["policy"].tolist() == [[100.0, 101.0, 102.0, 103.0, 104.0, 105.0, 106.0, -1.0, 0.0, 1.0, 0.0]] * 2
    assert [(term["name"], term["size"]) for term in env.describe(["policy"])["obs_terms"]] == NAMES
    assert env.default_obs_groups is None


def test_groups_are_the_entries_of_the_dictionary() -> None:
    names = ["joints", "grid", "goal"]
    flat, env = GymnasiumVecEnv(PARTS, 2), GymnasiumVecEnv(PARTS, 2, obs="groups")
    for _ in range(9):
        whole, *_, extras = flat.step(torch.zeros(2, 2))
        obs, *_, grouped = env.step(torch.zeros(2, 2))
        assert {name: group.shape[1] for name, group in obs.items()} == {"joints": 3, "grid": 4, "goal": 4}
        assert torch.equal(torch.cat([obs[name] for name in names], -1), whole["policy"])
        assert ("final_obs" in extras) == ("final_obs" in grouped)
        if "final_obs" in extras:
            last = torch.cat([grouped["final_obs"][name] for name in names], -1)
            assert torch.equal(last, extras["final_obs"]["policy"])
            assert grouped["final_obs"]["joints"][:, 0].tolist() == [400.0, 400.0]
    assert env.default_obs_groups == {"actor": names, "critic": names}
    terms = env.describe(["goal", "joints"])["obs_terms"]
    assert [term["name"] for term in terms] == [name for name, _ in NAMES[3:] + NAMES[:2]]


def test_the_vector_is_gymnasiums_own_flattening() -> None:
    plain = gym.make(PARTS)
    env = GymnasiumVecEnv(PARTS, 1)
    plain.reset()
    for _ in range(3):
        expected = gym.spaces.flatten(plain.observation_space, plain.step(np.zeros(2, np.float32))[0])
        obs, *_ = env.step(torch.zeros(1, 2))
        np.testing.assert_array_equal(obs["policy"][0], np.asarray(expected, dtype=np.float32))


@pytest.mark.parametrize(
    ("space", "size"),
    [
        *((Box(-1, 1, (1, 35)), 35), (Box(-1, 1, ()), 1), (Discrete(4), 4), (Box(0, 255, (6,), np.uint8), 6)),
        (Box(-1, 1, (15, 16, 3)), 720),  # floats with so short a side are no image
    ],
)
def test_arrays_of_any_shape_and_discrete_observations_become_vectors(space: Space, size: int) -> None:
    env = with_space(space)
    assert env.get_observations()["policy"].shape == (2, size)
    assert torch.isfinite(env.step(torch.zeros(2, 2))[0]["policy"]).all()


IMAGES = [
    (Box(0, 255, (8, 6, 3), np.uint8), (3, 8, 6), lambda x: x.transpose(2, 0, 1)),
    (Box(0, 255, (8, 6), np.uint8), (1, 8, 6), lambda x: x[None]),
    (Box(0, 255, (4, 8, 6, 3), np.uint8), (12, 8, 6), lambda x: x.transpose(0, 3, 1, 2).reshape(12, 8, 6)),
    (Box(0, 255, (5, 8, 6), np.uint8), (5, 8, 6), lambda x: x),
    (Box(0, 1, (64, 48, 3), np.float32), (3, 64, 48), lambda x: x.transpose(2, 0, 1)),
    (Box(0, 1, (1, 32, 48), np.float32), (1, 32, 48), lambda x: x),
]
"""Spaces, ``[C, H, W]``, and from an observation to that."""


@pytest.mark.parametrize(("image", "shape", "channels_first"), IMAGES, ids=lambda x: "" if callable(x) else str(x))
def test_images_are_groups_with_channels_first_in_their_own_type(image: Box, shape: Any, channels_first: Any) -> None:
    layout = ObservationLayout(Dict({"eyes": Dict({"left": image}), "state": VECTOR}), "task")
    image.seed(0)
    seen, state = image.sample(), VECTOR.sample()
    groups = layout.split(np.concatenate([seen.ravel(), state])[None].astype(np.float32))
    np.testing.assert_array_equal(groups["eyes/left"][0], channels_first(seen))
    np.testing.assert_array_equal(groups["policy"][0], state)
    assert groups["eyes/left"].shape[1:] == shape and groups["eyes/left"].dtype == image.dtype
    assert layout.default_sets == {name: ["policy", "eyes/left"] for name in ("actor", "critic")}
    assert layout.terms(["policy", "eyes/left"]) == [{"name": "state", "size": 2}], "terms are entries of vectors"


@pytest.mark.parametrize("images", ["original", "float32"])
def test_images_alone_are_the_group_that_an_actor_reads_by_default(images: Any) -> None:
    env = GymnasiumVecEnv(SAMPLES, 2, env_kwargs={"space": IMAGES[0][0]}, images=images)
    obs, *_ = env.step(torch.zeros(2, 2))
    assert obs["policy"].shape == (2, 3, 8, 6) and env.default_obs_groups is None
    if images == "original":
        assert obs["policy"].dtype == torch.uint8 and obs["policy"].max() > 200
    else:
        assert obs["policy"].dtype == torch.float32 and 0.8 < obs["policy"].max() <= 1.0


def test_images_of_types_that_torch_cannot_mask_are_scaled_floats() -> None:
    image = Box(0, 65535, (16, 16, 1), np.uint16)
    groups = ObservationLayout(image, "task").split(np.full((1, 256), 65535.0, np.float32))
    assert groups["policy"].dtype == np.float32 and groups["policy"].max() == 1.0


def test_floats_are_as_they_are_where_integers_are_scaled() -> None:
    image = Box(0, 1, (16, 16, 3), np.float32)
    groups = ObservationLayout(image, "task", images="float32").split(np.full((1, 768), 0.5, np.float32))
    assert groups["policy"].shape == (1, 3, 16, 16) and (groups["policy"] == 0.5).all()


def test_an_image_whose_name_no_network_can_have_is_renamed() -> None:
    layout = ObservationLayout(Dict({"eye.left": IMAGES[0][0], "joint.angle": VECTOR}), "task")
    assert set(layout.split(np.zeros((1, layout.size)))) == {"policy", "eye_left"}
    assert layout.terms(["policy"]) == [{"name": "joint.angle", "size": 2}]


def test_vectors_around_an_image_stay_in_order() -> None:
    image = Box(0, 255, (8, 8), np.uint8)
    layout = ObservationLayout(Dict([("a", VECTOR), ("b", image), ("c", VECTOR)]), "task")
    groups = layout.split(np.arange(68.0)[None])
    assert groups["policy"].tolist() == [[0.0, 1.0, 66.0, 67.0]]
    assert groups["b"].ravel().tolist() == list(range(2, 66))


def test_an_image_named_like_the_group_of_vectors_has_another_name() -> None:
    layout = ObservationLayout(Dict({"policy": IMAGES[0][0], "state": VECTOR}), "task")
    assert set(layout.split(np.zeros((1, layout.size)))) == {"policy", "policy/image"}


@pytest.mark.parametrize("space", [Sequence(VECTOR), Text(5)])
def test_observations_without_a_fixed_size_are_refused(space: Space) -> None:
    with pytest.raises(ConfigError, match=r"'words'.*no fixed number of entries"):
        with_space(Dict({"state": VECTOR, "words": space}))


def test_an_unknown_mode_and_empty_observations_are_named() -> None:
    with pytest.raises(ConfigError, match=r"env\.obs is 'group'.*'groups'"):
        GymnasiumVecEnv(PARTS, 1, obs="group")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="have no entries"):
        with_space(Box(-1.0, 1.0, (0,), np.float32))


def test_flattening_is_said_in_one_line_once(capsys: pytest.CaptureFixture[str]) -> None:
    space = Dict([("b", VECTOR), ("a", MultiBinary(2)), ("kind", Discrete(2))])
    env = with_space(space)
    env.alike(1, 0)
    (line,) = capsys.readouterr().out.splitlines()
    assert "flattened to 6 numbers, in this order: b (2), a (2), kind (2); one-hot: kind" in line


def test_models_that_see_images_encode_them_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = {"env.num_envs": 4, "agent.num_steps_per_env": 8, "agent.max_iterations": 1}
    small = ["agent.algorithm.num_mini_batches=2", "agent.evaluation_episodes=null"]
    for algo, more in {"trudi": ["agent.algorithm.compile=off"], "ppo": [], "dppo": []}.items():
        cfg = compose("PlanarObstaclePixels-v0", algo, [*small, *more], settings=settings)
        if algo == "dppo":
            with pytest.raises(ConfigError, match=r"policy \[1, 32, 32\], and a DenoisingModel cannot see images"):
                train(cfg, SIMULATION.make_env)
            continue
        train(cfg, SIMULATION.make_env)
        (path,) = tmp_path.glob(f"logs/rsl_rl/{cfg.agent.experiment_name}/*/model_0.pt")
        actor = torch.load(path, weights_only=True)["actor_state_dict"]
        (kernel,) = (values for name, values in actor.items() if name.endswith("cnns.policy.0.weight"))
        assert kernel.shape == (16, 1, 5, 5)


def test_an_image_is_left_out_where_the_user_names_the_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    chosen = ["agent.obs_groups.actor=[policy]", "agent.obs_groups.critic=[policy]"]
    small = ["agent.algorithm.num_mini_batches=2", "agent.evaluation_episodes=null", "agent.algorithm.compile=off"]
    settings = {"env.num_envs": 2, "agent.num_steps_per_env": 4, "agent.max_iterations": 1}
    for overrides, num_inputs in (([], 2 + 16 * 6 * 6), (chosen, 2)):
        cfg = compose(
            "tests.hosts.gymnasium_tasks:trudi-tests/Camera-v0", "trudi", [*small, *overrides], settings=settings
        )
        cfg.agent.experiment_name = f"inputs_{num_inputs}"
        train(cfg, SIMULATION.make_env, named=[override.partition("=")[0] for override in overrides])
        (path,) = tmp_path.glob(f"logs/rsl_rl/inputs_{num_inputs}/*/model_0.pt")
        actor, _ = load_actor_critic(path)
        assert actor.actor_obs.num_latents == num_inputs


@pytest.mark.slow
def test_a_run_with_groups_trains_resumes_plays_and_exports_with_their_names(tmp_path: Path) -> None:
    task = ("--task", PARTS, "--num_envs", "4")
    small = ("agent.num_steps_per_env=8", "agent.algorithm.num_mini_batches=2")
    once = ("--max_iterations", "1")
    groups = ("env.obs=groups", "agent.evaluation_episodes=2")

    def run(name: str, *args: str | Path) -> str:
        done = run_script(name, *args, cwd=tmp_path)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout

    output = run("train.py", *task, *small, *once, *groups)
    folder = tmp_path / re.findall(r"^Run folder: (.+)$", output, re.MULTILINE)[-1].strip()
    sets = OmegaConf.load(folder / "params" / "agent.yaml").obs_groups
    assert sets == {"actor": ["joints", "grid", "goal"], "critic": ["joints", "grid", "goal"]}
    run("train.py", *task, *small, *groups, "--resume", "--more_iterations", "1")
    run("play.py", *task, "--episodes", "2")
    (checkpoint,) = folder.glob("model_*.pt")
    run("export.py", "--checkpoint", checkpoint)
    metadata = {entry.key: entry.value for entry in onnx.load(folder / "exported" / "policy.onnx").metadata_props}
    terms = json.loads(metadata["obs_terms"])
    assert [(term["name"], term["size"]) for term in terms] == NAMES


def test_the_state_of_a_dictionary_task_is_readable() -> None:
    env = GymnasiumVecEnv(PARTS, 2)
    state = through_a_file(env.state_dict())
    assert state["observations"].shape == (2, 11)
