"""An error in the middle of the engine's stream: what came before it in the same bytes is not lost."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from corral.errors import ContextOverflowError, CorralError, EngineError
from corral.runner.ahead import UnderWay
from corral.runner.engine import EngineRunner
from corral.runner.interface import CompletionRequest
from corral.types import SamplingOptions


class Response:
    """Bytes as they arrive."""

    def __init__(self, *blocks: bytes) -> None:
        self.blocks = list(blocks)

    async def next_bytes(self) -> bytes:
        return self.blocks.pop(0) if self.blocks else b""


def said(text: str) -> bytes:
    return b"data: " + json.dumps({"content": text, "stop": False}).encode() + b"\n\n"


def failed(prefix: bytes = b"error: ", **error: Any) -> bytes:
    return prefix + json.dumps({"error": {"code": 500, "message": "it broke", **error}}).encode() + b"\n\n"


def read(*blocks: bytes) -> tuple[str, CorralError | None]:
    """The text that was read, and the error that ended it."""
    texts: list[str] = []

    async def broken() -> EngineError:
        return EngineError(500, "gone")

    double = SimpleNamespace(
        _note_life=lambda: None,
        _broken=broken,
        _loop=SimpleNamespace(time=lambda: 0.0),
        _last_event_s=0.0,
        _ahead=SimpleNamespace(note_tokens=lambda *_: None),
    )
    runner = cast("EngineRunner", double)
    under_way = UnderWay(CompletionRequest("", SamplingOptions()))

    async def collect() -> CorralError | None:
        try:
            async for pieces in EngineRunner._pieces(runner, cast("Any", Response(*blocks)), None, under_way):
                texts.extend(piece.text for piece in pieces)
        except CorralError as error:
            return error
        return None

    error = asyncio.run(collect())
    return "".join(texts), error


@pytest.mark.parametrize("prefix", [b"error: ", b"data: "])
@pytest.mark.parametrize("cut", [0, 10, 45, 60, 80])
def test_text_before_an_error(prefix: bytes, cut: int) -> None:
    """However the bytes are cut."""
    data = said("a") + said("b") + failed(prefix) + said("never")
    text, error = read(data[:cut], data[cut:]) if cut else read(data)
    assert text == "ab"
    assert isinstance(error, EngineError)
    assert error.message == "it broke"


def test_a_prompt_that_turns_out_too_long() -> None:
    """Has its own error in a stream as well."""
    text, error = read(failed(type="exceed_context_size_error", n_prompt_tokens=9, n_ctx=8))
    assert text == ""
    assert isinstance(error, ContextOverflowError)
    assert (error.prompt_count, error.num_ctx) == (9, 8)
