# SPDX-License-Identifier: BSD-3-Clause
"""No checkpoint from somebody else runs code, grows in memory, or ends in anything but one line."""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
import torch

import trudi_rsl.runners.on_policy_runner
from tests.attacks.hostile import WRITERS, Payload, refused, replacing, rewritten
from tests.deploy.drift import DriftEnv, runner_cfg
from trudi_rsl.checkpoints.file import read_checkpoint
from trudi_rsl.checkpoints.rebuild import load_actor_critic, load_deployable
from trudi_rsl.deploy import export_checkpoint
from trudi_rsl.errors import CheckpointError
from trudi_rsl.evaluation.chains import load_diffusion_policy
from trudi_rsl.evaluation.identify import find_subjects, identify
from trudi_rsl.hosts.gymnasium.env import GymnasiumVecEnv
from trudi_rsl.runners import OnPolicyRunner


def resume(path: Path, **load_cfg: bool) -> None:
    runner = OnPolicyRunner(DriftEnv(), runner_cfg(), log_dir=None, device="cpu")
    runner.load(str(path), load_cfg or None)


READERS: dict[str, Callable[[Path], object]] = {
    "read": read_checkpoint,
    "rebuild": load_actor_critic,
    "resume": resume,
    "export": export_checkpoint,
    "evaluate": lambda path: find_subjects([str(path)]),
    "play": lambda path: identify(path, "Drift-v0"),
    "plot_chain": load_diffusion_policy,
}


def assert_every_reader_refuses(path: Path, reason: str, marker: Path | None = None) -> None:
    for read in READERS.values():
        with refused(CheckpointError, marker) as message:
            read(path)
        assert reason in message[0]


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_no_reader_runs_code_from_a_pickle(
    write: Callable[[object, Path], object], tmp_path: Path, marker: Path
) -> None:
    write({"iter": 1, "infos": Payload(marker)}, tmp_path / "model_1.pt")
    assert_every_reader_refuses(tmp_path / "model_1.pt", "model_1.pt", marker)
    if write is torch.save:  # the attack is real
        torch.load(tmp_path / "model_1.pt", weights_only=False)
        assert marker.is_dir()


def test_a_file_swapped_in_after_the_check_is_not_read(
    checkpoint: Path, tmp_path: Path, marker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = rewritten(checkpoint, tmp_path / "model_1.pt", lambda _: None)

    def checked_then_replaced(file: str) -> dict[str, Any]:
        content = read_checkpoint(file)
        torch.save(content | {"infos": Payload(marker)}, path)
        return content

    monkeypatch.setattr(trudi_rsl.runners.on_policy_runner, "read_checkpoint", checked_then_replaced)
    resume(path)
    assert not marker.exists()


def test_class_names_in_errors_are_escaped(tmp_path: Path) -> None:
    (tmp_path / "model_1.pt").write_bytes(b"\x80\x02c\x1b[2Jevil\nos\x1b[1m\n.")
    with refused(CheckpointError) as message:
        read_checkpoint(tmp_path / "model_1.pt")
    assert "?[2Jevil" in message[0]


SHARED: list[Any] = reduce(lambda value, _: [value, value], range(30), ["ha"])  # a few lists that stand for 2**30
NESTED: dict[str, Any] = reduce(lambda value, _: {"class": value}, range(100), {})
CYCLIC: list[Any] = []
CYCLIC.append(CYCLIC)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (SHARED, "stands for more than"),
        (CYCLIC, "levels deep"),
        (NESTED, "levels deep"),
        (torch.zeros(1).expand(10**12), "larger than the file"),
        (torch.sparse_coo_tensor(torch.tensor([[0]]), torch.ones(1), (10**12,)), "memory of its own"),
        (torch.empty(10**12, device="meta"), "memory of its own"),
        (torch.nn.Parameter, "it holds <class"),
        ({(1, 2): 3}, "names values by other than"),
    ],
    ids=["shared lists", "cycle", "depth", "expanded", "sparse", "meta", "class", "keys"],
)
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_values_that_outgrow_the_file_are_refused(checkpoint: Path, tmp_path: Path, value: Any, reason: str) -> None:
    path = rewritten(checkpoint, tmp_path / "model_1.pt", lambda content: content["infos"].update(extra=value))
    assert_every_reader_refuses(path, reason)


def test_a_zip_bomb_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    shutil.copy(checkpoint, path := tmp_path / "model_1.pt")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/999", bytes(300_000_000))
    assert path.stat().st_size < 1_000_000
    assert_every_reader_refuses(path, "compressed")


def test_parts_that_overlap_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    content = bytearray(checkpoint.read_bytes())
    begin = content.index(b"PK\x01\x02")
    for size in (20, 24):  # of the first part, stored and unpacked
        content[begin + size : begin + size + 4] = (2**31).to_bytes(4, "little")
    (tmp_path / "model_1.pt").write_bytes(content)
    with refused(CheckpointError) as message:
        read_checkpoint(tmp_path / "model_1.pt")
    assert "larger than the file" in message[0]


def test_a_flipped_bit_in_a_weight_is_detected(checkpoint: Path, tmp_path: Path) -> None:
    weights = read_checkpoint(checkpoint)["actor_state_dict"]["actor.score_network.output_layer.weight"]
    content = bytearray(checkpoint.read_bytes())
    content[content.index(weights.numpy().tobytes()) + 5] ^= 1
    (tmp_path / "model_1.pt").write_bytes(content)
    assert_every_reader_refuses(tmp_path / "model_1.pt", "is damaged")


@pytest.mark.parametrize("name", ["step", "reset", "_np_random", "unwrapped", "__class__", "new"])
@pytest.mark.parametrize("value", [3.0, "x", torch.zeros(2), None])
def test_a_simulators_state_replaces_no_method_of_the_task(name: str, value: Any) -> None:
    env = GymnasiumVecEnv("InvertedPendulum-v5", 1)
    state = env.state_dict()
    state["simulators"][0]["attributes"][0][name] = value
    try:
        env.load_state_dict(state)
    except CheckpointError as error:
        assert repr(name) in str(error)
    else:
        assert name == "new"
    env.step(torch.zeros(1, 1))


# Compared with the weights before they take memory.
OVERSIZED: dict[str, list[Any]] = {
    "trudi_rsl.obs_dims": [{"joints": 10**12, "base": 4, "hidden": 2}],
    "trudi_rsl.settings.actor_hidden_dims": [[10**8, 10**8]],
    "trudi_rsl.settings.critic_hidden_dim": [10**8],
    "trudi_rsl.settings.num_bins": [10**8],
    "trudi_rsl.action_bounds": [(torch.zeros(500_000), torch.ones(500_000))],
}
NONSENSE: dict[str, list[Any]] = {
    "trudi_rsl": [None, [], {"format": 2}],
    "trudi_rsl.format": ["1", None],
    "trudi_rsl.settings": [3],
    "trudi_rsl.settings.gamma": [10**5000],
    "trudi_rsl.settings.num_denoise_steps": [10**9],
    "trudi_rsl.settings.evil": ["os.system"],
    "trudi_rsl.policy": [["diffusion"], "mlp"],
    "trudi_rsl.algorithm": ["sac", "ppo"],
    "trudi_rsl.obs_dims": [{"joints": -1}, {"joints": "5"}],
    "trudi_rsl.obs_groups": [{"actor": [["joints"]], "critic": "joints"}],
    "trudi_rsl.obs_groups.actor": [["nobody"]],
    "trudi_rsl.task": [3],
    "trudi_rsl.environment": [{"robot": torch.zeros(3)}, "robot"],
    "trudi_rsl.action_bounds": ["low", None, (torch.zeros(()), torch.ones(()))],
    "actor_state_dict": [{"actor.nothing": 1}, [1]],
    "critic_state_dict": [None],
}
RESUME_NONSENSE: dict[str, list[Any]] = {
    "iter": ["1", -1, 2**80],
    "infos": [[1], {"logger": 3}, {"resume": 3}, {"logger": {"rewbuffer": ["high"]}}],
    "optimizer_state_dict": [{}, {"actor": {"param_groups": 3, "state": {}}}],
    "rng_state": [{"cpu": torch.zeros(3), "cuda": []}, {}],
    "actor_state_dict": [{}],
}


@pytest.mark.parametrize(
    ("read", "reason", "values", "name"),
    [
        *((load_deployable, "in the checkpoint,", OVERSIZED, name) for name in OVERSIZED),
        *((load_deployable, "checkpoint", NONSENSE, name) for name in NONSENSE),
        *((resume, "model_1.pt|^The checkpoint", RESUME_NONSENSE, name) for name in RESUME_NONSENSE),
    ],
)
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_inconsistent_sections_are_refused_in_one_line(
    checkpoint: Path,
    tmp_path: Path,
    read: Callable[[Path], object],
    reason: str,
    values: dict[str, list[Any]],
    name: str,
) -> None:
    for value in values[name]:
        path = rewritten(checkpoint, tmp_path / "model_1.pt", replacing(name, value))
        with refused(CheckpointError) as message:
            read(path)
        assert re.search(reason, message[0]), value
