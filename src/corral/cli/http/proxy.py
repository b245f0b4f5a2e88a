"""The proxy that the environment names for servers on other machines, as Go's clients read it."""

from __future__ import annotations

from base64 import b64encode
from typing import NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from corral.hostaddress import HostAddress
from corral.urlsecrets import without_userinfo


class Proxy(NamedTuple):
    """`headers` log in, where the address has a user name and a password."""

    host: str
    port: int
    headers: dict[str, str]


def proxy_of(address: HostAddress) -> str:
    """What is set for an address; empty if nothing is."""
    if proxy_bypass(f"{address.host}:{address.port}"):
        return ""
    return getproxies_environment().get("https" if address.scheme == "https" else "http", "")


def read_proxy(text: str) -> Proxy:
    """Raises ValueError: its text says what is wrong, without the password."""
    shown = without_userinfo(text)
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        host, port = parts.hostname, parts.port
    except ValueError as exc:
        raise ValueError(f"the proxy {shown} is not an address: {exc}") from None
    if parts.scheme != "http" or not host:
        raise ValueError(f"the proxy {shown} is not one that can be used here: it has to be http://HOST:PORT")
    headers = {}
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Proxy-Authorization"] = f"Basic {b64encode(login.encode()).decode()}"
    return Proxy(host, port or 80, headers)
