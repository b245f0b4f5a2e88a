"""Reads GBNF and makes random texts of a grammar: a second opinion on our grammars that needs no model."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import Any

_TOKEN = re.compile(
    r"""\s+|(?P<literal>"(?:\\.|[^"\\])*")|(?P<set>\[(?:\\.|[^\]\\])*\])|(?P<name>[a-zA-Z][\w-]*)"""
    r"""|(?P<repeat>\{\d+(?:,\d*)?\}|[*+?])|(?P<mark>[()|])"""
)
_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)", re.DOTALL)
_MAX_DEPTH = 60
# What a negated set stands for when a text is made.
_SAMPLE = "abz AZ09-_.:/{}[]<>,\n\\\"éя漢😀'"


@dataclass
class _Repeat:
    item: Any
    least: int
    most: int | None


class Grammar:
    """`text` makes one text of the grammar."""

    def __init__(self, source: str) -> None:
        self._rules: dict[str, Any] = {}
        for line in source.splitlines():
            if line.strip():
                name, _, body = line.partition("::=")
                self._tokens = [m for m in _TOKEN.finditer(body) if m.lastgroup]
                assert "".join(m[0] for m in _TOKEN.finditer(body)) == body, body
                self._at = 0
                self._rules[name.strip()] = self._alternatives()
                assert self._at == len(self._tokens), body
        self._costs = self._find_costs()

    def text(self, rng: random.Random) -> str:
        parts: list[str] = []
        self._write(("name", "root"), rng, parts, 0)
        return "".join(parts)

    def _alternatives(self) -> Any:
        options = [self._sequence()]
        while self._peek() == "|":
            self._at += 1
            options.append(self._sequence())
        return ("or", options)

    def _sequence(self) -> Any:
        items: list[Any] = []
        while (text := self._peek()) not in ("", "|", ")"):
            token = self._tokens[self._at]
            self._at += 1
            if token["repeat"]:
                items[-1] = self._repeated(items[-1], text)
            elif text == "(":
                items.append(self._alternatives())
                assert self._peek() == ")"
                self._at += 1
            elif token["literal"]:
                items.append(("text", "".join(_chars(text[1:-1]))))
            elif token["set"]:
                items.append(("set", _set(text[1:-1])))
            else:
                items.append(("name", text))
        return ("and", items)

    def _repeated(self, item: Any, mark: str) -> Any:
        if mark in "*+?":
            return ("repeat", _Repeat(item, int(mark == "+"), 1 if mark == "?" else None))
        least, comma, most = mark[1:-1].partition(",")
        return ("repeat", _Repeat(item, int(least), int(most) if most else None if comma else int(least)))

    def _peek(self) -> str:
        return self._tokens[self._at][0] if self._at < len(self._tokens) else ""

    def _find_costs(self) -> dict[str, float]:
        """The smallest depth at which each rule ends, so that a text can be brought to its end."""
        costs = dict.fromkeys(self._rules, float("inf"))
        changed = True
        while changed:
            changed = False
            for name, body in self._rules.items():
                cost = 1 + self._cost(body, costs)
                if cost < costs[name]:
                    costs[name], changed = cost, True
        assert all(cost < float("inf") for cost in costs.values()), "a rule never ends"
        return costs

    def _cost(self, node: Any, costs: dict[str, float]) -> float:
        kind, value = node
        if kind == "name":
            return costs[value]
        if kind == "or":
            return min(self._cost(option, costs) for option in value)
        if kind == "and":
            return max((self._cost(item, costs) for item in value), default=0)
        return self._cost(value.item, costs) if kind == "repeat" and value.least else 0

    def _write(self, node: Any, rng: random.Random, parts: list[str], depth: int) -> None:
        kind, value = node
        if kind == "text":
            parts.append(value)
        elif kind == "set":
            parts.append(rng.choice(value))
        elif kind == "name":
            self._write(self._rules[value], rng, parts, depth + 1)
        elif kind == "and":
            for item in value:
                self._write(item, rng, parts, depth)
        elif kind == "or":
            options = value
            if depth > _MAX_DEPTH:
                best = min(self._cost(option, self._costs) for option in value)
                options = [option for option in value if self._cost(option, self._costs) == best]
            self._write(rng.choice(options), rng, parts, depth)
        else:
            most = value.least + 3 if value.most is None else value.most
            extra = (
                0 if depth > _MAX_DEPTH else rng.randint(0, min(most - value.least, rng.choice((1, 3, 2000))))
            )
            for _ in range(value.least + extra):
                self._write(value.item, rng, parts, depth)


def _chars(text: str) -> list[str]:
    chars = []
    at = 0
    while at < len(text):
        match = _ESCAPE.match(text, at)
        if match is None:
            chars.append(text[at])
            at += 1
            continue
        body = match[1]
        chars.append(
            chr(int(body[1:], 16)) if len(body) > 1 else {"n": "\n", "r": "\r", "t": "\t"}.get(body, body)
        )
        at = match.end()
    return chars


def _set(body: str) -> list[str]:
    """The characters of a set, of large ranges a sample."""
    is_negated = body.startswith("^")
    marked = _ESCAPE.sub(lambda m: m[0] if m[1] not in ("-",) else "\\x2D", body[is_negated:])
    ranges: list[tuple[str, str]] = []
    pieces = re.findall(r"(?:\\(?:x..|u....|U.{8}|.)|[^\\])", marked, re.DOTALL)
    at = 0
    while at < len(pieces):
        low = _chars(pieces[at])[0]
        high = low
        if at + 2 < len(pieces) and pieces[at + 1] == "-":
            high = _chars(pieces[at + 2])[0]
            at += 2
        assert low <= high, body
        ranges.append((low, high))
        at += 1
    if is_negated:
        return [char for char in _SAMPLE if not any(low <= char <= high for low, high in ranges)]
    found: list[str] = []
    for low, high in ranges:
        span = range(ord(low), ord(high) + 1)
        picked = span if len(span) < 200 else [*span[:95], *map(ord, "é漢😀"), span[-1]]
        found += [chr(code) for code in picked if code in span and not 0xD800 <= code < 0xE000]
    return found
