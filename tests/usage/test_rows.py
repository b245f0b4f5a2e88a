"""Questions to the ledger, as people write them."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.errors import InvalidRequestError
from corral.usage.rows import PLACES, read_day, read_groups, read_model

TODAY = datetime.date(2026, 11, 30)


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("today", "2026-11-30"),
        ("Yesterday", "2026-11-29"),
        ("1d", "2026-11-30"),
        ("7d", "2026-11-24"),
        ("2w", "2026-11-17"),
        (" 2026-02-28 ", "2026-02-28"),
        ("2026-11-30T23:30:00-02:00", "2026-12-01"),
        ("2026-11-30T23:30:00.5Z", "2026-11-30"),
        ("2026-11-30T23:30:00", "2026-11-30"),
        ("999999w", "0001-01-01"),
        ("all", ""),
    ],
)
def test_days(text: str, day: str) -> None:
    assert read_day(text, TODAY) == day


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0d",
        "7",
        "7h",
        "-1d",
        "2026-02-30",
        "2026-1-1",
        "20261130",
        "２０２６-11-30",
        "now",
        "0001-01-01T00:00:00+23:00",
    ],
)
def test_what_is_not_a_day(text: str) -> None:
    with pytest.raises(InvalidRequestError):
        read_day(text, TODAY)


@given(st.text(max_size=40))
def test_any_text_is_a_day_or_refused(text: str) -> None:
    try:
        day = read_day(text, TODAY)
    except InvalidRequestError:
        return
    assert day == "" or datetime.date.fromisoformat(day)


def test_groups() -> None:
    assert read_groups("day,key,model,surface") == PLACES
    assert read_groups(" Model , day,model") == ("model", "day")
    for text in ("", ",", "days", "day;model", "requests"):
        with pytest.raises(InvalidRequestError):
            read_groups(text)


def test_models() -> None:
    assert read_model("llama3.2") == "llama3.2:latest"
    assert read_model("hf.co/a/b:Q4") == "hf.co/a/b:Q4"
    assert read_model("other") == "other"
    with pytest.raises(InvalidRequestError):
        read_model("a b")
