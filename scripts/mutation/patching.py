"""Puts a changed module into the place of the one that is loaded, for all who have imported anything of it."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from contextlib import suppress
from types import FunctionType, ModuleType
from typing import Any

_DATA = (bool, int, float, str, bytes, tuple, frozenset, set, list, dict, re.Pattern)


def put(module: ModuleType, tree: ast.Module, *, is_in_function: bool) -> None:
    """Functions keep their identity and get the changed code; plain values of the module are replaced."""
    changed = ModuleType(module.__name__)
    changed.__file__ = module.__file__
    exec(compile(tree, module.__file__ or "", "exec"), changed.__dict__)
    _put_members(module, module.__name__, vars(module), vars(changed))
    if not is_in_function:
        _put_values(module, vars(changed))
    for value in [*vars(module).values()]:
        if hasattr(value, "cache_clear"):
            value.cache_clear()


def _put_members(owner: Any, module: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    for name, value in [*new.items()]:
        present = old.get(name)
        if isinstance(value, type) and isinstance(present, type):
            if value.__module__ == module and value is not present:
                _put_members(present, module, vars(present), vars(value))
            continue
        functions = _functions(present, module)
        for function, other in zip(functions, _functions(value, module), strict=False):
            if not _put_code(function, other):
                setattr(owner, name, value)


def _put_code(function: FunctionType, other: FunctionType) -> bool:
    """False if they differ in what they share with the function around them."""
    try:
        function.__code__ = other.__code__
    except ValueError:
        return False
    function.__defaults__, function.__kwdefaults__ = other.__defaults__, other.__kwdefaults__
    return True


def _functions(value: Any, module: str) -> list[FunctionType]:
    if isinstance(value, property):
        found = [value.fget, value.fset]
    elif isinstance(value, classmethod | staticmethod):
        found = [value.__func__]
    else:
        found = [value]
    return [
        function
        for function in map(_innermost, found)
        if isinstance(function, FunctionType) and function.__module__ == module
    ]


def _innermost(value: Any) -> Any:
    while isinstance(inner := getattr(value, "__wrapped__", None), FunctionType):
        value = inner
    return value


def _put_values(module: ModuleType, new: Mapping[str, Any]) -> None:
    present = vars(module)
    for name, value in [*new.items()]:
        if isinstance(value, _DATA) and name in present and not name.startswith("__"):
            with suppress(Exception):
                if value != present[name]:
                    present[name] = value
