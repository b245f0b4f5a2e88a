"""What shows the requests of now, put together."""

from __future__ import annotations

from collections.abc import Callable

from corral.api.http.live import LiveRequests
from corral.api.http.recent import RecentRequests
from corral.api.operations.memory import MemoryLook
from corral.api.operations.queue import QueueHandler
from corral.api.operations.top import Models, TopHandler
from corral.gpus import GPU


class Watching:
    """`live` and `recent` are steps; `queue` and `top` show what they know. `read_devices`: see `MemoryLook`."""

    def __init__(self, models: Models, read_devices: Callable[[int, int], tuple[GPU, ...]]) -> None:
        self._models = models
        self.live = LiveRequests(self._slots_of)
        self.recent = RecentRequests()
        self.queue = QueueHandler(self.live)
        self.top = TopHandler(models, self.live, self.recent, MemoryLook(read_devices))

    def _slots_of(self, model: str) -> int:
        return next((state.slot_count for state in self._models.states() if state.name == model), 0)
