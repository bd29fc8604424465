"""The UDP socket for all links (RFC 3542): what arrived where, and how far it came."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Final

from ..core.limits import LINK_GROUP, LINK_PORT
from ..core.linkframe import MAX_FRAME
from ..core.linkproto import HOP_LIMIT

_IPV6_MULTICAST_ALL: Final = 29  # linux/in6.h; not in Python's socket
_PACKET_INFO: Final = struct.Struct("=16sI")  # struct in6_pktinfo
_HOP_LIMIT: Final = struct.Struct("=i")
_MEMBERSHIP: Final = struct.Struct("=16sI")  # struct ipv6_mreq
_GROUP: Final = socket.inet_pton(socket.AF_INET6, LINK_GROUP)
_ANCILLARY: Final = socket.CMSG_SPACE(_PACKET_INFO.size) + socket.CMSG_SPACE(_HOP_LIMIT.size)


@dataclass(frozen=True)
class Datagram:
    interface: int
    source: IPv6Address
    hop_limit: int
    data: bytes  # one byte of what is longer than any frame is kept, so that it is noticed


class LinkSocket:
    """All methods raise OSError. *bound* is of the kind `sockets.LINK`, and closed if it fails."""

    def __init__(self, bound: socket.socket) -> None:
        self._socket = bound
        try:
            for option, value in (
                (_IPV6_MULTICAST_ALL, 0),  # only what this very socket has joined
                (socket.IPV6_MULTICAST_LOOP, 0),
                (socket.IPV6_MULTICAST_HOPS, HOP_LIMIT),
                (socket.IPV6_UNICAST_HOPS, HOP_LIMIT),
                (socket.IPV6_RECVPKTINFO, 1),
                (socket.IPV6_RECVHOPLIMIT, 1),
            ):
                self._socket.setsockopt(socket.IPPROTO_IPV6, option, value)
        except OSError:
            self.close()
            raise

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def join(self, interface: int) -> None:
        self._change_membership(socket.IPV6_JOIN_GROUP, interface)

    def leave(self, interface: int) -> None:
        self._change_membership(socket.IPV6_LEAVE_GROUP, interface)

    def send(self, interface: int, destination: IPv6Address, data: bytes) -> None:
        self._socket.sendto(data, (str(destination), LINK_PORT, 0, interface))

    def receive(self) -> Datagram | None:
        """The next datagram, None if there is none now."""
        try:
            data, ancillary, _, sender = self._socket.recvmsg(MAX_FRAME + 1, _ANCILLARY)
        except BlockingIOError:
            return None
        interface = hop_limit = 0
        for _, kind, value in ancillary:
            if kind == socket.IPV6_PKTINFO:
                _, interface = _PACKET_INFO.unpack(value)
            elif kind == socket.IPV6_HOPLIMIT:
                (hop_limit,) = _HOP_LIMIT.unpack(value)
        return Datagram(interface, IPv6Address(sender[0]), hop_limit, data)

    def _change_membership(self, option: int, interface: int) -> None:
        request = _MEMBERSHIP.pack(_GROUP, interface)
        self._socket.setsockopt(socket.IPPROTO_IPV6, option, request)
