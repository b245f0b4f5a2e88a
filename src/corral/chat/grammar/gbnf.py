"""Reads GBNF, the engine's grammars: those of clients to be checked, and our own expressions to be worked with."""

from __future__ import annotations

import re
from dataclasses import dataclass

from corral.chat.grammar.automata import (
    LAST_CODE,
    Alternatives,
    Chars,
    Node,
    Repeat,
    Sequence_,
    difference_of_ranges,
)


@dataclass(frozen=True, slots=True)
class Named:
    """A reference to a rule."""

    name: str


GrammarNode = Node | Named
ANY_CHAR = Chars(((0, LAST_CODE),))
_NAME = re.compile(r"[a-zA-Z0-9-]+")
_BLANK = re.compile(r"(?:[ \t]|#[^\n]*)*")
_BLANK_LINES = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_REPEAT = re.compile(r"\{[ \t]*(\d{1,9})?[ \t]*(,)?[ \t]*(\d{1,9})?[ \t]*\}")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "[": "[", "]": "]", "\\": "\\"}
# One token of the model, by number or name, or any but that.
_TOKEN = re.compile(r"!?<(?:\[\d{1,9}\]|[^<>\n]{1,100})>")
# Everything in which the name of a rule may stand without being one, and the names.
_PARTS = re.compile(
    r'"(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]|#[^\n]*|\{[^}]*\}'
    rf"|{_TOKEN.pattern}|(?P<name>{_NAME.pattern})"
)
_HEX_DIGITS = {"x": 2, "u": 4, "U": 8}
_MAX_DEPTH = 100


def read_grammar(text: str) -> dict[str, GrammarNode]:
    """The rules of a grammar by name, in their order.

    Raises:
        ValueError: it is not GBNF; the text says where.
    """
    reader = _Reader(text)
    rules: dict[str, GrammarNode] = {}
    reader.skip(True)
    while not reader.is_at_end:
        name = reader.name()
        reader.expect("::=")
        reader.skip(True)
        if name in rules:
            raise reader.error(f"the rule {name} is there twice")
        rules[name] = reader.alternatives(0, is_nested=False)
        reader.end_of_rule()
    return rules


def expression(text: str) -> Node:
    """An expression without references to rules, as a node. ValueError as `read_grammar`."""
    node: Node = _Reader(text).alternatives(0, is_nested=True)  # type: ignore[assignment]
    return node


def renamed(text: str, prefix: str) -> str:
    """A grammar that can be read, with `prefix` before the name of every rule."""
    return _PARTS.sub(lambda match: prefix + match[0] if match["name"] else match[0], text)


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    @property
    def is_at_end(self) -> bool:
        return self._at >= len(self._text)

    def error(self, text: str) -> ValueError:
        line = self._text.count("\n", 0, self._at) + 1
        return ValueError(f"line {line}: {text}")

    def skip(self, with_lines: bool) -> None:
        match = (_BLANK_LINES if with_lines else _BLANK).match(self._text, self._at)
        self._at = match.end() if match else self._at

    def name(self) -> str:
        match = _NAME.match(self._text, self._at)
        if match is None:
            raise self.error("expected the name of a rule")
        self._at = match.end()
        self.skip(False)
        return match[0]

    def expect(self, mark: str) -> None:
        if not self._text.startswith(mark, self._at):
            raise self.error(f"expected {mark}")
        self._at += len(mark)

    def end_of_rule(self) -> None:
        if not self.is_at_end and self._text[self._at] not in "\r\n":
            raise self.error(f"unexpected {self._text[self._at]!r}")
        self.skip(True)

    def alternatives(self, depth: int, *, is_nested: bool) -> GrammarNode:
        if depth > _MAX_DEPTH:
            raise self.error("groups are nested too deeply")
        options = [self._sequence(depth, is_nested)]
        while self._text.startswith("|", self._at):
            self._at += 1
            self.skip(True)
            options.append(self._sequence(depth, is_nested))
        return options[0] if len(options) == 1 else Alternatives(tuple(options))  # type: ignore[arg-type]

    def _sequence(self, depth: int, is_nested: bool) -> GrammarNode:
        parts: list[GrammarNode] = []
        start = 0  # of the last item, which a repetition is about
        while not self.is_at_end:
            char = self._text[self._at]
            if char == '"':
                start = len(parts)
                parts += self._literal()
            elif char == "[":
                start = len(parts)
                parts.append(self._set())
            elif char == ".":
                self._at += 1
                start = len(parts)
                parts.append(ANY_CHAR)
            elif char == "(":
                self._at += 1
                self.skip(True)
                start = len(parts)
                parts.append(self.alternatives(depth + 1, is_nested=True))
                self.expect(")")
            elif char in "*+?{":
                if start >= len(parts):
                    raise self.error(f"nothing stands before {char}")
                item = Sequence_(tuple(parts[start:])) if len(parts) > start + 1 else parts[start]  # type: ignore[arg-type]
                del parts[start:]
                parts.append(self._repeat(item))
                self.skip(is_nested)
                continue
            elif match := _TOKEN.match(self._text, self._at):
                self._at = match.end()
                start = len(parts)
                parts.append(ANY_CHAR)
            elif _NAME.match(char):
                start = len(parts)
                parts.append(Named(self.name()))
            else:
                break
            self.skip(is_nested)
        return parts[0] if len(parts) == 1 else Sequence_(tuple(parts))  # type: ignore[arg-type]

    def _repeat(self, item: GrammarNode) -> Repeat:
        char = self._text[self._at]
        if char != "{":
            self._at += 1
            least, most = {"*": (0, None), "+": (1, None), "?": (0, 1)}[char]
            return Repeat(item, least, most)  # type: ignore[arg-type]
        match = _REPEAT.match(self._text, self._at)
        if match is None or (match[1] is None and match[3] is None):
            raise self.error("expected a repetition as {2}, {2,} or {2,5}")
        self._at = match.end()
        least = int(match[1] or 0)
        most = (int(match[3]) if match[3] else None) if match[2] else least
        if most is not None and most < least:
            raise self.error("a repetition has its smaller number second")
        return Repeat(item, least, most)  # type: ignore[arg-type]

    def _literal(self) -> list[GrammarNode]:
        self._at += 1
        chars: list[GrammarNode] = []
        while not self._text.startswith('"', self._at):
            code = self._char()
            chars.append(Chars(((code, code),)))
        self._at += 1
        return chars or [Sequence_(())]

    def _set(self) -> Chars:
        self._at += 1
        is_negated = self._text.startswith("^", self._at)
        self._at += is_negated
        ranges = []
        while not self._text.startswith("]", self._at):
            low = high = self._char()
            if self._text.startswith("-", self._at) and not self._text.startswith("-]", self._at):
                self._at += 1
                high = self._char()
            if high < low:
                raise self.error("a range of characters has its end first")
            ranges.append((low, high))
        self._at += 1
        found = difference_of_ranges(((0, LAST_CODE),), ranges) if is_negated else ranges
        return Chars(tuple(found))

    def _char(self) -> int:
        if self.is_at_end or self._text[self._at] == "\n":
            raise self.error("a literal or a set does not end")
        char = self._text[self._at]
        self._at += 1
        if char != "\\":
            return ord(char)
        mark = self._text[self._at : self._at + 1]
        self._at += 1
        if mark in _HEX_DIGITS:
            digits = self._text[self._at : self._at + _HEX_DIGITS[mark]]
            self._at += len(digits)
            if re.fullmatch(f"[0-9A-Fa-f]{{{_HEX_DIGITS[mark]}}}", digits) and int(digits, 16) <= LAST_CODE:
                return int(digits, 16)
            raise self.error(f"\\{mark} needs {_HEX_DIGITS[mark]} hexadecimal digits")
        if mark not in _ESCAPES:
            raise self.error(f"unknown escape \\{mark}")
        return ord(_ESCAPES[mark])
