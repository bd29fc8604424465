"""Prefixes that people write, and those never carried between peers."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final

from .limits import BMX7_PREFIX, MAX_PEERS, MESH_PREFIX
from .model import Network

MESH: Final = IPv6Network(MESH_PREFIX)

#: What belongs to a link, to a host or to the mesh itself, with its name (RFC 6890, RFC 5771).
_RESERVED: Final[tuple[tuple[Network, str], ...]] = tuple(
    (ip_network(text), what)
    for text, what in (
        (MESH_PREFIX, "the mesh's own addresses"),
        (BMX7_PREFIX, "bmx7's own addresses"),
        ("fe80::/10", "link-local addresses"),
        ("169.254.0.0/16", "link-local addresses"),
        ("ff00::/8", "multicast"),
        ("224.0.0.0/4", "multicast"),
        ("::1/128", "the loopback address"),
        ("127.0.0.0/8", "loopback addresses"),
        ("::/128", "the unspecified address"),
        ("0.0.0.0/8", "addresses of no host"),
        ("::ffff:0:0/96", "IPv4 addresses written as IPv6 ones"),
        ("240.0.0.0/4", "addresses of no host"),
    )
)

#: The same to compare with: least length, bits to leave out, the others, and what to say.
_BITS: Final = {
    version: tuple(
        (
            prefix.prefixlen,
            bits := prefix.max_prefixlen - prefix.prefixlen,
            int(prefix.network_address) >> bits,
            f"{prefix} ({what})",
        )
        for prefix, what in _RESERVED
        if prefix.version == version
    )
    for version in (4, 6)
}


@lru_cache(maxsize=2 * MAX_PEERS)
def network(packed: bytes, length: int) -> Network:
    """The network of an address of 4 or 16 bytes; for the same one the same object.

    That of a peer is wanted, and read from the device: one takes half a kilobyte.
    """
    return IPv6Network((packed, length)) if len(packed) == 16 else IPv4Network((packed, length))


def parse_prefix(text: str) -> Network:
    """Read ``10.1.0.0/16`` or ``2001:db8::/32``; ValueError says what is needed."""
    try:
        prefix = ip_network(text, strict=False)
    except ValueError:
        prefix = None
    if prefix is None or "%" in text:
        raise ValueError("a prefix such as 10.1.0.0/16 or 2001:db8::/32")
    try:
        return ip_network(text)
    except ValueError:
        raise ValueError(f"a prefix without host bits, such as {prefix}") from None


def parse_carried(text: str) -> Network:
    """The same for a network that peers may carry for each other."""
    prefix = parse_prefix(text)
    if what := reserved(prefix):
        raise ValueError(f"a prefix that is not inside {what}")
    return prefix


def reserved(prefix: Network) -> str:
    """What *prefix* is inside of that is never carried, with its name; empty if it may be.

    A prefix that merely covers such a range may: the range's own routes are longer.
    """
    address, length = int(prefix.network_address), prefix.prefixlen
    for shortest, bits, shifted, what in _BITS[prefix.version]:
        if length >= shortest and address >> bits == shifted:
            return what
    return ""


def inside(prefix: Network, other: Network) -> bool:
    """Whether *prefix* is *other* or a part of it."""
    if prefix.version != other.version or prefix.prefixlen < other.prefixlen:
        return False
    shift = other.max_prefixlen - other.prefixlen
    return int(prefix.network_address) >> shift == int(other.network_address) >> shift
