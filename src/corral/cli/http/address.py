"""The server's address (`OLLAMA_HOST`), whether it is running, and its version."""

from __future__ import annotations

import os

from corral import __version__
from corral.cli.frame.flags import PROGRAM
from corral.cli.http.client import APIError, Client, NoServerError
from corral.cli.terminal.screen import safe
from corral.errors import CorralError
from corral.hostaddress import HostAddress, host_problem, strip_setting


def server_client() -> Client:
    text = os.environ.get("OLLAMA_HOST", "")
    if problem := host_problem(text):
        from corral.urlsecrets import without_userinfo

        raise CorralError(f"OLLAMA_HOST={without_userinfo(text)!r}: {problem}")
    address = HostAddress.parse(text)
    if address.is_unix:
        return Client(address)
    # Addresses that mean "all interfaces" to a server are reached over the loopback interface.
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)
    return Client(HostAddress(address.scheme, host, address.port, address.path))


def autoserves() -> bool:
    """Whether `CORRAL_AUTOSERVE` asks for a server in the background; any text but a false value does."""
    value = strip_setting(os.environ.get("CORRAL_AUTOSERVE", ""))
    return value not in ("", "0", "f", "F", "false", "FALSE", "False")


def reach_server(*, may_start: bool = False) -> Client:
    """A client of a running server, which is started in the background if this is asked for and none is running.

    Raises:
        NoServerError, CorralError
    """
    client = server_client()
    try:
        client.check()
    except NoServerError as error:
        if str(error):
            raise
        if not (may_start or autoserves()):
            raise
        from corral.cli.http.background import start_server

        start_server(client)
    return client


def print_version() -> None:
    """The version of the server, a note if it is not Corral, and this program's version if it differs."""
    client = server_client()
    try:
        answer = client.call("GET", "/api/version")
        theirs, ours = answer["version"], answer.get("corral_version")
    except (NoServerError, APIError, AttributeError, KeyError, TypeError):
        print(f"Warning: could not connect to a running {PROGRAM.capitalize()} instance")
        print(f"Warning: client version is {__version__}")
        return
    if ours is None:
        print(f"ollama version is {safe(str(theirs))}")
        print(f"Warning: the server at {client.address.url()} is Ollama, or another server with its API")
    else:
        print(f"{PROGRAM} version is {safe(str(ours))}")
    if ours != __version__:
        print(f"Warning: client version is {__version__}")
