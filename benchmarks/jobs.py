# SPDX-License-Identifier: BSD-3-Clause
"""The training runs behind the tables of docs/results.md."""

from __future__ import annotations

from dataclasses import dataclass, field

HALF_CHEETAH = "HalfCheetah-v5"
OTHER_TASKS = ("Hopper-v5", "Walker2d-v5", "Ant-v5")
ALGORITHMS = ("trudi", "reppo", "dime", "ppo", "spo", "dppo", "fpo")
FIVE_SEEDS = ("trudi", "reppo", "ppo")
"""Algorithms that have five seeds where all are compared; the others have three."""
ALL_COMPARED = (HALF_CHEETAH, "Hopper-v5", "Ant-v5")
"""Tasks on which all algorithms are compared; on the others TruDi and PPO are, with three seeds."""
TABLES = (
    "halfcheetah",
    "tasks",
    "ablation",
    "chains",
    "gradients",
    "amortised",
    "steps",
    "eps",
    "wallclock",
    "long",
    "cost",
)

PATHWISE = ("agent.algorithm.actor_gradient=pathwise", "agent.algorithm.num_adjoint_steps=0")
"""The paper's gradient. All but the preset's own runs have it, so that a table compares one thing."""

ABLATION: dict[str, tuple[str, ...]] = {
    "learning rate 3e-4": ("agent.algorithm.learning_rate=0.0003",),
    "no feature-prediction loss": ("agent.algorithm.aux_loss_coef=0.0",),
    "value range auto": ("agent.algorithm.value_range=auto",),
    "fresh chains, K = 1": ("agent.algorithm.kl_chains=fresh",),
    "rollouts of 128 steps": (
        "agent.num_steps_per_env=128",
        "agent.algorithm.num_mini_batches=64",
        "agent.max_iterations=38",
    ),
    "episodes start together": ("agent.init_at_random_ep_len=false",),
    "2 epochs": ("agent.algorithm.num_learning_epochs=2",),
    "entropy target -1 per dim": ("agent.algorithm.entropy_target_per_dim=-1.0",),
    "critic width 256": ("agent.algorithm.critic_hidden_dim=256",),
    "trust region 0.4": ("agent.algorithm.kl_bound=0.4",),
    "mean-only path KL": ("agent.algorithm.kl_estimator=mean_only",),
    "residual score network": ("agent.algorithm.residual=true",),
}
"""One change each from the HalfCheetah preset with the pathwise gradient."""

CHAINS: dict[str, tuple[str, ...]] = {
    "stored": PATHWISE,
    "fresh, K = 1": (*PATHWISE, "agent.algorithm.kl_chains=fresh"),
    "fresh, K = 4": (*PATHWISE, "agent.algorithm.kl_chains=fresh", "agent.algorithm.num_kl_chains=4"),
}
"""Where the chains of the path KL come from, and how many there are per state."""
ACTOR_GRADIENTS: dict[str, tuple[str, ...]] = {
    "adjoint, 8 steps": ("agent.algorithm.actor_gradient=adjoint", "agent.algorithm.num_adjoint_steps=0"),
    "adjoint, 4 steps": ("agent.algorithm.actor_gradient=adjoint", "agent.algorithm.num_adjoint_steps=4"),
}
"""Beside the stored chains of :data:`CHAINS`, which are the same runs with the pathwise gradient."""
AMORTISED: dict[str, tuple[str, ...]] = {
    "state encoder": (
        *PATHWISE,
        "agent.algorithm.state_encoder_dims=[128,128,128]",
        "agent.algorithm.actor_hidden_dims=[64,64]",
    ),
}
"""The preset's network moved into the state encoder, and a small one in front of every denoising step."""
STEPS: dict[str, tuple[str, ...]] = {
    f"N = {n}": (*PATHWISE, f"agent.algorithm.num_denoise_steps={n}") for n in (1, 4, 16, 32)
}
"""Denoising steps; 8 are the stored chains of :data:`CHAINS`."""
TRUST_REGION: dict[str, tuple[str, ...]] = {
    f"eps = {eps:g}": (*PATHWISE, f"agent.algorithm.kl_bound={eps}") for eps in (0.01, 0.2, 0.4, 1.0, 50.0)
}
"""Bounds on the path KL in nats per state; 0.1 are the stored chains of :data:`CHAINS`."""
WALL_CLOCK: dict[str, int] = {"trudi": 200, "reppo": 200, "ppo": 489}
"""Iterations of 2048 environment steps: a million for PPO."""
LONG_TASK, LONG_ITERATIONS = "Ant-v5", 489
"""A million environment steps of the task on which nothing walks after 300k."""
LONG_ALGORITHMS = ("trudi", "reppo", "ppo")
FREE_CONTROL = ("env.env_kwargs.ctrl_cost_weight=0.0",)
"""That task without its control cost, which under wide exploration outweighs the reward for staying up."""
FREE_CONTROL_CHANGES: dict[str, tuple[str, ...]] = {
    "pathwise gradient": PATHWISE,
    "eps = 0.4": ("agent.algorithm.kl_bound=0.4",),
    "pathwise, eps = 0.4": (*PATHWISE, "agent.algorithm.kl_bound=0.4"),
    "entropy target -2 per dim": ("agent.algorithm.entropy_target_per_dim=-2.0",),
}
"""What may hold TruDi back there, where REPPO is ahead."""
COMPARED_TASKS = (HALF_CHEETAH, "Hopper-v5")
THIRD_TASK = "Walker2d-v5"
"""Where the preset's gradient and the pathwise one alone are compared."""


@dataclass(frozen=True)
class Job:
    """One training run."""

    table: str
    task: str
    algo: str
    seed: int
    variant: str = "preset"
    overrides: tuple[str, ...] = field(default=())

    @property
    def name(self) -> str:
        """Unique name of the run, and of its result file."""
        variant = "".join(c if c.isalnum() else "-" for c in self.variant)
        return f"{self.table}_{self.task}_{self.algo}_{variant}_seed{self.seed}"


def seeds_of(task: str, algo: str) -> int:
    """Return how many seeds an algorithm's preset has on a task."""
    if task not in ALL_COMPARED:
        return 3 if algo in ("trudi", "ppo") else 0
    return 5 if algo in FIVE_SEEDS else 3


def learning_jobs(tables: set[str]) -> list[Job]:
    """Return the runs of the chosen tables, :data:`TABLES`."""
    jobs = []
    for table, tasks in (("halfcheetah", (HALF_CHEETAH,)), ("tasks", OTHER_TASKS)):
        if table in tables:
            jobs += [
                Job(table, task, algo, seed)
                for seed in range(1, 6)
                for task in tasks
                for algo in ALGORITHMS
                if seed <= seeds_of(task, algo)
            ]
    if "ablation" in tables:
        jobs += [
            Job("ablation", HALF_CHEETAH, "trudi", seed, variant, (*PATHWISE, *overrides))
            # seed by seed, so that an interrupted benchmark compares the variants over the same seeds
            for seed in range(1, 6)
            for variant, overrides in ABLATION.items()
        ]
    if "long" in tables:
        iterations = (f"agent.max_iterations={LONG_ITERATIONS}",)
        jobs += [
            Job("long", LONG_TASK, algo, seed, "1M steps", iterations)
            for seed in range(1, 4)
            for algo in LONG_ALGORITHMS
        ]
    if "cost" in tables:
        jobs += [
            Job("cost", LONG_TASK, algo, seed, "no control cost", FREE_CONTROL)
            for seed in range(1, 4)
            for algo in LONG_ALGORITHMS
        ]
        jobs += [
            Job("cost", LONG_TASK, "trudi", seed, f"no control cost, {change}", (*FREE_CONTROL, *overrides))
            for seed in range(1, 4)
            for change, overrides in FREE_CONTROL_CHANGES.items()
        ]
    if "wallclock" in tables:
        jobs += [
            # seed by seed, so that what is compared ran under the same conditions
            Job(
                "wallclock", HALF_CHEETAH, algo, seed, "2 threads", (f"agent.max_iterations={n}", "agent.num_threads=2")
            )
            for seed in range(1, 6)
            for algo, n in WALL_CLOCK.items()
        ]
    for table, variants, seeds in (
        ("chains", CHAINS, 5),
        ("gradients", ACTOR_GRADIENTS, 5),
        ("amortised", AMORTISED, 3),
        ("steps", STEPS, 3),
        ("eps", TRUST_REGION, 3),
    ):
        if table in tables:
            jobs += [
                Job(table, task, "trudi", seed, variant, overrides)
                for seed in range(1, seeds + 1)
                for task in _tasks_of(table)
                for variant, overrides in variants.items()
                if task != THIRD_TASK or variant in ("stored", "adjoint, 4 steps")
            ]
    return jobs


def _tasks_of(table: str) -> tuple[str, ...]:
    return (HALF_CHEETAH,) if table in ("steps", "eps") else (*COMPARED_TASKS, THIRD_TASK)
