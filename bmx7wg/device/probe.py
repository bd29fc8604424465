"""One datagram to a peer, so that WireGuard begins a handshake with it."""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv6Address
from typing import Final

_PORT: Final = 9  # discard (RFC 863)
_PKTINFO: Final = struct.Struct("=16sI")  # struct in6_pktinfo: source, interface index


class Prober:
    """Sends through one interface and waits for nothing. What can't be sent is counted."""

    def __init__(self) -> None:
        self.failed = 0
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_INET6, kind)

    def send(self, address: IPv6Address, index: int) -> None:
        interface = _PKTINFO.pack(bytes(16), index)
        control = [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, interface)]
        try:
            self._socket.sendmsg([b""], control, 0, (str(address), _PORT))
        except OSError:
            self.failed += 1

    def close(self) -> None:
        self._socket.close()
