"""Models whose replies are content as they stand. Ollama: model/parsers/parsers.go, PassthroughParser."""

from __future__ import annotations

from collections.abc import Sequence

from corral.chat.families.family import Family, Parser
from corral.chat.parsing.events import Parsed
from corral.types import Message, Think, Tool


class _PassthroughParser:
    def feed(self, text: str) -> Parsed:
        return Parsed(text)

    def finish(self) -> Parsed:
        return Parsed()


def create(tools: Sequence[Tool], last_message: Message | None, think: Think) -> _PassthroughParser:
    return _PassthroughParser()


FAMILY = Family(parsers=(Parser("passthrough", create),))
