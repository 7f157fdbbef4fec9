# SPDX-License-Identifier: BSD-3-Clause
"""Measure exported policies: their latency, what fewer steps and bits cost, and how they do in another simulator.

    python benchmarks/deployment.py --tables latency
    python benchmarks/deployment.py --tables exported --tasks HalfCheetah-v5 PlanarObstacle-v0
    python benchmarks/deployment.py --tables sim_to_sim

``latency`` times policies of a humanoid's size with random weights; it needs an otherwise idle machine. ``exported``
trains TruDi with its preset, exports every variant and drives the simulator with the ONNX files; mjlab's task needs the
Python of an environment that has mjlab. ``sim_to_sim`` drives HalfCheetah in plain MuJoCo by the runtime without
PyTorch. A run with a stored record is skipped.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import gymnasium
import mujoco as mujoco_package
import numpy as np
import runs
import torch
from results import Record, versions
from rsl_rl.env import VecEnv
from tensordict import TensorDict
from torch import Tensor

from trudi_rsl.choices import MODE_RUNS, TIMED_CALLS, Precision
from trudi_rsl.config.run_folder import newest_checkpoint
from trudi_rsl.deploy import ExportOptions, ExportReport, Policy, export_checkpoint, export_policy
from trudi_rsl.deploy.latency import CALLS_PER_TURN, RUNTIMES
from trudi_rsl.deploy.latency import measure as time_files
from trudi_rsl.deploy.provenance import machine
from trudi_rsl.deploy.session import open_session
from trudi_rsl.evaluation.behaviour import Behaviour, record
from trudi_rsl.evaluation.episodes import evaluate
from trudi_rsl.evaluation.identify import load_run_settings, read_subject
from trudi_rsl.evaluation.measurement import Evaluation, EvaluationCfg
from trudi_rsl.evaluation.samplers import SamplerCfg
from trudi_rsl.hosts.registry import SIMULATION, make_env
from trudi_rsl.policies import ActorCritic, ChainOptions, DiffusionActorCritic, GaussianActorCritic
from trudi_rsl.tasks import find_modes

mujoco: Any = mujoco_package  # has no type annotations
NUM_OBS, NUM_ACTIONS, WIDTH = 99, 29, 512
"""Unitree G1."""
STEPS = (1, 2, 4, 8, 16)
LOW_PRECISIONS: tuple[Precision, ...] = ("fp16", "int8")
EPISODES, SEED = 32, 1000
MULTIMODAL = "PlanarObstacle-v0"
VARIANTS: dict[str, dict[str, Any]] = {
    "N = 8": {},
    "N = 4": {"chain": ChainOptions(num_steps=4)},
    "N = 2": {"chain": ChainOptions(num_steps=2)},
    "N = 1": {"chain": ChainOptions(num_steps=1)},
    "N = 8, fp16": {"precision": "fp16"},
    "N = 8, int8": {"precision": "int8"},
}
"""Export options; all policies are trained with 8 steps."""
CHEETAH_SKIP, CHEETAH_STEPS = 5, 1000
"""HalfCheetah-v5's physics steps per action and actions per episode."""


def latency(quick: bool) -> Record:
    """Export policies with random weights, which take as long as trained ones, and time one action at a time."""
    num_calls = CALLS_PER_TURN if quick else TIMED_CALLS
    torch.set_num_threads(1)
    torch.manual_seed(0)
    obs, bound = TensorDict({"policy": torch.randn(1, NUM_OBS)}, batch_size=[1]), torch.ones(NUM_ACTIONS)
    common = (obs, {"actor": ["policy"], "critic": ["policy"]}, -bound, bound)
    hidden = (WIDTH,) * 3
    policies: dict[str, ActorCritic[Any]] = {
        f"N = {n}": DiffusionActorCritic(*common, num_denoise_steps=n, actor_hidden_dims=hidden) for n in STEPS
    }
    for policy in policies.values():
        torch.nn.init.normal_(policy.actor.output_layer.weight, std=0.02)
    policies["Gaussian"] = GaussianActorCritic(*common, actor_hidden_dims=hidden)
    with tempfile.TemporaryDirectory() as folder:
        reports: dict[str, ExportReport] = {
            name: export_policy(policy, Path(folder, name)) for name, policy in policies.items()
        }
        # the TorchScript file of a policy in fewer bits is the float32 one
        files = [report.torchscript for report in reports.values()]
        for precision in LOW_PRECISIONS:
            name = f"N = 8, {precision}"
            reports[name] = export_policy(policies["N = 8"], Path(folder, name), ExportOptions(precision=precision))
        timings = time_files([*(report.onnx for report in reports.values()), *files], num_calls, progress=True)
    rows: dict[str, Record] = {name: {} for name in reports}
    for timing in timings:
        times = timing.latency._asdict()
        rows[timing.file.parent.name][RUNTIMES[timing.file.suffix]] = times
    return {
        "processor": machine(),
        "versions": versions("torch", "onnxruntime"),
        "num_calls": num_calls,
        "shape": {"num_obs": NUM_OBS, "num_actions": NUM_ACTIONS, "width": WIDTH},
        "runs": {name: row | {"parity_error": reports[name].onnx_difference} for name, row in rows.items()},
    }


class ExportedPolicy:
    """An ONNX file that acts in many environments at once, as many as its batch size."""

    def __init__(self, file: Path) -> None:
        self._session = open_session(file)
        self._latent_shapes = [node.shape for node in self._session.get_inputs() if node.name == "latent"]

    def __call__(self, obs: TensorDict) -> Tensor:
        """Return actions ``[E, A]``; if the file has a latent input, it gets a new draw at every call."""
        (group,) = [name for name in ("policy", "actor") if name in obs.keys()]  # noqa: SIM118  a TensorDict is no dict
        inputs: dict[str, Any] = {"obs": obs[group].cpu().numpy().astype(np.float32)}
        if self._latent_shapes:
            inputs["latent"] = torch.randn(self._latent_shapes[0]).numpy()
        return torch.as_tensor(self._session.run(["actions"], inputs)[0])


def environments(task: str, checkpoint: Path, num_envs: int, fixed_start: bool = False) -> VecEnv:
    """Return the task's environments in their variant for playing."""
    if task.startswith("Mjlab-"):
        from mjlab.envs import ManagerBasedRlEnv  # pyright: ignore[reportMissingImports]

        from trudi_rsl.hosts.mjlab.play import PlayedEnv, playing_cfg
        from trudi_rsl.hosts.mjlab.task import find_task

        return PlayedEnv(ManagerBasedRlEnv(playing_cfg(find_task(task, "trudi"), num_envs, SEED), "cpu"), task)
    cfg = load_run_settings(checkpoint, task, "trudi", [f"env.num_envs={num_envs}"])
    if fixed_start:
        cfg.env.env_kwargs = {**(cfg.env.env_kwargs or {}), **find_modes(task).fixed_start}
    return make_env(task, cfg.env, "cpu", SEED)


def drive(task: str, checkpoint: Path, options: dict[str, Any]) -> Record:
    """Export one variant and return its episode returns and, on the multimodal task, its behaviours."""
    with tempfile.TemporaryDirectory() as folder:
        report = export_checkpoint(checkpoint, Path(folder, "many"), ExportOptions(batch_size=EPISODES, **options))
        env = environments(task, checkpoint, EPISODES)
        torch.manual_seed(SEED)
        found = evaluate(env, ExportedPolicy(report.onnx), EPISODES, progress=False)
        env.close()  # pyright: ignore[reportAttributeAccessIssue]
        measured: Record = {"returns": found.returns.tolist(), "parity_error": report.onnx_difference}
        if task == MULTIMODAL:
            measured["behaviour"] = behaviour(checkpoint, Path(folder, "latent"), options)
    return measured


def behaviour(checkpoint: Path, folder: Path, options: dict[str, Any]) -> Record:
    """Return the behaviours of a variant of the multimodal task's policy."""
    many = ExportOptions(batch_size=MODE_RUNS, latent_input=True, **options)
    file = export_checkpoint(checkpoint, folder, many).latent_onnx
    assert file is not None
    env = environments(MULTIMODAL, checkpoint, MODE_RUNS, fixed_start=True)
    torch.manual_seed(SEED)
    found = Behaviour.classify(*record(env, ExportedPolicy(file), progress=False), find_modes(MULTIMODAL)).to_dict()
    del found["runs"]
    return found


def measure_exported(job: runs.Job) -> Record:
    """Train one run and return the performance of each exported variant."""
    flags = ("--num_envs", "128") if job.task.startswith("Mjlab-") else ()
    with tempfile.TemporaryDirectory() as folder:
        run, _ = runs.train(job.command(*flags), Path(folder))
        checkpoint = newest_checkpoint(run)
        variants = {name: drive(job.task, checkpoint, options) for name, options in VARIANTS.items()}
    return {
        **job.record(),
        "episodes": EPISODES,
        "variants": variants,
        "versions": versions("torch", "onnxruntime", "rsl-rl-lib"),
    }


def measure_sim_to_sim(job: runs.Job) -> Record:
    """Train one policy and return its episode returns in the training simulator and in plain MuJoCo."""
    with tempfile.TemporaryDirectory() as folder:
        run, _ = runs.train(job.command(), Path(folder))
        checkpoint = newest_checkpoint(run)
        sampler, cfg = SamplerCfg("ode", initial_latent="zeros"), EvaluationCfg(EPISODES, seed=SEED)
        trained = Evaluation(read_subject(checkpoint), sampler, cfg, SIMULATION).run().returns
        policy = Policy(export_checkpoint(checkpoint).onnx)
        generator = np.random.default_rng(SEED)
        plain = [plain_return(policy, generator) for _ in range(EPISODES)]
    return {
        **job.record(),
        "training_simulator": trained,
        "plain_mujoco": plain,
        "num_clipped": policy.num_clipped,
        "versions": versions("torch", "onnxruntime", "mujoco", "gymnasium"),
    }


def plain_return(policy: Policy, generator: np.random.Generator) -> float:
    """Run one episode of HalfCheetah-v5 without Gymnasium, except for its robot file, and return the sum of rewards."""
    file = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets" / "half_cheetah.xml"
    model = mujoco.MjModel.from_xml_path(str(file))
    data = mujoco.MjData(model)
    # the start distribution of HalfCheetah-v5
    data.qpos[:], data.qvel[:] = generator.uniform(-0.1, 0.1, 9), 0.1 * generator.standard_normal(9)
    mujoco.mj_forward(model, data)
    policy.reset()
    total = 0.0
    for _ in range(CHEETAH_STEPS):
        action = policy(np.concatenate([data.qpos[1:], data.qvel]))
        before = data.qpos[0]
        data.ctrl[:] = action
        mujoco.mj_step(model, data, CHEETAH_SKIP)
        # HalfCheetah-v5: forward velocity minus control cost
        total += (data.qpos[0] - before) / (CHEETAH_SKIP * model.opt.timestep) - 0.1 * float(np.square(action).sum())
    return float(total)


if __name__ == "__main__":
    runs.main(__doc__, {"exported": measure_exported, "sim_to_sim": measure_sim_to_sim}, {"latency": latency})
