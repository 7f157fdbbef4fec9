# SPDX-License-Identifier: BSD-3-Clause
"""What the processes that are left tell of those that are gone, through the store that torchrun keeps for all."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]

from trudi_rsl import distributed
from trudi_rsl.distributed import _ExitNotes, _from_torch_distributed


@pytest.fixture
def notices_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], _ExitNotes]:
    """Returns the notices as one of three processes sees them."""
    store = TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    monkeypatch.setattr(distributed, "EXIT_NOTE_SECONDS", 0.3)
    for name, value in (("MASTER_ADDR", "localhost"), ("MASTER_PORT", str(store.port)), ("WORLD_SIZE", "3")):
        monkeypatch.setenv(name, value)

    def of(rank: int) -> _ExitNotes:
        assert store.port  # the server lives as long as this
        monkeypatch.setenv("RANK", str(rank))
        return _ExitNotes()

    return of


def test_who_gave_no_reason_and_who_gave_one_are_told_apart(notices_of: Callable[[int], _ExitNotes]) -> None:
    notices_of(1).leave("NonFiniteError: NaN in environment 3")
    own = notices_of(0)
    own.leave("")
    assert own.read() == (
        "Rank 0 of 3 cannot continue: rank 1 ended (NonFiniteError: NaN in environment 3); rank 2 is gone without a "
        "note (killed, crashed or unreachable)."
    )


def test_those_that_leave_since_another_did_are_not_blamed(notices_of: Callable[[int], _ExitNotes]) -> None:
    notices_of(1).leave("")
    own = notices_of(0)
    own.leave("")
    assert "rank 2 is gone" in own.read() and "rank 1" not in own.read()


def test_notices_of_before_a_restart_do_not_count(
    notices_of: Callable[[int], _ExitNotes], monkeypatch: pytest.MonkeyPatch
) -> None:
    notices_of(1).leave("ValueError: long ago")
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert "ranks 0, 1, 2 are gone" in notices_of(0).read()


def test_without_a_store_the_message_leaves_the_name_to_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    notices = _ExitNotes()
    notices.leave("")
    assert notices.read() == "Rank 0 of 2 lost another rank; torchrun's output names it."


def test_an_error_of_a_collective_is_told_from_others() -> None:
    with pytest.raises(ValueError, match="process group has not been initialized") as of_torch:
        torch.distributed.all_reduce(torch.ones(1))
    with pytest.raises(ValueError, match="ours") as of_ours:
        raise ValueError("ours")
    assert _from_torch_distributed(of_torch.value) and not _from_torch_distributed(of_ours.value)
