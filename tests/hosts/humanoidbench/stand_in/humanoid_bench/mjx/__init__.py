# SPDX-License-Identifier: BSD-3-Clause
"""Weights of hierarchical policies, converted from JAX."""
