"""What a `$ref` points to: pointers, anchors and identifiers within one document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from corral.chat.grammar.budget import Budget


class References:
    """The references of one document; each is looked up once."""

    def __init__(self, document: Any, budget: Budget) -> None:
        self._document = document
        self._budget = budget
        self._known: dict[str, Any] = {}
        self._named: dict[str, Any] | None = None

    def resolve(self, reference: Any) -> Any:
        """What a reference points to.

        Raises:
            ValueError: it points outside of the schema, or to nothing.
        """
        if not isinstance(reference, str):
            raise ValueError(f"$ref {reference!r} must be a text")
        if reference not in self._known:
            self._budget.spend(10 + len(reference))
            self._known[reference] = self._find(reference)
        return self._known[reference]

    def _find(self, reference: str) -> Any:
        address, _, fragment = reference.partition("#")
        base = self._document
        if address:
            base = self._by_name(address)
            if base is None:
                raise ValueError(f"$ref {reference!r} does not point into the same schema")
        fragment = unquote(fragment)
        if fragment and not fragment.startswith("/"):
            target = self._by_name("#" + fragment)
            if target is None and fragment in _definitions(base):
                target = _definitions(base)[fragment]
        else:
            target = self._follow(base, fragment)
        if target is None:
            raise ValueError(f"$ref {reference!r} points to nothing")
        return target

    def _follow(self, target: Any, pointer: str) -> Any:
        for part in pointer.split("/")[1:]:
            part = part.replace("~1", "/").replace("~0", "~")
            if isinstance(target, Mapping) and part in target:
                target = target[part]
            elif (
                isinstance(target, list)
                and part.isascii()
                and part.isdecimal()
                and int(part[:9]) < len(target)
            ):
                target = target[int(part[:9])]
            else:
                return None
        return target

    def _by_name(self, name: str) -> Any:
        """A schema by its `$anchor` (with a #) or its `$id`, whole or the last part of it."""
        if self._named is None:
            self._named = self._collect()
        return self._named.get(name, self._named.get(name.rpartition("/")[2]))

    def _collect(self) -> dict[str, Any]:
        named: dict[str, Any] = {}
        waiting = [self._document]
        while waiting:
            value = waiting.pop()
            self._budget.spend(1)
            if isinstance(value, Mapping):
                for key in ("$anchor", "$dynamicAnchor"):
                    if isinstance(value.get(key), str):
                        named.setdefault("#" + value[key], value)
                for key in ("$id", "id"):
                    if isinstance(name := value.get(key), str) and name:
                        named.setdefault(name.removesuffix("#"), value)
                        named.setdefault(name.removesuffix("#").rpartition("/")[2] or name, value)
                waiting += value.values()
            elif isinstance(value, list):
                waiting += value
        return named


def _definitions(document: Any) -> Mapping[str, Any]:
    for key in ("$defs", "definitions"):
        if isinstance(document, Mapping) and isinstance(found := document.get(key), Mapping):
            return found
    return {}
