# SPDX-License-Identifier: BSD-3-Clause
"""Whole episodes of a policy in a vectorised environment, for trainings that evaluate and for evaluations."""

from trudi_rsl.episodes.running import EpisodeResults, Policy, evaluate

__all__ = ["EpisodeResults", "Policy", "evaluate"]
