"""The sockets of the Internet, also where a sandbox lets the service make none.

`open_socket` makes one, or asks for it at a socket of systemd's, which then runs this module as a
program: it hands one socket over at its standard input and ends. It imports little: somebody waits.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from .core.limits import LINK_PORT

UNIT: Final = "bmx7-wg-sockets.socket"
PATH: Final = "/run/bmx7-wg-sockets"

LINK: Final = "link"  # bound to the port of the link protocol
PROBE: Final = "probe"  # for echo requests, or for datagrams

_STATUS: Final = struct.Struct("=i")  # an errno, or 0 and the socket beside it (SCM_RIGHTS)
_LONGEST: Final = 16  # bytes of a name
_LIMIT: Final = 5.0  # s for an answer; it takes a tenth of one


def _link() -> socket.socket:
    # Without SO_REUSEADDR: another process could take over the answers meant for us.
    made = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    try:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(("::", LINK_PORT))
    except OSError:
        made.close()
        raise
    return made


def _probe() -> socket.socket:
    """ICMPv6 or, where this user's groups may not (ping_group_range in icmp(7)), UDP."""
    with suppress(PermissionError):
        return socket.socket(socket.AF_INET6, socket.SOCK_DGRAM, socket.IPPROTO_ICMPV6)
    return socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)


_KINDS: Final[dict[str, Callable[[], socket.socket]]] = {LINK: _link, PROBE: _probe}


def allowed() -> bool:
    """Whether this process may make them itself (RestrictAddressFamilies=)."""
    try:
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).close()
    except OSError as error:
        return error.errno != errno.EAFNOSUPPORT
    return True


def make(kind: str) -> socket.socket:
    """A socket that doesn't block. OSError, as socket(2) or bind(2) has it."""
    made = _KINDS[kind]()
    made.setblocking(False)
    return made


async def open_socket(kind: str) -> socket.socket:
    """The same, asked for if need be; OSError also if nobody answers."""
    return make(kind) if allowed() else await _ask(kind)


async def _ask(kind: str) -> socket.socket:
    import asyncio

    loop, came = asyncio.get_running_loop(), asyncio.Event()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK) as asking:
        try:
            asking.connect(PATH)
            asking.send(kind.encode())
            loop.add_reader(asking, came.set)
            try:
                async with asyncio.timeout(_LIMIT):
                    await came.wait()
            finally:
                loop.remove_reader(asking)
            answer, descriptors, _, _ = socket.recv_fds(asking, _STATUS.size, 1)
            if not answer:
                raise ConnectionResetError(errno.ECONNRESET, "no answer")
        except OSError as error:
            code, what = error.errno or errno.ETIMEDOUT, error.strerror or "no answer"
            raise OSError(code, f"{UNIT}: {what}; systemctl restart {UNIT}") from None
    if not descriptors:
        (code,) = _STATUS.unpack(answer)
        raise OSError(code, os.strerror(code))
    os.set_inheritable(descriptors[0], False)
    made = socket.socket(fileno=descriptors[0])
    made.setblocking(False)
    return made


def serve(asked: socket.socket) -> None:
    """Make the one socket that is asked for and hand it over, or say why not."""
    try:
        made = make(asked.recv(_LONGEST).decode("ascii", "replace"))
    except KeyError:
        asked.send(_STATUS.pack(errno.EINVAL))
    except OSError as error:
        asked.send(_STATUS.pack(error.errno or errno.EIO))
    else:
        with made:
            socket.send_fds(asked, [_STATUS.pack(0)], [made.fileno()])


if __name__ == "__main__":
    with suppress(BrokenPipeError, ConnectionResetError):  # who asked has gone
        serve(socket.socket(fileno=0))
