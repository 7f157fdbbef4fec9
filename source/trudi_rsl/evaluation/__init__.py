# SPDX-License-Identifier: BSD-3-Clause
"""Running trained policies, and what to say about the results."""
