# SPDX-License-Identifier: BSD-3-Clause
"""The speed benchmark measures every planned cell, and counts the FLOPs of the layers' shapes."""

from pathlib import Path
from typing import Any

import figures
import pytest
import torch
from report import markdown
from results import Results
from speed import measure
from speed_plan import Shape, Sizes, Variant, plan
from speed_subjects import counted_flops, parts, trained_trudi
from speed_tables import speed_parts, speed_sampling, speed_update

from trudi_rsl.diffusion.score_network import NUM_FREQUENCIES, TIME_EMBEDDING_DIM, TIME_HIDDEN_DIM

SHAPE = Shape(4, 2, num_obs=5, num_actions=3, width=8, num_denoise_steps=2, num_mini_batches=2, num_epochs=1)
TINY = Sizes(
    acting=SHAPE,
    learning=SHAPE,
    env_counts=(1, 4),
    denoise_steps=(2,),
    mini_batches=(2, 4),
    modes=("eager",),
    precisions=("fp32", "bf16"),
    factors=(2,),
    seconds=1e-3,
)


@pytest.fixture(autouse=True)
def _small_ceiling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("speed_subjects.BIG_GEMM", {"cpu": 8})
    monkeypatch.setattr("speed_subjects.GEMM_SECONDS", 1e-3)


@pytest.mark.slow
@pytest.mark.nightly
def test_every_planned_cell_is_measured_and_reported(tmp_path: Path) -> None:
    cells = plan(TINY)
    assert len({(cell.section, cell.name) for cell in cells}) == len(cells)
    results = Results(tmp_path)
    measure(results, "cpu", TINY, threads=1)
    run: dict[str, Any] = results.read("speed_cpu")["runs"]["1 thread"]
    for cell in cells:
        record = run[cell.section][cell.name]
        assert "skipped" not in record, f"{cell.name}: {record}"
        timed = [record[part] for part in ("sampling", "update")] if cell.section == "sweeps" else [record]
        assert all(0 < each["ms"]["q25"] <= each["ms"]["median"] <= each["ms"]["q75"] for each in timed)
    page = "".join(markdown(rows(results, "cpu")) for rows in (speed_sampling, speed_update, speed_parts))
    assert all(cell.name in page for cell in cells if cell.section == "update")
    figures.speed_sampling(results.read("speed_cpu")["runs"], tmp_path / "sampling.png")
    figures.speed_growth(results.read("speed_cpu")["runs"], tmp_path / "growth.png")


def test_flops_of_the_path_kl_are_those_of_its_layers() -> None:
    states, steps, obs, actions, width = SHAPE.batch, SHAPE.num_denoise_steps, SHAPE.num_obs, SHAPE.num_actions, 8
    from_data = states * obs * width + steps * states * actions * width
    inside = steps * (2 * NUM_FREQUENCIES * TIME_HIDDEN_DIM + (TIME_HIDDEN_DIM + width) * TIME_EMBEDDING_DIM)
    inside += steps * states * (2 * width * width + width * actions)
    # a product forward, one backward for its weights, and one for its input unless that is data
    expected = 2 * (2 * from_data + 3 * inside)
    assert counted_flops(parts(trained_trudi(SHAPE, Variant(), "cpu"))["path KL"]) == expected


def test_updates_of_a_subject_change_no_weight() -> None:
    alg = trained_trudi(SHAPE, Variant(), "cpu")
    before = [p.clone() for p in alg.actor_critic.parameters()]
    alg.update()
    torch.testing.assert_close(list(alg.actor_critic.parameters()), before, rtol=0, atol=1e-10)
