"""What can be changed in a module, one small thing at a time.

Comparisons, `and` and `or`, arithmetic, numbers, truth values, words (strings without a blank: texts for people are
not behaviour), returned values, conditions, and statements that are removed. Annotations, decorators, docstrings and
parts of formatted strings stay.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

_OPERATORS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Add,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
_NAMED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_PLAIN = (ast.Name, ast.Attribute, ast.Call, ast.NamedExpr, ast.Subscript)
_REMOVED = (ast.Expr, ast.AugAssign, ast.Raise, ast.Delete, ast.Break, ast.Continue)
_LEFT_ALONE = (ast.JoinedStr, ast.Import, ast.ImportFrom)
_FIELDS_LEFT_ALONE = frozenset({"annotation", "returns", "decorator_list", "type_params"})
_BLOCKS = frozenset({"body", "orelse", "finalbody", "handlers", "cases"})


@dataclass(frozen=True, slots=True)
class Mutant:
    """A change. `before` and `after` are the statement, of a longer one its head; `place` is the function or class.

    `lines` are those of the head; `number` tells equal changes of one place apart.
    """

    place: str
    lines: range
    before: str
    after: str
    number: int
    tree: ast.Module

    @property
    def key(self) -> str:
        """The same in every run, wherever the line has moved to."""
        again = f" #{self.number}" if self.number else ""
        return f"{self.place}: {self.before} -> {self.after}{again}"

    @property
    def runs_in_calls(self) -> bool:
        """Whether it is inside a function, and not what is evaluated when that is defined."""
        return self.place.endswith("()") and not self.before.startswith(("def ", "async def "))


def mutants(source: str) -> Iterator[Mutant]:
    """All of a module, in the order of its lines."""
    tree = ast.parse(source)
    seen: dict[tuple[str, str, str], int] = {}
    for place, block, index in _statements(tree, "module"):
        statement = block[index]
        before = _head(statement)
        for _ in _changes(block, index):
            after = _head(block[index])
            again = seen[place, before, after] = seen.get((place, before, after), -1) + 1
            changed = ast.fix_missing_locations(copy.deepcopy(tree))
            yield Mutant(place, _lines(statement), before, after, again, changed)


def _statements(node: ast.AST, place: str) -> Iterator[tuple[str, list[ast.stmt], int]]:
    for name, value in ast.iter_fields(node):
        if name not in _BLOCKS or not isinstance(value, list):
            continue
        for index, inner in enumerate(value):
            if isinstance(inner, ast.stmt):
                inside = place
                if isinstance(inner, _NAMED):
                    outer = "" if place == "module" else f"{place.removesuffix('()')}."
                    inside = f"{outer}{inner.name}{'' if isinstance(inner, ast.ClassDef) else '()'}"
                yield inside, value, index
                yield from _statements(inner, inside)
            else:
                yield from _statements(inner, place)


def _lines(statement: ast.stmt) -> range:
    body = getattr(statement, "body", None)
    end = body[0].lineno if body else (statement.end_lineno or statement.lineno) + 1
    return range(statement.lineno, max(end, statement.lineno + 1))


def _head(statement: ast.stmt) -> str:
    shown = copy.copy(statement)
    for name in ("body", "orelse", "finalbody", "decorator_list"):
        if hasattr(shown, name):
            setattr(shown, name, [ast.Pass()] if name == "body" else [])
    return ast.unparse(shown).partition("\n")[0]


def _changes(block: list[ast.stmt], index: int) -> Iterator[None]:
    """Make each change of a statement, one after the other, and take it back."""
    statement = block[index]
    if _is_docstring(statement):
        return
    is_kept = isinstance(statement, ast.Assign) and any(
        isinstance(target, ast.Name | ast.Tuple) for target in statement.targets
    )
    if isinstance(statement, _REMOVED) or (isinstance(statement, ast.Assign) and not is_kept):
        block[index] = ast.copy_location(ast.Pass(), statement)
        yield
        block[index] = statement
    if isinstance(statement, ast.Return) and not _is_none(statement.value):
        value, statement.value = statement.value, ast.Constant(None)
        yield
        statement.value = value
    yield from _changes_inside(statement)


def _is_docstring(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str | type(...))
    )


def _is_none(value: ast.expr | None) -> bool:
    return value is None or (isinstance(value, ast.Constant) and value.value is None)


def _changes_inside(node: ast.AST) -> Iterator[None]:
    """Change each expression that belongs to a node; blocks of statements are not part of it."""
    if isinstance(node, _LEFT_ALONE) or _is_literal_type(node):
        return
    for name, value in ast.iter_fields(node):
        if name in _FIELDS_LEFT_ALONE or (name in _BLOCKS and isinstance(value, list)):
            continue
        if isinstance(value, list):
            for place, inner in enumerate(value):
                for other in _others(inner, is_condition=name == "ifs"):
                    value[place] = other
                    yield
                    value[place] = inner
                if isinstance(inner, ast.AST):
                    yield from _changes_inside(inner)
        elif isinstance(value, ast.AST):
            for other in _others(value, is_condition=name == "test"):
                setattr(node, name, other)
                yield
                setattr(node, name, value)
            yield from _changes_inside(value)


def _is_literal_type(node: ast.AST) -> bool:
    return isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "Literal"


def _others(node: object, *, is_condition: bool) -> Iterator[ast.AST]:
    """What may stand in the place of a node."""
    if isinstance(node, ast.AST) and (other := _OPERATORS.get(type(node))):
        yield other()
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node.operand
    elif isinstance(node, ast.Constant):
        yield from _constants(node.value)
    if is_condition and isinstance(node, _PLAIN):
        yield ast.UnaryOp(ast.Not(), node)


def _constants(value: object) -> Iterator[ast.AST]:
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int | float):
        yield ast.Constant(value + 1)
    elif isinstance(value, str) and value and " " not in value:
        yield ast.Constant(f"XX{value}")
    elif isinstance(value, bytes) and value and b" " not in value:
        yield ast.Constant(b"XX" + value)
