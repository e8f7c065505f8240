"""Which network addresses a link may lead to: public ones, and private ones on request."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str, int], Sequence[str]]  # host, port -> all addresses of the name, as text

# The blocks are written out because `ipaddress.is_global` changes with the patch release of Python.
_PRIVATE = tuple(
    ipaddress.ip_network(block)
    for block in (
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local: metadata services of clouds
        "172.16.0.0/12",
        "192.168.0.0/16",
        "::1/128",
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",
    )
)
_RESERVED_V4 = tuple(
    ipaddress.ip_network(block)
    for block in (
        "0.0.0.0/8",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
_GLOBAL_V6 = ipaddress.ip_network("2000::/3")  # all that is assigned; every other block is special
_RESERVED_V6 = tuple(
    ipaddress.ip_network(block)
    for block in (
        "2001::/23",  # Teredo, benchmarking, ORCHID
        "2001:db8::/32",
        "2002::/16",  # 6to4: an IPv4 address in disguise, retired by RFC 7526
        "3fff::/20",
    )
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # the last 32 bits are an IPv4 address


def refusal_reason(address: str, *, allow_private: bool = False) -> str | None:
    """Return why an address must not be connected to, None if it may be."""
    ip = _unwrapped(ipaddress.ip_address(address.partition("%")[0]))
    if any(ip in network for network in _PRIVATE):
        return None if allow_private else "a private, loopback or link-local address"
    if isinstance(ip, ipaddress.IPv4Address):
        reserved = any(ip in network for network in _RESERVED_V4)
    else:
        reserved = ip not in _GLOBAL_V6 or any(ip in network for network in _RESERVED_V6)
    return "an address reserved for special use" if reserved else None


def _unwrapped(ip: Address) -> Address:
    """Return the IPv4 address that an IPv6 address leads to, else the address itself."""
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return ip.ipv4_mapped
        if ip in _NAT64:
            return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip


def system_addresses(host: str, port: int) -> list[str]:
    """Return all addresses that the system resolves a name to, in its order of preference."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))
