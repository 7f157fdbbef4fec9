# SPDX-License-Identifier: BSD-3-Clause
"""The rows of every table in the docs, and the numbers in their prose, computed from the stored results."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain

import numpy as np
from results import ALGORITHMS, Record, Results
from robustness import memory_growth
from scipy.stats import t as student

from trudi_rsl.evaluation.statistics import Estimate, improvement_estimate, iqm_estimate, score_matrix

Runs = Sequence[Record]
Groups = dict[tuple[str, str, str], list[Record]]
"""Runs by (task, algorithm, variant), in order of seed."""
Rows = list[dict[str, str]]
"""The rows of a table, each by column; a missing cell is shown as a dash."""
TABLES: dict[str, Callable[..., Rows]] = {}
"""Tables by name."""

BUDGET = 300_000
"""Environment steps at which training returns are compared."""
HALF_CHEETAH = "HalfCheetah-v5"
ALL_COMPARED = (HALF_CHEETAH, "Hopper-v5", "Ant-v5")
"""Tasks on which all algorithms are compared."""
UNCHANGED, STORED, PRESET = "unchanged", "stored", "adjoint, 4 steps"
"""Names of the ablation's baseline, of the choices' baseline (the same runs), and of the preset among the choices."""
WHOLE = "N = 8"
"""The exported variant that the others are compared with."""
WINDOW = 100
"""Iterations over which the returns of a long training are averaged."""
FAULTS = {
    "SIGKILL": "process killed",
    "SIGTERM": "process terminated",
    "nan observation": "NaN from the simulator, in one environment",
    "nan minibatch": "NaN in a minibatch",
    "full disk": "no file can be written",
}


def table(function: Callable[..., Rows]) -> Callable[..., Rows]:
    """Register a table under the function's name."""
    TABLES[function.__name__] = function
    return function


def grouped(runs: Iterable[Record]) -> Groups:
    """Return runs by task, algorithm and variant."""
    groups: Groups = {}
    for run in runs:
        groups.setdefault((run["task"], run["algo"], run["variant"]), []).append(run)
    return groups


def steps_of(run: Record) -> np.ndarray:
    """Return the environment steps by the end of each iteration in ``run["returns"]``."""
    return np.linspace(*run["env_steps"], len(run["returns"]))


def score(run: Record) -> float:
    """Return the training return (mean of the last 100 episodes) at the first iteration past the budget."""
    return run["returns"][int(np.searchsorted(steps_of(run), BUDGET))]


def scores(runs: Runs) -> list[float]:
    """Return the training returns at the budget, by seed."""
    return [score(run) for run in runs]


def joined(values: Iterable[float], digits: int = 0) -> str:
    """Return numbers separated by commas."""
    return ", ".join(f"{value:.{digits}f}" for value in values)


def seeds_of(runs: Runs) -> str:
    """Return the seeds of runs."""
    return ", ".join(str(run["seed"]) for run in runs)


def with_interval(found: Estimate, digits: int) -> str:
    """Return an estimate and its interval, or why there is none."""
    if found.interval is None:
        return f"{found.value:.{digits}f} ({found.lack})"
    return f"{found.value:.{digits}f} [{found.interval[0]:.{digits}f}, {found.interval[1]:.{digits}f}]"


def preset_runs(results: Results) -> Groups:
    """Return the runs of all algorithms with their presets, HalfCheetah's first."""
    return grouped([*results.runs("learning/halfcheetah"), *results.runs("learning/tasks")])


def in_order(groups: Groups) -> list[tuple[tuple[str, str, str], list[Record]]]:
    """Return groups sorted by task, as stored, and by the order of algorithms."""
    tasks, algos = list(dict.fromkeys(task for task, _, _ in groups)), list(ALGORITHMS)
    return sorted(groups.items(), key=lambda item: (tasks.index(item[0][0]), algos.index(item[0][1])))


@table
def comparison(results: Results, *files: str) -> Rows:
    """Return what every algorithm reached at the budget, by default on all tasks."""
    groups = grouped(
        chain.from_iterable(results.runs(f"learning/{file}") for file in files or ("halfcheetah", "tasks"))
    )
    speeds = results.read("throughput").get("runs", {})
    rows = []
    for (task, algo, _), runs in in_order(groups):
        values = scores(runs)
        ppo = statistics.median(scores(groups[task, "ppo", "preset"]))
        rows.append(
            {
                "task": task,
                "algorithm": ALGORITHMS[algo],
                "median": f"**{statistics.median(values):.0f}**",
                "IQM [95 %]": with_interval(iqm_estimate(score_matrix({"": values})), 0),
                "by seed": joined(values),
            }
        )
        ratio = statistics.median(values) / ppo
        if ppo > 0 and algo != "ppo" and ratio > 0:
            rows[-1]["of PPO's"] = f"{ratio:.1f}"
        if files == ("halfcheetah",) and f"{algo}, 1 thread" in speeds:
            rows[-1]["seconds"] = f"{BUDGET / speeds[f'{algo}, 1 thread']['env_steps_per_second']:.0f}"
    return rows


@table
def improvement(results: Results) -> Rows:
    """Return the probability that a run of TruDi ends above one of another algorithm."""
    groups, rows = preset_runs(results), []
    for algo, name in list(ALGORITHMS.items())[1:]:
        ours, theirs = (
            score_matrix({task: scores(groups[task, each, "preset"]) for task in ALL_COMPARED})
            for each in ("trudi", algo)
        )
        found = with_interval(improvement_estimate(ours, theirs), 2)
        rows.append({"algorithm": name, "P(TruDi above it) [95 %]": found, "tasks": ", ".join(ALL_COMPARED)})
    return rows


@table
def samplers(results: Results) -> Rows:
    """Return the returns of each sampler after training."""
    columns = {"sde": "SDE or sample", "ode": "ODE, random start", "ode_from_zeros": "as exported"}
    rows = []
    for (task, algo, _), runs in in_order(preset_runs(results)):
        # some of PPO's runs were not evaluated
        found = [run["evaluation"] for run in runs if run["evaluation"]]
        cells = {
            column: joined(statistics.mean(of[name]) for of in found if name in of) or "-"
            for name, column in columns.items()
        }
        rows += [{"task": task, "algorithm": ALGORITHMS[algo], **cells}] if found else []
    return rows


@table
def ant_baselines(results: Results) -> Rows:
    """Return what Ant-v5 pays without learning."""
    columns = {"return": "return", "length": "steps", "reward_survive": "for staying up, per step"}
    columns |= {"reward_ctrl": "control cost, per step"}
    return [
        {"Ant-v5": name} | {column: f"{found[key]:.{2 if 'reward' in key else 0}f}" for key, column in columns.items()}
        for name, found in results.read("ant_baselines")["policies"].items()
    ]


@table
def ant(results: Results) -> Rows:
    """Return the runs on Ant-v5 beyond the budget and without its control cost."""
    return [
        {
            "Ant-v5": variant,
            "algorithm": ALGORITHMS[algo],
            "env steps": f"{runs[0]['env_steps'][-1] // 1000}k",
            "training": joined(run["returns"][-1] for run in runs),
            "exported policy": joined(statistics.mean(run["evaluation"]["ode_from_zeros"]) for run in runs),
            "seeds": seeds_of(runs),
        }
        for name in ("long", "cost")
        for (_, algo, variant), runs in in_order(grouped(results.runs(f"learning/{name}")))
    ]


@table
def hosts(results: Results) -> Rows:
    """Return the last training returns under Isaac Lab and mjlab."""
    return [
        {
            "task": task,
            "algorithm": ALGORITHMS[algo],
            "env steps": f"{max(run['env_steps'][-1] for run in runs) // 1000}k",
            "median": f"**{statistics.median(run['returns'][-1] for run in runs):.1f}**",
            "by seed": joined((run["returns"][-1] for run in runs), 1),
            "seeds": seeds_of(runs),
        }
        for (task, algo, _), runs in grouped([*results.runs("isaaclab"), *results.runs("mjlab")]).items()
    ]


def stored_chains(results: Results, task: str = HALF_CHEETAH) -> list[Record]:
    """Return the baseline of ablations and choices: pathwise gradient, stored chains."""
    return grouped(results.runs("learning/chains"))[task, "trudi", STORED]


def ablated(results: Results) -> dict[str, list[Record]]:
    """Return the ablation's runs by variant, the baseline among them."""
    groups = grouped(results.runs("learning/ablation"))
    return {UNCHANGED: stored_chains(results)} | {variant: runs for (_, _, variant), runs in groups.items()}


def same_seeds(baseline: Runs, runs: Runs) -> str:
    """Return the median of the baseline's runs with the seeds of others."""
    seeds = {run["seed"] for run in runs}
    return f"{statistics.median(scores([run for run in baseline if run['seed'] in seeds])):.0f}"


@table
def ablation(results: Results) -> Rows:
    """Return single changes from the baseline, the best first."""
    ranked = sorted(ablated(results).items(), key=lambda item: -statistics.median(scores(item[1])))
    return [
        {
            "change": f"**{variant}**" if variant == UNCHANGED else variant,
            "median": f"{statistics.median(scores(runs)):.0f}",
            "unchanged, same seeds": same_seeds(stored_chains(results), runs),
            "worst to best": f"{min(scores(runs)):.0f} to {max(scores(runs)):.0f}",
            "by seed": joined(scores(runs)),
            "seeds": seeds_of(runs),
        }
        for variant, runs in ranked
    ]


def paper_ablation(results: Results, name: str) -> Groups:
    """Return the runs of an ablation of the paper, ``steps`` or ``eps``, by increasing value."""
    unchanged = {"steps": "N = 8", "eps": "eps = 0.1"}[name]
    groups = grouped(results.runs(f"learning/{name}"))
    groups |= {(HALF_CHEETAH, "trudi", unchanged): stored_chains(results)}
    return dict(sorted(groups.items(), key=lambda item: float(item[0][2].split(" = ")[1])))


def chosen_variants(results: Results) -> Groups:
    """Return the runs on chains, gradients and the state encoder, by task."""
    names = ("chains", "gradients", "amortised")
    groups = grouped(chain.from_iterable(results.runs(f"learning/{name}") for name in names))
    return dict(sorted(groups.items(), key=lambda item: item[0][0]))


def variant_rows(groups: Groups, baseline: str, preset: str) -> Rows:
    """Return variants by task, each with the baseline's runs of the same seeds; the preset is bold."""
    return [
        {
            "task": task,
            "variant": f"**{variant}**" if variant == preset else variant,
            "median": f"{statistics.median(scores(runs)):.0f}",
            f"{baseline}, same seeds": same_seeds(groups[task, algo, baseline], runs),
            "by seed": joined(scores(runs)),
            "ODE afterwards, by seed": joined(statistics.mean(run["evaluation"]["ode"]) for run in runs),
            "mean KL [nats]": f"{statistics.median(run['mean']['Loss/path_kl'] for run in runs):.3f}",
            "beyond eps": f"{100 * statistics.median(run['mean']['Loss/gated_share'] for run in runs):.0f} %",
            "seeds": seeds_of(runs),
        }
        for (task, algo, variant), runs in groups.items()
    ]


@table
def steps(results: Results) -> Rows:
    """Return the ablation of denoising steps."""
    return variant_rows(paper_ablation(results, "steps"), "N = 8", "N = 8")


@table
def eps(results: Results) -> Rows:
    """Return the ablation of the trust region."""
    return variant_rows(paper_ablation(results, "eps"), "eps = 0.1", "eps = 0.1")


@table
def choices(results: Results) -> Rows:
    """Return the variants of chains, gradients and network."""
    return variant_rows(chosen_variants(results), STORED, PRESET)


def timed_runs(results: Results) -> list[Record]:
    """Return the runs that are compared by wall-clock time."""
    return [*results.runs("learning/wallclock"), *results.runs("mjlab")]


def seconds_to(run: Record, level: float) -> float:
    """Return the training seconds until the training return first reaches ``level``; infinity if it never does."""
    reached = np.asarray(run["returns"]) >= level
    return run["seconds"][int(reached.argmax())] if reached.any() else float("inf")


def time_to_ppo(groups: Groups) -> dict[tuple[str, str], tuple[float, list[float]]]:
    """Return, by task and algorithm, PPO's median return at the end and the seconds to it by seed."""
    levels = {
        task: statistics.median(run["returns"][-1] for run in runs)
        for (task, algo, _), runs in groups.items()
        if algo == "ppo"
    }
    return {
        (task, algo): (levels[task], [seconds_to(run, levels[task]) for run in runs])
        for (task, algo, _), runs in groups.items()
    }


@table
def wallclock(results: Results) -> Rows:
    """Return the seconds to PPO's return."""

    def shown(seconds: float) -> str:
        return f"{seconds:.0f}" if seconds < float("inf") else "not reached"

    groups = grouped(timed_runs(results))
    reached, rows = time_to_ppo(groups), []
    for (task, algo, _), runs in groups.items():
        level, seconds = reached[task, algo]
        rows.append(
            {
                "task": task,
                "algorithm": ALGORITHMS[algo],
                "return to reach": f"{level:.0f}",
                "median seconds": f"**{shown(statistics.median(seconds))}**",
                "by seed": ", ".join(map(shown, seconds)),
                "seconds of the whole run": f"{statistics.median(run['seconds'][-1] for run in runs):.0f}",
                "median return at its end": f"{statistics.median(run['returns'][-1] for run in runs):.0f}",
                "seeds": seeds_of(runs),
            }
        )
    return rows


@table
def throughput(results: Results) -> Rows:
    """Return speeds and where the time goes."""
    parts = ("simulate", "sample", "targets", "critic step", "actor step", "update")
    rows = []
    for name, run in results.read("throughput")["runs"].items():
        seconds, (slow, fast) = run["seconds_per_iteration"], run["slowest_and_fastest"]
        shown = f"{run['env_steps_per_second']:.0f} ({slow:.0f} to {fast:.0f})"
        row = {"run": name, "env-steps/s (slowest to fastest iteration)": shown}
        for part in parts:
            share = f"{100 * seconds[part] / seconds['iteration']:.0f} %" if part in seconds else "-"
            row["whole update" if part == "update" else part] = share
        rows.append(row | {"path KL of a minibatch, ms": f"{run['path_kl_ms']:.1f}" if "path_kl_ms" in run else "-"})
    return rows


def digits(value: float) -> str:
    """Return a number with three digits, or without decimals."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def milliseconds(timing: Mapping[str, float]) -> str:
    """Return a median with its quartiles."""
    return f"{digits(timing['median'])} [{digits(timing['q25'])}, {digits(timing['q75'])}]"


def speed_cells(results: Results, device: str, section: str) -> list[tuple[str, str, Record]]:
    """Return run, name and record of every measured cell."""
    runs = results.read(f"speed_{device}")["runs"]
    return [
        (label, name, cell)
        for label, run in runs.items()
        for name, cell in run.get(section, {}).items()
        if "skipped" not in cell
    ]


@table
def speed_sampling(results: Results, device: str) -> Rows:
    """Return the times of action batches, one row per number of environments."""
    rows: dict[tuple[str, str, int], dict[str, str]] = {}
    for label, _, cell in speed_cells(results, device, "sampling"):
        column = f"N = {cell['shape']['num_denoise_steps']}" if cell["actor"] == "diffusion" else cell["actor"]
        envs = cell["shape"]["num_envs"]
        first = {"run": label, "code": cell["mode"], "environments": str(envs)}
        rows.setdefault((label, cell["mode"], envs), first)[column] = milliseconds(cell["ms"])
    return list(rows.values())


@table
def speed_update(results: Results, device: str) -> Rows:
    """Return the times of updates, one row per variant."""
    rows, cells = [], speed_cells(results, device, "update")
    gaussian = {
        (label, cell["mode"], cell["precision"], str(cell["shape"])): cell["ms"]["median"]
        for label, _, cell in cells
        if cell["actor"] == "gaussian"
    }
    for label, name, cell in cells:
        twin = gaussian.get((label, cell["mode"], cell["precision"], str(cell["shape"])))
        row = {"run": label, "variant": name, "ms per minibatch": milliseconds(cell["ms"])}
        row["ms per update"] = milliseconds(cell["update_ms"])
        if twin and cell["actor"] != "ppo preset":
            row["of Gaussian"] = f"{cell['ms']['median'] / twin:.2f}"
        if "flops" in cell:
            row["GFLOP per minibatch"] = digits(1e-9 * cell["flops"])
            row["of a large product"] = f"{100 * cell['share_of_big_gemm']:.0f} %"
            row["of its own"] = f"{100 * cell['share_of_own_gemm']:.0f} %"
        rows.append(row)
    return rows


@table
def speed_parts(results: Results, device: str) -> Rows:
    """Return the times of an update's parts."""
    return [
        {"run": label, "variant": name}
        | {
            part: milliseconds(cell["parts"][part]["ms"]) if part in cell["parts"] else "-"
            for part in ("critic step", "actor step", "path KL", "optimizers")
        }
        for label, name, cell in speed_cells(results, device, "update")
        if cell.get("parts")
    ]


@table
def profile_parts(results: Results) -> Rows:
    """Return the milliseconds of an iteration's parts."""
    return [{"part": name, "ms": f"{1e3 * s:.1f}"} for name, s in results.read("profile")["parts"].items()]


@table
def profile_operators(results: Results) -> Rows:
    """Return the milliseconds of an iteration by class of operator."""
    classes = results.read("profile")["operators"]["classes"]
    return [{"operators": name, "ms": f"{1e3 * s:.1f}"} for name, s in classes.items()]


@table
def latency(results: Results) -> Rows:
    """Return the milliseconds per action of exported policies."""
    columns = {"p50": "median", "p99": "99 %", "worst": "longest"}
    return [
        {"policy": name}
        | {
            f"{runtime}, {title}": f"{run[runtime][part]:.3f}" if runtime in run else "-"
            for runtime in ("ONNX Runtime", "TorchScript")
            for part, title in columns.items()
        }
        | {"difference": f"{run['parity_error']:.1e}"}
        for name, run in results.read("latency")["runs"].items()
    ]


def exported_runs(results: Results) -> dict[str, list[Record]]:
    """Return the runs whose exported variants were measured, by task."""
    groups = {task: runs for (task, _, _), runs in grouped(results.runs("exported")).items()}
    return {task: groups[task] for task in (HALF_CHEETAH, "PlanarObstacle-v0", "Mjlab-Cartpole-Swingup")}


def mean_returns(runs: Runs, variant: str) -> list[float]:
    """Return the mean return of an exported variant by seed."""
    return [statistics.mean(run["variants"][variant]["returns"]) for run in runs]


def kept_shares(runs: Runs) -> dict[str, Estimate]:
    """Return the share of the whole chain's return of the same seed that each exported variant keeps."""
    whole = np.array(mean_returns(runs, WHOLE))
    return {name: iqm_estimate((np.array(mean_returns(runs, name)) / whole)[:, None]) for name in runs[0]["variants"]}


def latencies(results: Results) -> dict[str, float]:
    """Return the milliseconds within which 99 % of the calls of each exported variant end."""
    runs = results.read("latency")["runs"]
    return {name: runs[name]["ONNX Runtime"]["p99"] for name in results.runs("exported")[0]["variants"]}


@table
def exported(results: Results) -> Rows:
    """Return the latency and the returns of exported variants."""
    rows = [{"variant": name, "99 % within, ms": f"{ms:.2f}"} for name, ms in latencies(results).items()]
    for task, runs in exported_runs(results).items():
        shares = kept_shares(runs)
        for row in rows:
            values, share = mean_returns(runs, row["variant"]), shares[row["variant"]]
            bounds = "" if share.interval is None else f" [{share.interval[0]:.2f}, {share.interval[1]:.2f}]"
            shown = joined(values, 0 if max(map(abs, values)) >= 100 else 2)
            row[task] = f"{shown}: **{share.value:.2f}**{bounds}"
    return rows


def behaviour_cells(found: Sequence[Record]) -> dict[str, str]:
    """Return the behaviour entropy and the success rate over seeds."""
    entropies = [of["behaviour_entropy_bits"] for of in found]
    return {
        "H in bits, median": f"**{statistics.median(e or 0.0 for e in entropies):.2f}**",
        "H by seed": ", ".join("-" if e is None else f"{e:.2f}" for e in entropies),
        "success": f"{statistics.mean(1.0 - of['failures'] / of['num_runs'] for of in found):.1%}",
    }


@table
def exported_behaviours(results: Results) -> Rows:
    """Return the behaviours of exported variants on the multimodal task."""
    runs = exported_runs(results)["PlanarObstacle-v0"]
    return [
        {"variant": name, **behaviour_cells([run["variants"][name]["behaviour"] for run in runs])}
        for name in runs[0]["variants"]
    ]


@table
def multimodality(results: Results) -> Rows:
    """Return the behaviours of all algorithms with each of their samplers."""
    groups = in_order(grouped(results.runs("multimodality")))
    rows = []
    for (_, algo, variant), runs in sorted(groups, key=lambda item: item[0][2] != "preset"):
        name = ALGORITHMS[algo] + (f", {variant}" if variant != "preset" else "")
        for sampler in runs[0]["behaviour"]:
            found = [run["behaviour"][sampler] for run in runs]
            median = f"{statistics.median(of['return_mean'] for of in found):.2f}"
            row = {"algorithm": name, "sampler": sampler, "return, median": median}
            rows.append(row | behaviour_cells(found) | {"seeds": seeds_of(runs)})
    return rows


@table
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


@table
def soak_faults(results: Results) -> Rows:
    """Return how often each fault was injected."""
    counts: Counter[str] = Counter()
    for run in results.runs("soak"):
        counts.update(segment["end"] for segment in run["segments"])
        counts.update(run["faults"])
    return [{"fault": text, "times": str(counts[kind])} for kind, text in FAULTS.items()]


@table
def soak_returns(results: Results) -> Rows:
    """Return the last training returns with and without faults."""
    runs = results.runs("soak")
    undisturbed = grouped(results.runs("learning/halfcheetah"))[HALF_CHEETAH, "trudi", "preset"]
    return [
        {"training": "with faults", "return by seed": joined(run["return"] for run in runs), "seeds": seeds_of(runs)},
        {
            "training": "undisturbed",
            "return by seed": joined(run["returns"][-1] for run in undisturbed),
            "seeds": seeds_of(undisturbed),
        },
    ]


@table
def resume(results: Results) -> Rows:
    """Return the largest difference of parameters between resumed and uninterrupted trainings."""
    differences = results.read("resume")["differences"]
    return [{"algorithm": algo, "largest difference": f"{value:g}"} for algo, value in differences.items()]


@table
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


@table
def long_run(results: Results) -> Rows:
    """Return the returns, behaviours and memory of long trainings."""
    rows = []
    for run in results.runs("long_run"):
        returns, entropy = run["returns"], run["behaviour"]["behaviour_entropy_bits"]
        best = max(statistics.mean(returns[i : i + WINDOW]) for i in range(0, len(returns) - WINDOW + 1, WINDOW))
        rows.append(
            {
                "seed": str(run["seed"]),
                f"best {WINDOW} iterations": f"{best:.2f}",
                f"last {WINDOW} iterations": f"{statistics.mean(returns[-WINDOW:]):.2f}",
                "behaviour entropy, bits": "-" if entropy is None else f"{entropy:.2f}",
                "MB per 1000 iterations": f"{run['growth_mb_per_1000_iterations']:.1f}",
            }
        )
    return rows


@table
def scaling(results: Results) -> Rows:
    """Return the share of its rate alone that a process keeps beside others."""
    shares = results.read("scaling")["efficiency"]
    return [{"processes": name, "rate of each": f"{100.0 * share:.0f} %"} for name, share in shares.items()]


@table
def machines(results: Results) -> Rows:
    """Return the processor and the versions of each kind of measurement."""
    files = ("throughput", "speed_cpu", "latency", "scaling")
    found = {name: (results.read(name)["processor"], results.read(name)["versions"]) for name in files}
    for name in ("learning/halfcheetah", "mjlab", "isaaclab"):
        found[name] = ("", results.runs(name)[0]["versions"])
    return [
        {
            "results": name,
            "processor": processor or "-",
            "versions": ", ".join(f"{package} {number}" for package, number in versions.items()),
        }
        for name, (processor, versions) in found.items()
    ]


def values(results: Results) -> dict[str, str]:
    """Return the numbers in the prose by name."""
    seconds = time_to_ppo(grouped(results.runs("learning/wallclock")))
    found = {f"wallclock.{algo}": f"{statistics.median(by_seed):.0f}" for (_, algo), (_, by_seed) in seconds.items()}
    soaked = results.runs("soak")
    segments = [segment for run in soaked for segment in run["segments"]]
    growth = [value for run in soaked for value in memory_growth(run)]
    found |= {
        "soak.minutes": f"{sum(run['wall_clock_s'] for run in soaked) / 60.0:.0f}",
        "soak.lost": str(sum(max(segment["lost"], 0) for segment in segments)),
        "soak.made": str(sum(segment["made"] for segment in segments)),
        "soak.most_lost": str(max(segment["lost"] for segment in segments)),
        "soak.growth": f"{statistics.median(growth):.1f}",
        "soak.processes": str(len(growth)),
    }
    runs = results.read("speed_cpu")["runs"].values()
    return found | {"speed.peak_mib": f"{max(run['peak_rss_mib_of_the_process'] for run in runs):.0f}"}
