"""`ui`: opens the server's web page in a browser."""

from __future__ import annotations

import os
import sys

from corral.cli.frame.flags import Arguments
from corral.cli.http.client import APIError, Client
from corral.errors import CorralError
from corral.hostaddress import HostAddress


def ui(client: Client, arguments: Arguments) -> None:
    """Print the address of the page, and open it if this machine has a screen.

    Raises:
        CorralError: the server has no page, or a browser cannot reach it.
    """
    address = page_address(client.address)
    try:
        client.call("HEAD", "/ui/")
    except APIError as error:
        raise CorralError(
            f"the server at {client.address.url()} has no web page",
            hint="CORRAL_SURFACES_OFF names ui there, or it is another program",
        ) from error
    print(address)
    sys.stdout.flush()
    if arguments.has("print") or not _has_screen():
        return
    import webbrowser

    if not webbrowser.open(address):
        print("No browser could be started; open the address by hand.", file=sys.stderr)


def page_address(server: HostAddress) -> str:
    """Where a browser finds the page of a server.

    Raises:
        CorralError: the server is on a unix socket.
    """
    if server.is_unix:
        raise CorralError(
            "a browser cannot use a unix socket",
            hint="set OLLAMA_HOST to an address of the server like 127.0.0.1:11434",
        )
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(server.host, server.host)
    return f"{HostAddress(server.scheme, host, server.port, server.path.rstrip('/')).url()}/ui/"


def _has_screen() -> bool:
    if sys.platform == "darwin":
        return "SSH_CONNECTION" not in os.environ
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
