"""Calls that wait to be answered: a queue per caller, and the callers take turns.

However much one asks, another waits for one short answer of his at most. Long answers go out one
at a time, made only when there is little to be sent, so that they are new when they go out. Until
the bus has one, a short answer waits behind it; so they may have a third of the time and no more,
counted over half a second.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator
from enum import Enum, auto
from typing import Final, NamedTuple

from .errors import LIMITS_EXCEEDED, CallError
from .library import TURN
from .wire import Header

MAX_WAITING: Final = 128  # calls of one caller; as many as dbus-daemon lets wait for an answer
MAX_WAITING_BYTES: Final = 16 * 1024 * 1024  # of all; beyond it one call of each caller waits
REFRESH_TIMEOUT: Final = 1.0  # s; then the answer goes out with what is known
FRESH_FOR: Final = 0.2  # s; asking again would take longer than the answer
LONG_SHARE: Final = 1 / 3  # of the time that long answers may take
LONG_CREDIT: Final = 0.5  # s that they may take before it is counted; a desktop's start

_log = logging.getLogger(__name__)


class Pause(Enum):
    """Why an answer that is being made is interrupted."""

    TURN = auto()  # others first, for it takes long to make
    LONG = auto()  # until there is room, for it is long to send
    FRESH = auto()  # until counters and handshakes are up to date


#: An answer in the making; it ends when the answer was sent. It raises nothing.
Answer = Iterator[Pause]


class _Waiting(NamedTuple):
    caller: str
    size: int  # bytes of the call
    answer: Answer


class _Ring(dict[str, deque[_Waiting]]):
    """Queues by caller, in the order of their turns."""

    def push(self, waiting: _Waiting) -> None:
        self.setdefault(waiting.caller, deque()).append(waiting)

    def take(self) -> _Waiting:
        caller = next(iter(self))
        queue = self.pop(caller)
        waiting = queue.popleft()
        if queue:
            self[caller] = queue
        return waiting


class Turns:
    """The queues. *refresh* brings counters up to date; *room*: whether a long answer may go."""

    def __init__(self, refresh: Callable[[], Awaitable[None]], room: Callable[[], bool]) -> None:
        self._refresh = refresh
        self._room = room
        self._short = _Ring()
        self._long = _Ring()
        self._stale: list[_Waiting] = []
        self._calls: Counter[str] = Counter()  # by caller, in all of the above
        self._bytes = 0
        self._scheduled = False
        self._current: _Waiting | None = None  # the long answer that is made or sent
        self._sent = False  # whether it is made, and goes out
        self._began = 0.0
        self._credit = LONG_CREDIT
        self._counted = 0.0  # when that was so
        self._rest: asyncio.TimerHandle | None = None
        self._refreshed = -FRESH_FOR
        self._refreshing: asyncio.Future[None] | None = None
        self._watching: asyncio.Task[None] | None = None

    @property
    def fresh(self) -> bool:
        """Whether counters are as new as anybody may want."""
        return asyncio.get_running_loop().time() - self._refreshed < FRESH_FOR

    def put(self, call: Header, answer: Answer, *, last: bool = False) -> None:
        """Make *answer* in one of the next `serve`. Raises CallError for who asks too much.

        The *last* call that came has its turn at once, if no other waits for his.
        """
        pause = next(answer, None) if last and not self._short else Pause.TURN
        if pause is None:
            return
        most = MAX_WAITING if self._bytes < MAX_WAITING_BYTES else 1
        if self._calls[call.sender] >= most:
            raise CallError(LIMITS_EXCEEDED, f"{most} calls of yours wait for an answer.")
        self._calls[call.sender] += 1
        self._bytes += call.body_size
        self._queue(_Waiting(call.sender, call.body_size, answer), pause)

    def serve(self) -> None:
        """Go round the callers, as far as a turn of the loop allows; the rest follows."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        until = now + TURN
        while (waiting := self._next(now)) is not None:
            self._go_on(waiting)
            now = loop.time()
            if now > until:
                self._resume()
                return

    def drained(self) -> None:
        """All that was to be sent went out."""
        if self._sent:
            now = asyncio.get_running_loop().time()
            earned = LONG_SHARE * (now - self._counted)
            self._credit = min(self._credit + earned, LONG_CREDIT) - (now - self._began)
            self._counted = now
            self._current, self._sent = None, False
        if self._long and self._current is None:
            self._resume()

    def disconnected(self) -> None:
        """There is nobody any more: what waits for room is answered into the void."""
        self._current, self._sent = None, False
        self._resume()

    async def close(self) -> None:
        """Answer nobody any more."""
        tasks = [task for task in (self._watching, self._refreshing) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._rest is not None:
            self._rest.cancel()
        self._short.clear()
        self._long.clear()

    def _next(self, now: float) -> _Waiting | None:
        if self._short:
            return self._short.take()
        if not self._long or self._current is not None or not self._room():
            return None
        rest = -self._credit / LONG_SHARE - (now - self._counted)
        if rest > 0:
            if self._rest is None:
                self._rest = asyncio.get_running_loop().call_later(rest, self._rested)
            return None
        self._current, self._began = self._long.take(), now
        return self._current

    def _go_on(self, waiting: _Waiting) -> None:
        """Make an answer up to its next pause."""
        pause = next(waiting.answer, None)
        if pause is not None:
            self._queue(waiting, pause)
            return
        self._bytes -= waiting.size
        self._calls[waiting.caller] -= 1
        if not self._calls[waiting.caller]:
            del self._calls[waiting.caller]
        self._sent = self._sent or waiting is self._current

    def _queue(self, waiting: _Waiting, pause: Pause) -> None:
        match pause:
            case Pause.TURN:
                self._short.push(waiting)
            case Pause.LONG:
                self._long.push(waiting)
            case Pause.FRESH:
                self._stale.append(waiting)
                if self._watching is None:
                    self._watching = asyncio.get_running_loop().create_task(self._watch())

    def _rested(self) -> None:
        self._rest = None
        self.serve()

    def _resume(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._resumed)

    def _resumed(self) -> None:
        self._scheduled = False
        self.serve()

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
        for waiting in stale:
            self._short.push(waiting)
        self.serve()
