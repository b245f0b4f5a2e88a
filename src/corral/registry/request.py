"""The options of a pull or push, and peers. Light: imported by every server."""

from __future__ import annotations

from dataclasses import dataclass, field

# With it a server of a cluster says its name to another one that it fetches weights from.
PEER_HEADER = "X-Corral-Peer"


@dataclass(frozen=True, slots=True)
class Peer:
    """Another server of the cluster. `url` is `scheme://host[:port]`, without a slash at its end.

    `tls_name`: the name in its certificate, if that is not the host of the address.
    """

    name: str
    url: str
    tls_name: str = ""


@dataclass(frozen=True, slots=True)
class TransferRequest:
    """`is_insecure` allows plain http (Ollama's `insecure`). `bytes_per_s` 0: no limit but the server's.

    User and password are for the registry in the name. `is_verifying` hashes layers that are already present.
    """

    is_insecure: bool = False
    bytes_per_s: int = 0
    username: str = ""
    password: str = field(default="", repr=False)
    is_verifying: bool = False
