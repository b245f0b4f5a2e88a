"""What the tests of client packages share: the shipped model on the shared server, and one tool."""

from __future__ import annotations

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


@pytest.fixture(scope="session")
def tiny(server: Server) -> Server:
    """The shared server with `corral-tiny`."""
    assert server.stream("/api/pull", {"model": MODEL})[-1] == {"status": "success"}
    return server
