"""What this node says of itself: told to whoever listens when it changes, and at least each half second."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

from corral.cluster.state import NodeState, line_of

_LOOK_S = 0.1
SPEAK_S = 0.5


class Announcer:
    """Belongs to the event loop. `read` gives the node's state, and does not wait; `heard` gets each that is told."""

    def __init__(self, read: Callable[[], NodeState], heard: Callable[[NodeState, int], None]) -> None:
        self._read = read
        self._heard = heard
        self._number = 0
        self._state: NodeState | None = None
        self._lines: dict[bool, bytes] = {}
        self._told: asyncio.Future[None] | None = None
        self._said_s = 0.0

    @property
    def state(self) -> NodeState:
        """What was told last."""
        if self._state is None:
            self.look()
        assert self._state is not None
        return self._state

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            self.look()
            await asyncio.sleep(_LOOK_S)

    def look(self) -> None:
        """Read the state, and tell it if it has changed or if it is time."""
        now_s = asyncio.get_running_loop().time()
        state = self._read()
        before = self._state
        is_same = before is not None and replace(state, clock_s=before.clock_s) == before
        if is_same and now_s - self._said_s < SPEAK_S:
            return
        if before is not None and state.models == before.models:
            state = replace(state, models=before.models)
        self._state, self._said_s = state, now_s
        self._number += 1
        self._lines.clear()
        self._heard(state, self._number)
        if self._told is not None:
            told, self._told = self._told, None
            told.set_result(None)

    async def lines(self) -> AsyncIterator[bytes]:
        """The state now and whenever it is told, as lines; the models only where they have changed."""
        models: object = None
        while True:
            state = self.state
            has_models = state.models is not models
            models = state.models
            if (line := self._lines.get(has_models)) is None:
                line = self._lines[has_models] = line_of(state, has_models=has_models)
            number = self._number
            yield line
            while number == self._number:
                await self._next()

    async def _next(self) -> None:
        if self._told is None:
            self._told = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._told)
