"""One process for one device."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from typing import Final

from .base import DeviceError

_UCRED: Final = struct.Struct("=iII")  # struct ucred: process, user, group


class Lock:
    """An abstract socket, of which a network namespace has but one; it goes with its process.

    Any user may take its name, so it counts only in the hands of root or of our own user.
    """

    def __init__(self, name: str) -> None:
        """Take it, on the running loop; DeviceError if another process has it."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._loop = asyncio.get_running_loop()
        try:
            self._socket.bind(_address(name))
            self._socket.listen()
        except OSError as error:
            if is_taken(name):
                self._socket.close()
                raise DeviceError(f"another process works on {name}") from error
        else:
            self._loop.add_reader(self._socket, self._turn_away)

    def close(self) -> None:
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def _turn_away(self) -> None:
        """Who asked has its answer; waiting it would fill the queue for the next."""
        self._socket.accept()[0].close()


def is_taken(name: str) -> bool:
    """Whether a process works on the device of this name."""
    return _listener(_address(name)) in (0, os.getuid())


def _address(name: str) -> str:
    return f"\0bmx7-wg/{name}"


def _listener(address: str) -> int | None:
    """The user who listens on a socket, None if nobody does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as caller:
        try:
            caller.connect(address)
        except OSError:
            return None
        credentials = caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        _, user, _ = _UCRED.unpack(credentials)
        return int(user)
