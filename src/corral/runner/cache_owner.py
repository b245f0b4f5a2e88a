"""Keeps what one API key's prompts left in an engine from making another key's faster, where that is asked for.

How long a prompt takes shows whether somebody has sent its beginning before. The engine chooses slots by itself, so
prompts of two keys cannot be kept apart in it: they are reused while one key alone uses a child, and no more from the
moment a second one does.
"""

from __future__ import annotations

from corral import caller


class CacheOwner:
    """Of one child. `is_on` False: everybody's prompts are reused for everybody."""

    def __init__(self, *, is_on: bool) -> None:
        self._is_on = is_on
        self._owner: str | None = None
        self._has_more = False

    def may_reuse(self) -> bool:
        """Whether a request of the caller may find, and leave, computed prompts."""
        if not self._is_on:
            return True
        key_id = caller.current().key_id
        if self._owner is None:
            self._owner = key_id
        self._has_more = self._has_more or key_id != self._owner
        return not self._has_more
