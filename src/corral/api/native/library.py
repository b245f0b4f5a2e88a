"""The handlers of the library: version, tags, show, ps, copy, delete, pull and push."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from corral import API_VERSION, __version__
from corral.api.http.bodies import read_values
from corral.api.http.exchange import JSON_UTF8, Exchange
from corral.api.http.live import LiveRequests
from corral.api.http.navigation import is_navigation
from corral.api.native.progress import answer_with_progress
from corral.api.native.protocol import COPY, NAMES, SHOW, TRANSFER
from corral.errors import InvalidModelNameError, InvalidRequestError
from corral.golang.json import encode
from corral.library.models import Library, ShowRequest
from corral.library.pull import Puller
from corral.rate import parse_rate
from corral.registry.request import TransferRequest
from corral.scheduler.spec import LoadedInfo, RunnerState

_MAX_WHOLE_SHOWS = 2


class Loads(Protocol):
    """Which models are loaded, and which are being loaded, with the share that is done."""

    def loaded(self) -> list[LoadedInfo]: ...
    def loading(self) -> list[tuple[str, float]]: ...
    def states(self) -> list[RunnerState]: ...


class LibraryHandlers:
    """Handlers on the library and the puller."""

    def __init__(
        self,
        library: Library,
        puller: Puller,
        scheduler: Loads,
        live: LiveRequests,
        *,
        cloud_source: str = "config",
        gpu_problem: Callable[[], tuple[str, str]] = lambda: ("", ""),
        has_page: bool = False,
    ) -> None:
        self._library = library
        self._puller = puller
        self._scheduler = scheduler
        self._live = live
        self._whole_shows = asyncio.Semaphore(_MAX_WHOLE_SHOWS)
        # What switched the hosted service off, in Ollama's words: it always is off.
        self._cloud = {"disabled": True, "source": cloud_source}
        self._gpu_problem = gpu_problem
        self._has_page = has_page
        self._versions = encode({"version": API_VERSION, "corral_version": __version__})

    async def root(self, exchange: Exchange) -> None:
        """What Ollama answers; browsers are sent to the page, if there is one."""
        if self._has_page and is_navigation(exchange):
            await exchange.respond(302, headers=[(b"location", b"ui/"), (b"cache-control", b"no-store")])
            return
        await exchange.respond(200, b"Ollama is running", "text/plain; charset=utf-8")

    async def version(self, exchange: Exchange) -> None:
        """The version of Ollama whose API this is, and Corral's."""
        await exchange.respond(200, self._versions, JSON_UTF8)

    async def status(self, exchange: Exchange) -> None:
        """Ollama's answer, and what keeps a GPU from being used, if there is such a thing."""
        problem, advice = self._gpu_problem()
        found: dict[str, Any] = {"cloud": self._cloud}
        if problem:
            found["gpu"] = {"problem": problem, "advice": advice}
        await exchange.respond(200, encode(found), JSON_UTF8)

    async def tags(self, exchange: Exchange) -> None:
        answer = self._library.recent_tags_json()
        if answer is None:
            answer = await asyncio.to_thread(self._library.tags_json)
        await exchange.respond(200, answer, JSON_UTF8)

    async def ps(self, exchange: Exchange) -> None:
        entries = self._library.ps(self._scheduler.loaded())
        states = {state.name: state for state in self._scheduler.states()}
        for entry in entries:
            if (state := states.get(entry["name"])) and (queue := self._queue_of(state)):
                entry["queue"] = queue
        await exchange.respond(200, encode({"models": entries}), JSON_UTF8)

    def _queue_of(self, state: RunnerState) -> dict[str, Any]:
        """What one more request would find, if it had to wait. Ollama does not have this member."""
        place = self._live.next_place(state.name, state.running_count)
        if not place.position:
            return {}
        found = {
            "slots": state.slot_count,
            "running": state.running_count,
            "waiting": place.waiting,
            "position": place.position,
        }
        return found if place.eta_ms is None else found | {"eta_ms": round(place.eta_ms, 1)}

    async def loading(self, exchange: Exchange) -> None:
        """How far loads have come. Ollama does not have this route."""
        loading = [entry for entry in self._scheduler.loading() if self._library.is_visible(entry[0])]
        entries = [{"name": name, "progress": round(share, 4)} for name, share in loading]
        await exchange.respond(200, encode({"loading": entries}), JSON_UTF8)

    async def origins(self, exchange: Exchange) -> None:
        """Which models came from a registry. Ollama does not have this route."""
        origins = await asyncio.to_thread(self._library.origins)
        await exchange.respond(200, encode({"origins": origins}), JSON_UTF8)

    async def show(self, exchange: Exchange) -> None:
        values = await read_values(exchange, "ShowRequest", SHOW)
        name = values.get("model") or values.get("name", "")
        is_copilot = exchange.header(b"user-agent").startswith("GitHubCopilotChat/")
        request = ShowRequest(
            model=name,
            system=values.get("system", ""),
            is_verbose=values.get("verbose", False),
            options=values.get("options", {}),
            basename=name if is_copilot else "",
        )
        if not request.is_verbose:
            shown = await asyncio.to_thread(self._library.show_json, request)
            await exchange.respond(200, shown, JSON_UTF8)
            return
        await exchange.run_watched(self._show_whole(exchange, request))

    async def _show_whole(self, exchange: Exchange, request: ShowRequest) -> None:
        """A vocabulary is tens of megabytes of JSON: it is written as it is read, for a few clients at a time."""
        async with self._whole_shows:
            pieces = await asyncio.to_thread(self._library.show_pieces, request)
            await exchange.start_stream(JSON_UTF8)
            while piece := await asyncio.to_thread(next, pieces, b""):
                await exchange.write(piece)
            await exchange.end_stream()

    async def copy(self, exchange: Exchange) -> None:
        values = await read_values(exchange, "CopyRequest", COPY)
        await asyncio.to_thread(self._library.copy, values.get("source", ""), values.get("destination", ""))
        await exchange.respond(200)

    async def delete(self, exchange: Exchange) -> None:
        values = await read_values(exchange, "DeleteRequest", NAMES)
        await asyncio.to_thread(self._library.delete, values.get("model") or values.get("name", ""))
        await exchange.respond(200)

    async def pull(self, exchange: Exchange) -> None:
        values = await read_values(exchange, "PullRequest", TRANSFER)
        name = values.get("model") or values.get("name", "")
        try:
            wanted = self._puller.parse(name)
        except InvalidModelNameError:
            raise
        except InvalidRequestError as exc:
            text = "invalid model name" if not name.strip() else str(exc)
            raise InvalidRequestError(text) from None
        transfer = _transfer_request(values)
        await answer_with_progress(
            exchange, values.get("stream", True), lambda report: self._puller.pull(wanted, report, transfer)
        )

    async def push(self, exchange: Exchange) -> None:
        values = await read_values(exchange, "PushRequest", TRANSFER)
        name = values.get("model") or values.get("name", "")
        if not name:
            raise InvalidRequestError("model is required")
        transfer = _transfer_request(values)
        await answer_with_progress(
            exchange, values.get("stream", True), lambda report: self._puller.push(name, report, transfer)
        )


def _transfer_request(values: dict[str, Any]) -> TransferRequest:
    rate = values.get("rate_limit")
    return TransferRequest(
        is_insecure=values.get("insecure", False),
        bytes_per_s=0 if rate is None else parse_rate(rate),
        username=values.get("username", ""),
        password=values.get("password", ""),
        is_verifying=values.get("verify", False),
    )
