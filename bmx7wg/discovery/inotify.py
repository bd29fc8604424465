"""A small inotify(7) for the event loop, over the C library's three functions."""

from __future__ import annotations

import asyncio
import ctypes
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

# linux/inotify.h
IN_MODIFY: Final = 0x002
IN_CLOSE_WRITE: Final = 0x008
IN_MOVED_FROM: Final = 0x040
IN_MOVED_TO: Final = 0x080
IN_CREATE: Final = 0x100
IN_DELETE: Final = 0x200
IN_DELETE_SELF: Final = 0x400
IN_MOVE_SELF: Final = 0x800
IN_UNMOUNT: Final = 0x2000
IN_Q_OVERFLOW: Final = 0x4000
IN_IGNORED: Final = 0x8000
IN_ONLYDIR: Final = 0x1000000

_EVENT: Final = struct.Struct("=iIII")  # watch, mask, cookie, length of the name
_RECEIVE: Final = 64 * 1024  # bytes a turn, some 800 events; the rest waits for the next turn


@dataclass(frozen=True)
class Event:
    """Something happened to a watched directory, or to ``name`` in it.

    ``watch`` is -1 when events were lost (IN_Q_OVERFLOW): then all must be read anew.
    """

    watch: int
    mask: int
    name: bytes  # as on disk, in whatever encoding; empty: the directory itself


def parse_events(data: bytes) -> list[Event]:
    """What one read(2) of an inotify descriptor returned; the kernel never splits an event."""
    events = []
    offset = 0
    while offset < len(data):
        watch, mask, _, length = _EVENT.unpack_from(data, offset)
        offset += _EVENT.size
        events.append(Event(watch, mask, data[offset : offset + length].rstrip(b"\0")))
        offset += length
    return events


class Inotify:
    """Watches directories; *notify* is called on the running loop, once for each read.

    The constructor and `add` raise OSError: EMFILE and ENOSPC are the kernel's limits
    (``fs.inotify.max_user_instances``, ``max_user_watches``).
    """

    def __init__(self, notify: Callable[[list[Event]], None]) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._notify = notify
        self._fd = self._checked(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._read)

    def add(self, path: str, mask: int) -> int:
        """Watch a directory; the same directory again gives the same number, with the new mask."""
        raw = ctypes.c_char_p(os.fsencode(path))
        return self._checked(
            self._libc.inotify_add_watch(self._fd, raw, ctypes.c_uint32(mask | IN_ONLYDIR)), path
        )

    def remove(self, watch: int) -> None:
        """Stop watching. A watch that went with its directory is no error."""
        self._libc.inotify_rm_watch(self._fd, watch)

    def close(self) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    @staticmethod
    def _checked(result: int, path: str = "") -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), path or "inotify")
        return result

    def _read(self) -> None:
        try:
            data = os.read(self._fd, _RECEIVE)
        except (BlockingIOError, InterruptedError):
            return
        self._notify(parse_events(data))
