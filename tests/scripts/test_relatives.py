# SPDX-License-Identifier: BSD-3-Clause
"""Every algorithm behind --algo trains, resumes exactly, plays and exports by the same scripts."""

from __future__ import annotations

from pathlib import Path

import onnxruntime
import pytest
import torch

from scripts.train import main
from tests.scripts.running import ScriptHere
from trudi_rsl.rsl_rl_compat.version import PPO_MODELS

TASK = "InvertedPendulum-v5"
SHARED = ["agent.num_steps_per_env=16", "agent.algorithm.num_mini_batches=2"]
SMALL_MODELS = ["agent.actor.hidden_dims=[16,16]", "agent.critic.hidden_dims=[16]"]
SMALL = {
    "trudi": ["agent.algorithm.num_denoise_steps=3", "agent.algorithm.actor_hidden_dims=[16,16]"],
    "reppo": ["agent.algorithm.actor_hidden_dims=[16,16]"],
    "dime": ["agent.algorithm.num_denoise_steps=3", "agent.algorithm.actor_hidden_dims=[16,16]"],
    "ppo": SMALL_MODELS,
    "spo": SMALL_MODELS,
    "dppo": [*SMALL_MODELS, "agent.actor.num_denoise_steps=3"],
    "fpo": [*SMALL_MODELS, "agent.actor.num_flow_steps=3"],
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PPO_MODELS, reason="the settings of PPO and its relatives are for RSL-RL 5"),
]


def train(algo: str, *flags: str) -> Path:
    """Train in this process and in the working directory; return the newest checkpoint."""
    arguments = ["--task", TASK, "--algo", algo, "--num_envs", "4", *flags, *SHARED, *SMALL[algo]]
    assert main(arguments) == 0
    run = max(Path("logs/rsl_rl").glob("*/*"), key=lambda p: p.stat().st_mtime_ns)
    return max(run.glob("model_*.pt"), key=lambda p: int(p.stem.removeprefix("model_")))


OFTEN = ("trudi", "ppo", "dppo")
"""One algorithm of each runner and of each kind of chain; the others share their code."""


@pytest.fixture(
    scope="module", params=[pytest.param(algo, marks=() if algo in OFTEN else pytest.mark.nightly) for algo in SMALL]
)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Algorithm and checkpoint of two iterations, in a folder of its own."""
    folder = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return request.param, folder / train(request.param, "--max_iterations", "2", "--run_name", "half")


def test_stopping_and_resuming_trains_the_same_policy_as_not_stopping(
    trained: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    algo, half = trained
    monkeypatch.chdir(half.parents[4])
    straight = train(algo, "--max_iterations", "3", "--run_name", "straight")
    resumed = train(algo, "--more_iterations", "1", "--run_name", "resumed", "--checkpoint", str(half))
    one, other = (torch.load(path, weights_only=False) for path in (straight, resumed))
    assert (one["iter"], other["iter"]) == (2, 2)
    for part in ("actor_state_dict", "critic_state_dict"):
        for name, value in one[part].items():
            assert torch.equal(value, other[part][name]), name


def test_another_algorithm_refuses_to_resume_it(
    trained: tuple[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    algo, half = trained
    monkeypatch.chdir(half.parents[4])
    other = "spo" if algo != "spo" else "ppo"
    arguments = ["--task", TASK, "--algo", other, "--num_envs", "4", "--checkpoint", str(half), *SHARED]
    assert main([*arguments, *SMALL[other]]) == 2
    assert f"--algo {algo}" in capsys.readouterr().err


def test_it_plays_with_its_samplers_and_exports_from_the_checkpoint_alone(
    trained: tuple[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    algo, checkpoint = trained
    play = ScriptHere("play.py", checkpoint.parents[4], monkeypatch, capsys)
    limited = ("--task", TASK, "--episodes", "2", "env.max_episode_steps=20", "--checkpoint", checkpoint)
    has_critic = algo in ("trudi", "reppo", "dime")
    extra = ["best_of_k"] * has_critic + ["ode --initial_latent random"] * (algo in ("dppo", "fpo"))
    for sampler in ("ode", "sde", *extra):
        output = play(*limited, "--sampler", *sampler.split())
        assert f"Returns on {TASK}, {algo}, sampler {sampler.partition(' ')[0]}" in output
    if not has_critic:
        assert "best_of_k needs TruDi's Q critic" in play.error(*limited, "--sampler", "best_of_k")
        assert "score_scale" in play.error(*limited, "--score_scale", "0.5")

    export = ScriptHere("export.py", checkpoint.parents[4], monkeypatch, capsys)
    assert "largest difference from PyTorch" in export("--checkpoint", checkpoint)
    exported = checkpoint.parent / "exported"
    assert sorted(p.name for p in exported.iterdir()) == ["policy.onnx", "policy.pt"]
    metadata = onnxruntime.InferenceSession(exported / "policy.onnx").get_modelmeta().custom_metadata_map
    assert (metadata["algorithm"].upper(), metadata["task"]) == (algo.upper(), TASK)
    assert metadata.get("num_denoise_steps") == ("3" if algo in ("trudi", "dime", "dppo", "fpo") else None)
