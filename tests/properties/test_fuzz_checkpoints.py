# SPDX-License-Identifier: BSD-3-Clause
"""Whatever bytes or values a checkpoint is made of, it reads as it was written or is refused."""

from __future__ import annotations

import copy
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.properties.conftest import tiny_runner
from tests.properties.drawn import FIXED, NONSENSE, same, spoiled
from trudi_rsl.checkpoints.file import read_checkpoint
from trudi_rsl.checkpoints.format import algorithm_of
from trudi_rsl.checkpoints.rebuild import load_deployable
from trudi_rsl.errors import CheckpointError
from trudi_rsl.runners import OnPolicyRunner

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
MANY = settings(FIXED, max_examples=60)

TENSORS = st.sampled_from(
    [torch.zeros(()), torch.full((3,), torch.nan), torch.zeros(2, 0), torch.ones(5, dtype=torch.int64), torch.ones(1)]
)
VALUES = st.one_of(NONSENSE, TENSORS, st.builds(lambda: [torch.ones(2)]))


def read(path: Path) -> Any:
    """Return what is read, None for what is refused."""
    try:
        return read_checkpoint(path)
    except CheckpointError as error:
        assert str(error).isprintable() and str(error).startswith((str(path), "The checkpoint"))
        return None


PLACES = st.one_of(st.floats(0.0, 1.0, exclude_max=True), st.integers(0, 400), st.integers(-1500, -1))
"""Anywhere, near the begin or near the end, where archives list what they hold."""
DAMAGES = st.tuples(
    st.sampled_from(["cut", "bits", "splice", "hole"]),
    st.lists(st.tuples(PLACES, st.integers(0, 7)), min_size=2, max_size=6),
    st.integers(1, 2000),
)
Damage = tuple[str, list[tuple[float, int]], int]


def damaged(content: bytes, damage: Damage) -> bytes:
    """Return the content cut off, with changed bits, or with a part of it elsewhere or gone."""
    kind, places, length = damage
    bits = {(int(p * len(content)) if isinstance(p, float) else p % len(content)): 1 << bit for p, bit in places}
    begin, source = next(iter(bits)), list(bits)[-1]
    changed = bytearray(content)
    if kind == "cut":
        return content[:begin]
    if kind == "bits":
        for position, mask in bits.items():
            changed[position] ^= mask
    else:
        changed[begin : begin + length] = b"" if kind == "hole" else content[source : source + length]
    return bytes(changed)


@MANY
@given(damage=DAMAGES)
def test_a_damaged_checkpoint_reads_as_it_was_or_is_refused(run: Path, damage: Damage) -> None:
    whole = read(run / "model_1.pt")
    (run / "damaged.pt").write_bytes(damaged((run / "model_1.pt").read_bytes(), damage))
    found = read(run / "damaged.pt")
    unchanged = found is None or same(found, whole)
    assert unchanged


@MANY
@given(content=st.one_of(st.binary(max_size=300), st.binary(max_size=300).map(lambda tail: b"\x80\x02" + tail)))
@example(b"\x80\x02}q\x00.")
@example(b"\x80\x02c__builtin__\neval\nX\x01\x00\x00\x001\x85R.")
@example(b"PK\x05\x06" + bytes(18))
def test_any_bytes_are_refused_or_hold_plain_values(run: Path, content: bytes) -> None:
    (run / "bytes.pt").write_bytes(content)
    assert isinstance(read(run / "bytes.pt"), dict | None)


@pytest.mark.parametrize("kind", ["pickle in a whole archive", "file of old torch"])
@MANY
@given(damage=DAMAGES)
def test_a_damaged_pickle_is_refused_or_holds_plain_values(run: Path, kind: str, damage: Damage) -> None:
    path = run / "other.pt"
    if kind == "file of old torch":
        torch.save(read_checkpoint(run / "model_1.pt"), path, _use_new_zipfile_serialization=False)
        path.write_bytes(damaged(path.read_bytes(), damage))
    else:
        with zipfile.ZipFile(run / "model_1.pt") as source, zipfile.ZipFile(path, "w") as target:
            for part in source.infolist():
                content = source.read(part)
                target.writestr(part.filename, damaged(content, damage) if "data.pkl" in part.filename else content)
    assert isinstance(read(path), dict | None)


@pytest.mark.slow
@MANY
@given(data=st.data(), name=st.sampled_from(["model_1.pt", "ppo.pt"]))
def test_a_checkpoint_with_other_values_is_rebuilt_or_refused(run: Path, data: st.DataObject, name: str) -> None:
    content = torch.load(run / name, weights_only=True)
    spec = content["trudi_rsl"]
    spoil(data, [content, spec, spec["settings"], content["actor_state_dict"]])
    torch.save(content, run / "other.pt")
    for function in (load_deployable, lambda path: algorithm_of(read_checkpoint(path))):
        try:
            function(run / "other.pt")
        except CheckpointError as error:
            assert str(error).isprintable()


def spoil(data: st.DataObject, sections: list[dict[Any, Any]]) -> None:
    """Change or remove one to three values of one of the sections of a checkpoint."""
    section = sections[data.draw(st.sampled_from(range(len(sections))))]
    changed = data.draw(spoiled(section, VALUES))
    section.clear()
    section.update(changed)


@pytest.fixture(scope="module")
def runner() -> OnPolicyRunner:
    return tiny_runner()


@pytest.mark.slow
@MANY
@given(data=st.data())
def test_a_checkpoint_with_other_values_is_resumed_or_refused(
    run: Path, data: st.DataObject, runner: OnPolicyRunner
) -> None:
    content = torch.load(run / "model_1.pt", weights_only=True)
    spoil(data, [content, content["infos"], content["optimizer_state_dict"], content["rng_state"]])
    torch.save(content, run / "resumed.pt")
    try:
        runner.load(str(run / "resumed.pt"))
    except CheckpointError as error:
        assert str(error).isprintable()
    else:
        assert isinstance(runner.current_learning_iteration, int)


@FIXED
@given(value=st.recursive(NONSENSE, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner)))
def test_plain_values_come_back_as_they_were_written(run: Path, value: Any) -> None:
    content = {"iter": 3, "infos": {"mine": value}}
    torch.save(copy.deepcopy(content), run / "plain.pt")
    found = read(run / "plain.pt")
    assert found is None or same(found, content)
    if len(pickle.dumps(value)) < 200:
        assert found is not None
