# SPDX-License-Identifier: BSD-3-Clause
"""How episodes are run where nobody says otherwise."""

PLAYED_EPISODES = 10
"""Episodes of a policy that is played."""

MOST_ENVS = 64
"""Environments stepped together, at most; fewer where there are fewer episodes."""

EVALUATION_SEED = 10_000
"""Seed of evaluations, apart from those of trainings, which count from the run's seed."""
