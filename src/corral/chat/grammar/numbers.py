"""Numbers between bounds as a grammar: every number in the range and no other."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from corral.chat.grammar.automata import Automaton, trimmed

_MAX_DIGITS = 16
# Fewer digits than a double has, so that a number beyond an open bound is not rounded onto it.
_MAX_WHOLE_DIGITS = 12
_MAX_FRACTION_DIGITS = 6
_MINUS, _POINT, _ZERO = ord("-"), ord("."), ord("0")


def integer_range(least: int | None, most: int | None) -> str:
    """GBNF alternatives for `least <= n <= most`; None leaves a side open (to sixteen digits)."""
    limit = 10**_MAX_DIGITS - 1
    low = -limit if least is None else max(least, -limit)
    high = limit if most is None else min(most, limit)
    parts = []
    if low < 0:
        top = min(high, -1)
        parts += [f'"-" {part}' for part in _positive(-top, -low)]
    if high >= 0:
        parts += _positive(max(low, 0), high)
    return " | ".join(parts)


def _positive(low: int, high: int) -> list[str]:
    """Alternatives for numbers without a sign, split by their count of digits."""
    parts = []
    for digits in range(len(str(low)), len(str(high)) + 1):
        first = max(low, 0 if digits == 1 else 10 ** (digits - 1))
        last = min(high, 10**digits - 1)
        if first <= last:
            parts += _same_length(str(first), str(last))
    return parts


def _same_length(low: str, high: str) -> list[str]:
    """Alternatives for digit strings of one length between two others."""
    if low == high:
        return [f'"{low}"']
    if set(low) == {"0"} and set(high) == {"9"}:
        return [_digits(len(low))]
    if len(low) == 1:
        return [f"[{low}-{high}]"]
    head_low, head_high = low[0], high[0]
    rest = len(low) - 1
    if head_low == head_high:
        return [f'"{head_low}" ({" | ".join(_same_length(low[1:], high[1:]))})']
    parts = []
    first, last = int(head_low), int(head_high)
    if low[1:] != "0" * rest:
        parts.append(f'"{first}" ({" | ".join(_same_length(low[1:], "9" * rest))})')
        first += 1
    if high[1:] != "9" * rest:
        tail = f'"{last}" ({" | ".join(_same_length("0" * rest, high[1:]))})'
        last -= 1
    else:
        tail = ""
    if first <= last:
        head = f'"{first}"' if first == last else f"[{first}-{last}]"
        parts.append(f"{head} {_digits(rest)}")
    return [*parts, tail] if tail else parts


def _digits(count: int) -> str:
    return "[0-9]" if count == 1 else f"[0-9]{{{count}}}"


def integer_multiples(divisor: int) -> Automaton:
    """The integers that `divisor` divides: an automaton over remainders."""
    zero, first = 2, 3

    def state(remainder: int) -> int:
        return first + remainder % divisor

    rows = [
        ((_MINUS, _MINUS, 1), (_ZERO, _ZERO, zero), *_digit_edges(1, lambda digit: state(digit))),
        _digit_edges(1, lambda digit: state(digit)),
        (),
        *(_digit_edges(0, lambda digit, r=r: state(r * 10 + digit)) for r in range(divisor)),  # type: ignore[misc]
    ]
    return trimmed(Automaton(tuple(rows), frozenset((zero, first))))


def decimal_multiples(scaled: int, places: int) -> Automaton:
    """The multiples of `scaled` / 10**`places`, with up to so many digits after the point."""
    zero = 2

    def state(remainder: int, place: int) -> int:
        return 3 + place * scaled + remainder % scaled

    first = _digit_edges(1, lambda digit: state(digit, 0))
    rows: list[tuple[tuple[int, int, int], ...]] = [
        ((_MINUS, _MINUS, 1), (_ZERO, _ZERO, zero), *first),
        first,
        ((_POINT, _POINT, 3 + (places + 1) * scaled),),
    ]
    accepting = {zero}
    for place in range(places + 1):
        for r in range(scaled):
            if r * 10 ** (places - place) % scaled == 0:
                accepting.add(state(r, place))
            point = ((_POINT, _POINT, 3 + (places + 1) * scaled + r),) if place == 0 else ()
            digits = (
                _digit_edges(0, lambda digit, r=r, place=place: state(r * 10 + digit, place + (place > 0)))  # type: ignore[misc]
                if place < places or place == 0
                else ()
            )
            rows.append((*point, *digits))
    # After the point: no digit yet.
    rows += [_digit_edges(0, lambda digit, r=r: state(r * 10 + digit, 1)) for r in range(scaled)]  # type: ignore[misc]
    return trimmed(Automaton(tuple(rows), frozenset(accepting)))


def _digit_edges(first: int, target: Callable[[int], int]) -> tuple[tuple[int, int, int], ...]:
    return tuple((_ZERO + digit, _ZERO + digit, target(digit)) for digit in range(first, 10))


def number_range(
    least: Decimal | None, most: Decimal | None, *, is_open_below: bool = False, is_open_above: bool = False
) -> str:
    """GBNF alternatives for the decimal numbers from `least` to `most`, without exponents.

    None leaves a side free (to twelve digits); an open side excludes its bound. Empty when no number fits.
    """
    limit = Decimal(10**_MAX_WHOLE_DIGITS)
    low = max(least, -limit) if least is not None else -limit
    high = min(most, limit) if most is not None else limit
    parts: list[str] = []
    if low < 0:
        top = min(high, Decimal(0))
        is_open = is_open_above and top == most
        options = _positive_decimals(-top, -low, is_open, is_open_below and low == least)
        parts += [f'"-" {option}' for option in options]
    if high >= 0:
        bottom = max(low, Decimal(0))
        is_open = is_open_below and bottom == least
        parts += _positive_decimals(bottom, high, is_open, is_open_above and high == most)
    return " | ".join(parts)


def _positive_decimals(low: Decimal, high: Decimal, is_open_low: bool, is_open_high: bool) -> list[str]:
    if low > high or (low == high and (is_open_low or is_open_high)):
        return []
    first, last = int(low), int(high)
    places = max(1, *(max(0, -int(bound.as_tuple().exponent)) for bound in (low, high)))
    if places > 3 * _MAX_DIGITS:
        raise ValueError(f"a bound with {places} digits after the point is too fine")
    low_digits, high_digits = f"{low:.{places}f}".partition(".")[2], f"{high:.{places}f}".partition(".")[2]
    is_one = first == last
    parts = _with_fraction(str(first), low_digits, high_digits if is_one else None, is_open_low, is_open_high)
    if not is_one:
        if first + 1 <= last - 1:
            whole = " | ".join(_positive(first + 1, last - 1))
            parts.append(f'({whole}) ("." [0-9]{{1,{places + _MAX_FRACTION_DIGITS}}})?')
        parts += _with_fraction(str(last), None, high_digits, is_open_low, is_open_high)
    return parts


def _with_fraction(
    whole: str, low: str | None, high: str | None, is_open_low: bool, is_open_high: bool
) -> list[str]:
    """A whole part with the fractions between two digit strings of one length; None: no bound there."""
    options = _fraction(low, high, is_open_low, is_open_high)
    digits = [option for option in options if option]
    fraction = f'"." ({" | ".join(digits)})' if digits else ""
    if "" in options:
        return [f'"{whole}" ({fraction})?' if fraction else f'"{whole}"']
    return [f'"{whole}" {fraction}'] if fraction else []


def _fraction(low: str | None, high: str | None, is_open_low: bool, is_open_high: bool) -> list[str]:
    """What may follow: digits of a fraction, or "" when it may end here."""
    low_rest, high_rest = (low or "").strip("0"), (high or "").strip("0")
    may_end = (low is None or (not low_rest and not is_open_low)) and (
        high is None or bool(high_rest) or not is_open_high
    )
    options = [""] if may_end else []
    if low is None and high is None:
        return [*options, f"[0-9]{{1,{_MAX_FRACTION_DIGITS}}}"]
    if low == "" or high == "":
        return options + _beyond(low, high, is_open_low, is_open_high)
    first = int(low[0]) if low else 0
    last = int(high[0]) if high else 9
    for digit in range(first, last + 1):
        next_low = low[1:] if low is not None and digit == first else None
        next_high = high[1:] if high is not None and digit == last else None
        if next_low is None and next_high is None:
            continue
        options += _prefixed(f'"{digit}"', _fraction(next_low, next_high, is_open_low, is_open_high))
    inner_first, inner_last = first + (low is not None), last - (high is not None)
    if inner_first <= inner_last:
        rest = len(low or high or "") - 1 + _MAX_FRACTION_DIGITS
        options.append(f"[{inner_first}-{inner_last}] [0-9]{{0,{rest}}}")
    return options


def _beyond(low: str | None, high: str | None, is_open_low: bool, is_open_high: bool) -> list[str]:
    """Digits after the last one of a bound."""
    if high is not None:
        is_possible = not is_open_high and not (low is not None and is_open_low)
        return [f'"0"{{1,{_MAX_FRACTION_DIGITS}}}'] if is_possible else []
    if not is_open_low:
        return [f"[0-9]{{1,{_MAX_FRACTION_DIGITS}}}"]
    return [f'"0"{{0,3}} [1-9] [0-9]{{0,{_MAX_FRACTION_DIGITS}}}']


def _prefixed(digit: str, rest: list[str]) -> list[str]:
    digits = [option for option in rest if option]
    if not rest:
        return []
    if not digits:
        return [digit]
    return [f"{digit} ({' | '.join(digits)}){'?' if '' in rest else ''}"]
