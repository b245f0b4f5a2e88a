"""Reads the values of llama-server's options."""

from __future__ import annotations

import re

_FALSE = ("false", "0", "off", "disabled", "no")
_SWITCHES = ("true", "1", "on", "enabled", "yes", *_FALSE)
_MAX_DEVICES = 128


class OptionValueError(ValueError):
    """An option, or its value, does not have a meaning here; the text says why."""


def number(text: str, *, low: int = 0, high: int = 1 << 40) -> int:
    """A whole number. Raises OptionValueError."""
    if not re.fullmatch(r"[-+]?[0-9]{1,18}", text) or not low <= int(text) <= high:
        raise OptionValueError(f"a whole number from {low} to {high} was expected")
    return int(text)


def fraction(text: str) -> float:
    """A finite number. Raises OptionValueError."""
    try:
        number = float(text) if len(text) < 40 else float("nan")
    except ValueError:
        number = float("nan")
    if not abs(number) < 1e30:
        raise OptionValueError("a number was expected")
    return number


def positive(text: str) -> float:
    """A number above 0. Raises OptionValueError."""
    found = fraction(text)
    if found < 1e-30:
        raise OptionValueError("a number above 0 was expected")
    return found


def switch(text: str) -> bool:
    """A switch; without a value it is on. Raises OptionValueError."""
    if text and text.lower() not in _SWITCHES:
        raise OptionValueError("on or off was expected")
    return text.lower() not in _FALSE


def flash_attention(value: str) -> bool | str:
    """A switch, or `auto`. Raises OptionValueError."""
    return "auto" if value == "auto" else switch(value)


def inverted(value: str) -> bool:
    """The opposite of a switch. Raises OptionValueError."""
    return not switch(value)


def shares(value: str) -> list[float]:
    """Numbers between commas or slashes. Raises OptionValueError."""
    shares = [fraction(part) for part in re.split(r"[,/]", value)]
    if len(shares) > _MAX_DEVICES or min(shares) < 0 or not any(shares):
        raise OptionValueError("numbers from 0 on were expected")
    return shares


def cache_ram(value: str) -> int | str:
    """MiB, or `auto` for what llama-server calls no limit. Raises OptionValueError."""
    size = number(value, low=-1)
    return "auto" if size < 0 else size


def first_number(value: str) -> int:
    """The first of the numbers between commas. Raises OptionValueError."""
    return number(value.partition(",")[0])
