"""`${env:NAME}`: a value of the configuration file that comes from the environment, for secrets above all."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from corral.configfile.locate import Keys
from corral.configfile.problems import Reporter

_REFERENCE = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)\}")
_MARK = "${env:"


def with_environment(value: Any, keys: Keys, env: Mapping[str, str], reporter: Reporter) -> Any:
    """The value with every reference replaced. A reference is a whole string; parts of one are an error."""
    if isinstance(value, dict):
        return {key: with_environment(part, (*keys, key), env, reporter) for key, part in value.items()}
    if isinstance(value, list):
        return [with_environment(part, keys, env, reporter) for part in value]
    if not isinstance(value, str) or _MARK not in value:
        return value
    match = _REFERENCE.fullmatch(value)
    if match is None:
        reporter.report(keys, f"{value!r}: ${{env:NAME}} can only be a whole value, not a part of one")
        return ""
    if match[1] not in env:
        reporter.report(keys, f"the environment variable {match[1]} is not set")
        return ""
    return env[match[1]]
