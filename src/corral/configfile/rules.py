"""What the configuration says of models, as requests ask for it. It can be replaced while the server runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from corral.configfile.sections import NO_SECTIONS, ModelSection, Sections, names_of
from corral.names import ModelName

_MAX_KEPT = 1024
_NOTHING = ModelSection("")


class ModelRules:
    """Sections and aliases. `replace` is atomic: a request sees the old ones or the new ones."""

    def __init__(self, sections: Sections = NO_SECTIONS) -> None:
        self.replace(sections)

    def replace(self, sections: Sections) -> None:
        self._sections = sections
        self._found: dict[ModelName, ModelSection] = {}

    @property
    def sections(self) -> Sections:
        return self._sections

    @property
    def aliases(self) -> Mapping[str, str]:
        """What further names of models stand for."""
        return self._sections.aliases

    def resolve(self, name: str) -> str:
        """The name that an alias stands for; any other name as it is."""
        aliases = self._sections.aliases
        if not aliases:
            return name
        for spelled in names_of(name):
            if spelled in aliases:
                return aliases[spelled]
        return name

    def section(self, name: ModelName) -> ModelSection:
        """All that holds for a model."""
        if not self._sections.models:
            return _NOTHING
        kept = self._found
        found = kept.get(name)
        if found is None:
            if len(kept) >= _MAX_KEPT:
                kept.clear()
            found = self._sections.section_for((*names_of(name.short()), name.full().lower()))
            kept[name] = found
        return found


def ruled_options(
    section: ModelSection,
    stored: Mapping[str, Any],
    requested: Mapping[str, Any] | None,
    implied: frozenset[str] = frozenset(),
) -> tuple[Mapping[str, Any], Mapping[str, Any] | None]:
    """The model's parameters with those of its section over them, and the options that a request may have.

    Those in `implied` are not the client's but its API's: the section holds over them.
    """
    unwanted = section.strip
    if section.defaults:
        stored = {**stored, **section.defaults}
        unwanted |= implied & section.defaults.keys()
    if requested and not unwanted.isdisjoint(requested):
        requested = {name: value for name, value in requested.items() if name not in unwanted}
    return stored, requested
