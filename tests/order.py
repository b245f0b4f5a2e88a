"""The order of tests with several workers: the files that take longest begin first, so none is left at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

# The longest first. Only the time of a run depends on it: `./dev test --durations=0` shows the times.
_LONGEST = (
    "tests/cluster/ray/test_two_nodes.py",
    "tests/runner/engines/test_install.py",
    "tests/hostile/test_work.py",
    "tests/store/test_foreign_stores.py",
    "tests/cli/test_model_from_file.py",
    "tests/test_start.py",
    "tests/clients/test_openai_responses.py",
    "tests/cli/test_shells.py",
    "tests/cli/test_top.py",
    "tests/api/test_server.py",
    "tests/access/test_audit.py",
    "tests/cli/test_prompt.py",
    "tests/chat/templates/test_jinja_hostile.py",
    "tests/usage/test_over_http.py",
    "tests/store/test_served_stores.py",
    "tests/library/create/test_kills.py",
    "tests/access/test_deadlines.py",
    "tests/clients/test_keys_over_tls.py",
    "tests/weights/quantize/test_quantize.py",
    "tests/clients/test_tls_and_sockets.py",
    "tests/traces/test_traces.py",
    "tests/cluster/test_replicas_live.py",
    "tests/cli/test_launch.py",
    "tests/cli/test_create_command.py",
    "tests/registry/test_mirror.py",
    "tests/registry/test_variants.py",
    "tests/operations/test_tls.py",
    "tests/usage/test_ten_thousand.py",
    "tests/chat/grammar/test_random_schemas.py",
    "tests/operations/test_systemd.py",
    "tests/cluster/test_faults.py",
)


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
