# SPDX-License-Identifier: BSD-3-Clause
"""The command ``trudi``: one module per subcommand, each with ``main(argv)``, which ``program`` calls.

A module imports at its top only what ``--help`` needs, so that wrong flags are refused before torch is imported.
"""
