"""Calls that wait to be answered: a queue per caller, and the callers take turns.

However much one asks, another waits for one answer of his at most. Answers are made only while
there is little to be sent, so that they are new when they go out and a short one doesn't
wait behind many long ones.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator
from enum import Enum, auto
from typing import Final

from .errors import LIMITS_EXCEEDED, CallError
from .library import TURN
from .wire import Header

MAX_WAITING: Final = 128  # calls of one caller; as many as dbus-daemon lets wait for an answer
MAX_WAITING_BYTES: Final = 16 * 1024 * 1024  # of all; beyond it one call of each caller waits
REFRESH_TIMEOUT: Final = 1.0  # s; then the answer goes out with what is known
FRESH_FOR: Final = 0.2  # s; asking again would take longer than the answer

_log = logging.getLogger(__name__)


class Pause(Enum):
    """Why an answer that is being made is interrupted."""

    TURN = auto()  # others first, for it takes long
    FRESH = auto()  # until counters and handshakes are up to date


#: An answer in the making; it ends when the answer was sent. It raises nothing.
Answer = Iterator[Pause]


class Turns:
    """The queues. *refresh* brings counters up to date; *room*: whether more may be sent now."""

    def __init__(self, refresh: Callable[[], Awaitable[None]], room: Callable[[], bool]) -> None:
        self._refresh = refresh
        self._room = room
        self._queues: dict[str, deque[tuple[Answer, int]]] = {}  # in the order of their turns
        self._stale: list[tuple[str, Answer, int]] = []
        self._waiting: Counter[str] = Counter()  # by caller; both of the above
        self._size = 0
        self._scheduled = False
        self._refreshed = -FRESH_FOR
        self._refreshing: asyncio.Future[None] | None = None
        self._watching: asyncio.Task[None] | None = None

    def put(self, call: Header, answer: Answer) -> None:
        """Make *answer* in one of the next `serve`. Raises CallError for who asks too much."""
        caller, size = call.sender, call.body_size
        most = MAX_WAITING if self._size < MAX_WAITING_BYTES else 1
        if self._waiting[caller] >= most:
            raise CallError(LIMITS_EXCEEDED, f"{most} calls of yours wait for an answer.")
        self._waiting[caller] += 1
        self._size += size
        self._queue(caller, answer, size)

    def resume(self) -> None:
        """Serve soon: there may be room again."""
        if self._queues and not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._resumed)

    @property
    def fresh(self) -> bool:
        """Whether counters are as new as anybody may want."""
        return asyncio.get_running_loop().time() - self._refreshed < FRESH_FOR

    async def close(self) -> None:
        """Answer nobody any more."""
        tasks = [task for task in (self._watching, self._refreshing) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._queues.clear()

    def _queue(self, caller: str, answer: Answer, size: int) -> None:
        self._queues.setdefault(caller, deque()).append((answer, size))

    def _resumed(self) -> None:
        self._scheduled = False
        self.serve()

    def serve(self) -> None:
        """Go round the callers, as far as a turn of the loop and the bus allow."""
        loop = asyncio.get_running_loop()
        until = loop.time() + TURN
        while self._queues and self._room():
            caller, queue = next(iter(self._queues.items()))
            del self._queues[caller]
            answer, size = queue.popleft()
            pause = next(answer, None)
            if pause is Pause.TURN:
                queue.appendleft((answer, size))
            elif pause is Pause.FRESH:
                self._stale.append((caller, answer, size))
                self._begin_refresh()
            else:
                self._done(caller, size)
            if queue:
                self._queues[caller] = queue
            if loop.time() > until:
                self.resume()
                return

    def _done(self, caller: str, size: int) -> None:
        self._size -= size
        self._waiting[caller] -= 1
        if not self._waiting[caller]:
            del self._waiting[caller]

    def _begin_refresh(self) -> None:
        if self._watching is None:
            self._watching = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        """Wait for one refresh, then let those on who waited for it."""
        if self._refreshing is None:
            self._refreshing = asyncio.ensure_future(self._refresh())
        done, _ = await asyncio.wait({self._refreshing}, timeout=REFRESH_TIMEOUT)
        if done:
            self._refreshed = asyncio.get_running_loop().time()
            error = self._refreshing.exception()
            self._refreshing = None
            if error is not None:
                _log.warning("counters and handshakes could not be read: %s", error)
        # else it goes on, and the next to ask waits for this one
        self._watching = None
        stale, self._stale = self._stale, []
        for caller, answer, size in stale:
            self._queue(caller, answer, size)
        self.resume()
