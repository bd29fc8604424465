"""WireGuard's netlink messages (linux/wireguard.h), encoded; wgdump.py decodes the answers.

Only bytes here, no socket. A message to the kernel is kept under 8 KB: bigger ones are not
faster, and the kernel's rtnl lock is held while one is worked on. What belongs together (a peer's
new key and the removal of the old one) is in one message; only a list of allowed IPs too long
for that goes on in the next.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from ..core.model import Endpoint, Network
from ..core.operations import SetDevice
from ..core.planpeers import PeerOperation, RemovePeer

FAMILY: Final = "wireguard"
CMD_GET_DEVICE: Final = 0
CMD_SET_DEVICE: Final = 1
_VERSION: Final = 1

# enum wgdevice_attribute, wgpeer_attribute, wgallowedip_attribute
D_IFINDEX, D_PRIVATE_KEY, D_FLAGS, D_LISTEN_PORT, D_FWMARK, D_PEERS = 1, 3, 5, 6, 7, 8
P_PUBLIC_KEY, P_PRESHARED_KEY, P_FLAGS, P_ENDPOINT, P_KEEPALIVE = 1, 2, 3, 4, 5
P_HANDSHAKE, P_RX_BYTES, P_TX_BYTES, P_ALLOWED_IPS, P_VERSION = 6, 7, 8, 9, 10
A_FAMILY, A_ADDRESS, A_MASK = 1, 2, 3
_REPLACE_PEERS: Final = 1
_REMOVE_ME: Final = 1
_REPLACE_ALLOWED_IPS: Final = 2
_UPDATE_ONLY: Final = 4
_NESTED: Final = 0x8000

GENL: Final = struct.Struct("=BBH")  # command, version, reserved
NLA: Final = struct.Struct("=HH")  # length, type
_U16: Final = struct.Struct("=HHHxx")
_U32: Final = struct.Struct("=HHI")
_KEY: Final = struct.Struct("=HH32s")
PORT: Final = struct.Struct("!H")
# struct sockaddr_in and sockaddr_in6: port, address and flow in network order, scope in our own
_SOCKADDR_IN: Final = struct.Struct("=HHH2s4s8x")
_SOCKADDR_IN6: Final = struct.Struct("=HHH2s4x16sI")

# What is the same in every peer, or in every allowed IP.
_PUBLIC_KEY: Final = NLA.pack(_KEY.size, P_PUBLIC_KEY)
_PRESHARED_KEY: Final = NLA.pack(_KEY.size, P_PRESHARED_KEY)
_FLAGS: Final = tuple(_U32.pack(_U32.size, P_FLAGS, flags) for flags in range(8))
_ALLOWED: Final = struct.Struct("=HHHHHxxHH")  # nest, family, header of the address
_ALLOWED_4: Final = _ALLOWED.pack(
    _ALLOWED.size + 4 + 8, _NESTED, 6, A_FAMILY, socket.AF_INET, NLA.size + 4, A_ADDRESS
)
_ALLOWED_6: Final = _ALLOWED.pack(
    _ALLOWED.size + 16 + 8, _NESTED, 6, A_FAMILY, socket.AF_INET6, NLA.size + 16, A_ADDRESS
)
_ALLOWED_SIZE: Final = len(_ALLOWED_6) + 16 + 8  # bytes, of the longer kind
_MASK: Final = tuple(struct.pack("=HHBxxx", 5, A_MASK, length) for length in range(129))

MESSAGE_SIZE: Final = 8192  # bytes, with all headers
_ROOM: Final = MESSAGE_SIZE - 16 - GENL.size - _U32.size - NLA.size  # for peers


def encode_get(index: int) -> bytes:
    """The request for a dump of the device with an interface index."""
    return GENL.pack(CMD_GET_DEVICE, _VERSION, 0) + _U32.pack(_U32.size, D_IFINDEX, index)


def encode_device(index: int, change: SetDevice) -> bytes:
    parts = [GENL.pack(CMD_SET_DEVICE, _VERSION, 0), _U32.pack(_U32.size, D_IFINDEX, index)]
    if change.private_key is not None:
        parts.append(_KEY.pack(_KEY.size, D_PRIVATE_KEY, change.private_key))
    if change.listen_port is not None:
        parts.append(_U16.pack(6, D_LISTEN_PORT, change.listen_port))
    if change.firewall_mark is not None:
        parts.append(_U32.pack(_U32.size, D_FWMARK, change.firewall_mark))
    return b"".join(parts)


def encode_remove_peers(index: int) -> bytes:
    """Remove all peers at once: before the link goes, which would wait 15 ms for each."""
    parts = [GENL.pack(CMD_SET_DEVICE, _VERSION, 0), _U32.pack(_U32.size, D_IFINDEX, index)]
    return b"".join(parts) + _U32.pack(_U32.size, D_FLAGS, _REPLACE_PEERS)


@dataclass(frozen=True)
class Message:
    """A message's body, and the operations in it (the last may go on in the next message)."""

    body: bytes
    operations: tuple[PeerOperation, ...]


def encode_peers(index: int, operations: Iterable[PeerOperation]) -> Iterator[Message]:
    """As few messages as hold the operations, in their order."""
    head = GENL.pack(CMD_SET_DEVICE, _VERSION, 0) + _U32.pack(_U32.size, D_IFINDEX, index)
    parts: list[bytes] = []
    inside: list[PeerOperation] = []
    used = 0
    for operation in operations:
        for piece in _peer_pieces(operation):
            if used + len(piece) > _ROOM:
                yield Message(head + _nest(D_PEERS, b"".join(parts)), tuple(inside))
                parts, inside, used = [], [], 0
            parts.append(piece)
            used += len(piece)
            if not inside or inside[-1] is not operation:
                inside.append(operation)
    if parts:
        yield Message(head + _nest(D_PEERS, b"".join(parts)), tuple(inside))


def _peer_pieces(operation: PeerOperation) -> Iterator[bytes]:
    """The operation as nested peers, joined where they must be in one message."""
    key = _PUBLIC_KEY + operation.public_key
    if isinstance(operation, RemovePeer):
        yield _nest(0, key + _FLAGS[_REMOVE_ME])
        return
    peer = key
    flags = 0 if operation.new else _UPDATE_ONLY
    if operation.only_these:
        flags |= _REPLACE_ALLOWED_IPS
    if flags:
        peer += _FLAGS[flags]
    if operation.preshared_key is not None:
        peer += _PRESHARED_KEY + operation.preshared_key
    if operation.endpoint is not None:
        peer += _encode_endpoint(operation.endpoint)
    if operation.keepalive is not None:
        peer += _U16.pack(6, P_KEEPALIVE, operation.keepalive)
    removal = b""
    if operation.replaces is not None:
        removal = _nest(0, _PUBLIC_KEY + operation.replaces + _FLAGS[_REMOVE_ME])
    networks = operation.allowed_ips
    room = _ROOM - len(peer) - 2 * NLA.size - len(removal)
    fitting = room // _ALLOWED_SIZE
    while len(networks) > fitting:
        yield _nest(0, peer + _encode_allowed_ips(networks[:fitting]))
        networks = networks[fitting:]
        peer = key + _FLAGS[_UPDATE_ONLY]
    if networks:
        peer += _encode_allowed_ips(networks)
    yield _nest(0, peer) + removal


def _encode_allowed_ips(networks: tuple[Network, ...]) -> bytes:
    parts = []
    for network in networks:
        parts.append(_ALLOWED_6 if network.version == 6 else _ALLOWED_4)
        parts.append(network.network_address.packed)
        parts.append(_MASK[network.prefixlen])
    return _nest(P_ALLOWED_IPS, b"".join(parts))


def _encode_endpoint(endpoint: Endpoint) -> bytes:
    port, address = PORT.pack(endpoint.port), endpoint.address.packed
    if endpoint.address.version == 4:
        size = _SOCKADDR_IN.size
        return _SOCKADDR_IN.pack(size, P_ENDPOINT, socket.AF_INET, port, address)
    size, scope = _SOCKADDR_IN6.size, endpoint.scope_id
    return _SOCKADDR_IN6.pack(size, P_ENDPOINT, socket.AF_INET6, port, address, scope)


def _nest(kind: int, body: bytes) -> bytes:
    return NLA.pack(NLA.size + len(body), kind | _NESTED) + body
