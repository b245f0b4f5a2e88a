"""The simulation finds what it is for: each fault that is planted is found within a bounded number of seeds."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.simulation import patches
from tests.simulation.planted import FAULTS, Fault, find, planted

_PAGE = Path(__file__).parent.parent.parent / "docs" / "testing.md"


@pytest.fixture(autouse=True)
def installed() -> Iterator[None]:
    with patches.installed():
        yield
    gc.collect()


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=[f"{fault.world}: {fault.what}" for fault in FAULTS])
def test_a_planted_fault_is_found(fault: Fault) -> None:
    assert find(fault) is not None


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.what for fault in FAULTS])
def test_a_fault_can_be_planted_and_is_gone_afterwards(fault: Fault) -> None:
    with planted(fault):
        pass
    with pytest.raises(LookupError), planted(replace(fault, old="no function has this text")):
        pass


def test_the_page_lists_every_fault() -> None:
    page = _PAGE.read_text()
    assert [fault.what for fault in FAULTS if f"| {fault.what}" not in page] == []
    assert len(FAULTS) >= 20
