"""A grammar under construction: named rules, literals, and the rules that all JSON shares."""

from __future__ import annotations

import json
import re
from typing import Any

__all__ = ["Rules", "literal", "repeat"]

# White space between tokens: a little for looks, never enough for a weak model to lose itself in.
_WS = '[ ]? | "\\n" [ \\t]{0,20}'
_SHARED: dict[str, str] = {
    "ws": _WS,
    "char": r'[^"\\\x7F\x00-\x1F] | [\\] (["\\bfnrt/] | "u" [0-9a-fA-F]{4})',
    "string": r'"\"" char* "\""',
    "integral": "[0] | [1-9] [0-9]{0,15}",
    "integer": '("-"? integral)',
    "number": '("-"? integral) ("." [0-9]{1,16})? ([eE] [-+]? [0] | [eE] [-+]? [1-9] [0-9]{0,1})?',
    "boolean": '"true" | "false"',
    "null": '"null"',
    "value": "object | array | string | number | boolean | null",
    "object": '"{" ws (string ":" ws value ("," ws string ":" ws value)*)? ws "}"',
    "array": '"[" ws (value ("," ws value)*)? ws "]"',
}
_WORD = re.compile(r"(?<![\w\"-])([a-z][a-z0-9-]*)(?![\w-])")
_MAX_RULES = 5000


class Rules:
    """Rules by name; a shared rule is added when something names it."""

    def __init__(self) -> None:
        self._rules: dict[str, str] = {}

    def shared(self, name: str) -> str:
        """The name of a rule that all JSON shares."""
        if name not in self._rules:
            body = _SHARED[name]
            self._rules[name] = body
            for word in _WORD.findall(re.sub(r'"(\\.|[^"\\])*"|\[(\\.|[^\]\\])*\]', " ", body)):
                if word in _SHARED:
                    self.shared(word)
        return name

    def reserve(self, hint: str) -> str:
        """A new name, for a rule whose body may refer to itself."""
        stem = re.sub(r"[^a-z0-9]+", "-", hint.lower()).strip("-")[:40] or "rule"
        name, number = f"r-{stem}", 1
        while name in self._rules:
            number += 1
            name = f"r-{stem}-{number}"
        self._rules[name] = ""
        if len(self._rules) > _MAX_RULES:
            raise OverflowError("the schema needs too many rules")
        return name

    def define(self, name: str, body: str) -> str:
        self._rules[name] = body
        return name

    def add(self, hint: str, body: str) -> str:
        return self.define(self.reserve(hint), body)

    def text(self, root: str) -> str:
        lines = [f"root ::= {root}"]
        lines += [f"{name} ::= {body}" for name, body in self._rules.items()]
        return "\n".join(lines) + "\n"


def literal(text: str) -> str:
    """A GBNF terminal for exactly this text."""
    escaped = "".join(_ESCAPES.get(char, char) for char in text)
    return f'"{escaped}"'


def json_literal(value: Any) -> str:
    """A GBNF terminal for the compact JSON form of a value."""
    return literal(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"} | {
    chr(code): f"\\x{code:02X}" for code in (*range(9), 11, 12, *range(14, 32), 127)
}


def repeat(item: str, least: int, most: int | None) -> str:
    """An item so many times; `most` None: without end."""
    if (least, most) == (0, None):
        return f"{item}*"
    if (least, most) == (1, None):
        return f"{item}+"
    if (least, most) == (0, 1):
        return f"{item}?"
    return f"{item}{{{least},{'' if most is None else most}}}"
