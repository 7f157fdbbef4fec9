# SPDX-License-Identifier: BSD-3-Clause
"""Export a trained policy of any algorithm as ONNX and TorchScript, from the checkpoint alone.

The files take `obs [1, n]` and return `actions [1, A]`. Of several runs, the newest one's policy is exported.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trudi_rsl import packages
from trudi_rsl.choices import PRECISIONS
from trudi_rsl.command_line import Parser, one_run
from trudi_rsl.errors import ConfigError

if TYPE_CHECKING:
    from trudi_rsl.deploy import ExportReport


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return the flags."""
    parser = Parser(__doc__, "export")
    parser.add_run()
    parser.add_argument("--output", type=Path, help="output folder (default: exported/ beside the checkpoint)")
    parser.add_argument("--score_scale", type=float, default=1.0, help="score scale c of the ODE, above 0 (default: 1)")
    parser.add_argument("--steps", type=int, help="denoising steps, merged from those trained (default: all)")
    parser.add_argument("--latent_seed", type=int, help="seed of a fixed initial latent (default: start from zeros)")
    parser.add_argument("--latent_input", action="store_true", help="also write policy_latent.onnx, which takes it")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="(default: fp32)")
    parser.add_argument("--batch_size", type=int, default=1, help="observations per call (default: 1)")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier export")
    return parser.parse_all(argv)


def main(argv: Sequence[str]) -> None:
    """Export and print the written files."""
    args = parse(argv)
    named = one_run(args.words, args.checkpoint, "trudi export RUN")
    packages.require("Exporting", packages.CORE, packages.EXPORT)
    from trudi_rsl.config.run_folder import one_checkpoint

    checkpoint = one_checkpoint(named)
    from trudi_rsl.deploy import ExportOptions, export_checkpoint
    from trudi_rsl.policies import ChainOptions

    try:
        chain = ChainOptions(args.score_scale, args.steps, args.latent_seed)
        options = ExportOptions(chain, args.precision, args.batch_size, args.latent_input)
        report = export_checkpoint(checkpoint, args.output, options, overwrite=args.overwrite)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    print_report(report)


def print_report(report: ExportReport) -> None:
    """Print the written files, how they were compared, and how long a call takes."""
    written = [(report.onnx, report.onnx_difference), (report.latent_onnx, report.onnx_difference)]
    for path, difference in [*written, (report.torchscript, report.torchscript_difference)]:
        if path is not None:
            size = path.stat().st_size / 1e6
            print(f"{path}  {size:.2f} MB, largest difference from PyTorch {difference:.1e} of the largest action")
    if report.deploy_yaml is not None:
        print(f"{report.deploy_yaml}  for unitree_rl_lab's runner")
    skipped = report.num_probes - report.num_compared
    print(
        f"Compared at {report.num_compared} of {report.num_probes} random observations; {skipped} skipped, where "
        "float32 rounding alone changes PyTorch's own action."
    )
    latency = report.latency_ms
    print(f"onnxruntime, one thread: {latency.p50:.2f} ms per call (median), {latency.p99:.2f} ms (99 %)")
    if report.warning is not None:
        print(f"Warning: {report.warning}", file=sys.stderr)
