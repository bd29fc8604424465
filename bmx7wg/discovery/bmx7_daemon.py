"""Whether a bmx7 is alive, and the moment in which it dies.

Neither ``sock`` nor ``pid`` goes away with the daemon, however it ends. So: somebody answers at
the socket, and the process of the pid file is watched (pidfd_open(2)), which needs no polling.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from .bmx7_files import Paths

_LISTENING: Final = (0, errno.EAGAIN)  # EAGAIN: its queue is full, so it is alive, and busy


@dataclass(frozen=True)
class Daemon:
    """One run of bmx7. Each binds its socket anew, so even without a pid no two are equal."""

    pid: int  # 0: not known, as when it is of another pid namespace
    socket: tuple[int, int]  # inode, time of modification in ns


class DaemonWatch:
    """Follows one bmx7; *died* is called on the loop, once for each daemon that was followed."""

    def __init__(self, paths: Paths, died: Callable[[], None]) -> None:
        self._paths = paths
        self._died = died
        self._pid = 0
        self._pidfd = -1
        self.refused = False  # the socket is there, but not for us

    def probe(self) -> Daemon | None:
        """The daemon that runs now, followed from here on as far as its pid is known."""
        error = _connect(self._paths.socket)
        self.refused = error == errno.EACCES
        if error not in _LISTENING:
            self.forget()
            return None
        pid = self._read_pid()
        if pid != self._pid:
            self.forget()
            self._follow(pid)
        try:
            found = os.stat(self._paths.socket)
        except OSError:
            self.forget()
            return None
        return Daemon(self._pid, (found.st_ino, found.st_mtime_ns))

    def forget(self) -> None:
        """Follow nobody any more."""
        if self._pidfd >= 0:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
        self._pid, self._pidfd = 0, -1

    def _read_pid(self) -> int:
        try:
            with open(self._paths.pid, "rb") as file:
                return max(0, int(file.read(16)))
        except (OSError, ValueError):
            return 0

    def _follow(self, pid: int) -> None:
        if not pid:
            return
        try:
            self._pidfd = os.pidfd_open(pid)
        except OSError:
            return  # not of our pid namespace, or just gone: the socket tells
        self._pid = pid
        asyncio.get_running_loop().add_reader(self._pidfd, self._ended)

    def _ended(self) -> None:
        self.forget()
        self._died()


def _connect(path: str) -> int:
    """The errno of a connection to a UNIX stream socket, 0 if somebody answers; never waits."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as sock:
        try:
            return sock.connect_ex(path)
        except OSError:  # a path that is too long for a socket (unix(7))
            return errno.ENAMETOOLONG
