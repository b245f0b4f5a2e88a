"""Lists that the page has of its own are those of the server."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from corral.caller import SCOPES, Limits
from corral.priorities import PRIORITIES

KEYS = Path(__file__).parents[2] / "web" / "src" / "services" / "api" / "keys.ts"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("SCOPES", set(SCOPES)),
        ("PRIORITIES", set(PRIORITIES)),
        ("LIMITS", {field.name for field in fields(Limits)}),
    ],
)
def test_what_a_key_can_have(name: str, expected: set[str]) -> None:
    found = re.search(rf"export const {name} = \[(.*?)\] as const", KEYS.read_text(), re.DOTALL)
    assert found is not None
    assert set(re.findall(r'"([^"]+)"', found[1])) == expected
