# SPDX-License-Identifier: BSD-3-Clause
"""The rows of every table in the docs, and the numbers in their prose, computed from the stored results.

Tables that only list the entries of a file are in ``tables.yaml``.
"""

from __future__ import annotations

import functools
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from results import ALGORITHMS, Record, Results
from robustness import memory_growth
from scipy.stats import t as student

from trudi_rsl.evaluation.statistics import Estimate, improvement_estimate, iqm_estimate, score_matrix

Runs = Sequence[Record]
Groups = dict[tuple[str, str, str], list[Record]]
"""Runs by (task, algorithm, variant), in order of seed."""
Rows = list[dict[str, str]]
"""The rows of a table, each by column; a missing cell is shown as a dash."""

LISTED = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text())
BUDGET = 300_000
"""Environment steps at which training returns are compared."""
HALF_CHEETAH = "HalfCheetah-v5"
ALL_COMPARED = (HALF_CHEETAH, "Hopper-v5", "Ant-v5")
"""Tasks on which all algorithms are compared."""
STORED = "stored"
"""The chosen variant that ablations and choices are compared with: pathwise gradient, stored chains."""
WHOLE, MULTIMODAL = "N = 8", "PlanarObstacle-v0"
"""The exported variant that the others are compared with, and the task on which behaviours are measured."""
WINDOW = 100
"""Iterations over which the returns of a long training are averaged."""
FAULTS = {
    "SIGKILL": "process killed",
    "SIGTERM": "process terminated",
    "nan observation": "NaN from the simulator, in one environment",
    "nan minibatch": "NaN in a minibatch",
    "full disk": "no file can be written",
}


def grouped(runs: Iterable[Record]) -> Groups:
    """Return runs by task, algorithm and variant."""
    groups: Groups = {}
    for run in runs:
        groups.setdefault((run["task"], run["algo"], run["variant"]), []).append(run)
    return groups


def learning(results: Results, *names: str) -> Groups:
    """Return the runs of learning tables, sorted by task in order of appearance, then in the order of algorithms."""
    groups = grouped(chain.from_iterable(results.runs(f"learning/{name}") for name in names))
    tasks, algos = list(dict.fromkeys(task for task, _, _ in groups)), list(ALGORITHMS)
    return dict(sorted(groups.items(), key=lambda item: (tasks.index(item[0][0]), algos.index(item[0][1]))))


def host_groups(results: Results) -> Groups:
    """Return the runs under Isaac Lab and mjlab."""
    return grouped([*results.runs("isaaclab"), *results.runs("mjlab")])


def timed_groups(results: Results) -> Groups:
    """Return the runs that are compared by wall-clock time."""
    return grouped([*results.runs("learning/wallclock"), *results.runs("mjlab")])


def steps_of(run: Record) -> np.ndarray:
    """Return the environment steps by the end of each iteration in ``run["returns"]``."""
    return np.linspace(*run["env_steps"], len(run["returns"]))


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


def with_interval(found: Estimate, digits: int) -> str:
    """Return an estimate and its interval, or why there is none."""
    if found.interval is None:
        return f"{found.value:.{digits}f} ({found.lack})"
    return f"{found.value:.{digits}f} [{found.interval[0]:.{digits}f}, {found.interval[1]:.{digits}f}]"


def listed(results: Results, spec: Mapping[str, Any]) -> Rows:
    """Return a table of ``tables.yaml``; a cell is empty where its numbers are missing."""
    entries = functools.reduce(lambda record, name: record[name], spec["rows"].split("."), results.read(spec["file"]))
    rows = []
    for name, entry in entries.items():
        scaled = {} if isinstance(entry, dict) else {"milliseconds": 1e3 * entry, "percent": 100 * entry}
        fields, row = entry if isinstance(entry, dict) else {"value": entry} | scaled, {spec["key"]: name}
        for column, pattern in spec["columns"].items():
            try:
                row[column] = pattern.format(**fields)
            except KeyError:
                row[column] = "-"
        rows.append(row)
    return rows


def comparison(results: Results, *names: str) -> Rows:
    """Return what every algorithm reached at the budget, by default on all tasks."""
    groups, rows = learning(results, *(names or ("halfcheetah", "tasks"))), []
    speeds = results.read("throughput")["runs"]
    for (task, algo, _), runs in groups.items():
        row = {"task": task, "algorithm": ALGORITHMS[algo], "median": f"**{median(scores(runs))}**"}
        row["IQM [95 %]"] = with_interval(iqm_estimate(score_matrix({"": scores(runs)})), 0)
        row["by seed"] = joined(scores(runs))
        ours, ppo = (statistics.median(scores(of)) for of in (runs, groups[task, "ppo", "preset"]))
        row["of PPO's"] = f"{ours / ppo:.1f}" if algo != "ppo" and min(ours, ppo) > 0 else "-"
        if names == ("halfcheetah",):
            row["seconds"] = f"{BUDGET / speeds[f'{algo}, 1 thread']['env_steps_per_second']:.0f}"
        rows.append(row)
    return rows


def improvement(results: Results) -> Rows:
    """Return the probability that a run of TruDi ends above one of another algorithm."""
    groups, rows = learning(results, "halfcheetah", "tasks"), []
    for algo, name in list(ALGORITHMS.items())[1:]:
        ours, theirs = (
            score_matrix({task: scores(groups[task, of, "preset"]) for task in ALL_COMPARED}) for of in ("trudi", algo)
        )
        found = with_interval(improvement_estimate(ours, theirs), 2)
        rows.append({"algorithm": name, "P(TruDi above it) [95 %]": found, "tasks": ", ".join(ALL_COMPARED)})
    return rows


def samplers(results: Results) -> Rows:
    """Return the returns of each sampler after training."""
    return [
        {
            "task": task,
            "algorithm": ALGORITHMS[algo],
            "SDE or sample": joined(evaluated(runs, "sde")),
            "ODE, random start": joined(evaluated(runs, "ode")),
            "as exported": joined(evaluated(runs, "ode_from_zeros")),
        }
        for (task, algo, _), runs in learning(results, "halfcheetah", "tasks").items()
        if any(run["evaluation"] for run in runs)
    ]


def ant(results: Results) -> Rows:
    """Return the runs on Ant-v5 beyond the budget and without its control cost."""
    return [
        {
            "Ant-v5": variant,
            "algorithm": ALGORITHMS[algo],
            "env steps": f"{runs[0]['env_steps'][-1] // 1000}k",
            "training": joined(last_returns(runs)),
            "exported policy": joined(evaluated(runs, "ode_from_zeros")),
            "seeds": seeds_of(runs),
        }
        for name in ("long", "cost")
        for (_, algo, variant), runs in learning(results, name).items()
    ]


def hosts(results: Results) -> Rows:
    """Return the last training returns under Isaac Lab and mjlab."""
    return [
        {
            "task": task,
            "algorithm": ALGORITHMS[algo],
            "env steps": f"{runs[0]['env_steps'][-1] // 1000}k",
            "median": f"**{median(last_returns(runs), 1)}**",
            "by seed": joined(last_returns(runs), 1),
            "seeds": seeds_of(runs),
        }
        for (task, algo, _), runs in host_groups(results).items()
    ]


def changed_variants(results: Results, name: str, unchanged: str) -> Groups:
    """Return an ablation's runs, with the baseline's under the name ``unchanged``."""
    baseline = learning(results, "chains")[HALF_CHEETAH, "trudi", STORED]
    return {(HALF_CHEETAH, "trudi", unchanged): baseline} | learning(results, name)


def paper_ablation(results: Results, name: str, unchanged: str) -> Groups:
    """Return the runs of an ablation of the paper, by increasing value."""
    groups = changed_variants(results, name, unchanged)
    return dict(sorted(groups.items(), key=lambda item: float(item[0][2].split(" = ")[1])))


def variant_cells(groups: Groups, key: tuple[str, str, str], baseline: str, preset: str) -> dict[str, str]:
    """Return what all tables of variants show of one: its returns, and the baseline's with the same seeds."""
    seeds = {run["seed"] for run in groups[key]}
    same = [run for run in groups[*key[:2], baseline] if run["seed"] in seeds]
    name = f"**{key[2]}**" if key[2] == preset else key[2]
    return {"variant": name, "median": median(scores(groups[key])), f"{baseline}, same seeds": median(scores(same))}


def ablation(results: Results) -> Rows:
    """Return single changes from the baseline, the best first."""
    groups = changed_variants(results, "ablation", "unchanged")
    return [
        {
            **variant_cells(groups, key, "unchanged", "unchanged"),
            "worst to best": f"{min(scores(runs)):.0f} to {max(scores(runs)):.0f}",
            "by seed": joined(scores(runs)),
            "seeds": seeds_of(runs),
        }
        for key, runs in sorted(groups.items(), key=lambda item: -statistics.median(scores(item[1])))
    ]


def variants(groups: Groups, baseline: str, preset: str) -> Rows:
    """Return variants by task, each with the baseline's runs of the same seeds; the preset is bold."""
    return [
        {
            "task": key[0],
            **variant_cells(groups, key, baseline, preset),
            "by seed": joined(scores(runs)),
            "ODE afterwards, by seed": joined(evaluated(runs, "ode")),
            "mean KL [nats]": median((run["mean"]["Loss/path_kl"] for run in runs), 3),
            "beyond eps": median(100 * run["mean"]["Loss/gated_share"] for run in runs) + " %",
            "seeds": seeds_of(runs),
        }
        for key, runs in groups.items()
    ]


def chosen_variants(results: Results) -> Groups:
    """Return the runs on chains, gradients and the state encoder."""
    return learning(results, "chains", "gradients", "amortised")


def seconds_to(run: Record, level: float) -> float:
    """Return the training seconds until the training return first reaches ``level``; infinity if it never does."""
    reached = np.asarray(run["returns"]) >= level
    return run["seconds"][int(reached.argmax())] if reached.any() else float("inf")


def time_to_ppo(groups: Groups) -> dict[tuple[str, str], tuple[float, list[float]]]:
    """Return, by task and algorithm, PPO's median return at the end and the seconds to it by seed."""
    levels = {task: statistics.median(last_returns(runs)) for (task, algo, _), runs in groups.items() if algo == "ppo"}
    return {
        (task, algo): (levels[task], [seconds_to(run, levels[task]) for run in runs])
        for (task, algo, _), runs in groups.items()
    }


def wallclock(results: Results) -> Rows:
    """Return the seconds to PPO's return."""
    groups = timed_groups(results)
    reached = time_to_ppo(groups)
    return [
        {
            "task": task,
            "algorithm": ALGORITHMS[algo],
            "return to reach": f"{reached[task, algo][0]:.0f}",
            "median seconds": f"**{median(reached[task, algo][1])}**".replace("inf", "not reached"),
            "by seed": joined(reached[task, algo][1]).replace("inf", "not reached"),
            "seconds of the whole run": median(run["seconds"][-1] for run in runs),
            "median return at its end": median(last_returns(runs)),
            "seeds": seeds_of(runs),
        }
        for (task, algo, _), runs in groups.items()
    ]


def throughput(results: Results) -> Rows:
    """Return speeds and where the time goes."""
    columns = {part: part for part in ("simulate", "sample", "targets", "critic step", "actor step")}
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


def evaluation_cost(results: Results) -> Rows:
    """Return the cost of evaluating checkpoints during training."""
    return [
        {
            "algorithm": algo,
            "evaluation": f"{run['evaluation_s']:.2f} s",
            "iteration": f"{run['iteration_s']:.2f} s",
            "share of training": f"{100 * run['evaluation_s'] / (run['save_interval'] * run['iteration_s']):.1f} %",
        }
        for algo, run in results.read("evaluation_cost")["runs"].items()
    ]


def digits(value: float) -> str:
    """Return a number with three digits, or without decimals."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def quartiles(timing: Mapping[str, float]) -> str:
    """Return a median with its quartiles."""
    return f"{digits(timing['median'])} [{digits(timing['q25'])}, {digits(timing['q75'])}]"


class Timed(NamedTuple):
    """A measured cell of ``speed.py``."""

    run: str
    name: str
    cell: Record

    def twin(self) -> tuple[str, ...]:
        """Return what an update has in common with that of a Gaussian actor."""
        return self.run, *(str(self.cell[key]) for key in ("mode", "precision", "shape"))


def speed_cells(results: Results, device: str, section: str) -> list[Timed]:
    """Return every measured cell."""
    runs = results.read(f"speed_{device}")["runs"]
    cells = (Timed(run, *item) for run, sections in runs.items() for item in sections.get(section, {}).items())
    return [timed for timed in cells if "skipped" not in timed.cell]


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
    rows, cells = [], speed_cells(results, device, "update")
    gaussian = {timed.twin(): timed.cell["ms"]["median"] for timed in cells if timed.cell["actor"] == "gaussian"}
    for timed in cells:
        cell, row = timed.cell, {"run": timed.run, "variant": timed.name}
        row |= {"ms per minibatch": quartiles(cell["ms"]), "ms per update": quartiles(cell["update_ms"])}
        if timed.twin() in gaussian and cell["actor"] != "ppo preset":
            row["of Gaussian"] = f"{cell['ms']['median'] / gaussian[timed.twin()]:.2f}"
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
        values = np.array(returns)
        half = student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
        return f"{values.mean():.0f} [{values.mean() - half:.0f}, {values.mean() + half:.0f}]"

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
    undisturbed = learning(results, "halfcheetah")[HALF_CHEETAH, "trudi", "preset"]
    found = {"with faults": (soaked, [run["return"] for run in soaked])}
    found |= {"undisturbed": (undisturbed, last_returns(undisturbed))}
    return [
        {"training": name, "return by seed": joined(returns), "seeds": seeds_of(runs)}
        for name, (runs, returns) in found.items()
    ]


def long_run(results: Results) -> Rows:
    """Return the returns, behaviours and memory of long trainings."""
    rows = []
    for run in results.runs("long_run"):
        windows = [
            statistics.mean(run["returns"][i : i + WINDOW]) for i in range(0, len(run["returns"]) - WINDOW + 1, WINDOW)
        ]
        row = {"seed": str(run["seed"]), f"best {WINDOW} iterations": f"{max(windows):.2f}"}
        row[f"last {WINDOW} iterations"] = f"{statistics.mean(run['returns'][-WINDOW:]):.2f}"
        row["behaviour entropy, bits"] = joined([run["behaviour"]["behaviour_entropy_bits"]], 2)
        rows.append(row | {"MB per 1000 iterations": f"{run['growth_mb_per_1000_iterations']:.1f}"})
    return rows


def machines(results: Results) -> Rows:
    """Return the processor and the versions of each kind of measurement."""
    records = {name: results.read(name) for name in ("throughput", "speed_cpu", "latency", "scaling")}
    records |= {name: results.runs(name)[0] for name in ("learning/halfcheetah", "mjlab", "isaaclab")}
    return [
        {
            "results": name,
            "processor": record.get("processor", "-"),
            "versions": ", ".join(map(" ".join, record["versions"].items())),
        }
        for name, record in records.items()
    ]


TABLES: dict[str, Callable[..., Rows]] = {
    table.__name__: table
    for table in (
        *(comparison, improvement, samplers, ant, hosts, ablation, wallclock, throughput, evaluation_cost),
        *(speed_sampling, speed_update, speed_parts, exported, exported_behaviours, multimodality, sim_to_sim),
        *(soak_faults, soak_returns, long_run, machines),
    )
}
"""Tables by name."""
TABLES |= {name: functools.partial(listed, spec=spec) for name, spec in LISTED.items()}
TABLES |= {
    "steps": lambda results: variants(paper_ablation(results, "steps", "N = 8"), "N = 8", "N = 8"),
    "eps": lambda results: variants(paper_ablation(results, "eps", "eps = 0.1"), "eps = 0.1", "eps = 0.1"),
    "choices": lambda results: variants(chosen_variants(results), STORED, "adjoint, 4 steps"),
}


def values(results: Results) -> dict[str, str]:
    """Return the numbers in the prose by name."""
    seconds = time_to_ppo(learning(results, "wallclock"))
    soaked = results.runs("soak")
    segments = [segment for run in soaked for segment in run["segments"]]
    growth = [value for run in soaked for value in memory_growth(run)]
    speed = results.read("speed_cpu")["runs"].values()
    return {f"wallclock.{algo}": median(by_seed) for (_, algo), (_, by_seed) in seconds.items()} | {
        "soak.minutes": f"{sum(run['wall_clock_s'] for run in soaked) / 60.0:.0f}",
        "soak.lost": str(sum(max(segment["lost"], 0) for segment in segments)),
        "soak.made": str(sum(segment["made"] for segment in segments)),
        "soak.most_lost": str(max(segment["lost"] for segment in segments)),
        "soak.growth": median(growth, 1),
        "soak.processes": str(len(growth)),
        "speed.peak_mib": f"{max(run['peak_rss_mib_of_the_process'] for run in speed):.0f}",
    }
