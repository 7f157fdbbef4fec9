# SPDX-License-Identifier: BSD-3-Clause
"""Settings that every test shares: thread caps, seeds, and skipping what the machine cannot run."""

import os
import signal
import tempfile
from collections.abc import Iterator

# Workers of xdist share the cores; torch reads this at import. The tests' subprocesses inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# What commands keep for later starts; workers and subprocesses inherit it.
os.environ.setdefault("TRUDI_CACHE", tempfile.mkdtemp(prefix="trudi_cache_"))

import hypothesis
import pytest
import torch

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

# Shells start background jobs with Ctrl-C ignored. Child processes inherit that, and tests interrupt some of theirs.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The first call into torch may take seconds, so a deadline per example would measure the machine.
hypothesis.settings.register_profile("trudi", deadline=None, derandomize=bool(os.environ.get("CI")))
hypothesis.settings.load_profile("trudi")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--nightly``, which also runs the tests that repeat a claim on further tasks and algorithms."""
    parser.addoption("--nightly", action="store_true", help="also run the tests marked `nightly`")


@pytest.fixture(autouse=True)
def _seed() -> None:
    """Make each test's random numbers independent of which tests ran before it."""
    torch.manual_seed(0)


@pytest.fixture
def float64() -> Iterator[None]:
    """Create modules and tensors in float64, for comparisons with closed forms."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests marked `cuda` on a machine without a CUDA device, and those marked `nightly` without the flag."""
    if item.get_closest_marker("nightly") and not item.config.getoption("--nightly"):
        pytest.skip("needs --nightly")
    if item.get_closest_marker("cuda") and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
