# SPDX-License-Identifier: BSD-3-Clause
"""Errors name the ranks that are gone, from the exit notes in torchrun's store."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]

from trudi_rsl import distributed
from trudi_rsl.distributed import _ExitNotes, _from_torch_distributed


@pytest.fixture
def notes_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], _ExitNotes]:
    """Returns the exit notes as one of three ranks sees them."""
    store = TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    monkeypatch.setattr(distributed, "EXIT_NOTE_SECONDS", 0.3)
    for name, value in (("MASTER_ADDR", "localhost"), ("MASTER_PORT", str(store.port)), ("WORLD_SIZE", "3")):
        monkeypatch.setenv(name, value)

    def of(rank: int) -> _ExitNotes:
        assert store.port  # the closure keeps the server alive
        monkeypatch.setenv("RANK", str(rank))
        return _ExitNotes()

    return of


def test_reasons_are_quoted_and_silent_ranks_are_named(notes_of: Callable[[int], _ExitNotes]) -> None:
    notes_of(1).leave("NonFiniteError: NaN in environment 3")
    own = notes_of(0)
    own.leave("")
    message = own.read()
    assert message.startswith("Rank 0 of 3")
    assert "rank 1 ended (NonFiniteError: NaN in environment 3); rank 2 is gone" in message


def test_ranks_that_leave_because_another_did_are_not_blamed(notes_of: Callable[[int], _ExitNotes]) -> None:
    notes_of(1).leave("")
    own = notes_of(0)
    own.leave("")
    assert "rank 2 is gone" in own.read() and "rank 1" not in own.read()


def test_notes_from_before_a_restart_do_not_count(
    notes_of: Callable[[int], _ExitNotes], monkeypatch: pytest.MonkeyPatch
) -> None:
    notes_of(1).leave("ValueError: long ago")
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert "ranks 0, 1, 2 are gone" in notes_of(0).read()


def test_without_a_store_no_rank_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    notes = _ExitNotes()
    notes.leave("")
    assert "Rank 0 of 2 lost another rank" in notes.read()


def test_errors_of_collectives_are_distinguished_from_others() -> None:
    with pytest.raises(ValueError, match="process group has not been initialized") as of_torch:
        torch.distributed.all_reduce(torch.ones(1))
    with pytest.raises(ValueError, match="ours") as of_ours:
        raise ValueError("ours")
    assert _from_torch_distributed(of_torch.value) and not _from_torch_distributed(of_ours.value)
