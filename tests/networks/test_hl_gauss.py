# SPDX-License-Identifier: BSD-3-Clause
"""HL-Gauss: histogram codes of scalars."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trudi_rsl.networks import HLGauss

INTERIOR = 5.0
"""Distance from the ends, in bins, from which the Gaussian's cut-off tail no longer shows (6.7 of its sigmas)."""


def float64_code(vmin: float, vmax: float, num_bins: int) -> HLGauss:
    code = HLGauss(vmin, vmax, num_bins).double()
    code.grid = torch.linspace(0.0, 1.0, num_bins, dtype=torch.float64)
    return code


def bin_width(code: HLGauss) -> torch.Tensor:
    return (code.vmax - code.vmin) / (code.num_bins - 1)


@given(
    vmin=st.floats(-1000.0, 0.0), width=st.floats(1.0, 2000.0), num_bins=st.integers(21, 200), share=st.floats(0.0, 1.0)
)
def test_decode_of_encode_is_the_identity_in_the_interior(
    vmin: float, width: float, num_bins: int, share: float
) -> None:
    """To 5e-6 bins.

    Not exact: reading a bin's mass at its centre is wrong by the Poisson sum's first term,
    ``w/pi exp(-2 pi^2 sigma^2 / w^2) = 4.8e-6 w`` at ``sigma = 0.75 w``.
    """
    code = float64_code(vmin, vmin + width, num_bins)
    w = bin_width(code)
    y = code.vmin + w * (INTERIOR + share * (num_bins - 1 - 2 * INTERIOR))
    assert (code.decode(code.encode(y)) - y).abs() < 5e-6 * w


def test_values_near_the_ends_are_pulled_inwards_by_less_than_half_a_bin_and_keep_their_order() -> None:
    """The Gaussian is cut half a bin beyond the outer centre, and the remaining mass is normalised."""
    code = float64_code(-10.0, 10.0, 21)
    ends = torch.stack([code.vmin, code.vmax])
    pull = (code.decode(code.encode(ends)) - ends) / bin_width(code)
    assert 0.2 < pull[0] < 0.5
    torch.testing.assert_close(pull[1], -pull[0])
    decoded = code.decode(code.encode(torch.linspace(-10.0, 10.0, 500, dtype=torch.float64)))
    assert (decoded.diff() > 0.0).all()


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_rows_are_distributions(values: list[float]) -> None:
    code = HLGauss(-10.0, 30.0, 151)
    rows = code.encode(torch.tensor(values))
    assert rows.shape == (len(values), 151)
    assert (rows >= 0.0).all()
    torch.testing.assert_close(rows.sum(-1), torch.ones(len(values)))


def test_values_outside_the_range_are_coded_as_its_ends() -> None:
    code = HLGauss(-10.0, 30.0, 151)
    outside, ends = torch.tensor([-1e4, 1e4]), torch.tensor([-10.0, 30.0])
    torch.testing.assert_close(code.encode(outside), code.encode(ends), rtol=0, atol=0)
    assert code.clipped(outside).all()
    assert not code.clipped(ends).any()


def test_code_is_a_gaussian_of_three_quarters_of_a_bin() -> None:
    code = float64_code(-10.0, 10.0, 201)
    y = torch.tensor(1.234, dtype=torch.float64)
    p, centers, w = code.encode(y), code.centers(), bin_width(code)
    # a bin adds the variance w^2 / 12 of a uniform distribution
    variance = (p * (centers - y).square()).sum()
    torch.testing.assert_close(variance, (0.75 * w).square() + w.square() / 12, rtol=1e-4, atol=0)


def test_widened_range_keeps_centres_evenly_spaced_and_travels_with_the_state() -> None:
    code = HLGauss(-10.0, 10.0, 5)
    code.set_range(-20.0, torch.tensor(60.0))
    torch.testing.assert_close(code.centers(), torch.tensor([-20.0, 0.0, 20.0, 40.0, 60.0]))
    other = HLGauss(0.0, 1.0, 5)
    other.load_state_dict(code.state_dict())
    torch.testing.assert_close(other.centers(), code.centers())


@pytest.mark.parametrize(
    ("vmin", "vmax", "bins"), [(1.0, 1.0, 51), (2.0, 1.0, 51), (0.0, 1.0, 1), (0.0, float("nan"), 51)]
)
def test_impossible_ranges_are_refused(vmin: float, vmax: float, bins: int) -> None:
    with pytest.raises(ValueError, match=r"vmin must be below vmax|num_bins must be at least 2"):
        HLGauss(vmin, vmax, bins)
