"""A netlink socket of any family (linux/netlink.h): rtnetlink and WireGuard's stand on it."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, Self

# linux/netlink.h
HEADER: Final = struct.Struct("=IHHII")  # length, type, flags, sequence, port id
_ERRNO: Final = struct.Struct("=i")
_ATTRIBUTE: Final = struct.Struct("=HH")  # length, type
_TYPE_MASK: Final = 0x3FFF
_NLMSG_ERROR: Final = 2
_NLMSG_DONE: Final = 3
_F_REQUEST: Final = 0x001
_F_ACK: Final = 0x004
_F_DUMP_INTR: Final = 0x010
_F_CAPPED: Final = 0x100
_F_ACK_TLVS: Final = 0x200
F_DUMP: Final = 0x300
F_REPLACE: Final = 0x100
F_EXCL: Final = 0x200
F_CREATE: Final = 0x400
_NLMSGERR_ATTR_MSG: Final = 1
SOL_NETLINK: Final = 270
ADD_MEMBERSHIP: Final = 1
_CAP_ACK: Final = 10
_EXT_ACK: Final = 11
_GET_STRICT_CHK: Final = 12

RECEIVE: Final = 65536  # bytes; a smaller buffer than a dump's message truncates it
_DUMP_TRIES: Final = 10  # a dump that others' changes interrupted is begun anew
_TIMEOUT: Final = 30.0  # s; the kernel always answers, a device of 1,000 peers slowly
_TOGETHER: Final = 100  # requests sent at once: the refusals of all fit into the receive buffer


class NetlinkError(OSError):
    """The kernel refused a request; the text has its explanation where it gave one."""


class Overrun(Exception):
    """Events were lost (ENOBUFS): read everything anew."""


class Request(NamedTuple):
    """A message to be sent: its type, its body, flags beside those of every request."""

    kind: int
    body: bytes
    flags: int = 0


class Netlink:
    """A blocking netlink socket of any family: requests out, replies back."""

    def __init__(self, protocol: int) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_NETLINK, kind, protocol)
        for option in (_CAP_ACK, _EXT_ACK, _GET_STRICT_CHK):
            self._socket.setsockopt(SOL_NETLINK, option, 1)
        self._socket.bind((0, 0))
        self._socket.settimeout(_TIMEOUT)
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def request(
        self, kind: int, body: bytes, flags: int = 0, most: int | None = None
    ) -> list[bytes]:
        """Send one message and return the bodies of its replies, *most* of them, once it is done.

        Raises NetlinkError if the kernel refuses it, TimeoutError if it does not answer.
        """
        for _ in range(_DUMP_TRIES):
            self._sequence += 1
            flags |= _F_REQUEST | (0 if flags & F_DUMP == F_DUMP else _F_ACK)
            length = HEADER.size + len(body)
            self._socket.send(HEADER.pack(length, kind, flags, self._sequence, 0) + body)
            replies, interrupted = self._replies(most)
            if not interrupted:
                return replies
        raise NetlinkError(errno.EINTR, "the kernel's tables keep changing while they are read")

    def batch(self, requests: Sequence[Request]) -> dict[int, NetlinkError]:
        """Send requests that have no reply, many at a time; what was refused, by position.

        One that is refused does not hold up the others, and the kernel's locks are free for
        others between any two. Raises TimeoutError if the kernel does not answer.
        """
        refused: dict[int, NetlinkError] = {}
        for start in range(0, len(requests), _TOGETHER):
            first = self._sequence + 1
            self._send(requests[start : start + _TOGETHER])
            for sequence, error in self._refusals(first):
                refused[start + sequence - first] = error
        return refused

    def _send(self, requests: Sequence[Request]) -> None:
        """All as one datagram. Only the last one is acknowledged; refusals come of all."""
        parts: list[bytes] = []
        for left, (kind, body, flags) in zip(range(len(requests) - 1, -1, -1), requests):
            self._sequence += 1
            flags |= _F_REQUEST | (0 if left else _F_ACK)
            parts += HEADER.pack(HEADER.size + len(body), kind, flags, self._sequence, 0), body
        self._socket.send(b"".join(parts))

    def _refusals(self, first: int) -> Iterator[tuple[int, NetlinkError]]:
        """Of the requests from the sequence number *first* to the last one, which is answered."""
        while True:
            for kind, flags, sequence, body in messages(self._socket.recv(RECEIVE)):
                if kind != _NLMSG_ERROR or sequence < first:
                    continue  # of a request given up at its timeout
                (code,) = _ERRNO.unpack_from(body)
                if code:
                    yield sequence, NetlinkError(-code, _explain(-code, kind, flags, body))
                if sequence == self._sequence:
                    return

    def _replies(self, most: int | None) -> tuple[list[bytes], bool]:
        replies: list[bytes] = []
        interrupted = False
        while True:
            for kind, flags, sequence, body in messages(self._socket.recv(RECEIVE)):
                if sequence != self._sequence:
                    continue  # of a request given up at its timeout
                interrupted |= bool(flags & _F_DUMP_INTR)
                if kind == _NLMSG_ERROR or kind == _NLMSG_DONE:
                    (code,) = _ERRNO.unpack_from(body)
                    if code:
                        raise NetlinkError(-code, _explain(-code, kind, flags, body))
                    return replies, interrupted
                if most is None or len(replies) < most:
                    replies.append(body)


def messages(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Split what was received into messages: type, flags, sequence number, body."""
    position = 0
    while position + HEADER.size <= len(data):
        length, kind, flags, sequence, _ = HEADER.unpack_from(data, position)
        if not HEADER.size <= length <= len(data) - position:
            raise NetlinkError(errno.EBADMSG, "a netlink message of impossible length")
        yield kind, flags, sequence, data[position + HEADER.size : position + length]
        position += length + 3 & ~3


def attributes(data: bytes, position: int = 0) -> Iterator[tuple[int, bytes]]:
    """The attributes in a message's body from *position* on: type without flags, value."""
    while position + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, position)
        if not _ATTRIBUTE.size <= length <= len(data) - position:
            raise NetlinkError(errno.EBADMSG, "a netlink attribute of impossible length")
        yield kind & _TYPE_MASK, data[position + _ATTRIBUTE.size : position + length]
        position += length + 3 & ~3


def _explain(code: int, kind: int, flags: int, body: bytes) -> str:
    """The error's text, with the kernel's own message if there is one."""
    text = os.strerror(code)
    if not flags & _F_ACK_TLVS:
        return text
    position = _ERRNO.size
    if kind == _NLMSG_ERROR:  # after it, the header of the request, or all of it
        (length,) = struct.unpack_from("=I", body, position)
        position += HEADER.size if flags & _F_CAPPED else length + 3 & ~3
    for attribute, value in attributes(body, position):
        if attribute == _NLMSGERR_ATTR_MSG:
            return f"{text}: {value.rstrip(bytes(1)).decode('ascii', 'replace')}"
    return text
