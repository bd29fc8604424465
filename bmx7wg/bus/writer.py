"""What goes out on a connection: queued, joined, and sent once per turn of the loop."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from typing import Final

#: Bytes joined into one send; about what a Unix socket takes at once.
BLOCK: Final = 256 * 1024


class Writer:
    """The queue of one connection: FIFO, never blocking, never failing for a full socket.

    It does not bound itself; `backlog` tells those who produce when to hold back.
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
        self._queue: deque[bytes | memoryview] = deque()
        self.backlog = 0  # bytes waiting to be sent
        self._scheduled = False
        self._full = False  # the socket; the loop tells when it isn't
        self._closed = False

    def put(self, data: bytes) -> None:
        if self._closed:
            return
        self._queue.append(data)
        self.backlog += len(data)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self.flush)

    def hold(self) -> bool:
        """Keep what is put back until `flush`; False if a flush is to come anyway."""
        held, self._scheduled = self._scheduled, True
        return not held

    def close(self) -> None:
        """Send nothing more; what is queued is dropped."""
        self._closed = True
        self._loop.remove_writer(self._sock)
        self._queue.clear()
        self.backlog = 0

    def flush(self) -> None:
        """Send what is queued, as far as it goes now."""
        if self._closed:
            return
        queue = self._queue
        try:
            while queue:
                if len(queue) > 1:
                    self._join()
                sent = self._sock.send(queue[0])
                self.backlog -= sent
                if sent == len(queue[0]):
                    queue.popleft()
                else:
                    queue[0] = memoryview(queue[0])[sent:]
        except BlockingIOError:
            self._full = True
            self._loop.add_writer(self._sock, self.flush)
            return
        except OSError as error:
            self._failed(error)
            return
        if self._full:
            self._full = False
            self._loop.remove_writer(self._sock)
        self._scheduled = False
        self._drained()

    def _join(self) -> None:
        """Make one block of what stands first, as far as it fits."""
        queue = self._queue
        block = [queue.popleft()]
        size = len(block[0])
        while queue and size + len(queue[0]) <= BLOCK:
            size += len(queue[0])
            block.append(queue.popleft())
        queue.appendleft(b"".join(block) if len(block) > 1 else block[0])
