"""An address for `/metrics` alone, for a network that only those see who watch."""

from __future__ import annotations

from corral.api.http.app import App
from corral.operations.entrance import Entrance
from corral.web.server import WebServer

_MAX_CONNECTIONS = 64
_GRACE_S = 1.5


class MetricsDoor:
    """Open until the last request of the server has ended; without an application it does nothing."""

    def __init__(self, app: App | None, entrance: Entrance) -> None:
        self._app = app
        self._entrance = entrance
        self._web: WebServer | None = None

    async def open(self) -> None:
        if self._app is not None:
            self._web = WebServer(self._app, max_connections=_MAX_CONNECTIONS)
            await self._entrance.open(self._web)

    async def close(self) -> None:
        if self._web is not None and self._app is not None:
            await self._web.stop(self._app.stop, grace_s=_GRACE_S)
