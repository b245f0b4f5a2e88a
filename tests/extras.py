"""Packages of the `clients` extra: loaded at their first use, and tests without them skipped."""

from __future__ import annotations

import os
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest


class _Lazy:
    """Stands for a package, and imports it when something of it is asked for."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # pytest looks for marks of its own in everything that a module holds
            raise AttributeError(name)
        return getattr(import_module(self._name), name)


def lazily(name: str) -> Any:
    """A package whose import takes long. `import` it for the type checker as well."""
    need(name)
    return _Lazy(name)


def need(*packages: str) -> None:
    """Skip the tests of a module, or fail where everything has to run, if a package is not installed."""
    missing = [name for name in packages if find_spec(name) is None]
    if not missing:
        return
    reason = f"{', '.join(missing)} not installed: ./dev clients installs the clients extra"
    if os.environ.get("CORRAL_TEST_CLIENTS") == "required":
        raise ModuleNotFoundError(reason)
    pytest.skip(reason, allow_module_level=True)
