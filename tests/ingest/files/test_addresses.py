"""Which addresses may be connected to."""

from __future__ import annotations

import pytest

from ingest.files.addresses import refusal_reason

REFUSED = [
    "127.0.0.1", "127.8.9.10", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255",
    "192.168.1.1", "169.254.169.254", "100.64.0.1", "100.127.255.255", "192.0.0.8", "192.0.2.1",
    "192.88.99.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255",
    "240.0.0.1", "255.255.255.255", "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1",
    "::ffff:10.0.0.1", "::ffff:0:10.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1",
    "64:ff9b:1::1.1.1.1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::", "2002:101:101::",
    "3fff::1", "5f00::1", "fc00::1", "fd12:3456::1", "fe80::1", "fe80::1%eth0", "fec0::1",
    "ff02::1",
]  # fmt: skip


PUBLIC = [
    "1.1.1.1", "93.184.215.14", "172.15.255.255", "172.32.0.1", "100.63.255.255", "100.128.0.1",
    "192.0.1.1", "223.255.255.255", "2606:4700::1111", "2a00:1450:4001::1", "::ffff:1.1.1.1",
    "64:ff9b::1.1.1.1",
]  # fmt: skip


@pytest.mark.parametrize("address", REFUSED)
def test_a_private_or_reserved_address_is_refused(address: str) -> None:
    assert refusal_reason(address) is not None


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_allowed(address: str) -> None:
    assert refusal_reason(address) is None


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.1.1.1", "169.254.1.1", "100.64.0.1", "::ffff:10.0.0.1", "fd00::1"]
)
def test_allow_private_allows_private_addresses(address: str) -> None:
    assert refusal_reason(address, allow_private=True) is None


@pytest.mark.parametrize("address", ["0.0.0.0", "224.0.0.1", "255.255.255.255", "ff02::1", "::", "2002:7f00:1::"])
def test_allow_private_does_not_allow_what_is_not_a_host(address: str) -> None:
    assert refusal_reason(address, allow_private=True) == "an address reserved for special use"
