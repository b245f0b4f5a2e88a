"""A grammar under construction: named rules, literals, and the rules that all JSON shares."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

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
_HALF = re.compile("[\ud800-\udfff]")
_MAX_RULES = 20_000
# So many doublings are harmless.
_MAX_FORKS = 7
_MAX_TEXT_CHARS = 2 << 20
# More repetitions than this the engine refuses.
MAX_WRITTEN_OUT = 2000
_BLOCK = 1000
_EMPTY = '""'


class Rules:
    """Rules by name; a shared rule is added when something names it.

    `is_recursive`: some rule leads back to itself; `fork_count`: how often alternatives begin alike, so that the
    engine has to follow both.
    """

    def __init__(self) -> None:
        self.is_recursive = False
        self.fork_count = 0
        self._rules: dict[str, str] = {}
        self._by_body: dict[str, str] = {}
        self._next: dict[str, int] = {}

    @property
    def may_explode(self) -> bool:
        """Whether the ways to read a text may multiply."""
        return self.fork_count > (0 if self.is_recursive else _MAX_FORKS)

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
        number = self._next.get(stem, 0) + 1
        name = f"r-{stem}" if number == 1 else f"r-{stem}-{number}"
        while name in self._rules:  # a stem may end in a number
            number += 1
            name = f"r-{stem}-{number}"
        self._next[stem] = number
        self._rules[name] = ""
        if len(self._rules) > _MAX_RULES:
            raise OverflowError("the schema needs too many rules")
        return name

    def define(self, name: str, body: str) -> str:
        self._rules[name] = body
        return name

    def release(self, name: str) -> None:
        """Take back a reserved name that nothing refers to."""
        del self._rules[name]

    def settle(self, name: str, body: str, *, is_used: bool) -> str:
        """Define a reserved rule, or take it back for one that says the same; returns the name to use.

        `is_used`: whether something refers to it already.
        """
        if not is_used and (body in self._rules or body in self._by_body):
            self.release(name)
            return body if body in self._rules else self._by_body[body]
        self._by_body.setdefault(body, name)
        return self.define(name, body)

    def add(self, hint: str, body: str) -> str:
        return self.define(self.reserve(hint), body)

    def text(self, root: str) -> str:
        lines = [f"root ::= {root}"]
        # One without a body was reserved for something that was given up: nothing leads there.
        lines += [f"{name} ::= {body}" for name, body in self._rules.items() if body]
        if sum(map(len, lines)) > _MAX_TEXT_CHARS:
            raise OverflowError("the schema is too large")
        return "\n".join(lines) + "\n"

    def counted(self, item: str, least: int, most: int | None) -> str:
        """An item so many times. Beyond what the engine writes out the rest is counted in blocks."""
        if most is None or most <= MAX_WRITTEN_OUT:
            return repeat(item, least, most)
        blocks, rest = divmod(most - least, _BLOCK)
        block = self.add("block", repeat(item, _BLOCK, _BLOCK))
        body = f"{block}{{0,{blocks - 1}}} {item}{{0,{_BLOCK - 1}}} | {block}{{{blocks}}} {item}{{0,{rest}}}"
        return f"{repeat(item, least, least)} ({body})" if least else f"({body})"

    def listed(self, hint: str, members: Sequence[tuple[str, bool]], separator: str, extra: str = "") -> str:
        """Members in order, those that are not required present or not, then any number of `extra` ones.

        Separators stand only between those that are there. `tail` continues after a member was written; `head` is
        where none was yet. Empty when there is nothing to list.
        """
        extras = f"({separator} {extra})*" if extra else ""
        tail = self.add(f"{hint}-tail", extras) if extras else ""
        head_options = [f"{extra} {extras}"] if extra else []
        is_open = True  # whether everything from here on may be absent
        for member, is_required in reversed(members):
            with_member = f"{member} {tail}".strip()
            if is_required:
                head_options, is_open = [with_member], False
                tail = self.add(f"{hint}-tail", f"{separator} {with_member}")
            else:
                head_options = [with_member, *head_options]
                rest = f" | {tail}" if tail else ""
                tail = self.add(f"{hint}-tail", f"({separator} {with_member}){rest or '?'}")
        if not head_options:
            return ""
        # Not with "?": the engine counts what a repeated group names, and refuses one of some thousand names.
        return f"({' | '.join(head_options)}{' | ' + _EMPTY if is_open else ''})"

    def text_without(self, tags: Sequence[str]) -> str:
        """The name of a rule for any text, also none, in which none of `tags` occurs: their search automaton."""
        prefixes = sorted({tag[:i] for tag in tags for i in range(len(tag))})
        names = {prefix: self.reserve("text") for prefix in prefixes}
        alphabet = sorted({char for tag in tags for char in tag})
        for prefix in prefixes:
            options, special = [], ""
            for char in alphabet:
                seen = prefix + char
                is_tag = any(seen.endswith(tag) for tag in tags)
                while not is_tag and seen not in names:
                    seen = seen[1:]
                if is_tag or seen:  # every other character leads back to the start
                    special += class_char(char)
                if seen and not is_tag:
                    options.append(f"{literal(char)} {names[seen]}")
            options.insert(0, f"[^{special}] {names['']}")
            self.define(names[prefix], f"({' | '.join(options)})?")
        return names[""]


def literal(text: str) -> str:
    """A GBNF terminal for exactly this text."""
    escaped = "".join(_ESCAPES.get(char, char) for char in text)
    return f'"{escaped}"'


def json_literal(value: Any) -> str:
    """A GBNF terminal for the compact JSON form of a value."""
    return literal(json_text(value))


def json_text(value: Any) -> str:
    """The compact JSON form of a value; half characters, which no text can have, as escapes."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text if text.isascii() else _HALF.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def class_char(char: str) -> str:
    """A character as it stands in a GBNF class."""
    if char in "]\\[":
        return "\\" + char
    code = ord(char)
    if char in "^-" or code < 0x20 or code == 0x7F:
        return f"\\x{code:02X}"
    return char if code < 0x10000 else f"\\U{code:08X}"


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
