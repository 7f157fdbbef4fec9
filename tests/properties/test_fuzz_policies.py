# SPDX-License-Identifier: BSD-3-Clause
"""Whatever an ONNX file says or is made of, its policy acts with finite numbers or is refused."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.attacks.hostile import write_onnx
from tests.deploy.test_contract import ACTION, ROBOT
from tests.properties.drawn import FIXED, NONSENSE, spoiled
from trudi_rsl.deploy import Contract, ContractError, Policy, PolicyStoppedError
from trudi_rsl.deploy.deploy_yaml import deploy_yaml

MANY = settings(FIXED, max_examples=100)
METADATA: dict[str, Any] = {
    "task": "Leg-v0",
    "algorithm": "TruDi",
    "obs_dims": {"policy": 3},
    "obs_terms": [{"name": "a", "size": 1, "history": 2, "scale": 0.5}, {"name": "b", "size": 1, "clip": [-1.0, 1.0]}],
    "control_period_s": 0.02,
    "actions": [ACTION],
    "robot": ROBOT,
    "action_low": [-1.0, -2.0, -3.0],
    "action_high": [1.0, 2.0, 3.0],
    "obs_mean": [0.0, 0.0, 0.0],
    "obs_std": [1.0, 1.0, 1.0],
    "commands": {"twist": {"lin_vel_x": [-0.5, 1.0]}},
}
JSON = st.recursive(NONSENSE, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner))


def act(file: Path) -> np.ndarray | str:
    """Open a policy, and return all numbers that it gives, or why it gives none."""
    try:
        policy = Policy(file)
        action = policy(np.full(policy.contract.num_obs, 0.5, np.float32))
        assert action.shape == (policy.num_actions,)
        given = [action]
        if policy.contract.actions:
            given.append(np.array(list(policy.joint_commands(action).values())))
        frames = {term.name: np.zeros(term.size) for term in policy.contract.terms}
        if len(frames) == len(policy.contract.terms):
            given.append(policy(frames))
    except (ContractError, PolicyStoppedError) as error:
        return str(error)
    return np.concatenate(given)


def is_safe(given: np.ndarray | str) -> bool:
    """Return whether a robot gets finite numbers, or a user one line."""
    return given.isprintable() if isinstance(given, str) else bool(np.isfinite(given).all())


@MANY
@given(metadata=spoiled(METADATA, JSON))
def test_other_metadata_acts_and_makes_a_deploy_yaml_or_is_refused(metadata: dict[str, Any], folder: Path) -> None:
    assert is_safe(act(write_onnx(folder / "policy.onnx", **metadata)))
    with suppress(ContractError):
        text = deploy_yaml(metadata)
        assert text is None or text.startswith("# ")


@MANY
@given(
    name=st.sampled_from(sorted(METADATA)), text=st.one_of(st.text(), st.sampled_from(["[" * 9999, "1" * 9999, "NaN"]))
)
def test_metadata_that_is_any_text_is_read_or_refused(name: str, text: str) -> None:
    try:
        assert Contract.from_metadata({k: json.dumps(v) for k, v in METADATA.items()} | {name: text}).num_obs >= 0
    except ContractError as error:
        assert str(error).isprintable()


@MANY
@given(data=st.data())
def test_a_damaged_file_acts_or_is_refused(data: st.DataObject, folder: Path) -> None:
    content = bytearray(write_onnx(folder / "whole.onnx", **METADATA).read_bytes())
    for position in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        content[position] ^= 1 << data.draw(st.integers(0, 7))
    cut = data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))
    (folder / "damaged.onnx").write_bytes(content[:cut])
    assert is_safe(act(folder / "damaged.onnx"))
