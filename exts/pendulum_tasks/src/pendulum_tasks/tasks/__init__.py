# SPDX-License-Identifier: BSD-3-Clause
"""Task registrations of the project."""

from isaaclab_tasks.utils import import_packages  # pyright: ignore[reportMissingImports]

import_packages(__name__, ["utils", ".mdp"])
