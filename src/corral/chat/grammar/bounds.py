"""The keywords of numbers in a schema: bounds and multiples.

What cannot be held raises `UnheldError`, whose `expression` holds the rest; that there is no such number is a
ValueError.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from corral.chat.grammar.automata import Automaton, TooManyStatesError, build, intersection
from corral.chat.grammar.budget import Budget
from corral.chat.grammar.choices import literal_choice
from corral.chat.grammar.gbnf import expression
from corral.chat.grammar.numbers import decimal_multiples, integer_multiples, integer_range, number_range
from corral.chat.grammar.rules import Rules
from corral.chat.grammar.texts import automaton_expression

_MAX_MAGNITUDE = 400  # decimal digits
_MAX_WRITTEN_OUT = 200
_MAX_MODULUS = 1000
_MAX_PLACES = 6


class UnheldError(ValueError):
    """A keyword that cannot be held; `expression` is for what else was asked."""

    def __init__(self, keyword: str, reason: str, expression: str) -> None:
        super().__init__(reason)
        self.keyword = keyword
        self.expression = expression


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bounds of a number, None where there is none; open ones are not in the range. `step`: what must divide it."""

    low: Decimal | None = None
    high: Decimal | None = None
    is_open_below: bool = False
    is_open_above: bool = False
    step: Fraction | None = None

    @classmethod
    def of(cls, found: Sequence[tuple[str, Any]]) -> Bounds:
        """The bounds of keywords and their values, all of them together. Raises ValueError."""
        low = high = step = None
        is_open_below = is_open_above = False
        for key, value in found:
            number = _decimal(key, value)
            if key in ("minimum", "exclusiveMinimum") and (low is None or number >= low):
                is_open_below = key == "exclusiveMinimum" or (number == low and is_open_below)
                low = number
            elif key in ("maximum", "exclusiveMaximum") and (high is None or number <= high):
                is_open_above = key == "exclusiveMaximum" or (number == high and is_open_above)
                high = number
            elif key == "multipleOf":
                step = _common_multiple(step, number)
        return cls(low, high, is_open_below, is_open_above, step)

    @property
    def is_bounded(self) -> bool:
        return self.low is not None or self.high is not None

    def integers(self) -> tuple[int | None, int | None]:
        """The least and the greatest integer."""
        least = most = None
        if self.low is not None:
            least = math.floor(self.low) + 1 if self.is_open_below else math.ceil(self.low)
        if self.high is not None:
            most = math.ceil(self.high) - 1 if self.is_open_above else math.floor(self.high)
        if least is not None and most is not None and least > most:
            raise ValueError("no integer is within the bounds")
        return least, most


def _decimal(key: str, value: Any) -> Decimal:
    number = Decimal(str(value)) if isinstance(value, float) else Decimal(value)
    if number and abs(number.adjusted()) > _MAX_MAGNITUDE:
        raise ValueError(f"{key!r} is too large")
    return number


def _common_multiple(step: Fraction | None, number: Decimal) -> Fraction | None:
    if number <= 0 or abs(number.adjusted()) > _MAX_MAGNITUDE:
        return step  # no number is a multiple of nothing; the sign asks for nothing
    other = Fraction(number)
    if step is None:
        return other
    return Fraction(math.lcm(step.numerator, other.numerator), math.gcd(step.denominator, other.denominator))


def allows_number(bounds: Bounds, value: Decimal) -> bool:
    """Whether a number is within the bounds and a multiple."""
    if bounds.low is not None and (value < bounds.low or (bounds.is_open_below and value == bounds.low)):
        return False
    if bounds.high is not None and (value > bounds.high or (bounds.is_open_above and value == bounds.high)):
        return False
    return bounds.step is None or (Fraction(value) / bounds.step).denominator == 1


def integer_expression(rules: Rules, bounds: Bounds, budget: Budget) -> str:
    """GBNF for the integers within bounds.

    Raises:
        UnheldError, ValueError
    """
    least, most = bounds.integers()
    if least is None and most is None:
        plain = rules.shared("integer")
    else:
        plain = integer_range(least, most)
        if not plain:
            raise UnheldError(
                "minimum", "bounds of integers may have up to sixteen digits", rules.shared("integer")
            )
    if bounds.step is None:
        return plain
    divisor = _common_multiple(bounds.step, Decimal(1))
    assert divisor is not None
    return _integer_multiple(rules, divisor.numerator, least, most, plain, budget)


def _integer_multiple(
    rules: Rules, divisor: int, least: int | None, most: int | None, plain: str, budget: Budget
) -> str:
    if divisor == 1:
        return plain
    if least is not None and most is not None and (most - least) // divisor <= _MAX_WRITTEN_OUT:
        values = range(-(-least // divisor) * divisor, most + 1, divisor)
        if not values:
            raise ValueError("no multiple is within the bounds")
        return literal_choice(map(str, values), budget)
    if divisor > _MAX_MODULUS:
        raise UnheldError("multipleOf", f"'multipleOf' may be at most {_MAX_MODULUS}", plain)
    multiples = integer_multiples(divisor)
    is_free = least is None and most is None
    return _within(rules, multiples, "" if is_free else plain, plain, budget)


def _within(rules: Rules, multiples: Automaton, bounded: str, plain: str, budget: Budget) -> str:
    budget.spend(10 * len(multiples.transitions))
    try:
        if bounded:
            multiples = intersection(multiples, build(expression(bounded), budget), budget)
    except TooManyStatesError:
        raise UnheldError(
            "multipleOf", "'multipleOf' within so wide bounds is not supported", plain
        ) from None
    if multiples.is_empty:
        raise ValueError("no multiple is within the bounds")
    return automaton_expression(rules, multiples, budget, is_bare=True)


def number_expression(rules: Rules, bounds: Bounds, budget: Budget) -> str:
    """GBNF for the numbers within bounds. Raises as `integer_expression`."""
    step = bounds.step
    if step is not None and step.denominator == 1:
        return integer_expression(rules, bounds, budget)
    ranged = ""
    if bounds.is_bounded:
        ranged = number_range(
            bounds.low, bounds.high, is_open_below=bounds.is_open_below, is_open_above=bounds.is_open_above
        )
        if not ranged:
            raise ValueError("no number is within the bounds")
    plain = ranged or rules.shared("number")
    if step is None:
        return plain
    places = next((n for n in range(1, _MAX_PLACES + 1) if (step * 10**n).denominator == 1), 0)
    scaled = int(step * 10**places)
    if not places or scaled > _MAX_MODULUS:
        raise UnheldError("multipleOf", "such a step of 'multipleOf' is not supported", plain)
    return _within(rules, decimal_multiples(scaled, places), ranged, plain, budget)
