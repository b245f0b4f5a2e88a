"""How much memory the machine and its devices have, and how much of it is free, for those who look every second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from corral.devices import read_memory
from corral.gpus import GPU

# To ask drivers takes up to seconds, and without a driver's tool an engine is started for it.
_DEVICES_AGE_S = 15.0
_MEMORY_AGE_S = 0.5
_FIRST_WAIT_S = 1.0


class MemoryLook:
    """Reads at most as often as figures change; devices in the background, so that an answer has those of before.

    `read_devices` gets the machine's total and free bytes, and runs in a thread.
    """

    def __init__(self, read_devices: Callable[[int, int], tuple[GPU, ...]]) -> None:
        self._read_devices = read_devices
        self._memory = (0, 0)
        self._memory_s = -_MEMORY_AGE_S
        self._devices: tuple[GPU, ...] = ()
        self._devices_s: float | None = None
        self._looking: asyncio.Task[None] | None = None

    async def fields(self) -> dict[str, Any]:
        """As JSON has it, in bytes. Devices whose memory is the machine's own are left out."""
        now_s = time.monotonic()
        if now_s - self._memory_s >= _MEMORY_AGE_S:
            self._memory_s = now_s
            self._memory = await asyncio.to_thread(read_memory)
        is_first = self._devices_s is None
        if self._devices_s is None or now_s - self._devices_s >= _DEVICES_AGE_S:
            self._devices_s = now_s
            self._looking = asyncio.create_task(self._look())
        if is_first and self._looking is not None:
            await asyncio.wait({self._looking}, timeout=_FIRST_WAIT_S)
        total_bytes, free_bytes = self._memory
        devices = [
            {"name": gpu.key, "description": gpu.name, "total": gpu.total_bytes, "free": gpu.free_bytes}
            for gpu in self._devices
            if not gpu.is_unified
        ]
        return {"total": total_bytes, "free": free_bytes, "devices": devices}

    async def _look(self) -> None:
        self._devices = await asyncio.to_thread(self._read_devices, *self._memory)
