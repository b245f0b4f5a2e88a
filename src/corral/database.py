"""SQLite files of Corral: a write-ahead log, readable by their owner alone, strict tables, numbered schemas."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from corral.disk import make_folders
from corral.errors import StoreError

BUSY_TIMEOUT_S = 10.0
# Where locks do not hold between machines, and the log's shared memory does not work.
_NETWORK = frozenset(
    "9p afs afpfs ceph cifs davfs fuse.glusterfs fuse.rclone fuse.s3fs fuse.sshfs glusterfs gpfs lustre nfs nfs4 smb2"
    " smb3 smbfs webdav".split()
)


class DatabaseError(StoreError):
    """A database cannot be used; the text names the file and the reason."""


@dataclass(frozen=True, slots=True)
class Schema:
    """What a file holds. `what` names it in errors; `setting` is the variable with its path, `advice` another way.

    Each of the `migrations` brings a database from the version of its place to the next one, and is never changed
    once it was released. `synchronous`: FULL, so that what was committed survives a power cut; NORMAL loses the last
    moments then, and waits for the disk far less often.
    """

    what: str
    setting: str
    advice: str
    migrations: tuple[tuple[str, ...], ...]
    synchronous: Literal["FULL", "NORMAL"] = "FULL"

    def unusable(self, path: Path, exc: Exception) -> DatabaseError:
        """The error for a file that cannot be used."""
        reason = getattr(exc, "strerror", None) or str(exc)
        return DatabaseError(
            f"{self.what} {path} cannot be used: {reason.lower()}",
            hint=f"set {self.setting} to another file, or {self.advice}",
        )


def open_database(
    path: Path, schema: Schema, *, timeout_s: float = BUSY_TIMEOUT_S, network: frozenset[str] = _NETWORK
) -> sqlite3.Connection:
    """Open a database, make it if it does not exist, and bring it up to date. Blocks.

    `timeout_s`: how long to wait for another process that writes.

    Raises:
        DatabaseError
    """
    try:
        make_folders(path.parent)
        if (kind := filesystem_of(path.parent)) in network:
            raise DatabaseError(
                f"{path} is on a network file system ({kind}), where {schema.what} is not safe",
                hint=f"set {schema.setting} to a file on a local disk",
            )
        if path.is_symlink():
            raise OSError("it is a symbolic link")
        # A file that exists is never opened but by SQLite: closing it would release the locks that this process has.
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        path.chmod(0o600)  # SQLite gives the files beside it the same mode
        return _connect(path, schema, timeout_s)
    except (sqlite3.Error, OSError) as exc:
        raise schema.unusable(path, exc) from exc


def _connect(path: Path, schema: Schema, timeout_s: float) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=timeout_s, isolation_level=None, check_same_thread=False)
    try:
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise sqlite3.OperationalError("its file system does not support a write-ahead log")
        connection.execute(f"PRAGMA synchronous = {schema.synchronous}")
        _migrate(connection, schema.migrations)
    except BaseException:
        connection.close()
        raise
    return connection


def _migrate(connection: sqlite3.Connection, migrations: tuple[tuple[str, ...], ...]) -> None:
    while (version := connection.execute("PRAGMA user_version").fetchone()[0]) < len(migrations):
        with transaction(connection):
            # Another process may have done it while this one waited.
            if connection.execute("PRAGMA user_version").fetchone()[0] == version:
                for statement in migrations[version]:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {version + 1}")
    if version > len(migrations):
        raise sqlite3.DatabaseError(f"it was made by a later version of Corral (schema {version})")


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing, and alone. A commit that fails, for want of space for one, leaves nothing either."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite has rolled back by itself where the disk is full
            connection.execute("ROLLBACK")
        raise


def filesystem_of(folder: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str:
    """The kind of file system that a folder is on, as Linux calls it; empty where that is not known."""
    try:
        lines = mounts.read_text(errors="replace").splitlines()
        wanted = os.path.realpath(folder)
    except OSError:
        return ""
    best, kind = "", ""
    for line in lines:
        head, _, tail = line.partition(" - ")
        fields, rest = head.split(), tail.split()
        if len(fields) < 5 or not rest:
            continue
        point = fields[4].encode().decode("unicode_escape")
        is_above = wanted == point or wanted.startswith(point.rstrip("/") + "/")
        if is_above and len(point) >= len(best):
            best, kind = point, rest[0]
    return kind
