"""What was understood of another server's file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from corral.errors import CorralError
from corral.modelfile import Directive

Mode = Literal["together", "one-at-a-time", "pinned"]


class ImportFileError(CorralError):
    """The file is not one that can be imported. The message says why, and where."""


@dataclass(slots=True)
class ImportedModel:
    """A model under a name that is possible here; `asked` is its name in the file.

    `directives` are the Modelfile that makes it. The other members are keys of its section. `notes` say what of the
    file does not hold here, and why.
    """

    name: str
    asked: str = ""
    directives: list[Directive] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    engine: dict[str, Any] = field(default_factory=dict)
    strip: list[str] = field(default_factory=list)
    aliases: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def section(self) -> Mapping[str, Any]:
        """The keys of the model's section and their values, in the order in which people write them."""
        tables = {
            "set": self.options,
            "strip": self.strip,
            "engine": self.engine,
            "aliases": self.aliases,
        }
        return {**self.values, **{key: table for key, table in tables.items() if table}}

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


@dataclass(frozen=True, slots=True)
class ImportedGroup:
    name: str
    members: tuple[str, ...]
    mode: Mode
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class Imported:
    """All of a file. `settings` are keys of sections, `left_out` models with the reason why they are not served."""

    kind: str
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    models: list[ImportedModel] = field(default_factory=list)
    groups: list[ImportedGroup] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def set(self, path: str, value: Any) -> None:
        """Give the setting `section.key` a value."""
        section, _, key = path.partition(".")
        self.settings.setdefault(section, {})[key] = value
