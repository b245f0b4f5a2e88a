"""What the tests of client packages share: the shipped model on the shared server, and one tool."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import Server

MODEL = "corral-tiny"
CAPITAL = "What is the capital of France?"
WEATHER = "What is the weather in Paris?"
WEATHER_PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string", "description": "The city"}},
    "required": ["city"],
}
REPORT = "sunny, 21 degrees"
# For packages that never close their sockets and loops, which is their affair; with the fixture `leaves_sockets`.
LEFT_SOCKETS = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


@pytest.fixture
def leaves_sockets() -> Iterator[None]:
    """Collect a package's garbage within the test that made it, where the mark above forgives it."""
    yield
    gc.collect()


@pytest.fixture(scope="package", autouse=True)
def _what_packages_leave() -> Iterator[None]:
    """What packages keep in their globals until later is never collected, so that no other test is blamed for it."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def tiny(server: Server) -> Server:
    """The shared server with `corral-tiny`."""
    assert server.stream("/api/pull", {"model": MODEL})[-1] == {"status": "success"}
    return server
