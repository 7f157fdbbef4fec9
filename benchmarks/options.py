# SPDX-License-Identifier: BSD-3-Clause
"""What each option costs that a swapped project brings along: an iteration beside the plain one, with equal rows.

    python benchmarks/options.py
    python benchmarks/options.py --device cuda --output /tmp/gpu agent.algorithm.compile=default

TruDi's preset of the planar task, on one thread. The options take turns, an iteration each, so that whatever else the
machine does meets all of them; ``times_plain`` is the median ratio to the plain iteration of the same turn. By default
nothing is compiled.
"""

from __future__ import annotations

import contextlib
import io
import statistics
from collections.abc import Sequence
from typing import Any

import torch
from results import Record, argument_parser, chosen_results, versions
from rich.progress import track
from throughput import medians, timed_iteration, training, watched

from trudi_rsl.deploy.provenance import machine

VECTORS, PIXELS = "PlanarObstacle-v0", "PlanarObstaclePixels-v0"
WARM_UP, MEASURED = 2, 7
MIRROR = "data_augmentation_func:'trudi_rsl.tasks.mirrors:planar_obstacle'"
AUGMENTED = f"{MIRROR},use_data_augmentation:true"
RND = "weight:0.1,num_outputs:1,predictor_hidden_dims:[-1],target_hidden_dims:[-1]"
CNN = "class_name:CNNModel,cnn_cfg:{output_channels:[16,32],kernel_size:[5,3],stride:[2,2],activation:relu}"
"""What the train command chooses for images of this size."""
GRU = "class_name:RNNModel,rnn_type:gru,rnn_hidden_dim:64"

OPTIONS: dict[str, tuple[str, Sequence[str]]] = {
    "plain": (VECTORS, ()),
    "mirror error logged": (VECTORS, [f"agent.algorithm.symmetry_cfg={{{MIRROR}}}"]),
    "augmentation": (VECTORS, [f"agent.algorithm.symmetry_cfg={{{AUGMENTED}}}"]),
    "augmentation and mirror loss": (
        VECTORS,
        [f"agent.algorithm.symmetry_cfg={{{AUGMENTED},use_mirror_loss:true,mirror_loss_coeff:0.1}}"],
    ),
    "RND": (VECTORS, [f"agent.algorithm.rnd_cfg={{{RND}}}", "agent.obs_groups.rnd_state=[policy]"]),
    "GRU of 64 in actor and critic": (
        VECTORS,
        [f"agent.algorithm.{name}_encoder={{{GRU}}}" for name in ("actor", "critic")],
    ),
    "images 32 x 32": (PIXELS, [f"agent.algorithm.{name}_encoder={{{CNN}}}" for name in ("actor", "critic")]),
}
"""Names of the options, with the task and the overrides that turn each on."""


def options(quick: bool, device: str, overrides: Sequence[str]) -> Record:
    """Return the milliseconds of an iteration of each option by part, and their ratio to those of the plain one."""
    torch.set_num_threads(1)
    warm_up, turns = (1, 1) if quick else (WARM_UP, MEASURED)
    runs: dict[str, tuple[Any, Any]] = {}
    rows: dict[str, tuple[int, int]] = {}
    for name, (task, own) in OPTIONS.items():
        with contextlib.redirect_stdout(io.StringIO()):
            settings = {"agent.seed": 1, "agent.device": device}
            runner, cfg = training(task, "trudi", settings, ["agent.algorithm.compile=off", *own, *overrides])
            runs[name] = runner, watched(runner, {})
        updates = cfg.agent.algorithm.num_learning_epochs * cfg.agent.algorithm.num_mini_batches
        rows[name] = cfg.env.num_envs * cfg.agent.num_steps_per_env, updates
    if len(set(rows.values())) > 1:
        raise RuntimeError(f"The options have other rows and updates than the plain iteration: {rows}")
    seconds: dict[str, list[dict[str, float]]] = {name: [] for name in runs}
    for turn in track(range(warm_up + turns), "turns"):
        for name, (runner, watch) in runs.items():
            iteration = timed_iteration(runner, watch)
            if turn >= warm_up:
                seconds[name].append(iteration)
    plain = [iteration["iteration"] for iteration in seconds["plain"]]
    records = {}
    for name, iterations in seconds.items():
        ratios = [own["iteration"] / base for own, base in zip(iterations, plain, strict=True)]
        milliseconds = {part: 1e3 * seconds for part, seconds in medians(iterations).items()}
        records[name] = {"times_plain": statistics.median(ratios), "milliseconds": milliseconds}
        parts = "  ".join(f"{part} {value:.0f}" for part, value in milliseconds.items())
        print(f"{name:32} {records[name]['times_plain']:5.2f} x   {parts} ms")
    (shape,) = set(rows.values())
    about = {"rows": shape[0], "updates": shape[1], "turns": turns, "overrides": list(overrides)}
    return about | {
        "device": device,
        "processor": machine(),
        "versions": versions("torch", "rsl-rl-lib"),
        "runs": records,
    }


if __name__ == "__main__":
    parser = argument_parser(__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("overrides", nargs="*", metavar="NAME=VALUE", help="settings of all options")
    args = parser.parse_intermixed_args()
    chosen_results(args).write("options", options(args.quick, args.device, args.overrides))
