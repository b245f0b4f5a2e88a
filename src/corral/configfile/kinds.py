"""What a value of the configuration file may be, by the function that reads the text of the same setting.

A value of the file becomes the text that the environment variable would have, so one reader serves both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corral import clustervalues
from corral import settingvalues as values
from corral.priorities import PRIORITIES
from corral.settingvalues import UnreadableError


@dataclass(frozen=True, slots=True)
class Kind:
    """`types` are those of TOML that are accepted, `schema` the JSON schema, `expected` its meaning in words."""

    types: tuple[type, ...]
    schema: Mapping[str, Any]
    expected: str

    def text(self, value: object) -> str:
        """The value as the environment variable would have it.

        Raises:
            UnreadableError: it is of another type.
        """
        if type(value) not in self.types:
            raise UnreadableError
        if isinstance(value, bool):
            return "1" if value else "0"
        if isinstance(value, list):
            if any(not isinstance(entry, str) or "," in entry for entry in value):
                raise UnreadableError
            return ",".join(value)
        return str(value)


_DURATION = {"anyOf": [{"type": "string"}, {"type": "integer"}]}
STRING = Kind((str,), {"type": "string"}, "a string")
NUMBER = Kind((int,), {"type": "integer", "minimum": 0}, "a whole number of 0 or more")
BOOLEAN = Kind((bool,), {"type": "boolean"}, "true or false")
DURATION = Kind((str, int), _DURATION, 'a duration like "90s" or "1h30m", or whole seconds')
STRINGS = Kind(
    (list,),
    {"type": "array", "items": {"type": "string", "pattern": "^[^,]*$"}},
    "a list of strings without commas",
)
MAYBE_NUMBER = Kind(
    (int, str),
    {"anyOf": [{"type": "integer", "minimum": 0}, {"const": "auto"}]},
    'a whole number of 0 or more, or "auto"',
)
MAYBE_BOOLEAN = Kind(
    (bool, str), {"anyOf": [{"type": "boolean"}, {"const": "auto"}]}, 'true, false or "auto"'
)
_ANY = Kind(
    (str, int, bool), {"type": ["string", "integer", "boolean"]}, "a string, a whole number or true or false"
)

_KINDS: dict[Callable[[str], Any], Kind] = {
    str: STRING,
    str.lower: STRING,
    Path: STRING,
    values.number: NUMBER,
    values.maybe_number: MAYBE_NUMBER,
    values.boolean: BOOLEAN,
    values.maybe_boolean: MAYBE_BOOLEAN,
    values.auto_on_off: Kind(
        (str, bool), {"enum": ["auto", "on", "off", True, False]}, '"auto", "on" or "off"'
    ),
    values.on_off: BOOLEAN,
    values.duration: DURATION,
    values.keep_alive: DURATION,
    values.rate: Kind((str, int), _DURATION, 'bytes per second, like "10MB"'),
    values.entries: STRINGS,
    values.log_level: Kind((bool, int), {"type": ["boolean", "integer"]}, "true, false or a whole number"),
    values.registry_mode: Kind((str,), {"enum": ["off", "pull", "push"]}, '"off", "pull" or "push"'),
    values.file_mode: Kind(
        (str,), {"type": "string", "pattern": "^[0-7]{1,4}$"}, 'octal digits, like "0660"'
    ),
    values.priority: Kind(
        (str,), {"enum": list(PRIORITIES)}, " or ".join(f'"{name}"' for name in PRIORITIES)
    ),
    clustervalues.mode: Kind((str,), {"enum": list(clustervalues.MODES)}, '"off", "peers" or "ray"'),
    clustervalues.peers: STRINGS,
    clustervalues.peer: STRING,
    clustervalues.node_name: STRING,
    clustervalues.share: Kind(
        (int, float), {"type": "number", "minimum": 0, "maximum": 1}, "a number from 0 to 1"
    ),
    clustervalues.ratio: Kind((int, float), {"type": "number", "minimum": 1}, "a number of 1 or more"),
    clustervalues.retries: Kind((int,), {"type": "integer", "minimum": 0, "maximum": 2}, "0, 1 or 2"),
    values.local_files: Kind((str,), {"enum": ["link", "copy", "off"]}, '"link", "copy" or "off"'),
    values.kv_cache_type: Kind((str,), {"type": "string"}, 'a type like "f16" or "q8_0"'),
}


def kind_of(read: Callable[[str], Any]) -> Kind:
    """What the file may say for a setting that this function reads."""
    if read in _KINDS:
        return _KINDS[read]
    return STRING if getattr(read, "__self__", None) is not None else _ANY
