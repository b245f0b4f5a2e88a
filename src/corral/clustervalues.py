"""Parsers for the values of the cluster's settings, like those in settingvalues.py.

What decides whom the server trusts and talks to is not guessed: a wrong value ends the start.
"""

from __future__ import annotations

import re

from corral.errors import CorralError
from corral.settingvalues import FALSE, UnreadableError, entries
from corral.urlsecrets import without_userinfo

MODES = ("off", "peers", "ray")
NODE_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_NAME = re.compile(NODE_NAME, re.ASCII)
_URL = re.compile(
    r"(?:(https?)://)?([a-z0-9_](?:[a-z0-9._-]{0,251}[a-z0-9_])?|\[[0-9a-f:.]{2,45}\])(?::([0-9]{1,5}))?/?",
    re.ASCII,
)
_DEFAULT_PORT = 11434
_MAX_PORT = 65535
_MAX_SHOWN = 100
_MAX_PEERS = 1000
_MOST_RETRIES = 2
_FRACTION = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?", re.ASCII)


def mode(text: str) -> str:
    """Raises CorralError."""
    found = "off" if text in FALSE else text.lower()
    if found not in MODES:
        raise CorralError(
            f"CORRAL_CLUSTER_MODE={text[:_MAX_SHOWN]!r} is none of {', '.join(MODES)}",
            hint="correct CORRAL_CLUSTER_MODE",
        )
    return found


def peers(text: str) -> tuple[str, ...]:
    """Addresses without a slash at the end, each once.

    Raises:
        CorralError: an entry is not one.
    """
    found = tuple(dict.fromkeys(node_url(entry, "CORRAL_CLUSTER_PEERS") for entry in entries(text)))
    if len(found) > _MAX_PEERS:
        raise CorralError(f"CORRAL_CLUSTER_PEERS has more than {_MAX_PEERS} addresses")
    return found


def peer(text: str) -> str:
    """Raises CorralError."""
    return node_url(text, "CORRAL_CLUSTER_DNS")


def node_url(text: str, setting: str) -> str:
    """The address of a server: scheme, host in lower case, and port; without a scheme it is `http`.

    Raises:
        CorralError: it has a user, a path or a query, or is no address at all.
    """
    match = _URL.fullmatch(text.lower())
    port = int(match[3] or _DEFAULT_PORT) if match else 0
    if match is None or not 0 < port <= _MAX_PORT:
        raise CorralError(
            f"{setting}: {without_userinfo(text)[:_MAX_SHOWN]!r} is not the address of a server",
            hint="write the scheme, the host and the port, as in https://10.0.0.2:11434",
        )
    return f"{match[1] or 'http'}://{match[2]}:{port}"


def node_name(text: str) -> str:
    """Raises CorralError."""
    if not is_node_name(text):
        raise CorralError(
            f"CORRAL_CLUSTER_NAME={text[:_MAX_SHOWN]!r} is not a name",
            hint="use up to 64 letters, digits, dots, hyphens and underscores",
        )
    return text


def is_node_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None


def share(text: str) -> float:
    if (found := _fraction(text)) > 1:
        raise UnreadableError
    return found


def ratio(text: str) -> float:
    if (found := _fraction(text)) < 1:
        raise UnreadableError
    return found


def retries(text: str) -> int:
    if text not in tuple(str(count) for count in range(_MOST_RETRIES + 1)):
        raise UnreadableError
    return int(text)


def _fraction(text: str) -> float:
    if not _FRACTION.fullmatch(text):
        raise UnreadableError
    return float(text)
