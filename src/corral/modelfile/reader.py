"""Modelfile text to directives. Ollama: parser/parser.go.

The grammar is Ollama's, except where it loses text: line numbers count a CRLF once, invisible characters inside
values are kept, and text after a closing quote does not make a value swallow the following commands. Fenced values
are an extension for texts that Ollama's quotes cannot hold; `printer.py` writes them:

    SYSTEM \"\"\"<<END
    any text at all
    END\"\"\"
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from corral.errors import InvalidRequestError
from corral.modelfile.encoding import EncodingError, decode_text

COMMANDS = (
    "from",
    "license",
    "template",
    "system",
    "adapter",
    "draft",
    "renderer",
    "parser",
    "parameter",
    "message",
    "requires",
)
_ROLES = ("system", "user", "assistant")
_LINE = re.compile(r"([^\r\n]*)(\r\n|\r|\n|\Z)")
_FENCE = re.compile(r'"""<<([A-Z]+[0-9]*)')
_COMMAND_LINE = re.compile(rf"[ \t]*({'|'.join(COMMANDS).upper()})[ \t]")


class ModelfileError(InvalidRequestError):
    """An invalid Modelfile. `line` counts from 1 (0: unknown). The message is Ollama's; `detail` says more and may be
    empty."""

    def __init__(self, message: str, *, line: int = 0, detail: str = "") -> None:
        super().__init__(message)
        self.line = line
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Directive:
    """One command. `name` is in lower case; `key` is the name of a parameter or the role of a message."""

    name: str
    value: str
    key: str = ""
    line: int = field(default=0, compare=False)


def parse_modelfile(data: bytes) -> list[Directive]:
    """Parse a Modelfile. Time and memory are linear in its size.

    Raises:
        ModelfileError
    """
    try:
        text = decode_text(data)
    except EncodingError as error:
        raise ModelfileError(str(error), line=error.line, detail=error.detail) from None
    directives = read_directives(text)
    if not any(directive.name == "from" for directive in directives):
        raise ModelfileError("no FROM line")
    return directives


def read_directives(text: str) -> list[Directive]:
    """The directives of a text, with or without a FROM.

    Raises:
        ModelfileError
    """
    return list(_Reader(text).directives())


def _is_visible(char: str) -> bool:
    """Whether a character may be part of a command word: letters, marks, numbers, punctuation, symbols."""
    return unicodedata.category(char)[0] in "LMNPS"


class _Reader:
    """Reads the text line by line; `_next` is the index of the next line."""

    def __init__(self, text: str) -> None:
        # Content and newline of each line; a text that ends with a newline has an empty last line.
        self._lines = [(match[1], match[2]) for match in _LINE.finditer(text)]
        if len(self._lines) > 1 and self._lines[-1] == ("", "") and self._lines[-2][1] == "":
            self._lines.pop()  # an empty match after a last line without newline
        self._next = 0

    def directives(self) -> Iterator[Directive]:
        while self._next < len(self._lines):
            content = self._lines[self._next][0]
            self._next += 1
            start = next((i for i, c in enumerate(content) if c not in " \t" and _is_visible(c)), None)
            if start is not None and content[start] != "#":
                yield self._directive(content[start:])

    @cached_property
    def _marks(self) -> _Marks:
        return _Marks(self._lines)

    @property
    def _is_at_end(self) -> bool:
        return self._next >= len(self._lines)

    def _directive(self, text: str) -> Directive:
        line = self._next
        word, rest = _cut_word(text)
        name = word.lower()
        if rest is None and self._is_at_end and word.isascii() and word.isalpha():
            raise ModelfileError("unexpected EOF", line=line, detail=f"nothing follows {word!r}")
        if name not in COMMANDS or rest is None:
            wanted = ", ".join(f'"{command}"' for command in COMMANDS[:-1])
            # If nothing follows the word, Ollama has already read the newline.
            number = line + (rest is None and word.isascii() and word.isalpha())
            raise ModelfileError(
                f'(line {number}): command must be one of {wanted}, or "{COMMANDS[-1]}"',
                line=line,
                detail=f"{word!r} is not a command" if name not in COMMANDS else f"nothing follows {word!r}",
            )
        key = ""
        if name in ("parameter", "message"):
            key, rest = self._key(name, rest)
        return Directive(name, self._value(rest), key, line)

    def _key(self, name: str, text: str) -> tuple[str, str]:
        key, rest = _cut_word(text)
        allowed = re.match(r"[A-Za-z0-9_]*" if name == "parameter" else r"[A-Za-z]*", key)
        good = allowed[0] if allowed else ""
        if rest is None or good != key:
            at_end = self._is_at_end and good == key
            raise ModelfileError(
                "unexpected EOF" if at_end else f"unexpected EOF: {good}",
                line=self._next,
                detail=f"{name.upper()} needs a {'name' if name == 'parameter' else 'role'} and a value",
            )
        if name == "message" and key not in _ROLES:
            raise ModelfileError(
                f'(line {self._next}): message role must be one of "system", "user", or "assistant"',
                line=self._next,
                detail=f"{key!r} is not a role",
            )
        return key, rest

    def _value(self, text: str) -> str:
        """The rest of the line, or a quoted text that may span lines."""
        start = text.strip()
        if fence := _FENCE.fullmatch(start):
            fenced = self._fenced(f'{fence[1]}"""')
            if fenced is not None:
                return fenced
        for quote in ('"""', '"'):
            if start.startswith(quote):
                return self._quoted(text.lstrip(), quote)
        return start

    def _fenced(self, closing: str) -> str | None:
        """The lines up to the one that is `closing`, or None if there is no such line."""
        end = self._marks.next_line(self._next, '"""', equal_to=closing)
        if end is None:
            return None
        text = "".join(content + newline for content, newline in self._lines[self._next : end])
        self._next = end + 1
        return text[:-1]  # the last newline belongs to the fence

    def _quoted(self, text: str, quote: str) -> str:
        """A value in quotes: it extends to the first line that ends with the quote."""
        first = text.rstrip()
        if len(first) >= 2 * len(quote) and first.endswith(quote):
            return first[len(quote) : -len(quote)]
        opened = self._next
        end = self._marks.next_line(opened, quote)
        is_closed_inside = quote in text[len(quote) :]
        command = self._marks.next_command(opened)
        if is_closed_inside and (end is None or (command is not None and command <= end)):
            return first
        if end is None:
            raise ModelfileError(
                "unexpected EOF", line=opened, detail=f"the {quote} opened in this line is never closed"
            )
        self._check_inside(opened, end, quote)
        content = self._lines[end][0].rstrip()
        inner = "".join(content + newline for content, newline in self._lines[opened:end])
        self._next = end + 1
        return f"{text[len(quote) :]}{self._lines[opened - 1][1]}{inner}{content.removesuffix(quote)}"

    def _check_inside(self, start: int, end: int, quote: str) -> None:
        """Refuse a triple quote that is closed inside a line, followed by text, and then swallows commands.

        A single quote inside a line means nothing, as it is common in prose.
        """
        closing = self._marks.next_closing(start) if len(quote) == 3 else None
        if closing is None or closing >= end:
            return
        command = self._marks.next_command(closing)
        if command is not None and command <= end:
            raise ModelfileError(
                f"(line {closing + 1}): there is text after the closing {quote} of a value", line=closing + 1
            )


class _Marks:
    """The lines that end with quotes or look like commands; found once, so parsing takes linear time."""

    def __init__(self, lines: list[tuple[str, str]]) -> None:
        self._contents = [content.rstrip() for content, _ in lines]
        contents = list(enumerate(self._contents))
        self._ends = {
            quote: [i for i, content in contents if content.endswith(quote)] for quote in ('"', '"""')
        }
        self._closings = [i for i, content in contents if '"""' in content]
        self._commands = [i for i, (content, _) in enumerate(lines) if _COMMAND_LINE.match(content)]
        self._equal: dict[str, list[int]] = {}
        for i in self._ends['"""']:
            self._equal.setdefault(self._contents[i], []).append(i)

    def next_line(self, start: int, quote: str, *, equal_to: str = "") -> int | None:
        """The first line from `start` on that ends with a quote, or that equals a text."""
        return _first_from(self._equal.get(equal_to, []) if equal_to else self._ends[quote], start)

    def next_closing(self, start: int) -> int | None:
        return _first_from(self._closings, start)

    def next_command(self, start: int) -> int | None:
        return _first_from(self._commands, start)


def _first_from(numbers: list[int], start: int) -> int | None:
    i = bisect_left(numbers, start)
    return numbers[i] if i < len(numbers) else None


def _cut_word(text: str) -> tuple[str, str | None]:
    """The visible characters before the first blank, and the text after it (None: there is no blank)."""
    for i, char in enumerate(text):
        if char in " \t":
            return "".join(filter(_is_visible, text[:i])), text[i + 1 :]
    return "".join(filter(_is_visible, text)), None
