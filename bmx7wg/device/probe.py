"""Datagrams to a peer: one so that WireGuard begins a handshake, one that comes back."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from contextlib import suppress
from ipaddress import IPv6Address
from typing import Final

_PORT: Final = 9  # discard (RFC 863)
_PKTINFO: Final = struct.Struct("=16sI")  # struct in6_pktinfo: source, interface index
_ECHO_REQUEST: Final = bytes((128, 0, 0, 0, 0, 0, 0, 1))  # RFC 4443 4.1; the kernel completes it
_PATIENCE: Final = 6.0  # s; WireGuard tries a handshake again after 5


class Prober:
    """Sends through one interface and waits for nothing, not even for whether it could be sent."""

    def __init__(self) -> None:
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_INET6, kind)

    def send(self, address: IPv6Address, index: int) -> None:
        interface = _PKTINFO.pack(bytes(16), index)
        control = [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, interface)]
        with suppress(OSError):  # no device, no peer: another probe follows
            self._socket.sendmsg([b""], control, 0, (str(address), _PORT))

    def close(self) -> None:
        self._socket.close()


async def round_trip(address: IPv6Address) -> float:
    """Seconds until a peer's kernel answers: to an echo request or, where groups of this user
    may not send one (ping_group_range in icmp(7)), to a datagram that nobody takes there.

    TimeoutError if it doesn't.
    """
    try:
        asking = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM, socket.IPPROTO_ICMPV6)
    except PermissionError:
        asking = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    with asking:
        asking.setblocking(False)
        asking.connect((str(address), _PORT))
        begun = time.monotonic()
        try:
            asking.send(_ECHO_REQUEST)
            async with asyncio.timeout(_PATIENCE):
                await asyncio.get_running_loop().sock_recv(asking, 64)
        except ConnectionRefusedError:
            pass  # port unreachable: an answer as well
        except OSError as error:
            if isinstance(error, TimeoutError):
                raise
            raise TimeoutError(error.strerror) from error
        return time.monotonic() - begun
