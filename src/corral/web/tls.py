"""A listener whose connections begin with a TLS handshake, which is bounded in time and number like everything else.

The context is chosen at the beginning of each handshake, so that a new certificate counts from the next one on.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable

_log = logging.getLogger("corral.web")
_HANDSHAKE_S = 15.0
_SHUTDOWN_S = 5.0
# Beyond this many handshakes at a time, further connections are closed.
_MAX_HANDSHAKES = 1024
_ACCEPTS_PER_TURN = 64
# After the system had no descriptor for a connection.
_PAUSE_S = 0.2


class TlsListener:
    """Accepts connections on a socket and shakes hands. Start it on the event loop."""

    def __init__(
        self,
        listener: socket.socket,
        context: Callable[[], ssl.SSLContext],
        make_connection: Callable[[], asyncio.Protocol],
    ) -> None:
        self.socket = listener
        self._context = context
        self._make_connection = make_connection
        self._loop = asyncio.get_running_loop()
        self._under_way: set[asyncio.Task[None]] = set()
        self._loop.add_reader(listener.fileno(), self._accept)

    def accept_all(self) -> None:
        """Take what the kernel has accepted already."""
        self._accept()

    def close(self) -> None:
        """Accept no more; handshakes under way go on."""
        if self.socket.fileno() >= 0:
            self._loop.remove_reader(self.socket.fileno())
            self.socket.close()

    def abort(self) -> None:
        """Give up the handshakes under way."""
        for task in list(self._under_way):
            task.cancel()

    def _accept(self) -> None:
        for _ in range(_ACCEPTS_PER_TURN):
            try:
                accepted, _ = self.socket.accept()
            except BlockingIOError:
                return
            except OSError as exc:
                _log.warning("no connection was accepted: %s", exc)
                self._loop.remove_reader(self.socket.fileno())
                self._loop.call_later(_PAUSE_S, self._resume)
                return
            self.take(accepted)

    def _resume(self) -> None:
        if self.socket.fileno() >= 0:
            self._loop.add_reader(self.socket.fileno(), self._accept)

    def take(self, accepted: socket.socket) -> None:
        """Begin the handshake of a connection."""
        if len(self._under_way) >= _MAX_HANDSHAKES:
            accepted.close()
            return
        accepted.setblocking(False)
        task = self._loop.create_task(self._shake_hands(accepted))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _shake_hands(self, accepted: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(
                self._make_connection,
                accepted,
                ssl=self._context(),
                ssl_handshake_timeout=_HANDSHAKE_S,
                ssl_shutdown_timeout=_SHUTDOWN_S,
            )
        except (OSError, asyncio.CancelledError) as exc:
            # A port scan, a client that does not trust us, or plain HTTP: of interest to whoever looks for it.
            _log.debug("no TLS connection reason=%s", exc)
            accepted.close()
