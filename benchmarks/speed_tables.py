# SPDX-License-Identifier: BSD-3-Clause
"""The rows of the tables on speed: environment steps per second, action batches, updates and their parts."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

import numpy as np
from results import Record, Results, Rows, with_interval

from trudi_rsl.evaluation.statistics import improvement_estimate


def throughput(results: Results) -> Rows:
    """Return speeds and where the time goes."""
    columns = {part: part for part in ("simulate", "sample", "targets")}
    columns |= {"whole update": "update"}
    rows = []
    for name, run in results.read("throughput")["runs"].items():
        seconds, (slow, fast) = run["seconds_per_iteration"], run["slowest_and_fastest"]
        shown = f"{run['env_steps_per_second']:.0f} ({slow:.0f} to {fast:.0f})"
        shares = {
            column: f"{100 * seconds[part] / seconds['iteration']:.0f} %" if part in seconds else "-"
            for column, part in columns.items()
        }
        kl = f"{run['path_kl_ms']:.1f}" if "path_kl_ms" in run else "-"
        rows.append(
            {"run": name, "env-steps/s (slowest to fastest iteration)": shown}
            | shares
            | {"path KL of a minibatch, ms": kl}
        )
    return rows


def builds(results: Results) -> Rows:
    """Return the speed of an earlier commit beside this one's: medians over the rounds, with slowest and fastest."""
    table: Rows = []
    for name, speeds in results.read("builds").get("runs", {}).items():
        algo, task, threads = name.split(", ")
        shown = {
            f"{build}, env-steps/s": f"{statistics.median(values):.0f} ({min(values):.0f} to {max(values):.0f})"
            for build, values in speeds.items()
        }
        ratio = statistics.median(speeds["now"]) / statistics.median(speeds["before"])
        table.append({"algorithm": algo, "task": task, "threads": threads, **shown, "now / before": f"{ratio:.2f}"})
    return table


def builds_returns(results: Results) -> Rows:
    """Return what builds learn at the same seeds, and the probability that a run of each ends above the one before."""
    table: Rows = []
    runs = results.runs("builds_returns")
    for task in sorted({run["task"] for run in runs}):
        before: np.ndarray | None = None
        for build in dict.fromkeys(run["variant"] for run in runs):
            found = sorted(
                (run for run in runs if (run["task"], run["variant"]) == (task, build)), key=lambda run: run["seed"]
            )
            last = np.array([run["returns"][-1] for run in found])[:, None]
            table.append(
                {
                    "task": task,
                    "build": build,
                    "commit": found[0]["commit"],
                    "median": f"**{np.median(last):.0f}**",
                    "by seed (\\* on its back)": ", ".join(
                        f"{run['returns'][-1]:.0f}" + "\\*" * (run.get("pitch_cosine", 1.0) < 0.0) for run in found
                    ),
                    "P(above the build before) [95 %]": "-"
                    if before is None
                    else with_interval(improvement_estimate(last, before), 2),
                }
            )
            before = last
    return table


def digits(value: float) -> str:
    """Return a number with three digits, or without decimals."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def quartiles(timing: Mapping[str, float]) -> str:
    """Return a median with its quartiles."""
    return f"{digits(timing['median'])} [{digits(timing['q25'])}, {digits(timing['q75'])}]"


def speed_cells(results: Results, device: str, section: str) -> list[tuple[str, str, Record]]:
    """Return run, name and record of every measured cell."""
    runs = results.read(f"speed_{device}")["runs"]
    cells = ((run, *item) for run, sections in runs.items() for item in sections.get(section, {}).items())
    return [cell for cell in cells if "skipped" not in cell[2]]


def speed_sampling(results: Results, device: str) -> Rows:
    """Return the times of action batches, one row per number of environments."""
    rows: dict[tuple[str, ...], dict[str, str]] = {}
    for label, _, cell in speed_cells(results, device, "sampling"):
        column = f"N = {cell['shape']['num_denoise_steps']}" if cell["actor"] == "diffusion" else cell["actor"]
        first = {"run": label, "code": cell["mode"], "environments": str(cell["shape"]["num_envs"])}
        rows.setdefault(tuple(first.values()), first)[column] = quartiles(cell["ms"])
    return list(rows.values())


def speed_update(results: Results, device: str) -> Rows:
    """Return the times of updates, one row per variant."""
    rows, cells, same = [], speed_cells(results, device, "update"), ("mode", "precision", "shape")
    gaussian = [(label, cell) for label, _, cell in cells if cell["actor"] == "gaussian"]
    for label, name, cell in cells:
        row = {"run": label, "variant": name, "ms per minibatch": quartiles(cell["ms"])}
        row["ms per update"] = quartiles(cell["update_ms"])
        twins = (c["ms"]["median"] for of, c in gaussian if of == label and all(c[key] == cell[key] for key in same))
        if cell["actor"] != "ppo preset" and (twin := next(twins, None)):
            row["of Gaussian"] = f"{cell['ms']['median'] / twin:.2f}"
        if "flops" in cell:
            row["GFLOP per minibatch"] = digits(1e-9 * cell["flops"])
            row["of a large product"] = f"{100 * cell['share_of_big_gemm']:.0f} %"
            row["of its own"] = f"{100 * cell['share_of_own_gemm']:.0f} %"
        rows.append(row)
    return rows


def speed_parts(results: Results, device: str) -> Rows:
    """Return the times of an update's parts."""
    names = ("critic step", "actor step", "path KL", "optimizers")
    return [
        {"run": label, "variant": name}
        | {part: quartiles(cell["parts"][part]["ms"]) if part in cell["parts"] else "-" for part in names}
        for label, name, cell in speed_cells(results, device, "update")
        if cell.get("parts")
    ]


def gpu_costs(results: Results) -> Rows:
    """Return the estimated costs on a GPU beside the times that were measured on one."""
    rows, checked = [], results.read("gpu_check")
    for name, parts in results.read("cost_model")["subjects"].items():
        algorithm, _, precision = name.lower().partition(", ")
        measured = checked.get(f"{algorithm} {precision or 'tf32'}", {}).get("ms", {})
        for part in ("environment step", "sampling", "minibatch", "update", "iteration"):
            costs = parts[part]
            rows.append({"algorithm": name, "part": part, "kernels": f"{costs['kernels']:.0f}"})
            rows[-1] |= {"GB": digits(costs["gb"]), "GFLOP": digits(costs["gflop"])}
            if precision != "bf16":
                rows[-1]["ms, fp32"] = digits(costs["ms_fp32"])
            rows[-1]["ms, TF32 or bf16"] = digits(costs["ms_tf32"])
            rows[-1]["measured, ms"] = digits(measured[part]) if part in measured else "-"
    return rows


def gpu_memory(results: Results) -> Rows:
    """Return the memory that TruDi needs on a GPU."""
    return [
        {
            "environments x steps": f"{size['num_envs']} x {size['num_steps']}",
            "actions": str(size["num_actions"]),
            "minibatches": str(size["num_mini_batches"]),
        }
        | {f"{name}, GiB": f"{gib:.2f}" for name, gib in size["gib"].items()}
        for size in results.read("cost_model")["memory"]
    ]


def values(results: Results) -> dict[str, str]:
    """Return the numbers about speed in the prose by name."""
    cpu_runs = results.read("speed_cpu")["runs"].values()
    trudi, ppo = (results.read("throughput")["runs"][f"{algo}, 1 thread"] for algo in ("trudi", "ppo"))
    profile, now = results.read("profile"), results.read("builds")["runs"]
    products = profile["operators"]["products"]
    of_trudi, of_reppo = (statistics.median(now[f"{algo}, HalfCheetah-v5, 1"]["now"]) for algo in ("trudi", "reppo"))
    return {
        "throughput.tuned_ppo": f"{trudi['env_steps_per_second'] / ppo['env_steps_per_second']:.1f}",
        "speed.peak_mib": f"{max(run['peak_rss_mib_of_the_process'] for run in cpu_runs):.0f}",
        "builds.of_reppo": f"{of_reppo / of_trudi:.2f}",
        "profile.products": f"{1e3 * products['seconds']:.0f}",
        "profile.gflops": f"{products['gflop'] / products['seconds']:.0f}",
        "profile.simulate": f"{1e3 * profile['parts']['simulate']:.0f}",
        "profile.iteration": f"{1e3 * profile['parts']['iteration']:.0f}",
    }
