# SPDX-License-Identifier: BSD-3-Clause
"""Draw the denoising chains of a TruDi checkpoint at one observation, by the SDE and by the ODE with c = 0.5 and c = 1.

The observation is the first one of an episode of the checkpoint's task, or that of a file. env.name=value overrides a
setting of the simulator, as env.env_kwargs.fixed_start=true. Writes a PNG and an SVG.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from trudi_rsl import packages
from trudi_rsl.command_line import Parser, is_override, one_run, require_new
from trudi_rsl.errors import ConfigError
from trudi_rsl.task_names import register_former_names


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return the flags and overrides."""
    parser = Parser(__doc__, "chains")
    parser.add_run()
    parser.add_argument(
        "--obs", type=Path, help="a .npy file with all numbers that the actor sees (default: those of the task's reset)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the reset and of the chains (default: 0)")
    parser.add_argument("--dims", type=int, nargs="+", help="action dimensions to draw (default: the first two)")
    parser.add_argument("--num_paths", type=int, default=4000, help="chains per sampler, at least 2 (default: 4000)")
    parser.add_argument(
        "--output",
        type=Path,
        help="pictures to write, without suffix, which must not exist (default: chain beside the checkpoint, replaced "
        "if it exists)",
    )
    parser.add_former_names()
    args = parser.parse_all(argv)
    args.overrides = [word for word in args.words if is_override(word)]
    args.words = [word for word in args.words if word not in args.overrides]
    return args


def main(argv: Sequence[str]) -> None:
    """Draw the chains and print the pictures' paths."""
    args = parse(argv)
    register_former_names(args.task_was)
    if args.obs is not None and args.overrides:
        raise ConfigError("With --obs there is no simulator whose settings could be overridden.")
    args.checkpoint = one_run(args.words, args.checkpoint, "trudi chains RUN")
    packages.require("Drawing chains", packages.CORE, packages.PICTURES)
    for file in draw(args):
        print(f"Denoising chains: {file}")


def draw(args: argparse.Namespace) -> list[Path]:
    """Draw the chains and return the pictures."""
    from trudi_rsl.config.run_folder import one_checkpoint
    from trudi_rsl.hosts.registry import check_overrides

    checkpoint = one_checkpoint(args.checkpoint)
    check_overrides([checkpoint], args.overrides)
    import torch

    from trudi_rsl.evaluation.chains import (
        chain_figure,
        chain_paths,
        load_diffusion_policy,
        read_observation,
        reset_observation,
    )
    from trudi_rsl.evaluation.pictures import SUFFIXES, save_pictures
    from trudi_rsl.hosts.registry import SIMULATION

    actor_critic, spec = load_diffusion_policy(checkpoint)
    dims = list(range(min(2, actor_critic.num_actions))) if args.dims is None else args.dims
    if not all(0 <= dim < actor_critic.num_actions for dim in dims):
        raise ConfigError(f"--dims must be among 0 .. {actor_critic.num_actions - 1}; got {dims}.")
    stem = args.output or checkpoint.with_name("chain")
    if args.output:
        require_new(*(stem.with_name(f"{stem.name}{suffix}") for suffix in SUFFIXES))
    if args.obs is None:
        obs = reset_observation(checkpoint, actor_critic, spec, SIMULATION, args.seed, args.overrides)
        where = f"first observation of seed {args.seed}"
    else:
        obs, where = read_observation(args.obs, actor_critic.actor.num_obs), args.obs.name
    torch.manual_seed(args.seed)
    figure = chain_figure(chain_paths(actor_critic, obs, args.num_paths), dims, f"{spec['task']}, {where}")
    return save_pictures(figure, stem)
