"""The SHA-256 of a file that grows: a thread hashes what has become contiguous from the beginning.

Parts arrive in any order, but a hash needs them in order. Bytes are read back from the file, which costs a copy
from the page cache; nothing is buffered in memory. At the end of each part the hash so far is saved (see
`part_state`), and compared if an earlier run left one: a part that does not match is fetched again, those before it
are verified.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable

from corral.registry.part_state import Part

_CHUNK_BYTES = 1 << 20
_IDLE_S = 1.0


class PrefixHasher:
    """Follows the parts of one file. `wake` reports that a part has grown; `on_part` is called for each hashed part.

    `on_part(part)` is called on the hashing thread after `part.prefix_hex` was set. `on_bad(part)` is called
    instead if the hash contradicts the one that an earlier run left; `part.completed` is zero then, and the hash
    waits for new bytes.
    """

    def __init__(
        self,
        handle: int,
        parts: list[Part],
        *,
        on_part: Callable[[Part], None],
        on_bad: Callable[[Part], None],
    ) -> None:
        self._handle = handle
        self._parts = parts
        self._on_part = on_part
        self._on_bad = on_bad
        self._event = threading.Event()
        self._is_stopped = False
        # The part at the front of the hash, and how much of it makes the next step.
        self._part: Part | None = None
        self._needed_bytes = 0
        self.position = 0
        self.digest_hex = ""
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="pull-hash", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self, part: Part) -> None:
        """A part has grown. Wakes the thread only if it waits for that: waking costs more than checking."""
        if part is self._part and part.completed >= self._needed_bytes and not self._event.is_set():
            self._event.set()

    def stop(self) -> None:
        """End the thread, whether everything is hashed or not."""
        self._is_stopped = True
        self._event.set()
        if self._thread.ident is not None:
            self._thread.join()

    def join(self, timeout_s: float) -> bool:
        """Whether the thread has ended: then `digest_hex` or `error` is set, or it was stopped."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._hash()
        except BaseException as exc:
            self.error = exc

    def _hash(self) -> None:
        hasher = hashlib.sha256()
        buffer = bytearray(_CHUNK_BYTES)
        view = memoryview(buffer)
        for part in self._parts:
            before = hasher.copy()
            while not self._is_stopped:
                known = part.offset + part.completed
                count = min(known - self.position, _CHUNK_BYTES)
                if count > 0 and (count == _CHUNK_BYTES or part.is_complete):
                    got = os.preadv(self._handle, [view[:count]], self.position)
                    if got <= 0:
                        raise OSError(f"the partial file ends at {self.position}")
                    hasher.update(view[:got])
                    self.position += got
                elif self.position == part.stop:
                    found = hasher.hexdigest()
                    if not part.prefix_hex or part.prefix_hex == found:
                        part.prefix_hex = found
                        self._on_part(part)
                        break
                    part.prefix_hex, part.completed = "", 0
                    self.position, hasher = part.offset, before.copy()
                    self._on_bad(part)
                else:
                    self._wait_for(part)
            if self._is_stopped:
                return
        self.digest_hex = hasher.hexdigest()

    def _wait_for(self, part: Part) -> None:
        """Wait until a part has enough bytes for the next step, or until `stop`."""
        self._part = part
        self._needed_bytes = min(self.position - part.offset + _CHUNK_BYTES, part.size)
        self._event.clear()
        # Checked after the wait was announced: whoever made it grow before that did not wake this thread.
        if part.completed < self._needed_bytes and not self._is_stopped:
            self._event.wait(_IDLE_S)
