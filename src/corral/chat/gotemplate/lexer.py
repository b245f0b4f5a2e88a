"""Template text to tokens, the first step of the engine; the only place that trims white space.

It knows nothing of grammar and never reads ahead of the parser, so that whichever fault comes first is reported.
Positions are indexes into the text; every token carries the line on which it starts.
Ollama templates are Go's text/template; names of tokens and texts of errors are those of that package.
"""

from __future__ import annotations

import re
import unicodedata
from enum import IntEnum, auto
from typing import NamedTuple

from corral.chat.gotemplate.literals import quote, unicode_name


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
    """A fault at the token that starts at the lexer's start."""


class Lexer:
    """Cuts a template into tokens as the parser asks for them. The last one is EOF, or ERROR with a message."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[Token] = []
        self._start = 0
        self._position = 0
        self._counted = 0
        self._line = 1
        self._paren_depth = 0
        self._is_inside = False
        self._is_done = False

    def _line_at(self, position: int) -> int:
        self._line += self._text.count("\n", self._counted, position)
        self._counted = position
        return self._line

    def _emit(self, kind: Kind, end: int) -> None:
        self._tokens.append(
            Token(kind, self._start, self._text[self._start : end], self._line_at(self._start))
        )
        self._start = self._position = end

    def token(self, index: int) -> Token:
        """The token at an index, read when it is first asked for; the last one stands for all after it."""
        while index >= len(self._tokens) and not self._is_done:
            try:
                self._step()
            except _LexicalError as error:
                self._tokens.append(Token(Kind.ERROR, self._start, str(error), self._line_at(self._start)))
                self._is_done = True
        return self._tokens[min(index, len(self._tokens) - 1)]

    def _step(self) -> None:
        if self._is_inside:
            self._is_inside = self._lex_inside_action()
        elif self._lex_text():
            self._is_inside = self._lex_left_delimiter()
        else:
            self._is_done = True

    def _lex_text(self) -> bool:
        """Emit the text up to the next action; False at the end of the template."""
        found = self._text.find("{{", self._position)
        if found < 0:
            if self._position < len(self._text):
                self._emit(Kind.TEXT, len(self._text))
            self._emit(Kind.EOF, len(self._text))
            return False
        end = found
        if self._has_left_trim(found + 2):
            while end > self._start and self._text[end - 1] in _SPACES:
                end -= 1
        if end > self._start:
            self._emit(Kind.TEXT, end)
        self._start = self._position = found
        return True

    def _has_left_trim(self, position: int) -> bool:
        return self._text.startswith("-", position) and self._text[position + 1 : position + 2] in _SPACE_SET

    def _right_delimiter_at(self, position: int) -> tuple[bool, bool]:
        """Whether a closing delimiter is here, and whether it trims."""
        text = self._text
        if text[position : position + 1] in _SPACE_SET and text.startswith("-}}", position + 1):
            return True, True
        return text.startswith("}}", position), False

    def _lex_left_delimiter(self) -> bool:
        """Emit `{{` and return True, or skip a whole comment and return False."""
        after = self._position + 2
        inside = after + 2 if self._has_left_trim(after) else after
        if self._text.startswith("/*", inside):
            self._start = inside
            self._skip_comment(inside)
            return False
        self._emit(Kind.LEFT_DELIM, after)
        self._start = self._position = inside
        self._paren_depth = 0
        return True

    def _skip_comment(self, start: int) -> None:
        end = self._text.find("*/", start + 2)
        if end < 0:
            raise _LexicalError("unclosed comment")
        end += 2
        is_delimiter, trims = self._right_delimiter_at(end)
        if not is_delimiter:
            raise _LexicalError("comment ends before closing delimiter")
        self._start = self._position = self._after_right_delimiter(end, trims)

    def _after_right_delimiter(self, position: int, trims: bool) -> int:
        if not trims:
            return position + 2
        space = _SPACE_RUN.match(self._text, position + 4)
        return space.end() if space else position + 4

    def _lex_right_delimiter(self) -> None:
        _, trims = self._right_delimiter_at(self._position)
        after = self._after_right_delimiter(self._position, trims)
        if trims:
            self._start = self._position + 2
        self._emit(Kind.RIGHT_DELIM, self._start + 2)
        self._start = self._position = after

    def _lex_inside_action(self) -> bool:
        """Emit one token; False when that was the closing delimiter."""
        text, position = self._text, self._position
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
        run = _SPACE_RUN.match(self._text, self._position)
        assert run is not None
        end = run.end()
        if self._text.startswith("-}}", end):
            # The last space belongs to a delimiter that trims. A lone space is that delimiter, parentheses or not.
            end -= 1
            if end == self._position:
                self._lex_right_delimiter()
                return False
        self._emit(Kind.SPACE, end)
        return True

    def _lex_quoted(self, mark: str) -> None:
        if mark == "`":
            end = self._text.find("`", self._position + 1)
            if end < 0:
                raise _LexicalError("unterminated raw quoted string")
            self._emit(Kind.RAW_STRING, end + 1)
            return
        pattern = _QUOTED if mark == '"' else _CHAR_CONSTANT
        match = pattern.match(self._text, self._position)
        if match is None:
            what = "quoted string" if mark == '"' else "character constant"
            raise _LexicalError(f"unterminated {what}")
        self._emit(Kind.STRING if mark == '"' else Kind.CHAR_CONSTANT, match.end())

    def _lex_name(self, kind: Kind, bare_kind: Kind) -> None:
        """Emit `.name` or `$name`, or the bare mark."""
        after = self._position + 1
        if self._is_terminator(after):
            self._emit(bare_kind, after)
            return
        end = self._word_end(after)
        self._check_terminator(end)
        self._emit(kind, end)

    def _lex_word(self) -> None:
        end = self._word_end(self._position)
        word = self._text[self._position : end]
        self._check_terminator(end)
        kind = Kind.BOOL if word in ("true", "false") else _KEYWORDS.get(word, Kind.IDENTIFIER)
        self._emit(kind, end)

    def _word_end(self, position: int) -> int:
        while True:
            match = _ASCII_WORD.match(self._text, position)
            assert match is not None
            position = match.end()
            if position >= len(self._text) or not _is_alphanumeric(self._text[position]):
                return position
            position += 1

    def _is_terminator(self, position: int) -> bool:
        text = self._text
        return position >= len(text) or text[position] in " \t\r\n.,|:)(" or text.startswith("}}", position)

    def _check_terminator(self, position: int) -> None:
        if not self._is_terminator(position):
            raise _LexicalError(f"bad character {unicode_name(self._text[position])}")

    def _scan_number(self, position: int) -> int:
        match = _NUMBER.match(self._text, position)
        assert match is not None
        end = match.end()
        if end < len(self._text) and _is_alphanumeric(self._text[end]):
            raise _LexicalError(f"bad number syntax: {quote(self._text[self._position : end + 1])}")
        return end

    def _lex_number(self) -> None:
        end = self._scan_number(self._position)
        if self._text[end : end + 1] not in ("+", "-"):
            self._emit(Kind.NUMBER, end)
            return
        end = self._scan_number(end)
        if self._text[end - 1] != "i":
            raise _LexicalError(f"bad number syntax: {quote(self._text[self._position : end])}")
        self._emit(Kind.COMPLEX, end)


def _is_alphanumeric(char: str) -> bool:
    if char.isascii():
        return char == "_" or char.isalnum()
    category = unicodedata.category(char)
    return category[0] == "L" or category == "Nd"
