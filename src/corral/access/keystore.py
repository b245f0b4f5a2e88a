"""Makes, lists, rotates and revokes keys in the database. Everything blocks on the disk; any thread may call it."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from corral.access.database import KEYS
from corral.access.keys import Key, KeyOrder
from corral.access.secret import digest_of, new_id, new_secret
from corral.database import open_database, transaction
from corral.errors import CorralError, InvalidRequestError
from corral.homefolder import home_folder

MAX_KEYS = 1000
# How long the old text of a rotated key holds, so that its users can change over.
DEFAULT_GRACE_NS = 24 * 3600 * 1_000_000_000
_COLUMNS = ", ".join(field.name for field in fields(Key))
_MARKS = ", ".join("?" for _ in fields(Key))


class KeyNotFoundError(CorralError):
    """No key has this id or name."""

    def __init__(self, wanted: str) -> None:
        super().__init__(f"there is no API key {wanted!r}", hint="corral key list shows the keys")


def default_database() -> Path:
    """The file that is used unless a setting names another one."""
    return home_folder() / "corral.sqlite3"


def read_keys(connection: sqlite3.Connection) -> list[Key]:
    """All keys, revoked ones too, oldest first."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM keys ORDER BY created_ns, id").fetchall()
    return [_from_row(row) for row in rows]


class KeyStore:
    """The keys of one file, which is made by the first change."""

    def __init__(self, path: Path, *, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self.path = path
        self._clock_ns = clock_ns

    def all_keys(self) -> list[Key]:
        """All keys, revoked ones too, oldest first.

        Raises:
            DatabaseError
        """
        if not self.path.exists():
            return []
        with self._open() as connection:
            return read_keys(connection)

    def find(self, wanted: str) -> Key:
        """A key by its id, or by its name where one key in use has it.

        Raises:
            KeyNotFoundError, DatabaseError
            InvalidRequestError: several keys have the name.
        """
        return _choose(self.all_keys(), wanted)

    def create(self, order: KeyOrder) -> tuple[Key, str]:
        """A new key, and its text, which nobody can find out later.

        Raises:
            InvalidRequestError: there are too many keys.
            DatabaseError
        """
        now_ns = self._clock_ns()
        with self._open() as connection, transaction(connection):
            taken = {key.id for key in read_keys(connection)}
            if len(taken) >= MAX_KEYS:
                raise InvalidRequestError(f"there are {MAX_KEYS} API keys already, which is the most")
            key_id = next(made for made in iter(new_id, "") if made not in taken)
            text = new_secret(key_id)
            key = Key(
                id=key_id,
                name=order.name,
                digest=digest_of(text),
                scopes=order.scopes,
                models=order.models,
                created_ns=now_ns,
                expires_ns=now_ns + order.lifetime_ns if order.lifetime_ns else 0,
                note=order.note,
                priority=order.priority,
                **asdict(order.limits),
            )
            _write(connection, key)
        return key, text

    def rotate(self, wanted: str, grace_ns: int = DEFAULT_GRACE_NS) -> tuple[Key, str]:
        """A new text for a key; the old one holds for a while.

        Raises:
            KeyNotFoundError, DatabaseError
            InvalidRequestError: the key was revoked, or several have the name.
        """
        now_ns = self._clock_ns()
        with self._change(wanted) as (connection, key):
            if key.disabled_ns:
                raise InvalidRequestError(f"the API key {key.id} is revoked: make a new one")
            text = new_secret(key.id)
            is_over = 0 < key.expires_ns <= now_ns
            key = replace(
                key,
                digest=digest_of(text),
                old_digest=key.digest if grace_ns and not is_over else b"",
                old_until_ns=now_ns + grace_ns if grace_ns and not is_over else 0,
            )
            _write(connection, key)
        return key, text

    def revoke(self, wanted: str) -> Key:
        """End a key. It stays in the list, and a server that had keys never becomes open by this.

        Raises:
            KeyNotFoundError, DatabaseError
            InvalidRequestError: several keys have the name.
        """
        with self._change(wanted) as (connection, key):
            if not key.disabled_ns:
                key = replace(key, disabled_ns=self._clock_ns(), old_digest=b"", old_until_ns=0)
                _write(connection, key)
        return key

    @contextmanager
    def _change(self, wanted: str) -> Iterator[tuple[sqlite3.Connection, Key]]:
        if not self.path.exists():
            raise KeyNotFoundError(wanted)
        with self._open() as connection, transaction(connection):
            yield connection, _choose(read_keys(connection), wanted)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(open_database(self.path, KEYS)) as connection:
            try:
                yield connection
            except sqlite3.Error as exc:
                raise KEYS.unusable(self.path, exc) from exc


def _choose(keys: list[Key], wanted: str) -> Key:
    if exact := [key for key in keys if key.id == wanted]:
        return exact[0]
    named = [key for key in keys if key.name == wanted]
    named = [key for key in named if not key.disabled_ns] or named
    if len(named) > 1:
        raise InvalidRequestError(
            f"several API keys have the name {wanted!r}", hint=f"ids: {', '.join(key.id for key in named)}"
        )
    if not named:
        raise KeyNotFoundError(wanted)
    return named[0]


def _write(connection: sqlite3.Connection, key: Key) -> None:
    values = [_to_column(getattr(key, field.name)) for field in fields(Key)]
    connection.execute(f"INSERT OR REPLACE INTO keys ({_COLUMNS}) VALUES ({_MARKS})", values)


def _to_column(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, tuple) else value


def _from_row(row: tuple[Any, ...]) -> Key:
    values = dict(zip((field.name for field in fields(Key)), row, strict=True))
    for name in ("scopes", "models"):
        if values[name] is not None:
            values[name] = tuple(json.loads(values[name]))
    return Key(**values)
