"""Modelfile text to directives and back. Ollama: parser/parser.go.

The grammar is the original's with its faults mended where it loses what people wrote: line numbers count a CRLF
once, text after a closing quote ends the value instead of opening it again for the rest of the file, and
printing quotes whatever would not read back as the same value.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from corral.errors import InvalidRequestError

__all__ = ["Directive", "ModelfileError", "format_modelfile", "parse_modelfile", "parse_parameters"]

_COMMANDS = (
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

_INTEGERS = frozenset(
    "num_keep seed num_predict top_k repeat_last_n num_ctx num_batch num_gpu main_gpu num_thread"
    " draft_num_predict".split()
)
_FLOATS = frozenset(
    "top_p min_p typical_p temperature repeat_penalty presence_penalty frequency_penalty".split()
)
_BOOLS = frozenset({"use_mmap"})
_LISTS = frozenset({"stop"})
DEPRECATED_PARAMETERS = frozenset(
    "penalize_newline low_vram f16_kv logits_all vocab_only use_mlock mirostat mirostat_tau mirostat_eta".split()
)
_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")


class ModelfileError(InvalidRequestError):
    """Text that is no Modelfile; the message names the line where there is one."""


@dataclass(frozen=True, slots=True)
class Directive:
    """One command. `name` is a command in lower case; for a parameter `key` is its name, for a message its role."""

    name: str
    value: str
    key: str = ""


def parse_modelfile(data: bytes) -> list[Directive]:
    """Read a Modelfile; UTF-8, or what its byte-order mark says.

    Raises:
        ModelfileError
    """
    directives = list(_Reader(_decode(data)).directives())
    if not any(directive.name == "from" for directive in directives):
        raise ModelfileError("no FROM line")
    return directives


def _decode(data: bytes) -> str:
    for mark, encoding in (
        (b"\xef\xbb\xbf", "utf-8"),
        (b"\xff\xfe", "utf-16-le"),
        (b"\xfe\xff", "utf-16-be"),
    ):
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace")
    return data.decode("utf-8", "replace")


def _is_kept(char: str) -> bool:
    """Letters, marks, numbers, punctuation, symbols and the plain space; tabs and newlines are looked at before."""
    return char in " \t\n" or unicodedata.category(char)[0] in "LMNPS"


class _Reader:
    """Walks the text line by line; `line` is the number of the line last taken, from 1."""

    def __init__(self, text: str) -> None:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        self._lines = "".join(char for char in text if _is_kept(char)).split("\n")
        self.line = 0

    def directives(self) -> Iterator[Directive]:
        while self.line < len(self._lines):
            text = self._take()
            stripped = text.lstrip(" \t")
            if stripped and not stripped.startswith("#"):
                yield self._directive(stripped)

    def _take(self) -> str:
        self.line += 1
        return self._lines[self.line - 1]

    @property
    def _is_at_end(self) -> bool:
        return self.line >= len(self._lines)

    def _directive(self, text: str) -> Directive:
        word, rest = _cut_word(text)
        name = word.lower()
        if rest is None and self._is_at_end and word.isascii() and word.isalpha():
            raise ModelfileError("unexpected EOF")
        if name not in _COMMANDS or rest is None:
            wanted = ", ".join(f'"{command}"' for command in _COMMANDS[:-1])
            raise ModelfileError(
                f'(line {self.line + (rest is None)}): command must be one of {wanted}, or "{_COMMANDS[-1]}"'
            )
        key = ""
        if name in ("parameter", "message"):
            key, rest = self._key(name, rest)
        return Directive(name, self._value(rest), key)

    def _key(self, name: str, text: str) -> tuple[str, str]:
        key, rest = _cut_word(text)
        allowed = key.replace("_", "a") if name == "parameter" else key
        if rest is None or (key and not (allowed.isascii() and allowed.isalnum())):
            raise ModelfileError("unexpected EOF" if self._is_at_end else f"unexpected EOF: {key}")
        if name == "message" and key not in _ROLES:
            raise ModelfileError(
                f'(line {self.line}): message role must be one of "system", "user", or "assistant"'
            )
        return key, rest

    def _value(self, text: str) -> str:
        """The rest of the line, or a quoted text that may go on over lines."""
        start = text.strip()
        for quote in ('"""', '"'):
            if start.startswith(quote):
                return self._quoted(text.lstrip(), quote)
        return start

    def _quoted(self, text: str, quote: str) -> str:
        opened_at = self.line
        while not (len(text.rstrip()) >= 2 * len(quote) and text.rstrip().endswith(quote)):
            if self._is_at_end:
                return self._quoted_with_text_behind(opened_at, quote)
            text += "\n" + self._take()
        return text.rstrip()[len(quote) : -len(quote)]

    def _quoted_with_text_behind(self, opened_at: int, quote: str) -> str:
        """No line ends with the quote: take the first closing one, as long as it closes on its own line."""
        self.line = opened_at
        text = self._lines[opened_at - 1]
        opening = text.index(quote)
        closing = text.find(quote, opening + len(quote))
        if closing < 0:
            self.line = len(self._lines)
            raise ModelfileError("unexpected EOF")
        return text[opening:].strip()


def _cut_word(text: str) -> tuple[str, str | None]:
    """The text before the first blank, and the text after it (None: there is no blank)."""
    for i, char in enumerate(text):
        if char in " \t":
            return text[:i], text[i + 1 :]
    return text, None


def parse_parameters(directives: Iterable[Directive]) -> tuple[dict[str, Any], list[str]]:
    """PARAMETER lines as typed values, and the names of deprecated ones that were dropped.

    Raises:
        ModelfileError: an unknown name, or a value of the wrong type.
    """
    parameters: dict[str, Any] = {}
    deprecated: list[str] = []
    for directive in directives:
        if directive.name != "parameter":
            continue
        name, value = directive.key, directive.value
        if name in DEPRECATED_PARAMETERS:
            deprecated.append(name)
        elif name in _LISTS:
            parameters.setdefault(name, []).append(value)
        else:
            parameters[name] = _typed(name, value)
    return parameters, deprecated


def _typed(name: str, value: str) -> int | float | bool:
    if name in _INTEGERS:
        digits = value[1:] if value[:1] in ("+", "-") else value
        if not (digits.isascii() and digits.isdigit()):
            raise ModelfileError(f"invalid int value [{value}]")
        return int(value)
    if name in _FLOATS:
        try:
            return float(value.replace("_", "x"))
        except ValueError:
            raise ModelfileError(f"invalid float value [{value}]") from None
    if name in _BOOLS:
        if value not in _TRUE + _FALSE:
            raise ModelfileError(f"invalid bool value [{value}]")
        return value in _TRUE
    raise ModelfileError(f"unknown parameter '{name}'")


def format_modelfile(directives: Iterable[Directive]) -> str:
    """Directives as text that reads back as the same directives."""
    return "".join(f"{_format(directive)}\n" for directive in directives)


def _format(directive: Directive) -> str:
    if directive.name == "from":
        return f"FROM {directive.value}"
    if directive.name in ("parameter", "message"):
        return f"{directive.name.upper()} {directive.key} {quote(directive.value)}"
    return f"{directive.name.upper()} {quote(directive.value)}"


def quote(text: str) -> str:
    """Quote a value if it would not read back as it is: several lines, outer blanks, a leading quote."""
    if "\n" not in text and text.strip() == text and not text.startswith('"'):
        return text
    return f'"""{text}"""' if '"' in text else f'"{text}"'
