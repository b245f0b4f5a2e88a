"""Arrays of a schema: items, tuples, counts, values that must differ or must be there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from corral.chat.grammar.choices import json_texts
from corral.chat.grammar.leaves import Leaf
from corral.chat.grammar.listing import Listed, alternatives_of_members
from corral.chat.grammar.parts import Conjunction, is_impossible
from corral.chat.grammar.rules import MAX_WRITTEN_OUT, literal
from corral.chat.grammar.strings import MAX_COUNT

if TYPE_CHECKING:
    from corral.chat.grammar.schema import SchemaCompiler

_MAX_UNIQUE = 6
_MAX_ORDERED = 2000
_MAX_PREFIX = 2000
_EMPTY = '"[" ws "]"'


def array_expression(compiler: SchemaCompiler, leaf: Leaf, path: str) -> str | None:
    """GBNF for an array; None (with the reason given to the compiler) where there is none."""
    return _Array(compiler, leaf, path).expression()


class _Array:
    def __init__(self, compiler: SchemaCompiler, leaf: Leaf, path: str) -> None:
        self._compiler = compiler
        self._leaf = leaf
        self._path = path
        self._least = compiler.count(leaf.largest("minItems"), "minItems", path, MAX_WRITTEN_OUT)
        most = leaf.smallest("maxItems")
        self._most = None if most is None else min(most, MAX_COUNT)

    def expression(self) -> str | None:
        self._compiler.rules.shared("ws")
        if self._most is not None and self._most < self._least:
            return self._nothing("maxItems is smaller than minItems")
        prefix = max((len(items) for items in self._leaf.all("prefixItems")), default=0)
        if prefix > _MAX_PREFIX:
            return self._nothing(f"'prefixItems' may have at most {_MAX_PREFIX} schemas")
        wanted = self._contained(prefix)
        is_unique = any(self._leaf.all("uniqueItems"))
        if is_unique and not prefix and (options := self._few_values()) is not None:
            return self._distinct(options)
        if is_unique and (self._most is None or self._most > 1):
            self._compiler.note(self._path, "uniqueItems", "items without a fixed choice cannot be compared")
        fixed: list[str] = []
        for i in range(prefix + len(wanted)):
            extra = wanted[i - prefix] if i >= prefix else []
            rule = self._rule(i, extra, f"prefixItems/{i}")
            if rule is None:
                return None
            fixed.append(rule)
        return self._assembled(fixed, self._rule(prefix, [], "items", has_rest=self._has_rest(prefix)))

    def _has_rest(self, prefix: int) -> bool:
        """Whether items may follow a tuple: only if it says so, or asks for more than it names."""
        says = any("items" in part.keywords for part in self._leaf.parts)
        return says or not prefix or self._least > prefix

    def _schemas(self, index: int) -> list[Any]:
        schemas = []
        for part in self._leaf.parts:
            prefix = part.keywords.get("prefixItems", ())
            schemas.append(prefix[index] if index < len(prefix) else part.keywords.get("items", True))
        return schemas

    def _rule(self, index: int, extra: list[Any], where: str, *, has_rest: bool = True) -> str | None:
        schemas = [*self._schemas(index), *extra]
        path = f"{self._path}/{where}"
        if not has_rest or any(is_impossible(schema) for schema in schemas):
            if where != "items":
                self._compiler.blame(path, "nothing is allowed here")
            return None
        items = self._compiler.conjunction(schemas, path)
        return None if items is None else self._compiler.rule(items, path)

    def _contained(self, prefix: int) -> list[list[Any]]:
        """What `contains` asks for, as items right after those of the tuple: one place is as good as another."""
        wanted: list[list[Any]] = []
        for part in self._leaf.parts:
            if "contains" not in part.keywords:
                continue
            least = part.keywords.get("minContains", 1)
            least = least if isinstance(least, int) and not isinstance(least, bool) else 1
            if "maxContains" in part.keywords or least > _MAX_PREFIX:
                self._compiler.note(self._path, "maxContains", "cannot be counted")
            wanted += [[part.keywords["contains"]] for _ in range(min(least, _MAX_PREFIX))]
        if wanted and prefix and not self._has_rest(prefix):
            self._compiler.note(self._path, "contains", "cannot be held beside 'prefixItems'")
            return []
        if self._most is not None and prefix + len(wanted) > self._most:
            self._compiler.note(self._path, "contains", "asks for more items than maxItems")
            return []
        return wanted

    def _assembled(self, fixed: list[str], item: str | None) -> str | None:
        rules, least, most = self._compiler.rules, self._least, self._most
        if item is None:
            most = len(fixed) if most is None else min(most, len(fixed))
        if most is not None and most < least:
            return self._nothing("there are fewer items than minItems")
        fixed = fixed if most is None else fixed[:most]
        if not fixed and (most == 0 or item is None):
            return _EMPTY
        more = rules.add("item", f'"," ws {item}') if item is not None else ""
        left = None if most is None else most - max(len(fixed), 1)
        body = ' "," ws '.join(fixed) if fixed else str(item)
        self._compiler.budget.spend(4 + len(fixed) + min(least, MAX_WRITTEN_OUT) // 10)
        if more and left != 0:
            body += " " + rules.counted(more, max(least - max(len(fixed), 1), 0), left)
        if fixed or least:
            return f'"[" ws {body} ws "]"'
        return f'"[" ws ({body})? ws "]"'

    def _nothing(self, reason: str) -> str | None:
        self._compiler.blame(self._path, reason)
        return None

    def _few_values(self) -> list[str] | None:
        """The values of items that are one of some; None when they are not."""
        compiler = self._compiler
        items: Conjunction | None = compiler.conjunction(self._schemas(0), f"{self._path}/items")
        if not items or any(part.groups for part in items):
            return None
        leaf = Leaf(items, compiler.budget)
        values = [True, False] if leaf.types() == ["boolean"] else leaf.values()
        return (
            None if values is None or len(values) > _MAX_ORDERED else list(dict.fromkeys(json_texts(values)))
        )

    def _distinct(self, options: list[str]) -> str | None:
        """Different values: of a few in any order, of many in that of the schema."""
        if self._least > len(options):
            return self._nothing("there are fewer different items than minItems")
        most = len(options) if self._most is None else min(self._most, len(options))
        if most == 0:
            return _EMPTY
        literals = [literal(option) for option in options]
        if len(options) <= _MAX_UNIQUE:
            first = self._any_order(literals, most)
        elif self._least == 0 and most >= len(options):
            first = self._in_order(literals)
        else:
            return self._in_counted_order(literals, most)
        return f'"[" ws ({first}){"" if self._least else "?"} ws "]"'

    def _any_order(self, options: list[str], most: int) -> str:
        """A rule for each set that is left."""
        rules, least = self._compiler.rules, self._least
        known: dict[frozenset[str], str] = {frozenset(): '""'}

        def after(left: frozenset[str]) -> str:
            taken = len(options) - len(left)
            if left not in known:
                self._compiler.budget.spend(10 + 4 * len(left))
                more = " | ".join(f'"," ws {value} {after(left - {value})}' for value in sorted(left))
                body = "" if taken >= most else f"({more}){'' if taken < least else '?'}"
                known[left] = rules.add("distinct", body or '""')
            return known[left]

        everything = frozenset(options)
        return " | ".join(f"{value} {after(everything - {value})}" for value in options)

    def _in_order(self, options: list[str]) -> str:
        rules = self._compiler.rules
        self._compiler.budget.spend(20 * len(options))
        members = [(option, False) for option in options]
        return rules.listed("distinct", members, '"," ws')

    def _in_counted_order(self, options: list[str], most: int) -> str:
        listed = Listed([(option, False) for option in options], "", self._least, most)
        inner = alternatives_of_members(
            self._compiler.rules, "distinct", [listed], '"," ws', self._compiler.budget
        )
        if inner is None:
            self._compiler.note(self._path, "uniqueItems", "too many counts of different items")
            inner = self._in_order(options)
        return f'"[" ws {inner} ws "]"'
