# SPDX-License-Identifier: BSD-3-Clause
"""What many evaluations say together: estimates over seeds and tasks, pictures and tables."""
