"""`corral ui`: where the page is, and what is said where there is none."""

from __future__ import annotations

import pytest

from corral.cli.tools.page import page_address
from corral.errors import CorralError
from corral.hostaddress import HostAddress


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1:11434", "http://127.0.0.1:11434/ui/"),
        ("0.0.0.0:80", "http://127.0.0.1:80/ui/"),
        ("[::]:11434", "http://[::1]:11434/ui/"),
        ("https://box.lan", "https://box.lan:443/ui/"),
        ("https://box.lan/corral/", "https://box.lan:443/corral/ui/"),
    ],
)
def test_address(host: str, address: str) -> None:
    """An address that a browser on this machine can open, below the prefix of a proxy too."""
    assert page_address(HostAddress.parse(host)) == address


def test_unix_socket() -> None:
    """Browsers know no unix sockets."""
    with pytest.raises(CorralError, match="unix socket"):
        page_address(HostAddress.parse("unix:///run/corral.sock"))
