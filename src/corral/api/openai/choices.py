"""Several answers to one request: they run side by side, and their chunks carry the number of the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from corral.inference.requests import Emit, Immediate
from corral.types import Chunk

Run = Callable[[Emit], Awaitable[Immediate | None]]

# Slots are few and queues are shared with others, so a long list of prompts does not ask for all at once.
_MAX_AT_ONCE = 8


async def run_choices(runs: Sequence[Run], emit: Emit) -> Immediate | None:
    """Run all; whatever one raises ends the others.

    What takes no generation comes back as it is if there is one run, else as the last chunk of its answer.

    Raises:
        CorralError: the first that any run raised.
    """
    if len(runs) == 1:
        return await runs[0](emit)
    slots = asyncio.Semaphore(_MAX_AT_ONCE)

    async def run(number: int) -> None:
        async with slots:
            immediate = await runs[number](_numbered(emit, number))
            if immediate is not None:
                await emit([Chunk(done=True, done_reason=immediate.done_reason, choice=number)])

    try:
        async with asyncio.TaskGroup() as group:
            for number in range(len(runs)):
                group.create_task(run(number))
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return None


def _numbered(emit: Emit, number: int) -> Emit:
    async def pass_on(chunks: list[Chunk]) -> None:
        for chunk in chunks:
            chunk.choice = number
        await emit(chunks)

    return pass_on
