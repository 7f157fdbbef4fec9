# SPDX-License-Identifier: BSD-3-Clause
"""What is asked of any RSL-RL environment: action bounds, description, progress, resets."""
