"""By which address a machine is known to the others."""

from __future__ import annotations

import pytest

from corral.cluster.ray import addresses
from corral.cluster.ray.addresses import AddressError, choose_address, interfaces


def test_an_address_of_this_machine_is_taken() -> None:
    assert choose_address("127.0.0.1") == "127.0.0.1"
    assert choose_address("localhost") in ("127.0.0.1", "::1")


def test_an_interface_stands_for_its_address() -> None:
    name, address = next((name, address) for name, address in interfaces().items() if address == "127.0.0.1")
    assert choose_address(interface=name) == address


def test_the_way_to_the_head_decides() -> None:
    assert choose_address(towards="127.0.0.1") == "127.0.0.1"


@pytest.mark.parametrize(
    ("address", "interface", "reason"),
    [
        ("0.0.0.0", "", "every address"),
        ("192.0.2.77", "", "does not have the address"),
        ("not a host", "", "is not an address"),
        ("\udcff", "", "is not an address"),
        ("a" * 300, "", "is not an address"),
        ("", "nonesuch0", "no interface 'nonesuch0'"),
        ("127.0.0.1", "lo", "say the same"),
    ],
)
def test_other_addresses_are_refused(address: str, interface: str, reason: str) -> None:
    with pytest.raises(AddressError, match=reason):
        choose_address(address, interface)


def test_a_public_address_is_not_chosen_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's ports are open there to everybody."""
    monkeypatch.setattr(addresses, "_route_to", lambda _host: "8.8.8.8")
    with pytest.raises(AddressError, match="public"):
        choose_address()


def test_a_machine_without_network_is_asked_for_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "_route_to", lambda _host: "")
    with pytest.raises(AddressError, match="no network address"):
        choose_address()
