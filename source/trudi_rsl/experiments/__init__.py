# SPDX-License-Identifier: BSD-3-Clause
"""Many training runs from one file: planning, running, resuming and reporting them."""
