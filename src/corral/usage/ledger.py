"""Adds up what requests use, in memory, and has a thread of its own write it down within a second.

Nothing of the database is on the way of a request. While it cannot be written, because the disk is full or another
program holds it, the sums stay in memory and are tried again; nothing is deleted.
"""

from __future__ import annotations

import datetime
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from corral.database import DatabaseError
from corral.usage.file import UsageFile
from corral.usage.rows import DAY_S, FIGURES, OTHER, Place, Question, Sums, day_of

_log = logging.getLogger("corral.usage")
# With what writing takes, less than the second that a crash may cost.
_DELAY_S = 0.5
_FIRST_RETRY_S, _MAX_RETRY_S = 1.0, 30.0
_JOIN_S = 5.0
# Rows are bounded: models of a day beyond these count as one, and so do all that wait for a broken database.
_MAX_MODELS = 500
_MAX_WAITING = 20_000


@dataclass(frozen=True, slots=True)
class Use:
    """One request that was answered. Counts in tokens; `model` is empty unless one was granted to it."""

    key: str
    model: str
    surface: str
    is_error: bool = False
    is_cancelled: bool = False
    prompt: int = 0
    cached: int = 0
    generated: int = 0
    drafted: int = 0
    ms: float = 0.0


class UsageLedger:
    """`note` is for the event loop and takes microseconds; the rest blocks, and any thread may call it.

    `is_failing`: the file cannot be written at present.

    `keep_days`: older rows are deleted (0: none is).
    """

    def __init__(
        self,
        path: Path,
        *,
        keep_days: int = 0,
        clock: Callable[[], float] = time.time,
        delay_s: float = _DELAY_S,
        retry_s: float = _FIRST_RETRY_S,
    ) -> None:
        self._file = UsageFile(path)
        self._keep_days = keep_days
        self._clock = clock
        self._delay_s = delay_s
        self._retry_s = retry_s
        self._day_number, self._day = -1, ""
        self._models: set[str] = set()
        self._rows: dict[Place, Sums] = {}
        # For the rows in memory, and for the file; whoever needs both takes that of the file first.
        self._rows_lock = threading.Lock()
        self._file_lock = threading.Lock()
        self._noted = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self.is_failing = False
        self._cleared_day = ""

    def note(self, use: Use) -> None:
        """Count a request."""
        day = self._today()
        model = self._bounded(use.model)
        place = (day, use.key, model, use.surface)
        with self._rows_lock:
            sums = self._rows.get(place)
            if sums is None:
                sums = self._begin(place)
            sums[0] += 1
            sums[1] += use.is_error
            sums[2] += use.is_cancelled
            sums[3] += use.prompt
            sums[4] += use.cached
            sums[5] += use.generated
            sums[6] += use.drafted
            sums[7] += use.ms
        if not self._noted.is_set():
            self._noted.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="usage", daemon=True)
                self._thread.start()

    def sums(self, question: Question) -> dict[Place, Sums]:
        """What was asked for, with what is not written down yet.

        Raises:
            DatabaseError
            InvalidRequestError: the answer would be too long.
        """
        with self._file_lock:
            found = self._file.sums(question)
            with self._rows_lock:
                waiting = [(place, [*sums]) for place, sums in self._rows.items()]
        for place, sums in waiting:
            if question.holds(place):
                _add(found, question.group_of(place), sums)
        return found

    def flush(self) -> bool:
        """Write down what is in memory; False if that cannot be, for a reason that the log has."""
        with self._file_lock:
            with self._rows_lock:
                rows, self._rows = self._rows, {}
            if not rows:
                return True
            try:
                self._file.add(rows, oldest=self._oldest())
            except Exception as exc:  # whatever it is, counts are not lost for it
                self._keep(rows)
                self._report(exc)
                return False
            self._cleared_day = self._day
        if self.is_failing:
            self.is_failing = False
            _log.info("usage is written again")
        return True

    def close(self) -> None:
        """Write down the rest."""
        self._closing.set()
        self._noted.set()
        if self._thread is not None:
            self._thread.join(_JOIN_S)
        if not self.flush():
            count = sum(int(sums[0]) for sums in self._rows.values())
            _log.error("the usage of %d requests is lost", count)
        self._file.close()

    def _run(self) -> None:
        wait_s = self._retry_s
        while not self._closing.is_set():
            self._noted.wait()
            self._closing.wait(self._delay_s)
            self._noted.clear()
            while not self.flush():
                # What came meanwhile is tried with it.
                if self._closing.wait(wait_s):
                    return
                wait_s = min(2 * wait_s, _MAX_RETRY_S)
            wait_s = self._retry_s

    def _today(self) -> str:
        now_s = self._clock()
        if (number := int(now_s // DAY_S)) != self._day_number:
            self._day_number, self._day = number, day_of(now_s)
            self._models.clear()
        return self._day

    def _bounded(self, model: str) -> str:
        if model in self._models or not model:
            return model
        if len(self._models) >= _MAX_MODELS:
            return OTHER
        self._models.add(model)
        return model

    def _begin(self, place: Place) -> Sums:
        if len(self._rows) >= _MAX_WAITING:
            place = (place[0], place[1], OTHER, place[3])
        return self._rows.setdefault(place, [0] * len(FIGURES))

    def _keep(self, rows: dict[Place, Sums]) -> None:
        with self._rows_lock:
            for place, sums in rows.items():
                _add(self._rows, place, sums)

    def _oldest(self) -> str:
        """The first day that is kept, once a day; else an empty text."""
        if not self._keep_days or self._cleared_day == self._day:
            return ""
        today = datetime.date.fromisoformat(self._day)
        days = min(self._keep_days, today.toordinal()) - 1
        return (today - datetime.timedelta(days=days)).isoformat()

    def _report(self, exc: Exception) -> None:
        """Once for as long as it lasts."""
        if not self.is_failing:
            self.is_failing = True
            reason = f"{exc}; {exc.hint}" if isinstance(exc, DatabaseError) else repr(exc)
            _log.warning("usage is kept in memory until it can be written: %s", reason)


def _add(rows: dict[Place, Sums], place: Place, sums: Sums) -> None:
    if (found := rows.get(place)) is None:
        rows[place] = [*sums]
    else:
        found[:] = [a + b for a, b in zip(found, sums, strict=True)]
