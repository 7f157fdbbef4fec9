# SPDX-License-Identifier: BSD-3-Clause
"""Training loops."""

from trudi_rsl.runners.on_policy_runner import OnPolicyRunner

__all__ = ["OnPolicyRunner"]
