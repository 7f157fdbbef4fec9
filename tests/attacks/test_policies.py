# SPDX-License-Identifier: BSD-3-Clause
"""An exported policy from somebody else is refused where it reaches beyond its file or tells absurd numbers."""

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
def test_other_files_are_refused_as_onnx(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "policy.onnx").write_bytes(content)
    with refused(ContractError) as message:
        Policy(tmp_path / "policy.onnx")
    assert "policy.onnx" in message[0]


def term(**changes: Any) -> dict[str, Any]:
    return {"obs_terms": [{"name": "a", "size": 3} | changes]}


ABSURD: list[dict[str, Any]] = [
    {"obs_dims": {"policy": 10**12}},
    {"obs_dims": {"policy": -3}},
    {"obs_dims": {"policy": 3.0}},
    {"obs_dims": {"policy": True}},
    {"obs_dims": {"policy": "3"}},
    {"obs_dims": {"policy": NAN}},
    {"obs_dims": {"policy": [3]}},
    {"obs_dims": {}},
    {"obs_dims": '{"policy": ' + "9" * 5000 + "}"},
    {"obs_dims": "[" * 100_000},
    {"obs_dims": "os.system"},
    term(size=10**12),
    term(history=10**12),
    term(size=1, history=3.0),
    term(scale=NAN),
    term(scale=[1.0, INF, 1.0]),
    term(scale=["1", "2", "3"]),
    term(scale={"a": 1}),
    term(clip=[1.0, -1.0]),
    term(clip=[NAN, NAN]),
    term(clip=[0.0]),
    term(clip="ab"),
    term(name=["a"]),
    term(evil="os.system"),
    {"obs_terms": 3},
    {"obs_terms": [3]},
    {"action_low": [NAN] * 3, "action_high": [1.0] * 3},
    {"action_low": [2.0] * 3, "action_high": [1.0] * 3},
    {"action_low": [[0.0]] * 3, "action_high": [1.0] * 3},
    {"action_low": "low", "action_high": "high"},
    {"obs_mean": [INF] * 3, "obs_std": [1.0] * 3},
    {"obs_mean": [1e300] * 3, "obs_std": [1.0] * 3},
    {"obs_mean": [0.0] * 3, "obs_std": [-1.0] * 3},
    {"obs_mean": [0.0] * 3, "obs_std": [NAN] * 3},
    {"obs_mean": [0.0, [0.0]], "obs_std": [1.0]},
    {"control_period_s": -0.02},
    {"control_period_s": 0},
    {"control_period_s": NAN},
    {"control_period_s": INF},
    {"control_period_s": 1e30},
    {"control_period_s": "soon"},
    {"control_period_s": [0.02]},
    {"actions": [ACTION | {"scale": [NAN, 1.0, 1.0]}]},
    {"actions": [ACTION | {"offset": [1.0]}]},
    {"actions": [ACTION | {"scale": None}]},
    {"actions": [ACTION | {"joint_ids": [0, 1, -1]}]},
    {"actions": [ACTION | {"joint_ids": [0]}]},
    {"actions": [ACTION | {"clip": [[NAN, NAN]] * 3}]},
    {"actions": [ACTION | {"limits": [[1.0] * 3, [-1.0] * 3]}]},
    {"actions": [ACTION | {"evil": 1}]},
    {"actions": 3},
    {"robot": ROBOT | {"stiffness": [NAN] * 3}},
    {"robot": ROBOT | {"damping": [1.0]}},
    {"robot": ROBOT | {"joint_names": 3}},
    {"robot": ROBOT | {"default_joint_pos": None}},
    {"robot": [3]},
]


@pytest.mark.parametrize("entries", ABSURD, ids=lambda entries: str(entries)[:50])
def test_absurd_metadata_is_refused_before_a_robot_moves(tmp_path: Path, entries: dict[str, Any]) -> None:
    with refused(ContractError) as message:
        Policy(write_onnx(tmp_path / "policy.onnx", **entries))
    assert message[0].startswith("The file's metadata ")


@pytest.mark.parametrize("told", ["soon", "[0.02]", "-1", "NaN", "9" * 5000, "[" * 100_000])
def test_an_absurd_control_period_is_not_measured_against(tmp_path: Path, told: str) -> None:
    with refused(ExportError) as message:
        measure([write_onnx(tmp_path / "policy.onnx", control_period_s=told)], 100)
    assert "control" in message[0]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x02}."])
def test_other_files_are_refused_as_torchscript(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "policy.pt").write_bytes(content)
    with refused(ExportError) as message:
        measure([tmp_path / "policy.pt"], 100)
    assert "policy.pt" in message[0]


@pytest.mark.parametrize("field", ["task", "algorithm"])
def test_names_cannot_inject_settings_into_deploy_yaml(field: str) -> None:
    honest = deploy_yaml(METADATA)
    text = deploy_yaml(METADATA | {field: "x\nstiffness: [1e9, 1e9, 1e9, 1e9]\njoint_ids_map: [3, 2, 1]"})
    assert honest is not None and text is not None
    assert yaml.safe_load(text) == yaml.safe_load(honest)
    assert "\nstiffness: [1e9" not in text


def test_unknown_terms_cannot_inject_settings_into_deploy_yaml() -> None:
    terms = [{"name": "x\njoint_ids_map: [3, 2, 1]\n#", "size": 14}]
    text = deploy_yaml(METADATA | {"obs_terms": terms})
    assert text is not None
    assert "\njoint_ids_map: [3" not in text
    assert yaml.safe_load(text)["joint_ids_map"] == [2, 3, 0]


def test_values_are_read_as_values_and_texts_alike() -> None:
    as_text = {name: value if isinstance(value, str) else json.dumps(value) for name, value in METADATA.items()}
    assert str(Contract.from_metadata(as_text)) == str(Contract.from_metadata(METADATA))
