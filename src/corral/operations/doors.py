"""Everything that the server listens on: addresses, sockets in the file system, and sockets that systemd passes."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from corral.config import Settings
from corral.errors import CorralError
from corral.homefolder import home_folder
from corral.hostaddress import HostAddress
from corral.listening import listen, listen_unix, passed_sockets
from corral.operations.certificates import CertificateFiles
from corral.operations.selfsigned import self_signed


@dataclass(frozen=True, slots=True)
class Door:
    """A listening socket. `address` is where it is reached; its scheme is http, https or unix.

    `owned`: the identity of a socket file that this server has made, and removes at its end.
    """

    socket: socket.socket
    address: HostAddress
    owned: tuple[int, int] | None = None

    @property
    def is_tls(self) -> bool:
        return self.address.scheme == "https"

    def close(self) -> None:
        """Remove the socket file, unless a successor has put its own there."""
        if self.owned is None:
            return
        path = Path(self.address.path)
        with contextlib.suppress(OSError):
            info = path.lstat()
            if (info.st_dev, info.st_ino) == self.owned:
                path.unlink()


def open_doors(settings: Settings) -> list[Door]:
    """Listen on all addresses, or on the passed sockets, if there are any.

    Raises:
        CorralError
    """
    speaks_tls = settings.tls_cert is not None or settings.is_self_signed
    if passed := passed_sockets():
        return [_passed_door(each, speaks_tls=speaks_tls) for each in passed]
    doors: list[Door] = []
    try:
        addresses = (settings.host, *map(HostAddress.parse, settings.hosts))
        doors.extend(_open(address, settings, speaks_tls=speaks_tls) for address in addresses)
    except CorralError:
        for door in doors:
            door.socket.close()
            door.close()
        raise
    return doors


def open_metrics_doors(settings: Settings) -> list[Door]:
    """Listen on the address for metrics alone, if there is one.

    Raises:
        CorralError
    """
    if not settings.metrics_listen or not settings.has_metrics:
        return []
    speaks_tls = settings.tls_cert is not None or settings.is_self_signed
    return [_open(HostAddress.parse(settings.metrics_listen), settings, speaks_tls=speaks_tls)]


def _open(address: HostAddress, settings: Settings, *, speaks_tls: bool) -> Door:
    if address.is_unix:
        path = Path(address.path)
        found = listen_unix(path, settings.socket_mode, settings.socket_group)
        info = path.lstat()
        return Door(found, address, (info.st_dev, info.st_ino))
    is_tls = speaks_tls and not (address.has_scheme and address.scheme == "http")
    found = listen(address, reuse_port=settings.reuses_port)
    return Door(found, _bound(found, is_tls=is_tls))


def _passed_door(found: socket.socket, *, speaks_tls: bool) -> Door:
    if found.family == socket.AF_UNIX:
        return Door(found, HostAddress("unix", "", 0, str(found.getsockname())))
    return Door(found, _bound(found, is_tls=speaks_tls))


def _bound(found: socket.socket, *, is_tls: bool) -> HostAddress:
    host, port = found.getsockname()[:2]
    return HostAddress("https" if is_tls else "http", host, port)


def certificate_files(settings: Settings, hosts: Iterable[str]) -> CertificateFiles | None:
    """The certificate of the settings, which may have to be made; None without TLS.

    Raises:
        CorralError: a part is missing, or the certificate cannot be stored.
    """
    if settings.tls_cert is not None:
        return CertificateFiles(
            settings.tls_cert, settings.tls_key or settings.tls_cert, settings.tls_client_ca
        )
    if settings.tls_key is not None or (settings.tls_client_ca is not None and not settings.is_self_signed):
        raise CorralError("CORRAL_TLS_CERT is not set", hint="set CORRAL_TLS_CERT to the certificate")
    if not settings.is_self_signed:
        return None
    folder = home_folder() / "tls"
    try:
        files = self_signed(folder, hosts)
    except OSError as exc:
        raise CorralError(f"cannot store a certificate in {folder}: {exc.strerror}") from exc
    return CertificateFiles(files.cert, files.key, settings.tls_client_ca)
