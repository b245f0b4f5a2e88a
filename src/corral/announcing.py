"""Says where the server listens, and who can reach it there."""

from __future__ import annotations

import logging

from corral import __version__
from corral.access.exposure import check_exposure
from corral.access.keyring import Keyring
from corral.config import Settings
from corral.operations.doors import Door

_log = logging.getLogger("corral")


def announce(door: Door, settings: Settings, keyring: Keyring) -> None:
    """Log the address of a door, and a warning if strangers can use the server there.

    Raises:
        CorralError: strangers could use the server, and that is not wanted.
    """
    address = door.address
    if not address.is_unix:
        exposure = check_exposure(
            address.host,
            address.port,
            settings.auth_mode,
            has_keys=keyring.has_keys,
            is_strict=settings.is_strict,
        )
        if exposure:
            _log.warning(exposure)
    _log.info("listening address=%s version=%s", address.url(), __version__)
