"""Numbers as Go's fmt writes them: integers in any base, floats in their shortest or a given precision."""

from __future__ import annotations

import math


def _special(value: float) -> str | None:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return None


def _shortest_digits(value: float) -> tuple[str, str, int]:
    """Sign, fewest significant digits, and the decimal exponent of the first one."""
    text = repr(value)
    sign = "-" if text[0] == "-" else ""
    mantissa, _, exponent = text.lstrip("-").partition("e")
    whole, _, fraction = mantissa.partition(".")
    all_digits = whole + fraction
    significant = all_digits.lstrip("0")
    if not significant:
        return sign, "0", 0
    first = len(all_digits) - len(significant)
    return sign, significant.rstrip("0"), len(whole) - 1 - first + int(exponent or 0)


def _shortest(value: float, form: str) -> str:
    """The fewest digits as `e`, `f` or `g`: `g` takes exponents below -4 and from 6 on."""
    sign, digits, exponent = _shortest_digits(value)
    if form == "g":
        form = "e" if exponent < -4 or exponent >= 6 else "f"
    if form == "e":
        point = "." if len(digits) > 1 else ""
        return f"{sign}{digits[0]}{point}{digits[1:]}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"
    if exponent < 0:
        return f"{sign}0.{'0' * (-exponent - 1)}{digits}"
    whole = digits[: exponent + 1].ljust(exponent + 1, "0")
    fraction = digits[exponent + 1 :]
    return f"{sign}{whole}.{fraction}" if fraction else sign + whole


def _hexadecimal(value: float, precision: int | None) -> str:
    """`%x`: a leading digit, hexadecimal fraction, binary exponent of two digits or more."""
    mantissa, exponent = math.frexp(abs(value))
    sign = "-" if math.copysign(1, value) < 0 else ""
    bits = int(math.ldexp(mantissa, 53))
    power = exponent - 1 if bits else 0
    fraction = (bits << 1) & ((1 << 53) - 1) if bits else 0
    lead = 1 if bits else 0
    # 52 bits after the point, as 13 hexadecimal digits.
    digits = f"{fraction >> 1:013x}"
    if precision is None:
        digits = digits.rstrip("0")
    elif precision < 13:
        whole = (lead << 52) | (fraction >> 1)
        shift = 4 * (13 - precision)
        kept, rest, half = whole >> shift, whole & ((1 << shift) - 1), 1 << (shift - 1)
        kept += rest > half or (rest == half and kept & 1)
        if kept >> (4 * precision) > 1:
            kept, power = kept >> 1, power + 1
        lead, digits = kept >> (4 * precision), f"{kept & ((1 << 4 * precision) - 1):0{precision}x}"
        digits = digits if precision else ""
    else:
        digits = digits.ljust(precision, "0")
    point = "." if digits else ""
    return f"{sign}0x{lead}{point}{digits}p{'-' if power < 0 else '+'}{abs(power):02d}"


def _binary(value: float) -> str:
    """`%b`: a whole mantissa and a binary exponent."""
    mantissa, exponent = math.frexp(value)
    bits = int(math.ldexp(mantissa, 53))
    power = exponent - 53 if bits else -1074
    return f"{bits}p{'-' if power < 0 else '+'}{abs(power)}"


def format_float_verb(value: float, verb: str, precision: int | None, *, is_sharp: bool = False) -> str:
    """Format a float by one of the verbs `b e E f F g G x X`; negative ones have their sign."""
    special = _special(value)
    if special is not None:
        return special
    form = verb.lower()
    if form == "b":
        return _binary(value)
    if form == "x":
        text = _hexadecimal(value, precision)
    elif form == "g" and precision is None and not is_sharp:
        text = _shortest(value, "g")
    else:
        digits = 6 if precision is None else precision
        text = format(value, f"{'#' if is_sharp else ''}.{digits}{form}")
    return text.upper() if verb.isupper() and verb != "F" else text


_BASES = {"b": "b", "o": "o", "O": "o", "x": "x", "X": "X", "d": "d", "v": "d"}
_PREFIXES = {"b": "0b", "o": "0", "x": "0x", "X": "0X"}


def format_int(value: int, verb: str, *, min_digits: int | None, sign: str, is_sharp: bool) -> str:
    """Format an integer by one of `b d o O x X`. `sign` goes before what is not negative.

    `min_digits` 0 writes nothing for zero.
    """
    digits = format(abs(value), _BASES[verb])
    if min_digits is not None:
        if min_digits == 0 and value == 0:
            return ""
        digits = digits.rjust(min_digits, "0")
    prefix = "0o" if verb == "O" else ""
    if is_sharp and verb in _PREFIXES and not (verb == "o" and digits.startswith("0")):
        prefix = _PREFIXES[verb]
    return ("-" if value < 0 else sign) + prefix + digits
