"""Native options in the bodies of the compatible surfaces, for people whose client can send no others.

`options` and `keep_alive` work as in the native API; a member with the name of an option sets that option, and wins
over `options`. What the surface itself calls by such a name keeps its own reading.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from corral.api.reading import decode
from corral.types import LoadOptions, SamplingOptions

_OPTION_NAMES = tuple(field.name for kind in (LoadOptions, SamplingOptions) for field in fields(kind))

# For a table of request fields; put the surface's own fields behind them.
EXTRA_FIELDS: dict[str, decode.Decode] = {
    **dict.fromkeys(_OPTION_NAMES, decode.any_value),
    "options": decode.mapping,
    "keep_alive": decode.keep_alive,
    "format_strict": decode.boolean,
}


def extra_options(values: Mapping[str, Any]) -> dict[str, Any]:
    """The native options among decoded members, not yet checked; the service does that."""
    options: dict[str, Any] = dict(values.get("options") or {})
    options.update({name: values[name] for name in _OPTION_NAMES if values.get(name) is not None})
    if values.get("stop") is not None:
        options["stop"] = _without_empty(values["stop"])
    elif isinstance(options.get("stop"), str):
        options["stop"] = [options["stop"]]
    return options


def _without_empty(stop: Any) -> Any:
    """What ends an answer, as a list; an empty text would end it at once."""
    stops = [stop] if isinstance(stop, str) else stop
    return [text for text in stops if text != ""] if isinstance(stops, list) else stops
