"""Options of a request: the model's stored parameters under the request's own, checked and typed.

Ollama: api/types.go Options.FromMap. Unknown names are ignored; a wrong type is an error. What a value may be is in
one table, `_OPTIONS`, and is looked at before anything is loaded: an engine gets no number that it cannot bear.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from corral.errors import InvalidRequestError, OptionError
from corral.logs import Sparing
from corral.types import DEVICE_POLICIES, LoadOptions, SamplingOptions

_log = logging.getLogger("corral.options")
_unknown = Sparing(_log)
_INT32 = 2**31 - 1
_FLOAT32 = 3.4028234663852886e38
_SMALLEST_FLOAT32 = 1.1754943508222875e-38  # without loss of digits
_MAX_STOPS = 1024
_MAX_STOP_CHARS = 1 << 16
_MAX_DEVICES = 128


class _RangeError(InvalidRequestError):
    """A value of the right type that has no meaning."""


@dataclass(frozen=True, slots=True)
class _Option:
    """How a value is read, and its range. Beyond an end that is `strict` is an error, else the end is meant."""

    read: Callable[[str, Any], Any]
    low: float = -math.inf
    high: float = math.inf
    strict: Literal["", "low", "both"] = ""

    def value_of(self, name: str, value: Any) -> Any:
        """Raises OptionError, InvalidRequestError."""
        found = self.read(name, value)
        if not isinstance(found, int | float) or isinstance(found, bool) or self.low <= found <= self.high:
            return found
        if self.strict == "both" or (self.strict == "low" and found < self.low):
            raise _RangeError(f'option "{name}" must be {_range_text(self.low, self.high)}')
        return type(found)(min(max(found, self.low), self.high))


def _range_text(low: float, high: float) -> str:
    if high >= _INT32:
        return "greater than 0" if 0 < low < 1 else f"{low} or more"
    return f"between {low} and {high}"


def _integer(name: str, value: Any) -> int:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or (isinstance(value, float) and not math.isfinite(value)):
        raise OptionError(f'option "{name}" must be of type integer')
    return int(value)  # toward zero, as Go converts


def _seed(name: str, value: Any) -> int:
    """The engine's seeds have 32 bits, of which -1 and its like mean a random one."""
    seed = _integer(name, value)
    return -1 if seed == -1 else min(seed % 2**32, 2**32 - 2)


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise OptionError(f'option "{name}" must be of type float32')
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not abs(number) <= _FLOAT32:
        raise _RangeError(f'option "{name}" must be a finite number of 32 bits')
    return number


def _boolean(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise OptionError(f'option "{name}" must be of type boolean')
    return value


def _strings(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise OptionError(f'option "{name}" must be of type array')
    if any(not isinstance(element, str) for element in value):
        raise OptionError(f'option "{name}" must be of an array of strings')
    # The engine looks for each of them after every token.
    if len(value) > _MAX_STOPS or sum(map(len, value)) > _MAX_STOP_CHARS:
        raise _RangeError(
            f'option "{name}" may have at most {_MAX_STOPS} strings of {_MAX_STOP_CHARS} characters together'
        )
    return tuple(value)


def _device_policy(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise OptionError(f'option "{name}" must be of type string')
    if value.lower() not in DEVICE_POLICIES:
        raise _RangeError(
            f'option "{name}" must be {", ".join(DEVICE_POLICIES[:-1])} or {DEVICE_POLICIES[-1]}'
        )
    return value.lower()


def _shares(name: str, value: Any) -> tuple[float, ...]:
    """How much of a model each device gets, relative to the others."""
    if not isinstance(value, list):
        raise OptionError(f'option "{name}" must be of type array')
    shares = tuple(_number(name, share) for share in value)
    if len(shares) > _MAX_DEVICES or any(share < 0 for share in shares) or (shares and not any(shares)):
        raise _RangeError(
            f'option "{name}" must be at most {_MAX_DEVICES} numbers from 0 on, not all of them 0'
        )
    return shares


# The engine's own limits, found by trying, and where it aborts. A context is cut to what the model was trained for, a
# thread count to the cores, a batch raised to what the slots need: where those are known.
_OPTIONS: dict[str, _Option] = {
    "num_ctx": _Option(_integer, -1, 1 << 26),
    "num_batch": _Option(_integer, 1, 1 << 20),
    "num_gpu": _Option(_integer, -1, 1 << 20),
    "main_gpu": _Option(_integer, -1, 1023, "both"),
    "use_mmap": _Option(_boolean),
    "num_thread": _Option(_integer, 0, 1 << 16),
    "draft_num_predict": _Option(_integer, 0, 128),
    "device_policy": _Option(_device_policy),
    "tensor_split": _Option(_shares),
    "num_keep": _Option(_integer, -1, _INT32),
    "seed": _Option(_seed),
    "num_predict": _Option(_integer, -1, _INT32),
    "top_k": _Option(_integer, 0, _INT32),
    "top_p": _Option(_number),
    "min_p": _Option(_number),
    "typical_p": _Option(_number, 0.0, 1.0),
    "repeat_last_n": _Option(_integer, -1, _INT32, "low"),
    "temperature": _Option(_number),
    "repeat_penalty": _Option(_number, _SMALLEST_FLOAT32, strict="low"),
    "presence_penalty": _Option(_number),
    "frequency_penalty": _Option(_number),
    "stop": _Option(_strings),
    "cache_prompt": _Option(_boolean),
    "speculation": _Option(_boolean),
    "draft_counts": _Option(_boolean),
}
_LOAD_NAMES = frozenset(field.name for field in fields(LoadOptions))
assert set(_OPTIONS) == _LOAD_NAMES | {field.name for field in fields(SamplingOptions)}


def parse_options(
    stored: Mapping[str, Any], requested: Mapping[str, Any] | None
) -> tuple[LoadOptions, SamplingOptions]:
    """Merge stored parameters and request options; the request wins, null keeps what is below.

    A stored number without a meaning is left out with a line in the log, so that the model stays usable.

    Raises:
        OptionError: a value of the wrong type, the stored ones first.
        InvalidRequestError: a value that the request must not have.
    """
    values: dict[str, Any] = {}
    for name, value in stored.items():
        try:
            _take(values, name, value)
        except _RangeError as error:
            _log.warning("parameter of the model left out: %s", error)
    for name, value in (requested or {}).items():
        _take(values, name, value)
    load = {name: value for name, value in values.items() if name in _LOAD_NAMES}
    sampling = {name: value for name, value in values.items() if name not in _LOAD_NAMES}
    return LoadOptions(**load), SamplingOptions(**sampling)


def _take(values: dict[str, Any], name: str, value: Any) -> None:
    option = _OPTIONS.get(name)
    if value is None:
        return
    if name == "deadline":
        return  # not of the engine: see corral/deadline.py
    if option is None:
        _unknown.write(logging.INFO, "invalid option provided option=%.64r", name)
    else:
        values[name] = option.value_of(name, value)


def requested_num_ctx(stored: Mapping[str, Any], requested: Mapping[str, Any] | None) -> int | None:
    """The context length that the request or the model names, 0 too; None: neither does."""
    for options in (requested or {}, stored):
        if options.get("num_ctx") is not None:
            load, _ = parse_options({}, {"num_ctx": options["num_ctx"]})
            return load.num_ctx
    return None
