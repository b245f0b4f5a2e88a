"""Opens the doors of the server, and holds its certificate."""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from corral.config import Settings
from corral.hostaddress import HostAddress
from corral.operations.certificates import Certificates
from corral.operations.doors import Door, certificate_files
from corral.operations.selfsigned import fingerprint

_log = logging.getLogger("corral")
_tls_log = logging.getLogger("corral.tls")


class _Web(Protocol):
    async def start(
        self, listener: socket.socket, context: Callable[[], ssl.SSLContext] | None = None
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Entrance:
    """What the server listens on, with its certificate."""

    doors: Sequence[Door]
    certificates: Certificates | None

    async def open(self, web: _Web) -> None:
        for door in self.doors:
            await web.start(door.socket, self._context if door.is_tls else None)

    def _context(self) -> ssl.SSLContext:
        assert self.certificates is not None
        return self.certificates.context


def open_certificates(settings: Settings, doors: Sequence[Door]) -> Certificates | None:
    """The certificate, if there is TLS at all.

    Raises:
        CorralError
    """
    files = certificate_files(settings, [settings.host.host, *(door.address.host for door in doors)])
    if files is None:
        return None
    if settings.is_self_signed and settings.tls_cert is None:
        _tls_log.warning(
            "TLS with a self-signed certificate, for trying it out: clients trust it with CORRAL_CA_FILE=%s"
            " fingerprint=%s",
            files.cert,
            fingerprint(files.cert),
        )
    return Certificates(files)


def own_url(address: HostAddress) -> str:
    """The address by which programs of this machine reach the server."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)
    return HostAddress(address.scheme, host, address.port, address.path).url()


def announce_page(doors: Sequence[Door]) -> None:
    """Log the address of the web page for a browser on this machine; none reaches a unix socket."""
    address = next((door.address for door in doors if not door.address.is_unix), None)
    if address is not None:
        _log.info("web page address=%s/ui/", own_url(address))
