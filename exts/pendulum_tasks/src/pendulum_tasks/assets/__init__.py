# SPDX-License-Identifier: BSD-3-Clause
"""The project's own assets."""

from pathlib import Path

PENDULUM_TASKS_ASSETS_DIR = Path(__file__).resolve().parent / "data"
"""Path to the project's asset files."""
