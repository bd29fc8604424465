"""WireGuard's generic netlink messages (linux/wireguard.h), encoded and decoded.

Only bytes here, no socket. A message to the kernel is kept under 8 KB: bigger ones are not
faster, and the kernel's rtnl lock is held while one is worked on. What belongs together (a peer's
new key and the removal of the old one) is in one message; only a list of allowed IPs too long
for that goes on in the next.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

from ..core.model import ActualPeer, Endpoint, Network, PeerStatistics
from ..core.plan import SetDevice
from ..core.planpeers import PeerOperation, RemovePeer
from ..netlink import attributes
from .backend import Settings

FAMILY: Final = "wireguard"
CMD_GET_DEVICE: Final = 0
CMD_SET_DEVICE: Final = 1
_VERSION: Final = 1

# enum wgdevice_attribute, wgpeer_attribute, wgallowedip_attribute
_D_IFINDEX, _D_PRIVATE_KEY, _D_FLAGS, _D_LISTEN_PORT, _D_FWMARK, _D_PEERS = 1, 3, 5, 6, 7, 8
_P_PUBLIC_KEY, _P_PRESHARED_KEY, _P_FLAGS, _P_ENDPOINT, _P_KEEPALIVE = 1, 2, 3, 4, 5
_P_HANDSHAKE, _P_RX_BYTES, _P_TX_BYTES, _P_ALLOWED_IPS = 6, 7, 8, 9
_A_FAMILY, _A_ADDRESS, _A_MASK = 1, 2, 3
_REPLACE_PEERS: Final = 1
_REMOVE_ME: Final = 1
_REPLACE_ALLOWED_IPS: Final = 2
_UPDATE_ONLY: Final = 4
_NESTED: Final = 0x8000

_GENL: Final = struct.Struct("=BBH")  # command, version, reserved
_NLA: Final = struct.Struct("=HH")  # length, type
_U16: Final = struct.Struct("=HHHxx")
_U32: Final = struct.Struct("=HHI")
_U64: Final = struct.Struct("=Q")
_KEY: Final = struct.Struct("=HH32s")
_TIMESPEC: Final = struct.Struct("=qq")
# struct sockaddr_in and sockaddr_in6: port, address and flow in network order, scope in our own
_SOCKADDR_IN: Final = struct.Struct("=HHH2s4s8x")
_SOCKADDR_IN6: Final = struct.Struct("=HHH2s4x16sI")
_PORT: Final = struct.Struct("!H")
# one allowed IP whole: nest, family, address, mask
_ALLOWED_4: Final = struct.Struct("=HHHHHxxHH4sHHBxxx")
_ALLOWED_6: Final = struct.Struct("=HHHHHxxHH16sHHBxxx")

MESSAGE_SIZE: Final = 8192  # bytes, with all headers
_ROOM: Final = MESSAGE_SIZE - 16 - _GENL.size - _U32.size - _NLA.size  # for peers


def encode_get(index: int) -> bytes:
    """The request for a dump of the device with an interface index."""
    return _GENL.pack(CMD_GET_DEVICE, _VERSION, 0) + _U32.pack(_U32.size, _D_IFINDEX, index)


def encode_device(index: int, change: SetDevice) -> bytes:
    parts = [_GENL.pack(CMD_SET_DEVICE, _VERSION, 0), _U32.pack(_U32.size, _D_IFINDEX, index)]
    if change.private_key is not None:
        parts.append(_KEY.pack(_KEY.size, _D_PRIVATE_KEY, change.private_key))
    if change.listen_port is not None:
        parts.append(_U16.pack(6, _D_LISTEN_PORT, change.listen_port))
    if change.firewall_mark is not None:
        parts.append(_U32.pack(_U32.size, _D_FWMARK, change.firewall_mark))
    return b"".join(parts)


def encode_remove_peers(index: int) -> bytes:
    """Remove all peers at once: before the link goes, which would wait 15 ms for each."""
    parts = [_GENL.pack(CMD_SET_DEVICE, _VERSION, 0), _U32.pack(_U32.size, _D_IFINDEX, index)]
    return b"".join(parts) + _U32.pack(_U32.size, _D_FLAGS, _REPLACE_PEERS)


@dataclass(frozen=True)
class Message:
    """A message's body, and the operations in it (the last may go on in the next message)."""

    body: bytes
    operations: tuple[PeerOperation, ...]


def encode_peers(index: int, operations: Iterable[PeerOperation]) -> Iterator[Message]:
    """As few messages as hold the operations, in their order."""
    head = _GENL.pack(CMD_SET_DEVICE, _VERSION, 0) + _U32.pack(_U32.size, _D_IFINDEX, index)
    parts: list[bytes] = []
    inside: list[PeerOperation] = []
    used = 0
    for operation in operations:
        for piece in _peer_pieces(operation):
            if used + len(piece) > _ROOM:
                yield Message(head + _nest(_D_PEERS, b"".join(parts)), tuple(inside))
                parts, inside, used = [], [], 0
            parts.append(piece)
            used += len(piece)
            if not inside or inside[-1] is not operation:
                inside.append(operation)
    if parts:
        yield Message(head + _nest(_D_PEERS, b"".join(parts)), tuple(inside))


def _peer_pieces(operation: PeerOperation) -> Iterator[bytes]:
    """The operation as nested peers, joined where they must be in one message."""
    key = _KEY.pack(_KEY.size, _P_PUBLIC_KEY, operation.public_key)
    if isinstance(operation, RemovePeer):
        yield _nest(0, key + _flags(_REMOVE_ME))
        return
    parts = [key]
    flags = 0 if operation.new else _UPDATE_ONLY
    if operation.only_these:
        flags |= _REPLACE_ALLOWED_IPS
    if flags:
        parts.append(_flags(flags))
    if operation.preshared_key is not None:
        parts.append(_KEY.pack(_KEY.size, _P_PRESHARED_KEY, operation.preshared_key))
    if operation.endpoint is not None:
        parts.append(_encode_endpoint(operation.endpoint))
    if operation.keepalive is not None:
        parts.append(_U16.pack(6, _P_KEEPALIVE, operation.keepalive))
    removal = b""
    if operation.replaces is not None:
        former = _KEY.pack(_KEY.size, _P_PUBLIC_KEY, operation.replaces)
        removal = _nest(0, former + _flags(_REMOVE_ME))
    room = _ROOM - sum(map(len, parts)) - 2 * _NLA.size - len(removal)
    *others, last = _chunks(operation.allowed_ips, room)
    for networks in others:
        yield _nest(0, b"".join(parts) + _nest(_P_ALLOWED_IPS, networks))
        parts = [key, _flags(_UPDATE_ONLY)]
    if last:
        parts.append(_nest(_P_ALLOWED_IPS, last))
    yield _nest(0, b"".join(parts)) + removal


def _chunks(networks: tuple[Network, ...], room: int) -> list[bytes]:
    """The allowed IPs in pieces of at most *room* bytes, one empty piece if there are none."""
    size = room // _ALLOWED_6.size
    return [
        b"".join(map(_encode_allowed_ip, networks[start : start + size]))
        for start in range(0, max(1, len(networks)), size)
    ]


def _encode_allowed_ip(network: Network) -> bytes:
    version = _ALLOWED_6 if network.version == 6 else _ALLOWED_4
    family = socket.AF_INET6 if network.version == 6 else socket.AF_INET
    address = network.network_address.packed
    return version.pack(
        version.size,
        _NESTED,
        6,
        _A_FAMILY,
        family,
        _NLA.size + len(address),
        _A_ADDRESS,
        address,
        5,
        _A_MASK,
        network.prefixlen,
    )


def _encode_endpoint(endpoint: Endpoint) -> bytes:
    port, address = _PORT.pack(endpoint.port), endpoint.address.packed
    if endpoint.address.version == 4:
        size = _SOCKADDR_IN.size
        return _SOCKADDR_IN.pack(size, _P_ENDPOINT, socket.AF_INET, port, address)
    size, scope = _SOCKADDR_IN6.size, endpoint.scope_id
    return _SOCKADDR_IN6.pack(size, _P_ENDPOINT, socket.AF_INET6, port, address, scope)


def _flags(flags: int) -> bytes:
    return _U32.pack(_U32.size, _P_FLAGS, flags)


def _nest(kind: int, body: bytes) -> bytes:
    return _NLA.pack(_NLA.size + len(body), kind | _NESTED) + body


# -- from the kernel ---------------------------------------------------------------------------


def decode_device(bodies: Iterable[bytes]) -> Settings:
    """A dump of one device, from all its messages: a peer may go on in the next."""
    settings = Settings()
    collected: dict[bytes, tuple[dict[int, bytes], list[Network]]] = {}
    for body in bodies:
        for kind, value in attributes(body, _GENL.size):
            if kind == _D_PRIVATE_KEY:
                settings.private_key = value
            elif kind == _D_LISTEN_PORT:
                settings.listen_port = int.from_bytes(value, sys.byteorder)
            elif kind == _D_FWMARK:
                settings.firewall_mark = int.from_bytes(value, sys.byteorder)
            elif kind == _D_PEERS:
                for _, nested in attributes(value):
                    peer = dict(attributes(nested))
                    known, networks = collected.setdefault(peer[_P_PUBLIC_KEY], (peer, []))
                    networks += _decode_allowed_ips(peer.get(_P_ALLOWED_IPS, b""))
    for key, (peer, networks) in collected.items():
        counters = _decode_counters(peer)
        settings.peers[key] = ActualPeer(
            public_key=key,
            preshared_key=peer.get(_P_PRESHARED_KEY, bytes(32)),
            endpoint=counters.endpoint,
            allowed_ips=tuple(networks),
            keepalive=int.from_bytes(peer.get(_P_KEEPALIVE, b""), sys.byteorder),
            last_handshake=counters.last_handshake,
            rx_bytes=counters.rx_bytes,
            tx_bytes=counters.tx_bytes,
        )
    return settings


def decode_statistics(bodies: Iterable[bytes]) -> dict[bytes, PeerStatistics]:
    """Only the counters of a dump: a third of the work of `decode_device`."""
    result: dict[bytes, PeerStatistics] = {}
    for body in bodies:
        for kind, value in attributes(body, _GENL.size):
            if kind != _D_PEERS:
                continue
            for _, nested in attributes(value):
                peer = dict(attributes(nested))
                if _P_HANDSHAKE in peer:  # else the rest of a long list of allowed IPs
                    result[peer[_P_PUBLIC_KEY]] = _decode_counters(peer)
    return result


def _decode_counters(peer: dict[int, bytes]) -> PeerStatistics:
    seconds, nanoseconds = _TIMESPEC.unpack(peer.get(_P_HANDSHAKE, bytes(16)))
    (received,) = _U64.unpack(peer.get(_P_RX_BYTES, bytes(8)))
    (sent,) = _U64.unpack(peer.get(_P_TX_BYTES, bytes(8)))
    return PeerStatistics(
        last_handshake=seconds * 1_000_000_000 + nanoseconds,
        rx_bytes=received,
        tx_bytes=sent,
        endpoint=_decode_endpoint(peer.get(_P_ENDPOINT, b"")),
    )


def _decode_endpoint(value: bytes) -> Endpoint | None:
    if len(value) == 16:
        (port,) = _PORT.unpack_from(value, 2)
        return Endpoint(IPv4Address(value[4:8]), port)
    if len(value) == 28:
        (port,) = _PORT.unpack_from(value, 2)
        address = IPv6Address(value[8:24])
        # For any other address the kernel keeps whatever scope came with a packet.
        scope = int.from_bytes(value[24:28], sys.byteorder) if address.is_link_local else 0
        return Endpoint(address, port, scope)
    return None


def _decode_allowed_ips(value: bytes) -> Iterator[Network]:
    for _, nested in attributes(value):
        parts = dict(attributes(nested))
        packed, length = parts[_A_ADDRESS], parts[_A_MASK][0]
        yield IPv6Network((packed, length)) if len(packed) == 16 else IPv4Network((packed, length))
