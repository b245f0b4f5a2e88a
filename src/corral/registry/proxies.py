"""Proxies from the environment: HTTP_PROXY, HTTPS_PROXY, NO_PROXY, in either case."""

from __future__ import annotations

import ipaddress
import urllib.request
from urllib.parse import urlsplit

from corral.errors import CorralError

# The proxy resolves names either way, as in Go.
SOCKS_SCHEMES = ("socks5", "socks5h")


def proxy_for(url: str) -> str | None:
    """The proxy for requests to a URL. Requests to this machine never go through one.

    Raises:
        CorralError: a kind of proxy that is not supported.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    proxies = urllib.request.getproxies_environment()
    proxy = proxies.get(parts.scheme)
    if not proxy or _is_loopback(host) or _is_excepted(host, proxies.get("no", "")):
        return None
    if "://" not in proxy:
        proxy = f"http://{proxy}"
    if urlsplit(proxy).scheme not in ("http", "https", *SOCKS_SCHEMES):
        raise CorralError(
            f"proxies of the kind {urlsplit(proxy).scheme!r} are not supported",
            hint=f"{parts.scheme.upper()}_PROXY has to be http://host:port, https://host:port or socks5://host:port",
        )
    return proxy


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_excepted(host: str, exceptions: str) -> bool:
    """Whether NO_PROXY names the host: `*`, domains with their subdomains, addresses, networks. Ports are ignored."""
    host = host.lower()
    for entry in (text.strip().lower() for text in exceptions.split(",")):
        name = entry.removeprefix("*").lstrip(".")
        if entry == "*" or (name and (host == name or host.endswith(f".{name}"))):
            return True
        try:
            if ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False):
                return True
        except ValueError:
            pass
        if entry.count(":") == 1 and _is_excepted(host, entry.partition(":")[0]):
            return True
    return False
