# SPDX-License-Identifier: BSD-3-Clause
"""Write docs/results.md and its figures from the stored results; nothing in them is typed by hand.

python benchmarks/report.py
"""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

import figures
import numpy as np
import report_ant
import report_choices
import report_deployed
import report_latency
import report_robustness
import report_speed
import wallclock
from jobs import ALL_COMPARED, HALF_CHEETAH
from wallclock import stored_runs

from trudi_rsl.evaluation.statistics import improvement_estimate, iqm_estimate, score_matrix
from trudi_rsl.settings import SETTINGS

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
DOCS = ROOT / "docs"
README_START = "<!-- results: written by benchmarks/report.py -->"
README_END = "<!-- end of results -->"
BUDGET = 300_000
"""Environment steps at which training returns are compared."""

NAMES = {"trudi": "TruDi", "reppo": "Gaussian sibling (REPPO)", "dime": "DIME", "ppo": "PPO"}
NAMES |= {algo: algo.upper() for algo in ("spo", "dppo", "fpo")}

UNCHANGED = "unchanged"
"""Name of the ablation's baseline: the preset with the paper's gradient."""

Records = dict[tuple[str, str, str], list[dict[str, Any]]]
"""Runs by (task, algorithm, variant), in order of seed."""


def load(table: str, folder: str = "learning") -> Records:
    """Return the stored runs of one table."""
    grouped: Records = defaultdict(list)
    for path in sorted((RESULTS / folder).glob(f"{table}_*.json")):
        record = json.loads(path.read_text())
        grouped[record["task"], record["algo"], record["variant"]].append(record)
    for key, runs in grouped.items():
        if any(completed(run) != completed(runs[0]) for run in runs):
            raise ValueError(f"The runs of {key} were made with different settings; measure them again.")
    return {key: sorted(runs, key=lambda run: run["seed"]) for key, runs in grouped.items()}


def completed(run: dict[str, Any]) -> dict[str, Any]:
    """Return a run's settings, with the defaults of those that did not exist yet when it was made."""
    if run["algo"] not in SETTINGS:
        return run["config"]
    defaults = json.loads(json.dumps(dataclasses.asdict(SETTINGS[run["algo"]]())))
    return run["config"] | {"algorithm": defaults | run["config"]["algorithm"]}


def load_hosts() -> Records:
    """Return the stored runs of simulators with commands of their own, Isaac Lab and mjlab."""
    grouped: Records = defaultdict(list)
    for path in sorted(path for host in ("isaaclab", "mjlab") for path in (RESULTS / host).glob("*.json")):
        record = json.loads(path.read_text())
        grouped[record["task"], record["algo"], "preset"].append(record)
    return {key: sorted(runs, key=lambda run: run["seed"]) for key, runs in grouped.items()}


def host_comparison(records: Records) -> str:
    """Return the table of the last training returns under the hosts' own commands."""
    rows = []
    for task, algo, variant in records:
        runs = records[task, algo, variant]
        values = [run["returns"][-1] for run in runs]
        steps = {run["env_steps"][-1] for run in runs}
        rows.append(
            [
                task,
                NAMES[algo],
                f"{max(steps) // 1000}k",
                f"**{statistics.median(values):.1f}**",
                ", ".join(f"{v:.1f}" for v in values),
                seeds_of(runs),
            ]
        )
    return table(["task", "algorithm", "env steps", "median", "by seed", "seeds"], rows)


def return_at_budget(run: dict[str, Any]) -> float:
    """Return the training return (mean of the last 100 episodes) at the first iteration past the budget."""
    index = int(np.searchsorted(run["env_steps"], BUDGET))
    if index == len(run["env_steps"]):
        raise ValueError(f"A run of {run['task']} ended before {BUDGET} steps.")
    return run["returns"][index]


def row(cells: list[str]) -> str:
    """Return one line of a Markdown table."""
    return "| " + " | ".join(cells) + " |"


def table(header: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    return "\n".join([row(header), row(["---"] * len(header)), *(row(r) for r in rows)])


def scores(runs: list[dict[str, Any]]) -> list[float]:
    """Return the training returns at the budget, by seed."""
    return [return_at_budget(run) for run in runs]


def seeds_of(runs: list[dict[str, Any]]) -> str:
    """Return the seeds of the runs."""
    return ", ".join(str(run["seed"]) for run in runs)


def summary_cells(values: list[float]) -> list[str]:
    """Return median, IQM with its interval where the seeds allow one, and the values by seed."""
    found = iqm_estimate(score_matrix({"": values}))
    bounds = f"[{found.interval[0]:.0f}, {found.interval[1]:.0f}]" if found.interval else f"({found.lack})"
    return [
        f"**{statistics.median(values):.0f}**",
        f"{found.value:.0f} {bounds}",
        ", ".join(f"{v:.0f}" for v in values),
    ]


def comparison(records: Records, tasks: list[str], speeds: dict[str, float] | None = None) -> str:
    """Return the table of what every algorithm that was run on a task reached there.

    Args:
        records: Runs by task, algorithm and variant.
        tasks: Those to show.
        speeds: Environment steps per second by algorithm, for a column with the seconds of a run.
    """
    rows = []
    for task in tasks:
        ppo = statistics.median(scores(records[task, "ppo", "preset"]))
        for algo in NAMES:
            if not (runs := records.get((task, algo, "preset"), [])):
                continue
            values = scores(runs)
            ratio = statistics.median(values) / ppo if ppo > 0 and algo != "ppo" else float("nan")
            cells = [task, NAMES[algo], *summary_cells(values), f"{ratio:.1f}" if ratio > 0 else "-"]
            rows.append(cells + ([] if speeds is None else [f"{BUDGET / speeds[algo]:.0f}" if algo in speeds else "-"]))
    header = ["task", "algorithm", "median", "IQM [95 %]", "by seed", "of PPO's"]
    return table(header + ([] if speeds is None else ["seconds"]), rows)


def improvement(records: Records) -> str:
    """Return the table of how probable it is that a run of TruDi ends above one of another algorithm."""
    rows = []
    for algo in NAMES:
        shared = [task for task in ALL_COMPARED if algo != "trudi" and (task, algo, "preset") in records]
        if shared:
            ours, theirs = (
                score_matrix({task: scores(records[task, name, "preset"]) for task in shared})
                for name in ("trudi", algo)
            )
            found = improvement_estimate(ours, theirs)
            bounds = f"[{found.interval[0]:.2f}, {found.interval[1]:.2f}]" if found.interval else f"({found.lack})"
            rows.append([NAMES[algo], f"{found.value:.2f} {bounds}", ", ".join(shared)])
    return table(["algorithm", "P(TruDi above it) [95 %]", "tasks"], rows)


def evaluation(records: Records, tasks: list[str]) -> str:
    """Return the table of the samplers after training."""
    rows = []
    for task in tasks:
        for algo in NAMES:
            # PPO's first runs were not evaluated
            runs = [run for run in records.get((task, algo, "preset"), []) if run["evaluation"]]
            cells = [
                ", ".join(
                    f"{statistics.mean(run['evaluation'][name]):.0f}" for run in runs if name in run["evaluation"]
                )
                for name in ("sde", "ode", "ode_from_zeros")
            ]
            if runs:
                rows.append([task, NAMES[algo], *(cell or "-" for cell in cells)])
    return table(["task", "algorithm", "SDE or sample", "ODE, random start", "as exported"], rows)


def ablation(changes: Records, baseline: list[dict[str, Any]]) -> str:
    """Return the table of single changes from the baseline, each beside the baseline's runs of the same seeds."""
    groups = {UNCHANGED: baseline} | {variant: runs for (_, _, variant), runs in changes.items()}
    rows = []
    for variant, runs in sorted(groups.items(), key=lambda item: -statistics.median(scores(item[1]))):
        values, seeds = scores(runs), {run["seed"] for run in runs}
        same = scores([run for run in baseline if run["seed"] in seeds])
        rows.append(
            [
                f"**{variant}**" if variant == UNCHANGED else variant,
                f"{statistics.median(values):.0f}",
                f"{statistics.median(same):.0f}",
                f"{min(values):.0f} to {max(values):.0f}",
                ", ".join(f"{v:.0f}" for v in values),
                seeds_of(runs),
            ]
        )
    return table(["change", "median", "unchanged, same seeds", "worst to best", "by seed", "seeds"], rows)


def throughput(result: dict[str, Any]) -> str:
    """Return the table of speeds and of where the time goes."""
    rows = []
    parts = ("simulate", "sample", "targets", "critic step", "actor step", "update")
    for name, run in result["runs"].items():
        seconds = run["seconds_per_iteration"]
        share = {part: f"{100 * value / seconds['iteration']:.0f} %" for part, value in seconds.items()}
        slow, fast = run["slowest_and_fastest"]
        rows.append(
            [
                name,
                f"{run['env_steps_per_second']:.0f} ({slow:.0f} to {fast:.0f})",
                *(share.get(part, "-") for part in parts),
            ]
        )
    header = ["run", "env-steps/s (slowest to fastest iteration)", "simulate", "sample", "targets"]
    return table([*header, "critic step", "actor step", "whole update"], rows)


def one_thread_speeds(result: dict[str, Any]) -> dict[str, float]:
    """Return environment steps per second by algorithm, on one thread."""
    return {
        algo: result["runs"][f"{algo}, 1 thread"]["env_steps_per_second"]
        for algo in NAMES
        if f"{algo}, 1 thread" in result["runs"]
    }


def speedup(result: dict[str, Any]) -> str:
    """Return a sentence that compares with the commit measured beside it, empty without one."""
    runs = result["runs"]
    pairs = [(name.partition(", before (")[0], run) for name, run in runs.items() if ", before (" in name]
    ratios = [
        f"{runs[name]['env_steps_per_second'] / run['env_steps_per_second']:.2f} times with {name.partition(', ')[2]}"
        for name, run in pairs
    ]
    if not ratios:
        return ""
    return f"TruDi's environment steps per second against those of the first version's code: {', '.join(ratios)}.\n"


def wall_clock_sentence(runs: list[dict[str, Any]]) -> str:
    """Return how long TruDi and PPO take to PPO's return on HalfCheetah-v5."""
    summary = wallclock.summary(wallclock.by_task(runs)[HALF_CHEETAH])
    ours, ppo = (statistics.median(summary[algo]["seconds"]) for algo in ("trudi", "ppo"))
    return (
        f"To the return that PPO has after a million steps of {HALF_CHEETAH}, TruDi takes {ours:.0f} s and PPO "
        f"{ppo:.0f} s: medians of {len(summary['trudi']['seeds'])} seeds on the same two cores, compiling included."
    )


def update_readme(results: str, wall_clock: str, host_results: str) -> None:
    """Replace the tables between the README's markers."""
    path = ROOT / "README.md"
    before, start, rest = path.read_text().partition(README_START)
    _, end, after = rest.partition(README_END)
    intro = f"Training return at {BUDGET // 1000}k environment steps on a CPU, TruDi against RSL-RL's PPO:"
    hosts = "Under Isaac Lab and mjlab, on a CPU, PPO with the task's own configuration:"
    path.write_text(
        f"{before}{start}\n{intro}\n\n{results}\n\n{wall_clock}\n\n{hosts}\n\n{host_results}\n\n{end}{after}"
    )


def main() -> None:
    """Write the page and its figures."""
    template = (ROOT / "benchmarks" / "results.md.in").read_text()
    cheetah, tasks, changes = load("halfcheetah"), load("tasks"), load("ablation")
    task_names = sorted({task for task, _, _ in tasks})
    speed = json.loads((RESULTS / "throughput.json").read_text())
    hosts = load_hosts()
    chains, before = load("chains"), load("halfcheetah", "before") | load("tasks", "before")
    baseline = chains["HalfCheetah-v5", "trudi", "stored"]
    preset = cheetah["HalfCheetah-v5", "trudi", "preset"]
    kl_parts = [f"{run['path_kl_ms']:.1f} ms ({name})" for name, run in speed["runs"].items() if "path_kl_ms" in run]
    figures.learning_curves(cheetah | tasks, DOCS / "learning_curves.png", BUDGET)
    figures.learning_curves(hosts, DOCS / "host_curves.png")
    groups = {UNCHANGED: baseline} | {variant: runs for (_, _, variant), runs in changes.items()}
    figures.ablation({variant: scores(runs) for variant, runs in groups.items()}, DOCS / "ablation.png", UNCHANGED)
    figures.time_shares(speed, DOCS / "throughput.png")
    all_tasks = ["HalfCheetah-v5", *task_names]
    everything = cheetah | tasks
    page = template.format(
        processor=speed["processor"],
        versions=", ".join(f"{name} {number}" for name, number in preset[0]["versions"].items()),
        budget=f"{BUDGET // 1000}k",
        seeds=seeds_of(preset),
        halfcheetah=comparison(cheetah, ["HalfCheetah-v5"], one_thread_speeds(speed)),
        tasks=comparison(tasks, task_names),
        ant=report_ant.section(load("long"), load("cost"), RESULTS / "ant_baselines.json", NAMES, table),
        improvement=improvement(everything),
        evaluation=evaluation(everything, all_tasks),
        episodes=len(preset[0]["evaluation"]["sde"]),
        ablation=ablation(changes, baseline),
        throughput=throughput(speed),
        speedup=speedup(speed),
        kl_times=", ".join(kl_parts),
        iterations=speed["iterations"],
        hosts=host_comparison(hosts),
        choices=report_choices.choices(
            chains | load("gradients") | load("amortised"), before, return_at_budget, DOCS, table
        ),
        paper_ablations=report_choices.paper_ablations(
            load("steps"), load("eps"), baseline, return_at_budget, DOCS, table
        ),
        wallclock=report_choices.wall_clock(stored_runs(), DOCS, NAMES, table),
        speed=report_speed.sections(RESULTS, DOCS, table),
        latency=report_latency.section(RESULTS / "latency.json", DOCS, table),
        robustness=report_robustness.section(RESULTS, preset, DOCS, table),
        deployed=report_deployed.section(RESULTS / "deployed", RESULTS / "latency.json", DOCS, table),
    )
    (DOCS / "results.md").write_text(page)
    update_readme(comparison(everything, all_tasks), wall_clock_sentence(stored_runs()), host_comparison(hosts))
    print(f"Wrote {DOCS / 'results.md'} and its figures.")


if __name__ == "__main__":
    main()
