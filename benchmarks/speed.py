# SPDX-License-Identifier: BSD-3-Clause
"""Milliseconds per action batch and per update, memory, FLOPs and how they grow, as ``speed_plan.py`` lists them.

    python benchmarks/speed.py --device cpu --threads 1 2

Writes ``benchmarks/results/speed_<device>.json`` after every cell; sections that are not measured again stay as they
were. Run it on an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from speed_plan import SECTIONS, Cell, Sizes, plan, sizes
from speed_subjects import action_batch, check_fast, make_ppo, make_trudi, parts, trained_trudi, update_args
from throughput import processor
from timing import TooSlowError, counted_flops, device_name, measured, reached

from trudi_rsl.algorithms import TruDi

RESULTS = Path(__file__).resolve().parent / "results"
GROWTH_UPDATES = 200
MIB = 2**20


class Bench:
    """Measures cells on one device.

    Args:
        device: Where.
        chosen: How long each cell is measured.
    """

    def __init__(self, device: str, chosen: Sizes) -> None:
        self.device = device
        self.chosen = chosen

    def measure(self, cell: Cell) -> dict[str, Any]:
        """Return the record of one cell, with the reason under ``skipped`` where it cannot be measured."""
        # compiled code of other shapes would count towards torch's limit, beyond which nothing is compiled
        torch.compiler.reset()
        if torch.cuda.is_available():
            gc.collect()
            torch.cuda.empty_cache()
        of_section = {"sampling": self._sampling, "update": self._update, "sweeps": self._sweep}
        try:
            record = of_section[cell.section](cell)
        # among them that memory is exhausted, and what compilers raise
        except (TooSlowError, RuntimeError) as error:
            record = {"skipped": str(error).strip().partition("\n")[0]}
        return cell.to_dict() | record

    def _timed(self, call: Callable[[], Any]) -> Any:
        return measured(call, self.chosen.seconds, self.chosen.budget)

    def _sampling(self, cell: Cell) -> dict[str, Any]:
        # acting needs no room for a rollout
        shape, variant = replace(cell.shape, num_steps=1, num_mini_batches=1), cell.variant
        alg, env = make_trudi(shape, variant, self.device)
        timing = self._timed(action_batch(alg, env, alg._sample))
        check_fast(alg)
        flops = counted_flops(action_batch(alg, env, alg._sampled))
        return reached(timing, flops, variant.precision, self.device, shape.num_envs, shape.width)

    def _update(self, cell: Cell) -> dict[str, Any]:
        if cell.variant.actor in ("ppo", "ppo preset"):
            return self._ppo_update(cell)
        alg = trained_trudi(cell.shape, cell.variant, self.device)
        record = self._minibatch(cell, alg)
        record["update_ms"] = asdict(self._timed(alg.update))
        if cell.variant.mode != "captured":
            record["parts"] = {
                name: {"ms": asdict(self._timed(part)), "flops": counted_flops(part)}
                for name, part in parts(alg).items()
            }
        return record | self._memory(alg)

    def _minibatch(self, cell: Cell, alg: TruDi) -> dict[str, Any]:
        batch, old_steps = update_args(alg)
        timing = self._timed(lambda: alg.learner.update(batch, old_steps))
        check_fast(alg)
        flops = counted_flops(lambda: alg.learner._take_steps(batch, old_steps))
        gated = alg.learner.update(batch, old_steps)["gated_share"]
        shape, variant = cell.shape, cell.variant
        # the largest products are those of all denoising steps at once
        rows = shape.batch * (shape.num_denoise_steps if variant.actor == "diffusion" else 1)
        return reached(timing, flops, variant.precision, self.device, rows, shape.width) | {"gated_share": float(gated)}

    def _memory(self, alg: TruDi) -> dict[str, Any]:
        """Return what a whole update needs of the GPU's memory, and by how much that grows over many updates."""
        if not torch.cuda.is_available():
            return {}
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        alg.update()
        record = {
            "peak_mib": torch.cuda.max_memory_allocated() / MIB,
            # what captured graphs hold counts as reserved alone
            "reserved_mib": torch.cuda.memory_reserved() / MIB,
        }
        batch, old_steps = update_args(alg)
        before = torch.cuda.memory_allocated()
        for _ in range(GROWTH_UPDATES):
            alg.learner.update(batch, old_steps)
        return record | {f"growth_bytes_over_{GROWTH_UPDATES}_updates": torch.cuda.memory_allocated() - before}

    def _ppo_update(self, cell: Cell) -> dict[str, Any]:
        alg = make_ppo(cell.shape, cell.variant.actor == "ppo preset", self.device)
        update = asdict(self._timed(alg.update))
        updates = alg.num_learning_epochs * alg.num_mini_batches
        per_minibatch = {key: value if key == "repeats" else value / updates for key, value in update.items()}
        return {"ms": per_minibatch, "update_ms": update, "minibatch_updates": updates}

    def _sweep(self, cell: Cell) -> dict[str, Any]:
        update = self._minibatch(cell, trained_trudi(cell.shape, cell.variant, self.device))
        return {"sampling": self._sampling(cell), "update": update}


def measure_cells(
    cells: Sequence[Cell], bench: Bench, store: Callable[[Cell, dict[str, Any]], None], title: str
) -> None:
    """Measure cells one after another and hand each record to ``store``."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(elapsed_when_finished=True)) as progress:
        bar = progress.add_task(title, total=len(cells))
        for cell in cells:
            progress.update(bar, description=f"{title}: {cell.section}: {cell.name}")
            record = bench.measure(cell)
            store(cell, record)
            if "skipped" in record:
                progress.print(f"Skipped {cell.section}: {cell.name}: {record['skipped']}")
            progress.advance(bar)


class Store:
    """The result file of one device; runs are kept by thread count, then section, then cell.

    What another machine or other versions wrote is dropped, since its times would not compare.

    Args:
        path: JSON file.
        device: What was measured.
    """

    def __init__(self, path: Path, device: str) -> None:
        self.path = path
        on_gpu = torch.device(device).type == "cuda"
        machine = {
            "device": torch.cuda.get_device_name(device) if on_gpu else "cpu",
            "processor": processor(),
            "versions": {p: version(p) for p in ("torch", "rsl-rl-lib", "tensordict")},
        }
        before = json.loads(path.read_text()) if path.exists() else {}
        same = all(before.get(key) == value for key, value in machine.items())
        self.result: dict[str, Any] = before if same and before else machine | {"runs": {}}

    def begin(self, threads: int, sections: Sequence[str]) -> None:
        """Forget what there is of the sections that are about to be measured."""
        run = self._run(threads)
        for section in sections:
            run[section] = {}

    def add(self, threads: int, cell: Cell, record: dict[str, Any]) -> None:
        """Write one cell's record."""
        run = self._run(threads)
        run[cell.section][cell.name] = record
        run["peak_rss_mib_of_the_process"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self.result, indent=1) + "\n")

    def _run(self, threads: int) -> dict[str, Any]:
        return self.result["runs"].setdefault(f"{threads} thread{'s' * (threads > 1)}", {})


def main() -> None:
    """Parse the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--threads", type=int, nargs="+", default=[1], help="one run for each number of threads")
    parser.add_argument("--only", choices=SECTIONS, nargs="+", default=SECTIONS, help="sections to measure")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter cells, to see that all works")
    parser.add_argument("--output", type=Path, help="JSON file, by default in benchmarks/results")
    args = parser.parse_args()
    device_type = torch.device(args.device).type
    if device_type == "cuda" and not torch.cuda.is_available():
        parser.error("This torch finds no CUDA device; use --device cpu.")
    chosen = sizes(device_type, args.quick)
    cells = [cell for cell in plan(chosen) if cell.section in args.only]
    store = Store(args.output or RESULTS / f"speed_{device_name(args.device)}.json", args.device)
    for threads in args.threads:
        torch.set_num_threads(threads)
        store.begin(threads, args.only)
        measure_cells(cells, Bench(args.device, chosen), partial(store.add, threads), f"threads: {threads}")
    print(f"Wrote {store.path}.")


if __name__ == "__main__":
    main()
