"""Patterns of model names, as keys have them: part by part, with `*`, `?` and `[...]`, whatever the letter case.

`*` never crosses a separator, so `qwen*` does not reach `qwen.example.com/someone/qwen`. A part that is left out is
that of a name as people type it, but for the tag: without one all tags match. `*` alone matches every model.
"""

from __future__ import annotations

import re
from fnmatch import translate
from functools import lru_cache

from corral.errors import InvalidRequestError
from corral.names import DEFAULT_HOST, DEFAULT_NAMESPACE, ModelName

_MAX_CHARS = 200
_PATTERN = re.compile(r"[A-Za-z0-9_.:/*?\[\]!-]+", re.ASCII)
ALL = "*"


def check_glob(pattern: str) -> str:
    """The pattern.

    Raises:
        InvalidRequestError: it can match no model.
    """
    parts = _parts(pattern)
    if len(pattern) > _MAX_CHARS or not _PATTERN.fullmatch(pattern) or not all(parts) or len(parts) != 4:
        raise InvalidRequestError(
            f"{pattern[:_MAX_CHARS]!r} is not a pattern of model names",
            hint='write names with "*" for any characters, such as "qwen3*", "team/*" or "hf.co/*"',
        )
    return pattern


def matches(patterns: tuple[str, ...], name: ModelName) -> bool:
    """Whether a model has a name that one of the patterns allows."""
    return any(_matches(pattern, name) for pattern in patterns)


@lru_cache(maxsize=4096)
def _matches(pattern: str, name: ModelName) -> bool:
    return pattern == ALL or all(
        rule.match(part.lower()) is not None
        for rule, part in zip(_compiled(pattern), name.path_parts(), strict=True)
    )


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(translate(part.lower())) for part in _parts(pattern))


def _parts(pattern: str) -> tuple[str, ...]:
    """Host, namespace, model and tag; more or fewer parts if it is not a pattern."""
    untagged, tag = pattern, "*"
    if pattern.rfind(":") > pattern.rfind("/"):
        untagged, _, tag = pattern.rpartition(":")
    parts = untagged.split("/")
    if len(parts) == 2 and ("." in parts[0] or ":" in parts[0]):
        parts.insert(1, "*")  # no namespace has these characters: it is a host
    return (*(DEFAULT_HOST, DEFAULT_NAMESPACE)[: max(3 - len(parts), 0)], *parts, tag)
