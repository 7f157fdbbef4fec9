# SPDX-License-Identifier: BSD-3-Clause
"""An exported policy from somebody else is refused where it reaches beyond its file or states absurd numbers."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.attacks.hostile import refused, write_onnx
from tests.deploy.test_contract import ACTION, METADATA, ROBOT
from trudi_rsl.deploy import Contract, ContractError, ExportError, Policy
from trudi_rsl.deploy.deploy_yaml import deploy_yaml
from trudi_rsl.deploy.latency import measure

INF, NAN = float("inf"), float("nan")


def test_the_unmodified_policy_runs(tmp_path: Path) -> None:
    assert Policy(write_onnx(tmp_path / "policy.onnx"))(np.ones(3)).tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("kind", ["above", "absolute", "link", "device"])
def test_weights_outside_of_the_policys_folder_are_not_read(tmp_path: Path, kind: str) -> None:
    (tmp_path / "exported").mkdir()
    secret = tmp_path / "secret.bin"
    np.full(3, 7.0, np.float32).tofile(secret)
    os.symlink(secret, tmp_path / "exported" / "weights.bin")
    location = {"above": "../secret.bin", "absolute": str(secret), "link": "weights.bin", "device": "/dev/zero"}[kind]
    with refused(ContractError) as message:
        Policy(write_onnx(tmp_path / "exported" / "policy.onnx", location=location))
    assert "onnxruntime" in message[0]


@pytest.mark.parametrize("content", [b"", b"\0", b"\x08\x07", b"PK\x03\x04", b"\x80\x02}.", b"{}" * 1000])
def test_other_files_are_refused_as_policies(tmp_path: Path, content: bytes) -> None:
    for name in ("policy.onnx", "policy.pt"):
        (tmp_path / name).write_bytes(content)
        with refused(ContractError if name.endswith("onnx") else ExportError) as message:
            _ = Policy(tmp_path / name) if name.endswith("onnx") else measure([tmp_path / name], 100)
        assert name in message[0]


def term(**changes: Any) -> dict[str, Any]:
    return {"obs_terms": [{"name": "a", "size": 3} | changes]}


WRONG_ACTIONS: list[dict[str, Any]] = [
    *({"scale": [NAN, 1.0, 1.0]}, {"scale": None}, {"offset": [1.0]}, {"joint_ids": [0, 1, -1]}, {"joint_ids": [0]}),
    *({"clip": [[NAN, NAN]] * 3}, {"limits": [[1.0] * 3, [-1.0] * 3]}, {"evil": 1}),
]
WRONG_ROBOTS: dict[str, Any] = {"stiffness": [NAN] * 3, "damping": [1.0], "joint_names": 3, "default_joint_pos": None}
ABSURD: list[dict[str, Any]] = [
    *({"obs_dims": {"policy": size}} for size in (10**12, -3, 3.0, True, "3", NAN, [3])),
    *({"obs_dims": dims} for dims in ({}, '{"policy": ' + "9" * 5000 + "}", "[" * 100_000, "os.system")),
    *({"control_period_s": period} for period in (-0.02, 0, NAN, INF, 1e30, "soon", [0.02])),
    *(term(scale=scale) for scale in (NAN, [1.0, INF, 1.0], ["1", "2", "3"], {"a": 1})),
    *(term(clip=clip) for clip in ([1.0, -1.0], [NAN, NAN], [0.0], "ab")),
    *(term(size=10**12), term(history=10**12), term(size=1, history=3.0), term(name=["a"]), term(evil="os.system")),
    *({"action_low": low, "action_high": [1.0] * 3} for low in ([NAN] * 3, [2.0] * 3, [[0.0]] * 3, "low")),
    *({"obs_mean": [mean] * 3, "obs_std": [1.0] * 3} for mean in (INF, 1e300)),
    *({"obs_mean": [0.0] * 3, "obs_std": [std] * 3} for std in (-1.0, NAN)),
    {"obs_mean": [0.0, [0.0]], "obs_std": [1.0]},
    *({"actions": [ACTION | changes]} for changes in WRONG_ACTIONS),
    *({"robot": ROBOT | {name: value}} for name, value in WRONG_ROBOTS.items()),
    *({"obs_terms": 3}, {"obs_terms": [3]}, {"actions": 3}, {"robot": [3]}),
]


@pytest.mark.parametrize("entries", ABSURD, ids=lambda entries: str(entries)[:50])
def test_absurd_metadata_is_refused_before_a_robot_moves(tmp_path: Path, entries: dict[str, Any]) -> None:
    with refused(ContractError) as message:
        Policy(write_onnx(tmp_path / "policy.onnx", **entries))
    assert message[0].startswith("The file's metadata ")


@pytest.mark.parametrize("stated", ["soon", "[0.02]", "-1", "NaN", "9" * 5000, "[" * 100_000])
def test_an_absurd_control_period_is_not_measured_against(tmp_path: Path, stated: str) -> None:
    with refused(ExportError) as message:
        measure([write_onnx(tmp_path / "policy.onnx", control_period_s=stated)], 100)
    assert "control" in message[0]


@pytest.mark.parametrize("name", ["task", "algorithm", "obs_terms"])
def test_names_cannot_inject_settings_into_deploy_yaml(name: str) -> None:
    injected = "x\nstiffness: [1e9, 1e9, 1e9, 1e9]\njoint_ids_map: [3, 2, 1]\n"
    unknown_term = {"name": f"{injected}#", "size": 14}
    text = deploy_yaml(METADATA | {name: [unknown_term] if name == "obs_terms" else injected})
    assert text is not None
    assert "\nstiffness: [1e9" not in text and "\njoint_ids_map: [3" not in text
    read = yaml.safe_load(text)
    assert read["joint_ids_map"] == [2, 3, 0]
    if name != "obs_terms":
        assert read == yaml.safe_load(deploy_yaml(METADATA) or "")


def test_values_are_read_as_values_and_texts_alike() -> None:
    as_text = {name: value if isinstance(value, str) else json.dumps(value) for name, value in METADATA.items()}
    assert str(Contract.from_metadata(as_text)) == str(Contract.from_metadata(METADATA))
