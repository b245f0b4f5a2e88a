"""`config.json` with types: a value exists and is in range, or there is a clear error."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

from corral.errors import ConversionError

# Far above the dimensions of any model; a hostile value must not make loops endless.
_MAX_INTEGER = 2**31 - 1


class Config:
    """One section of a configuration. `null` counts as absent."""

    def __init__(self, values: Mapping[str, Any], where: str = "config.json") -> None:
        self._values = values
        self._where = where

    @property
    def values(self) -> Mapping[str, Any]:
        return self._values

    def has(self, name: str) -> bool:
        return self._values.get(name) is not None

    def _find(self, names: tuple[str, ...]) -> Any:
        return next((self._values[name] for name in names if self.has(name)), None)

    def _fail(self, names: tuple[str, ...], expected: str) -> ConversionError:
        value = self._find(names)
        shown = "is missing" if value is None else f"is {str(value)[:60]!r}"
        return ConversionError(f"{self._where}: {names[0]} {shown}, expected {expected}")

    def integer(self, *names: str, default: int | None = None, minimum: int = 1) -> int:
        """The value of the first of several names that exists.

        Raises:
            ConversionError: absent without a default, not an integer, or out of range.
        """
        value = self._find(names)
        if value is None and default is not None:
            return default
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if type(value) is not int or not minimum <= value <= _MAX_INTEGER:
            raise self._fail(names, f"an integer of at least {minimum}")
        return value

    def optional_integer(self, *names: str, minimum: int = 0) -> int | None:
        return None if self._find(names) is None else self.integer(*names, minimum=minimum)

    def number(self, *names: str, default: float | None = None) -> float:
        """A finite number.

        Raises:
            ConversionError
        """
        value = self._find(names)
        if value is None and default is not None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
            raise self._fail(names, "a number")
        return float(value)

    def boolean(self, *names: str, default: bool) -> bool:
        value = self._find(names)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self._fail(names, "true or false")
        return value

    def text(self, *names: str, default: str | None = None) -> str:
        value = self._find(names)
        if value is None and default is not None:
            return default
        if not isinstance(value, str):
            raise self._fail(names, "a text")
        return value

    def numbers(self, name: str) -> list[float] | None:
        """A list of numbers; None if absent."""
        value = self._find((name,))
        if value is None:
            return None
        if (
            not isinstance(value, list)
            or len(value) > 65_536
            or not all(isinstance(v, int | float) and _is_finite(v) for v in value)
        ):
            raise self._fail((name,), "a list of numbers")
        return [float(v) for v in value]

    def texts(self, name: str) -> list[str] | None:
        """A list of strings; None if absent."""
        value = self._find((name,))
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            raise self._fail((name,), "a list of texts")
        return value

    def section(self, name: str) -> Config | None:
        value = self._find((name,))
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self._fail((name,), "an object")
        return Config(value, f"{self._where}: {name}")


def _is_finite(value: float) -> bool:
    try:
        return isfinite(value) and abs(value) < 1e38
    except OverflowError:
        return False
