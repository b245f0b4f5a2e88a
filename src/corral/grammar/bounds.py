"""The keywords of numbers in a schema: bounds and multiples. Faults are ValueErrors that name the keyword."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from corral.grammar.numbers import decimal_multiple, integer_multiple, integer_range, number_range
from corral.grammar.rules import MAX_WRITTEN_OUT, Rules

__all__ = ["integer_rule", "number_rule"]

_MAX_MAGNITUDE = 400  # decimal digits


def integer_rule(rules: Rules, schema: Mapping[str, Any]) -> str:
    """GBNF for the integers that a schema allows.

    Raises:
        ValueError: a keyword without sense, or no integer is left.
    """
    low, high = _bound(schema, "minimum"), _bound(schema, "maximum")
    above, below = _bound(schema, "exclusiveMinimum"), _bound(schema, "exclusiveMaximum")
    lows = [-_floor(-low)] if low is not None else []
    lows += [_floor(above) + 1] if above is not None else []
    highs = [_floor(high)] if high is not None else []
    highs += [-_floor(-below) - 1] if below is not None else []
    least, most = max(lows, default=None), min(highs, default=None)
    if least is not None and most is not None and least > most:
        raise ValueError("no integer is within the bounds")
    if (step := _step(schema)) is not None:
        return _multiple(rules, step, least, most)
    if least is None and most is None:
        return rules.shared("integer")
    options = integer_range(least, most)
    if not options:
        raise ValueError("bounds of integers may have up to sixteen digits")
    return options


def number_rule(rules: Rules, schema: Mapping[str, Any]) -> str:
    """GBNF for the numbers that a schema allows. Raises as `integer_rule`."""
    low, high = _bound(schema, "minimum"), _bound(schema, "maximum")
    above, below = _bound(schema, "exclusiveMinimum"), _bound(schema, "exclusiveMaximum")
    is_bounded = not (low is None and high is None and above is None and below is None)
    if (step := _step(schema)) is not None:
        if step == step.to_integral_value():
            return integer_rule(rules, schema)
        if is_bounded:
            raise ValueError("'multipleOf' with a fraction is not supported within bounds")
        return decimal_multiple(step)
    if not is_bounded:
        return rules.shared("number")
    is_open_below = above is not None and (low is None or above >= low)
    is_open_above = below is not None and (high is None or below <= high)
    options = number_range(
        above if is_open_below else low,
        below if is_open_above else high,
        is_open_below=is_open_below,
        is_open_above=is_open_above,
    )
    if not options:
        raise ValueError("no number is within the bounds")
    return options


def _multiple(rules: Rules, step: Decimal, least: int | None, most: int | None) -> str:
    if step != step.to_integral_value():
        raise ValueError("'multipleOf' of an integer must be a whole number")
    divisor = int(step)
    if least is None and most is None:
        return integer_multiple(rules, divisor)
    if least is None or most is None or (most - least) // divisor > MAX_WRITTEN_OUT:
        raise ValueError("'multipleOf' within so wide bounds is not supported")
    values = range(-(-least // divisor) * divisor, most + 1, divisor)
    if not values:
        raise ValueError("no multiple is within the bounds")
    return " | ".join(f'"{value}"' for value in values)


def _floor(number: Decimal) -> int:
    return int(number.to_integral_value("ROUND_FLOOR"))


def _step(schema: Mapping[str, Any]) -> Decimal | None:
    step = _bound(schema, "multipleOf")
    if step is not None and step <= 0:
        raise ValueError("'multipleOf' must be greater than 0")
    return step


def _bound(schema: Mapping[str, Any], key: str) -> Decimal | None:
    value = schema.get(key)
    if value is None:
        return None
    try:
        number = Decimal(str(value)) if isinstance(value, int | float) else None
    except InvalidOperation:
        number = None
    if number is None or isinstance(value, bool) or not number.is_finite():
        raise ValueError(f"{key!r} must be a number")
    if abs(number.adjusted()) > _MAX_MAGNITUDE:
        raise ValueError(f"{key!r} is too large")
    return number
