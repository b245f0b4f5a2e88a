"""What a row of the ledger says, and questions about rows. Pure."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from typing import TypeAlias

from corral.errors import InvalidModelNameError, InvalidRequestError
from corral.names import ModelName

# What rows are sorted by: a day in UTC (`2026-11-30`), the id of an API key (empty: none), the name of a model
# (empty: none was granted), and the name of an API.
PLACES = ("day", "key", "model", "surface")
# What is summed up: tokens but for the first three and the last. `cancelled`: the client left before the end.
FIGURES = ("requests", "errors", "cancelled", "prompt", "cached", "generated", "drafted", "ms")
Place: TypeAlias = tuple[str, ...]
Sums: TypeAlias = list[float]
# Models beyond the bound of a day.
OTHER = "other"
MAX_ROWS = 100_000
DAY_S = 86_400
_SPAN = re.compile(r"([1-9]\d{0,5})([dw])", re.ASCII)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Question:
    """Rows from one day to another, both included, summed by some of `PLACES`; empty texts do not restrict.

    `key`: None is every key, an empty text those who had none.
    """

    by: tuple[str, ...] = ("day",)
    since: str = ""
    until: str = ""
    key: str | None = None
    model: str = ""
    surface: str = ""

    def holds(self, place: Place) -> bool:
        """Whether a row at a place (one of all four) is asked for."""
        day, key, model, surface = place
        return (
            (not self.since or self.since <= day)
            and (not self.until or day <= self.until)
            and (self.key is None or key == self.key)
            and (not self.model or model.lower() == self.model.lower())
            and (not self.surface or surface == self.surface)
        )

    def group_of(self, place: Place) -> Place:
        """Where a row is added up."""
        return tuple(place[PLACES.index(name)] for name in self.by)


def day_of(time_s: float) -> str:
    """The day of a Unix time, in UTC."""
    return datetime.datetime.fromtimestamp(time_s, datetime.UTC).date().isoformat()


def read_groups(text: str) -> tuple[str, ...]:
    """What to sum by, from names between commas.

    Raises:
        InvalidRequestError
    """
    names = tuple(dict.fromkeys(name.strip().lower() for name in text.split(",") if name.strip()))
    if not names or (wrong := [name for name in names if name not in PLACES]):
        shown = repr(wrong[0]) if names else "nothing"
        raise InvalidRequestError(
            f"usage cannot be shown by {shown}", hint=f"by takes {', '.join(PLACES)}, with commas between"
        )
    return names


def read_day(text: str, today: datetime.date) -> str:
    """A day: `2026-11-30`, `today`, `yesterday`, `7d` (the last seven days, today included), `4w`; `all` is empty.

    Raises:
        InvalidRequestError
    """
    wanted = text.strip().lower()
    if wanted == "all":
        return ""
    if wanted in ("today", "yesterday"):
        return (today - datetime.timedelta(days=wanted == "yesterday")).isoformat()
    if match := _SPAN.fullmatch(wanted):
        days = int(match[1]) * (7 if match[2] == "w" else 1) - 1
        return (today - datetime.timedelta(days=min(days, today.toordinal() - 1))).isoformat()
    try:
        if _DATE.fullmatch(wanted):
            return datetime.date.fromisoformat(wanted).isoformat()
        if wanted[10:11] == "t":  # a time: its day in UTC
            moment = datetime.datetime.fromisoformat(text.strip())
            return (moment if moment.tzinfo is None else moment.astimezone(datetime.UTC)).date().isoformat()
    except (ValueError, OverflowError):
        pass
    raise InvalidRequestError(
        f"{text!r} is not a day",
        hint="write a date as in 2026-11-30, today, yesterday, all, or 7d for the last seven days",
    )


def read_model(text: str) -> str:
    """The name of a model as rows have it.

    Raises:
        InvalidRequestError
    """
    if text == OTHER:
        return OTHER
    try:
        return ModelName.parse(text).short()
    except InvalidModelNameError:
        raise InvalidRequestError(f"{text!r} is not the name of a model") from None
