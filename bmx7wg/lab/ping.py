"""Echo requests from inside a node, as often as wanted: ping(8) without its start-up time."""

from __future__ import annotations

import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from ipaddress import IPv6Address
from types import TracebackType
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
    """Sends echo requests from a node and sees the replies."""

    def __init__(self, namespace: Namespace) -> None:
        self._name = namespace.name
        self._socket = namespace.in_network(_open)
        self._id = os.getpid() & 0xFFFF

    def __enter__(self) -> Pinger:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._socket.close()

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
                raise LabError(f"{self._name}: no answer from {silent} in {timeout:g} s")
            for address in missing:
                self._send(address)
            turn = time.monotonic() + period
            while missing - times.keys() and (reply := self._reply(turn)):
                times.setdefault(reply.address, reply.received - reply.sent)
        return times

    def first_answer(
        self,
        address: Callable[[], IPv6Address | None],
        *,
        timeout: float,
        period: float = 0.002,
        stop: threading.Event | None = None,
    ) -> Reply:
        """Ping every *period* seconds until the first answer.

        *address* is asked each time until it knows. LabError after *timeout* seconds or *stop*.
        """
        deadline = time.monotonic() + timeout
        known: IPv6Address | None = None
        while (now := time.monotonic()) < deadline and not (stop and stop.is_set()):
            known = known or address()
            if known:
                self._send(known)
            while reply := self._reply(now + period):
                if reply.address == known:
                    return reply
        raise LabError(f"{self._name}: no answer from {known or 'a node without address'}")

    def _send(self, address: IPv6Address) -> None:
        packet = _PACKET.pack(_ECHO_REQUEST, 0, 0, self._id, 0, time.monotonic())
        try:
            self._socket.sendto(packet, (str(address), 0))
        except OSError:
            pass  # no route, no device, no peer: not yet

    def _reply(self, until: float) -> Reply | None:
        """The next reply; None when there is none up to a time."""
        while (left := until - time.monotonic()) > 0:
            if not select.select([self._socket], [], [], left)[0]:
                break
            try:
                packet, source = self._socket.recvfrom(2048)
            except OSError:
                continue  # an ICMP error that an earlier request met
            now = time.monotonic()
            if len(packet) == _PACKET.size:
                _, _, _, identifier, _, sent = _PACKET.unpack(packet)
                if identifier == self._id:
                    return Reply(IPv6Address(source[0].partition("%")[0]), sent, now)
        return None


def _open() -> socket.socket:
    raw = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    raw.setblocking(False)
    passed = bytearray(b"\xff" * 32)  # a bit for each type, little end of each word first: refused
    passed[_ECHO_REPLY // 8] &= ~(1 << _ECHO_REPLY % 8)
    raw.setsockopt(socket.IPPROTO_ICMPV6, _ICMPV6_FILTER, bytes(passed))
    return raw
