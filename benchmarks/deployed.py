# SPDX-License-Identifier: BSD-3-Clause
"""Measure what fewer denoising steps and fewer bits cost an exported policy, in return and in behaviours.

Trains TruDi with its preset as a user does, exports every variant, and drives the simulator with the ONNX files. One
JSON file for each run in ``benchmarks/results/deployed``; a run whose file exists is not repeated. mjlab's task needs
the Python of an environment that has mjlab.

    python benchmarks/deployed.py --tasks HalfCheetah-v5 PlanarObstacle-v0
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from host_runs import measure_missing, train
from rsl_rl.env import VecEnv
from tensordict import TensorDict
from torch import Tensor

from trudi_rsl.deploy import ExportOptions, export_checkpoint
from trudi_rsl.deploy.runtime import open_session
from trudi_rsl.evaluation.episodes import evaluate
from trudi_rsl.policies import ChainOptions

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "deployed"
SEEDS = {"HalfCheetah-v5": range(1, 6), "PlanarObstacle-v0": range(1, 6), "Mjlab-Cartpole-Swingup": range(1, 6)}
"""Seeds of each task's training."""
MULTIMODAL = "PlanarObstacle-v0"
MJLAB_FLAGS = ("--num_envs", "128", "--max_iterations", "125")
"""As ``mjlab_cartpole.py`` trains it: 512k environment steps."""
EPISODES = 32
SEED = 1000
VARIANTS: dict[str, dict[str, Any]] = {
    "N = 8": {},
    "N = 4": {"chain": ChainOptions(num_steps=4)},
    "N = 2": {"chain": ChainOptions(num_steps=2)},
    "N = 1": {"chain": ChainOptions(num_steps=1)},
    "N = 8, fp16": {"precision": "fp16"},
    "N = 8, int8": {"precision": "int8"},
}
"""What is exported; all are trained with 8 steps."""


class ExportedPolicy:
    """An ONNX file that acts in many environments at once.

    Args:
        file: The file, for as many observations per call as there are environments.
    """

    def __init__(self, file: Path) -> None:
        self._session = open_session(file)
        self._latents = [node.shape for node in self._session.get_inputs() if node.name == "latent"]

    def __call__(self, obs: TensorDict) -> Tensor:
        """Return actions ``[E, A]``; a chain that starts at an input starts at a new draw for each."""
        (group,) = [name for name in ("policy", "actor") if name in obs.keys()]  # noqa: SIM118  a TensorDict is no dict
        given: dict[str, Any] = {"obs": obs[group].cpu().numpy().astype(np.float32)}
        if self._latents:
            given["latent"] = torch.randn(self._latents[0]).numpy()
        return torch.as_tensor(self._session.run(["actions"], given)[0])


def environments(task: str, checkpoint: Path, num_envs: int, fixed_start: bool = False) -> VecEnv:
    """Return the task's environments as policies are played in."""
    if task.startswith("Mjlab-"):
        from mjlab.envs import ManagerBasedRlEnv  # pyright: ignore[reportMissingImports]

        from trudi_rsl.hosts.mjlab.play import PlayedEnv, playing_cfg
        from trudi_rsl.hosts.mjlab.task import find_task

        return PlayedEnv(ManagerBasedRlEnv(playing_cfg(find_task(task, "trudi"), num_envs, SEED), "cpu"), task)
    from trudi_rsl.evaluation.play import settings
    from trudi_rsl.hosts.registry import make_env
    from trudi_rsl.tasks import modes_of

    cfg = settings(checkpoint, task, "trudi", [f"env.num_envs={num_envs}"])
    if fixed_start:
        cfg.env.env_kwargs = {**(cfg.env.env_kwargs or {}), **modes_of(task).fixed_start}
    return make_env(task, cfg.env, "cpu", SEED)


def drive(task: str, checkpoint: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Export one variant and return what it gains, and on the multimodal task which behaviours it shows."""
    with tempfile.TemporaryDirectory() as folder:
        report = export_checkpoint(checkpoint, Path(folder, "many"), ExportOptions(batch_size=EPISODES, **options))
        env = environments(task, checkpoint, EPISODES)
        torch.manual_seed(SEED)
        results = evaluate(env, ExportedPolicy(report.onnx), EPISODES, progress=False)
        env.close()  # pyright: ignore[reportAttributeAccessIssue]
        found: dict[str, Any] = {"returns": results.returns.tolist(), "parity_error": report.onnx_difference}
        if task == MULTIMODAL:
            found["behaviour"] = behaviour(checkpoint, Path(folder, "free"), options)
    return found


def behaviour(checkpoint: Path, folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Return which behaviours a variant of the multimodal task's policy shows."""
    from trudi_rsl.evaluation.behaviour import NUM_RUNS, Behaviour, record
    from trudi_rsl.tasks import modes_of

    file = export_checkpoint(
        checkpoint, folder, ExportOptions(batch_size=NUM_RUNS, latent_input=True, **options)
    ).latent_onnx
    assert file is not None
    env = environments(MULTIMODAL, checkpoint, NUM_RUNS, fixed_start=True)
    torch.manual_seed(SEED)
    found = Behaviour.of(record(env, ExportedPolicy(file), progress=False), modes_of(MULTIMODAL)).to_dict()
    del found["runs"]
    return found


def measure(run: tuple[str, int]) -> dict[str, Any]:
    """Train one run and return what each variant of its policy does."""
    task, seed = run
    command = [sys.executable, str(ROOT / "scripts" / "train.py"), "--task", task, "--algo", "trudi"]
    command += [
        "--seed",
        str(seed),
        "--device",
        "cpu",
        "--headless",
        *(MJLAB_FLAGS if task.startswith("Mjlab") else ()),
    ]
    with tempfile.TemporaryDirectory() as folder:
        trained, _ = train(command, Path(folder))
        checkpoint = newest(trained)
        variants = {name: drive(task, checkpoint, options) for name, options in VARIANTS.items()}
    packages = ("torch", "onnxruntime", "rsl-rl-lib")
    return {
        "task": task,
        "seed": seed,
        "episodes": EPISODES,
        "variants": variants,
        "versions": {package: version(package) for package in packages},
    }


def newest(run: Path) -> Path:
    """Return the last checkpoint of a run."""
    return max(run.glob("model_*.pt"), key=lambda path: int(path.stem.removeprefix("model_")))


def main() -> None:
    """Measure what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=SEEDS, default=list(SEEDS))
    tasks = parser.parse_args().tasks
    torch.set_num_threads(1)
    files = {(task, seed): RESULTS / f"{task}_seed{seed}.json" for task in tasks for seed in SEEDS[task]}
    measure_missing(files, measure)


if __name__ == "__main__":
    main()
