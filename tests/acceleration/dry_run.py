# SPDX-License-Identifier: BSD-3-Clause
"""Iterations of every algorithm on a GPU that computes nothing: what fails, where they sync, and their kernels.

    PYTHONPATH=source:. python -m tests.acceleration.dry_run found.json "TruDi, captured" REPPO

Shapes, devices and Python code are real. So mixing devices raises, and so does a sync while a graph is captured.
"""

from __future__ import annotations

from tests.acceleration import fake_cuda  # isort: skip  before torch

import contextlib
import io
import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from rsl_rl.env import VecEnv
from tensordict import TensorDict
from torch import Tensor
from torch._subclasses import FakeTensorMode

from tests.acceleration.sync_recorder import Recorder
from trudi_rsl.diffusion.signed_permutation import SignedPermutations
from trudi_rsl.extensions import SYMMETRY_USES
from trudi_rsl.rsl_rl_compat.augmentation import Augmentation
from trudi_rsl.runners import OnPolicyRunner
from trudi_rsl.runners.episode_log import EpisodeLog
from trudi_rsl.settings import SETTINGS

NUM_ENVS, NUM_OBS, NUM_PRIVILEGED, NUM_ACTIONS, NUM_STEPS = 8, 5, 7, 3, 4
CAMERA = (3, 8, 8)
CNN = {"class_name": "CNNModel", "cnn_cfg": {"output_channels": [4], "kernel_size": 3, "activation": "elu"}}
RND: dict[str, Any] = {
    **{"num_outputs": 2, "predictor_hidden_dims": [8], "target_hidden_dims": [8], "weight": 1.0},
    **{"state_normalization": True, "reward_normalization": True},
}


def mirrored(env: Any, obs: TensorDict | None, actions: Tensor | None) -> tuple[Any, Any]:
    """Return observations and actions, and both with their signs changed."""
    if obs is not None:
        obs = torch.cat([obs, obs.apply(torch.neg)])  # pyright: ignore
    return obs, None if actions is None else torch.cat([actions, -actions])


def _mirrors(*_: Any) -> SignedPermutations:
    """Return what :func:`mirrored` does to actions, which the values of fake tensors do not show."""
    sources = torch.arange(NUM_ACTIONS, device="cuda").repeat(2, 1)
    identity = torch.ones(NUM_ACTIONS, device="cuda")
    return SignedPermutations(sources, torch.stack([identity, -identity]))


VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "TruDi, captured": ("trudi", {"compile": "cudagraphs"}),
    "TruDi, adjoint, captured": (
        "trudi",
        {"actor_gradient": "adjoint", "num_adjoint_steps": 1, "compile": "cudagraphs"},
    ),
    "TruDi, fresh chains": ("trudi", {"kl_chains": "fresh", "num_kl_chains": 2, "compile": "off"}),
    "REPPO, captured": ("reppo", {"compile": "cudagraphs"}),
    "DIME, captured": ("dime", {"compile": "cudagraphs"}),
    "TruDi, symmetry and RND, captured": (
        "trudi",
        {
            "compile": "cudagraphs",
            "symmetry_cfg": {"data_augmentation_func": mirrored, **dict.fromkeys(SYMMETRY_USES, True)},
            "rnd_cfg": RND,
        },
    ),
    "REPPO, images, captured": ("reppo", {"compile": "cudagraphs", "actor_encoder": CNN, "critic_encoder": CNN}),
    "PPO": ("ppo", {}),
    "SPO": ("spo", {"rnd_cfg": RND}),
    "DPPO": ("dppo", {}),
    "FPO": ("fpo", {}),
}
"""Algorithm and settings."""


class FakeEnv(VecEnv):
    """Observations, rewards and final observations on the fake GPU or a real CPU, with an asymmetric critic."""

    def __init__(self, device: str) -> None:
        self.num_envs, self.num_actions, self.max_episode_length = NUM_ENVS, NUM_ACTIONS, 1000
        self.device = device
        self.episode_length_buf = torch.zeros(NUM_ENVS, dtype=torch.long, device=device)
        self.cfg: dict | object = {}
        self.step_dt = 0.1
        self.unwrapped: Any = self
        self.action_low, self.action_high = -torch.ones(NUM_ACTIONS), torch.ones(NUM_ACTIONS)

    def get_observations(self) -> TensorDict:
        shapes = {"policy": (NUM_OBS,), "critic": (NUM_PRIVILEGED,), "camera": CAMERA}
        drawn = {name: torch.randn(NUM_ENVS, *shape, device=self.device) for name, shape in shapes.items()}
        return TensorDict(drawn, batch_size=[NUM_ENVS], device=self.device)

    def step(self, actions: Tensor) -> tuple[TensorDict, Tensor, Tensor, dict[str, Any]]:
        assert actions.device.type == self.device
        none = torch.zeros(NUM_ENVS, dtype=torch.long, device=self.device)
        extras = {"time_outs": none.bool(), "final_obs": self.get_observations()}
        return self.get_observations(), torch.randn(NUM_ENVS, device=self.device), none, extras


def runner_cfg(algo: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Return a runner's configuration with small networks."""
    groups = {"actor": ["policy"], "critic": ["critic"], "rnd_state": ["policy"]}
    if "actor_encoder" in settings:
        groups["actor"].append("camera")
        groups["critic"].append("camera")
    shared = {
        "num_steps_per_env": NUM_STEPS,
        "save_interval": 50,
        "max_iterations": 1000,
        "obs_groups": groups,
    }
    learning = {"num_learning_epochs": 2, "num_mini_batches": 2}
    if algo in SETTINGS:
        sizes: dict[str, Any] = {"actor_hidden_dims": [8, 8], "critic_hidden_dim": 8, "num_bins": 11}
        if algo != "reppo":
            sizes["num_denoise_steps"] = 2
        values = SETTINGS[algo]().to_dict() | sizes | learning | settings  # type: ignore[index]
        return shared | {"algorithm": {"class_name": "trudi_rsl.algorithms:TruDi", **values}}
    model: dict[str, Any] = {"class_name": "MLPModel", "hidden_dims": [8, 8], "activation": "elu"}
    model["obs_normalization"] = True
    algorithm = learning | {
        "class_name": "PPO" if algo == "ppo" else f"trudi_rsl.algorithms:{algo.upper()}",
        "schedule": "fixed" if algo == "fpo" else "adaptive",
        **{"desired_kl": 0.01, "entropy_coef": 0.0, "learning_rate": 1e-3, "gamma": 0.99, "lam": 0.95},
        "clip_param": 0.2,
        **settings,
    }
    actor = model | {"distribution_cfg": {"class_name": "GaussianDistribution", "init_std": 1.0}}
    return shared | {"actor": actor, "critic": dict(model), "algorithm": algorithm}


def train_on_cpu(algo: str, settings: dict[str, Any], path: str) -> None:
    """Write the checkpoint of an iteration on a real CPU."""
    if "compile" in settings:
        settings = settings | {"compile": "off"}
    runner = OnPolicyRunner(FakeEnv("cpu"), runner_cfg(algo, settings), log_dir=None, device="cpu")
    runner.learn(1)
    runner.save(path)


def dry_run(algo: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Learn, save, load a CPU's checkpoint, learn again and act.

    Returns what failed, replays of graphs by call, what was logged, and syncs and kernels per phase.
    """
    recorder, failures = Recorder(), {}
    replays: dict[str, int] = {}
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    uncompiled = mock.patch.object(torch, "compile", lambda function, **_: function)
    with TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()) as printed:
        path = str(Path(folder, "model_0.pt"))
        train_on_cpu(algo, settings, path)
        with (
            fake_cuda.patched(lambda: recorder.sync("synchronize")),
            uncompiled,
            recorder.patched(),
            mock.patch.object(Augmentation, "signed_permutations", _mirrors),
            mock.patch.object(Augmentation, "check_observations", lambda *_: []),
            fake,
            recorder,
        ):
            env = FakeEnv("cuda")
            runner = OnPolicyRunner(env, runner_cfg(algo, settings), log_dir=None, device="cuda")
            runner._episodes = EpisodeLog(SimpleNamespace(logger=_written_log(runner.logger)))
            _wrap(runner, recorder)

            def resume() -> None:
                runner.load(path)
                runner.learn(1)

            def act() -> None:
                with torch.inference_mode(), recorder.phase("inference policy"):
                    runner.get_inference_policy("cuda")(env.get_observations())

            calls = {"learn": lambda: runner.learn(1), "save": runner.alg.save, "resume": resume, "act": act}
            for name, call in calls.items():
                before = fake_cuda.Graph.num_replays
                failures |= _failure(name, call)
                replays[name] = fake_cuda.Graph.num_replays - before
    return {
        "failures": failures,
        "replays": replays,
        "said": [line for line in printed.getvalue().splitlines() if line.startswith("[trudi_rsl]")],
        "syncs": {phase: dict(found) for phase, found in recorder.syncs.items()},
        "kernels": {phase: round(count / max(recorder.calls[phase], 1)) for phase, count in recorder.kernels.items()},
    }


def _wrap(runner: OnPolicyRunner, recorder: Recorder) -> None:
    """Let the parts of an iteration be phases."""
    alg: Any = runner.alg
    parts = [(alg, name) for name in ("act", "process_env_step", "compute_returns", "update")]
    parts += [(runner.env, "step"), (runner, "_collect"), (runner.logger, "log")]
    if hasattr(alg, "learner"):
        parts += [(alg, name) for name in ("_update_statistics", "_decisions", "_update")]
    for owner, name in parts:
        if hasattr(owner, name):
            label = name if owner in (alg, runner) else f"{type(owner).__name__}.{name}"
            setattr(owner, name, _in_phase(recorder, label, getattr(owner, name)))


def _written_log(log: Any) -> Any:
    """Return the sums of RSL-RL's logger with a log writer, which the dry run has not."""
    return SimpleNamespace(**{**vars(log), "writer": object()})


def _in_phase(recorder: Recorder, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        with recorder.phase(name):
            return function(*args, **kwargs)

    return call


def _failure(name: str, call: Callable[[], None]) -> dict[str, str]:
    try:
        call()
    except Exception as error:
        frames = [f"{f.filename}:{f.lineno} {f.line}" for f in traceback.extract_tb(error.__traceback__)]
        return {name: "\n".join([*frames[-8:], f"{type(error).__name__}: {str(error)[:600]}"])}
    return {}


def main() -> None:
    """Run the variants named on the command line and write what was found to a file."""
    path, *names = sys.argv[1:]
    found = {name: dry_run(*VARIANTS[name]) for name in names or VARIANTS}
    Path(path).write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
