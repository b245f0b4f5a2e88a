"""The handler of `/api/top`: what the server does right now, in one answer for those who look again and again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice
from typing import Any, Protocol

from corral import __version__, caller
from corral.api.http.exchange import JSON_UTF8, Exchange
from corral.api.http.live import LiveRequests
from corral.api.http.recent import Ended, RecentRequests
from corral.api.operations.memory import MemoryLook
from corral.api.operations.queue import fields_of
from corral.golang.json import encode
from corral.golang.time import format_local_time
from corral.names import ModelName
from corral.scheduler.spec import LoadedInfo, RunnerState

_RECENT = 50


class Models(Protocol):
    """What the scheduler tells of models."""

    def loaded(self) -> list[LoadedInfo]: ...
    def loading(self) -> list[tuple[str, float]]: ...
    def states(self) -> list[RunnerState]: ...
    def waiting(self) -> list[str]: ...


class TopHandler:
    """A key sees the models that it may use and its own requests; an admin sees all."""

    def __init__(
        self, models: Models, live: LiveRequests, recent: RecentRequests, memory: MemoryLook
    ) -> None:
        self._models = models
        self._live = live
        self._recent = recent
        self._memory = memory
        self._started = format_local_time(time.time_ns())

    async def get(self, exchange: Exchange) -> None:
        who = caller.current()
        memory = await self._memory.fields()
        found = {
            "version": __version__,
            "started_at": self._started,
            "memory": memory,
            "models": [fields for fields in self._all_models() if _is_visible(fields["name"])],
            "requests": [fields_of(place) for place in self._live.places(who)],
            "recent": [_ended(ended) for ended in islice(self._recent.newest(who), _RECENT)],
        }
        await exchange.respond(200, encode(found), JSON_UTF8)

    def _all_models(self) -> Iterator[dict[str, Any]]:
        """Loaded models, then those that are being loaded."""
        states = {state.name: state for state in self._models.states()}
        made, waiting = self._live.made_tokens(), self._models.waiting()
        for info in sorted(self._models.loaded(), key=lambda info: info.name):
            state = states.get(info.name)
            yield {
                "name": info.name,
                "state": "loaded" if info.expires_at_ns > time.time_ns() else "stopping",
                "size": info.size_bytes,
                "size_vram": info.size_vram_bytes,
                "context_length": info.num_ctx,
                "expires_at": format_local_time(info.expires_at_ns),
                "slots": state.slot_count if state else 0,
                "running": state.running_count if state else 0,
                "waiting": (state.waiting_count if state else 0) + waiting.count(info.name),
                "generated_tokens": made.get(info.name, 0),
            }
        for name, share in sorted(self._models.loading()):
            yield {
                "name": name,
                "state": "loading",
                "progress": round(share, 4),
                "waiting": waiting.count(name),
                "generated_tokens": made.get(name, 0),
            }


def _is_visible(name: str) -> bool:
    who = caller.current()
    return who.models is None or who.may_use(ModelName.parse(name))


def _ended(ended: Ended) -> dict[str, Any]:
    fields = {
        "id": ended.request_id,
        "model": ended.model,
        "path": ended.path,
        "key": ended.key_id,
        "status": ended.status,
        "ended_at": format_local_time(ended.ended_ns),
        "ms": round(ended.ms, 1),
        "prompt_tokens": ended.prompt_tokens,
        "tokens": ended.tokens,
        "tokens_per_s": round(ended.tokens_per_s, 1) or None,
        "error": ended.error,
    }
    return {name: value for name, value in fields.items() if value not in ("", None)}
