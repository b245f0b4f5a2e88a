"""llama-swap's macros: `${NAME}` in the texts of a file, and `${env.NAME}` for variables of the environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_REFERENCE = re.compile(r"\$\{([A-Za-z0-9_.-]{1,200})\}")
_MAX_ROUNDS = 20
_MAX_CHARS = 64 << 10
# What llama-swap itself fills in, whose values have no meaning here.
_OF_THE_PROGRAM = {"PORT": "0", "PID": "0"}


class MacroError(ValueError):
    """A text refers to a macro or a variable that does not exist, or its macros have no end."""


class Macros:
    """The macros of a file, with those of a model over them."""

    def __init__(self, found: Mapping[str, str], env: Mapping[str, str]) -> None:
        self._found = found
        self._env = env

    def under(self, others: object, model_id: str) -> Macros:
        """The same with the macros of a model over them."""
        return Macros({**self._found, **macro_texts(others), "MODEL_ID": model_id}, self._env)

    def expand(self, text: str) -> str:
        """The text with every macro replaced.

        Raises:
            MacroError
        """
        for _ in range(_MAX_ROUNDS):
            if not _REFERENCE.search(text):
                return text
            text = _REFERENCE.sub(self._value, text)
            if len(text) > _MAX_CHARS:
                raise MacroError(f"its macros make it longer than {_MAX_CHARS >> 10} KiB")
        raise MacroError("its macros refer to each other without an end")

    def expand_all(self, value: Any) -> Any:
        """A value with the macros in all its texts replaced; a text that is one macro and a number becomes that.

        Raises:
            MacroError
        """
        if isinstance(value, dict):
            return {self.expand(key): self.expand_all(part) for key, part in value.items()}
        if isinstance(value, list):
            return [self.expand_all(part) for part in value]
        if not isinstance(value, str) or "${" not in value:
            return value
        text = self.expand(value)
        return _typed(text) if _REFERENCE.fullmatch(value) else text

    def _value(self, match: re.Match[str]) -> str:
        name = match[1]
        if name.startswith("env."):
            variable = name.removeprefix("env.")
            if variable not in self._env:
                raise MacroError(f"it refers to the environment variable {variable}, which is not set")
            return self._env[variable]
        if name in self._found:
            return self._found[name]
        if name in _OF_THE_PROGRAM:
            return _OF_THE_PROGRAM[name]
        raise MacroError(f"it refers to the macro {name}, which does not exist")


def macro_texts(value: object) -> dict[str, str]:
    """The macros of a mapping as texts, as they stand in a command."""
    if not isinstance(value, dict):
        return {}
    return {name: _text(part) for name, part in value.items() if isinstance(part, str | int | float)}


def _text(value: str | int | float) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _typed(text: str) -> str | int | float | bool:
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text) if len(text) < 40 else text
        except ValueError:
            pass
    return text
