"""Echo requests from inside a node, as often as wanted: ping(8) without its start-up time."""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Final

from .namespace import Namespace
from .waiting import LabError

_ECHO_REQUEST: Final = 128  # RFC 4443 4.1
_ECHO_REPLY: Final = 129
_ICMPV6_FILTER: Final = 1  # linux/icmpv6.h
# Type, code, checksum (the kernel's), identifier, sequence; then our data: when it was sent.
_PACKET: Final = struct.Struct("!BBHHHd")


@dataclass(frozen=True)
class Reply:
    """An answer; times are monotonic, in seconds."""

    address: IPv6Address
    sent: float
    received: float


class Pinger:
    """Sends echo requests from a node and sees the replies; link-local ones on an interface."""

    def __init__(self, namespace: Namespace, interface: str = "") -> None:
        self.name: Final = namespace.name
        self._socket = namespace.in_network(_open)
        if interface:
            name = interface.encode()
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name)
        self._id = os.getpid() & 0xFFFF

    def __enter__(self) -> Pinger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def fileno(self) -> int:
        """For select(2): readable when there may be a reply."""
        return self._socket.fileno()

    def send(self, address: IPv6Address) -> None:
        """Send one echo request; nothing happens where there is no way."""
        packet = _PACKET.pack(_ECHO_REQUEST, 0, 0, self._id, 0, time.monotonic())
        try:
            self._socket.sendto(packet, (str(address), 0))
        except OSError:
            pass  # no route, no device, no peer: not yet

    def receive(self) -> Reply | None:
        """A reply that is there already, if any."""
        while True:
            try:
                packet, source = self._socket.recvfrom(2048)
            except BlockingIOError:
                return None
            except OSError:
                continue  # an ICMP error that an earlier request met
            now = time.monotonic()
            if len(packet) == _PACKET.size:
                _, _, _, identifier, _, sent = _PACKET.unpack(packet)
                if identifier == self._id:
                    return Reply(IPv6Address(source[0].partition("%")[0]), sent, now)

    def round_trips(
        self, addresses: Collection[IPv6Address], *, timeout: float, period: float = 0.1
    ) -> dict[IPv6Address, float]:
        """Ping until each address has answered once; the round-trip times in seconds.

        LabError names those that did not answer within *timeout* seconds.
        """
        times: dict[IPv6Address, float] = {}
        deadline = time.monotonic() + timeout
        while missing := set(addresses) - times.keys():
            if time.monotonic() > deadline:
                silent = ", ".join(str(address) for address in sorted(missing))
                raise LabError(f"{self.name}: no answer from {silent} in {timeout:g} s")
            for address in missing:
                self.send(address)
            turn = time.monotonic() + period
            while missing - times.keys() and (left := turn - time.monotonic()) > 0:
                select.select([self], [], [], left)
                while reply := self.receive():
                    times.setdefault(reply.address, reply.received - reply.sent)
        return times


def _open() -> socket.socket:
    raw = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    raw.setblocking(False)
    passed = bytearray(b"\xff" * 32)  # a bit for each type, little end of each word first: refused
    passed[_ECHO_REPLY // 8] &= ~(1 << _ECHO_REPLY % 8)
    raw.setsockopt(socket.IPPROTO_ICMPV6, _ICMPV6_FILTER, bytes(passed))
    return raw
