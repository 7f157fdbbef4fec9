# SPDX-License-Identifier: BSD-3-Clause
"""mjlab. Importing this package registers a TruDi task beside each of its tasks."""

from trudi_rsl.hosts.mjlab import registration as registration
