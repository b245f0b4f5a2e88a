"""Whether other machines can use a server without a key, and what is said about it at the start."""

from __future__ import annotations

from typing import Literal

from corral.errors import CorralError
from corral.listening import is_public, public_warning


def check_exposure(
    host: str, port: int, mode: Literal["off", "remote", "on"], *, has_keys: bool, is_strict: bool
) -> str:
    """The line for the log about an address; empty if there is nothing to say.

    Raises:
        CorralError: strangers could use the server, and that is not wanted.
    """
    if mode == "on" and not has_keys:
        return "all requests are refused: CORRAL_AUTH=on, but there is no API key. Make one: corral key create NAME"
    if not is_public(host) or mode == "on" or (mode == "remote" and has_keys):
        return ""
    if is_strict:
        where = "CORRAL_AUTH=off" if mode == "off" else "no API key"
        raise CorralError(
            f"CORRAL_STRICT does not allow {host or '0.0.0.0'}:{port} to be open to everybody: {where}",
            hint="make a key with corral key create NAME, or set OLLAMA_HOST=127.0.0.1",
        )
    return public_warning(host, port, is_off=mode == "off")
