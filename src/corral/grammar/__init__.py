"""Structured output: JSON schemas as grammars (GBNF) that the engine enforces."""

from corral.grammar.schema import json_object_grammar, schema_expression, schema_grammar

__all__ = ["json_object_grammar", "schema_expression", "schema_grammar"]
