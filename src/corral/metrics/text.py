"""The text formats: Prometheus 0.0.4, and OpenMetrics 1.0.0 for those who accept it."""

from __future__ import annotations

from collections.abc import Iterable

from corral.metrics.instruments import Family

PLAIN = "text/plain; version=0.0.4; charset=utf-8"
OPEN = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def content_type(accept: str) -> str:
    """The format for an `Accept` header; the plain one unless OpenMetrics is named."""
    return OPEN if "application/openmetrics-text" in accept else PLAIN


def render(families: Iterable[Family], kind: str) -> str:
    """The whole answer, `kind` being one of the content types above."""
    is_open = kind == OPEN
    parts: list[str] = []
    for family in families:
        lines = list(family.lines())
        if not lines:
            continue
        # OpenMetrics names a counter without the end that its samples have.
        name = family.name.removesuffix("_total") if is_open and family.kind == "counter" else family.name
        parts += [f"# HELP {name} {_help(family.meaning)}\n# TYPE {name} {family.kind}\n", *lines]
    if is_open:
        parts.append("# EOF\n")
    return "".join(parts)


def _help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")
