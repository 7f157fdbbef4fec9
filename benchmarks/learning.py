# SPDX-License-Identifier: BSD-3-Clause
"""Train and evaluate the runs behind the learning tables, as ``plan.yaml`` lists them.

    python benchmarks/learning.py --workers 2
    python benchmarks/learning.py --tables isaaclab
    python benchmarks/learning.py --tables mjlab
    python benchmarks/learning.py --tables playground
    python benchmarks/learning.py --tables maniskill
    python benchmarks/learning.py --tables humanoidbench
    python benchmarks/learning.py --tables multimodality

Every run is the command that a user would type, on one thread. A run with a stored record is skipped, so an interrupted
benchmark continues. The tables named after a host need the Python of an environment with this package and the host, and
``isaaclab`` needs ISAACSIM_ASSET_ROOT, a folder with the robots' assets (tests/hosts/isaaclab_3_0/assets builds one).
"""

from __future__ import annotations

import functools
import resource
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from results import EXPORTED, PACKAGES, ROOT, Record, versions
from runs import LOGGED, QUICK_ITERATIONS, Job, learning_curve, main, settings_of, train

from trudi_rsl.config import load_params
from trudi_rsl.config.event_file import read_run
from trudi_rsl.config.run_folder import newest_checkpoint
from trudi_rsl.evaluation.behaviour import measure_behaviour
from trudi_rsl.evaluation.episodes import evaluate
from trudi_rsl.evaluation.identify import read_subject
from trudi_rsl.evaluation.measurement import Evaluation, EvaluationCfg
from trudi_rsl.evaluation.policies import load_policy
from trudi_rsl.evaluation.samplers import GAUSSIAN_POLICIES, SamplerCfg
from trudi_rsl.hosts.registry import SIMULATION
from trudi_rsl.runners import OnPolicyRunner

TABLES = ("halfcheetah", "tasks", "ablation", "chains", "gradients", "amortised", "steps", "eps", "wallclock")
TABLES += ("long", "cost", "prior", "humanoid", "million", "symmetry", "images", "memory")
EPISODES, EVALUATION_SEED = 32, 1000
SAMPLERS = {
    "sde": SamplerCfg("sde"),
    "ode": SamplerCfg("ode", initial_latent="random"),
    EXPORTED: SamplerCfg("ode", initial_latent="zeros"),
}
GAUSSIAN_SAMPLERS = {"sde": SamplerCfg("sde"), EXPORTED: SamplerCfg("ode")}
"""A Gaussian's sample and mean, under the names of their counterparts."""
ISAACLAB_ENVS, MJLAB_ENVS = 64, 128
TRUDI_ROLLOUT, PPO_ROLLOUTS = 32, {"Isaac-Cartpole": 16, "Isaac-Ant": 32}
"""Steps per environment and iteration in Isaac Lab; PPO's are the tasks' own."""
BEHAVIOUR_SAMPLERS = {
    "ODE": SamplerCfg("ode"),
    "ODE, c = 0.5": SamplerCfg("ode", score_scale=0.5),
    "SDE": SamplerCfg("sde"),
}
"""Only policies with a score have a score scale c."""
HOSTS = {
    "playground": ("torch", "rsl-rl-lib", "playground", "jax", "mujoco-mjx"),
    "maniskill": ("torch", "rsl-rl-lib", "mani-skill", "sapien", "gymnasium"),
    "humanoidbench": ("torch", "rsl-rl-lib", "humanoid-bench", "gymnasium", "mujoco"),
}
"""Tables of other hosts, whose slow simulators evaluate exported policies only, and the packages that matter there."""
GAUSSIAN_BEHAVIOUR_SAMPLERS = {"mean": SamplerCfg("ode"), "sample": SamplerCfg("sde")}
PICTURED = {("trudi", "alpha from 0.01"): "trudi_alpha", ("reppo", "preset"): "reppo"}
"""Algorithm and variant of the runs whose first seed is drawn, and the suffix of their picture."""
ANT_PARTS = ("reward_survive", "reward_ctrl", "reward_forward", "reward_contact")


def evaluate_run(run: Path, kept: Sequence[str] = tuple(SAMPLERS)) -> dict[str, list[float]]:
    """Return the episode returns of the trained policy with those of its samplers that are kept."""
    subject, cfg = read_subject(newest_checkpoint(run)), EvaluationCfg(EPISODES, seed=EVALUATION_SEED)
    samplers = GAUSSIAN_SAMPLERS if subject.algorithm in GAUSSIAN_POLICIES else SAMPLERS
    chosen = {name: sampler for name, sampler in samplers.items() if name in kept}
    return {name: Evaluation(subject, sampler, cfg, SIMULATION).run().returns for name, sampler in chosen.items()}


def measure(job: Job, packages: Sequence[str] = PACKAGES, samplers: Sequence[str] = tuple(SAMPLERS)) -> Record:
    """Train one run, evaluate it with ``samplers``, and return its record, with the versions of ``packages``."""
    with tempfile.TemporaryDirectory() as folder:
        run, seconds = train(job.command("agent.evaluation_episodes=null"), Path(folder))
        log = read_run(run, LOGGED)
        clipped = log.scalars.get("Loss/clipped_targets")
        curve = learning_curve(log)
        if job.variant != "2 threads":
            # these runs share the machine, so their times do not compare
            del curve["seconds"]
        return {
            **job.record(),
            "config": settings_of(load_params(run)),
            **curve,
            "mean": {tag: float(values.mean()) for tag, (_, values) in sorted(log.scalars.items())},
            "clipped_targets_max": None if clipped is None else float(clipped[1].max()),
            "wall_clock_s": round(seconds, 1),
            "evaluation": evaluate_run(run, samplers),
            "versions": versions(*packages),
        }


def measure_isaaclab(job: Job) -> Record:
    """Train one run under Isaac Lab with Newton, by Isaac Lab's own command, and return its record."""
    from trudi_rsl.hosts.isaaclab.registration import PPO_KEY, TRUDI_KEY

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
    """Train one run under mjlab, evaluate it as exported, without noise on its observations, and return its record."""
    from mjlab.envs import ManagerBasedRlEnv  # pyright: ignore[reportMissingImports]

    from trudi_rsl.hosts.mjlab.play import PlayedEnv, agent_cfg, playing_cfg
    from trudi_rsl.hosts.mjlab.task import find_task

    task = find_task(job.task, job.algo)
    rollout = task.agent_cfg().num_steps_per_env
    with tempfile.TemporaryDirectory() as folder:
        run, seconds = train(job.command("--num_envs", str(MJLAB_ENVS)), Path(folder))
        # unlike wall-clock time, it compares between runs that shared the machine with other work
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        checkpoint = newest_checkpoint(run)
        agent = agent_cfg(task, checkpoint)
        simulator = ManagerBasedRlEnv(playing_cfg(task, EPISODES, EVALUATION_SEED), "cpu")
        env = PlayedEnv(simulator, job.task, agent["clip_actions"])
        sampler = (GAUSSIAN_SAMPLERS if job.algo in GAUSSIAN_POLICIES else SAMPLERS)[EXPORTED]
        policy = load_policy(checkpoint, task.algo, env, agent, sampler, "cpu", OnPolicyRunner)
        return {
            **job.record(),
            "num_envs": MJLAB_ENVS,
            "num_steps_per_env": rollout,
            **learning_curve(read_run(run, LOGGED), MJLAB_ENVS * rollout),
            "evaluation": evaluate(env, policy, EPISODES, progress=False).returns.tolist(),
            "wall_clock_s": round(seconds, 1),
            "cpu_s": round(usage.ru_utime + usage.ru_stime, 1),
            "versions": versions("torch", "rsl-rl-lib", "mjlab", "mujoco-warp", "warp-lang"),
        }


def measure_multimodality(job: Job) -> Record:
    """Train one run and return its behaviour with each sampler of its policy."""
    from trudi_rsl.tasks import find_modes  # needs Gymnasium, which Playground's environment does not have

    with tempfile.TemporaryDirectory() as folder:
        run, seconds = train(job.command("agent.evaluation_episodes=null"), Path(folder))
        checkpoint, params = newest_checkpoint(run), load_params(run)
        subject, modes = read_subject(checkpoint), find_modes(job.task)
        samplers = GAUSSIAN_BEHAVIOUR_SAMPLERS if job.algo in GAUSSIAN_POLICIES else BEHAVIOUR_SAMPLERS
        found = {
            name: measure_behaviour(subject, modes, SIMULATION, sampler=cfg, progress=False)
            for name, cfg in samplers.items()
            if cfg.score_scale is None or job.algo in ("trudi", "dime")
        }
        picture = PICTURED.get((job.algo, job.variant))
        if picture and job.seed == 1 and job.iterations != QUICK_ITERATIONS:
            next(iter(found.values())).figure().savefig(ROOT / "docs" / f"modes_{picture}.png", dpi=130)
    return {
        **job.record(),
        "config": settings_of(params),
        "env_steps": params.agent.max_iterations * params.agent.num_steps_per_env * params.env.num_envs,
        "wall_clock_s": round(seconds, 1),
        "behaviour": {
            name: {key: value for key, value in of.behaviour.to_dict().items() if key != "runs"}
            for name, of in found.items()
        },
        "versions": versions("torch", "rsl-rl-lib", "gymnasium"),
    }


def ant_baselines(quick: bool) -> Record:
    """Return what Ant-v5 pays without learning: means over episodes, and over steps of the parts of the reward."""
    import gymnasium

    env, episodes, policies = gymnasium.make("Ant-v5"), 1 if quick else EPISODES, {}
    for name, scale in (("doing nothing", 0.0), ("uniform random actions", 1.0)):
        noise = np.random.default_rng(0)
        returns, lengths, parts = [], [], {part: [] for part in ANT_PARTS}
        for seed in range(episodes):
            env.reset(seed=seed)
            rewards, over = [], False
            while not over:
                actions = scale * noise.uniform(-1.0, 1.0, env.action_space.shape)
                _, reward, terminated, truncated, info = env.step(actions)
                rewards.append(float(reward))
                over = terminated or truncated
                for part, values in parts.items():
                    values.append(float(info[part]))
            returns.append(sum(rewards))
            lengths.append(len(rewards))
        policies[name] = {"return": round(statistics.mean(returns), 1), "length": round(statistics.mean(lengths), 1)}
        policies[name] |= {part: round(statistics.mean(values), 3) for part, values in parts.items()}
    return {"task": "Ant-v5", "episodes": episodes, "policies": policies, "versions": versions("gymnasium", "mujoco")}


if __name__ == "__main__":
    tables = {f"learning/{table}": measure for table in TABLES} | {"multimodality": measure_multimodality}
    tables |= dict.fromkeys(("isaaclab", "isaaclab_gradients"), measure_isaaclab)
    tables |= dict.fromkeys(("mjlab", "mjlab_gradients"), measure_mjlab)
    measure_exported = functools.partial(measure, samplers=[EXPORTED])
    tables |= {host: functools.partial(measure_exported, packages=packages) for host, packages in HOSTS.items()}
    main(__doc__, tables, {"ant_baselines": ant_baselines}, workers=2)
