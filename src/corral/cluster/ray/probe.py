"""Whether a server answers."""

from __future__ import annotations

import http.client
import ssl
from urllib.parse import urlsplit

_PROBE_S = 2.0


def answers(url: str, timeout_s: float = _PROBE_S) -> bool:
    """Whether the server at an address is alive. Nothing secret is sent, so its certificate does not matter."""
    parts = urlsplit(url)
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(
            parts.hostname or "", parts.port, timeout=timeout_s, context=ssl._create_unverified_context()
        )
    else:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except ssl.SSLError:
        return True  # it wants a certificate, so it is alive
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
