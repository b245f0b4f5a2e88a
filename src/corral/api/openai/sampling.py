"""The members that chat completions and completions share, and how they become options and limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from corral.api.reading import decode
from corral.api.reading.extras import EXTRA_FIELDS, extra_options
from corral.api.reading.fields import Structure, number
from corral.api.reading.jsonread import JSONObject
from corral.errors import InvalidRequestError
from corral.golang.quote import quoted

MAX_CHOICES = 128
_MAX_BIASES = 4096
_MAX_SEED = 2**31 - 1


def _logit_bias(
    decoding: decode.Decoding, value: Any, path: str, _text: str
) -> tuple[tuple[int, float], ...] | None:
    if not isinstance(value, JSONObject):
        decoding.mismatch(value, path, "map[string]float64")
        return None
    if len(value) > _MAX_BIASES:
        raise InvalidRequestError(f"logit_bias may have {_MAX_BIASES} members at most")
    biases = {}
    for name, member in value:
        bias = 0.0 if member is None else number(decoding, member, path, "")
        if not (name.isascii() and name.isdigit() and len(name) < 10):
            raise InvalidRequestError(f"logit_bias: {quoted(name[:40])} is not the id of a token")
        if bias is not None and not -100 <= bias <= 100:
            raise InvalidRequestError("logit_bias must be between -100 and 100")
        biases[int(name)] = bias or 0.0
    return tuple(biases.items())


SAMPLING: dict[str, decode.Decode] = {
    **EXTRA_FIELDS,
    "model": decode.string,
    "stream": decode.boolean,
    "stream_options": Structure("StreamOptions", "openai.StreamOptions", {"include_usage": decode.boolean}),
    "max_tokens": decode.integer,
    "temperature": number,
    "top_p": number,
    "seed": decode.integer,
    "frequency_penalty": number,
    "presence_penalty": number,
    "stop": decode.any_value,
    "n": decode.integer,
    "logit_bias": _logit_bias,
    "user": decode.any_value,
    "safety_identifier": decode.any_value,
    "usage": decode.any_value,
    "think": decode.think,
    "_debug_render_only": decode.boolean,
}


def sampling_options(
    values: Mapping[str, Any], defaults: Mapping[str, float]
) -> tuple[dict[str, Any], frozenset[str]]:
    """Options for the service: members of the body over its `options` over `defaults`; and which are defaults.

    Without `stop`, which the two routes read differently, but for one inside `options`.
    """
    given = extra_options({name: value for name, value in values.items() if name != "stop"})
    return {**defaults, **given}, frozenset(defaults) - given.keys()


def choice_count(values: Mapping[str, Any]) -> int:
    """How many answers are asked for.

    Raises:
        InvalidRequestError
    """
    count: int = values.get("n", 1)
    if not 1 <= count <= MAX_CHOICES:
        raise InvalidRequestError(f"n must be between 1 and {MAX_CHOICES}")
    return count


def seeded(options: dict[str, Any], choice: int) -> dict[str, Any]:
    """The options of one of several answers: with a seed each gets another one, or all would be equal."""
    seed = options.get("seed")
    if choice == 0 or not isinstance(seed, int) or seed < 0:
        return options
    return {**options, "seed": (seed + choice) % (_MAX_SEED + 1)}
