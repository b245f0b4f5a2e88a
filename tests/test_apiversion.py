"""`REQUIRES` against the version of the API, and lines that clients may cause at will."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from corral import API_VERSION
from corral.apiversion import is_beyond_api
from corral.logs import Sparing

if TYPE_CHECKING:
    from tests.conftest import Server


@pytest.mark.parametrize(
    ("wanted", "is_beyond"),
    [
        ("", False),
        ("x", False),
        ("0.14", False),
        ("v0.14.0", False),
        ("0.40", False),
        (API_VERSION, False),
        ("0.41", True),
        ("v0.999.1", True),
        ("1.0.0-rc1", True),
        ("99", True),
    ],
)
def test_versions_compare_by_numbers(wanted: str, is_beyond: bool) -> None:
    assert is_beyond_api(wanted) is is_beyond


def test_a_model_of_the_future_is_told(server: Server) -> None:
    before = len(server.log)
    server.create("future", "say", requires="99.1.0")
    assert server.post("/api/generate", {"model": "future", "prompt": "now A", "stream": False})["done"]
    while not any("model=future:latest asks for Ollama 99.1.0" in line for line in server.log[before:]):
        pass


def test_unknown_options_are_told_sparingly(caplog: pytest.LogCaptureFixture) -> None:
    sparing = Sparing(logging.getLogger("corral.x"), lines_per_minute=5)
    with caplog.at_level(logging.INFO, "corral.x"):
        for number in range(10_000):
            sparing.write(logging.INFO, "unknown %d", number)
    assert 5 <= len(caplog.records) <= 10  # a minute may end meanwhile
