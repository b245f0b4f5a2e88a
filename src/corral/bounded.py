"""A cache bounded by entries and bytes: the least recently used entry is dropped first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")


class BoundedCache(Generic[_Key, _Value]):
    """Thread-safe. An entry larger than the whole cache is not kept."""

    def __init__(self, *, max_entries: int, max_bytes: int) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._entries: OrderedDict[_Key, tuple[_Value, int]] = OrderedDict()
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: _Key) -> _Value | None:
        with self._lock:
            found = self._entries.get(key)
            if found is None:
                return None
            self._entries.move_to_end(key)
            return found[0]

    def put(self, key: _Key, value: _Value, size_bytes: int) -> None:
        """Keep a value; `size_bytes` is its approximate size."""
        with self._lock:
            self._remove(key)
            if size_bytes > self._max_bytes:
                return
            self._entries[key] = (value, size_bytes)
            self.size_bytes += size_bytes
            while len(self._entries) > self._max_entries or self.size_bytes > self._max_bytes:
                self._remove(next(iter(self._entries)))

    def pop(self, key: _Key) -> None:
        with self._lock:
            self._remove(key)

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()
            self.size_bytes = 0

    def _remove(self, key: _Key) -> None:
        found = self._entries.pop(key, None)
        if found is not None:
            self.size_bytes -= found[1]
