"""Go's fmt for template values: `%v` of everything, `printf`, `print` and `println`.

A text that would grow past MAX_TEXT_CHARS raises OutputLimitError: width and repetition cannot fill the memory.
Source of behaviour: Go's package fmt.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from copy import copy

from corral.chat.gotemplate.literals import quote, quote_char, to_bytes, unicode_name
from corral.chat.gotemplate.numeric import format_float_verb, format_int
from corral.chat.gotemplate.values import NO_VALUE, GoSequence, GoStruct, go_type

# The longest text that one call may make.
MAX_TEXT_CHARS = 16 * 1024 * 1024
_MAX_WIDTH = 1_000_000
_TEXT_VERBS = frozenset("vsxXq")
_INT_VERBS = frozenset("vdboOxX")
_FLOAT_VERBS = frozenset("vbgGxXfFeE")


class OutputLimitError(Exception):
    """A text grew past its limit."""


class _Flags:
    """Flags, width and precision of one directive."""

    __slots__ = ("minus", "plus", "plus_v", "precision", "sharp", "sharp_v", "space", "width", "zero")

    def __init__(self, marks: str = "") -> None:
        self.plus = "+" in marks
        self.minus = "-" in marks
        self.sharp = "#" in marks
        self.space = " " in marks
        self.zero = "0" in marks
        self.plus_v = self.sharp_v = False
        self.width: int | None = None
        self.precision: int | None = None

    def pad(self, text: str) -> str:
        if self.width is None or len(text) >= self.width:
            return text
        if self.minus:
            return text.ljust(self.width)
        return text.rjust(self.width, "0" if self.zero else " ")

    def pad_number(self, text: str) -> str:
        """Pad with spaces, or with zeros after the sign."""
        if self.width is None or len(text) >= self.width:
            return text
        if self.minus:
            return text.ljust(self.width)
        if not self.zero:
            return text.rjust(self.width)
        sign, digits = (text[0], text[1:]) if text[:1] in ("+", "-", " ") else ("", text)
        return sign + digits.rjust(self.width - len(sign), "0")


_PLAIN = _Flags()


def format_value(value: object) -> str:
    """Format like `%v`."""
    if type(value) is str:
        return value
    return _format(value, "v", _PLAIN, 0)


def _bad_verb(value: object, verb: str) -> str:
    if value is None or value is NO_VALUE:
        return f"%!{verb}(<nil>)"
    return f"%!{verb}({go_type(value)}={_format(value, 'v', _PLAIN, 0)})"


def _format(value: object, verb: str, flags: _Flags, depth: int) -> str:
    """Format one operand; `depth` counts the containers around it."""
    if verb == "T":
        return flags.pad(go_type(value))
    if value is None or value is NO_VALUE:
        if verb == "v" or depth:
            return flags.pad("<nil>")
        return _bad_verb(value, verb)
    stringer = getattr(value, "methods", {}).get("String")
    if stringer is not None and verb in _TEXT_VERBS and not flags.sharp_v:
        return _format_text(str(stringer(value)), verb, flags)
    if isinstance(value, str):
        return _format_text(value, verb, flags)
    if isinstance(value, bool):
        return flags.pad("true" if value else "false") if verb in "tv" else _bad_verb(value, verb)
    if isinstance(value, int):
        return _format_int(value, verb, flags)
    if isinstance(value, float):
        return _format_float(value, verb, flags)
    if isinstance(value, complex):
        return _format_complex(value, verb, flags)
    if isinstance(value, bytes) and verb in "sqxX":
        return _format_text(value.decode("utf-8", "surrogateescape"), verb, flags)
    return _format_container(value, verb, flags, depth)


def _format_container(value: object, verb: str, flags: _Flags, depth: int) -> str:
    if isinstance(value, GoStruct):
        if value.is_pointer:
            if value.is_nil:
                return flags.pad("<nil>")
            if depth:
                return f"0xc{id(value) & 0xFFFFFFFFF:09x}"
        return ("&" if value.is_pointer else "") + _format_struct(value, verb, flags, depth)
    if isinstance(value, GoSequence):
        return f"0x{id(value) & 0xFFFFFF:x}"
    if isinstance(value, dict):
        parts = [
            _format(key, verb, flags, depth + 1) + ":" + _format(value[key], verb, flags, depth + 1)
            for key in sorted(value, key=to_bytes)
        ]
        if flags.sharp_v:
            return f"{go_type(value)}{{{', '.join(parts)}}}"
        return f"map[{' '.join(parts)}]"
    assert isinstance(value, list | bytes)
    parts = [_format(element, verb, flags, depth + 1) for element in value]
    if flags.sharp_v:
        return f"{go_type(value)}{{{', '.join(parts)}}}"
    return f"[{' '.join(parts)}]"


def _format_struct(value: GoStruct, verb: str, flags: _Flags, depth: int) -> str:
    parts = [_format(field, verb, flags, depth + 1) for field in value.fields.values()]
    if flags.sharp_v:
        named = ", ".join(f"{name}:{part}" for name, part in zip(value.fields, parts, strict=True))
        return f"{value.type_name.removeprefix('*')}{{{named}}}"
    if flags.plus_v:
        parts = [f"{name}:{part}" for name, part in zip(value.fields, parts, strict=True)]
    return f"{{{' '.join(parts)}}}"


def _format_text(text: str, verb: str, flags: _Flags) -> str:
    if verb == "v" and flags.sharp_v:
        return flags.pad(quote(text))
    if verb in "vs":
        return flags.pad(text if flags.precision is None else text[: flags.precision])
    if verb == "q":
        text = text if flags.precision is None else text[: flags.precision]
        if flags.sharp and "`" not in text and all(char == "\t" or char >= " " for char in text):
            return flags.pad(f"`{text}`")
        quoted = quote(text)
        return flags.pad(_ascii(quoted) if flags.plus else quoted)
    if verb in "xX":
        return flags.pad(_format_hex(to_bytes(text), verb, flags))
    return _bad_verb(text, verb)


def _ascii(text: str) -> str:
    return "".join(
        char if char.isascii() else f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"
        for char in text
    )


def _format_hex(data: bytes, verb: str, flags: _Flags) -> str:
    data = data if flags.precision is None else data[: flags.precision]
    prefix = f"0{verb}" if flags.sharp and data else ""
    digits = data.hex(" ") if flags.space else data.hex()
    if flags.space:
        digits = digits.replace(" ", " " + prefix)
    return prefix + (digits.upper().replace("0X", prefix or "0X") if verb == "X" else digits)


def _format_int(value: int, verb: str, flags: _Flags) -> str:
    if verb == "c":
        return flags.pad(chr(value) if 0 <= value <= 0x10FFFF and not 0xD800 <= value < 0xE000 else "\ufffd")
    if verb == "q":
        quoted = quote_char(value)
        return flags.pad(_ascii(quoted) if flags.plus else quoted)
    if verb == "U":
        name = f"U+{value & 0xFFFFFFFFFFFFFFFF:0{max(flags.precision or 4, 4)}X}"
        if flags.sharp and 0 <= value <= 0x10FFFF:
            name = unicode_name(chr(value))
        return _pad_with_spaces(name, flags)
    if verb not in _INT_VERBS:
        return _bad_verb(value, verb)
    sign = "+" if flags.plus else " " if flags.space else ""
    min_digits = flags.precision
    if min_digits is None and flags.zero and flags.width is not None and not flags.minus:
        min_digits = max(flags.width - (1 if value < 0 or sign else 0), 1)
    text = format_int(
        value,
        "d" if verb == "v" else verb,
        min_digits=min_digits,
        sign=sign,
        is_sharp=flags.sharp and not flags.sharp_v,
    )
    return _pad_with_spaces(text, flags)


def _format_float(value: float, verb: str, flags: _Flags) -> str:
    if verb not in _FLOAT_VERBS:
        return _bad_verb(value, verb)
    form = "g" if verb == "v" else verb
    text = format_float_verb(value, form, flags.precision, is_sharp=flags.sharp and not flags.sharp_v)
    if text[0] not in "+-":
        text = ("+" if flags.plus else " " if flags.space else "") + text
    if math.isfinite(value):
        return flags.pad_number(text)
    return _pad_with_spaces(text, flags)


def _pad_with_spaces(text: str, flags: _Flags) -> str:
    if flags.width is None:
        return text
    return text.ljust(flags.width) if flags.minus else text.rjust(flags.width)


def _format_complex(value: complex, verb: str, flags: _Flags) -> str:
    if verb not in _FLOAT_VERBS:
        return _bad_verb(value, verb)
    signed = copy(flags)
    signed.plus = True
    return f"({_format_float(value.real, verb, flags)}{_format_float(value.imag, verb, signed)}i)"


# print and println


def sprint(values: Sequence[object]) -> str:
    """Join like fmt.Sprint: a space between operands when neither is a string."""
    parts: list[str] = []
    was_text = True
    for value in values:
        is_text = isinstance(value, str)
        if parts and not is_text and not was_text:
            parts.append(" ")
        parts.append(format_value(value))
        was_text = is_text
    return _joined(parts)


def sprintln(values: Sequence[object]) -> str:
    """Join like fmt.Sprintln: spaces everywhere and a newline."""
    return _joined([" ".join(map(format_value, values)), "\n"])


def _joined(parts: list[str]) -> str:
    if sum(map(len, parts)) > MAX_TEXT_CHARS:
        raise OutputLimitError
    return "".join(parts)


# printf

_MARKS = re.compile(r"[+\-# 0]*")
_NUMBER = re.compile(r"[0-9]+")
_INDEX = re.compile(r"\[([^\]]*)\]")


class _Printf:
    """One run over a format. Source: fmt/print.go, doPrintf."""

    def __init__(self, template: str, args: Sequence[object]) -> None:
        self.template = template
        self.args = args
        self.position = 0
        self.next_arg = 0
        self.was_reordered = False
        self.is_index_good = True
        self.is_after_index = False

    def run(self) -> str:
        parts: list[str] = []
        length = 0
        template, end = self.template, len(self.template)
        while self.position < end:
            percent = template.find("%", self.position)
            if percent < 0:
                percent = end
            text = template[self.position : percent]
            self.position = percent + 1
            if percent < end:
                text += self._directive()
            length += len(text)
            if length > MAX_TEXT_CHARS:
                raise OutputLimitError
            parts.append(text)
        if not self.was_reordered and self.next_arg < len(self.args):
            parts.append(f"%!(EXTRA {', '.join(map(_typed, self.args[self.next_arg :]))})")
        return "".join(parts)

    def _directive(self) -> str:
        self.is_index_good, self.is_after_index = True, False
        marks = _MARKS.match(self.template, self.position)
        assert marks is not None
        self.position = marks.end()
        flags = _Flags(marks[0])
        faults = self._width(flags) + self._precision(flags)
        if not self.is_after_index:
            self._argument_index()
        if self.position >= len(self.template):
            return faults + "%!(NOVERB)"
        verb = self.template[self.position]
        self.position += 1
        if verb == "%":
            return faults + "%"
        if not self.is_index_good:
            return f"{faults}%!{verb}(BADINDEX)"
        if self.next_arg >= len(self.args):
            return f"{faults}%!{verb}(MISSING)"
        if verb == "v":
            flags.sharp_v, flags.plus_v = flags.sharp, flags.plus
            flags.sharp = flags.plus = False
        value = self.args[self.next_arg]
        self.next_arg += 1
        return faults + _format(value, verb, flags, 0)

    def _argument_index(self) -> None:
        """Take `[n]`: the next operand is the n-th."""
        if not self.template.startswith("[", self.position):
            return
        self.was_reordered = True
        match = _INDEX.match(self.template, self.position)
        if match is None:
            self.position += 1
            self.is_index_good = False
            return
        self.position = match.end()
        number = int(match[1]) if _NUMBER.fullmatch(match[1]) and len(match[1]) < 8 else 0
        if 1 <= number <= len(self.args):
            self.next_arg = number - 1
            self.is_after_index = True
        else:
            self.is_index_good = False

    def _star(self) -> int | None:
        """Take the operand of a `*`; None when it is not a usable int."""
        self.position += 1
        value = self.args[self.next_arg] if self.next_arg < len(self.args) else None
        if self.next_arg < len(self.args):
            self.next_arg += 1
        self.is_after_index = False
        if not isinstance(value, int) or isinstance(value, bool) or abs(value) > _MAX_WIDTH:
            return None
        return value

    def _number(self) -> int | None:
        match = _NUMBER.match(self.template, self.position)
        if match is None:
            return None
        self.position = match.end()
        digits = match[0].lstrip("0")
        return int(digits or "0") if len(digits) < 8 and int(digits or "0") <= _MAX_WIDTH else -1

    def _width(self, flags: _Flags) -> str:
        self._argument_index()
        if self.template.startswith("*", self.position):
            width = self._star()
            if width is None:
                return "%!(BADWIDTH)"
            if width < 0:
                width, flags.minus, flags.zero = -width, True, False
            flags.width = width
            return ""
        was_after_index = self.is_after_index
        flags.width = self._number()
        if flags.width is not None and was_after_index:
            self.is_index_good = False
        if flags.width == -1:
            # Go gives up on such a number and takes its first digits for the verb.
            flags.width = None
            return "%!(BADWIDTH)"
        return ""

    def _precision(self, flags: _Flags) -> str:
        if not self.template.startswith(".", self.position):
            return ""
        self.position += 1
        if self.is_after_index:
            self.is_index_good = False
        self._argument_index()
        if self.template.startswith("*", self.position):
            precision = self._star()
            if precision is None:
                return "%!(BADPREC)"
            flags.precision = precision if precision >= 0 else None
            return "" if precision >= 0 else "%!(BADPREC)"
        number = self._number()
        flags.precision = 0 if number is None else number if number >= 0 else None
        return "%!(BADPREC)" if number == -1 else ""


def _typed(value: object) -> str:
    if value is None or value is NO_VALUE:
        return "<nil>"
    return f"{go_type(value)}={format_value(value)}"


def sprintf(template: str, args: Sequence[object]) -> str:
    """Format like fmt.Sprintf."""
    return _Printf(template, args).run()
