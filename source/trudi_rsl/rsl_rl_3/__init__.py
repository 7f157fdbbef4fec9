# SPDX-License-Identifier: BSD-3-Clause
"""RSL-RL 3, whose runner builds a policy and hands it to the algorithm."""
