"""What was asked of models in the last 24 hours."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.cluster.demand import HOUR_S, DemandFile, HourlyDemand


def watch(demand: HourlyDemand, model: str, count: int, from_s: float, to_s: float) -> None:
    at_s = from_s
    while at_s <= to_s:
        demand.note({model: count}, at_s)
        at_s += 10.0


def test_the_busiest_hour_of_a_day() -> None:
    demand = HourlyDemand()
    watch(demand, "m", 1, 0, HOUR_S)
    watch(demand, "m", 4, HOUR_S + 10, 2 * HOUR_S - 10)
    watch(demand, "m", 0, 2 * HOUR_S, 3 * HOUR_S)
    assert demand.busiest(3 * HOUR_S)["m"] == pytest.approx(4, rel=0.02)
    assert demand.busiest(24 * HOUR_S)["m"] == pytest.approx(4, rel=0.02)
    # A day later that hour does not count any more, and the model is known not to be wanted.
    assert demand.busiest(26 * HOUR_S) == {"m": 0.0}


def test_no_history_yet() -> None:
    """A model that nobody asked is left out for a day: nothing shows that it is not needed."""
    demand = HourlyDemand()
    watch(demand, "m", 0, 0, HOUR_S)
    assert demand.busiest(HOUR_S) == {}
    assert demand.busiest(23.9 * HOUR_S) == {}
    assert demand.busiest(24 * HOUR_S) == {"m": 0.0}


def test_a_pause_is_not_counted() -> None:
    """A node that slept, or whose clock jumped, does not know what was asked meanwhile."""
    demand = HourlyDemand()
    demand.note({"m": 1}, 0)
    demand.note({"m": 1}, 3000)
    demand.note({"m": 1}, 100)
    assert demand.busiest(3000)["m"] == pytest.approx(10 / HOUR_S)


def test_it_is_kept_over_a_restart(tmp_path: Path) -> None:
    file = DemandFile(tmp_path / "new" / "demand.json")
    assert file.load().busiest(0) == {}
    demand = HourlyDemand()
    watch(demand, "m", 2, 0, 600)
    assert file.is_due(600)
    file.save(demand.encode(), 600)
    assert not file.is_due(601)
    assert file.is_due(700)
    again = file.load()
    assert again.busiest(600) == demand.busiest(600)
    assert again.encode() == demand.encode()


def test_a_disk_that_is_full(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Is said once, and stops nothing."""
    (tmp_path / "file").write_text("")
    file = DemandFile(tmp_path / "file" / "demand.json")
    file.save(b"{}", 0)
    file.save(b"{}", 100)
    assert len(caplog.records) == 1


@given(st.binary() | st.text().map(str.encode))
def test_a_damaged_file(data: bytes) -> None:
    assert HourlyDemand.decode(data).busiest(0) == {}


@pytest.mark.parametrize(
    "text",
    [
        '{"hours":{"m":{"x":1}}}',
        '{"hours":{"m":3},"since":{}}',
        '{"hours":{"m":{"1":"nan"}},"since":{"m":0}}',
    ],
)
def test_a_file_with_other_values(text: str) -> None:
    assert HourlyDemand.decode(text.encode()).busiest(HOUR_S).get("m", 0) == 0
