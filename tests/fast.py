"""Which tests are fast: the markers `process` and `slow`, and the option `--fast`, which leaves both out.

A test is marked `process` if it asks for a fixture that asks for `process`, or says so itself. With `--fast` a test
that starts a process without the marker fails, even if the code under test survives that.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# What Python reports (PEP 578) before it starts another process.
_STARTS = frozenset(
    {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.system", "pty.spawn"}
)
# Folders whose modules all need a server; to import what they import takes longer than the fast tests.
_SLOW_FOLDERS = ("clients", "parity", "web/browser")
_TESTS = Path(__file__).parent


class ProcessGuard:
    """Refuses to start processes while a test runs, and remembers what was tried."""

    def __init__(self) -> None:
        self.is_on = False
        self.tried: list[str] = []
        sys.addaudithook(self._audit)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.is_on and event in _STARTS:
            self.tried.append(f"{event} {arguments[0] if arguments else ''}".strip())
            raise RuntimeError(f"a fast test may not start a process: {self.tried[-1]}")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self) -> Iterator[None]:
        self.is_on = True
        try:
            return (yield)
        finally:
            self.is_on = False

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        self.tried.clear()
        result = yield
        if self.tried:
            pytest.fail(f"mark it `process`, it starts one: {', '.join(self.tried)}")
        return result


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fast", action="store_true", help="only tests that start no process and take no second"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "process: starts processes, as a server or an engine; added by fixtures"
    )
    config.addinivalue_line("markers", "slow: takes more than a second, all its cases together")
    if config.getoption("--fast"):
        config.pluginmanager.register(ProcessGuard(), "corral-process-guard")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    if config.getoption("--fast") and collection_path in {_TESTS / name for name in _SLOW_FOLDERS}:
        return True
    return None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and "process" in item.fixturenames:
            item.add_marker("process")
    if config.getoption("--fast"):
        slow = [
            item for item in items if item.get_closest_marker("process") or item.get_closest_marker("slow")
        ]
        chosen = set(slow)
        items[:] = [item for item in items if item not in chosen]
        config.hook.pytest_deselected(items=slow)


@pytest.fixture(scope="session")
def process() -> None:
    """Fixtures that start a process ask for this one."""
