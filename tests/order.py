"""The order of tests with several workers: the files that take longest begin first, so none is left at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

# The longest first. Only the time of a run depends on it: `./dev test --durations=0` shows the times.
_LONGEST = ("tests/cluster/ray/test_two_nodes.py",)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    """Sorting keeps the order of the rest, a random one too."""
    path = item.nodeid.partition("::")[0]
    return _LONGEST.index(path) if path in _LONGEST else len(_LONGEST)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How to see the same order again; the header that says so is left out with `-q`."""
    config = terminalreporter.config
    if config.pluginmanager.hasplugin("randomly"):
        terminalreporter.write_line(
            f"in random order: -p randomly --randomly-seed={config.getoption('randomly_seed')}"
        )
