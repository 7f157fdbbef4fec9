# SPDX-License-Identifier: BSD-3-Clause
"""Milliseconds per action batch and per update, memory, FLOPs and how they grow, for the cells of ``speed_plan.py``.

    python benchmarks/speed.py --device cpu --threads 1 2

Writes ``speed_<device>.json`` after every cell; sections that are not measured again are kept. Run it on an otherwise
idle machine.
"""

from __future__ import annotations

import gc
import resource
from collections.abc import Sequence
from dataclasses import asdict, replace

import torch
from results import Record, Results, argument_parser, chosen_results, versions
from rich.progress import track
from speed_plan import ON_GPU, SECTIONS, Cell, Sizes, plan, quick_sizes
from speed_subjects import (
    action_batch,
    check_fast,
    counted_flops,
    make_ppo,
    make_trudi,
    measured,
    parts,
    reached,
    trained_trudi,
    update_args,
)

from trudi_rsl.algorithms import TruDi
from trudi_rsl.algorithms.trust_region import step_sizes_of
from trudi_rsl.deploy.provenance import machine

GROWTH_UPDATES, MIB = 200, 2**20


class Bench:
    """Measures cells on one device, each function for at least ``seconds``."""

    def __init__(self, device: str, seconds: float) -> None:
        self.device, self.seconds = device, seconds

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
        except RuntimeError as error:  # out of memory, and errors of compilers
            record = {"skipped": str(error).strip().partition("\n")[0]}
        return cell.to_dict() | record

    def _sampling(self, cell: Cell) -> Record:
        # acting needs no room for a rollout
        shape, variant = replace(cell.shape, num_steps=1, num_mini_batches=1), cell.variant
        alg, env = make_trudi(shape, variant, self.device)
        sample = alg.learner.accelerator.capture("sampling", alg._sample)
        timing = measured(action_batch(alg, env, sample), self.seconds)
        check_fast(alg)
        flops = counted_flops(action_batch(alg, env, alg._sampled))
        return reached(timing, flops, variant.precision, self.device, shape.num_envs, shape.width)

    def _update(self, cell: Cell) -> Record:
        if cell.variant.actor in ("ppo", "ppo preset"):
            return self._ppo_update(cell)
        alg = trained_trudi(cell.shape, cell.variant, self.device)
        record = self._minibatch(cell, alg)
        record["update_ms"] = asdict(measured(alg.update, self.seconds))
        if cell.variant.mode != "captured":
            record["parts"] = {
                name: {"ms": asdict(measured(part, self.seconds)), "flops": counted_flops(part)}
                for name, part in parts(alg).items()
            }
        return record | self._memory(alg)

    def _minibatch(self, cell: Cell, alg: TruDi) -> Record:
        batch, old_steps = update_args(alg)
        update = alg.learner.accelerator.capture("minibatch update", alg.learner.update)
        timing = measured(lambda: update(batch, old_steps), self.seconds)
        check_fast(alg)
        flops = counted_flops(lambda: alg.learner.update(batch, old_steps))
        gated = alg.learner.update(batch, old_steps)["gated_share"]
        alg.learner.accelerator.reset()
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
        rows = next(alg.storage.index_batches(1, alg.cfg.num_mini_batches))
        old_steps = step_sizes_of(alg.actor_critic.old_actor)
        before = torch.cuda.memory_allocated()
        for _ in range(GROWTH_UPDATES):
            alg._update(rows, old_steps)
        return record | {f"growth_bytes_over_{GROWTH_UPDATES}_updates": torch.cuda.memory_allocated() - before}

    def _ppo_update(self, cell: Cell) -> Record:
        alg = make_ppo(cell.shape, cell.variant.actor == "ppo preset", self.device)
        update = asdict(measured(alg.update, self.seconds))
        updates = alg.num_learning_epochs * alg.num_mini_batches
        per_minibatch = {key: value if key == "repeats" else value / updates for key, value in update.items()}
        return {"ms": per_minibatch, "update_ms": update, "minibatch_updates": updates}

    def _sweep(self, cell: Cell) -> Record:
        update = self._minibatch(cell, trained_trudi(cell.shape, cell.variant, self.device))
        return {"sampling": self._sampling(cell), "update": update}


def file_name(device: str) -> str:
    """Return the result file of a device, such as ``speed_cpu``."""
    name = "cpu" if torch.device(device).type == "cpu" else torch.cuda.get_device_name(device)
    return "speed_" + name.lower().replace(" ", "_")


def stored_result(results: Results, device: str) -> Record:
    """Return the stored result of a device; empty if it is of another machine or other versions."""
    on_gpu = torch.device(device).type == "cuda"
    setup = {
        "device": torch.cuda.get_device_name(device) if on_gpu else "cpu",
        "processor": machine(),
        "versions": versions("torch", "rsl-rl-lib", "tensordict"),
    }
    stored = results.read(file_name(device))
    return stored if all(stored.get(key) == value for key, value in setup.items()) else setup | {"runs": {}}


def measure(results: Results, device: str, chosen: Sizes, threads: int, sections: Sequence[str] = SECTIONS) -> None:
    """Measure the cells of sections and write the result file after each."""
    torch.set_num_threads(threads)
    bench, result = Bench(device, chosen.seconds), stored_result(results, device)
    run = result["runs"].setdefault(f"{threads} thread{'s' * (threads > 1)}", {})
    run |= {section: {} for section in sections}
    for cell in track([cell for cell in plan(chosen) if cell.section in sections], f"threads: {threads}"):
        record = bench.measure(cell)
        if "skipped" in record:
            print(f"Skipped {cell.section}: {cell.name}: {record['skipped']}")
        run[cell.section][cell.name] = record
        run["peak_rss_mib_of_the_process"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        results.write(file_name(device), result)


def main() -> None:
    """Parse the arguments and measure."""
    parser = argument_parser(__doc__)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--threads", type=int, nargs="+", default=[1], help="one run for each number of threads")
    parser.add_argument("--only", choices=SECTIONS, nargs="+", default=SECTIONS, help="sections to measure")
    args = parser.parse_args()
    chosen = ON_GPU if torch.device(args.device).type == "cuda" else Sizes()
    results = chosen_results(args)
    for threads in args.threads:
        measure(results, args.device, quick_sizes(chosen) if args.quick else chosen, threads, args.only)


if __name__ == "__main__":
    main()
