"""Answers that wait until counters and handshakes are up to date.

However many wait, the controller is asked once at a time, and for a second at most: then the
answer goes out with what is known.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from typing import Final

from .errors import LIMITS_EXCEEDED, CallError
from .wire import Header

REFRESH_TIMEOUT: Final = 1.0  # s
MAX_WAITING: Final = 64  # answers that one caller may wait for

_log = logging.getLogger(__name__)


class Reads:
    """The queue of such answers."""

    def __init__(self, refresh: Callable[[], Awaitable[None]]) -> None:
        self._refresh = refresh
        self._queue: deque[tuple[str, Callable[[], None]]] = deque()
        self._by_sender: Counter[str] = Counter()
        self._refreshing: asyncio.Future[None] | None = None
        self._serving: asyncio.Task[None] | None = None

    def __call__(self, header: Header, answer: Callable[[], None]) -> None:
        """Run *answer* once all is up to date. Raises CallError for who asks too much."""
        if self._by_sender[header.sender] >= MAX_WAITING:
            raise CallError(LIMITS_EXCEEDED, f"{MAX_WAITING} calls of yours wait for an answer.")
        self._by_sender[header.sender] += 1
        self._queue.append((header.sender, answer))
        if self._serving is None:
            self._serving = asyncio.get_running_loop().create_task(self._serve())

    async def close(self) -> None:
        """Answer nobody any more."""
        tasks = [task for task in (self._serving, self._refreshing) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._queue.clear()

    async def _serve(self) -> None:
        while self._queue:
            await self._bring_up_to_date()
            for _ in range(len(self._queue)):
                sender, answer = self._queue.popleft()
                self._by_sender[sender] -= 1
                if not self._by_sender[sender]:
                    del self._by_sender[sender]
                answer()
                await asyncio.sleep(0)
        self._serving = None

    async def _bring_up_to_date(self) -> None:
        if self._refreshing is None:
            self._refreshing = asyncio.ensure_future(self._refresh())
        done, _ = await asyncio.wait({self._refreshing}, timeout=REFRESH_TIMEOUT)
        if not done:
            return  # and it goes on: the next to ask waits for this one
        error = self._refreshing.exception()
        self._refreshing = None
        if error is not None:
            _log.warning("counters and handshakes could not be read: %s", error)
