"""Responses that clients refer to later: on disk if they set `store`, else in memory for an hour.

SQLite blocks, so everything runs in a separate thread. Databases are opened on first use.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from corral.errors import StoreError
from corral.responses.sqlite import Item, KeptResponse, ResponsesDB

__all__ = ["ItemNotFoundError", "KeptResponse", "ResponseArchive", "ResponseNotFoundError"]

_log = logging.getLogger("corral.responses")
_RECENT_AGE_S = 3600
_RECENT_BYTES = 64 << 20
_T = TypeVar("_T")


class ResponseNotFoundError(StoreError):
    """The response is not stored, or an earlier one that it continues is gone."""

    def __init__(self, response_id: str) -> None:
        super().__init__(f"Response with id '{response_id}' not found.")
        self.response_id = response_id


class ItemNotFoundError(StoreError):
    """No stored response has this item."""

    def __init__(self, item_id: str) -> None:
        super().__init__(
            f"Item with id '{item_id}' not found. Items are not persisted when `store` is set to false."
            " Try again with `store` set to true, or remove this item from your input."
        )
        self.item_id = item_id


class ResponseArchive:
    """Asynchronous access to both databases.

    `max_bytes` bounds each of them; what is kept in memory is at most 64 MiB besides.
    """

    def __init__(self, path: Path, *, max_age_s: int, max_bytes: int) -> None:
        self._path = path
        self._max_age_s = max_age_s
        self._max_bytes = max_bytes
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="responses")
        self._recent_db: ResponsesDB | None = None
        self._lasting_db: ResponsesDB | None = None
        self._is_closed = False

    async def save(self, response: KeptResponse, *, is_lasting: bool) -> bool:
        """Store a response; returns whether it is stored. On disk its whole conversation is, and survives a crash."""
        try:
            return await self._run(lambda: self._save(response, is_lasting=is_lasting))
        except StoreError as exc:
            _log.error("a response was not stored id=%s: %s", response.id, exc)
            return False

    async def find(self, response_id: str, owner: str = "") -> KeptResponse:
        """Raises ResponseNotFoundError."""
        return await self._run(lambda: self._find(response_id, owner))

    async def has(self, response_id: str, owner: str = "") -> bool:
        """Whether a response is stored."""
        try:
            await self.find(response_id, owner)
        except ResponseNotFoundError:
            return False
        return True

    async def history(self, response_id: str, owner: str = "") -> list[Item]:
        """Input and output of a response and of all responses that it continues, oldest first.

        Raises:
            ResponseNotFoundError
        """

        def read() -> list[Item]:
            line = [self._find(earlier_id, owner) for earlier_id in self._line(response_id, owner)]
            return [item for response in line for item in (*response.input, *response.output)]

        return await self._run(read)

    async def find_items(self, ids: Sequence[str], owner: str = "") -> list[Item]:
        """Raises ItemNotFoundError."""
        return await self._run(lambda: [self._find_item(item_id, owner) for item_id in ids])

    async def delete(self, response_id: str, owner: str = "") -> None:
        """Raises ResponseNotFoundError."""

        def delete() -> None:
            # From both: a conversation may have been copied to disk.
            deleted = [db.delete(response_id, owner) for db in self._databases()]
            if not any(deleted):
                raise ResponseNotFoundError(response_id)

        await self._run(delete)

    def close(self) -> None:
        """End the thread after the current work."""
        if self._is_closed:
            return
        self._is_closed = True

        def close() -> None:
            for db in (self._recent_db, self._lasting_db):
                if db is not None:
                    db.close()

        self._thread.submit(close)
        self._thread.shutdown(wait=True)

    async def _run(self, work: Callable[[], _T]) -> _T:
        def guarded() -> _T:
            try:
                return work()
            except (sqlite3.Error, OSError) as exc:
                _log.warning("stored responses are not available path=%s: %s", self._path, exc)
                raise StoreError(
                    "stored responses are not available",
                    hint="the server's log has the reason; CORRAL_RESPONSES_DB names the file",
                ) from exc

        return await asyncio.get_running_loop().run_in_executor(self._thread, guarded)

    @property
    def _recent(self) -> ResponsesDB:
        if self._recent_db is None:
            most = min(_RECENT_BYTES, self._max_bytes)
            self._recent_db = ResponsesDB(None, max_age_s=_RECENT_AGE_S, max_bytes=most)
        return self._recent_db

    @property
    def _lasting(self) -> ResponsesDB:
        if self._lasting_db is None:
            self._lasting_db = ResponsesDB(self._path, max_age_s=self._max_age_s, max_bytes=self._max_bytes)
        return self._lasting_db

    def _databases(self) -> list[ResponsesDB]:
        """The databases that may contain something; reading does not create the file."""
        has_file = self._lasting_db is not None or self._path.exists()
        return [self._recent, self._lasting] if has_file else [self._recent]

    def _find(self, response_id: str, owner: str) -> KeptResponse:
        found = (db.load(response_id, owner) for db in self._databases())
        if response := next((response for response in found if response is not None), None):
            return response
        raise ResponseNotFoundError(response_id)

    def _find_item(self, item_id: str, owner: str) -> Item:
        found = (db.find_item(item_id, owner) for db in self._databases())
        if item := next((item for item in found if item is not None), None):
            return item
        raise ItemNotFoundError(item_id)

    def _line(self, response_id: str, owner: str) -> list[str]:
        """The ids of a response and of its predecessors, oldest first."""
        line: list[str] = []
        while response_id:
            line.append(response_id)
            found = (db.previous_id(response_id, owner) for db in self._databases())
            previous_id = next((previous_id for previous_id in found if previous_id is not None), None)
            if previous_id is None:
                raise ResponseNotFoundError(response_id)
            response_id = previous_id
        return line[::-1]

    def _save(self, response: KeptResponse, *, is_lasting: bool) -> bool:
        owner = response.owner
        earlier = self._line(response.previous_id, owner)
        for db in self._databases():
            db.save([], earlier)
        if not is_lasting:
            return self._recent.save([response], [])
        missing = [
            self._find(earlier_id, owner)
            for earlier_id in earlier
            if self._lasting.previous_id(earlier_id, owner) is None
        ]
        return self._lasting.save([*missing, response], [])
