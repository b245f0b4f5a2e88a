"""Puts engine settings of a model into a configuration file that people write, without touching anything else.

Only what can be done by adding or replacing whole lines is done; the result is read again, and has to say what the
file said before and what was added.
"""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from corral.configfile.locate import lines_of_keys
from corral.configfile.writing import toml_header, toml_value
from corral.disk import write_atomically
from corral.errors import CorralError

_PRIVATE = 0o600


class EditError(CorralError):
    """The file cannot be changed without touching what somebody wrote."""


def engine_section(model: str, engine: Mapping[str, Any]) -> str:
    """The lines for a file that has nothing about the model."""
    return f"{toml_header('models', model)}\nengine = {toml_value(engine)}\n"


def with_engine(text: str, model: str, engine: Mapping[str, Any]) -> str:
    """The text of a file with engine settings of a model added; those that it had stay where they do not differ.

    Raises:
        EditError
    """
    before = _parsed(text)
    section = before.get("models", {}).get(model)
    if section is None:
        gap = "" if not text else "\n" if text.endswith("\n") else "\n\n"
        after = f"{text}{gap}{engine_section(model, engine)}"
    else:
        after = _in_section(
            text, model, {**section.get("engine", {}), **engine}, has_engine="engine" in section
        )
    wanted = copy.deepcopy(before)
    wanted.setdefault("models", {}).setdefault(model, {}).setdefault("engine", {}).update(engine)
    try:
        is_right = _parsed(after) == wanted
    except EditError:
        is_right = False
    if not is_right:
        raise EditError(f"its section {toml_header('models', model)} has a form that is not changed here")
    return after


def _in_section(text: str, model: str, engine: Mapping[str, Any], *, has_engine: bool) -> str:
    """Replace the line `engine = { ... }`, or add one below the header of the section."""
    lines = text.splitlines(keepends=True)
    numbers = lines_of_keys(text)
    number = numbers.get(("models", model, "engine") if has_engine else ("models", model), 0)
    line = lines[number - 1] if number else ""
    if has_engine and (not line.lstrip().startswith("engine") or "#" in line):
        raise EditError("its engine settings are not on one line of their own, or have a comment")
    if not has_engine and not line.lstrip().startswith("["):
        raise EditError("its section does not have a header of its own")
    ending = "" if line.endswith("\n") else "\n"
    added = f"engine = {toml_value(engine)}\n"
    lines[number - 1] = added if has_engine else f"{line}{ending}{added}"
    return "".join(lines)


def _parsed(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as exc:
        raise EditError(f"it is not valid TOML: {exc}") from None


def write_engine(path: Path, model: str, engine: Mapping[str, Any]) -> None:
    """Add engine settings of a model to a file, which is made if it does not exist.

    Raises:
        EditError: the file is as it was.
    """
    hint = f"add this to {path}:\n{engine_section(model, engine)}"
    try:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        after = with_engine(text, model, engine)
        mode = path.stat().st_mode & 0o777 if path.exists() else _PRIVATE
        write_atomically(path.resolve(), after.encode(), mode=mode)
    except EditError as error:
        raise EditError(f"{path} is not changed: {error}", hint=hint) from None
    except (OSError, UnicodeDecodeError) as error:
        raise EditError(f"{path} cannot be changed: {error}", hint=hint) from None
