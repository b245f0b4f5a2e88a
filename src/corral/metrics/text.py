"""The text formats: Prometheus 0.0.4, and OpenMetrics 1.0.0 for those who accept it."""

from __future__ import annotations

import io
from collections.abc import Iterable

from corral.metrics.instruments import Family

PLAIN = "text/plain; version=0.0.4; charset=utf-8"
OPEN = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def content_type(accept: str) -> str:
    """The format for an `Accept` header; the plain one unless OpenMetrics is named."""
    return OPEN if "application/openmetrics-text" in accept else PLAIN


def render(families: Iterable[Family], kind: str) -> bytes:
    """The whole answer, `kind` being one of the content types above.

    It is written piece by piece, so that each takes the memory of the one before: with the text of 100 models made as
    a whole and encoded then, new pages of memory cost more than the numbers.
    """
    is_open = kind == OPEN
    answer = io.BytesIO()
    for family in families:
        is_first = True
        for line in family.lines():
            if is_first:
                answer.write(_head(family, is_open=is_open).encode())
                is_first = False
            answer.write(line.encode())
    if is_open:
        answer.write(b"# EOF\n")
    return answer.getvalue()


def _head(family: Family, *, is_open: bool) -> str:
    # OpenMetrics names a counter without the end that its samples have.
    name = family.name.removesuffix("_total") if is_open and family.kind == "counter" else family.name
    return f"# HELP {name} {_help(family.meaning)}\n# TYPE {name} {family.kind}\n"


def _help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")
