# SPDX-License-Identifier: BSD-3-Clause
"""The rows of every table in the docs, and the numbers in their prose, computed from the stored results.

Tables that list the entries of a file, or groups of training runs, are described in ``tables.yaml``.
"""

from __future__ import annotations

import functools
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import speed_tables as speed
import yaml
from results import ALGORITHMS, EXPORTED, Record, Results, Rows, with_interval
from robustness import FAULTS, memory_growth
from scipy import stats

from trudi_rsl.evaluation.statistics import Estimate, improvement_estimate, iqm_estimate, score_matrix

Runs = Sequence[Record]
Groups = dict[tuple[str, str, str], list[Record]]
"""Runs by (task, algorithm, variant), in order of seed."""

LISTED = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text())
HALF_CHEETAH, HUMANOID = "HalfCheetah-v5", "Humanoid-v5"
BUDGET = 300_000
"""Environment steps at which training returns are compared."""
ALL_COMPARED = (HALF_CHEETAH, "Hopper-v5", "Ant-v5")
"""Tasks on which all algorithms are compared."""
OVERVIEW = ("learning/halfcheetah", "learning/tasks", "learning/humanoid")
OVERVIEW += ("isaaclab", "mjlab", "playground", "maniskill", "humanoidbench")
"""Files of the README's table: those compared at :data:`BUDGET` first, then those compared at the end of training."""
UNLEARNT = ("PushCube-v1",)
"""Tasks that no algorithm has learnt with these budgets, which only the page on results shows."""
WHOLE, MULTIMODAL = "N = 8", "PlanarObstacle-v0"
"""The exported variant that the others are compared with, and the task on which behaviours are measured."""


def grouped(runs: Iterable[Record]) -> Groups:
    """Return runs by task, algorithm and variant."""
    groups: Groups = {}
    for run in runs:
        groups.setdefault((run["task"], run["algo"], run["variant"]), []).append(run)
    return groups


def runs_of(results: Results, table: str) -> Groups:
    """Return the runs behind a table of ``tables.yaml``, in the order of its rows.

    They are sorted by task and algorithm, and then as ``sort`` says: by decreasing ``median`` or by the ``value`` in
    the variant's name. A table with ``unchanged`` also has the baseline of all variants, under that name.
    """
    spec, tasks = LISTED[table], {}
    algos = spec.get("algorithms", list(ALGORITHMS))
    runs = chain.from_iterable(results.runs(name) for name in spec["runs"])
    groups = grouped(run for run in runs if run["algo"] in algos)
    if "unchanged" in spec:
        baseline = grouped(results.runs("learning/chains"))[HALF_CHEETAH, "trudi", "stored"]
        groups = {(HALF_CHEETAH, "trudi", spec["unchanged"]): baseline} | groups
    for task, _, _ in groups:
        tasks.setdefault(task, len(tasks))
    order: dict[str, Callable[[Any], float]] = {
        "": lambda item: 0.0,
        "median": lambda item: -statistics.median(scores(item[1])),
        "value": lambda item: float(item[0][2].split(" = ")[1]),
    }
    rank = order[spec.get("sort", "")]
    return dict(sorted(groups.items(), key=lambda item: (tasks[item[0][0]], algos.index(item[0][1]), rank(item))))


def steps_of(run: Record) -> np.ndarray:
    """Return the environment steps by the end of each iteration in ``run["returns"]``."""
    first, last = run["env_steps"]
    return np.linspace(first, last, len(run["returns"]))


def scores(runs: Runs) -> list[float]:
    """Return the training returns (means of the last 100 episodes) at the first iteration past the budget, by seed."""
    return [run["returns"][int(np.searchsorted(steps_of(run), BUDGET))] for run in runs]


def last_returns(runs: Runs) -> list[float]:
    """Return the training returns at the end, by seed."""
    return [run["returns"][-1] for run in runs]


def evaluated(runs: Runs, sampler: str) -> list[float]:
    """Return the mean returns of a sampler after training, by seed; runs without it are skipped."""
    found = [run["evaluation"] for run in runs if run["evaluation"]]
    return [statistics.mean(returns[sampler]) for returns in found if sampler in returns]


def median(values: Iterable[float], digits: int = 0) -> str:
    """Return the median of numbers."""
    return f"{statistics.median(values):.{digits}f}"


def joined(values: Iterable[float | None], digits: int = 0) -> str:
    """Return numbers separated by commas, with a dash for a missing one."""
    return ", ".join("-" if value is None else f"{value:.{digits}f}" for value in values) or "-"


def seeds_of(runs: Runs) -> str:
    """Return the seeds of runs."""
    return ", ".join(str(run["seed"]) for run in runs)


class Group(NamedTuple):
    """The runs of one row, and what they are compared with."""

    task: str
    algo: str
    variant: str
    runs: list[Record]
    groups: Groups
    """All rows of the table."""
    baseline: str
    """Variant that the others are compared with, and the preset unless the table names another."""
    preset: str

    def same_seeds(self) -> list[Record]:
        """Return the baseline's runs with the seeds of this row."""
        seeds = {run["seed"] for run in self.runs}
        return [run for run in self.groups[self.task, self.algo, self.baseline] if run["seed"] in seeds]

    def to_ppo(self) -> list[float]:
        """Return the seconds to PPO's median return at the end."""
        return seconds_to(self.runs, statistics.median(last_returns(self.ppo())))

    def ppo(self) -> list[Record]:
        """Return PPO's runs on the same task."""
        return self.groups[self.task, "ppo", self.variant]


CELLS: dict[str, Callable[[Group], str]] = {
    "task": lambda g: g.task,
    "algorithm": lambda g: ALGORITHMS[g.algo],
    "algorithm_and_variant": lambda g: ALGORITHMS[g.algo] + (f", {g.variant}" if g.variant != "preset" else ""),
    "variant": lambda g: f"**{g.variant}**" if g.variant == g.preset else g.variant,
    "seeds": lambda g: seeds_of(g.runs),
    "env_steps": lambda g: f"{g.runs[0]['env_steps'][-1] // 1000}k",
    "median": lambda g: median(scores(g.runs)),
    "bold_median": lambda g: f"**{median(scores(g.runs))}**",
    "lower_quartile": lambda g: f"{np.quantile(scores(g.runs), 0.25):.0f}",
    "iqm": lambda g: with_interval(iqm_estimate(score_matrix({"": scores(g.runs)})), 0),
    "last_iqm": lambda g: with_interval(iqm_estimate(score_matrix({"": last_returns(g.runs)})), 0),
    "by_seed": lambda g: joined(scores(g.runs)),
    "range": lambda g: f"{min(scores(g.runs)):.0f} to {max(scores(g.runs)):.0f}",
    "baseline_median": lambda g: median(scores(g.same_seeds())),
    "last_median": lambda g: median(last_returns(g.runs)),
    "bold_last_median": lambda g: f"**{median(last_returns(g.runs), 1)}**",
    "last": lambda g: joined(last_returns(g.runs)),
    "last_precise": lambda g: joined(last_returns(g.runs), 1),
    "sde": lambda g: joined(evaluated(g.runs, "sde")),
    "ode": lambda g: joined(evaluated(g.runs, "ode")),
    "exported": lambda g: joined(evaluated(g.runs, EXPORTED)),
    "exported_precise": lambda g: joined(evaluated(g.runs, EXPORTED), 1),
    "mirror_error": lambda g: joined((run["final"]["Loss/symmetry"] for run in g.runs), 4),
    "path_kl": lambda g: median((run["mean"]["Loss/path_kl"] for run in g.runs), 3),
    "gated": lambda g: median(100 * run["mean"]["Loss/gated_share"] for run in g.runs) + " %",
    "level": lambda g: median(last_returns(g.ppo())),
    "bold_to_ppo": lambda g: f"**{median(g.to_ppo())}**".replace("inf", "not reached"),
    "to_ppo": lambda g: joined(g.to_ppo()).replace("inf", "not reached"),
    "seconds": lambda g: median(run["seconds"][-1] for run in g.runs),
}
"""Cells of a row of runs, by the name that they have in ``tables.yaml``."""


def run_rows(results: Results, table: str) -> Rows:
    """Return a table of ``tables.yaml`` with a row for each group of runs."""
    spec, groups = LISTED[table], runs_of(results, table)
    baseline = spec.get("baseline", spec.get("unchanged", ""))
    rows = [Group(*key, runs, groups, baseline, spec.get("preset", baseline)) for key, runs in groups.items()]
    return [{title: CELLS[cell](row) for title, cell in spec["columns"].items()} for row in rows]


def entry_rows(results: Results, table: str) -> Rows:
    """Return a table of ``tables.yaml`` with a row for each entry of a file, or for each of several files."""
    spec = LISTED[table]
    if "files" in spec:
        files = {name: results.read(name) for name in spec["files"]}
        entries: Any = {name: of["runs"][0] if isinstance(of["runs"], list) else of for name, of in files.items()}
    else:
        entries = functools.reduce(lambda of, name: of[name], spec["rows"].split("."), results.read(spec["file"]))
    if isinstance(entries, list):
        entries = {str(run["seed"]): run for run in entries}
    rows = []
    for name, entry in entries.items():
        fields = entry if isinstance(entry, dict) else {"value": entry, "milliseconds": 1e3 * entry}
        rows.append({spec["key"]: name})
        for title, pattern in spec["columns"].items():
            try:
                rows[-1][title] = pattern.format(**fields)
            except KeyError:
                rows[-1][title] = "-"
    return rows


def overview(results: Results) -> Rows:
    """Return the README's table: a row for each task, with the median, lowest and highest return of each algorithm."""
    tables = [results.runs(name) for name in OVERVIEW]
    groups, rows = grouped(chain.from_iterable(tables)), dict[str, dict[str, str]]()
    for (task, algo, variant), runs in groups.items():
        if variant not in ("preset", "1M steps") or algo not in ("trudi", "reppo", "ppo") or task in UNLEARNT:
            continue
        compared = any(run["task"] == task for run in chain(*tables[:2]))
        returns = scores(runs) if compared else last_returns(runs)
        digits = 0 if abs(statistics.median(returns)) >= 100 else 1
        low, high = (f"{value:.{digits}f}" for value in (min(returns), max(returns)))
        steps = BUDGET if compared else runs[0]["env_steps"][-1]
        row = rows.setdefault(task, {"task": task, "env steps": f"{steps // 1000}k"})
        row[ALGORITHMS[algo]] = f"{median(returns, digits)} ({low} to {high}; {len(returns)} seeds)"
    columns = ["task", "env steps", *(ALGORITHMS[algo] for algo in ("trudi", "reppo", "ppo"))]
    return [{column: row[column] for column in columns if column in row} for row in rows.values()]


def comparison_with_seconds(results: Results) -> Rows:
    """Return what every algorithm reached on HalfCheetah, with the seconds for the budget on one thread."""
    speeds = results.read("throughput")["runs"]
    names = ALGORITHMS | {"ppo untuned": f"{ALGORITHMS['ppo']}, untuned"}
    rates = {name: speeds[f"{run}, 1 thread"]["env_steps_per_second"] for run, name in names.items()}
    rows = run_rows(results, "halfcheetah")
    return [row | {"seconds": f"{BUDGET / rates[row['algorithm']]:.0f}"} for row in rows]


def improvement(results: Results) -> Rows:
    """Return the probability that a run of TruDi ends above one of another algorithm."""
    groups, rows = runs_of(results, "comparison"), []
    for algo, name in list(ALGORITHMS.items())[1:]:
        ours, theirs = (
            score_matrix({task: scores(groups[task, of, "preset"]) for task in ALL_COMPARED}) for of in ("trudi", algo)
        )
        found = with_interval(improvement_estimate(ours, theirs), 2)
        rows.append({"algorithm": name, "P(TruDi above it) [95 %]": found, "tasks": ", ".join(ALL_COMPARED)})
    return rows


def seconds_to(runs: Runs, level: float) -> list[float]:
    """Return the training seconds until the training return first reaches ``level``; infinity if it never does."""
    reached = [np.flatnonzero(np.asarray(run["returns"]) >= level) for run in runs]
    return [run["seconds"][first[0]] if len(first) else float("inf") for run, first in zip(runs, reached, strict=True)]


def exported_runs(results: Results) -> dict[str, list[Record]]:
    """Return the runs whose exported variants were measured, by task."""
    groups = {task: runs for (task, _, _), runs in grouped(results.runs("exported")).items()}
    return {task: groups[task] for task in (HALF_CHEETAH, MULTIMODAL, "Mjlab-Cartpole-Swingup")}


def mean_returns(runs: Runs, variant: str) -> list[float]:
    """Return the mean return of an exported variant by seed."""
    return [statistics.mean(run["variants"][variant]["returns"]) for run in runs]


def kept_share(runs: Runs, variant: str) -> Estimate:
    """Return the share of the whole chain's return of the same seed that an exported variant keeps."""
    return iqm_estimate((np.array(mean_returns(runs, variant)) / np.array(mean_returns(runs, WHOLE)))[:, None])


def latencies(results: Results) -> dict[str, float]:
    """Return the milliseconds within which 99 % of the calls of each exported variant end."""
    runs = results.read("latency")["runs"]
    return {name: runs[name]["ONNX Runtime"]["p99"] for name in results.runs("exported")[0]["variants"]}


def exported(results: Results) -> Rows:
    """Return the latency and the returns of exported variants."""
    rows = []
    for name, milliseconds in latencies(results).items():
        rows.append({"variant": name, "99 % within, ms": f"{milliseconds:.2f}"})
        for task, runs in exported_runs(results).items():
            values, share = mean_returns(runs, name), kept_share(runs, name)
            bounds = "" if share.interval is None else f" [{share.interval[0]:.2f}, {share.interval[1]:.2f}]"
            shown = joined(values, 0 if max(map(abs, values)) >= 100 else 2)
            rows[-1][task] = f"{shown}: **{share.value:.2f}**{bounds}"
    return rows


def behaviour_cells(found: Sequence[Record]) -> dict[str, str]:
    """Return the success rate and the behaviour entropy over seeds."""
    entropies = [of["behaviour_entropy_bits"] for of in found]
    return {
        "success": f"{statistics.mean(1.0 - of['failures'] / of['num_runs'] for of in found):.1%}",
        "H (median)": f"**{median((e or 0.0 for e in entropies), 2)}**",
        "H by seed": joined(entropies, 2),
    }


def exported_behaviours(results: Results) -> Rows:
    """Return the behaviours of exported variants on the multimodal task."""
    runs = exported_runs(results)[MULTIMODAL]
    return [
        {"variant": name, **behaviour_cells([run["variants"][name]["behaviour"] for run in runs])}
        for name in runs[0]["variants"]
    ]


def multimodality(results: Results) -> Rows:
    """Return the behaviours of all algorithms with each of their samplers, changed presets last."""
    rows, groups, algos = [], grouped(results.runs("multimodality")), list(ALGORITHMS)
    for key in sorted(groups, key=lambda key: (key[2] != "preset", algos.index(key[1]))):
        name = ALGORITHMS[key[1]] + (f", {key[2]}" if key[2] != "preset" else "")
        for sampler in groups[key][0]["behaviour"]:
            found = [run["behaviour"][sampler] for run in groups[key]]
            row = {"algorithm": name, "sampler": sampler}
            row["return (median)"] = median((of["return_mean"] for of in found), 2)
            rows.append(row | behaviour_cells(found) | {"seeds": seeds_of(groups[key])})
    return rows


def sim_to_sim(results: Results) -> Rows:
    """Return the mean return in both simulators, with the 95 % interval of a normal mean."""

    def mean(returns: Sequence[float]) -> str:
        low, high = stats.t.interval(0.95, len(returns) - 1, np.mean(returns), stats.sem(returns))
        return f"{np.mean(returns):.0f} [{low:.0f}, {high:.0f}]"

    columns = {"training simulator": "training_simulator", "plain MuJoCo": "plain_mujoco"}
    return [
        {"seed": str(run["seed"])} | {column: mean(run[key]) for column, key in columns.items()}
        for run in results.runs("sim_to_sim")
    ]


def soak_faults(results: Results) -> Rows:
    """Return how often each fault was injected."""
    counts: Counter[str] = Counter()
    for run in results.runs("soak"):
        counts.update(segment["end"] for segment in run["segments"])
        counts.update(run["faults"])
    return [{"fault": text, "times": str(counts[kind])} for kind, text in FAULTS.items()]


def soak_returns(results: Results) -> Rows:
    """Return the last training returns with and without faults."""
    soaked = results.runs("soak")
    undisturbed = runs_of(results, "halfcheetah")[HALF_CHEETAH, "trudi", "preset"]
    found = {"with faults": (soaked, [run["return"] for run in soaked])}
    found |= {"undisturbed": (undisturbed, last_returns(undisturbed))}
    return [
        {"training": name, "return by seed": joined(returns), "seeds": seeds_of(runs)}
        for name, (runs, returns) in found.items()
    ]


TABLES: dict[str, Callable[..., Rows]] = {
    name: functools.partial(run_rows if "runs" in spec else entry_rows, table=name) for name, spec in LISTED.items()
}
"""Tables by name."""
TABLES |= {
    table.__name__: table
    for table in (
        *(overview, comparison_with_seconds, improvement),
        *(speed.throughput, speed.builds, speed.builds_returns, speed.speed_sampling, speed.speed_update),
        *(speed.speed_parts, speed.gpu_costs, speed.gpu_memory),
        *(exported, exported_behaviours, multimodality, sim_to_sim, soak_faults, soak_returns),
    )
}


def humanoid_values(results: Results) -> dict[str, str]:
    """Return the probabilities that TruDi is above REPPO on Humanoid, exploring and exported, with intervals."""
    found, groups = {}, runs_of(results, "humanoid")
    runs = [groups[HUMANOID, algo, "1M steps"] for algo in ("trudi", "reppo")]
    returns = {"above_reppo": map(last_returns, runs), "exported_above_reppo": (evaluated(r, EXPORTED) for r in runs)}
    for name, (ours, theirs) in returns.items():
        above = improvement_estimate(score_matrix({HUMANOID: ours}), score_matrix({HUMANOID: theirs}))
        for end, value in zip(("", "_low", "_high"), (above.value, *(above.interval or (0.0, 1.0))), strict=True):
            found[f"humanoid.{name}{end}"] = f"{value:.2f}"
    return found


def values(results: Results) -> dict[str, str]:
    """Return the numbers in the prose by name."""
    timed = {key: runs for key, runs in runs_of(results, "wallclock").items() if key[0] == HALF_CHEETAH}
    level = statistics.median(last_returns(timed[HALF_CHEETAH, "ppo", "2 threads"]))
    soaked = results.runs("soak")
    segments = [segment for run in soaked for segment in run["segments"]]
    growth = [value for run in soaked for value in memory_growth(run)]
    found = humanoid_values(results) | speed.values(results)
    found |= {f"wallclock.{algo}": median(seconds_to(runs, level)) for (_, algo, _), runs in timed.items()}
    return found | {
        "soak.minutes": f"{sum(run['wall_clock_s'] for run in soaked) / 60.0:.0f}",
        "soak.lost": str(sum(max(segment["lost"], 0) for segment in segments)),
        "soak.made": str(sum(segment["made"] for segment in segments)),
        "soak.most_lost": str(max(segment["lost"] for segment in segments)),
        "soak.growth": median(growth, 1),
        "soak.processes": str(len(growth)),
    }
