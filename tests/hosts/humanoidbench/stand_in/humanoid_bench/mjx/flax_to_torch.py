# SPDX-License-Identifier: BSD-3-Clause
"""The import that keeps HumanoidBench from working without JAX."""

import jax.numpy as jnp  # pyright: ignore[reportMissingImports]

__all__ = ["jnp"]
