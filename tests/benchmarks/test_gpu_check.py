# SPDX-License-Identifier: BSD-3-Clause
"""The script for the first GPU runs on a CPU, as far as it needs none: there may be no second try."""

import sys
from pathlib import Path

import gpu_check
import pytest
from results import Results


def test_every_section_is_measured_and_stored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(gpu_check, "SECONDS", 1e-3)
    monkeypatch.setattr(sys, "argv", ["gpu_check.py", "--device", "cpu", "--quick", "--output", str(tmp_path)])
    gpu_check.main()
    stored = Results(tmp_path).read("gpu_check")
    assert list(stored) == ["versions", "trudi bf16", "trudi fp32", "reppo fp32", "summary"]
    assert not [name for name, found in stored.items() if "failed" in found or "left_out" in found]
    assert stored["trudi fp32"]["replay_kl"] < 1e-5 and set(stored["trudi fp32"]["ms"]) == {"act", "minibatch"}
    assert stored["summary"]["trudi_over_gaussian"]["fp32"] > 0.0


def test_a_section_that_fails_is_stored_with_its_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("CUDA error: no kernel image")

    monkeypatch.setattr(gpu_check, "training", fails)
    monkeypatch.setattr(sys, "argv", ["gpu_check.py", "--device", "cpu", "--quick", "--output", str(tmp_path)])
    gpu_check.main()
    assert "no kernel image" in Results(tmp_path).read("gpu_check")["reppo fp32"]["failed"]
