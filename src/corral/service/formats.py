"""What a request wants its answer to look like, as a grammar for the engine."""

from __future__ import annotations

import json
from functools import lru_cache

from corral.errors import FormatError
from corral.grammar import json_object_grammar, schema_grammar
from corral.service.requests import InferenceOptions

__all__ = ["grammar_of"]


def grammar_of(common: InferenceOptions) -> str:
    """GBNF text for a request's `grammar` or `format`; empty when the answer is free.

    Raises:
        FormatError: a format of another kind.
        SchemaError: a schema that cannot be used.
    """
    return common.grammar or (_compile(common.format) if common.format else "")


@lru_cache(maxsize=128)
def _compile(text: str) -> str:
    value = json.loads(text)
    if value == "":
        return ""
    if value == "json":
        return json_object_grammar()
    if isinstance(value, dict):
        return schema_grammar(value)
    quoted = json.dumps(text, ensure_ascii=False)
    raise FormatError(f'invalid format: {quoted}; expected "json" or a valid JSON Schema object')
