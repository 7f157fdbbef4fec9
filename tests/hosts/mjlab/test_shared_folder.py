# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportMissingImports=false
"""Flat and rough tasks of a robot share a folder of runs; each finds its own."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch
from mjlab.tasks.registry import load_env_cfg
from mjlab.utils.os import dump_yaml

from trudi_rsl.config.run_folder import select_checkpoint
from trudi_rsl.hosts.mjlab.task import Task, find_task

FLAT, ROUGH = "Mjlab-Velocity-Flat-Unitree-Go1", "Mjlab-Velocity-Rough-Unitree-Go1"


def write_run(folder: Path, task: Task, names_task: bool) -> Path:
    """Write the files of a run by which its task is recognised."""
    dump_yaml(folder / "params" / "env.yaml", asdict(load_env_cfg(task.id)))
    spec = {"format": 2, "algorithm": task.algo, "policy": "diffusion", "task": task.name}
    torch.save({"actor_state_dict": {}, **({"trudi_rsl": spec} if names_task else {})}, folder / "model_0.pt")
    return folder / "model_0.pt"


def test_the_newest_run_of_a_task_is_found_beside_newer_ones_of_another(tmp_path: Path) -> None:
    for algo in ("trudi", "ppo"):
        flat, rough = find_task(FLAT, algo), find_task(ROUGH, algo)
        assert flat.agent_cfg().experiment_name == rough.agent_cfg().experiment_name
        runs = tmp_path / algo
        written = {
            task: [write_run(runs / f"2026-01-01_00-00-0{i}", task, algo == "trudi") for i in numbers]
            for task, numbers in ((flat, (1, 2)), (rough, (3, 4)))
        }
        for task, checkpoints in written.items():
            assert select_checkpoint(runs, ".*", r"model_\d+\.pt$", task.may_have_trained) == checkpoints[-1]
