# SPDX-License-Identifier: BSD-3-Clause
"""Checkpoints: one format, one file reader and writer, rebuilding, resuming, and which ones are kept."""
