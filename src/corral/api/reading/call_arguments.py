"""Arguments of tool calls in the history that a client sends back: whatever a model once wrote must not stop it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from corral.api.reading.jsonread import read_object
from corral.errors import InvalidRequestError

_MAX_DEPTH = 100
# What holds arguments that are not an object, so that the model sees what it wrote.
_WHOLE = "arguments"


def arguments_of(value: Any) -> dict[str, Any]:
    """The arguments of an earlier call: an object, or JSON text of one; nothing stands for no arguments.

    Anything else (a list, a text that broke off) is the one member `arguments`. Ollama refuses it, and with it
    every later request of the conversation.
    """
    if isinstance(value, Mapping):
        return dict(value)
    if value is None or value == "":
        return {}
    if not isinstance(value, str):
        return {_WHOLE: value}
    text = value.strip()
    try:
        if text.startswith('"'):
            text = str(json.loads(text))  # JSON inside JSON, as some clients write it
        return read_object(text, max_depth=_MAX_DEPTH) if text else {}
    except (InvalidRequestError, ValueError, RecursionError):
        return {_WHOLE: value}
