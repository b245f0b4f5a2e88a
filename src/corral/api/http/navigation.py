"""Tells a person who types the server's address into a browser from a program that asks whether the server runs."""

from __future__ import annotations

from corral.api.http.exchange import Exchange


def is_navigation(exchange: Exchange) -> bool:
    """Whether a browser opens an address to show what it finds there.

    Browsers send `Sec-Fetch-Dest` where the connection is trusted: with TLS, and on loopback. Elsewhere they say
    `Upgrade-Insecure-Requests` when they open a page. No client library sends either of them.
    """
    if exchange.method != "GET" or "text/html" not in exchange.header(b"accept"):
        return False
    purpose = exchange.header(b"sec-fetch-dest")
    return purpose == "document" or (not purpose and exchange.header(b"upgrade-insecure-requests") == "1")
