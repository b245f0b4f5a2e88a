"""`doctor`: checks everything that a working server needs and says what to do. Changes nothing, needs no server."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import asdict

from corral.cli.doctor.machine_checks import (
    check_configuration,
    check_engine,
    check_environment,
    check_gpus,
    check_memory,
    check_proxies,
    check_same_store,
    check_server,
)
from corral.cli.doctor.store_checks import Finding, check_key, check_store
from corral.cli.frame.flags import Arguments
from corral.cli.terminal.json_output import print_json
from corral.cli.terminal.screen import RESET, has_colors, is_terminal, safe, terminal_size
from corral.config import Settings
from corral.errors import CorralError
from corral.registry.key import default_key_path

_COLORS = {"ok": "\x1b[32m", "warn": "\x1b[33m", "fail": "\x1b[31m"}
_INDENT = 17
_DEFAULT_REGISTRY = "https://registry.ollama.ai"


def doctor(arguments: Arguments) -> int:
    """The exit status is 1 if something fails; warnings do not count."""
    findings = []
    for finding in _look():
        findings.append(finding)
        if not arguments.has("json"):
            _print(finding)
    fail_count = sum(finding.level == "fail" for finding in findings)
    if arguments.has("json"):
        print_json({"ok": not fail_count, "checks": [asdict(finding) for finding in findings]})
    else:
        warn_count = sum(finding.level == "warn" for finding in findings)
        print(f"\n{_count(fail_count, 'failure')}, {_count(warn_count, 'warning')}")
    return 1 if fail_count else 0


def _look() -> Iterator[Finding]:
    settings = _settings()
    yield from check_server()
    yield from check_store(settings.models_dir)
    yield from check_same_store(settings.models_dir)
    yield from check_memory()
    yield from check_gpus(os.environ)
    yield from check_engine(os.environ)
    yield from check_proxies(os.environ, settings.registry or _DEFAULT_REGISTRY)
    yield from check_configuration(os.environ)
    yield from check_environment(os.environ)
    yield check_key(default_key_path())


def _settings() -> Settings:
    try:
        return Settings.load()
    except CorralError:  # reported by the check of the variables
        return Settings.from_env({k: v for k, v in os.environ.items() if k != "OLLAMA_ORIGINS"})


def _print(finding: Finding) -> None:
    color = _COLORS[finding.level] if has_colors(sys.stdout) else ""
    label = f"{color}{finding.level:<5}{RESET if color else ''} {finding.check:<10} "
    lines = [*_lines(finding.text), *_lines(finding.advice)]
    print(label + f"\n{'':<{_INDENT}}".join(lines), flush=True)


def _lines(text: str) -> list[str]:
    """Wrapped to the width of a terminal; one line elsewhere."""
    if not text:
        return []
    if not is_terminal(sys.stdout):
        return [text]
    width = max(terminal_size(sys.stdout)[0] - _INDENT, 30)
    return textwrap.wrap(safe(text), width, break_on_hyphens=False, break_long_words=False)


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"
