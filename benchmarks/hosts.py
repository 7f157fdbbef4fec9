# SPDX-License-Identifier: BSD-3-Clause
"""TruDi and PPO under Isaac Lab 3.0 and mjlab on a CPU, by the hosts' own train commands.

Run it with the Python of an environment that has this package and the host. Isaac Lab needs ISAACSIM_ASSET_ROOT, a
folder with the robots' assets (tests/hosts/isaaclab_3_0/assets builds one). A run with a stored record is skipped.

    python benchmarks/hosts.py --tables isaaclab
    python benchmarks/hosts.py --tables mjlab
"""

from __future__ import annotations

import resource
import sys
import tempfile
from pathlib import Path

from results import Record, versions
from runs import LOGGED, Job, learning_curve, main, train

from trudi_rsl.config.event_file import read_run
from trudi_rsl.evaluation.identify import newest_checkpoint
from trudi_rsl.evaluation.policies import load_policy
from trudi_rsl.evaluation.samplers import SamplerCfg
from trudi_rsl.hosts.isaaclab.registration import PPO_KEY, TRUDI_KEY

ISAACLAB_ENVS, MJLAB_ENVS = 64, 128
TRUDI_ROLLOUT, PPO_ROLLOUTS = 32, {"Isaac-Cartpole": 16, "Isaac-Ant": 32}
"""Steps per environment and iteration in Isaac Lab; PPO's are the tasks' own."""
EVALUATION_EPISODES, EVALUATION_SEED = 32, 1000
EXPORTED = {"trudi": SamplerCfg("ode", initial_latent="zeros"), "reppo": SamplerCfg("ode"), "ppo": SamplerCfg("ode")}
"""The samplers that exported policies use."""


def measure_isaaclab(job: Job) -> Record:
    """Train one run under Isaac Lab with Newton and return its record."""
    command = [sys.executable, "-m", "isaaclab", "train", "--rl_library", "rsl_rl", "--task", job.task]
    command += ["--agent", TRUDI_KEY if job.algo == "trudi" else PPO_KEY, "--num_envs", str(ISAACLAB_ENVS)]
    command += ["--seed", str(job.seed), "--device", "cpu", "--max_iterations", str(job.iterations)]
    command += ["physics=newton_mjwarp", "agent.device=cpu", *job.overrides]
    rollout = TRUDI_ROLLOUT if job.algo == "trudi" else PPO_ROLLOUTS[job.task]
    with tempfile.TemporaryDirectory() as folder:
        run, seconds = train(command, Path(folder))
        return {
            **job.record(),
            "num_envs": ISAACLAB_ENVS,
            **learning_curve(read_run(run, LOGGED), ISAACLAB_ENVS * rollout),
            "wall_clock_s": round(seconds, 1),
            "versions": versions("torch", "rsl-rl-lib", "isaaclab", "newton", "mujoco-warp"),
        }


def measure_mjlab(job: Job) -> Record:
    """Train and evaluate one run under mjlab and return its record."""
    from trudi_rsl.hosts.mjlab.task import find_task

    rollout = find_task(job.task, job.algo).agent_cfg().num_steps_per_env
    with tempfile.TemporaryDirectory() as folder:
        run, seconds = train(job.command("--num_envs", str(MJLAB_ENVS)), Path(folder))
        # unlike wall-clock time, it compares between runs that shared the machine with other work
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return {
            **job.record(),
            "num_envs": MJLAB_ENVS,
            "num_steps_per_env": rollout,
            **learning_curve(read_run(run, LOGGED), MJLAB_ENVS * rollout),
            "evaluation": mjlab_returns(newest_checkpoint(run), job),
            "wall_clock_s": round(seconds, 1),
            "cpu_s": round(usage.ru_utime + usage.ru_stime, 1),
            "versions": versions("torch", "rsl-rl-lib", "mjlab", "mujoco-warp", "warp-lang"),
        }


def mjlab_returns(checkpoint: Path, job: Job) -> list[float]:
    """Return the episode returns of the policy as exported, without noise on its observations."""
    from mjlab.envs import ManagerBasedRlEnv  # pyright: ignore[reportMissingImports]

    from trudi_rsl.evaluation.episodes import evaluate
    from trudi_rsl.hosts.mjlab.play import PlayedEnv, agent_cfg, playing_cfg
    from trudi_rsl.hosts.mjlab.task import find_task
    from trudi_rsl.runners import OnPolicyRunner

    task = find_task(job.task, job.algo)
    agent = agent_cfg(task, checkpoint)
    simulator = ManagerBasedRlEnv(playing_cfg(task, EVALUATION_EPISODES, EVALUATION_SEED), "cpu")
    env = PlayedEnv(simulator, job.task, agent["clip_actions"])
    policy = load_policy(checkpoint, task.algo, env, agent, EXPORTED[job.algo], "cpu", OnPolicyRunner)
    return evaluate(env, policy, EVALUATION_EPISODES, progress=False).returns.tolist()


if __name__ == "__main__":
    main(__doc__, {"isaaclab": measure_isaaclab, "mjlab": measure_mjlab})
