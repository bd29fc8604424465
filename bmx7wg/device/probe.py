"""Echo requests to peers: so that WireGuard begins a handshake, and to measure the way."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import struct
import time
from ipaddress import IPv6Address
from typing import Final

from .. import sockets
from ..core.limits import MAX_PEERS

log = logging.getLogger("bmx7wg.device")

_PORT: Final = 9  # discard (RFC 863)
_PKTINFO: Final = struct.Struct("=16sI")  # struct in6_pktinfo: source, interface index
_ECHO: Final = struct.Struct("!BBHHH")  # RFC 4443 4.1: type, code, checksum, identifier, number
_REQUEST: Final = 128
_NUMBERS: Final = 0xFFFF  # from 1 on; 0 is that of who waits for no answer

# linux/in6.h and linux/errqueue.h
_IPV6_RECVERR: Final = 25
_EXTENDED_ERROR: Final = struct.Struct("=IBBBBII")  # errno, …; the sender's address follows
_ANCILLARY: Final = socket.CMSG_SPACE(_EXTENDED_ERROR.size + 28)

_PATIENCE: Final = 6.0  # s; WireGuard tries a handshake again after 5
_AGAIN: Final = 10.0  # s after which a socket is asked for again
_READS: Final = 32  # answers at most, before others have their turn


class Prober:
    """Sends through one interface; each answer is known by its sender and its number.

    The kernel completes and reads ICMPv6. Where the socket is one of UDP, the same bytes go to a
    port at which nobody is, and the answer is that it can't be reached.
    """

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._usable = asyncio.Event()
        self._waiting: dict[IPv6Address, int] = {}
        self._asked: dict[tuple[IPv6Address, int], asyncio.Future[None]] = {}
        self._number = 0
        self._opening: asyncio.Task[None] | None = None
        if sockets.allowed():
            self._use(sockets.make(sockets.PROBE))

    def open(self) -> None:
        """Ask for a socket, if there is none and nobody has asked; what is sent waits for it."""
        if self._socket is None and self._opening is None:
            self._opening = asyncio.get_running_loop().create_task(self._open())

    def send(self, address: IPv6Address, index: int) -> None:
        """Send one and wait for nothing, not even for whether it could be sent."""
        if self._socket is not None:
            self._send(address, index, 0)
        elif len(self._waiting) < MAX_PEERS:
            self._waiting[address] = index

    async def measure(self, address: IPv6Address, index: int) -> float:
        """Seconds until a peer's kernel answers; TimeoutError if it doesn't."""
        async with asyncio.timeout(_PATIENCE):
            await self._usable.wait()
            self._number = self._number % _NUMBERS + 1
            asked = address, self._number
            answered = self._asked[asked] = asyncio.get_running_loop().create_future()
            begun = time.monotonic()
            try:
                if error := self._send(address, index, asked[1]):
                    raise TimeoutError(os.strerror(error))  # no device, no peer
                await answered
            finally:
                del self._asked[asked]
            return time.monotonic() - begun

    async def close(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait([self._opening])
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()

    async def _open(self) -> None:
        said = False
        while self._socket is None:
            try:
                self._use(await sockets.open_socket(sockets.PROBE))
            except OSError as error:
                if not said:
                    log.warning("peers can't be probed: %s", error.strerror)
                said = True
                await asyncio.sleep(_AGAIN)

    def _use(self, made: socket.socket) -> None:
        made.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
        self._socket = made
        asyncio.get_running_loop().add_reader(made, self._came)
        self._usable.set()
        for address, index in self._waiting.items():
            self._send(address, index, 0)
        self._waiting.clear()

    def _send(self, address: IPv6Address, index: int, number: int) -> int:
        """The errno, if it can't be sent."""
        assert self._socket is not None
        request = _ECHO.pack(_REQUEST, 0, 0, 0, number)
        control = [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, _PKTINFO.pack(bytes(16), index))]
        code = 0
        for _ in range(2):  # the first may be told what became of an earlier one
            try:
                self._socket.sendmsg([request], control, 0, (str(address), _PORT))
                return 0
            except OSError as error:
                code = error.errno or 0
        return code

    def _came(self) -> None:
        """Answers are in one queue, errors in another; both are emptied, or we are called again."""
        assert self._socket is not None
        for flags in (0, socket.MSG_ERRQUEUE):
            for _ in range(_READS):
                try:
                    data, ancillary, _, peer = self._socket.recvmsg(_ECHO.size, _ANCILLARY, flags)
                except BlockingIOError:
                    break
                except OSError:
                    continue  # that there is an error, which is in the other queue
                self._answered(data, IPv6Address(peer[0]), _error(ancillary))

    def _answered(self, data: bytes, address: IPv6Address, error: int) -> None:
        if len(data) < _ECHO.size:
            return
        *_, number = _ECHO.unpack(data)
        asked = self._asked.get((address, number))
        if asked is None or asked.done():
            return
        # A port that can't be reached is at a kernel that can.
        if error in (0, errno.ECONNREFUSED):
            asked.set_result(None)
        else:
            asked.set_exception(TimeoutError(os.strerror(error)))


def _error(ancillary: list[tuple[int, int, bytes]]) -> int:
    for level, kind, value in ancillary:
        if (level, kind) == (socket.IPPROTO_IPV6, _IPV6_RECVERR):
            code: int = _EXTENDED_ERROR.unpack_from(value)[0]
            return code
    return 0
