"""The ledger's database: one row for each day, key, model and API. Everything blocks; one thread at a time."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path

from corral.database import Schema, open_database, transaction
from corral.errors import InvalidRequestError
from corral.usage.rows import FIGURES, MAX_ROWS, Place, Question, Sums

USAGE = Schema(
    "the database of usage",
    "CORRAL_USAGE_DB",
    "CORRAL_USAGE=0 to record none",
    (
        (
            """
            CREATE TABLE usage (
                day TEXT NOT NULL,
                key TEXT NOT NULL,
                model TEXT NOT NULL,
                surface TEXT NOT NULL,
                requests INTEGER NOT NULL,
                errors INTEGER NOT NULL,
                cancelled INTEGER NOT NULL,
                prompt INTEGER NOT NULL,
                cached INTEGER NOT NULL,
                generated INTEGER NOT NULL,
                drafted INTEGER NOT NULL,
                ms REAL NOT NULL,
                PRIMARY KEY (day, key, model, surface)
            ) STRICT, WITHOUT ROWID
            """,
        ),
    ),
    # A write each half second must not wait for the disk; what a power cut may take are the last moments.
    "NORMAL",
)
_SUMS = ", ".join(f"sum({name})" for name in FIGURES)
# Several servers may write into one file.
_ADD = (
    f"INSERT INTO usage VALUES (?, ?, ?, ?, {', '.join('?' for _ in FIGURES)}) ON CONFLICT DO UPDATE SET "
    + ", ".join(f"{name} = {name} + excluded.{name}" for name in FIGURES)
)
_TIMEOUT_S = 2.0


class UsageFile:
    """Opened when it is first needed, and again after an error, or when another file is in its place."""

    def __init__(self, path: Path, *, timeout_s: float = _TIMEOUT_S) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._connection: sqlite3.Connection | None = None
        self._inode = -1

    def add(self, rows: Mapping[Place, Sums], *, oldest: str = "") -> None:
        """Add all rows or none. Rows of days before `oldest` are deleted.

        Raises:
            DatabaseError
        """
        with self._closed_on_error() as connection, transaction(connection):
            connection.executemany(_ADD, [(*place, *sums) for place, sums in rows.items()])
            if oldest:
                connection.execute("DELETE FROM usage WHERE day < ?", (oldest,))

    def sums(self, question: Question) -> dict[Place, Sums]:
        """What was asked for.

        Raises:
            DatabaseError
            InvalidRequestError: the answer would be too long.
        """
        if not self._path.exists():
            return {}
        groups = ", ".join(question.by)
        terms = (
            ("day >= ?", question.since or None),
            ("day <= ?", question.until or None),
            ("key = ?", question.key),
            ("model = ? COLLATE NOCASE", question.model or None),
            ("surface = ?", question.surface or None),
        )
        used = [(term, value) for term, value in terms if value is not None]
        where = f" WHERE {' AND '.join(term for term, _ in used)}" if used else ""
        with self._closed_on_error() as connection:
            found = connection.execute(
                f"SELECT {groups}, {_SUMS} FROM usage{where} GROUP BY {groups} LIMIT {MAX_ROWS + 1}",
                [value for _, value in used],
            ).fetchall()
        if len(found) > MAX_ROWS:
            raise InvalidRequestError(
                f"these are more than {MAX_ROWS} rows", hint="shorten the time with since, or sum by less"
            )
        count = len(question.by)
        return {row[:count]: list(row[count:]) for row in found}

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    @contextlib.contextmanager
    def _closed_on_error(self) -> Iterator[sqlite3.Connection]:
        try:
            yield self._open()
        except (sqlite3.Error, OSError) as exc:
            self.close()
            raise USAGE.unusable(self._path, exc) from exc
        except BaseException:
            self.close()
            raise

    def _open(self) -> sqlite3.Connection:
        """Whoever deletes or moves the file while the server runs must not make it write into nothing."""
        with contextlib.suppress(FileNotFoundError):
            if self._connection is not None and self._path.stat().st_ino == self._inode:
                return self._connection
        self.close()
        self._connection = open_database(self._path, USAGE, timeout_s=self._timeout_s)
        self._inode = self._path.stat().st_ino
        return self._connection
