"""Where the server is, by `OLLAMA_HOST`, and what version it has."""

from __future__ import annotations

import os

from corral.cli.client import APIError, Client, NoServerError
from corral.cli.flags import PROGRAM
from corral.config import HostAddress

__all__ = ["print_version", "server_client"]


def server_client() -> Client:
    address = HostAddress.parse(os.environ.get("OLLAMA_HOST", ""))
    # An address to listen on everywhere is reached on this machine.
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)
    return Client(host, address.port, address.path)


def print_version(own: str) -> None:
    """The server's version, and this program's where it is another one."""
    try:
        theirs = server_client().call("GET", "/api/version")["version"]
    except (NoServerError, APIError, KeyError, TypeError, ValueError):
        theirs = ""
        print(f"Warning: could not connect to a running {PROGRAM.capitalize()} instance")
    if theirs:
        print(f"{PROGRAM} version is {theirs}")
    if theirs != own:
        print(f"Warning: client version is {own}")
