"""The bodies of `/api/keys`."""

from __future__ import annotations

from corral.access.keys import LIMITS
from corral.api.reading import decode

NEW_KEY: dict[str, decode.Decode] = {
    "name": decode.string,
    "scopes": decode.strings,
    "models": decode.strings,
    "expires": decode.string,
    "note": decode.string,
    "priority": decode.string,
    **dict.fromkeys(LIMITS, decode.integer),
}
ROTATION: dict[str, decode.Decode] = {"grace": decode.string}
