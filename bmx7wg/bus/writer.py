"""What goes out on a connection: queued, joined, and sent once per turn of the loop."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter, deque
from collections.abc import Callable
from typing import Final

#: Bytes joined into one send; about what a Unix socket takes at once.
BLOCK: Final = 256 * 1024


class Writer:
    """The queue of one connection: FIFO, never blocking, never failing for a full socket.

    It does not bound itself; `backlog` tells those who produce when to hold back, for the
    whole queue or for one destination ("" for signals).
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        failed: Callable[[OSError], None],
        drained: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._failed = failed
        self._drained = drained
        self._queue: deque[tuple[bytes, str]] = deque()
        self._rest = memoryview(b"")  # joined already, not sent yet
        self._queued: Counter[str] = Counter()  # bytes by destination
        self._size = 0
        self._scheduled = False
        self._closed = False

    def put(self, data: bytes, destination: str = "") -> None:
        if self._closed:
            return
        self._queue.append((data, destination))
        self._queued[destination] += len(data)
        self._size += len(data)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def backlog(self, destination: str | None = None) -> int:
        """Bytes waiting to be sent, to one destination or in all."""
        return self._size if destination is None else self._queued[destination]

    def close(self) -> None:
        """Send nothing more; what is queued is dropped."""
        self._closed = True
        self._loop.remove_writer(self._sock)
        self._queue.clear()
        self._queued.clear()
        self._rest = memoryview(b"")
        self._size = 0

    def _flush(self) -> None:
        if self._closed:
            return
        try:
            while self._rest or self._join():
                sent = self._sock.send(self._rest)
                self._rest = self._rest[sent:]
                self._size -= sent
        except BlockingIOError:
            self._loop.add_writer(self._sock, self._flush)
            return
        except OSError as error:
            self._failed(error)
            return
        self._loop.remove_writer(self._sock)
        self._scheduled = False
        self._drained()

    def _join(self) -> bool:
        block: list[bytes] = []
        size = 0
        while self._queue and (not block or size + len(self._queue[0][0]) <= BLOCK):
            data, destination = self._queue.popleft()
            block.append(data)
            size += len(data)
            self._queued[destination] -= len(data)
            if not self._queued[destination]:
                del self._queued[destination]
        self._rest = memoryview(b"".join(block) if len(block) > 1 else block[0] if block else b"")
        return bool(block)
