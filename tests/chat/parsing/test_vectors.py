"""Recorded replies, in their own cut, in one piece and character by character."""

from __future__ import annotations

from typing import Any

import pytest

from corral.types import Message
from tests.chat.parsing.cases import TOOLS, TWO_TOOLS, join, load_cases, make_parser, run


def _vector_id(vector: dict[str, Any]) -> str:
    return f"{vector['id']} {vector['p']}"


@pytest.mark.parametrize("vector", load_cases("vectors.jsonl"), ids=_vector_id)
def test_vector(vector: dict[str, Any]) -> None:
    """Every step gives what the reference gave, or what is right where that lost text; any cut gives the same."""
    last = Message(**vector["last"]) if "last" in vector else None

    def steps(pieces: list[str]) -> list[dict[str, Any]]:
        return run(make_parser(vector["p"], last, vector.get("think"), TOOLS), pieces)

    found = steps(vector["in"])
    text = "".join(vector["in"])
    assert join(steps([text])) == join(steps(list(text))) == join(found)
    if "corral" in vector:
        assert vector["why"]
        assert join(found) == vector["corral"]
        return
    recorded = [*vector["out"], *([{"c": vector["rest"]}] if "rest" in vector else [])]
    assert [step for step in found if step] == [step for step in recorded if step]


def _reply_id(case: dict[str, Any]) -> str:
    last = ", prefilled" if "last" in case else ""
    return f"{case['p']} {case['text']} think={case['think']} tools={case['tools']}{last}"


@pytest.mark.parametrize("case", load_cases("recorded.jsonl"), ids=_reply_id)
def test_recorded_reply(case: dict[str, Any]) -> None:
    """A real server's whole answer; it shows calls only to a request that has tools."""
    last = Message(**case["last"]) if "last" in case else Message("user", "go")
    tools = TWO_TOOLS if case["tools"] else ()
    text = "".join(case["in"])
    wanted = case.get("corral", case["out"])
    for pieces in (case["in"], [text], list(text)):
        found = join(run(make_parser(case["p"], last, case["think"], tools), pieces))
        if "calls" not in wanted and not tools:
            found.pop("calls", None)
        if "err" in wanted:
            found = {"err": found["err"]}  # a whole answer that fails shows nothing else
        assert found == wanted
