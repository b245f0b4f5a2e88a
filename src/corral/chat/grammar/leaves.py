"""One alternative of a schema: the keywords of all of its parts, read together."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from corral.chat.grammar.bounds import Bounds, allows_number
from corral.chat.grammar.budget import Budget
from corral.chat.grammar.choices import identity
from corral.chat.grammar.meaning import TYPES
from corral.chat.grammar.parts import Conjunction
from corral.chat.grammar.strings import StringKeywords, fits

_KIND_KEYS = {
    "object": (
        "properties required additionalProperties minProperties maxProperties patternProperties propertyNames "
        "$absent unevaluatedProperties"
    ).split(),
    "array": "items prefixItems minItems maxItems uniqueItems contains unevaluatedItems".split(),
    "string": "minLength maxLength pattern format $mismatch".split(),
    "number": "minimum maximum exclusiveMinimum exclusiveMaximum multipleOf".split(),
}
_BOUNDS = tuple(_KIND_KEYS["number"])
_JSON_TYPES: dict[str, tuple[type, ...]] = {"string": (str,), "object": (dict,), "array": (list,)}


class Leaf:
    """Parts without alternatives. Missing keywords read as what asks for nothing."""

    def __init__(self, parts: Conjunction, budget: Budget) -> None:
        self.parts = parts
        self._budget = budget
        self._strings: StringKeywords | None = None

    def all(self, key: str) -> list[Any]:
        """The values of a keyword in all parts that have it."""
        return [part.keywords[key] for part in self.parts if key in part.keywords]

    def largest(self, key: str) -> int:
        return max((int(value) for value in self.all(key)), default=0)

    def smallest(self, key: str) -> int | None:
        return min((int(value) for value in self.all(key)), default=None)

    def types(self) -> list[str]:
        """The types that all parts allow; where none says, the one that the keywords mean. Empty: any."""
        left: list[str] | None = None
        for names in self.all("type"):
            if left is None:
                left = list(names)
            else:
                both = [name for name in left if name in names or (name == "integer" and "number" in names)]
                both += [
                    name for name in names if name == "integer" and "number" in left and name not in both
                ]
                left = both
        if left is not None:
            return left or ["nothing"]
        has = {key for part in self.parts for key in part.keywords}
        meant = next((kind for kind, keys in _KIND_KEYS.items() if any(key in has for key in keys)), None)
        if meant is not None:
            return [meant]
        return list(TYPES) if "$unlike" in has else []

    def values(self) -> list[Any] | None:
        """The single values that are left; None where no part names any."""
        sets = self.all("enum") + [[value] for value in self.all("const")]
        if not sets:
            return None
        first, *others = sets
        known = [{identity(value, self._budget) for value in values} for values in others]
        excluded = {identity(value, self._budget) for values in self.all("$unlike") for value in values}
        left: dict[Any, Any] = {}
        for value in first:
            key = identity(value, self._budget)
            if key not in excluded and all(key in keys for keys in known):
                left.setdefault(key, value)
        return [value for value in left.values() if self._allows(value)]

    def _allows(self, value: Any) -> bool:
        """Whether the other keywords leave a value; those inside of objects and arrays are not read."""
        self._budget.spend(4 * len(self.parts))
        if any(not any(_is_of_type(value, name) for name in names) for names in self.all("type")):
            return False
        if isinstance(value, int | float) and not isinstance(value, bool):
            try:
                return allows_number(self.bounds(), Decimal(str(value)))
            except ValueError:  # bounds that cannot be held allow everything
                return True
        return not isinstance(value, str) or fits(self.string_keywords(), value, self._budget)

    def bounds(self) -> Bounds:
        return Bounds.of([(key, value) for key in _BOUNDS for value in self.all(key)])

    def excluded(self) -> Sequence[Any]:
        return [value for values in self.all("$unlike") for value in values]

    def string_keywords(self) -> StringKeywords:
        if self._strings is None:
            self._strings = self._read_strings()
        return self._strings

    def _read_strings(self) -> StringKeywords:
        mismatches = [pattern for patterns in self.all("$mismatch") for pattern in patterns]
        excluded = [value for value in self.excluded() if isinstance(value, str)]
        return StringKeywords(
            self.largest("minLength"),
            self.smallest("maxLength"),
            self.all("pattern"),
            self.all("format"),
            mismatches,
            excluded,
        )


def _is_of_type(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    if name == "integer":
        return isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if name == "number":
        return isinstance(value, int | float)
    return value is None if name == "null" else isinstance(value, _JSON_TYPES.get(name, ()))
