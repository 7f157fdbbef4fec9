# SPDX-License-Identifier: BSD-3-Clause
"""Milliseconds per action batch and per update, memory, FLOPs and how they grow, for the cells of ``speed_plan.py``.

    python benchmarks/speed.py --device cpu --threads 1 2

Writes ``speed_<device>.json`` after every cell; sections that are not measured again are kept. Run it on an otherwise
idle machine.
"""

from __future__ import annotations

import gc
import resource
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import torch
from results import Record, Results, argument_parser, chosen_results, versions
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from speed_plan import SECTIONS, Cell, Sizes, plan, sizes
from speed_subjects import action_batch, check_fast, make_ppo, make_trudi, parts, trained_trudi, update_args
from timing import TooSlowError, counted_flops, device_name, measured, reached

from trudi_rsl.algorithms import TruDi
from trudi_rsl.deploy.provenance import machine

GROWTH_UPDATES = 200
MIB = 2**20


class Bench:
    """Measures cells on one device.

    Args:
        device: Device.
        chosen: How long each cell is measured.
    """

    def __init__(self, device: str, chosen: Sizes) -> None:
        self.device = device
        self.chosen = chosen

    def measure(self, cell: Cell) -> Record:
        """Return the record of one cell; if it cannot be measured, ``skipped`` is the reason."""
        # code compiled for other shapes counts towards torch's recompilation limit
        torch.compiler.reset()
        if torch.cuda.is_available():
            gc.collect()
            torch.cuda.empty_cache()
        of_section = {"sampling": self._sampling, "update": self._update, "sweeps": self._sweep}
        try:
            record = of_section[cell.section](cell)
        # RuntimeError includes out of memory and errors of compilers
        except (TooSlowError, RuntimeError) as error:
            record = {"skipped": str(error).strip().partition("\n")[0]}
        return cell.to_dict() | record

    def _timed(self, call: Callable[[], Any]) -> Any:
        return measured(call, self.chosen.seconds, self.chosen.budget)

    def _sampling(self, cell: Cell) -> Record:
        # acting needs no room for a rollout
        shape, variant = replace(cell.shape, num_steps=1, num_mini_batches=1), cell.variant
        alg, env = make_trudi(shape, variant, self.device)
        timing = self._timed(action_batch(alg, env, alg._sample))
        check_fast(alg)
        flops = counted_flops(action_batch(alg, env, alg._sampled))
        return reached(timing, flops, variant.precision, self.device, shape.num_envs, shape.width)

    def _update(self, cell: Cell) -> Record:
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

    def _minibatch(self, cell: Cell, alg: TruDi) -> Record:
        batch, old_steps = update_args(alg)
        timing = self._timed(lambda: alg.learner.update(batch, old_steps))
        check_fast(alg)
        flops = counted_flops(lambda: alg.learner._take_steps(batch, old_steps))
        gated = alg.learner.update(batch, old_steps)["gated_share"]
        shape, variant = cell.shape, cell.variant
        # the largest products cover all denoising steps at once
        rows = shape.batch * (shape.num_denoise_steps if variant.actor == "diffusion" else 1)
        return reached(timing, flops, variant.precision, self.device, rows, shape.width) | {"gated_share": float(gated)}

    def _memory(self, alg: TruDi) -> Record:
        """Return the GPU memory of a whole update, and its growth over many updates."""
        if not torch.cuda.is_available():
            return {}
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        alg.update()
        record = {
            "peak_mib": torch.cuda.max_memory_allocated() / MIB,
            # the memory of captured graphs counts as reserved only
            "reserved_mib": torch.cuda.memory_reserved() / MIB,
        }
        batch, old_steps = update_args(alg)
        before = torch.cuda.memory_allocated()
        for _ in range(GROWTH_UPDATES):
            alg.learner.update(batch, old_steps)
        return record | {f"growth_bytes_over_{GROWTH_UPDATES}_updates": torch.cuda.memory_allocated() - before}

    def _ppo_update(self, cell: Cell) -> Record:
        alg = make_ppo(cell.shape, cell.variant.actor == "ppo preset", self.device)
        update = asdict(self._timed(alg.update))
        updates = alg.num_learning_epochs * alg.num_mini_batches
        per_minibatch = {key: value if key == "repeats" else value / updates for key, value in update.items()}
        return {"ms": per_minibatch, "update_ms": update, "minibatch_updates": updates}

    def _sweep(self, cell: Cell) -> Record:
        update = self._minibatch(cell, trained_trudi(cell.shape, cell.variant, self.device))
        return {"sampling": self._sampling(cell), "update": update}


def measure_cells(cells: Sequence[Cell], bench: Bench, store: Callable[[Cell, Record], None], title: str) -> None:
    """Measure cells one after another and pass each record to ``store``."""
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

    Results of another machine or of other versions are dropped, because their times do not compare.

    Args:
        results: Folder of the result files.
        device: The measured device.
    """

    def __init__(self, results: Results, device: str) -> None:
        self.results, self.name = results, f"speed_{device_name(device)}"
        on_gpu = torch.device(device).type == "cuda"
        setup = {
            "device": torch.cuda.get_device_name(device) if on_gpu else "cpu",
            "processor": machine(),
            "versions": versions("torch", "rsl-rl-lib", "tensordict"),
        }
        before = results.read(self.name)
        same = before and all(before.get(key) == value for key, value in setup.items())
        self.result: Record = before if same else setup | {"runs": {}}

    def begin(self, threads: int, sections: Sequence[str]) -> None:
        """Drop the sections that are about to be measured."""
        self._run(threads).update({section: {} for section in sections})

    def add(self, threads: int, cell: Cell, record: Record) -> None:
        """Write one cell's record."""
        run = self._run(threads)
        run[cell.section][cell.name] = record
        run["peak_rss_mib_of_the_process"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        self.results.write(self.name, self.result)

    def _run(self, threads: int) -> Record:
        return self.result["runs"].setdefault(f"{threads} thread{'s' * (threads > 1)}", {})


def main() -> None:
    """Parse the arguments and measure."""
    parser = argument_parser(__doc__)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--threads", type=int, nargs="+", default=[1], help="one run for each number of threads")
    parser.add_argument("--only", choices=SECTIONS, nargs="+", default=SECTIONS, help="sections to measure")
    args = parser.parse_args()
    device_type = torch.device(args.device).type
    if device_type == "cuda" and not torch.cuda.is_available():
        parser.error("This torch finds no CUDA device; use --device cpu.")
    chosen = sizes(device_type, args.quick)
    cells = [cell for cell in plan(chosen) if cell.section in args.only]
    store = Store(chosen_results(args), args.device)
    for threads in args.threads:
        torch.set_num_threads(threads)
        store.begin(threads, args.only)
        measure_cells(cells, Bench(args.device, chosen), partial(store.add, threads), f"threads: {threads}")


if __name__ == "__main__":
    main()
