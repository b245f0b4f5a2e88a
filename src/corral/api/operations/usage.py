"""The handler of `/api/usage`: how much was used, as JSON or CSV."""

from __future__ import annotations

import asyncio
import csv
import datetime
import io
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs

from corral import caller
from corral.api.http.exchange import JSON_UTF8, Exchange
from corral.errors import InvalidRequestError
from corral.golang.json import encode
from corral.usage.ledger import UsageLedger
from corral.usage.rows import FIGURES, Place, Question, Sums, read_day, read_groups, read_model

CSV = "text/csv; charset=utf-8"
# The names of figures on the wire.
COLUMNS = {
    "requests": "requests",
    "errors": "errors",
    "cancelled": "cancelled",
    "prompt": "prompt_tokens",
    "cached": "cached_tokens",
    "generated": "generated_tokens",
    "drafted": "drafted_tokens",
    "ms": "ms",
}
assert tuple(COLUMNS) == FIGURES
_PARAMETERS = ("since", "until", "by", "key", "model", "surface", "format")
# Other names for the days.
_SYNONYMS = {"from": "since", "to": "until"}
_MAX_QUERY_BYTES = 4096
# Spreadsheets take cells that begin so for formulas.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class UsageHandler:
    """A key sees its own rows; one with the scope admin sees all. `names` gives the names of keys by their ids."""

    def __init__(self, ledger: UsageLedger, names: Callable[[], Mapping[str, str]]) -> None:
        self._ledger = ledger
        self._names = names

    async def get(self, exchange: Exchange) -> None:
        wanted = _parameters(exchange.query)
        question = _question(wanted)
        is_csv = _is_csv(wanted.get("format", ""), exchange.header(b"accept"))
        names = self._names() if "key" in question.by else {}
        body = await asyncio.to_thread(self._answer, question, names, is_csv=is_csv)
        await exchange.respond(200, body, CSV if is_csv else JSON_UTF8, [(b"cache-control", b"no-store")])

    def _answer(self, question: Question, names: Mapping[str, str], *, is_csv: bool) -> bytes:
        found = sorted(self._ledger.sums(question).items())
        rows = [_row(question, place, sums, names) for place, sums in found]
        if is_csv:
            return _csv(rows, question)
        total = [sum(column) for column in zip(*(sums for _, sums in found), strict=True)] or [0] * len(
            FIGURES
        )
        answer = {"since": question.since, "until": question.until, "by": list(question.by)}
        return encode({**answer, "usage": rows, "total": _figures(total)})


def _parameters(query: bytes) -> dict[str, str]:
    """Raises InvalidRequestError: a parameter that does not exist, or that the query has twice."""
    if len(query) > _MAX_QUERY_BYTES:
        raise InvalidRequestError(f"the query is longer than {_MAX_QUERY_BYTES} bytes")
    found: dict[str, str] = {}
    for name, given in parse_qs(query.decode("latin-1"), keep_blank_values=True).items():
        known = _SYNONYMS.get(name, name)
        if known not in _PARAMETERS:
            raise InvalidRequestError(
                f"unknown parameter {name!r}", hint=f"usage takes {', '.join(_PARAMETERS)}"
            )
        if len(given) > 1 or known in found:
            raise InvalidRequestError(f"{known} is given more than once")
        found[known] = given[0]
    return found


def _question(wanted: dict[str, str]) -> Question:
    """Raises InvalidRequestError."""
    who = caller.current()
    key = wanted.get("key")
    if "admin" not in who.scopes or who.models is not None:
        if key is not None and key != who.key_id:
            raise caller.missing_scope("admin", "see the usage of others")
        key = who.key_id
    today = datetime.datetime.now(datetime.UTC).date()
    since, until = (read_day(wanted[name], today) if wanted.get(name) else "" for name in ("since", "until"))
    if since and until and until < since:
        raise InvalidRequestError(f"until ({until}) is before since ({since})")
    return Question(
        read_groups(wanted.get("by") or "day"),
        since,
        until,
        key,
        read_model(wanted["model"]) if wanted.get("model") else "",
        wanted.get("surface", ""),
    )


def _is_csv(form: str, accept: str) -> bool:
    """Raises InvalidRequestError."""
    if form not in ("", "json", "csv"):
        raise InvalidRequestError(f"there is no format {form!r}", hint="format takes json and csv")
    return form == "csv" if form else "text/csv" in accept.lower()


def _row(question: Question, place: Place, sums: Sums, names: Mapping[str, str]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for group, value in zip(question.by, place, strict=True):
        row[group] = value
        if group == "key":
            row["key_name"] = names.get(value, "")
    return row | _figures(sums)


def _figures(sums: Sums) -> dict[str, Any]:
    return {
        COLUMNS[name]: round(value, 1) if name == "ms" else int(value)
        for name, value in zip(FIGURES, sums, strict=True)
    }


def _csv(rows: list[dict[str, Any]], question: Question) -> bytes:
    groups = [column for name in question.by for column in ((name, "key_name") if name == "key" else (name,))]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    columns = [*groups, *COLUMNS.values()]
    writer.writerow(columns)
    writer.writerows([_cell(row[column]) for column in columns] for row in rows)
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
