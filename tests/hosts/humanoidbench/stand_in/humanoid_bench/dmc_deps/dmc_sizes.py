# SPDX-License-Identifier: BSD-3-Clause
"""Sizes of the arrays in MuJoCo's structs, of which one is of an old version."""

array_sizes = {
    "mjmodel": {"body_pos": ("nbody", 3), "dropped_by_later_versions": ("nbody",)},
    "mjdata": {"qpos": ("nq",)},
}
