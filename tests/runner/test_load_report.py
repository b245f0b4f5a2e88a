"""The real engine says where it has put a model, and is quiet afterwards."""

from __future__ import annotations

import pytest

from corral.runner.interface import GPUChoice
from tests.conftest import FIXTURES
from tests.plain_engine import Engine

pytestmark = pytest.mark.process
PATH = FIXTURES / "tiny.gguf"


@pytest.mark.parametrize("listed", [("CUDA0",), ("CUDA0", "CUDA1")])
def test_the_engine_of_this_machine(listed: tuple[str, ...]) -> None:
    """Told that there may be devices, it reports its load; here all of it is in the machine's memory."""
    with Engine(PATH, gpus=GPUChoice(listed)) as engine:
        report = engine._runner.facts.load
        assert report is not None
        assert (report.devices, report.offloaded, report.is_whole) == ((), 0, False)
        # Weights, at least half of the file, and buffers.
        assert report.host_bytes > PATH.stat().st_size // 2
        before = engine._runner._process.log_tail
        engine.request("/completion", {"prompt": "a", "n_predict": 2})
        assert engine._runner._process.log_tail == before


@pytest.mark.parametrize("choice", [GPUChoice(), GPUChoice((), ()), GPUChoice(("CUDA0",), ())])
def test_without_devices_it_says_nothing(choice: GPUChoice) -> None:
    with Engine(PATH, gpus=choice) as engine:
        assert engine._runner.facts.load is None
        assert engine._runner._process.log_tail == ""
