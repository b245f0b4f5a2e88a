"""Template text to tokens, the first step of the engine; the only place that trims white space.

It knows nothing of grammar: an error is the last token, so that the parser reports whichever fault comes first.
Positions are indexes into the text; every token carries the line on which it starts.
Ollama templates are Go's text/template; names of tokens and texts of errors are those of that package.
"""

from __future__ import annotations

import re
import unicodedata
from enum import IntEnum, auto
from typing import NamedTuple

from corral.gotemplate.literals import quote, unicode_name

__all__ = ["Kind", "Token", "tokenize"]


class Kind(IntEnum):
    """What a token is. Kinds after KEYWORD are reserved words."""

    ERROR = auto()
    BOOL = auto()
    CHAR = auto()
    CHAR_CONSTANT = auto()
    COMPLEX = auto()
    ASSIGN = auto()
    DECLARE = auto()
    EOF = auto()
    FIELD = auto()
    IDENTIFIER = auto()
    LEFT_DELIM = auto()
    LEFT_PAREN = auto()
    NUMBER = auto()
    PIPE = auto()
    RAW_STRING = auto()
    RIGHT_DELIM = auto()
    RIGHT_PAREN = auto()
    SPACE = auto()
    STRING = auto()
    TEXT = auto()
    VARIABLE = auto()
    KEYWORD = auto()
    BLOCK = auto()
    BREAK = auto()
    CONTINUE = auto()
    DOT = auto()
    DEFINE = auto()
    ELSE = auto()
    END = auto()
    IF = auto()
    NIL = auto()
    RANGE = auto()
    TEMPLATE = auto()
    WITH = auto()


class Token(NamedTuple):
    kind: Kind
    position: int
    text: str
    line: int

    def __str__(self) -> str:
        """The form in which error messages quote a token."""
        if self.kind is Kind.EOF:
            return "EOF"
        if self.kind is Kind.ERROR:
            return self.text
        if self.kind > Kind.KEYWORD:
            return f"<{self.text}>"
        if len(self.text.encode("utf-8", "replace")) > 10:
            return quote(self.text[:10]) + "..."
        return quote(self.text)


_KEYWORDS = {
    "block": Kind.BLOCK,
    "break": Kind.BREAK,
    "continue": Kind.CONTINUE,
    "define": Kind.DEFINE,
    "else": Kind.ELSE,
    "end": Kind.END,
    "if": Kind.IF,
    "nil": Kind.NIL,
    "range": Kind.RANGE,
    "template": Kind.TEMPLATE,
    "with": Kind.WITH,
}
_SINGLE = {"=": Kind.ASSIGN, "|": Kind.PIPE, "(": Kind.LEFT_PAREN, ")": Kind.RIGHT_PAREN}
_SPACES = " \t\r\n"
_SPACE_SET = frozenset(_SPACES)
_SPACE_RUN = re.compile(r"[ \t\r\n]+")
_ASCII_WORD = re.compile(r"[A-Za-z0-9_]*")
_QUOTED = re.compile(r'"(?:\\[^\n]|[^"\\\n])*"')
_CHAR_CONSTANT = re.compile(r"'(?:\\[^\n]|[^'\\\n])*'")
_NUMBER = re.compile(
    r"[+-]?(?:0[xX][0-9a-fA-F_]*(?:\.[0-9a-fA-F_]*)?(?:[pP][+-]?[0-9_]*)?"
    r"|0[oO][0-7_]*(?:\.[0-7_]*)?"
    r"|0[bB][01_]*(?:\.[01_]*)?"
    r"|[0-9_]*(?:\.[0-9_]*)?(?:[eE][+-]?[0-9_]*)?)i?"
)


class _LexicalError(Exception):
    """A fault at the token that starts at the lexer's `start`."""


class _Lexer:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[Token] = []
        self.start = 0
        self.position = 0
        self._counted = 0
        self._line = 1
        self._paren_depth = 0

    def _line_at(self, position: int) -> int:
        self._line += self.text.count("\n", self._counted, position)
        self._counted = position
        return self._line

    def _emit(self, kind: Kind, end: int) -> None:
        self.tokens.append(Token(kind, self.start, self.text[self.start : end], self._line_at(self.start)))
        self.start = self.position = end

    def run(self) -> list[Token]:
        try:
            while self._lex_text():
                if self._lex_left_delimiter():
                    while self._lex_inside_action():
                        pass
        except _LexicalError as error:
            self.tokens.append(Token(Kind.ERROR, self.start, str(error), self._line_at(self.start)))
        return self.tokens

    def _lex_text(self) -> bool:
        """Emit the text up to the next action; False at the end of the template."""
        found = self.text.find("{{", self.position)
        if found < 0:
            if self.position < len(self.text):
                self._emit(Kind.TEXT, len(self.text))
            self._emit(Kind.EOF, len(self.text))
            return False
        end = found
        if self._has_left_trim(found + 2):
            while end > self.start and self.text[end - 1] in _SPACES:
                end -= 1
        if end > self.start:
            self._emit(Kind.TEXT, end)
        self.start = self.position = found
        return True

    def _has_left_trim(self, position: int) -> bool:
        return self.text.startswith("-", position) and self.text[position + 1 : position + 2] in _SPACE_SET

    def _right_delimiter_at(self, position: int) -> tuple[bool, bool]:
        """Whether a closing delimiter is here, and whether it trims."""
        text = self.text
        if text[position : position + 1] in _SPACE_SET and text.startswith("-}}", position + 1):
            return True, True
        return text.startswith("}}", position), False

    def _lex_left_delimiter(self) -> bool:
        """Emit `{{` and return True, or skip a whole comment and return False."""
        after = self.position + 2
        inside = after + 2 if self._has_left_trim(after) else after
        if self.text.startswith("/*", inside):
            self.start = inside
            self._skip_comment(inside)
            return False
        self._emit(Kind.LEFT_DELIM, after)
        self.start = self.position = inside
        self._paren_depth = 0
        return True

    def _skip_comment(self, start: int) -> None:
        end = self.text.find("*/", start + 2)
        if end < 0:
            raise _LexicalError("unclosed comment")
        end += 2
        is_delimiter, trims = self._right_delimiter_at(end)
        if not is_delimiter:
            raise _LexicalError("comment ends before closing delimiter")
        self.start = self.position = self._after_right_delimiter(end, trims)

    def _after_right_delimiter(self, position: int, trims: bool) -> int:
        if not trims:
            return position + 2
        space = _SPACE_RUN.match(self.text, position + 4)
        return space.end() if space else position + 4

    def _lex_right_delimiter(self) -> None:
        _, trims = self._right_delimiter_at(self.position)
        after = self._after_right_delimiter(self.position, trims)
        if trims:
            self.start = self.position + 2
        self._emit(Kind.RIGHT_DELIM, self.start + 2)
        self.start = self.position = after

    def _lex_inside_action(self) -> bool:
        """Emit one token; False when that was the closing delimiter."""
        text, position = self.text, self.position
        if self._right_delimiter_at(position)[0]:
            if self._paren_depth:
                raise _LexicalError("unclosed left paren")
            self._lex_right_delimiter()
            return False
        if position >= len(text):
            raise _LexicalError("unclosed action")
        char = text[position]
        if char in _SPACES:
            return self._lex_space()
        if char in _SINGLE:
            if char == "(":
                self._paren_depth += 1
            elif char == ")":
                self._paren_depth -= 1
                if self._paren_depth < 0:
                    raise _LexicalError("unexpected right paren")
            self._emit(_SINGLE[char], position + 1)
        elif char == ":":
            if not text.startswith(":=", position):
                raise _LexicalError("expected :=")
            self._emit(Kind.DECLARE, position + 2)
        elif char in "\"'`":
            self._lex_quoted(char)
        elif char == "$":
            self._lex_name(Kind.VARIABLE, Kind.VARIABLE)
        elif char == "." and not text[position + 1 : position + 2].isdecimal() and position + 1 < len(text):
            self._lex_name(Kind.FIELD, Kind.DOT)
        elif char in ".+-0123456789":
            self._lex_number()
        elif _is_alphanumeric(char):
            self._lex_word()
        elif " " <= char <= "~":
            self._emit(Kind.CHAR, position + 1)
        else:
            raise _LexicalError(f"unrecognized character in action: {unicode_name(char)}")
        return True

    def _lex_space(self) -> bool:
        run = _SPACE_RUN.match(self.text, self.position)
        assert run is not None
        end = run.end()
        if self.text.startswith("-}}", end):
            # The last space belongs to a delimiter that trims. A lone space is that delimiter, parentheses or not.
            end -= 1
            if end == self.position:
                self._lex_right_delimiter()
                return False
        self._emit(Kind.SPACE, end)
        return True

    def _lex_quoted(self, mark: str) -> None:
        if mark == "`":
            end = self.text.find("`", self.position + 1)
            if end < 0:
                raise _LexicalError("unterminated raw quoted string")
            self._emit(Kind.RAW_STRING, end + 1)
            return
        pattern = _QUOTED if mark == '"' else _CHAR_CONSTANT
        match = pattern.match(self.text, self.position)
        if match is None:
            what = "quoted string" if mark == '"' else "character constant"
            raise _LexicalError(f"unterminated {what}")
        self._emit(Kind.STRING if mark == '"' else Kind.CHAR_CONSTANT, match.end())

    def _lex_name(self, kind: Kind, bare_kind: Kind) -> None:
        """Emit `.name` or `$name`, or the bare mark."""
        after = self.position + 1
        if self._is_terminator(after):
            self._emit(bare_kind, after)
            return
        end = self._word_end(after)
        self._check_terminator(end)
        self._emit(kind, end)

    def _lex_word(self) -> None:
        end = self._word_end(self.position)
        word = self.text[self.position : end]
        self._check_terminator(end)
        kind = Kind.BOOL if word in ("true", "false") else _KEYWORDS.get(word, Kind.IDENTIFIER)
        self._emit(kind, end)

    def _word_end(self, position: int) -> int:
        while True:
            match = _ASCII_WORD.match(self.text, position)
            assert match is not None
            position = match.end()
            if position >= len(self.text) or not _is_alphanumeric(self.text[position]):
                return position
            position += 1

    def _is_terminator(self, position: int) -> bool:
        text = self.text
        return position >= len(text) or text[position] in " \t\r\n.,|:)(" or text.startswith("}}", position)

    def _check_terminator(self, position: int) -> None:
        if not self._is_terminator(position):
            raise _LexicalError(f"bad character {unicode_name(self.text[position])}")

    def _scan_number(self, position: int) -> int:
        match = _NUMBER.match(self.text, position)
        assert match is not None
        end = match.end()
        if end < len(self.text) and _is_alphanumeric(self.text[end]):
            raise _LexicalError(f"bad number syntax: {quote(self.text[self.position : end + 1])}")
        return end

    def _lex_number(self) -> None:
        end = self._scan_number(self.position)
        if self.text[end : end + 1] not in ("+", "-"):
            self._emit(Kind.NUMBER, end)
            return
        end = self._scan_number(end)
        if self.text[end - 1] != "i":
            raise _LexicalError(f"bad number syntax: {quote(self.text[self.position : end])}")
        self._emit(Kind.COMPLEX, end)


def _is_alphanumeric(char: str) -> bool:
    if char.isascii():
        return char == "_" or char.isalnum()
    category = unicodedata.category(char)
    return category[0] == "L" or category == "Nd"


def tokenize(text: str) -> list[Token]:
    """Cut a template into tokens. The last one is EOF, or ERROR with the message as its text."""
    return _Lexer(text).run()
