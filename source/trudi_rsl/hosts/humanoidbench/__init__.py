# SPDX-License-Identifier: BSD-3-Clause
"""HumanoidBench's tasks, which are Gymnasium's with habits of their own."""
