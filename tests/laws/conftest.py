# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures of the laws."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture
def float64() -> Iterator[None]:
    """Create modules and tensors in float64, for comparisons with closed forms."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)
