"""What a pull or push may say beside the name. Light: imported by every server."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class TransferRequest:
    """`is_insecure` is Ollama's word for plain http. `bytes_per_s` 0: no limit but the server's.

    User and password are for the registry that the name says. `is_verifying` hashes layers that are there already.
    """

    is_insecure: bool = False
    bytes_per_s: int = 0
    username: str = ""
    password: str = field(default="", repr=False)
    is_verifying: bool = False
