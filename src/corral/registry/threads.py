"""Runs what blocks for long in a thread, for the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

_Result = TypeVar("_Result")


async def run_in_thread(function: Callable[[], _Result], *, cancel: Callable[[], None]) -> _Result:
    """Run something that may block for long in a thread of its own.

    When the caller is cancelled, `cancel` is called and the thread is left to end by itself.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[_Result] = loop.create_future()

    def settle(result: _Result | None, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def work() -> None:
        result, error = None, None
        try:
            result = function()
        except BaseException as exc:
            error = exc
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=work, name="registry", daemon=True).start()
    try:
        return await done
    except asyncio.CancelledError:
        cancel()
        raise
