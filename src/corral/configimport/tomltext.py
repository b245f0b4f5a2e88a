"""Writes what was imported as a configuration file, with comments for what did not get into it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from corral.configfile.writing import toml_header, toml_value
from corral.configimport.imported import Imported, ImportedModel
from corral.logs import escape_controls
from corral.modelfile import Directive, format_modelfile

_MAX_NOTE_CHARS = 300
_REFERENCE = "${env:"


def toml_text(found: Imported, source: str, program: str) -> str:
    """The whole file. `source` is the name of the other one."""
    blocks = ["\n".join(_head(found, source))]
    for section, values in found.settings.items():
        lines = [f"{key} = {toml_value(value)}" for key, value in values.items()]
        blocks.append("\n".join([toml_header(section), *lines]))
    blocks += ["\n".join(_model(model, program)) for model in found.models]
    for group in found.groups:
        lines = [f"members = {toml_value(group.members)}", f"mode = {toml_value(group.mode)}"]
        blocks.append("\n".join([*map(_comment, group.notes), toml_header("groups", group.name), *lines]))
    return "\n\n".join(blocks) + "\n"


def modelfile(model: ImportedModel) -> str:
    return format_modelfile(model.directives)


def create_command(model: ImportedModel, program: str) -> str:
    """The command that makes a model, for a shell."""
    lines = [_line(directive) for directive in model.directives]
    return f"printf '%s\\n' {shlex.join(lines)} | {program} create {shlex.quote(model.name)} -f -"


def _line(directive: Directive) -> str:
    return format_modelfile([directive]).rstrip("\n")


def _head(found: Imported, source: str) -> Iterator[str]:
    yield _comment(f"Made from {found.kind} in {source}.")
    yield from map(_comment, found.notes)
    for asked, reason in found.left_out:
        yield _comment(f"{asked} is left out: {reason}.")


def _model(model: ImportedModel, program: str) -> Iterator[str]:
    yield _comment(create_command(model, program), is_whole=True)
    yield from map(_comment, model.notes)
    section = model.section()
    if section:
        yield toml_header("models", model.name)
        for key, value in section.items():
            line = f"{key} = {toml_value(value)}"
            # Such a text would be replaced by a variable when the file is read.
            yield f"# {key} is left out: it has a text with {_REFERENCE}" if _REFERENCE in line else line


def _comment(text: str, *, is_whole: bool = False) -> str:
    """One line, whatever the text holds. A command that would not be whole, or not one line, is not shown."""
    shown = escape_controls(text)
    if is_whole:
        return (
            f"# {shown}" if shown == text else "# This model has a path that cannot be shown; see --create."
        )
    return f"# {shown[:_MAX_NOTE_CHARS]}{'...' if len(shown) > _MAX_NOTE_CHARS else ''}"
