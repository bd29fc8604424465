"""A dump of a WireGuard device in the kernel (linux/wireguard.h), decoded.

A dump comes in messages of about a dozen peers each, and a peer with many allowed IPs goes on in
the next ones. The device is read whenever something is to be changed and whenever somebody
looks, so what is the usual is made short: a peer in the form that Linux gives it is unpacked at
once, and a message that was in the last dump too is not decoded again.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from ..core.limits import MAX_PEERS
from ..core.model import ActualPeer, Endpoint, Network
from ..core.prefixes import network
from ..netlink import attributes
from . import wgnetlink as wg
from .backend import Settings

_U64: Final = struct.Struct("=Q")
_TIMESPEC: Final = struct.Struct("=qq")
_NANOSECONDS: Final = 1_000_000_000

# A peer as Linux writes it, each header before its value. Endpoint and allowed IPs follow.
_PEER: Final = struct.Struct("=4s32s4s32s4sqq4sHxx4sQ4sQ4s4x")
_HEADERS: Final = tuple(
    wg.NLA.pack(wg.NLA.size + size, kind)
    for kind, size in (
        (wg.P_PUBLIC_KEY, 32),
        (wg.P_PRESHARED_KEY, 32),
        (wg.P_HANDSHAKE, 16),
        (wg.P_KEEPALIVE, 2),
        (wg.P_TX_BYTES, 8),
        (wg.P_RX_BYTES, 8),
        (wg.P_VERSION, 4),
    )
)

_Ways = tuple[Endpoint | None, tuple[Network, ...]]  # the way to a peer, and what goes to it


@dataclass(frozen=True)
class _Part:
    """One message: what it says of the device itself, and of some peers."""

    device: dict[int, bytes]
    peers: tuple[ActualPeer, ...]
    continued: tuple[tuple[bytes, tuple[Network, ...]], ...]  # public key, more allowed IPs


class Reader:
    """Decodes the dumps of one device, one after the other.

    A peer of which nothing changed, not even a counter, is the same object as the last time. A
    message is known by its hash: it takes as much memory as what is made of it.
    """

    def __init__(self) -> None:
        self._parts: dict[int, _Part] = {}

    def device(self, bodies: Sequence[bytes]) -> Settings:
        """All of a dump."""
        digests = [hash(body) for body in bodies]
        parts = [self._parts.get(digest) or _part(body) for digest, body in zip(digests, bodies)]
        self._parts = dict(zip(digests, parts))
        settings = Settings()
        for part in parts:
            for kind, value in part.device.items():
                if kind == wg.D_PRIVATE_KEY:
                    settings.private_key = value
                elif kind == wg.D_LISTEN_PORT:
                    settings.listen_port = int.from_bytes(value, sys.byteorder)
                elif kind == wg.D_FWMARK:
                    settings.firewall_mark = int.from_bytes(value, sys.byteorder)
            settings.peers.update((peer.public_key, peer) for peer in part.peers)
        more: dict[bytes, list[Network]] = {}
        for part in parts:
            for key, networks in part.continued:
                more.setdefault(key, []).extend(networks)
        for key, others in more.items():
            begun = settings.peers[key]
            settings.peers[key] = replace(begun, allowed_ips=(*begun.allowed_ips, *others))
        return settings


def _part(body: bytes) -> _Part:
    device: dict[int, bytes] = {}
    peers: list[ActualPeer] = []
    continued: list[tuple[bytes, tuple[Network, ...]]] = []
    for kind, value in attributes(body, wg.GENL.size):
        if kind != wg.D_PEERS:
            device[kind] = value
            continue
        for key, preshared, handshake, keepalive, received, sent, ways in _peers(value):
            endpoint, networks = ways
            if preshared is None:
                continued.append((key, networks))
            else:
                peers.append(
                    ActualPeer(
                        handshake,
                        received,
                        sent,
                        endpoint,
                        public_key=key,
                        preshared_key=preshared,
                        allowed_ips=networks,
                        keepalive=keepalive,
                    )
                )
    return _Part(device, tuple(peers), tuple(continued))


def _peers(
    nest: bytes,
) -> Iterator[tuple[bytes, bytes | None, int, int, int, int, _Ways]]:
    """Public key, preshared key, handshake (ns), keepalive, received, sent, ways of each peer.

    The preshared key is None where only the rest of a long list of allowed IPs follows.
    """
    for _, value in attributes(nest):
        if len(value) >= _PEER.size:
            fields = _PEER.unpack_from(value)
            (
                a,
                key,
                b,
                preshared,
                c,
                seconds,
                nanoseconds,
                d,
                keepalive,
                e,
                sent,
                f,
                received,
                g,
            ) = fields
            if (a, b, c, d, e, f, g) == _HEADERS:
                handshake = seconds * _NANOSECONDS + nanoseconds
                ways = _ways(value[_PEER.size :])
                yield key, preshared, handshake, keepalive, received, sent, ways
                continue
        yield _unusual(value)


def _unusual(value: bytes) -> tuple[bytes, bytes | None, int, int, int, int, _Ways]:
    """A peer in another form than Linux 6 writes: attribute by attribute."""
    peer = dict(attributes(value))
    seconds, nanoseconds = _TIMESPEC.unpack(peer.get(wg.P_HANDSHAKE, bytes(16)))
    (received,) = _U64.unpack(peer.get(wg.P_RX_BYTES, bytes(8)))
    (sent,) = _U64.unpack(peer.get(wg.P_TX_BYTES, bytes(8)))
    return (
        peer[wg.P_PUBLIC_KEY],
        peer.get(wg.P_PRESHARED_KEY, bytes(32) if wg.P_HANDSHAKE in peer else None),
        seconds * _NANOSECONDS + nanoseconds,
        int.from_bytes(peer.get(wg.P_KEEPALIVE, b""), sys.byteorder),
        received,
        sent,
        _ways(value),
    )


@lru_cache(MAX_PEERS)
def _ways(value: bytes) -> _Ways:
    """Endpoint and allowed IPs from a peer's attributes; they are seldom others than before."""
    found = dict(attributes(value))
    return (
        _endpoint(found.get(wg.P_ENDPOINT, b"")),
        tuple(_allowed_ip(nested) for _, nested in attributes(found.get(wg.P_ALLOWED_IPS, b""))),
    )


def _endpoint(value: bytes) -> Endpoint | None:
    if len(value) == 16:
        (port,) = wg.PORT.unpack_from(value, 2)
        return Endpoint(IPv4Address(value[4:8]), port)
    if len(value) == 28:
        (port,) = wg.PORT.unpack_from(value, 2)
        # For any other than fe80::/10 the kernel keeps whatever scope came with a packet.
        link_local = value[8] == 0xFE and value[9] & 0xC0 == 0x80
        scope = int.from_bytes(value[24:28], sys.byteorder) if link_local else 0
        return Endpoint(IPv6Address(value[8:24]), port, scope)
    return None


def _allowed_ip(value: bytes) -> Network:
    parts = dict(attributes(value))
    packed, length = parts[wg.A_ADDRESS], parts[wg.A_MASK][0]
    return network(packed, length)
