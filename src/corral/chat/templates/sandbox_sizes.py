"""How large a value in a Jinja template may become: checks before operations that make more than they are given.

All raise jinja2's SecurityError.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from jinja2.exceptions import SecurityError

_MAX_CHARS = 8 << 20
MAX_PARTS = 200_000
_MAX_NUMBER = 1 << 20  # of a width, a count, an index
_MAX_BITS = 4096  # of an integer
MAX_FORMAT_CHARS = 4096
WIDE = re.compile(r"\d{4}|\*")


def written_size(value: Any) -> int:
    """About how many characters a value has, written out; shared parts count each time they are written.

    Raises:
        SecurityError: more than there may be.
    """
    if isinstance(value, str):
        return len(value)
    size = parts = 0
    waiting = [value]
    while waiting:
        item = waiting.pop()
        parts += 1
        if isinstance(item, str):
            size += len(item) + 4
        elif isinstance(item, list | tuple):
            parts += len(item)
            waiting += item
        elif isinstance(item, Mapping):
            parts += len(item)
            waiting += item.keys()
            waiting += item.values()
        else:
            size += 8
        if parts > MAX_PARTS or size > _MAX_CHARS:
            raise SecurityError("a value in the template is too large")
    return size + 2 * parts


def check_chars(size: int) -> None:
    if size > _MAX_CHARS:
        raise SecurityError("a text in the template is too large")


def check_numbers(values: tuple[Any, ...]) -> None:
    """Arguments like a width of a billion make one call as costly as a billion."""
    if any(isinstance(value, int) and abs(value) > _MAX_NUMBER for value in values):
        raise SecurityError("an argument in the template is too large")


def check_product(left: Any, right: Any) -> None:
    if isinstance(left, int) and isinstance(right, int):
        if left.bit_length() + right.bit_length() > _MAX_BITS:
            raise SecurityError("a number in the template is too large")
        return
    sized, count = (left, right) if isinstance(left, str | list | tuple) else (right, left)
    if isinstance(sized, str | list | tuple) and isinstance(count, int) and count > 0:
        unit = len(sized) if isinstance(sized, str) else max(written_size(sized), 1)
        if unit * count > _MAX_CHARS:
            raise SecurityError("the template repeats too much")


def check_format(form: str, *values: Any) -> None:
    """`%` and `format`: a width makes a short text long, and a long one repeats its values."""
    if len(form) > MAX_FORMAT_CHARS or WIDE.search(form):
        raise SecurityError("the template pads too much")
    if any(isinstance(value, int) and abs(value) > 10_000 and "{}" in form for value in values):
        raise SecurityError("the template pads too much")
    fields = form.count("%") + form.count("{")
    check_chars((fields + 1) * sum(map(written_size, values)))


def _check_replace(text: Any, old: Any, new: Any, count: Any = None, **_: Any) -> None:
    text, old, new = str(text), str(old), str(new)
    found = text.count(old) if old else len(text) + 1
    if isinstance(count, int) and count >= 0:
        found = min(found, count)
    check_chars(len(text) + found * max(len(new) - len(old), 0))


def _check_join(separator: str, values: Any) -> None:
    count = len(values) if hasattr(values, "__len__") else MAX_PARTS
    check_chars(len(separator) * count + (written_size(values) if isinstance(values, list | tuple) else 0))


def _check_join_filter(values: Any, d: Any = "", attribute: Any = None) -> None:
    _check_join(str(d), values)


def _check_tabs(text: str, tabsize: Any = 8) -> None:
    check_chars(len(text) + text.count("\t") * (tabsize if isinstance(tabsize, int) else 8))


def _check_indent(text: Any, width: Any = 4, first: Any = False, blank: Any = False) -> None:
    indent = len(width) if isinstance(width, str) else width
    if not isinstance(indent, int) or indent > _MAX_NUMBER:
        raise SecurityError("the template pads too much")
    check_chars(len(str(text)) + (str(text).count("\n") + 1) * indent)


def _check_any(value: Any, *args: Any, **kwargs: Any) -> None:
    written_size(value)
    check_numbers((*args, *kwargs.values()))


def _check_printf(value: Any, *args: Any, **kwargs: Any) -> None:
    check_format(str(value), *args, *kwargs.values())


def _check_translate(text: str, *_: Any) -> None:
    raise SecurityError("translate is not available")


def _check_split(text: str, separator: Any = None, *_: Any, **__: Any) -> None:
    found = text.count(separator) if separator else sum(map(text.count, " \n\t\r"))
    if found > MAX_PARTS:
        raise SecurityError("a value in the template is too large")


def _check_list(value: Any) -> None:
    if isinstance(value, str) and len(value) > MAX_PARTS:
        raise SecurityError("a value in the template is too large")


def _check_sum(_values: Any, attribute: Any = None, start: Any = 0) -> None:
    if not isinstance(start, int | float):
        raise SecurityError("only numbers can be summed up")


METHOD_CHECKS: dict[str, Callable[..., None]] = {
    "replace": _check_replace,
    "join": _check_join,
    "expandtabs": _check_tabs,
    "translate": _check_translate,
    "split": _check_split,
    "rsplit": _check_split,
    "splitlines": _check_split,
}
FILTER_CHECKS: dict[str, Callable[..., None]] = {
    "replace": _check_replace,
    "join": _check_join_filter,
    "indent": _check_indent,
    "format": _check_printf,
    "list": _check_list,
    "sum": _check_sum,
    **dict.fromkeys(("center", "batch", "slice", "round", "string", "escape", "e"), _check_any),
}
