"""Stored responses in one SQLite database: a file, or in memory. Everything blocks; one thread at a time.

A response row has the response object; its input and output are separate rows, in order, because continuations are
made from them. Every continuation updates `used_s` of all its predecessors, so a conversation in use never loses its
beginning to age.

A response belongs to the API key that made it: nobody else finds it. The owners are in a table of their own, which
versions that know nothing of keys leave alone.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corral.disk import make_folders

_log = logging.getLogger("corral.responses")
_SCHEMA_VERSION = 1
_BUSY_TIMEOUT_S = 10.0
_SCHEMA = """
PRAGMA auto_vacuum = INCREMENTAL;
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS responses (
    id TEXT PRIMARY KEY,
    previous_id TEXT NOT NULL,
    used_s INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    body TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS responses_by_use ON responses (used_s, size_bytes);
CREATE TABLE IF NOT EXISTS items (
    response_id TEXT NOT NULL REFERENCES responses (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    is_output INTEGER NOT NULL,
    id TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (response_id, position)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS items_by_id ON items (id);
PRAGMA user_version = 1;
COMMIT;
"""
_OWNERS = """
CREATE TABLE IF NOT EXISTS owners (
    response_id TEXT PRIMARY KEY REFERENCES responses (id) ON DELETE CASCADE,
    owner TEXT NOT NULL
) WITHOUT ROWID
"""
_IS_OWN = "coalesce((SELECT owner FROM owners WHERE response_id = responses.id), '') = ?"

Item = dict[str, Any]


@dataclass(frozen=True, slots=True)
class KeptResponse:
    """A response with its input. `previous_id` is empty at the start of a conversation.

    `owner` is the id of an API key, empty if it was made without one.
    """

    id: str
    previous_id: str
    body: Item
    input: tuple[Item, ...]
    output: tuple[Item, ...]
    owner: str = ""


class ResponsesDB:
    """One database; in memory if `path` is None."""

    def __init__(self, path: Path | None, *, max_age_s: int, max_bytes: int) -> None:
        self._max_age_s = max_age_s
        self._max_bytes = max_bytes
        self._connection = _open(path)

    def close(self) -> None:
        self._connection.close()

    def previous_id(self, response_id: str, owner: str) -> str | None:
        """The id of the previous response; None if the owner has no such response."""
        row = self._connection.execute(
            f"SELECT previous_id FROM responses WHERE id = ? AND used_s >= ? AND {_IS_OWN}",
            (response_id, int(time.time()) - self._max_age_s, owner),
        ).fetchone()
        return None if row is None else str(row[0])

    def load(self, response_id: str, owner: str) -> KeptResponse | None:
        row = self._connection.execute(
            f"SELECT previous_id, body FROM responses WHERE id = ? AND used_s >= ? AND {_IS_OWN}",
            (response_id, int(time.time()) - self._max_age_s, owner),
        ).fetchone()
        if row is None:
            return None
        items = self._connection.execute(
            "SELECT is_output, body FROM items WHERE response_id = ? ORDER BY position", (response_id,)
        ).fetchall()
        return KeptResponse(
            response_id,
            row[0],
            json.loads(row[1]),
            input=tuple(json.loads(body) for is_output, body in items if not is_output),
            output=tuple(json.loads(body) for is_output, body in items if is_output),
            owner=owner,
        )

    def find_item(self, item_id: str, owner: str) -> Item | None:
        row = self._connection.execute(
            "SELECT items.body FROM items JOIN responses ON responses.id = items.response_id"
            f" WHERE items.id = ? AND used_s >= ? AND {_IS_OWN} LIMIT 1",
            (item_id, int(time.time()) - self._max_age_s, owner),
        ).fetchone()
        return None if row is None else json.loads(row[0])

    def save(self, kept: list[KeptResponse], touched: list[str]) -> bool:
        """Store responses, all or none, and mark others as used; False if they exceed the limit of size.

        Raises:
            sqlite3.Error
        """
        rows = [_rows(response) for response in kept]
        if sum(size for _, size, _ in rows) > self._max_bytes or self._max_age_s <= 0:
            return False
        now_s = int(time.time())
        with self._transaction() as cursor:
            for response, (body, size, items) in zip(kept, rows, strict=True):
                cursor.execute(
                    "INSERT OR REPLACE INTO responses VALUES (?, ?, ?, ?, ?)",
                    (response.id, response.previous_id, now_s, size, body),
                )
                cursor.executemany("INSERT INTO items VALUES (?, ?, ?, ?, ?)", items)
                if response.owner:
                    cursor.execute("INSERT INTO owners VALUES (?, ?)", (response.id, response.owner))
            cursor.executemany(
                "UPDATE responses SET used_s = ? WHERE id = ?",
                [(now_s, response_id) for response_id in touched],
            )
            self._prune(cursor, now_s)
        self._connection.execute("PRAGMA incremental_vacuum").fetchall()
        return True

    def delete(self, response_id: str, owner: str) -> bool:
        """Delete a response; returns whether the owner had it. Its text is erased from all files of the database."""
        with self._transaction() as cursor:
            cursor.execute(f"DELETE FROM responses WHERE id = ? AND {_IS_OWN}", (response_id, owner))
            is_deleted = bool(cursor.rowcount)
        self._connection.execute("PRAGMA incremental_vacuum").fetchall()
        if is_deleted:
            # Until it is truncated, the write-ahead log still has what was overwritten in the file.
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return is_deleted

    def _prune(self, cursor: sqlite3.Cursor, now_s: int) -> None:
        """Delete what is too old, then the least recently used until the rest fits."""
        cursor.execute("DELETE FROM responses WHERE used_s < ?", (now_s - self._max_age_s,))
        (total,) = cursor.execute("SELECT total(size_bytes) FROM responses").fetchone()
        while total > self._max_bytes:
            response_id, size = cursor.execute(
                "SELECT id, size_bytes FROM responses ORDER BY used_s LIMIT 1"
            ).fetchone()
            cursor.execute("DELETE FROM responses WHERE id = ?", (response_id,))
            total -= size

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Cursor]:
        cursor = self._connection.cursor()
        cursor.execute("BEGIN IMMEDIATE")
        try:
            yield cursor
        except BaseException:
            cursor.execute("ROLLBACK")
            raise
        cursor.execute("COMMIT")


def _rows(response: KeptResponse) -> tuple[str, int, list[tuple[Any, ...]]]:
    body = _dump(response.body)
    size = len(body)
    items = []
    for position, item in enumerate((*response.input, *response.output)):
        text = _dump(item)
        size += len(text)
        is_output = position >= len(response.input)
        items.append((response.id, position, is_output, str(item.get("id", "")), text))
    return body, size, items


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))


def _open(path: Path | None) -> sqlite3.Connection:
    if path is None:
        return _connect(":memory:")
    make_folders(path.parent)
    try:
        return _connect_file(path)
    except sqlite3.OperationalError:  # locked, unreadable, no space: a new file would not help
        raise
    except sqlite3.DatabaseError as exc:
        aside = _free_name(path)
        _log.error(
            "kept responses cannot be read, starting anew file=%s kept_as=%s: %s", path, aside.name, exc
        )
        # The log goes along: it may hold the newest responses. It goes first, since SQLite deletes one that it finds
        # beside a new file.
        for suffix in ("-wal", "-shm", ""):
            with contextlib.suppress(FileNotFoundError):
                path.with_name(path.name + suffix).replace(aside.with_name(aside.name + suffix))
        return _connect_file(path)


def _free_name(path: Path) -> Path:
    """Where a file that cannot be read is kept: nothing that was put aside before is replaced."""
    stem = f"{path.name}.broken-{int(time.time())}"
    names = (stem, *(f"{stem}-{number}" for number in range(1, 1000)))
    return next(place for name in names if not (place := path.with_name(name)).exists())


def _connect_file(path: Path) -> sqlite3.Connection:
    # Conversations are private.
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    return _connect(str(path))


def _connect(name: str) -> sqlite3.Connection:
    connection = sqlite3.connect(name, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
    try:
        for pragma in ("foreign_keys = ON", "secure_delete = ON", "synchronous = NORMAL"):
            connection.execute(f"PRAGMA {pragma}")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > _SCHEMA_VERSION:
            raise sqlite3.DatabaseError(f"created by a later version ({version})")
        if version < _SCHEMA_VERSION:
            connection.executescript(_SCHEMA)
        connection.execute(_OWNERS)
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
    except BaseException:
        connection.close()
        raise
    return connection
