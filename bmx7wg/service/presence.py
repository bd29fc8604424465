"""Gets the service onto the bus, for as long as it takes; once there, it comes back by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from ..bus.errors import BusError
from ..core.backoff import Backoff
from ..core.views import Changes
from .keeper import RETRY_FIRST, RETRY_LAST


class PublicBus(Protocol):
    """What the node asks of the bus (bus/service.py)."""

    async def start(self) -> None:
        ...

    def publish(self, changes: Changes) -> None:
        ...

    async def close(self) -> None:
        ...


class Presence:
    """*problem* is called with what keeps us from the bus, "" for nothing."""

    def __init__(
        self, bus: PublicBus, problem: Callable[[str], None], wake: Callable[[], None]
    ) -> None:
        self._bus, self._problem, self._wake = bus, problem, wake
        self._task: asyncio.Task[None] | None = None
        #: Whether there was an attempt, successful or not.
        self.tried = False

    def begin(self) -> None:
        self._task = asyncio.create_task(self._keep_trying())

    async def end(self) -> None:
        """Try no more."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _keep_trying(self) -> None:
        retry = Backoff(RETRY_FIRST, RETRY_LAST)
        while True:
            try:
                await self._bus.start()
                self._problem("")
                return
            except BusError as error:
                self._problem(str(error))
            finally:
                self.tried = True
                self._wake()
            await asyncio.sleep(retry())
