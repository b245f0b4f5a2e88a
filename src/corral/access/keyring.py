"""The keys in memory, for every request, as they are in the database at this moment.

Another process may change the database, as `corral key` does. Every change is written to the log beside the file, so
as long as that has the same size and time, nothing has changed. Otherwise SQLite says whether something has
(`data_version`). Each request looks, so a revoked key is refused by the next one.
"""

from __future__ import annotations

import logging
import os
import secrets
import sqlite3
import time
from hmac import compare_digest
from pathlib import Path

from corral.access.database import KEYS
from corral.access.keys import Key
from corral.access.keystore import read_keys
from corral.access.secret import digest_of, id_of
from corral.caller import Caller
from corral.database import DatabaseError, open_database
from corral.logs import Sparing

_log = logging.getLogger("corral.access")
_problems = Sparing(_log, lines_per_minute=6)
# The event loop waits here, so not for long.
_TIMEOUT_S = 0.2
# How often another file in the place of the one that is open is looked for. Changes in the file are seen at once.
_LOOK_S = 1.0
# Two changes that are closer may have the same time: file systems have clocks as coarse as two seconds.
_SETTLED_NS = 3_000_000_000
_MAX_CALLERS = 1024
# The digest of no key.
_NOTHING = secrets.token_bytes(32)


class Keyring:
    """For one thread. A file that cannot be read later on leaves the keys as they were."""

    def __init__(self, path: Path, *, look_s: float = _LOOK_S) -> None:
        self._path = path
        self._look_s = look_s
        self._looked_s = 0.0
        self._connection: sqlite3.Connection | None = None
        self._inode = self._version = -1
        self._log = f"{path}-wal"
        # Size, time and inode of the log that SQLite was asked about, if they cannot stand for a later change.
        self._log_mark: tuple[int, int, int] | None = None
        self._had_keys = False
        self._keys: dict[str, Key] = {}
        self._callers: dict[tuple[str, str], Caller] = {}

    def load(self) -> None:
        """Read the keys for the first time.

        Raises:
            DatabaseError: the file exists, and cannot be read.
        """
        if self._path.exists():
            self._open()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @property
    def has_keys(self) -> bool:
        """Whether there has ever been a key: a server whose last one was revoked does not become open by that."""
        self._refresh()
        return self._had_keys

    def names(self) -> dict[str, str]:
        """The name of every key, revoked ones too, by its id."""
        self._refresh()
        return {key.id: key.name for key in self._keys.values()}

    def find(self, text: str, now_ns: int) -> Key | None:
        """The key with this text, expired or revoked as it may be. Takes as long for every text that is none."""
        self._refresh()
        digest = digest_of(text)
        key = self._keys.get(id_of(text))
        is_new = compare_digest(digest, _NOTHING if key is None else key.digest)
        has_old = key is not None and key.old_until_ns > now_ns
        is_old = compare_digest(digest, key.old_digest if key is not None and has_old else _NOTHING)
        return key if is_new or is_old else None

    def caller(self, key: Key, address: str) -> Caller:
        """Who a request with a key that was found comes from."""
        found = self._callers.get((key.id, address))
        if found is None:
            if len(self._callers) >= _MAX_CALLERS:
                self._callers.clear()
            found = self._callers[key.id, address] = key.caller(address)
        return found

    def _refresh(self) -> None:
        now_s = time.monotonic()
        if self._connection is None or now_s - self._looked_s >= self._look_s:
            self._looked_s = now_s
            # A disk that takes seconds to sync shows a change that long after its log was written.
            self._log_mark = None
            self._look()
        if self._connection is None or not self._may_have_changed():
            return
        try:
            if self._version != self._data_version():
                self._read()
        except sqlite3.Error as exc:
            self._log_mark = None
            _problems.write(logging.ERROR, "keys stay as they were: %s", exc)

    def _may_have_changed(self) -> bool:
        """Whether SQLite has to be asked, which costs twice as much as this look."""
        try:
            log = os.stat(self._log)  # noqa: PTH116 - the quickest way, for every request
        except OSError:
            return True
        mark = (log.st_size, log.st_mtime_ns, log.st_ino)
        if mark == self._log_mark:
            return False
        is_settled = time.time_ns() - log.st_mtime_ns > _SETTLED_NS
        self._log_mark = mark if is_settled else None
        return True

    def _look(self) -> None:
        """Open the file if there is one now, or another one in its place."""
        try:
            inode = self._path.stat().st_ino
        except FileNotFoundError:
            if self._keys:
                _problems.write(logging.ERROR, "%s is gone; the keys that were in it hold on", self._path)
            return
        except OSError as exc:
            _problems.write(logging.ERROR, "%s cannot be read, keys stay as they were: %s", self._path, exc)
            return
        try:
            if self._connection is None or inode != self._inode:
                self._open()
        except (sqlite3.Error, DatabaseError) as exc:
            _problems.write(logging.ERROR, "keys stay as they were: %s", exc)

    def _open(self) -> None:
        self.close()
        self._connection = open_database(self._path, KEYS, timeout_s=_TIMEOUT_S)
        self._inode = self._path.stat().st_ino
        self._read()

    def _read(self) -> None:
        assert self._connection is not None
        # Before the keys: a change in between is then seen by the next look.
        version = self._data_version()
        self._keys = {key.id: key for key in read_keys(self._connection)}
        self._callers.clear()
        self._version = version
        self._had_keys = self._had_keys or bool(self._keys)

    def _data_version(self) -> int:
        assert self._connection is not None
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        return int(version)
