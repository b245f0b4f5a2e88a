"""Prompts that an engine has been given since it was started: their beginnings may still be in its cache.

A request that is shorter than what is cached of a conversation would cut the cache to its own length. So whoever
sends a prompt in parts has to know how long a beginning may be cached. Too much is harmless here, too little is not.
"""

from __future__ import annotations

from collections import OrderedDict

from corral.runner.prompt_states import Prompt, shared_length

_MAX_PROMPTS = 128
# Letters or tokens of all of them.
_MAX_LENGTH = 8 << 20


class RecentPrompts:
    """Bounded; those given last stay."""

    def __init__(self) -> None:
        self._prompts: OrderedDict[int, Prompt] = OrderedDict()
        self._length = 0
        self._serial = 0

    def __len__(self) -> int:
        return len(self._prompts)

    def note(self, prompt: Prompt) -> int:
        """A prompt is given to the engine; how many letters or tokens of it may have been computed before."""
        shared = 0
        for key, known in list(self._prompts.items()):
            length = shared_length(known, prompt)
            shared = max(shared, length)
            if length == len(known):
                self._remove(key)  # the new one continues it
        self._serial += 1
        self._prompts[self._serial] = prompt
        self._length += len(prompt)
        while len(self._prompts) > 1 and (len(self._prompts) > _MAX_PROMPTS or self._length > _MAX_LENGTH):
            self._remove(next(iter(self._prompts)))
        return shared

    def _remove(self, key: int) -> None:
        self._length -= len(self._prompts.pop(key))
