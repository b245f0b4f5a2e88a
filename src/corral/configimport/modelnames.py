"""Names of models elsewhere as names that are possible here. The others become aliases, so requests keep theirs."""

from __future__ import annotations

import re
from collections.abc import Iterable

from corral.configimport.imported import ImportedModel
from corral.errors import InvalidRequestError
from corral.names import DEFAULT_HOST, ModelName, parse_ref

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]+")
_MAX_CHARS = 70


class ModelNames:
    """Gives each model of a file a name of its own. Names here do not depend on letter case, nor on `:latest`."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def name_for(self, asked: str) -> str:
        """The name as it is, if that is possible and free; else one made from it."""
        if _is_possible(asked) and self.take(asked):
            return asked
        base = _NOT_IN_NAMES.sub("-", asked).strip("-._")[:_MAX_CHARS] or "model"
        name, number = base, 2
        while not (_is_possible(name) and self.take(name)):
            name, number = f"{base}-{number}", number + 1
        return name

    def take(self, name: str) -> bool:
        """Whether a name was free; from now on it is not."""
        key = same_name(name)
        if key in self._taken:
            return False
        self._taken.add(key)
        return True


def same_name(name: str) -> str:
    """What is equal for two names that mean the same model or alias."""
    return name.lower().removesuffix(":latest")


def drop_taken_aliases(models: Iterable[ImportedModel]) -> None:
    """An alias wins over a model, so it must not have the name of one, nor stand for two."""
    models = list(models)
    taken = {same_name(model.name) for model in models}
    for model in models:
        kept = []
        for alias in model.aliases:
            key = same_name(alias)
            if "," in alias or not alias.strip():
                model.note(f"the alias {alias!r}: names do not have commas")
            elif key not in taken:
                taken.add(key)
                kept.append(alias)
            elif key != same_name(model.name):
                model.note(f"the alias {alias!r}: another model has this name")
        model.aliases = kept


def _is_possible(name: str) -> bool:
    """Whether it is the name of a model that people can type, and not that of one at another registry."""
    try:
        ref = parse_ref(name)
        return name == name.strip() and not ref.source and ModelName.parse(name).host == DEFAULT_HOST
    except InvalidRequestError:
        return False
