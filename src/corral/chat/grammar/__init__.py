"""Structured output: JSON schemas as grammars (GBNF) that the engine enforces."""

from corral.chat.grammar.schema import Grammar, compile_schema, json_object_grammar, schema_grammar

__all__ = ["Grammar", "compile_schema", "json_object_grammar", "schema_grammar"]
