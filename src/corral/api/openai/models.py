"""`/v1/models`: the list of models, and one of them."""

from __future__ import annotations

import asyncio

from corral.api.http.exchange import JSON, Exchange
from corral.api.openai.errors import service_error
from corral.errors import CorralError
from corral.golang.json import encode
from corral.library.models import Library
from corral.store.models import Model


class ModelHandlers:
    """Handlers on the library."""

    def __init__(self, library: Library) -> None:
        self._library = library

    async def list_models(self, exchange: Exchange) -> None:
        listed = await asyncio.to_thread(self._library.list_models)
        data = [_entry(model.name.short(), model) for model in listed]
        await exchange.respond(200, encode({"object": "list", "data": data or None}) + b"\n", JSON)

    async def retrieve(self, exchange: Exchange) -> None:
        name = exchange.params["model"]
        try:
            model = await asyncio.to_thread(self._library.find_model, name)
        except CorralError as error:
            await exchange.respond(*service_error(error))
        else:
            await exchange.respond(200, encode(_entry(name, model)) + b"\n", JSON)


def _entry(name: str, model: Model) -> dict[str, object]:
    created_s = model.modified_ns // 1_000_000_000
    return {"id": name, "object": "model", "created": created_s, "owned_by": model.name.namespace}
