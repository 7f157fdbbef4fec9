# SPDX-License-Identifier: BSD-3-Clause
"""mjlab: TruDi beside each of its tasks, under the task's name with ``-TruDi`` behind it."""
