# SPDX-License-Identifier: BSD-3-Clause
"""Settings of a simulator's task, read from source files: importing the simulator takes 10 to 60 s."""

from trudi_rsl.hosts.reading.names import Reading, check_names
from trudi_rsl.hosts.reading.tasks import find_registration, registered_names

__all__ = ["Reading", "check_names", "find_registration", "registered_names"]
